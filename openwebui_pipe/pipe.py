"""
title: MLX Harmony
author: the mlx-harmony authors
version: 0.1.0
license: MIT
description: Chat with gpt-oss on mlx_lm.server: folded thinking, tools, clean titles, clear errors.
required_open_webui_version: 0.6.20
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from harmony_core.jsontext import Json, JsonObject
from harmony_core.profile import EFFORTS
from harmony_core.request import DEFAULT_MODEL, ChatRequest, Endpoint
from openwebui_pipe.chunks import error_chunk
from openwebui_pipe.exchange import Limits, http_session, listed_models
from openwebui_pipe.lanes import Lanes
from openwebui_pipe.listing import short_names, wanted_models
from openwebui_pipe.phrases import language_of
from openwebui_pipe.status import Emitter, Status
from openwebui_pipe.tooling import tools_to_send
from openwebui_pipe.turn import Call, Turn
from openwebui_pipe.valves import PipeUserValves, PipeValves, user_valves_of

MODELS_FRESH: Final = 10.0
"""Seconds for which the model list is not asked for again: `pipes` runs on every page load."""

TASK_SETTLE: Final = 0.5
TASK_PATIENCE: Final = 300.0
# An answer waits for these, so they may not wait long for the answers of others.
HASTY_TASKS: Final = frozenset({"query_generation", "function_calling", "image_prompt_generation"})
HASTY_PATIENCE: Final = 5.0
TASK_MAX_TOKENS: Final = 2048
"""At least so many: the 1000 that Open WebUI allows for a title can all go to the thinking."""

# What has a parameter of `ChatRequest`, or means nothing to the server; the rest of the body goes along.
BODY_FIELDS: Final = (
    "model messages tools tool_choice stream stream_options metadata user reasoning_effort"
    " max_tokens max_completion_tokens temperature stop response_format"
)


@dataclass(frozen=True, slots=True)
class ModelList:
    """What a server offered, and when it was asked last."""

    endpoint: Endpoint
    ids: tuple[str, ...]
    asked: float


class Pipe:
    """What Open WebUI loads: one instance for the whole process, so nothing of a call stays on it."""

    Valves = PipeValves
    UserValves = PipeUserValves

    def __init__(self) -> None:
        self.valves = PipeValves()
        self._lanes = Lanes()
        self._models: ModelList | None = None

    async def pipes(self) -> list[dict[str, str]]:
        """The models to choose from; never empty, since a model that is not listed cannot be used."""
        valves = self.valves
        ids = wanted_models(await self._model_ids(endpoint_of(valves)), valves.MODEL_FILTER)
        if not ids:
            # mlx_lm.server's name for the model it was started with; without a server, using it tells why.
            return [{"id": DEFAULT_MODEL, "name": "gpt-oss (MLX)"}]
        return [{"id": model, "name": name} for model, name in short_names(ids).items()]

    async def _model_ids(self, endpoint: Endpoint) -> tuple[str, ...]:
        """The ids of the server's models; while it is down, those of its last good answer."""
        known = self._models if self._models and self._models.endpoint == endpoint else None
        if known and time.monotonic() - known.asked < MODELS_FRESH:
            return known.ids
        async with http_session(self.valves.CONNECT_TIMEOUT) as session:
            ids = await listed_models(session, endpoint)
        if ids is None:
            ids = known.ids if known else ()
        self._models = ModelList(endpoint, ids, time.monotonic())
        return ids

    async def pipe(
        self,
        body: JsonObject,
        __user__: object = None,
        __metadata__: object = None,
        __tools__: object = None,
        __task__: object = None,
        __event_emitter__: Emitter | None = None,
    ) -> JsonObject | AsyncGenerator[JsonObject, None]:
        """Answer one request: with an async generator of chunks if it streams, else with one completion."""
        valves = self.valves
        server = valves.BASE_URL
        streams = body.get("stream") is True
        # A task that streams is an answer: the one that merges the answers of several models.
        task = str(__task__) if __task__ and not streams else ""
        call = call_of(body, valves, user_valves_of(__user__), __tools__, task, __metadata__)
        status = Status(None if task else __event_emitter__, call.language)
        if not task:
            turn = Turn(call, status, self._lanes.answering(server))
            if has_new_image(messages_of(body)):
                await status.notify("images")
            return turn.chunks() if streams else await turn.completion()
        if valves.TASKS == "off":
            return error_chunk(call.say("tasks_off"))
        settle, patience = (0.0, HASTY_PATIENCE) if task in HASTY_TASKS else (TASK_SETTLE, TASK_PATIENCE)
        await self._lanes.until_quiet(server, settle, patience)
        reply = await Turn(call, status, nullcontext()).completion()
        return reply if "error" in reply or answer_of(reply).strip() else error_chunk(call.say("no_answer"))


def endpoint_of(valves: PipeValves) -> Endpoint:
    """Where the admin says the server is."""
    return Endpoint(valves.BASE_URL, valves.API_KEY)


def call_of(
    body: JsonObject,
    valves: PipeValves,
    own: PipeUserValves,
    known_tools: object,
    task: str,
    metadata: object,
) -> Call:
    """Put together what the body, the user and the admin say, in this order of strength."""
    lowered = bool(task) and valves.TASKS == "low-effort"
    max_tokens = max_tokens_of(body, valves, at_least=TASK_MAX_TOKENS if task else 1)
    request = ChatRequest(
        messages=messages_of(body),
        model=str(body.get("model", "")).partition(".")[2].removeprefix(DEFAULT_MODEL),
        tools=tools_to_send(body.get("tools"), known_tools, valves.TOOLS),
        effort="low" if lowered else effort_of(body, valves, own),
        max_tokens=max_tokens,
        temperature=body.get("temperature", valves.TEMPERATURE),
        stop=words_of(body.get("stop")),
        response_format=body.get("response_format"),
        extra={
            name: value
            for name, value in body.items()
            if name not in BODY_FIELDS.split() and not (lowered and name == "chat_template_kwargs")
        },
    )
    thinking = valves.THINKING if own.THINKING == "inherit" else own.THINKING
    return Call(
        request=request,
        endpoint=endpoint_of(valves),
        limits=Limits(valves.CONNECT_TIMEOUT, valves.FIRST_BYTE_TIMEOUT, valves.IDLE_TIMEOUT),
        model=str(body.get("model", "")),
        language=language_of(metadata),
        show_thinking=thinking == "fold" and not task,
        max_tokens=max_tokens,
    )


def messages_of(body: JsonObject) -> list[JsonObject]:
    """The conversation."""
    messages = body.get("messages")
    return (
        [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    )


def effort_of(body: JsonObject, valves: PipeValves, own: PipeUserValves) -> str:
    """The reasoning effort: the chat's, else the user's, else the admin's."""
    options = body.get("chat_template_kwargs")
    in_options = options.get("reasoning_effort") if isinstance(options, dict) else None
    for wish in (body.get("reasoning_effort"), in_options, own.REASONING_EFFORT):
        if isinstance(wish, str) and wish.strip().lower() in EFFORTS:
            return wish.strip().lower()
    return valves.REASONING_EFFORT


def max_tokens_of(body: JsonObject, valves: PipeValves, at_least: int) -> int:
    """The budget of one reply: the request's (older hosts name it otherwise for tasks), else the admin's."""
    for name in ("max_tokens", "max_completion_tokens"):
        wish = body.get(name)
        if isinstance(wish, int) and wish > 0:
            return max(wish, at_least)
    return max(valves.MAX_TOKENS, at_least)


def words_of(stop: Json) -> list[str]:
    """The stop words, which may be one or several."""
    words = stop if isinstance(stop, list) else [stop]
    return [word for word in words if isinstance(word, str)]


def has_new_image(messages: list[JsonObject]) -> bool:
    """Whether the last message is a user's and holds an image, which gpt-oss cannot see."""
    last = messages[-1] if messages else {}
    parts = last.get("content") if last.get("role") == "user" else None
    kinds = [part.get("type") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "image_url" in kinds


def answer_of(reply: JsonObject) -> str:
    """The text of a chat completion."""
    match reply:
        case {"choices": [{"message": {"content": str(content)}}]}:
            return content
    return ""
