"""A chat request as data: where it goes, and JSON that every server version accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .chat import ChatStream
from .history import clean_history
from .jsontext import Json, JsonObject, load_json
from .offer import function_of, response_section, sendable_tool, without_nulls
from .profile import DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE, DEFAULT_TOP_P, EFFORTS

DEFAULT_MODEL: Final = "default_model"
"""What mlx_lm.server calls the model of its `--model`; any other name may start a download."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-style server: its base URL in whatever form people paste it, and an optional key."""

    base_url: str
    api_key: str = field(default="", repr=False)

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
        """Headers for either URL; the key is there only if one was given."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        key = "".join(self.api_key.split())  # a pasted line break would be a second header
        if key:
            headers["Authorization"] = "Bearer " + key
        return headers

    @property
    def _root(self) -> str:
        url = self.base_url.strip()
        if "://" not in url:
            url = "http://" + url.lstrip("/")
        url = url.rstrip("/").removesuffix("/chat/completions").removesuffix("/models")
        return url.rstrip("/").removesuffix("/v1").rstrip("/")


@dataclass(frozen=True, slots=True)
class _Range:
    """What the server takes for a number (mlx_lm/server.py 0.32.2, validate_model_parameters).

    A number below `low` is left out, because callers mean "not set" by -1; one above `high` becomes `high`.
    """

    whole: bool
    low: float = -math.inf
    high: float = math.inf


# `top_k` must be smaller than the vocabulary: past it the sampler raises, and with it dies the thread that
# generates for every client. 500 is below any vocabulary and above any use.
_NUMBERS: Final[Mapping[str, _Range]] = {
    "max_tokens": _Range(whole=True, low=1),
    "max_completion_tokens": _Range(whole=True, low=1),
    "temperature": _Range(whole=False, low=0),
    "top_p": _Range(whole=False, low=0, high=1),
    "top_k": _Range(whole=True, low=0, high=500),
    "min_p": _Range(whole=False, low=0, high=1),
    "repetition_penalty": _Range(whole=False, low=0),
    "repetition_context_size": _Range(whole=True, low=1),
    "presence_penalty": _Range(whole=False),
    "presence_context_size": _Range(whole=True, low=1),
    "frequency_penalty": _Range(whole=False),
    "frequency_context_size": _Range(whole=True, low=1),
    "seed": _Range(whole=True, low=0, high=2**63 - 1),
    "num_draft_tokens": _Range(whole=True, low=0),
    "xtc_probability": _Range(whole=False, low=0, high=1),
    "xtc_threshold": _Range(whole=False, low=0, high=0.5),
    "top_logprobs": _Range(whole=True, low=1, high=10),
}

# `stop` would be matched inside the thinking, and `response_format` is ignored by mlx_lm.server and bends
# the thinking on servers with grammars; both are dealt with on this side.
_NEVER_EXTRA: Final = frozenset({"messages", "tools", "stream", "stop", "response_format"})


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a host wants of the model, in OpenAI's terms.

    `tools` are OpenAI tool objects, `response_format` an OpenAI one. Numbers may be strings; what is no
    number in the server's range falls back to the default. `extra` is merged last, for fields that have
    no parameter here; nothing in it is sent as null.
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
    stop: str | Sequence[str] = ()
    response_format: Json = None
    stream: bool = True
    extra: Mapping[str, Json] = field(default_factory=dict)

    def payload(self) -> JsonObject:
        """The body of the request: the same for the same conversation, so that the prompt cache holds."""
        body: JsonObject = {
            "model": self.model.strip() or DEFAULT_MODEL,
            "messages": [*self._messages()],
            "stream": self.stream,
        }
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        body.update(self._numbers())
        tools = [tool for tool in map(sendable_tool, self.tools) if tool]
        if tools:
            body["tools"] = [*tools]
        effort = (self.effort or "").strip().lower()
        if effort in EFFORTS:
            body["reasoning_effort"] = effort
            body["chat_template_kwargs"] = {"reasoning_effort": effort}
        _merge_extra(body, self.extra)
        return body

    def open_stream(self) -> ChatStream:
        """A `ChatStream` for the reply: it knows the tools offered, the stop words and the wish for JSON."""
        names = [function_of(tool).get("name") for tool in self.tools]
        return ChatStream(
            tools=[name for name in names if isinstance(name, str)],
            stop=_stop_words(self.stop or self.extra.get("stop")),
            json_reply=response_section(self.response_format) != "",
        )

    def _messages(self) -> list[JsonObject]:
        messages = clean_history(self.messages)
        section = response_section(self.response_format)
        if not section:
            return messages
        first = messages[0] if messages else {}
        if first.get("role") not in ("system", "developer"):
            return [{"role": "system", "content": section}, *messages]
        content = first.get("content")
        text = f"{content}\n\n{section}" if isinstance(content, str) and content else section
        return [{**first, "content": text}, *messages[1:]]

    def _numbers(self) -> JsonObject:
        wanted: JsonObject = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
        }
        defaults: JsonObject = {
            "max_tokens": DEFAULT_MAX_TOKENS,
            "temperature": DEFAULT_TEMPERATURE,
            "top_p": DEFAULT_TOP_P,
        }
        given = {name: _number_within(value, _NUMBERS[name]) for name, value in wanted.items()}
        return defaults | {name: value for name, value in given.items() if value is not None}


def models_from(body: str | bytes) -> tuple[str, ...]:
    """The model ids in the answer to `GET /v1/models`, each once, in order; none if it is anything else."""
    try:
        answer = load_json(body)
    except ValueError:
        return ()
    rows = answer.get("data") if isinstance(answer, dict) else None
    ids = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(dict.fromkeys(name for name in ids if isinstance(name, str) and name))


def _number_within(value: Json, limits: _Range) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
        if not math.isfinite(number) or number < limits.low:
            return None
        if number > limits.high:
            value = number = limits.high
        if not limits.whole:
            return float(number)
        return value if isinstance(value, int) else int(number)
    except (ValueError, OverflowError):
        return None


def _merge_extra(body: JsonObject, extra: Mapping[str, Json]) -> None:
    for name, value in extra.items():
        if name in _NEVER_EXTRA:
            continue
        sent = _number_within(value, _NUMBERS[name]) if name in _NUMBERS else without_nulls(value)
        known = body.get(name)
        if isinstance(known, dict) and isinstance(sent, dict):
            body[name] = known | sent
        elif sent is not None and (known is None or type(known) is type(sent)):
            body[name] = sent


def _stop_words(stop: Json | Sequence[str]) -> list[str]:
    words = [stop] if isinstance(stop, str) else stop if isinstance(stop, list | tuple) else []
    return [word for word in words if isinstance(word, str) and word]
