"""The model that a server has loaded, also where it has no name for it.

mlx_lm.server calls it `default_model`. Ollama, LM Studio and vLLM do not know that name, and neither does an
mlx_lm.server that was started without `--model`: there one of the list is used, and remembered for a while.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Final

from dify_plugin.config.logger_format import plugin_logger_handler

from harmony_core.client import Client, ReplyStream, ServerError
from harmony_core.model_choice import choose_model
from harmony_core.request import ChatRequest

KEPT_FOR: Final = 300.0
"""Seconds for which the choice on a server is not made anew."""
MAX_SERVERS: Final = 100

_HAS_NO_DEFAULT: Final = ("unknown_model", "no_model")

_logger = logging.getLogger(__name__)
_logger.setLevel(logging.INFO)
_logger.addHandler(plugin_logger_handler)


class Choices:
    """Which model stands for the loaded one, by server and by the name that Dify has for it."""

    def __init__(self, kept_for: float = KEPT_FOR) -> None:
        self._kept_for = kept_for
        self._chosen: dict[tuple[str, str], tuple[float, str]] = {}

    def recall(self, server: str, wanted: str) -> str:
        """The choice of the last minutes, or ""."""
        until, model = self._chosen.get((server, wanted), (0.0, ""))
        return model if time.monotonic() < until else ""

    def remember(self, server: str, wanted: str, model: str) -> None:
        """Keep a choice, and forget the oldest one if there are too many."""
        self._chosen.pop((server, wanted), None)
        self._chosen[server, wanted] = (time.monotonic() + self._kept_for, model)
        if len(self._chosen) > MAX_SERVERS:
            del self._chosen[next(iter(self._chosen))]

    def forget(self, server: str, wanted: str) -> None:
        """Forget a choice, so that it is made anew."""
        self._chosen.pop((server, wanted), None)


CHOICES: Final = Choices()
"""For the whole process, because Dify makes a new model instance for every request."""


def open_reply(
    client: Client, request: ChatRequest, wanted: str, choices: Choices = CHOICES
) -> ReplyStream:
    """Send a request; one without a model goes to the loaded one, or to the one that is chosen for it.

    `wanted` is Dify's name for the model. Raises ServerError.
    """
    if request.model:
        return client.open(request)
    chosen = choices.recall(client.base_url, wanted)
    try:
        return client.open(replace(request, model=chosen))
    except ServerError as error:
        choices.forget(client.base_url, wanted)
        if chosen or error.problem.kind not in _HAS_NO_DEFAULT:
            raise
        model = _chosen_for(client, wanted, error, choices)
    return client.open(replace(request, model=model))


def check_server(
    client: Client, model: str, wanted: str, within: float, choices: Choices = CHOICES
) -> None:
    """Find out whether the server will serve a model, "" for the loaded one; raises ServerError."""
    deadline = time.monotonic() + within
    try:
        client.check(model, within=within)
    except ServerError as error:
        if model or error.problem.kind not in _HAS_NO_DEFAULT:
            raise
        left = deadline - time.monotonic()
        chosen = _chosen_for(client, wanted, error, choices, left)
        client.check(chosen, within=deadline - time.monotonic())


def _chosen_for(
    client: Client,
    wanted: str,
    error: ServerError,
    choices: Choices,
    within: float = 15.0,
) -> str:
    """Choose from the server's list; raises `error` if nothing fits."""
    model = choose_model(client.models(within), wanted)
    if not model:
        raise error
    choices.remember(client.base_url, wanted, model)
    _logger.info("The server has no default_model, so “%s” is “%s”.", wanted, model)
    return model
