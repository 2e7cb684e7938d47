"""A chat request as data: where it goes, and JSON that every server version accepts."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from .chat import ChatStream
from .diagnosis import visible_url
from .gpt_oss import DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE, DEFAULT_TOP_P, EFFORTS
from .history import clean_history
from .jsontext import Json, JsonObject, as_object, load_json, objects_in
from .limits import MAX_ID, MAX_MODELS
from .response_format import response_section
from .tools import function_of, sendable, sendable_tool

DEFAULT_MODEL: Final = "default_model"
"""What mlx_lm.server calls the model of its `--model`; any other may start a download."""

# The least and the most of each number that the server takes (validate_model_parameters in
# mlx_lm/server.py 0.32.2), written as whole numbers where it takes only those. A number
# below the least is left out, because callers mean "not set" by -1; one above the most
# becomes the most. `top_k` must be smaller than the vocabulary: past it the sampler raises,
# and with it dies the thread that generates for every client.
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "max_tokens": (1, math.inf),
    "max_completion_tokens": (1, math.inf),
    "temperature": (0.0, math.inf),
    "top_p": (0.0, 1.0),
    "top_k": (0, 500),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.0, math.inf),
    "presence_penalty": (-math.inf, math.inf),
    "frequency_penalty": (-math.inf, math.inf),
    "seed": (0, 2**63 - 1),
    "top_logprobs": (1, 10),
    "num_draft_tokens": (0, math.inf),
    "repetition_context_size": (0, math.inf),
    "presence_context_size": (0, math.inf),
    "frequency_context_size": (0, math.inf),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
}
_OTHER_FIELDS = {
    "logprobs": bool,
    "logit_bias": dict,
    "adapters": str,
    "draft_model": str,
}

# `stop` would be matched inside the thinking, and `response_format` is ignored by
# mlx_lm.server and bends the thinking on servers with grammars.
_NEVER_EXTRA: Final = {"messages", "tools", "stream", "stop", "response_format"}


_USER_INFO: Final = re.compile(r"(?<=://)([^/?#]*)@")
# No name may steer a terminal, or hold half a character, which cannot be sent.
_NOT_IN_MODEL_IDS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-style server: its base URL as people paste it, and an optional key.

    A user and password in the URL are sent as Basic auth, unless there is a key.
    `ca_file` holds the certificates that https is checked with, a file or a folder of
    them; without `verify` anybody can pretend to be the server and read along.
    """

    base_url: str = field(repr=False)
    api_key: str = field(default="", repr=False)
    ca_file: str = ""
    verify: bool = True

    def __repr__(self) -> str:
        return f"Endpoint({visible_url(self.base_url)!r})"

    @property
    def chat_url(self) -> str:
        """Where chat requests go."""
        return self._root + "/v1/chat/completions"

    @property
    def models_url(self) -> str:
        """Where the server lists its models."""
        return self._root + "/v1/models"

    @property
    def headers(self) -> dict[str, str]:
        """Headers for either URL."""
        accept = "text/event-stream, application/json"
        headers = {"Content-Type": "application/json", "Accept": accept}
        if key := "".join(self.api_key.split()):  # a line break would begin a header
            headers["Authorization"] = "Bearer " + key
        elif user := _USER_INFO.search(self._address):
            pair = base64.b64encode(unquote(user[1]).encode()).decode()
            headers["Authorization"] = "Basic " + pair
        return headers

    def trusted(self, environment: Mapping[str, str]) -> str | bool:
        """The certificates that https is checked with: a path, the usual ones, or False for no check."""
        if not self.verify:
            return False
        names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        paths = (self.ca_file.strip(), *(environment.get(name, "") for name in names))
        return next(filter(None, paths), True)

    @property
    def _address(self) -> str:
        url = self.base_url.strip()
        return url if "://" in url else "http://" + url.lstrip("/")

    @property
    def _root(self) -> str:
        url = _USER_INFO.sub("", self._address)
        for end in ("/chat/completions", "/models", "/v1", ""):
            url = url.rstrip("/").removesuffix(end)
        return url


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a host wants of the model, in OpenAI's terms.

    `tools` are OpenAI tool objects, `response_format` an OpenAI one. Numbers may be strings;
    what is no number in the server's range falls back to the default. `extra` is merged
    last, for fields that have no parameter here. Nothing is sent as null.
    """

    messages: Sequence[Json]
    model: str = ""
    tools: Sequence[Json] = ()
    effort: str | None = None
    max_tokens: Json = None
    temperature: Json = None
    top_p: Json = None
    top_k: Json = None
    min_p: Json = None
    repetition_penalty: Json = None
    seed: Json = None
    stop: str | Sequence[Json] | None = None
    response_format: Json = None
    stream: bool = True
    extra: Mapping[str, Json] = field(default_factory=dict)

    def payload(self) -> JsonObject:
        """The body: the same for the same conversation, so that the prompt cache holds."""
        body: JsonObject = {
            "model": self.model.strip() or DEFAULT_MODEL,
            "messages": [*self._messages()],
            "stream": self.stream,
            "max_tokens": DEFAULT_MAX_TOKENS,
            "temperature": DEFAULT_TEMPERATURE,
            "top_p": DEFAULT_TOP_P,
        }
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        if tools := [tool for tool in map(sendable_tool, self.tools) if tool]:
            body["tools"] = [*tools]
        effort = (self.effort or "").strip().lower()
        if effort in EFFORTS:
            body["reasoning_effort"] = effort
            body["chat_template_kwargs"] = {"reasoning_effort": effort}
        _merge(body, self._numbers())
        _merge(body, self.extra)
        return body

    def chat_stream(self, call_prefix: str = "") -> ChatStream:
        """A `ChatStream` that knows the tools, the stop words and the wish for JSON.

        Give each reply another `call_prefix`, so that no two calls of a conversation
        share an id.
        """
        names = (function_of(tool).get("name") for tool in self.tools)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return ChatStream(
            tools=[name for name in names if isinstance(name, str)],
            stop=[word for word in stop if isinstance(word, str)],
            json_reply=response_section(self.response_format) != "",
            call_prefix=call_prefix,
        )

    def _messages(self) -> list[JsonObject]:
        """The conversation; cleaning joins what the reply must look like to the rest."""
        section = response_section(self.response_format)
        wanted: list[Json] = [{"role": "system", "content": section}] if section else []
        return clean_history([*self.messages, *wanted])

    def _numbers(self) -> JsonObject:
        return {name: getattr(self, name, None) for name in _NUMBERS}


def models_from(body: str | bytes) -> tuple[str, ...]:
    """The ids in the answer to `GET /v1/models`, each once; none in anything else."""
    ids, _ = listed_models_in(body)
    return ids


def listed_models_in(body: str | bytes) -> tuple[tuple[str, ...], bool]:
    """The same, and whether these are all: not where the list is cut, or longer than `MAX_MODELS`."""
    try:
        answer = load_json(body)
    except ValueError:
        return (), False
    rows = objects_in(as_object(answer).get("data"))
    ids = [row.get("id") for row in rows[:MAX_MODELS]]
    good = (name for name in ids if isinstance(name, str) and _is_model_id(name))
    return tuple(dict.fromkeys(good)), len(rows) <= MAX_MODELS


def _is_model_id(name: str) -> bool:
    return 0 < len(name) <= MAX_ID and not _NOT_IN_MODEL_IDS.search(name)


def _merge(body: JsonObject, fields: Mapping[str, Json]) -> None:
    """Add what can be sent; in the place of another value only one of the same type."""
    for name, value in fields.items():
        if name in _NEVER_EXTRA:
            continue
        sent = _number(value, *_NUMBERS[name]) if name in _NUMBERS else sendable(value)
        known = body.get(name)
        if isinstance(known, dict) and isinstance(sent, dict):
            body[name] = known | sent
            continue
        wanted = type(known) if known is not None else _OTHER_FIELDS.get(name, object)
        if sent is not None and isinstance(sent, wanted):
            body[name] = sent


def _number(value: Json, least: float, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = min(value if isinstance(value, int) else float(value), most)
        if not least <= number < math.inf:
            return None
        return int(number) if isinstance(least, int) else float(number)
    except (ValueError, OverflowError):
        return None
