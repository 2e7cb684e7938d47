"""A chat request as data: its address, and a JSON body that every server version accepts."""

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
from .gpt_oss import (
    CONTEXT_SIZE,
    DEFAULT_MAX_TOKENS,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_P,
    Effort,
    effort_named,
    split_effort,
)
from .history import clean_history
from .jsontext import Json, JsonObject, as_object, load_json, objects_in
from .limits import MAX_ID, MAX_MODELS
from .response_format import response_section
from .tools import (
    function_of,
    offered_tools,
    sendable,
    sendable_tool,
    tool_section,
)

DEFAULT_MODEL: Final = "default_model"
"""mlx_lm.server's name for the model of its `--model`; other names may start a download."""

PENALTY_WINDOW: Final = 4096
"""Most tokens that a penalty looks back on; with 10**12 the server's generating thread dies."""

# All numbers that go to the server, with the least and the most of each. A whole number as
# least means that the server takes only whole numbers. A number below the least is left
# out, because callers mean "not set" by -1; one above the most becomes the most. The server
# checks little (validate_model_parameters in mlx_lm/server.py 0.32.2), and a value that its
# sampler cannot take ends the thread of all clients: `top_k` must be smaller than the
# vocabulary. XTC is left out: an `xtc_probability` ends that thread in versions before 0.32,
# an `xtc_threshold` above 0.5 does in 0.32.2. tests/e2e/test_hostile_bodies.py tries all
# bounds.
NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "max_tokens": (1, CONTEXT_SIZE),
    "max_completion_tokens": (1, CONTEXT_SIZE),
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 500),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "seed": (0, 2**63 - 1),
    "top_logprobs": (1, 10),
    "num_draft_tokens": (0, 16),
    "repetition_context_size": (0, PENALTY_WINDOW),
    "presence_context_size": (0, PENALTY_WINDOW),
    "frequency_context_size": (0, PENALTY_WINDOW),
}
_OTHER_NAMES: Final = {"repeat_penalty": "repetition_penalty"}
_DEFAULTS: Final[Mapping[str, Json]] = {
    "max_tokens": DEFAULT_MAX_TOKENS,
    "temperature": DEFAULT_TEMPERATURE,
    "top_p": DEFAULT_TOP_P,
}


_USER_INFO: Final = re.compile(r"(?<=://)([^/?#]*)@")
# No name may steer a terminal, or hold half a character, which cannot be sent.
_NOT_IN_MODEL_IDS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-style server: its base URL, in any usual spelling, and an optional key.

    A user and password in the URL are sent as Basic auth, unless there is a key.
    `ca_file` is the file or the folder of certificates against which https is checked.
    Without `verify` anybody can pretend to be the server and read along.
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
        """What https is checked against: a path, True for the usual certificates, False for no check."""
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
    """What a host wants from the model, in OpenAI's terms.

    `tools` are OpenAI tool objects, `response_format` and `tool_choice` OpenAI's fields.
    Numbers may be strings; `NUMBERS` has the bounds. The effort is `effort`, else the one
    in `extra`, else that of a first line `Reasoning: high` in the system prompt (which is
    not sent), else `default_effort`.

    `extra` may come from outside. Only numbers, `logprobs` and the effort are taken from
    it, and its numbers win. `template_options` go to the chat template unchanged, and one
    of them can replace the whole template: take them from an administrator only.
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
    tool_choice: Json = None
    default_effort: str | None = None
    template_options: Mapping[str, Json] = field(default_factory=dict)

    def payload(self) -> JsonObject:
        """The body. The same conversation gives the same body, so the prompt cache holds."""
        effort_in_prompt, messages = _split_effort(self._messages())
        body: JsonObject = {
            "model": self.model.strip() or DEFAULT_MODEL,
            "messages": [*messages],
            "stream": self.stream,
            **self._numbers(),
        }
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        if tools := [tool for tool in map(sendable_tool, self._tools()) if tool]:
            body["tools"] = [*tools]
        options = as_object(sendable(dict(self.template_options)))
        if effort := self._effort(effort_in_prompt):
            body["reasoning_effort"] = effort
            options["reasoning_effort"] = effort
        if options:
            body["chat_template_kwargs"] = options
        if self.extra.get("logprobs") is True:  # mlx-lm 0.28 refuses False
            body["logprobs"] = True
        return body

    def chat_stream(self, call_prefix: str = "") -> ChatStream:
        """A `ChatStream` that knows the tools, the stop words and whether JSON is wanted.

        Use a new `call_prefix` for each reply, so that no two calls of a conversation
        share an id.
        """
        names = (function_of(tool).get("name") for tool in self._tools())
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return ChatStream(
            tools=[name for name in names if isinstance(name, str)],
            stop=[word for word in stop if isinstance(word, str)],
            json_reply=response_section(self.response_format) != "",
            call_prefix=call_prefix,
        )

    def _messages(self) -> list[JsonObject]:
        """The clean conversation; its instructions say what the reply must look like."""
        sections = (
            tool_section(self._tools(), self.tool_choice),
            response_section(self.response_format),
        )
        wanted: list[Json] = [
            {"role": "system", "content": section} for section in sections if section
        ]
        return clean_history([*self.messages, *wanted])

    def _tools(self) -> list[Json]:
        return offered_tools(self.tools, self.tool_choice)

    def _effort(self, in_prompt: Effort | None) -> Effort | None:
        options = as_object(self.extra.get("chat_template_kwargs"))
        in_extra = (self.extra.get("reasoning_effort"), options.get("reasoning_effort"))
        wishes = (self.effort, *in_extra, in_prompt, self.default_effort)
        return next(filter(None, map(effort_named, wishes)), None)

    def _numbers(self) -> JsonObject:
        renamed = {name: self.extra.get(other) for other, name in _OTHER_NAMES.items()}
        extra = {**renamed, **self.extra}
        numbers = dict(_DEFAULTS)
        for name in NUMBERS:
            for wish in (getattr(self, name, None), extra.get(name)):
                number = sendable_number(name, wish)
                if number is not None:
                    numbers[name] = number
        return numbers


def sendable_number(name: str, value: Json) -> float | None:
    """The number as the server takes it in the field `name`; None if it means "not set"."""
    least, most = NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not least <= number < math.inf:
        return None
    number = min(value if isinstance(value, int) else number, most)
    return int(number) if isinstance(least, int) else float(number)


def _split_effort(messages: list[JsonObject]) -> tuple[Effort | None, list[JsonObject]]:
    """Take the effort out of the system prompt; drop the prompt if nothing else is in it."""
    match messages:
        case [{"role": "system", "content": str(text)}, *rest]:
            effort, text = split_effort(text)
            first: JsonObject = {"role": "system", "content": text}
            kept = [first, *rest] if text else rest
            return effort, kept or [{"role": "user", "content": ""}]
    return None, messages


def listed_models_in(body: str | bytes) -> tuple[tuple[str, ...], bool]:
    """The ids in the answer to `GET /v1/models`, and whether these are all of an uncut list."""
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
