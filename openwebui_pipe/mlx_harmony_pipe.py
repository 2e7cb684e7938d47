"""
title: MLX Harmony
author: the mlx-harmony authors
version: 0.2.0
license: MIT
description: Chat with gpt-oss on mlx_lm.server: folded thinking, tools, clean titles, clear errors.
required_open_webui_version: 0.6.20
author_url: https://github.com/mlx-harmony/mlx-harmony
git_url: https://github.com/mlx-harmony/mlx-harmony
"""

# Generated. Edit the source files named in the section headings; see https://github.com/mlx-harmony/mlx-harmony
#
# What it does: Open WebUI sends a chat here, this file sends it on to mlx_lm.server with gpt-oss.
# The reply is raw Harmony text. This file turns it into folded thinking, an answer and tool calls.
# It shortens the thinking of titles and tags, and lets them wait while an answer streams.
# When something fails, it says in the chat what happened and what to do next.
# It talks to the servers in the setting BASE_URL and to nobody else. It installs nothing.
# It writes one file, mlx_harmony_models.json in Open WebUI's data folder: the ids of the models.
#
# Contents, with line numbers:
#   Settings (Valves)
#      151  harmony_core/gpt_oss.py
#      197  openwebui_pipe/host_version.py
#      218  openwebui_pipe/valves.py
#   Pipe: what Open WebUI calls
#      372  openwebui_pipe/pipe.py
#   JSON
#      592  harmony_core/jsontext.py
#   What Open WebUI gets: chunks, the status line, the list of models
#      687  openwebui_pipe/background_tasks.py
#      873  openwebui_pipe/host_manner.py
#      913  openwebui_pipe/tag_breaker.py
#      955  openwebui_pipe/chunks.py
#     1126  openwebui_pipe/http_replies.py
#     1167  openwebui_pipe/status.py
#     1263  openwebui_pipe/model_file.py
#     1329  openwebui_pipe/known_models.py
#     1396  openwebui_pipe/servers.py
#     1489  openwebui_pipe/model_list.py
#     1575  openwebui_pipe/verdict.py
#     1683  openwebui_pipe/reply.py
#     1835  openwebui_pipe/tool_policy.py
#   Talking to the server
#     1960  harmony_core/limits.py
#     1976  harmony_core/response_format.py
#     2006  harmony_core/request.py
#     2259  openwebui_pipe/transport.py
#   The parser: from bytes to thinking, answer and tool calls
#     2485  harmony_core/events.py
#     2684  harmony_core/markers.py
#     2706  harmony_core/lexer.py
#     2765  harmony_core/recipients.py
#     2849  harmony_core/header.py
#     3163  harmony_core/mender.py
#     3472  harmony_core/arguments.py
#     3608  harmony_core/native_calls.py
#     3727  harmony_core/body.py
#     3880  harmony_core/stripped.py
#     3956  harmony_core/edge_states.py
#     4142  harmony_core/states.py
#     4504  harmony_core/parser.py
#     4643  harmony_core/dialects.py
#     4903  harmony_core/answer_filter.py
#     5021  harmony_core/record_template.py
#     5158  harmony_core/sse.py
#     5268  harmony_core/chat.py
#   History and tools: what goes to the model
#     5573  harmony_core/reply_markup.py
#     5787  harmony_core/history.py
#     6048  harmony_core/tools.py
#   Words: what a user reads when something fails
#     6170  harmony_core/problems.py
#     6493  harmony_core/failures.py
#     6568  harmony_core/server_words.py
#     6634  harmony_core/diagnosis.py
#     6912  openwebui_pipe/phrases.py
#
# Comments name rules and headings of these pages:
#   harmony.md     https://github.com/mlx-harmony/mlx-harmony/blob/main/docs/spec/harmony.md
#   mlx_server.md  https://github.com/mlx-harmony/mlx-harmony/blob/main/docs/spec/mlx_server.md
#   openwebui.md   https://github.com/mlx-harmony/mlx-harmony/blob/main/docs/spec/openwebui.md

from __future__ import annotations
import aiohttp
import asyncio
import base64
import contextlib
import difflib
import importlib
import json
import logging
import math
import os
import re
import ssl
import threading
import time
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from html import unescape
from itertools import chain, count, groupby, islice
from pathlib import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    FieldSerializationInfo,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
)
from pydantic.config import JsonDict
from starlette.responses import StreamingResponse
from typing import (
    Annotated,
    Final,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    Union,
    runtime_checkable,
)
from urllib.parse import unquote
from uuid import uuid4

# ======================================================================================
# harmony_core/gpt_oss.py
# gpt-oss as data: the defaults of a request to it.

Effort = Literal["low", "medium", "high"]
EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
DEFAULT_EFFORT: Final[Effort] = "medium"

# Also under the names that other models use.
_EFFORT_NAMES: Final[dict[str, Effort]] = {
    "none": "low",
    "off": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
# People set the effort like this in a system prompt, because the template writes it this way.
_EFFORT_LINE = re.compile(
    r"\s*+reasoning:[ \t]*+(high|medium|low)[ \t]*+(?:\r?\n\s*+|\Z)", re.IGNORECASE
)

CONTEXT_SIZE: Final = 131_072

# With the server's own defaults, 512 tokens and temperature 0, the analysis eats the budget and the model
# repeats itself (mlx_server.md, Requests). OpenAI recommends 1.0 and 1.0 for gpt-oss.
DEFAULT_MAX_TOKENS: Final = 8192
DEFAULT_TEMPERATURE: Final = 1.0
DEFAULT_TOP_P: Final = 1.0


def effort_named(wish: object) -> Effort | None:
    """The effort that a name means, in capitals or not; None for an unknown name."""
    return _EFFORT_NAMES.get(wish.strip().lower()) if isinstance(wish, str) else None


def split_effort(instructions: str) -> tuple[Effort | None, str]:
    """Split a first line like `Reasoning: high` off a system prompt: the effort, and the rest."""
    line = _EFFORT_LINE.match(instructions)
    if line is None:
        return None, instructions
    return effort_named(line[1]), instructions[line.end() :]


# ======================================================================================
# openwebui_pipe/host_version.py
# Which Open WebUI this is, because its versions differ in what they accept.


def host_version() -> tuple[int, int] | None:
    """The first two numbers of the version of the running Open WebUI; None elsewhere."""
    try:
        version = str(importlib.import_module("open_webui.env").VERSION)
        major, minor = (int(part) for part in version.split(".")[:2])
    except (ImportError, AttributeError, ValueError):
        return None
    return major, minor


def at_least(major: int, minor: int) -> bool:
    """Whether the host is known to be that version or a newer one."""
    version = host_version()
    return version is not None and version >= (major, minor)


# ======================================================================================
# openwebui_pipe/valves.py
# What an admin and a user can set.


def secret_input() -> JsonDict | None:
    """The option that masks an input box; before Open WebUI 0.8 it would remove the box."""
    return {"input": {"type": "password"}} if at_least(0, 8) else None


def clamp(least: float, most: float) -> AfterValidator:
    """Moves a number between two bounds."""
    return AfterValidator(lambda value: max(least, min(most, value)))


SECRET: Final = secret_input()
Seconds = Annotated[float, clamp(0.5, 3600.0)]


class ForgivingValves(BaseModel):
    """Settings that replace an invalid value by their default.

    Open WebUI would refuse it without saying why.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def take_or_default(
        cls, value: object, take: ValidatorFunctionWrapHandler, field: ValidationInfo
    ) -> object:
        """The value if it is valid, else the default of its field."""
        try:
            return take(value)
        except ValidationError:
            return cls.model_fields[field.field_name or ""].default

    @field_serializer("*")
    def leave_empty_out(self, value: object, field: FieldSerializationInfo) -> object:
        """The value to store: None for an empty default, because the form saves no empty text."""
        default = type(self).model_fields[field.field_name].default
        return None if value == default == "" else value


class PipeValves(ForgivingValves):
    """The admin's settings."""

    BASE_URL: str = Field(
        default="http://localhost:8585",
        repr=False,  # may hold a password
        title="Base URL",
        description="Address of mlx_lm.server --port 8585 (8080 is Open WebUI's own)."
        " From inside Docker: http://host.docker.internal:8585, and start the server"
        " with --host 0.0.0.0. Several servers: Studio = http://studio.local:8585"
        " Mini = http://mini.local:8585.",
    )
    API_KEY: str = Field(
        default="",
        repr=False,
        title="API key",
        description="Only for a proxy that asks for one: mlx_lm.server has no keys."
        " With several servers one for all, or one for each in their order, with - for"
        " none.",
        json_schema_extra=SECRET,
    )
    CA_FILE: str = Field(
        default="",
        title="CA file",
        description="For https with certificates of your own: the path of the file with"
        " your authority's certificate, as Open WebUI sees it. Default: REQUESTS_CA_BUNDLE,"
        " SSL_CERT_FILE or the usual authorities.",
    )
    VERIFY_TLS: bool = Field(
        default=True,
        title="Check certificates",
        description="Switched off, anybody on the way can pretend to be the server, read"
        " every chat and take the API key.",
    )
    MODEL_FILTER: str = Field(
        default="gpt-oss",
        description="Which of the server's models to offer: parts of their names, or"
        " patterns with *, separated by commas. * alone offers all that can chat.",
    )
    MODEL_IDS: str = Field(
        default="",
        title="Model IDs",
        description="Ids of models that are always offered, also while the server does"
        " not list them, separated by commas.",
    )
    SAME_MODEL: Literal["per-server", "least-busy"] = Field(
        default="per-server",
        description="A model that several servers have: one entry for each server, or"
        " one that goes to the server with the fewest answers at the moment.",
    )
    PREFIX: str = Field(default="", description="Put before the names of all models.")
    THINKING: Literal["fold", "hide"] = Field(
        default="fold",
        description="Fold the thinking above the answer, or leave it out.",
    )
    REASONING_EFFORT: Effort = Field(
        default=DEFAULT_EFFORT,
        description="How long the model thinks. A user's own setting and the chat's"
        " control win.",
    )
    MAX_TOKENS: Annotated[int, clamp(1, CONTEXT_SIZE)] = Field(
        default=DEFAULT_MAX_TOKENS,
        description="Most tokens of one reply, with the thinking.",
    )
    TEMPERATURE: Annotated[float, clamp(0.0, 2.0)] = Field(
        default=DEFAULT_TEMPERATURE, description="OpenAI recommends 1.0 for gpt-oss."
    )
    TOOLS: Literal["user-selected", "all", "off"] = Field(
        default="user-selected",
        description="user-selected leaves out the built-in tools that Open WebUI adds"
        " unasked, thousands of tokens with every message, unless the prompt names them;"
        " all sends them too; off sends none.",
    )
    TASKS: Literal["low-effort", "normal", "off"] = Field(
        default="low-effort",
        description="Titles, tags, follow-ups and search queries: with low effort, with"
        " the effort set above, or not at all. They wait while an answer streams. Tools"
        " that are called by prompt work in any case.",
    )
    CONNECT_TIMEOUT: Seconds = Field(
        default=5.0, description="Seconds to wait for the connection."
    )
    FIRST_BYTE_TIMEOUT: Seconds = Field(
        default=600.0,
        description="Seconds to wait for the first sign of life; the model is loaded"
        " meanwhile.",
    )
    IDLE_TIMEOUT: Seconds = Field(
        default=120.0,
        description="Seconds of silence after which a reply counts as broken off.",
    )


class PipeUserValves(ForgivingValves):
    """A user's own settings."""

    REASONING_EFFORT: Literal["inherit", "low", "medium", "high"] = Field(
        default="inherit", description="How long the model thinks in your chats."
    )
    THINKING: Literal["inherit", "fold", "hide"] = Field(
        default="inherit",
        description="Fold the thinking above the answer, or leave it out.",
    )


def user_valves_of(user: object) -> PipeUserValves:
    """The user's settings, which Open WebUI puts into `__user__`."""
    valves: object = as_object(user).get("valves")
    return PipeUserValves.model_validate(valves or {}, from_attributes=True)


# ======================================================================================
# openwebui_pipe/pipe.py

TASK_MAX_TOKENS: Final = 2048
"""Least budget of a task: of Open WebUI's 1000 for a title the thinking may take all."""
AUTOCOMPLETION: Final = "autocomplete_generation"
AUTOCOMPLETION_TOKENS: Final = 64
"""Most tokens of a completed text. The thinking before it may take four times as many."""
PROMPTED_TOOLS: Final = "function_calling"
"""Tool calling by prompt. Open WebUI calls it a task, but without it no tool would run."""

# `ChatRequest` has parameters for these fields. From all others it sends what the server knows.
BODY_FIELDS: Final = (
    "model messages tools tool_choice stream stop reasoning_effort chat_template_kwargs"
    " max_tokens max_completion_tokens temperature response_format"
)


class Pipe:
    """What Open WebUI loads: one object for all chats, so it keeps nothing of a request."""

    Valves = PipeValves
    UserValves = PipeUserValves

    def __init__(self) -> None:
        self.valves = PipeValves()
        self._background = AnswersFirst()
        self._models = KnownModels(ModelFile(data_folder()))

    async def pipes(self) -> list[dict[str, str]]:
        """The models to choose from."""
        valves = self.valves
        servers = servers_from(endpoint_of(valves))
        endpoints = [server.endpoint for server in servers]
        await self._models.refresh(endpoints, valves.CONNECT_TIMEOUT)
        listed = {
            server: wanted_models(
                self._models.of(server.endpoint).ids, valves.MODEL_FILTER
            )
            for server in servers
        }
        models = with_named_models(listed, valves.MODEL_IDS)
        shared = valves.SAME_MODEL == "least-busy"
        entries = model_entries(models, valves.PREFIX, shared)
        return [{"id": model, "name": name} for model, name in entries.items()]

    def _server_for(self, chosen: str, valves: PipeValves) -> tuple[ModelServer, str]:
        """The server for a chosen model, and the model's name on that server."""
        servers = servers_from(endpoint_of(valves))
        server, model = server_of(chosen, servers)
        if valves.SAME_MODEL == "per-server":
            return server, model

        def load(candidate: ModelServer) -> tuple[bool, int]:
            down = not self._models.of(candidate.endpoint).answers
            return down, self._background.answers_on(candidate.endpoint.base_url)

        having = [s for s in servers if model in self._models.of(s.endpoint).ids]
        return min(having or [server], key=load), model

    async def pipe(
        self,
        body: JsonObject,
        __user__: object = None,
        __metadata__: object = None,
        __tools__: object = None,
        __task__: object = None,
        __event_emitter__: Emitter | None = None,
        __request__: object = None,
    ) -> JsonObject | AsyncGenerator[JsonObject, None] | StreamingResponse:
        """Answer a request: with a generator of chunks if it streams, else with one dict.

        A program gets an HTTP response instead where Open WebUI would change the reply.
        """
        valves, own = self.valves, user_valves_of(__user__)
        metadata, language = as_object(__metadata__), language_of(__metadata__)
        streams = body.get("stream") is True
        # The only task that streams merges the answers of several models: it is an answer.
        task = "" if streams or not __task__ else str(__task__)
        if task != PROMPTED_TOOLS and task and valves.TASKS == "off":
            return error_chunk(phrase("tasks_off", language))
        chosen = str(body.get("model", "")).partition(".")[2]
        server, model = self._server_for(chosen, valves)
        offer = offer_of(body, __tools__, valves.TOOLS, metadata, __user__)
        exchange = Exchange(
            request_of(body, model, valves, own, offer.sent, task),
            server.endpoint,
            Timeouts(
                valves.CONNECT_TIMEOUT, valves.FIRST_BYTE_TIMEOUT, valves.IDLE_TIMEOUT
            ),
        )
        thinking = valves.THINKING if own.THINKING == "inherit" else own.THINKING
        manner = manner_of(metadata)
        shown = thinking == "fold" and not task
        maker = ChunkMaker(str(body.get("model", "")), shown, manner)
        status = Status(None if task else __event_emitter__, language)
        rules = ReplyRules(
            language,
            manner,
            offer.left_out,
            AUTOCOMPLETION_TOKENS if task == AUTOCOMPLETION else 0,
            self._background.live_answers,
        )
        url, chat = server.endpoint.base_url, str(metadata.get("chat_id") or "")
        hold = nullcontext() if task else self._background.answering(url, chat)
        reply = PipeReply(exchange, maker, status, rules, hold)
        if task:
            user = str(as_object(__user__).get("id", ""))
            waiting = BackgroundTask(task, chat, user, client_gone(__request__))
            return await self._task_result(reply, url, waiting, language)
        if has_new_image(messages_of(body)):
            await status.notify(phrase("images", language))
        if streams:
            chunks = reply.chunks()
            return stream_reply(chunks) if is_api_call(metadata) else chunks
        completion = await reply.completion()
        if reply.complaint and is_api_call(metadata) and not is_anthropic(__request__):
            return error_reply(completion, reply.complaint.status)
        return completion

    async def _task_result(
        self, reply: PipeReply, server: str, task: BackgroundTask, language: Language
    ) -> JsonObject:
        """Wait until the task may run, and run it; an error if it does not or has no answer."""
        completion = None
        async with self._background.turn(server, task) as granted:
            if granted:
                completion = await result_unless_gone(task.gone, reply.completion())
        if completion is None:
            return error_chunk(phrase("task_dropped", language))
        if has_answer(completion):
            return completion
        return error_chunk(phrase("no_answer", language))


def endpoint_of(valves: PipeValves) -> Endpoint:
    """The admin's settings for the servers; the URL and the key may list several."""
    return Endpoint(valves.BASE_URL, valves.API_KEY, valves.CA_FILE, valves.VERIFY_TLS)


def request_of(
    body: JsonObject,
    model: str,
    valves: PipeValves,
    own: PipeUserValves,
    tools: list[Json],
    task: str,
) -> ChatRequest:
    """The request to the server: the body wins over the user's settings, these over the admin's."""
    effort, default_effort = effort_of(body), default_effort_of(valves, own)
    if task and valves.TASKS != "normal":
        effort = "low"
    extra = {
        name: value for name, value in body.items() if name not in BODY_FIELDS.split()
    }
    stop = body.get("stop")
    return ChatRequest(
        messages=messages_of(body),
        model=model.removeprefix(DEFAULT_MODEL),
        tools=tools,
        tool_choice=body.get("tool_choice"),
        effort=effort,
        default_effort=default_effort,
        max_tokens=max_tokens_of(body, valves, task),
        temperature=body.get("temperature", valves.TEMPERATURE),
        stop=stop if isinstance(stop, str | list) else None,
        response_format=body.get("response_format"),
        extra=extra,
        # mlx_lm.server tells logprobs only of a reply that comes whole.
        stream=bool(task or body.get("stream") or extra.get("logprobs") is not True),
    )


def messages_of(body: JsonObject) -> list[Json]:
    """The conversation."""
    return as_list(body.get("messages"))


def effort_of(body: JsonObject) -> str | None:
    """The reasoning effort that the chat asks for; None if it does not."""
    options = as_object(body.get("chat_template_kwargs"))
    return effort_named(body.get("reasoning_effort")) or effort_named(
        options.get("reasoning_effort")
    )


def default_effort_of(valves: PipeValves, own: PipeUserValves) -> str:
    """The effort if neither the chat nor its system prompt sets one: the user's, else the admin's."""
    return effort_named(own.REASONING_EFFORT) or valves.REASONING_EFFORT


def max_tokens_of(body: JsonObject, valves: PipeValves, task: str) -> int:
    """The budget of a reply: the request's (tasks of 0.6 use the second name), else the admin's."""
    if task == AUTOCOMPLETION:
        return 5 * AUTOCOMPLETION_TOKENS
    least = TASK_MAX_TOKENS if task else 1
    for name in ("max_tokens", "max_completion_tokens"):
        if given := sendable_number(name, body.get(name)):
            return max(int(given), least)
    return max(valves.MAX_TOKENS, least)


def has_new_image(messages: list[Json]) -> bool:
    """Whether the last message is a user's and holds an image, which gpt-oss cannot see."""
    match messages:
        case [*_, {"role": "user", "content": [*parts]}]:
            return any(
                isinstance(p, dict) and p.get("type") == "image_url" for p in parts
            )
    return False


def has_answer(reply: JsonObject) -> bool:
    """Whether a chat completion has an answer, or an error that says why it has none."""
    match reply:
        case {"choices": [{"message": {"content": str(content)}}]}:
            return content.strip() != ""
    return "error" in reply


# ======================================================================================
# harmony_core/jsontext.py
# JSON with names for its types, and safe to read when it is hostile.

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
JsonObject: TypeAlias = dict[str, Json]

MAX_DEPTH: Final = 50
"""Deepest nesting of objects and lists that is sent. The chat template recurses, and each level costs it
several of its thousand frames."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def load_json(text: str | bytes) -> Json:
    """Parse JSON; raises only ValueError, also for NaN and for endless nesting."""
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        value: Json = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def as_object(value: object) -> JsonObject:
    """The value if it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Json]:
    """The value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def objects_in(value: object) -> list[JsonObject]:
    """The objects of a list; an empty list for anything else."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def dump_json(value: Json) -> str:
    """Write JSON the same way every time, with non-ASCII text left readable."""
    return json.dumps(value, ensure_ascii=False)


def sent_text(value: Json) -> str:
    """The text that a server sent; "" if it is not a text.

    JSON can spell halves of characters, which no text may hold. They become U+FFFD.
    """
    if not isinstance(value, str):
        return ""
    if value.isprintable():  # most text is, and none of it has surrogates
        return value
    return _SURROGATE.sub("\ufffd", value)


def is_within_depth(value: Json, depth: int = MAX_DEPTH) -> bool:
    """Whether no more than `depth` objects and lists are nested in each other."""
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(is_within_depth(part, depth - 1) for part in parts)


def fitting_json(value: Json, depth: int = MAX_DEPTH) -> Json:
    """The value without the parts that a server cannot read: too deep, too large, or not JSON."""
    if isinstance(value, dict):
        parts = ((name, part) for name, part in value.items() if isinstance(name, str))
        kept = ((name, part) for name, part in parts if _fits(part, depth - 1))
        return {name: fitting_json(part, depth - 1) for name, part in kept}
    if isinstance(value, list | tuple):
        return [
            fitting_json(part, depth - 1) for part in value if _fits(part, depth - 1)
        ]
    return value


def _fits(value: Json, depth: int) -> bool:
    if isinstance(value, dict | list | tuple):
        return depth > 0
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, str)


# ======================================================================================
# openwebui_pipe/background_tasks.py
# Background tasks wait while an answer streams, because one Mac has one GPU.

POLL: Final = 0.05
"""Seconds between two looks at whether a task may run."""


@dataclass(frozen=True, slots=True)
class TaskWaits:
    """How long a kind of task waits, in seconds.

    `settle`: for how long no answer may have streamed. Open WebUI starts the title a moment
    before the answer, and a tool round is several answers with short breaks. `own`: the
    longest wait for an answer of its own chat, which may itself wait for the task (a filter
    that asks the model). `others`: the longest wait for the answers of other chats.
    `longest`: the longest wait for other tasks. Then it is dropped if it is `droppable`,
    else it runs beside them.
    """

    settle: float = 0.5
    others: float = 5.0
    longest: float = 60.0
    own: float = 300.0
    droppable: bool = True


# Not for long, because a chat keeps its Stop button until its follow-ups and tags are there.
ORDINARY: Final = TaskWaits()
# An answer waits for these tasks.
URGENT: Final = TaskWaits(settle=0.0, longest=5.0, droppable=False, own=0.0)
# A second later the user has typed on.
AUTOCOMPLETING: Final = TaskWaits(settle=0.0, others=math.inf, longest=1.0, own=0.0)
WAITS: Final = {
    "autocomplete_generation": AUTOCOMPLETING,
    "query_generation": URGENT,
    "function_calling": URGENT,
    "image_prompt_generation": URGENT,
}


@runtime_checkable
class HttpRequest(Protocol):
    """What the pipe asks of the host's `__request__`."""

    url: object

    def is_disconnected(self) -> Awaitable[bool]:
        """Whether the client has hung up."""
        ...


async def never_gone() -> bool:
    """The answer for a task whose client cannot be asked."""
    return False


def client_gone(request: object) -> Callable[[], Awaitable[bool]]:
    """A function that tells whether the page that asked for a task has gone.

    The tasks behind an answer carry the request of the chat, which is over. They always
    count as wanted.
    """
    if not (isinstance(request, HttpRequest) and "/tasks/" in str(request.url)):
        return never_gone

    async def gone() -> bool:
        # The web server listens for a hang-up from the first question on.
        if await request.is_disconnected():
            return True
        await asyncio.sleep(POLL)
        return await request.is_disconnected()

    return gone


async def result_unless_gone(
    gone: Callable[[], Awaitable[bool]], work: Coroutine[object, object, JsonObject]
) -> JsonObject | None:
    """The result of the work; None if the client goes first, which cancels the work."""
    running = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([running], timeout=POLL))[0]:
            if await gone():
                return None
        return running.result()
    finally:
        running.cancel()


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundTask:
    """A task of a chat; `gone` tells whether its client has gone."""

    kind: str
    chat: str = ""
    user: str = ""
    gone: Callable[[], Awaitable[bool]] = never_gone

    @property
    def key(self) -> tuple[str, str]:
        """A newer task with the same key replaces this one while it waits."""
        return self.kind, self.chat or self.user

    @property
    def waits(self) -> TaskWaits:
        """How long it waits."""
        return WAITS.get(self.kind, ORDINARY)


@dataclass(slots=True)
class ServerLoad:
    """What one server does: answers by chat, running tasks, and the newest waiting ones."""

    answers: Counter[str] = field(default_factory=Counter)
    running: int = 0
    newest: dict[tuple[str, str], BackgroundTask] = field(default_factory=dict)


class AnswersFirst:
    """Answers never wait; tasks wait for answers and run one after another."""

    def __init__(self) -> None:
        self._loads: defaultdict[str, ServerLoad] = defaultdict(ServerLoad)

    @contextlib.contextmanager
    def answering(self, server: str, chat: str = "") -> Iterator[None]:
        """Hold the tasks of a server back while an answer streams."""
        answers = self._loads[server].answers
        answers[chat] += 1
        try:
            yield
        finally:
            answers[chat] -= 1
            answers += Counter()  # drops the chats that have no answer now

    def answers_on(self, server: str) -> int:
        """How many answers stream from a server at the moment."""
        load = self._loads.get(server)
        return load.answers.total() if load else 0

    def live_answers(self) -> int:
        """How many answers stream from all servers at the moment."""
        return sum(map(self.answers_on, self._loads))

    @contextlib.asynccontextmanager
    async def turn(self, server: str, task: BackgroundTask) -> AsyncIterator[bool]:
        """Wait until the task may run; yields False if it is dropped instead."""
        load = self._loads[server]
        # Tasks that answers wait for are not replaced: each of two answers needs its own.
        if task.waits.droppable and task.key[1]:
            load.newest[task.key] = task
        try:
            granted = await self._granted(load, task)
            load.running += granted
            try:
                yield granted
            finally:
                load.running -= granted
        finally:
            if load.newest.get(task.key) is task:
                del load.newest[task.key]

    async def _granted(self, load: ServerLoad, task: BackgroundTask) -> bool:
        waits, began = task.waits, time.monotonic()
        last_answer = waits_since = began
        pause = min(POLL, waits.settle)
        while True:
            await asyncio.sleep(pause)
            pause, now = POLL, time.monotonic()
            if load.newest.get(task.key, task) is not task or await task.gone():
                return False
            if load.answers:
                last_answer = now
            own = task.chat and load.answers[task.chat]
            if own and now - began < waits.own:
                waits_since = now
                continue
            waited = now - waits_since
            quiet = not load.answers and now - last_answer >= waits.settle
            if not load.running and (quiet or waited >= waits.others):
                return True
            if waited >= waits.longest:
                return not waits.droppable


# ======================================================================================
# openwebui_pipe/host_manner.py
# How the host treats a reply, which depends on its version and on who asks.


@dataclass(frozen=True, slots=True)
class HostManner:
    """What the host does with this reply.

    `answers_any_call`: it tells the model itself that a tool is unknown or its arguments
    are wrong. `shows_errors`: it has a place for an error beside the answer.
    `reads_tags`: it reads tags in the answer as thinking, until it gets thinking in the
    separate field. `tags_end_folds`: it always reads them so, and tags in the thinking
    end its fold.
    """

    answers_any_call: bool = False
    shows_errors: bool = True
    reads_tags: bool = False
    tags_end_folds: bool = False


def is_api_call(metadata: JsonObject) -> bool:
    """Whether a program sent the request, and not a page of Open WebUI or a channel."""
    return not metadata.get("session_id")


def manner_of(metadata: JsonObject) -> HostManner:
    """How this host treats the reply to this request."""
    if is_api_call(metadata):
        return HostManner()
    known, new = host_version() is not None, at_least(0, 10)
    return HostManner(
        answers_any_call=new,
        shows_errors=not str(metadata.get("chat_id")).startswith("channel:"),
        reads_tags=known,
        tags_end_folds=known and not new,
    )


# ======================================================================================
# openwebui_pipe/tag_breaker.py
# Changes tags that a model only talks about, so that the host shows them as text.

THINKING_TAGS: Final = (
    *("<think", "</think", "<reason", "</reason", "<thought", "</thought"),
    *("<|begin_of_", "<|end_of_", "◁think", "◁/think"),
)
"""How the tags begin that Open WebUI reads as thinking in an answer."""
FOLD_TAGS: Final = (*THINKING_TAGS, "<details", "</details")
"""How the tags begin that end the fold of the thinking in Open WebUI 0.6."""


class TagBreaker:
    """Puts an invisible character into each tag, however the text is cut."""

    def __init__(self, tags: Iterable[str]) -> None:
        starts = tuple(tags)
        self._tags = re.compile("|".join(map(re.escape, starts)), re.IGNORECASE)
        self._beginnings = {tag[:n] for tag in starts for n in range(1, len(tag))}
        self._longest = max(map(len, starts)) - 1
        self._held = ""  # the end of the text, while it may become a tag

    def feed(self, text: str) -> str:
        """The text with its tags broken; an end that may become a tag is held back."""
        text = self._held + text
        self._held = ""
        start = max(text.rfind(sign, -self._longest) for sign in "<◁")
        if start >= 0 and text[start:].lower() in self._beginnings:
            text, self._held = text[:start], text[start:]
        return self._tags.sub(_broken, text)

    def close(self) -> str:
        """The end of the text that was held back."""
        held, self._held = self._held, ""
        return held


def _broken(tag: re.Match[str]) -> str:
    return tag[0][0] + WORD_JOINER + tag[0][1:]


# ======================================================================================
# openwebui_pipe/chunks.py
# Events of a reply as the dict chunks that Open WebUI takes (openwebui.md, "Talking").

# The finish reasons that OpenAI's clients know. An error tells of any other.
OPENAI_FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


def merge_deltas(events: Iterable[Event]) -> list[Event]:
    """The same events with neighbouring pieces of text joined."""
    merged: list[Event] = []
    for kind, group in groupby(events, key=type):
        run = list(group)
        if kind is ReasoningDelta or kind is AnswerDelta:
            merged.append(kind("".join(e.text for e in run if isinstance(e, kind))))
        else:
            merged += run
    return merged


@dataclass(frozen=True, slots=True)
class Pace:
    """When text came, in seconds after the request."""

    first: float
    last: float

    def of(self, usage: Usage) -> JsonObject:
        """The speed of a reply, which Open WebUI shows beside its token counts."""
        figures: JsonObject = {"time_to_first_token": round(self.first, 2)}
        if self.last > self.first:
            rate = (usage.completion_tokens - 1) / (self.last - self.first)
            figures["tokens_per_second"] = round(rate, 1)
        return figures


class ChunkMaker:
    """Makes the chunks of one reply, which share an id."""

    def __init__(
        self, model: str, show_thinking: bool, manner: HostManner | None = None
    ) -> None:
        manner = manner or HostManner()
        self._show_thinking = show_thinking
        self._in_answer = TagBreaker(THINKING_TAGS) if manner.reads_tags else None
        self._in_thinking = TagBreaker(FOLD_TAGS) if manner.tags_end_folds else None
        self.logprobs: list[Json] = []  # those of the answer so far
        self._told = 0  # how many of them were in chunks
        self._thought_last = False  # whether the last piece was thinking
        self._head: JsonObject = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    def answer(self, event: AnswerDelta) -> list[JsonObject]:
        """A piece of the answer."""
        text = self._in_answer.feed(event.text) if self._in_answer else event.text
        self._thought_last = False
        return [*self._rest_of_thinking(), *self._said(text)]

    def thinking(self, event: ReasoningDelta) -> list[JsonObject]:
        """A piece of the thinking; no chunks if it is hidden."""
        if not self._show_thinking:
            return []
        apart = isinstance(event, FurtherThought) and self._thought_last
        text = PARAGRAPH + event.text if apart else event.text
        text = self._in_thinking.feed(text) if self._in_thinking else text
        self._thought_last = True
        chunks = [*self._rest_of_answer(), *map(self._chunk, self._thought(text))]
        if not self._in_thinking:
            self._in_answer = None  # from now on the host reads no tags
        return chunks

    def ending(
        self, reply: Reply, calls: list[ToolCall], pace: Pace | None = None
    ) -> list[JsonObject]:
        """Tool calls, the true finish reason where there is one, and token counts.

        From 0.10 on, Open WebUI sends `reasoning_details` back with a tool's result; older
        versions send back the thinking that they show. It also shows these details, so
        hidden thinking is not sent.
        """
        chunks = [*self._rest_of_thinking(), *self._rest_of_answer()]
        if calls:
            if reply.reasoning and self._show_thinking:
                thought: Json = {"type": "reasoning.text", "text": reply.reasoning}
                chunks.append(self._chunk({"reasoning_details": [thought]}))
            chunks.append(self._chunk({"tool_calls": native_calls(calls)}))
        if reply.finish_reason in OPENAI_FINISH_REASONS:
            chunks.append(self._chunk({}, finish_of(reply, calls)))
        if reply.usage:
            figures = usage_of(reply.usage, pace)
            chunks.append({**self._head, "choices": [], **figures})
        return chunks

    def whole(
        self, reply: Reply, calls: list[ToolCall], pace: Pace | None = None
    ) -> JsonObject:
        """The reply as one chat completion, for a request that does not stream."""
        message: JsonObject = {"role": "assistant", "content": reply.answer}
        if self._show_thinking:
            for part in self._thought(reply.reasoning):
                message |= part
        if calls:
            message["tool_calls"] = native_calls(calls)
        known = reply.finish_reason in OPENAI_FINISH_REASONS
        reason = finish_of(reply, calls) if known else "stop"
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": reason}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs}
        figures = usage_of(reply.usage, pace) if reply.usage else {}
        return self._head | {"object": "chat.completion", "choices": [choice]} | figures

    def _said(self, text: str) -> list[JsonObject]:
        return [self._chunk({"content": text})] if text else []

    def _thought(self, text: str) -> list[JsonObject]:
        return [{"reasoning_content": text}] if text else []

    def _rest_of_answer(self) -> list[JsonObject]:
        return self._said(self._in_answer.close()) if self._in_answer else []

    def _rest_of_thinking(self) -> list[JsonObject]:
        rest = self._in_thinking.close() if self._in_thinking else ""
        return [self._chunk(piece) for piece in self._thought(rest)]

    def _chunk(self, delta: JsonObject, reason: str | None = None) -> JsonObject:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
        if self.logprobs[self._told :] and ("content" in delta or reason):
            choice["logprobs"] = {"content": self.logprobs[self._told :]}
            self._told = len(self.logprobs)
        return {**self._head, "choices": [choice]}


def finish_of(reply: Reply, calls: list[ToolCall]) -> str:
    """The finish reason. Calls that only the host can answer count as tool calls, too."""
    called = calls and reply.finish_reason == "stop"
    return "tool_calls" if called else reply.finish_reason


def native_calls(calls: Iterable[ToolCall]) -> list[Json]:
    """Tool calls in OpenAI's form.

    Arguments that are not JSON become a JSON string. The host then tells the model that
    they must be an object.
    """
    sent: list[Json] = []
    for index, call in enumerate(calls):
        arguments = call.arguments if call.valid else dump_json(call.arguments)
        sent.append({"index": index, **openai_call(call.id, call.name, arguments)})
    return sent


def usage_of(usage: Usage, pace: Pace | None) -> JsonObject:
    """Token counts in OpenAI's form, and how fast they came."""
    counts: JsonObject = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    return {"usage": counts | (pace.of(usage) if pace else {})}


def error_chunk(text: str) -> JsonObject:
    """An error that every version shows below what came before (openwebui.md, rule 6)."""
    return {"error": {"message": text, "detail": text}}


# ======================================================================================
# openwebui_pipe/http_replies.py
# HTTP responses to programs, which Open WebUI passes on unchanged.
#
# It would send an error in a dict with status 200, and add a finish reason to a generator's.


def is_anthropic(request: object) -> bool:
    """Whether the request came by Anthropic's Messages API: the host converts its reply."""
    return isinstance(request, HttpRequest) and "/message" in str(request.url)


def error_reply(completion: JsonObject, status: int) -> StreamingResponse:
    """A failed completion as an HTTP error, which OpenAI's clients raise."""
    body = dump_json(completion).encode()

    async def content() -> AsyncIterator[bytes]:
        yield body

    reply = StreamingResponse(content(), status, media_type="application/json")
    reply.body = body  # the host reads the message here
    return reply


def stream_reply(chunks: AsyncGenerator[JsonObject, None]) -> StreamingResponse:
    """Chunks as an event stream, to which the host adds nothing."""
    return StreamingResponse(event_stream(chunks), media_type="text/event-stream")


async def event_stream(
    chunks: AsyncGenerator[JsonObject, None],
) -> AsyncGenerator[str, None]:
    """The chunks as server-sent events."""
    try:
        async for chunk in chunks:
            yield f"data: {dump_json(chunk)}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        await chunks.aclose()


# ======================================================================================
# openwebui_pipe/status.py
# The status line above an answer.

log = logging.getLogger(__name__)
Emitter = Callable[[JsonObject], Awaitable[None]]

# Open WebUI stores every line in the chat, so there are few.
PROGRESS_STEP: Final = 5
"""Per cent of the prompt between two lines."""
FIRST_WAITS: Final = (5, 10, 20, 30)
"""Seconds of silence at which the line tells them; then once a minute."""


class Status:
    """Shows one line at a time; without an emitter nothing is shown."""

    def __init__(self, emitter: Emitter | None, language: Language) -> None:
        self._emitter = emitter
        self._language = language
        self._shown = ""
        self._percent = -PROGRESS_STEP
        self._read: tuple[int, float] | None = None  # tokens, and when
        self._waiting: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Show for how long the server has been silent, until another line is shown."""
        await self.show("waiting")
        if self._emitter:
            self._waiting = asyncio.create_task(self._count_seconds())

    async def show(self, name: str, done: bool = False, **values: object) -> None:
        """Show one of the pipe's phrases; if it is `done`, `hide` leaves it."""
        self._stop_counting()
        await self._show(phrase(name, self._language, **values), done)

    async def progress(self, event: Progress) -> None:
        """Show how much of the prompt is read and how fast, in steps."""
        self._stop_counting()
        percent = min(100, 100 * event.done // max(1, event.total))
        if percent < self._percent + PROGRESS_STEP:
            return
        self._percent = percent
        now = time.monotonic()
        tokens, since = self._read or (event.done, now)
        self._read = tokens, since
        if event.done > tokens and now > since:
            rate = f"{(event.done - tokens) / (now - since):,.0f}"
            await self.show("reading_at", percent=percent, rate=rate)
        else:
            await self.show("reading", percent=percent)

    async def hide(self) -> None:
        """Take the line away."""
        self._stop_counting()
        if self._shown:
            await self._line(self._shown, done=True, hidden=True)
            self._shown = ""

    async def notify(self, text: str) -> None:
        """Show a text once, beside the chat."""
        await self._send("notification", {"type": "warning", "content": text})

    async def _count_seconds(self) -> None:
        waited = 0
        for seconds in chain(FIRST_WAITS, count(60, 60)):
            await asyncio.sleep(seconds - waited)
            waited = seconds
            text = phrase("still_waiting", self._language, seconds=seconds)
            await self._show(text)

    def _stop_counting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    async def _show(self, text: str, done: bool = False) -> None:
        if text != self._shown:
            self._shown = "" if done else text
            await self._line(text, done=done, hidden=False)

    async def _line(self, text: str, *, done: bool, hidden: bool) -> None:
        data: JsonObject = {"description": text, "done": done, "hidden": hidden}
        await self._send("status", data)

    async def _send(self, kind: str, data: JsonObject) -> None:
        if self._emitter is None:
            return
        try:
            await self._emitter({"type": kind, "data": data})
        except Exception:
            # The answer is more important than an error of the host here.
            log.exception("Open WebUI did not take an event")
            self._emitter = None


# ======================================================================================
# openwebui_pipe/model_file.py
# A small file that keeps the models of each server over a restart.

FILE_NAME: Final = "mlx_harmony_models.json"
MAX_FILE: Final = 4_000_000
"""Most bytes that are read; with the next three bounds the file stays smaller."""
MAX_KEPT_SERVERS: Final = 32
MAX_KEPT_MODELS: Final = 100
MAX_KEPT_ID: Final = 256


def data_folder() -> Path | None:
    """The folder with Open WebUI's data; None outside of Open WebUI."""
    try:
        return Path(importlib.import_module("open_webui.env").DATA_DIR)
    except (ImportError, AttributeError, TypeError):
        return None


class ModelFile:
    """The file; without a folder nothing is kept. A file that cannot be used is no error."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE_NAME if folder else None
        self._lock = threading.Lock()

    def models(self, endpoint: Endpoint) -> tuple[str, ...]:
        """The ids kept for a server."""
        kept = as_list(self._read().get(visible_url(endpoint.models_url)))
        return tuple(name for name in kept if isinstance(name, str))

    def keep(self, endpoint: Endpoint, models: Sequence[str]) -> None:
        """Keep the ids of a server. Too many servers push out the one kept longest ago."""
        address = visible_url(endpoint.models_url)  # without a password or a key
        good = [name for name in models if len(name) <= MAX_KEPT_ID]
        kept: list[Json] = [*good[:MAX_KEPT_MODELS]]
        with self._lock:
            lists = self._read()
            if lists.pop(address, None) != kept:
                newest = [*lists.items(), (address, kept)][-MAX_KEPT_SERVERS:]
                self._write(dict(newest))

    def _read(self) -> JsonObject:
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                return as_object(load_json(file.read(MAX_FILE)))
        except (OSError, ValueError):  # it does not exist yet, or is damaged
            return {}

    def _write(self, lists: JsonObject) -> None:
        if self._path is None:
            return
        # A process that reads at the same time finds the old file or the new one.
        fresh = self._path.with_name(f"{FILE_NAME}.{uuid.uuid4().hex}")
        try:
            fresh.write_text(dump_json(lists), "utf-8")
            fresh.replace(self._path)
        except (OSError, ValueError) as error:
            log.warning("The list of models was not kept: %s", error)
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


# ======================================================================================
# openwebui_pipe/known_models.py
# The models that each server listed last, also while it does not answer.

MODELS_FRESH: Final = 10.0
"""Seconds for which a list is not asked for again; every page load needs it."""
SILENT_SERVER_WAIT: Final = 0.5
"""Seconds that a page waits for a server that gave no list the last time."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """The ids that a server listed last, whether it still does, and when it was asked."""

    ids: tuple[str, ...]
    answers: bool = True
    asked: float = float("-inf")


class KnownModels:
    """The lists of all servers in the settings."""

    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._lists: dict[Endpoint, ModelList] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def of(self, endpoint: Endpoint) -> ModelList:
        """The list of a server; an empty one if it never gave any."""
        return self._lists.get(endpoint) or ModelList(())

    async def refresh(self, endpoints: Sequence[Endpoint], connect: float) -> None:
        """Ask the servers again, all at the same time.

        A server that is down delays one page only. If a later answer of it comes too late
        for the page that asked, the next page has it.
        """
        known = self._lists
        self._lists = {each: known[each] for each in endpoints if each in known}
        if new := [each for each in endpoints if each not in known]:
            kept = await asyncio.to_thread(lambda: [*map(self._file.models, new)])
            for endpoint, ids in zip(new, kept, strict=True):
                self._lists.setdefault(endpoint, ModelList(ids))
        await asyncio.gather(*(self._refresh(each, connect) for each in endpoints))

    async def _refresh(self, endpoint: Endpoint, connect: float) -> None:
        known = self.of(endpoint)
        if time.monotonic() - known.asked < MODELS_FRESH:
            return
        asking = asyncio.create_task(self._ask(endpoint, connect))
        self._asking.add(asking)  # the loop does not keep tasks alive
        asking.add_done_callback(self._asking.discard)
        # Without this limit the request still has LIST_TIMEOUT.
        limit = None if known.answers else SILENT_SERVER_WAIT
        await asyncio.wait([asking], timeout=limit)

    async def _ask(self, endpoint: Endpoint, connect: float) -> None:
        async with http_session(connect) as session:
            ids = await listed_models(session, endpoint)
        known = self.of(endpoint)
        self._lists[endpoint] = ModelList(
            ids or known.ids, ids is not None, time.monotonic()
        )
        if ids and ids != known.ids:
            await asyncio.to_thread(self._file.keep, endpoint, ids)


# ======================================================================================
# openwebui_pipe/servers.py
# The servers that the setting Base URL names, and which of them a model is on.

MAX_SERVERS: Final = 20
"""Most addresses that are read, because each page load asks all of them for their models."""
NO_KEY: Final = "-"
"""Stands for "this server has no key" in a list of keys."""

_SERVER_ENTRY: Final = re.compile(
    r"""
    (?:
        ["“「] (?P<quoted> [^"”」:/\n]* ) ["”」] \s* [=＝:：]? \s*  # "Mac Studio" http://…
      | (?P<plain> [^\s"=＝:：/,;] [^"=＝:：/,;\n]*? ) \s*
        (?: [=＝：] | : (?=\s) ) \s*                        # Mac Studio = http://…
    )?
    (?P<address> [^\s,;]+ )
    """,
    re.VERBOSE,
)
_NAME_QUOTES: Final = '"“”「」'


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A server, its name for people, and the prefix of its models' ids."""

    name: str
    endpoint: Endpoint
    prefix: str = ""


def servers_from(setting: Endpoint) -> list[ModelServer]:
    """The servers that the settings Base URL and API key list; at least one.

    The first has no prefix, so its models keep their ids when a second server is added. An
    invalid address counts as a server, too: a chat with it says what is wrong.
    """
    named = named_addresses(setting.base_url) or [("", "")]
    keys = keys_for(len(named), setting.api_key)
    servers: dict[Endpoint, ModelServer] = {}
    taken: set[str] = set()
    for (name, url), key in zip(named, keys, strict=True):
        endpoint = replace(setting, base_url=url, api_key=key)
        if endpoint in servers:
            continue
        prefix = prefix_of(name, len(servers) + 1, taken) if servers else ""
        taken.add(prefix)
        servers[endpoint] = ModelServer(name or host_port(endpoint), endpoint, prefix)
    return list(servers.values())


def named_addresses(setting: str) -> list[tuple[str, str]]:
    """Each address with its name, or "": `Studio = http://…` or `"Studio" http://…`."""
    return [
        (
            (match["quoted"] or match["plain"] or "").strip(),
            match["address"].strip(_NAME_QUOTES),
        )
        for match in islice(_SERVER_ENTRY.finditer(setting), MAX_SERVERS)
    ]


def keys_for(count: int, keys: str) -> list[str]:
    """A key for every server: one key is for all, several are in the order of the servers."""
    words = keys.split()
    if count == 1 or len(words) < 2:
        return [keys] * count
    words += [NO_KEY] * count
    return ["" if word == NO_KEY else word for word in words[:count]]


def prefix_of(name: str, position: int, taken: set[str]) -> str:
    """The prefix of a further server's ids, from its name or else its position."""
    word = re.sub(r"[^\w.-]+", "-", name.lower()).strip("-") or f"server-{position}"
    prefix = f"{word}::"
    return prefix if prefix not in taken else f"{word}-{position}::"


def host_port(endpoint: Endpoint) -> str:
    """The host and port of an address: the name of a server that the admin did not name."""
    url = visible_url(endpoint.models_url).removesuffix("/v1/models")
    return url.partition("://")[2]


def server_of(model: str, servers: Sequence[ModelServer]) -> tuple[ModelServer, str]:
    """The server that the id of an offered model names, and the model's id on that server."""
    for server in servers[1:]:
        if model.startswith(server.prefix):
            return server, model.removeprefix(server.prefix)
    return servers[0], model


# ======================================================================================
# openwebui_pipe/model_list.py
# Which models are offered, under which ids and names.

FALLBACK_NAME: Final = "gpt-oss (MLX)"
"""Name of the model that the server was started with; it is offered if there is no list."""

# Servers also list models that cannot chat.
_NO_CHAT: Final = re.compile(
    r"(?<![a-z])(embed|rerank|bge-|e5-|gte-|all-minilm|colbert)"
)
_BETWEEN_WORDS: Final = re.compile(r"[,，、;；|\n]")


def words_of(setting: str) -> list[str]:
    """The words of a setting, separated by commas, `|`, semicolons or lines."""
    return [word for part in _BETWEEN_WORDS.split(setting) if (word := part.strip())]


def wanted_models(ids: Sequence[str], patterns: str) -> list[str]:
    """The ids that match a pattern (part of an id, or a glob); "" means all that can chat.

    `-` and `_` count as the same, and so do capitals and small letters.
    """
    words = [comparable(word) for word in words_of(patterns)]
    globs = [word if set(word) & set("*?[") else f"*{word}*" for word in words or "*"]
    return [
        name
        for name in ids
        if any(fnmatchcase(comparable(name), glob) for glob in globs)
        and not _NO_CHAT.search(comparable(name))
    ]


def comparable(text: str) -> str:
    """The spelling in which names are compared."""
    return text.lower().replace("_", "-")


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Each id with a short name: its last part, or more if two ids share that part."""
    parts = {name: name.replace("\\", "/").rstrip("/").rpartition("/") for name in ids}
    count = Counter(last for _, _, last in parts.values())
    return {
        name: last if count[last] == 1 else f"{last} ({owner})" if owner else name
        for name, (owner, _, last) in parts.items()
    }


def with_named_models(
    listed: Mapping[ModelServer, Sequence[str]], named: str
) -> dict[ModelServer, list[str]]:
    """The models that each server lists, and those that the admin named in addition."""
    models = {server: [*ids] for server, ids in listed.items()}
    for word in words_of(named):
        server, model = server_of(word, [*listed])
        if model not in models[server]:
            models[server].append(model)
    return models


def model_entries(
    models: Mapping[ModelServer, Sequence[str]], prefix: str, shared: bool
) -> dict[str, str]:
    """The ids and names that Open WebUI shows: at least one for each server.

    Names show the server if there are several. With `shared`, a model that several
    servers have is one entry, with the id of the first.
    """
    lead = f"{prefix} " if prefix[-1:].isalnum() else prefix
    copies = Counter(model for ids in models.values() for model in ids)
    entries: dict[str, str] = {}
    joined: set[str] = set()
    for server, ids in models.items():
        names = short_names(ids) or {DEFAULT_MODEL: FALLBACK_NAME}
        for model, name in names.items():
            if model in joined:
                continue
            if shared and copies[model] > 1:
                joined.add(model)
            elif len(models) > 1:
                name = f"{server.name} · {name}"
            entries[server.prefix + model] = lead + name
    return entries


# ======================================================================================
# openwebui_pipe/verdict.py
# Decides what the user is told about a reply, or about a failure to get one.

FIRST_EFFORT: Final = (0, 30, 6)
"""The first mlx-lm that takes a reasoning effort with each request."""

reply_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """The settings of one reply.

    `left_out`: the tools that the pipe did not send. `answer_tokens`: the most tokens of
    the answer without its thinking (0: no limit). `live_answers`: how many answers stream
    at the moment.
    """

    language: Language
    manner: HostManner
    left_out: frozenset[str]
    answer_tokens: int
    live_answers: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What went wrong, for people and as an HTTP status for programs."""

    text: str
    status: int


class Verdict:
    """Finds what is wrong with a reply; `calls` are those of its calls that the host gets."""

    def __init__(self, exchange: Exchange, rules: ReplyRules) -> None:
        self._exchange = exchange
        self._rules = rules

    def calls_to_run(self, reply: Reply) -> list[ToolCall]:
        """The calls that the host gets; it would also run a tool that the pipe left out."""
        others = self._rules.manner.answers_any_call and not reply.truncated
        return [
            call
            for call in reply.tool_calls
            if call.executable or (others and call.name not in self._rules.left_out)
        ]

    def of_reply(self, reply: Reply, calls: list[ToolCall]) -> Complaint | None:
        """What is wrong with a reply that arrived; None if nothing is."""
        budget, endpoint = self._exchange.request.max_tokens, self._exchange.endpoint
        problem = explain_reply(
            reply,
            base_url=endpoint.base_url,
            fingerprint=self._exchange.stream.fingerprint,
            deltas=self._exchange.stream.deltas,
            max_tokens=budget if isinstance(budget, int) else None,
            api_key=endpoint.api_key,
        )
        if problem:
            return self._complaint(problem)
        lost = self._lost_calls(reply, calls)
        return Complaint(lost[0], 422) if lost and not calls else None

    def of_failure(self, error: Exception) -> Complaint:
        """What to say of an exception: a failure of the server, or a defect of the pipe."""
        if isinstance(error, ServerError):
            return self._complaint(error.problem)
        reply_log.error("The pipe failed", exc_info=error)
        kind = type(error).__name__
        return Complaint(phrase("failed", self._rules.language, error=kind), 500)

    def remarks(self, reply: Reply, calls: list[ToolCall]) -> list[str]:
        """The notices beside a reply that has no error."""
        remarks = self._lost_calls(reply, calls)[:1] if calls else []
        if self._ignores_effort():
            remarks.append(phrase("effort_ignored", self._rules.language))
        return remarks

    def _lost_calls(self, reply: Reply, calls: list[ToolCall]) -> list[str]:
        """For each call that the host does not get, the reason."""
        return [self._reason(call) for call in reply.tool_calls if call not in calls]

    def _reason(self, call: ToolCall) -> str:
        name = "bad_call" if call.declared else "tool_off"
        if call.name in self._rules.left_out:
            name = "tool_left_out"
        return phrase(name, self._rules.language, tool=call.name)

    def _ignores_effort(self) -> bool:
        """Whether the server ignores the effort that was asked for; only said in a first turn."""
        version = server_version(self._exchange.stream.fingerprint)
        if version is None or version >= FIRST_EFFORT:
            return False
        request = self._exchange.request
        roles = {message.get("role") for message in objects_in([*request.messages])}
        effort = request.effort or request.default_effort
        return effort != "medium" and "assistant" not in roles

    def _complaint(self, problem: Problem) -> Complaint:
        # OpenAI's clients repeat a request by themselves after 429 or 5xx.
        status = 422 if problem.stage == "reply" else 502
        status = 429 if problem.kind == "rate_limited" else status
        return Complaint(problem.text(self._rules.language), status)


# ======================================================================================
# openwebui_pipe/reply.py
# One reply: from the request to the last chunk, or to the error in its place.

SHORTEST_PAUSE: Final = 0.05
"""Seconds between two chunks, in which text gathers: many tiny deltas tax the browser."""
LONGEST_PAUSE: Final = 0.15


def pause_between_chunks(live_answers: int) -> float:
    """Longer if many answers stream: a chunk costs the host more than the text in it."""
    return min(LONGEST_PAUSE, SHORTEST_PAUSE + 0.025 * max(0, live_answers - 1))


class Stopwatch:
    """Notes when the first and the last text came."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first = self._last = 0.0

    def note(self) -> None:
        """Text has come just now."""
        self._last = time.monotonic()
        self._first = self._first or self._last

    @property
    def pace(self) -> Pace | None:
        """When the first and the last text came, if any did."""
        if not self._first:
            return None
        return Pace(self._first - self._began, self._last - self._began)


class PipeReply:
    """One reply in progress. Stop cancels it at an await, which closes the connection.

    `hold` keeps background tasks off the server while it is entered.
    """

    def __init__(
        self,
        exchange: Exchange,
        maker: ChunkMaker,
        status: Status,
        rules: ReplyRules,
        hold: AbstractContextManager[None],
    ) -> None:
        self.complaint: Complaint | None = None  # about the reply of `completion`
        self._exchange = exchange
        self._maker = maker
        self._status = status
        self._rules = rules
        self._verdict = Verdict(exchange, rules)
        self._hold = hold
        self._events: list[Event] = []  # joined, and without progress
        self._watch = Stopwatch()
        self._answer_tokens = 0  # one comes with each delta

    async def chunks(self) -> AsyncGenerator[JsonObject, None]:
        """The reply as chunks. A failure is the last one, because raising would lose the text."""
        try:
            with self._hold:
                await self._status.wait()
                async with self._exchange.open() as content:
                    while not self._is_over:
                        chunks = await self._read(content)
                        for chunk in chunks:
                            yield chunk
                        if chunks and not self._is_over:
                            live = self._rules.live_answers()
                            await self._exchange.rest(pause_between_chunks(live))
            reply = collect(self._events)
            calls = self._verdict.calls_to_run(reply)
            for chunk in self._maker.ending(reply, calls, self._watch.pace):
                yield chunk
            if complaint := self._verdict.of_reply(reply, calls):
                for chunk in self._error_chunks(complaint):
                    yield chunk
            elif reply.outcome == "cut":
                budget = self._exchange.request.max_tokens
                await self._status.show("cut", done=True, budget=budget)
            for remark in self._verdict.remarks(reply, calls):
                await self._status.notify(remark)
        except Exception as error:  # noqa: BLE001 - the host would wait for ever
            for chunk in self._error_chunks(self._verdict.of_failure(error)):
                yield chunk
        finally:
            await self._status.hide()

    async def completion(self) -> JsonObject:
        """The reply as one chat completion, with the answer and the error if it has both."""
        try:
            with self._hold:
                async with self._exchange.open() as content:
                    while not self._is_over:
                        await self._read(content)
            reply = collect(self._events)
            calls = self._verdict.calls_to_run(reply)
            self.complaint = self._verdict.of_reply(reply, calls)
            whole = self._maker.whole(reply, calls, self._watch.pace)
            if not self.complaint:
                return whole
            error = error_chunk(self.complaint.text)
            return whole | error if reply.answer else error
        except Exception as failure:  # noqa: BLE001 - the host would show nothing
            self.complaint = self._verdict.of_failure(failure)
            return error_chunk(self.complaint.text)

    @property
    def _is_over(self) -> bool:
        return self._exchange.stream.finished or self._has_enough

    @property
    def _has_enough(self) -> bool:
        """Whether the answer is as long as it may be."""
        return 0 < self._rules.answer_tokens <= self._answer_tokens

    async def _read(self, content: aiohttp.StreamReader) -> list[JsonObject]:
        """Wait for events, update the status line, and return the chunks."""
        events = await self._exchange.read(content)
        self._maker.logprobs = self._exchange.stream.logprobs.found
        self._answer_tokens += sum(isinstance(event, AnswerDelta) for event in events)
        chunks: list[JsonObject] = []
        for event in merge_deltas(events):
            if isinstance(event, Progress):
                await self._status.progress(event)
                continue
            self._events.append(event)
            if isinstance(event, AnswerDelta):
                await self._status.hide()
                self._watch.note()
                chunks += self._maker.answer(event)
            elif isinstance(event, ReasoningDelta):
                self._watch.note()
                shown = self._maker.thinking(event)
                # The host's own fold says that the model thinks.
                await (self._status.hide() if shown else self._status.show("thinking"))
                chunks += shown
        if self._has_enough and not self._exchange.stream.finished:
            self._events.append(Finish("length"))
        return chunks

    def _error_chunks(self, complaint: Complaint) -> list[JsonObject]:
        """An error. In a channel it is text of the message, because the host shows no other."""
        if self._rules.manner.shows_errors:
            return [error_chunk(complaint.text)]
        text = phrase("error", self._rules.language, text=complaint.text)
        answered = any(isinstance(event, AnswerDelta) for event in self._events)
        return self._maker.answer(AnswerDelta(f"\n\n{text}" if answered else text))


# ======================================================================================
# openwebui_pipe/tool_policy.py
# Which tools of a request are sent to the server.

# The built-in tools that Open WebUI adds to every chat unasked, by its own names for the
# groups (the model's `builtinTools`). Built-in tools outside of this table are sent:
# somebody switched them on, or they are newer than the table.
UNASKED: Final[Mapping[str, str]] = {
    "time": "*_timestamp",
    "user_input": "ask_user",
    "knowledge": "*knowledge* kb_exec",
    "chats": "search_chats view_chat",
    "memory": "*memor*",
    "notes": "*_note *_notes *_note_*",
    "channels": "*channel*",
    "skills": "create_skill",
    "tasks": "create_tasks update_task",
    "automations": "*automation*",
    "calendar": "*calendar*",
    "notifications": "notify",
}


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The tools that are sent, and the names of those that the pipe leaves out."""

    sent: list[Json]
    left_out: frozenset[str]


def offer_of(
    body: JsonObject, known: object, policy: str, metadata: object, user: object
) -> ToolOffer:
    """The tools of a request under the policy of the Valve TOOLS.

    `known` is the host's `__tools__`, which tells the built-in tools by name. Since Open
    WebUI 0.10 those that nobody chose are in every request: 20 kB with each "hello".
    """
    tools, entries = as_list(body.get("tools")), as_object(known)
    if policy == "off":
        return ToolOffer([], frozenset({*entries, *map(name_of, tools)}))
    left_out: frozenset[str] = frozenset()
    if policy == "user-selected":
        built_in = {
            n for n, e in entries.items() if as_object(e).get("type") == "builtin"
        }
        if built_in:
            left_out = unasked(built_in, as_object(metadata), user, prompt_of(body))
    return ToolOffer([t for t in tools if name_of(t) not in left_out], left_out)


def unasked(
    built_in: Iterable[str], metadata: JsonObject, user: object, prompt: str
) -> frozenset[str]:
    """The built-in tools that nobody asked for in this chat.

    A tool that the prompt names was asked for. The host names some in the chat of a note
    and where a skill is made.
    """
    on = groups_switched_on(metadata, user, prompt)
    off = (names.split() for group, names in UNASKED.items() if group not in on)
    patterns = [*chain.from_iterable(off)]
    found = {name for name in built_in if any(fnmatchcase(name, p) for p in patterns)}
    if "note" in attached_kinds(metadata):
        found.discard("view_note")
    # In a prompt, a plain word like `notify` need not mean the tool.
    return frozenset(n for n in found if "_" not in n or n not in prompt)


def groups_switched_on(metadata: JsonObject, user: object, prompt: str) -> set[str]:
    """The groups of built-in tools that somebody wants in this chat.

    The page of 0.12 switches memory on in every chat. An account that uses it has memories,
    which are in the prompt, or has switched it on in its settings.
    """
    groups = as_object(model_meta(metadata).get("builtinTools"))
    on = {group for group, wanted in groups.items() if wanted is True}
    if attached_kinds(metadata):
        on.add("knowledge")
    settings = as_object(as_object(as_object(user).get("settings")).get("ui"))
    uses_memory = settings.get("memory") is True or "<memory_context>" in prompt
    if uses_memory and as_object(metadata.get("features")).get("memory"):
        on.add("memory")
    return on


def attached_kinds(metadata: JsonObject) -> set[str]:
    """The kinds of knowledge of the model, the folder and the chat that only tools can read.

    Files of a chat are in the prompt already, unless the model's File Context is off.
    """
    meta = model_meta(metadata)
    folder, files = metadata.get("folder_knowledge"), objects_in(metadata.get("files"))
    items = objects_in(meta.get("knowledge")) + objects_in(folder)
    if as_object(meta.get("capabilities")).get("file_context") is False:
        items += [file for file in files if file.get("type") in ("collection", "note")]
    return {str(item.get("type")) for item in items}


def model_meta(metadata: JsonObject) -> JsonObject:
    """What an admin has set for the model of a chat."""
    info = as_object(as_object(metadata.get("model")).get("info"))
    return as_object(info.get("meta"))


def prompt_of(body: JsonObject) -> str:
    """The text of all system and user messages."""
    texts: list[str] = []
    for message in objects_in(body.get("messages")):
        if message.get("role") in ("system", "user"):
            content = message.get("content")
            said = [content, *(part.get("text") for part in objects_in(content))]
            texts += [text for text in said if isinstance(text, str)]
    return "\n".join(texts)


def name_of(tool: Json) -> str:
    """The name of an OpenAI tool object."""
    match tool:
        case {"function": {"name": str(name)}}:
            return name
    return ""


# ======================================================================================
# harmony_core/limits.py
# How much both clients take from a server.

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes that are read of an error; the useful words are in the first few hundred."""

MAX_LIST_BYTES: Final = 2 * 1024 * 1024
"""Bytes of a list of models; a longer one is not read at all."""

MAX_MODELS: Final = 2000
"""Models that are offered of one list."""

MAX_ID: Final = 300
"""Characters of a model's id; a longer one is left out."""

# ======================================================================================
# harmony_core/response_format.py
# OpenAI's `response_format` in words that the chat template takes.


def response_section(wanted: Json) -> str:
    """Harmony's "# Response Formats" section for an OpenAI `response_format`, or ""."""
    kinds = ("json_object", "json_schema")
    wanted = as_object(wanted)
    if wanted.get("type") not in kinds:
        return ""
    asked = as_object(wanted.get("json_schema"))
    schema = asked.get("schema")
    if isinstance(schema, dict):
        name = _one_line(asked.get("name")) or "response"
        note = _one_line(asked.get("description"))
        note = f"{note} The whole answer is JSON of this schema".lstrip()
    else:
        name, schema = "json_object", {"type": "object"}
        note = "The whole answer is one JSON object"
    note = f"// {note}, without any text or code fence around it."
    return (
        f"# Response Formats\n\n## {name}\n\n{note}\n{dump_json(fitting_json(schema))}"
    )


def _one_line(text: Json) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""


# ======================================================================================
# harmony_core/request.py
# A chat request as data: its address, and a JSON body that every server version accepts.

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


# ======================================================================================
# openwebui_pipe/transport.py
# One request to the server over aiohttp; every failure is a `ServerError`.

READ_SIZE: Final = 8192
"""Bytes parsed at once: some thirty tokens, well below a millisecond of work."""
LONGEST_BATCH: Final = 0.04
"""Seconds after which parsed events are passed on, even if more bytes have arrived."""
LIST_TIMEOUT: Final = 3.0
"""Seconds for GET /v1/models, which page loads wait for, and for the body of an error."""
SHORT_HISTORY: Final = 10_000
"""Characters that are cleaned within a millisecond or so; a message counts 100 more."""

NO_CONNECTION: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ValueError,  # aiohttp.InvalidURL among them
)


class Exchange:
    """One request to the server, and its reply as it arrives."""

    def __init__(
        self, request: ChatRequest, endpoint: Endpoint, timeouts: Timeouts
    ) -> None:
        self.request = request
        self.endpoint = endpoint
        self.timeouts = timeouts
        # Servers restart their numbers of calls with each reply, but Open WebUI wants unique ids.
        self.stream: ChatStream = request.chat_stream(f"call_{uuid4().hex}")
        self._begun = False
        self._response: aiohttp.ClientResponse | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[aiohttp.StreamReader]:
        """Send the request and yield the body of the reply.

        Leaving the context closes the connection, which stops the model. Raises
        `ServerError` if there is no reply to read.
        """
        # A long history must not block the loop, and a short one need not wait for a thread.
        short = is_short(self.request)
        body = self._body() if short else await asyncio.to_thread(self._body)
        async with http_session(self.timeouts.connect) as session:
            response = await self._reach(session, body)
            try:
                if response.status != 200:
                    raise await self._refusal(session, response)
                self._response = response
                yield response.content
            finally:
                response.close()

    def _body(self) -> bytes:
        return dump_json(self.request.payload()).encode()

    async def read(self, content: aiohttp.StreamReader) -> list[Event]:
        """Wait for bytes and return their events; call it until `stream.finished`.

        A broken connection ends the bytes, and so does a silence after a finish reason.
        `ChatStream` then tells whether the reply was whole. Raises `ServerError` for a
        silence before that.
        """
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        began = 0.0
        while True:
            data = await self._next_bytes(content)
            began = began or loop.time()
            events += self.stream.feed(data) if data else self.stream.close()
            enough = self.stream.finished or loop.time() - began > LONGEST_BATCH
            if enough or len(data) < READ_SIZE:
                return events
            await asyncio.sleep(0)  # much has arrived: let other chats have their turn

    async def rest(self, seconds: float) -> None:
        """Let text gather in the system's own buffer.

        A token that comes meanwhile does not wake the host: the next read takes them all.
        """
        connection = self._response.connection if self._response else None
        transport = connection.transport if connection else None
        # Under TLS uvloop would drop the text if the server closed meanwhile.
        if transport is None or self.endpoint.chat_url.startswith("https:"):
            await asyncio.sleep(seconds)
            return
        transport.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            transport.resume_reading()

    async def _next_bytes(self, content: aiohttp.StreamReader) -> bytes:
        phase: Phase = "idle" if self._begun else "first_byte"
        try:
            async with asyncio.timeout(self.timeouts.limit(phase)):
                data = await content.read(READ_SIZE)
        except TimeoutError:
            if self.stream.whole:
                return b""
            raise self._error(phase, "timeout") from None
        except (aiohttp.ClientError, OSError):
            return b""
        self._begun = True
        return data

    async def _reach(
        self, session: aiohttp.ClientSession, body: bytes
    ) -> aiohttp.ClientResponse:
        url, headers = self.endpoint.chat_url, self.endpoint.headers
        try:
            check = tls_check(self.endpoint)
        except OSError:
            raise self._error("connect", "tls/ca_file") from None
        try:
            async with asyncio.timeout(self.timeouts.first_byte):
                return await session.post(
                    url, data=body, headers=headers, ssl=check, allow_redirects=False
                )
        except NO_CONNECTION as error:
            raise self._error("connect", cause_of(error)) from None
        except TimeoutError:
            raise self._error("headers", "timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._error("headers", cause_of(error)) from None

    def _error(self, phase: Phase, cause: Cause = "") -> ServerError:
        """The error for a reply that did not come, or did not come whole."""
        seconds = self.timeouts.limit(phase)
        return self._explain(
            Failure(phase, self.endpoint.base_url, cause=cause, seconds=seconds)
        )

    async def _refusal(
        self, session: aiohttp.ClientSession, response: aiohttp.ClientResponse
    ) -> ServerError:
        """The error for a status other than 200; the model list shows if the model is unknown."""
        body, _ = await read_short(response.content, MAX_ERROR_BODY)
        failure = Failure(
            "status",
            self.endpoint.base_url,
            status=response.status,
            body=body.decode("utf-8", "replace"),
            location=response.headers.get("Location", ""),
            model=self.request.model,
            models=await listed_models(session, self.endpoint),
        )
        return self._explain(failure)

    def _explain(self, failure: Failure) -> ServerError:
        return ServerError(explain_failure(failure, api_key=self.endpoint.api_key))


def is_short(request: ChatRequest) -> bool:
    """Whether a request is plain text of at most SHORT_HISTORY characters, without schemas."""
    if request.tools or request.response_format:
        return False
    size = 0
    for message in request.messages:
        match message:
            case {"role": str(), "content": str(content), **others} if not others:
                size += len(content) + 100
            case _:
                return False
    return size < SHORT_HISTORY


def http_session(connect: float) -> aiohttp.ClientSession:
    """A session for one exchange.

    The system looks names up: aiohttp's own resolver does not know the `.local` names of
    Macs.
    """
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
    return aiohttp.ClientSession(timeout=timeout, connector=connector)


def tls_check(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """How https is checked: with the admin's certificates, in the usual way, or not at all.

    Raises OSError if the certificates are missing.
    """
    trusted = endpoint.trusted(os.environ)
    if isinstance(trusted, bool) or not endpoint.chat_url.startswith("https:"):
        return trusted is not False
    if os.path.isdir(trusted):
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)


async def read_short(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    """What arrives of a body within LIST_TIMEOUT and a limit of bytes, and whether it is all."""
    body = bytearray()
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            while len(body) <= limit:
                data = await content.read(READ_SIZE)
                if not data:
                    return bytes(body), True
                body += data
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return bytes(body[:limit]), False


async def listed_models(
    session: aiohttp.ClientSession, endpoint: Endpoint
) -> tuple[str, ...] | None:
    """The ids of GET /v1/models; () for an empty body, None if no whole list came in time."""
    url, headers = endpoint.models_url, endpoint.headers
    body, whole = b"no list", True
    try:
        get = session.get(
            url, headers=headers, ssl=tls_check(endpoint), allow_redirects=False
        )
        async with asyncio.timeout(LIST_TIMEOUT), get as response:
            if response.status == 200:
                body, whole = await read_short(response.content, MAX_LIST_BYTES)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return None
    ids, _ = listed_models_in(body) if whole else ((), False)
    return ids or (() if whole and not body else None)


# ======================================================================================
# harmony_core/events.py
# What a reply is made of: frozen events, and the reply they add up to.

FinishReason = Literal[
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "interrupted",
    "error",
    "not_a_stream",
]
WithAnswer = Literal["answered", "called", "cut"]
WithoutAnswer = Literal[
    "only_reasoning", "cut_in_reasoning", "broken_call", "cut", "empty"
]
Outcome = WithAnswer | WithoutAnswer | Literal["interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's thinking."""

    text: str


PARAGRAPH: Final = "\n\n"
"""What those who show two thoughts put between them."""


@dataclass(frozen=True, slots=True)
class FurtherThought(ReasoningDelta):
    """The first piece of a further message of thinking.

    Nothing separates two thoughts: a host that shows them puts a blank line there.
    """


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """A piece of what the user should read."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One complete tool call.

    `arguments` is JSON if `valid`, otherwise exactly what the model wrote. `declared`
    tells whether the caller offered the tool. `id` is the server's, or made up here.
    """

    id: str
    name: str
    arguments: str
    valid: bool
    declared: bool

    @property
    def executable(self) -> bool:
        """Whether a host may run it: an offered tool, and arguments that are JSON."""
        return self.valid and self.declared


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the server has read the prompt, in tokens (its keepalive comments)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The server's token counts; it did not have to read `cached_tokens` of the prompt."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply, always its last event.

    `reason` is "tool_calls" instead of the server's "stop" if at least one call is
    executable, and "interrupted" if the stream had no end. `truncated`: text was cut, or
    a call was dropped because it was incomplete. `detail` holds the server's words after
    an `error` frame, or the body if it was `not_a_stream`. `json_valid` is None if there
    was no JSON to judge. `thought` tells of thinking that a JSON reply leaves out.
    """

    reason: FinishReason
    truncated: bool = False
    detail: str = field(default="", repr=False)  # servers repeat keys
    json_valid: bool | None = None
    thought: bool = False


Event = ReasoningDelta | AnswerDelta | ToolCall | Progress | Usage | Finish


def has_executable_call(events: Iterable[Event]) -> bool:
    """Whether a host may run one of the calls among these events."""
    return any(isinstance(event, ToolCall) and event.executable for event in events)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, as `collect` sums it up."""

    reasoning: str = ""
    answer: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    truncated: bool = False
    finish_reason: FinishReason = "interrupted"
    usage: Usage | None = None
    detail: str = field(default="", repr=False)  # servers repeat keys
    json_valid: bool | None = None
    thought: bool = False

    @property
    def outcome(self) -> Outcome:
        """How the reply ended, as one word that a host can act on.

        `cut_in_reasoning`: `max_tokens` ran out before any answer. `only_reasoning`:
        the model stopped after thinking. `broken_call`: it stopped within a tool call.
        `cut`: a part of an answer or of a call is missing.
        """
        if self.finish_reason in ("error", "not_a_stream"):
            return "failed"
        if self.finish_reason == "interrupted":
            return "interrupted"
        if self.truncated and self.finish_reason == "stop":
            return "broken_call"
        if not (self.answer.strip() or self.tool_calls):
            return self._outcome_without_answer()
        if self.truncated and self.finish_reason != "tool_calls":
            return "cut"
        return "answered" if self.answer.strip() else "called"

    def _outcome_without_answer(self) -> WithoutAnswer:
        thought = self.thought or self.reasoning.strip()
        if self.finish_reason == "length":
            return "cut_in_reasoning" if thought else "cut"
        return "only_reasoning" if thought else "empty"


class ReplyBuilder:
    """Sums events up to a reply while they come; `Progress`, however often, takes no memory."""

    def __init__(self) -> None:
        self._reasoning: list[str] = []
        self._answer: list[str] = []
        self._calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._finish = Finish("interrupted", truncated=True)

    def add(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case AnswerDelta(text):
                self._answer.append(text)
            case ToolCall():
                self._calls.append(event)
            case Usage():
                self._usage = event
            case Finish():
                self._finish = event

    @property
    def reply(self) -> Reply:
        """What has come so far; without a `Finish` it is an interrupted reply."""
        finish = self._finish
        return Reply(
            "".join(self._reasoning),
            "".join(self._answer),
            tuple(self._calls),
            finish.truncated,
            finish.reason,
            self._usage,
            finish.detail,
            finish.json_valid,
            finish.thought,
        )


def collect(events: Iterable[Event]) -> Reply:
    """Sum events up to a reply; without a `Finish` it is an interrupted one."""
    builder = ReplyBuilder()
    for event in events:
        builder.add(event)
    return builder.reply


# ======================================================================================
# harmony_core/markers.py
# The control strings of Harmony and the names of its channels (harmony.md).

START = "<|start|>"
END = "<|end|>"
MESSAGE = "<|message|>"
CHANNEL = "<|channel|>"
CONSTRAIN = "<|constrain|>"
RETURN = "<|return|>"
CALL = "<|call|>"

CONTROL_TOKENS = (START, END, MESSAGE, CHANNEL, CONSTRAIN, RETURN, CALL)
TERMINATORS = (END, CALL, RETURN)
SPECIAL_TOKENS = ("<|endoftext|>", "<|startoftext|>", "<|endofprompt|>")
"""The other named tokens of o200k_harmony; the rest are `<|reserved_N|>`."""

ANALYSIS = "analysis"
COMMENTARY = "commentary"
FINAL = "final"
CHANNELS = (ANALYSIS, COMMENTARY, FINAL)

# ======================================================================================
# harmony_core/lexer.py
# Cuts text, in any pieces, into plain text and whole control strings ("markers").

LONGEST_HELD = 32
"""Characters that may have to wait: no awaited word is longer."""


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def beginnings(*words: str) -> frozenset[str]:
    """The proper beginnings of words: text that could still become one of them."""
    return frozenset(word[:n] for word in words for n in range(1, len(word)))


_RESERVED = r"<\|reserved_\d{1,6}\|>"
MARKER = re.compile(f"{any_of((*CONTROL_TOKENS, *SPECIAL_TOKENS))}|{_RESERVED}")
_AT_MARKERS = re.compile(f"({MARKER.pattern})")
_WHOLE_MARKER = re.compile(rf"([\s\ufffd]*)({MARKER.pattern})")
_UNFINISHED = beginnings(*CONTROL_TOKENS, *SPECIAL_TOKENS, "<|reserved_")
_RESERVED_UNFINISHED = re.compile(r"<\|reserved_(?:\d{1,6}\|?)?")


class Lexer:
    """Cuts the input at its markers, and holds back a tail that could become one.

    It returns text and markers by turns; text comes first and last, even if it is "".
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def delta(self, text: str) -> list[str]:
        """Take one token of the model; a marker is always a whole one (harmony.md, rule 9)."""
        whole = _WHOLE_MARKER.fullmatch(text)
        held, self.held = self.held, ""
        return [held + whole[1], whole[2], ""] if whole else [held + text]

    def text(self, text: str) -> list[str]:
        """Take text that may be cut anywhere."""
        text = self.held + text
        parts = _AT_MARKERS.split(text) if "|>" in text else [text]
        last = parts[-1]
        self.held = ""
        at = last.rfind("<", -LONGEST_HELD)  # a marker holds no other "<"
        if at >= 0 and _may_become_marker(last[at:]):
            parts[-1], self.held = last[:at], last[at:]
        return parts


def _may_become_marker(tail: str) -> bool:
    return tail in _UNFINISHED or bool(_RESERVED_UNFINISHED.fullmatch(tail))


# ======================================================================================
# harmony_core/recipients.py
# Whom a message is for: the offered tool that a garbled name means (harmony.md, rule 2).

READERS = frozenset(("final", "user", "response", "developer", "system"))
"""Recipients that are not tools: the body is the answer, on any channel."""

NAMESPACE = "functions."

_BEFORE_NAME = re.compile(r"\s*+(?:<\|\w*+\|>\s*+)*+")
# What may be glued to a name: a channel word, a type word, or a sign that no name holds.
_GLUED_TO_NAME = re.compile(
    r"(analysis|commentary|final|)(?:json|code|)(?![\w.\-/])", re.IGNORECASE
)
_THREE_WORDS = re.compile(r"[^\s<{\[\"]++(?:[ \t]++[^\s<{\[\"]++){0,2}")
_ONE_WORD = re.compile(r"[^\s<{\[\"]*+")
_GLUED_WORDS = ("analysis", "commentary", "final", "json", "code")
_GLUED_BEHIND = re.compile(
    r"(?:analysis|commentary|final)?(?:json|code)?[^\w]*\Z", re.I
)
_SIGNS = re.compile(r"[-_.\s]++")


def read_recipient(target: str, tools: Collection[str]) -> tuple[str, int]:
    """Find the name at the start of `target`, and where it ends.

    It is the offered tool that stands there in full, blanks included; else the only tool
    that it resembles; else the text up to a blank. `tools` come longest first.
    """
    start = _end_of(_BEFORE_NAME, target, 0)
    if target.startswith(NAMESPACE, start):
        start += len(NAMESPACE)
    for tool in tools:
        name = tool.removeprefix(NAMESPACE)
        if not target.startswith(name, start):
            continue
        if behind := _GLUED_TO_NAME.match(target, start + len(name)):
            return tool, behind.end(1)
    end = _end_of(_ONE_WORD, target, start)
    if start == end:
        return "", end
    by_key = _tools_by_key(tuple(tools))
    for spelling in _spellings(target, start, end):
        if similar := by_key.get(_key(spelling)):
            return similar, start + len(spelling)
    return target[start:end], end


def find_tool(name: str, tools: Collection[str]) -> str:
    """The offered tool that a name means, else the name alone."""
    return read_recipient(name, tools)[0]


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _spellings(target: str, start: int, end: int) -> Iterator[str]:
    """Candidates for the name: up to three words, then one, then one without glued words."""
    words = target[start : _end_of(_THREE_WORDS, target, start)]
    while " " in words or "\t" in words:
        yield words
        words = words.rpartition(" ")[0].rstrip() or words.partition("\t")[0]
    word = target[start:end]
    yield word
    if not word[-1:].isalnum() or word.lower().endswith(_GLUED_WORDS):
        yield _GLUED_BEHIND.sub("", word, count=1)


@lru_cache(maxsize=32)
def _tools_by_key(tools: tuple[str, ...]) -> dict[str, str]:
    """The tools by their keys, without those that share one."""
    keys = [_key(tool.removeprefix(NAMESPACE)) for tool in tools]
    pairs = zip(keys, tools, strict=True)
    return {key: tool for key, tool in pairs if key and keys.count(key) == 1}


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """The name without what a model garbles: case, `-`, `_`, `.` and blanks."""
    return _SIGNS.sub("", name).casefold()


# ======================================================================================
# harmony_core/header.py
# One message header in a tolerant grammar: from a first marker up to `<|message|>`.
#
# The model garbles headers in every way that harmony.md lists: the recipient in the role
# part, in the channel part, behind the type or twice, a channel twice or behind the role,
# a type without `<|constrain|>` or without the blank. So a header is cut at its markers
# into parts, and each part is searched for what it may hold.
# A rule that is named by its number alone is one of harmony.md.

Audience = Literal["user", "hidden", "tool"]

BARE_WAIT = 64
"""Characters behind a channel or a recipient that make a body without `<|message|>`."""

LONGEST_ROLE = 32
"""Characters of a header in which it shows whose message it begins."""

_HIDDEN_ROLES = ("user", "system", "developer")
_TOOL_ROLES = ("tool", "python")
_GLUED = (*CHANNELS, "assistant", "json", "code")
"""Words that may touch the `to=` or the channel behind them."""

_PART = re.compile(r"<\|(start|channel|constrain)\|>")
_CHANNEL = re.compile(
    rf"[\W_]*+({any_of(CHANNELS)})(?=\W|\Z|to=|{any_of(_GLUED)})", re.IGNORECASE
)
_ASSISTANT = re.compile(r"\s*+(?:assistant\s*+)*+")
_NAME = re.compile(r"\s*+[^\s<{]*+")
_CHANNEL_THEN_BLANK = re.compile(r"<\|channel\|>\s")
# What stands between a channel or a name and its body, where `<|message|>` is missing.
_CONSTRAIN = r"<\|constrain\|>\s*+[A-Za-z0-9_./+-]*+"
_BEHIND_CHANNEL = re.compile(
    rf"\s*+(?:{_CONSTRAIN}|(?:json|code)(?=\s*+(?:[{{\[\"]|\Z))|)\s*+"
)
_BEHIND_NAME = re.compile(
    rf"\s*+(?:{_CONSTRAIN}|(?:json|code)(?![A-Za-z0-9_])|)\s*+", re.IGNORECASE
)
_NAMED = re.compile(f"to=|{any_of(CHANNELS)}", re.IGNORECASE)
_TYPE_AND_VALUE = re.compile(
    r"\s*+(?:<\|constrain\|>\s*+)?+(?:json|code)\s*+(?:[{\[\"]|\Z)", re.IGNORECASE
)
_LONGEST_TARGET = len("to=functions.") + 64  # a tool's name has 64 characters at most
_VALUE_OR_END = re.compile(r"\s*+(?:\{|\Z)")
# How a header begins that counts inside an open body: a role and what follows it.
_ROLES = ("assistant", *_HIDDEN_ROLES, *_TOOL_ROLES)
_ROLE = rf"\s*+(?:(?:assistant)++|{any_of(_ROLES)}|(?:functions\.|browser)[^\s<]*+)"
_THEN = ("to=", *CHANNELS)
_BEGINS = re.compile(rf"{_ROLE}\s*+(?:{any_of(_THEN)})", re.IGNORECASE)
_ROLE_ONLY = re.compile(rf"{_ROLE}\s*+", re.IGNORECASE)
_MAY_BEGIN = re.compile(
    rf"\s*+(?:{any_of(beginnings(*_ROLES, 'functions.', 'browser'))}|)"
    rf"|{_ROLE}\s*+(?:{any_of(beginnings(*_THEN, 'assistant'))}|)",
    re.IGNORECASE,
)
_CHANNEL_BEGINS = re.compile(
    rf"\s*+(?:(?:{any_of(CHANNELS)})(?=\W|to=|{any_of(_GLUED)})|to=|functions\.)",
    re.IGNORECASE,
)
_CHANNEL_ONLY = re.compile(rf"\s*+(?:{any_of(CHANNELS)})\s*+", re.IGNORECASE)
_CHANNEL_MAY_BEGIN = re.compile(
    rf"\s*+(?:{any_of(beginnings(*CHANNELS, 'to=', 'functions.'))}"
    rf"|(?:{any_of(CHANNELS)})(?:{any_of(beginnings('to=', *_GLUED))}|)|)",
    re.IGNORECASE,
)
_OURS = ("assistant", "to=", "<|")  # how a header of the assistant's goes on
_OURS_SO_FAR = beginnings(*_OURS) | {""}
_KNOWN_PART = re.compile(
    rf"[\W_]*+(?:(?:{any_of(_ROLES)}|browser)(?![a-z])|functions\.|to=)"
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says; channel (if known) and recipient are "" where there is none.

    `audience` is whom the message is for: "user" (shown), "tool" (a tool's own message),
    "hidden" (of the user, system or developer, or to the assistant itself).
    `blank_first`: a blank follows `<|channel|>`, so one behind `<|message|>` is dropped
    (LLM-jp-4 writes one after each control token).
    """

    audience: Audience
    channel: str
    recipient: str
    blank_first: bool = False


def parse_header(
    raw: str, tools: Collection[str] = (), called: Collection[str] = ()
) -> Header:
    """Read a header; `tools` come longest first, `called` are those called so far."""
    raw = raw.replace("\ufffd", " ")  # an unfinished character in front of a marker
    audience: Audience = "user"
    channel = recipient = addressed_in = speaker = ""
    for kind, text in _parts(raw):
        to = _recipient_at(text)
        names = text if to < 0 else text[:to]
        if kind == "start":
            audience, speaker = _role(names, tools)
            assistant = _ASSISTANT.match(names)
            channel = _channel_in(names, assistant.end() if assistant else 0) or channel
        elif kind == "channel":
            channel = _channel_in(names) or channel
            audience, speaker = _tool_for_channel(names, tools) or (audience, speaker)
            if (recipient, addressed_in) == ("assistant", "channel"):  # a stray (T13)
                recipient = ""
        if to >= 0:
            recipient = read_recipient(text[to + 3 :], tools)[0] or recipient
            addressed_in = kind
    if speaker and speaker not in called and recipient in _NOBODY[addressed_in]:
        audience, recipient = "user", speaker
    return _addressed(audience, channel, recipient, raw, tools)


# Where a tool's name stands for the role or the channel, these leave it a call: results
# are addressed to the assistant behind the role.
_NOBODY = {"": ("",), "start": ("",), "channel": ("", "assistant"), "constrain": ("",)}


def _addressed(
    audience: Audience, channel: str, recipient: str, raw: str, tools: Collection[str]
) -> Header:
    if recipient == "assistant":
        audience = "hidden" if audience == "user" else audience
        recipient = ""
    elif recipient in READERS and recipient not in tools:
        channel, recipient = FINAL, ""
    return Header(audience, channel, recipient, bool(_CHANNEL_THEN_BLANK.search(raw)))


def _parts(raw: str) -> Iterator[tuple[str, str]]:
    rest = _PART.split(raw)  # nothing stands before the first marker
    return zip(rest[1::2], rest[2::2], strict=True)


def _recipient_at(text: str, start: int = 0, end: int | None = None) -> int:
    """Where a `to=` stands, but not inside a longer word; -1 without one."""
    at = text.find("to=", start, end)
    while at > start and (before := text[start:at])[-1:].isidentifier():
        if before.endswith(_GLUED):
            break
        at = text.find("to=", at + 1, end)
    return at


def _channel_in(names: str, start: int = 0) -> str:
    known = _CHANNEL.match(names, start)
    return known[1].lower() if known else ""


def _role(names: str, tools: Collection[str]) -> tuple[Audience, str]:
    """The audience of a role, and the offered tool that it names."""
    role = (names.split(maxsplit=1) or [""])[0]
    if role in _HIDDEN_ROLES:
        return "hidden", ""
    tool = _offered(role, tools)
    is_tool = tool or role in _TOOL_ROLES or role.startswith((NAMESPACE, "browser"))
    return ("tool" if is_tool else "user"), tool


def _tool_for_channel(
    names: str, tools: Collection[str]
) -> tuple[Audience, str] | None:
    names = names.strip()
    tool = _offered(names, tools) if names.startswith(NAMESPACE) else ""
    return ("tool", tool) if tool else None


def _offered(name: str, tools: Collection[str]) -> str:
    bare = name.removeprefix(NAMESPACE)
    return next((tool for tool in tools if tool.removeprefix(NAMESPACE) == bare), "")


def split_bare(raw: str, tools: Collection[str]) -> tuple[str, str] | None:
    """Cut a header without `<|message|>` from its body (rule 5).

    None where it has neither a known channel nor a recipient.
    """
    read = raw.replace("\ufffd", " ")
    if not _NAMED.search(read):
        return None
    at = _last_part(read)
    if (to := _recipient_at(read, at)) >= 0:
        _, length = read_recipient(read[to + 3 :], tools)
        end = to + 3 + length
        body = _BEHIND_NAME.match(read, end)
    elif known := _CHANNEL.match(read, at):
        end = known.end()
        body = _BEHIND_CHANNEL.match(read, end)
    else:
        return None
    return raw[:end], raw[body.end() if body else end :]


def bare_body_at(raw: str) -> int:
    """How much of a header without `<|message|>` tells that its body has begun (rule 5).

    That is up to a call's `{`, or BARE_WAIT characters behind the channel or the name.
    The answer is the same whatever follows; it may lie behind the end of `raw`. 0 where
    neither a channel nor a recipient has come.
    """
    at = _last_part(raw)
    known = _CHANNEL.match(raw, at)
    limit = known.end() + BARE_WAIT if known else len(raw)
    to = _recipient_at(raw, at, limit)
    if to < 0:
        return limit if known else 0
    name = _NAME.match(raw, to + 3)
    limit = (name.end() if name else to + 3) + BARE_WAIT
    brace = raw.find("{", to, limit)
    return brace + 1 if brace >= 0 else limit


def _last_part(raw: str) -> int:
    """Where the text of the last channel part begins, or of the last role part."""
    at = raw.rfind(CHANNEL)
    if at >= 0:
        return at + len(CHANNEL)
    at = raw.rfind(START) + len(START)
    assistant = _ASSISTANT.match(raw, at)
    return assistant.end() if assistant else at


def is_plain_call(raw: str, tools: Collection[str]) -> bool:
    """Whether a header without a marker is a call, not prose that holds a `to=`.

    An offered name, one in the namespace or a reader's is enough before a value or the
    end; any other needs its type as well.
    """
    to = _recipient_at(raw)
    if to < 0 or (len(raw) - to > _LONGEST_TARGET and not _holds_call_sign(raw)):
        return False
    name, length = read_recipient(raw[to + 3 :], tools)
    end = to + 3 + length
    if name and _TYPE_AND_VALUE.match(raw, end):
        return True
    if name in READERS:
        type_word = _BEHIND_NAME.match(raw, end)
        return bool(type_word and type_word[0].strip())
    known = name in tools or raw.startswith(NAMESPACE, to + 3)
    return known and _VALUE_OR_END.match(raw, end) is not None


def _holds_call_sign(raw: str) -> bool:
    """Whether there is a value or a type at all: it costs less to ask than to find the name."""
    return any(sign in raw.lower() for sign in ("{", "json", "code"))


def begins_in_body(raw: str, tools: Collection[str], marker: str = "") -> bool | None:
    """Whether what stands in an open body begins like a header (rule 4); None: not yet.

    It needs a role, directly followed by a marker, by `to=` or by a channel; or a known
    channel, `to=` or `functions.` behind `<|channel|>`. `marker` is what came behind.
    """
    raw = raw[max(raw.rfind(START), raw.rfind(CHANNEL)) :]  # without doubled starts
    if raw.startswith(CHANNEL):
        return _channel_begins(raw[len(CHANNEL) :], marker != "")
    names = raw[len(START) :]
    if marker in (START, CHANNEL) and not names.strip():
        return None  # a role left out: what follows decides
    for tool in tools:  # a tool's name is a role
        words = names.lstrip()
        if words.startswith(tool):
            names = "tool" + words[len(tool) :]
        elif words and not marker and tool.startswith(words):
            return None
    if _BEGINS.match(names) or (marker and _ROLE_ONLY.fullmatch(names)):
        return True
    return None if not marker and _MAY_BEGIN.fullmatch(names) else False


def _channel_begins(names: str, closed: bool) -> bool | None:
    if _CHANNEL_BEGINS.match(names) or (closed and _CHANNEL_ONLY.fullmatch(names)):
        return True
    return None if not closed and _CHANNEL_MAY_BEGIN.fullmatch(names) else False


def implied_header(lead: str) -> str:
    """The header that stands for what precedes a `to=` without markers."""
    words = lead.strip().removeprefix("assistant").split()
    return f"{CHANNEL}{words[0]} " if words else f"{START}assistant "


def is_only_role(raw: str) -> bool:
    """Whether a header holds no more than a doubled start or role (M2, M3).

    Only what follows the last start is looked at: this was asked at each start before.
    """
    parts = raw[raw.rfind(START) + len(START) :].split(CONSTRAIN)
    return CHANNEL not in raw and all(map(_ASSISTANT.fullmatch, parts))


def is_assistants(raw: str) -> bool | None:
    """Whether a header is that of a further message of the assistant; None: not yet."""
    role = raw.removeprefix(START).lstrip()
    return None if role in _OURS_SO_FAR else role.startswith(_OURS)


def text_of(raw: str) -> str:
    """The text of a header that came to nothing, "" where it is markup (rule 5).

    It is text if no part begins like a role, a channel or a recipient, and if it has two
    words or more.
    """
    if len(raw.split()) < 2:
        return ""
    parts = _PART.split(raw)[2::2]
    if any(_KNOWN_PART.match(part) or _CHANNEL.match(part) for part in parts):
        return ""
    text = "".join(parts)
    return text if len(text.split()) > 1 else ""


# ======================================================================================
# harmony_core/mender.py
# JSON as models write it, read as the value that was meant (harmony.md, rule 6).
#
# Valid JSON stays as it is, and a text that could mean two things is refused. Each
# function reads its text a bounded number of times, however hostile it is.

MAX_MENDED: Final = 3000
"""Tokens of a text that is mended; a longer one is refused if it is broken."""

_MAX_BRACKETS: Final = 128  # in prose; where there are more, none is meant
_MAX_ENCODINGS: Final = 3  # how often an object may be encoded as a JSON string
_MAX_MENDED_DEPTH: Final = 200  # nested brackets that are still mended
_NO_ARGUMENTS: Final = ("", "null", "None")
_PYTHON_WORDS: Final = {"True": "true", "False": "false", "None": "null"}
_LONG_QUOTES: Final = ("'''", '"""')
_CLOSING_BRACKET: Final = {"{": "}", "[": "]"}

_JSON_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BARE_STRING: Final = re.compile(r'[{\[]\s*+\\"')
_JSON_TOKEN: Final = re.compile(
    rf"""
    (?P<blank>[ \t\r\n]++)
    |(?P<gap>[\s\ufeff]++|//[^\n]*+|\#[^\n]*+|/\*.*?\*/)
    |(?P<python>'{{3}}.*?(?<!\\)'{{3}}|"{{3}}.*?(?<!\\)"{{3}}|'(?:[^'\\]++|\\.)*+'(?!'))
    |(?P<string>{_JSON_STRING.pattern}(?!")|[“”](?:[^“”\\]++|\\.)*+[“”])
    |(?P<word>(?:true|false|null|True|False|None)\b|[-+.\d][\w.+-]*+)
    |(?P<key>(?:[^\W\d]|\$)[\w$-]*+(?=\s*+:))
    |(?P<open>[{{\[])
    |(?P<close>[}}\]])
    |(?P<comma>,)
    |(?P<colon>:)
    |(?P<end>```|~~~|\Z)
    |(?P<junk>.)
    """,
    re.DOTALL | re.VERBOSE,
)

# Inside strings. A backslash that JSON does not know stands for itself, and so does
# the one in the shell's '\''.
_HEX_DIGIT: Final = "[0-9a-fA-F]"
_JSON_ESCAPE: Final = re.compile(rf'\\(["\\/bfnrt]|u{_HEX_DIGIT}{{4}})?')
_PYTHON_ESCAPE: Final = re.compile(
    rf"\\(['\"\\/bfnrt]|x{_HEX_DIGIT}{{2}}|u{_HEX_DIGIT}{{4}}|U{_HEX_DIGIT}{{8}})?"
)
_ESCAPED: Final = {
    sign: dump_json(sign)[1:-1] for sign in ("\\", '"', *map(chr, range(32)))
}
_NOT_PLAIN: Final = re.compile(r'[\\"\x00-\x1f]')
_STRING_PIECE: Final = re.compile(
    rf"""
    (?P<right>(?:\\["\\/bfnrt])++
        |\\u[dD][89abAB]{_HEX_DIGIT}{{2}}\\u[dD][c-fC-F]{_HEX_DIGIT}{{2}}
        |\\u(?![dD][89a-fA-F]){_HEX_DIGIT}{{4}})
    |(?P<half>\\u{_HEX_DIGIT}{{4}})
    |(?P<apostrophe>(?<!')\\'|\\'(?!'))
    |(?P<code>\\x{_HEX_DIGIT}{{2}}|\\U00(?:0{_HEX_DIGIT}|10){_HEX_DIGIT}{{4}})
    |(?P<odd>{_NOT_PLAIN.pattern})
    """,
    re.VERBOSE,
)
_WINDOWS_DRIVE: Final = re.compile(r"[A-Za-z]:\\(?!\\)")
_BACKSLASH: Final = re.compile(r'\\\\|\\(?!")')

# Around the value. Brackets of prose hold no quotes, and braces of prose no colons.
_JSON_LEAD: Final = re.compile(r"\ufeff?(?:(?:```|~~~)[\w./+-]*+|`|json|code)?:?\s*+")
_JSON_OPENING: Final = re.compile(r"((?:```|~~~)[ \t]*+[\w./+-]*+\s*+)?[{\[]")
_ASIDE: Final = re.compile(r"""\{[^{}\[\]"':]*\}|(?:\{\s*+)+(?=\{)|\[[^{}\[\]"']*\]""")
_BRACKETS_MISSING: Final = re.compile(r"```|~~~|[}\]\s]*+\Z")
_CLOSED_TOO_EARLY: Final = re.compile(r"""\s*+,\s*+["'“”]""")
_JSON_KEY: Final = re.compile(r"""["'“”]\s*+:""")
_INTRODUCTION: Final = re.compile(
    r"(?:[\n:.!?`：。！？]|\*/|(?:```|~~~)[\w./+-]*)[ \t]*\Z"
)
_COMMAND: Final = re.compile(r"[=<>;$|&\\]|\(\s*\Z")


class Mended(NamedTuple):
    """The JSON that was meant. With a `reason` it is not JSON, and `text` is unchanged."""

    text: str
    value: Json = None
    reason: str = ""


class _JsonPiece(NamedTuple):
    text: str
    value: Json
    start: int
    end: int


def mend_json(text: str, *, closed: bool = False) -> Mended:
    """Return the JSON in a reply, without the text around it.

    `closed`: the model itself ended the text, so brackets that are missing at its end
    are added. An object or a list inside a JSON string is taken out of the string.
    """
    text = sent_text(text)
    try:
        return _mend(text.strip(), closed, False, _MAX_ENCODINGS)
    except ValueError as error:
        return Mended(text, reason=_why_not_json(error))


def mend_object(text: str, *, closed: bool = False) -> Mended:
    """Return the object in a tool call's arguments; nothing and null become `{}`.

    Any other value is refused. So is an object in the middle of a command or of code: it
    is not the arguments.
    """
    text = sent_text(text)
    if text.strip() in _NO_ARGUMENTS:
        return Mended("{}", {})
    try:
        mended = _mend(text.strip(), closed, True, _MAX_ENCODINGS)
    except ValueError as error:
        return Mended(text, reason=_why_not_json(error))
    value = mended.value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return Mended(mended.text[1:-1].strip(), value[0])
    if isinstance(value, dict):
        return mended
    return Mended(text, reason="Expecting an object: line 1 column 1")


def _why_not_json(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}: line {error.lineno} column {error.colno}"
    return str(error).partition(":")[0]  # int() adds advice for programmers


def _mend(text: str, closed: bool, call: bool, encodings: int) -> Mended:
    """Read the text, or else mend it; raises the ValueError of reading it."""
    try:
        whole = _read_json(text)
    except ValueError:
        found = _mend_encoded(text, call, encodings) or _find_json(text, closed, call)
        if found is None:
            raise
        return found
    if isinstance(whole.value, str):
        return _mend_encoded(text, call, encodings) or whole
    return whole


def _read_json(text: str) -> Mended:
    """Parse JSON, and replace the halves of characters that its escapes spell."""
    value = load_json(text)
    if "\\ud" in text or "\\uD" in text:
        text = _JSON_STRING.sub(lambda found: _json_string(found[0][1:-1]), text)
        value = load_json(text)
    return Mended(text, value)


def _mend_encoded(text: str, call: bool, encodings: int) -> Mended | None:
    r"""Mend the object or the list in the JSON string that a text begins with.

    The quotes around the string may be missing: `{\"a\": 1}`.
    """
    if _BARE_STRING.match(text):
        text = f'"{text}"'
    encoded = _JSON_STRING.match(text)
    if encoded is None or encodings == 0:
        return None
    try:
        inner = _read_json(_json_string(encoded[0][1:-1])).value
        if not isinstance(inner, str) or inner.lstrip()[:1] not in ("{", "[", '"'):
            return None
        mended = _mend(inner.strip(), False, call, encodings - 1)
    except ValueError:
        return None
    return mended if isinstance(mended.value, dict | list) else None


def _find_json(text: str, closed: bool, call: bool) -> Mended | None:
    """Mend the value at the start of the text, else the one in its prose."""
    lead = _JSON_LEAD.match(text)
    start = lead.end() if lead else 0
    piece = None
    if begins := text.startswith(("{", "["), start):
        piece = _mend_brackets(text, start, closed)
    # The search would only try the same bracket again, unless that is an aside.
    if piece is None and (not begins or _ASIDE.match(text, start)):
        piece = _find_json_in_prose(text, closed, call)
    return piece and Mended(piece.text, piece.value)


def _find_json_in_prose(text: str, closed: bool, call: bool) -> _JsonPiece | None:
    """Mend the first code block that holds a value, else the only value.

    The search ends at a key, and at brackets that hold neither a value nor a few words.
    So it never takes an inner object for the whole, and only one scan can be in vain.
    """
    pieces: dict[str, _JsonPiece] = {}
    position = 0
    for _ in range(_MAX_BRACKETS):
        opening = _JSON_OPENING.search(text, position)
        if opening is None:
            break
        start = opening.end() - 1
        if not opening[1] and (aside := _ASIDE.match(text, start)):
            position = aside.end()
            continue
        piece = (
            None
            if _JSON_KEY.search(text, position, start)
            else _mend_brackets(text, start, closed)
        )
        if piece is None or not (piece.value or opening[1]):
            break
        if opening[1]:
            pieces = {"": piece}
            break
        pieces.setdefault("".join(piece.text.split()), piece)
        position = piece.end
    else:
        return None
    if len(pieces) != 1:
        return None
    [piece] = pieces.values()
    return piece if not call or _is_introduced(text, piece.start) else None


def _is_introduced(text: str, start: int) -> bool:
    """Whether prose, not a command or code, introduces the value at `start`."""
    introduced = _INTRODUCTION.search(text, 0, start) is not None
    return introduced and not _COMMAND.search(text, 0, start)


def _mend_brackets(
    text: str, start: int, closed: bool, python: bool = False
) -> _JsonPiece | None:
    """Rewrite the tokens from a bracket to its partner as JSON.

    `python`: a quote or a word showed that the text is Python, and so are its escapes.
    """
    pieces: list[str] = []
    due: list[str] = []  # closing brackets that are still missing
    comma = -1  # place in `pieces` of a comma that only blanks follow so far
    for token in _JSON_TOKEN.finditer(text, start):
        kind, word = token.lastgroup, token[0]
        too_much = len(pieces) == MAX_MENDED or len(due) > _MAX_MENDED_DEPTH
        if kind == "junk" or too_much:
            return None
        if not python and (kind == "python" or word in _PYTHON_WORDS):
            return _mend_brackets(text, start, closed, python=True)
        if kind == "open":
            due.append(_CLOSING_BRACKET[word])
        elif kind in ("close", "end"):
            if comma >= 0:
                pieces[comma] = ""
            if word == due[-1]:
                due.pop()
            elif closed and _BRACKETS_MISSING.match(text, token.start()):
                word = "".join(reversed(due))
                due.clear()
            else:
                return None
        if kind not in ("blank", "gap"):
            comma = len(pieces) if kind == "comma" else -1
        pieces.append(_json_token(kind, word, python))
        if not due:
            break
    try:
        mended = _read_json("".join(pieces))
    except ValueError:
        return None
    if _CLOSED_TOO_EARLY.match(text, token.end()):
        return None  # its bracket closed too early: keys would be lost
    return _JsonPiece(mended.text, mended.value, start, token.end())


def _json_token(kind: str | None, word: str, python: bool) -> str:
    """Spell one token as JSON does."""
    if kind == "gap":
        return " "
    if kind == "key":
        return f'"{word}"'
    if kind in ("string", "python"):
        quote = 3 if word.startswith(_LONG_QUOTES) else 1
        return _json_string(word[quote:-quote], python)
    return _PYTHON_WORDS.get(word, word)


def _json_string(body: str, python: bool = False) -> str:
    """Spell what stands between two quotes as a JSON string."""
    if _NOT_PLAIN.search(body) is None:
        return f'"{body}"'
    escapes = (_PYTHON_ESCAPE if python else _JSON_ESCAPE).finditer(body)
    if _WINDOWS_DRIVE.match(body) and not all(found[1] for found in escapes):
        body = _BACKSLASH.sub(r"\\\\", body)  # a path that was not escaped at all
    mended = _STRING_PIECE.sub(partial(_json_string_piece, python=python), body)
    return f'"{mended}"'


def _json_string_piece(found: re.Match[str], python: bool) -> str:
    kind, piece = found.lastgroup, found[0]
    if kind == "right":
        return piece
    if kind == "half":
        return "\ufffd"
    if kind == "apostrophe":
        return "'"
    if kind == "code" and python:
        return dump_json(sent_text(chr(int(piece[2:], 16))))[1:-1]
    return _ESCAPED[piece[0]] + piece[1:]


# ======================================================================================
# harmony_core/arguments.py
# The arguments of one tool call: collected, then settled (harmony.md, rule 6).
# A rule that is named by its number alone is one of harmony.md.

MAX_ARGUMENTS = 1 << 20
"""Characters of arguments; a longer call is dropped (twice the context of gpt-oss)."""

Closed = Literal["call", "message", "cut"]
"""What ended the call: `<|call|>`, another regular end, or the cut of the reply."""

PARALLEL = "multi_tool_use.parallel"
"""The tool of OpenAI's models that wraps several calls."""

_WRAPPERS = ({"name", "arguments"}, {"name", "parameters"})
_HEADER_START = re.compile(r"<\|(?:start|channel)\|>")
_LONGEST_ROLE = 128  # characters after a marker that can show a header

_ESCAPE = re.compile(r"\\.", re.DOTALL)
# Strings side by side; the last may have no end.
_STRING = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?)++', re.DOTALL)
_JSON_STARTS = ("{", "[", '"')


class Arguments:
    """Text of a call's arguments, collected in O(new text) for each piece."""

    __slots__ = ("_begins_like_json", "_in_string", "_pieces", "_size", "_unread")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unread: list[str] = []  # pieces not yet searched for string edges
        self._size = 0
        self._in_string = False
        self._begins_like_json: bool | None = None  # None: only blanks so far

    def append(self, text: str) -> None:
        """Add text. Past MAX_ARGUMENTS nothing is kept: the call will be dropped."""
        self._size += len(text)
        if self._size <= MAX_ARGUMENTS:
            self._pieces.append(text)
            self._unread.append(text)
        else:
            self._pieces.clear()
            self._unread.clear()
        if self._begins_like_json is None and (start := text.lstrip()):
            self._begins_like_json = start.startswith(_JSON_STARTS)

    def in_string(self) -> bool:
        """Whether the text ends inside a JSON string; reads each character once."""
        if not self._begins_like_json or self._size > MAX_ARGUMENTS:
            return False
        if not self._unread:
            return self._in_string
        edges = _ESCAPE.sub("", "".join(self._unread)).count('"')
        self._in_string ^= edges % 2 == 1
        self._unread.clear()
        return self._in_string

    def quoted_header(self, tools: Collection[str]) -> str:
        """The text from the first header in the arguments to their end, or ""."""
        raw = "".join(self._pieces)
        for start in _HEADER_START.finditer(raw):
            behind = MARKER.search(raw, start.end(), start.end() + _LONGEST_ROLE)
            end = behind.start() if behind else start.end() + _LONGEST_ROLE
            marker = behind[0] if behind else ""
            if begins_in_body(raw[start.start() : end], tools, marker):
                return raw[start.start() :]
        return ""

    def settle(
        self, name: str, tools: Collection[str], closed: Closed
    ) -> list[SettledCall]:
        """Return the calls that the arguments make; none if they are incomplete (rule 6).

        Mostly that is one call to `name`; some arguments wrap other calls. Cut arguments
        are not mended: half a call could be a different call.
        """
        if self._size > MAX_ARGUMENTS:
            return []
        raw = "".join(self._pieces)
        if closed == "cut":
            return _unwrapped(name, raw, tools) if _is_object(raw) else []
        mended = mend_object(raw, closed=True)
        if not mended.reason:
            return _unwrapped(name, mended.text, tools)
        if closed == "message" and self._is_unfinished():
            return []
        return [SettledCall(name, raw, valid=False)]

    def _is_unfinished(self) -> bool:
        """Whether JSON just stops: in a string, or with brackets open."""
        text = _STRING.sub("", "".join(self._pieces))
        depth = sum(map(text.count, "{[")) - sum(map(text.count, "}]"))
        return self._begins_like_json is True and (depth > 0 or self.in_string())


class SettledCall(NamedTuple):
    """A call with its arguments, which are a JSON object if `valid`."""

    name: str
    arguments: str
    valid: bool


def _is_object(text: str) -> bool:
    try:
        return isinstance(load_json(text), dict)
    except ValueError:
        return False


def _unwrapped(name: str, text: str, tools: Collection[str]) -> list[SettledCall]:
    """The calls that one message makes; its arguments may wrap one or several."""
    call = SettledCall(name, text.strip(), valid=True)
    if name in tools and '"name"' not in text:
        return [call]
    value = as_object(load_json(text))
    if name == PARALLEL and name not in tools:
        wrapped = [_wrapped(use, tools) for use in objects_in(value.get("tool_uses"))]
        return [inner for inner in wrapped if inner] if all(wrapped) else [call]
    inner = _wrapped(value, tools) if value.keys() in _WRAPPERS else None
    return [inner] if inner and (name not in tools or inner.name == name) else [call]


def _wrapped(value: JsonObject, tools: Collection[str]) -> SettledCall | None:
    """The call that an object spells out, if its tool is offered."""
    given = value.get("recipient_name", value.get("name"))
    name = find_tool(given, tools) if isinstance(given, str) else ""
    inner = value.get("parameters", value.get("arguments", {}))
    mended = mend_object(inner if isinstance(inner, str) else dump_json(inner))
    if name not in tools or mended.reason:
        return None
    return SettledCall(name, mended.text, valid=True)


# ======================================================================================
# harmony_core/native_calls.py
# Tool calls that a server sends as fields, in pieces.


def openai_call(call_id: str, name: str, arguments: str) -> JsonObject:
    """A tool call as OpenAI's API writes it."""
    function: Json = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


class CallIds:
    """Gives every call of a reply a different id, whatever the server sent.

    With a prefix the ids are `{prefix}_1`, `{prefix}_2` and so on. A new prefix for each
    reply makes them unique in a conversation. Without one the server's ids are kept.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._given: set[str] = set()
        self._number = 0

    def give(self, call: ToolCall) -> ToolCall:
        """Return the call with the id that it keeps."""
        self._number += 1
        call_id = f"{self._prefix}_{self._number}" if self._prefix else call.id
        while call_id in self._given:
            self._number += 1
            call_id = f"{call.id}_{self._number}"
        self._given.add(call_id)
        return replace(call, id=call_id)


@dataclass(slots=True)
class _NativeCall:
    id: str
    name: str
    is_answer: bool  # it is addressed to the reader: its arguments are the answer
    arguments: Arguments = field(default_factory=Arguments)


class NativeCalls:
    """Put `delta.tool_calls` together: split arguments, missing ids, repeated indexes."""

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self._tools = tuple(sorted(tools, key=len, reverse=True))  # for find_tool
        self._calls: list[_NativeCall] = []
        self._latest: dict[int | None, _NativeCall] = {}  # by index; of all: None

    def add(self, pieces: Json) -> list[Event]:
        """Take one delta's `tool_calls`; returns the part that belongs to the answer."""
        answer: list[Event] = []
        for piece in objects_in(pieces):
            function = piece.get("function")
            if not isinstance(function, dict):
                continue
            index, name = piece.get("index"), sent_text(function.get("name"))
            at = index if isinstance(index, int) else None
            call = self._call_at(at, sent_text(piece.get("id")), name)
            given = function.get("arguments")
            if isinstance(given, dict):  # as in Ollama's own API
                given = _written(given)
            text = sent_text(given)
            if not call.is_answer:
                call.arguments.append(text)
            elif text:
                answer.append(AnswerDelta(text))
        return answer

    def _call_at(self, index: int | None, call_id: str, name: str) -> _NativeCall:
        """The call that a piece belongs to: the latest of its index, if it has one.

        A piece with a different name starts a new call if it also has a new id (Ollama
        numbers all calls 0), or has neither id nor index. An id or a name may come late.
        """
        call = self._latest.get(index)
        named = call and call.name and name
        is_new = call and call.id and call.id != call_id if call_id else index is None
        if not call or (named and is_new):
            call = _NativeCall(call_id, name, self._means_reader(name))
            self._calls.append(call)
        call.id, call.name = call.id or call_id, call.name or name
        self._latest[None] = self._latest[index] = call
        return call

    def close(self, cut: bool, call_prefix: str) -> tuple[list[ToolCall], bool]:
        """Return the calls, and whether an incomplete one was dropped.

        `cut`: the reply did not end by itself. A call without an id gets one.
        """
        calls: list[ToolCall] = []
        sent = [call for call in self._calls if not call.is_answer]
        dropped = False
        for number, call in enumerate(sent, 1):
            name = find_tool(call.name, self._tools)
            closed: Closed = "cut" if cut else "message"
            settled = call.arguments.settle(name, self._tools, closed)
            dropped |= not settled
            call_id = call.id or f"{call_prefix}_{number}"
            calls += (
                ToolCall(call_id, *one, declared=one.name in self._tools)
                for one in settled
            )
        return calls, dropped

    def _means_reader(self, name: str) -> bool:
        tool = find_tool(name, self._tools)
        is_reader = name.startswith(CONSTRAIN) or tool in READERS
        return is_reader and tool not in self._tools


def _written(arguments: Json) -> str:
    try:
        return dump_json(arguments)
    except RecursionError:  # it could be read, but writing needs more stack
        return "["  # not an object, and it cannot be mended into one


# ======================================================================================
# harmony_core/body.py
# What the parser's states write to: the events, and the body of the open message.
#
# The rules are those of harmony.md.
# A rule that is named by its number alone is one of harmony.md.

Sink = type[ReasoningDelta] | type[AnswerDelta] | None

MAX_CALLS = 100
"""Messages to tools in one reply; a model that makes more repeats itself for ever."""

MAX_MARKERS = 512
"""Markers in one reply; a model that sends more repeats itself for ever, too."""

MARKERS_OF_HEADER = 4  # also of one that lost them, because it costs as much


class Output:
    """The events so far, and what their calls mean for the rest of the reply."""

    __slots__ = (
        "aligned", "call_messages", "call_prefix", "called", "calls", "events",
        "executable", "incomplete", "markers", "over", "rereading", "thought", "tools",
    )  # fmt: skip

    def __init__(self, tools: tuple[str, ...]) -> None:
        self.tools = tools  # longest first, as header.py wants them
        self.aligned = False
        self.call_prefix = "call"
        self.events: list[Event] = []
        self.call_messages = 0  # begun so far
        self.calls = 0  # the number of the last call
        self.called: set[str] = set()  # names, those of dropped calls too
        self.executable = False  # a call was made that the host will execute
        self.incomplete = False  # a call was dropped, or the reply was cut
        self.markers = 0  # read so far
        self.over = False  # a call is executable, and no message follows it
        self.thought = False  # a message of thinking was begun
        self.rereading = False  # rereading what an unclosed string swallowed

    def end_call(self, name: str, settled: list[SettledCall]) -> None:
        """Emit the calls that a message to a tool makes, mostly one."""
        self.called.add(name)
        self.incomplete |= not settled
        for call_name, text, valid in settled:
            self.calls += 1
            self.called.add(call_name)
            call = ToolCall(
                f"{self.call_prefix}_{self.calls}",
                call_name,
                text,
                valid and not self.rereading,
                declared=call_name in self.tools,
            )
            self.executable |= call.executable
            self.events.append(call)

    def may_mark(self, markers: int = 1) -> bool:
        """Count markers, or the words left of them; False if there are too many (rule 10)."""
        self.markers += markers
        return self.markers <= MAX_MARKERS

    def may_begin_call(self) -> bool:
        """Count a message to a tool; False if there are too many (rule 10)."""
        self.call_messages += 1
        return self.call_messages <= MAX_CALLS

    def no_message_follows(self) -> None:
        """Note that what follows is not a further message."""
        self.over = self.executable

    def as_text(self, text: str) -> str:
        """Text with markers, as a reader sees it: real control tokens are hidden."""
        return MARKER.sub("", text) if self.aligned else text


class Body:
    """The body of a message: events of a `sink`, arguments of a `call`, or dropped."""

    __slots__ = ("_arguments", "_call", "_out", "is_further_thought", "sink")

    def __init__(self, out: Output, sink: Sink = None, call: str = "") -> None:
        self._out = out
        self.sink = sink
        self._call = call
        self._arguments = Arguments() if call else None
        self.is_further_thought = sink is ReasoningDelta and out.thought
        out.thought |= sink is ReasoningDelta

    @property
    def is_answer(self) -> bool:
        """Whether a reader sees its text, which may be about markers."""
        return self.sink is AnswerDelta

    @property
    def is_call(self) -> bool:
        """Whether it holds the arguments of a call."""
        return self._arguments is not None

    def emit(self, text: str) -> None:
        """Take text that certainly belongs to this message."""
        if not text:
            return
        if self._arguments is not None:
            self._arguments.append(text)
        elif self.is_further_thought:
            self.is_further_thought = False
            self._out.events.append(FurtherThought(text))
        elif self.sink:
            self._out.events.append(self.sink(text))

    def in_string(self) -> bool:
        """Whether the arguments so far end inside a JSON string."""
        return self._arguments is not None and self._arguments.in_string()

    def may_end(self) -> bool:
        """Whether the words of a stripped header may end the message (rule 7)."""
        return not self.in_string() and self._out.may_mark(MARKERS_OF_HEADER)

    def quotes(self) -> bool:
        """Whether markers are text here: in a JSON string, if not aligned (rule 6)."""
        return not (self._out.aligned or self._out.rereading) and self.in_string()

    def may_go_on(self, marker: str) -> bool:
        """Whether text after this terminator still belongs to the message (rule 9)."""
        if self._out.aligned:
            return False
        if self.is_answer or marker not in TERMINATORS:
            return True
        return self.sink is ReasoningDelta and marker != END

    def end(self, closed: Closed) -> str:
        """Settle a call; returns what an unclosed string has swallowed (rule 6)."""
        if self._arguments is None:
            return ""
        tools = self._out.tools
        settled = self._arguments.settle(self._call, tools, closed)
        self._out.end_call(self._call, settled)
        if settled or not self.quotes():
            return ""
        return self._arguments.quoted_header(tools)


def body_of(header: Header, out: Output) -> Body:
    """The body of the message that a header begins."""
    if header.audience != "user":
        return Body(out)
    if header.recipient:
        return Body(out, call=header.recipient)
    return Body(out, ReasoningDelta if header.channel == ANALYSIS else AnswerDelta)


# ======================================================================================
# harmony_core/stripped.py
# The stripped spelling: the words left of headers whose markers were lost.
#
# The rules are those of harmony.md.
# A rule that is named by its number alone is one of harmony.md.

_HEADER_WORDS = ("analysis", "commentary", "final", "assistant")
FILLERS = re.compile(rf"(?:\s|{any_of(_HEADER_WORDS)})*+")
"""Blanks and the words of headers; dropped if a header or the end follows (rule 4)."""
FILLERS_SO_FAR = re.compile(
    rf"{FILLERS.pattern}(?:{any_of(beginnings(*_HEADER_WORDS))})?"
)

# How a reply begins if its first header has lost its markers.
_ANALYSIS_START = re.compile(
    r"\s*+(?:assistant\s*+|commentary)?analysis(?=[^\W\d_]|[\r\n])"
)
FINAL_START = re.compile(r"\s*+assistantfinal")
_PREAMBLE_START = re.compile(r"\s*+assistantcommentary(?=[^\W\d_])")
_ROLE_LEAD = r"\s*+(?:assistant\s*+)?+"
RECIPIENT_START = re.compile(rf"({_ROLE_LEAD}(?:(?:analysis|commentary|final) )?)to=")
_BEFORE_TO = ("analysis to=", "commentary to=", "final to=")
RECIPIENT_START_SO_FAR = re.compile(
    rf"{_ROLE_LEAD}(?:{any_of(beginnings('to=', *_BEFORE_TO))})?"
)

# Words that end a message, and begin thinking, a preamble, an answer, or a call.
TO_CALL = ("assistant to=", "to=functions")
SEPARATORS = (
    "assistantanalysis",
    "commentaryanalysis",
    "assistantcommentary",
    "assistantfinal",
    *TO_CALL,
)
SEPARATOR = re.compile(rf"(?:<\|start\|>)?({any_of(SEPARATORS)})")
"""A separator, with the `<|start|>` before it if that was kept."""

_SEPARATOR_BEGINNING = any_of(beginnings(*SEPARATORS))
_SEPARATOR_TAIL = re.compile(
    rf"(?:<\|start\|>(?:{_SEPARATOR_BEGINNING}|)|{_SEPARATOR_BEGINNING})\Z"
)


def holds_none(text: str) -> bool:
    """Whether a text certainly holds neither a separator nor the beginning of one."""
    return text[-1] not in "act>" and not ("as" in text or "co" in text or "to" in text)


def tail_at(text: str, start: int) -> int:
    """Where a tail of `text` begins that could become a separator, else its length."""
    tail = _SEPARATOR_TAIL.search(text, max(start, len(text) - LONGEST_HELD))
    return tail.start() if tail else len(text)


# After a label: a recipient, or a colon or line breaks that do not belong to the text.
LABEL_SO_FAR = re.compile(r"\s*+(?::\s*+|to?|)")
LABEL_TO = re.compile(r"(\s*+)to=")
_LABEL_END = re.compile(r"\s*+:?\s*+")


def label_at_start(text: str) -> int:
    """The length of the label that begins thinking or a preamble; 0 if there is none."""
    label = _ANALYSIS_START.match(text) or _PREAMBLE_START.match(text)
    return label.end() if label else 0


def behind_label(text: str) -> str:
    """The text after a label, without the label's colon and line breaks; a space stays."""
    end = _LABEL_END.match(text)
    blanks = end[0] if end else ""
    belongs = ":" in blanks or "\n" in blanks or "\r" in blanks
    return text[len(blanks) :] if belongs else text


# ======================================================================================
# harmony_core/edge_states.py
# What every state of the parser offers, and the states at the edges of a message.
#
# The edge states wait for the text that shows where a body begins or ends. They know no
# other states.
# The rules are those of harmony.md.
# A rule that is named by its number alone is one of harmony.md.

MAX_HEADER = 512
"""Most characters of a header, or of blanks and fillers between messages; more is text."""


class State(Protocol):
    """What the parser is in the middle of."""

    @property
    def plain(self) -> Sink:
        """The event for text without "<"; None if such text has to be looked at."""

    def text(self, text: str) -> Step: ...
    def marker(self, marker: str) -> State: ...
    def end(self, closed: Closed) -> str:
        """End the reply here. Returns text to read again (rule 6), mostly ""."""


Step = tuple[State, str]
"""The next state, and the text left for it to read."""


def read(state: State, text: str) -> State:
    """Pass a text from state to state until all is read; returns the last state."""
    while text:
        state, text = state.text(text)
    return state


class BeforeBody:
    """Drops one blank at the start of a body: LLM-jp-4 writes one after each marker."""

    plain: Sink = None

    __slots__ = ("_message",)

    def __init__(self, message: State) -> None:
        self._message = message

    def text(self, text: str) -> Step:
        return self._message, text[1:] if text[0].isspace() else text

    def marker(self, marker: str) -> State:
        return self._message.marker(marker)

    def end(self, closed: Closed) -> str:
        return self._message.end(closed)


class BehindLabel:
    """After a stripped header: drops its colon and line breaks; a `to=` makes it a call."""

    plain: Sink = None

    __slots__ = ("_call", "_held", "_message")

    def __init__(
        self, message: State, call: Callable[[str], State] | None = None
    ) -> None:
        self._message = message
        self._call = call  # makes the state for a recipient from the blanks before it
        self._held = ""

    def text(self, text: str) -> Step:
        self._held += text
        if self._call and (to := LABEL_TO.match(self._held)):
            return self._call(to[1]), self._held[to.end(1) :]
        waits = LABEL_SO_FAR.fullmatch(self._held)
        if waits and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._message, behind_label(self._held)

    def marker(self, marker: str) -> State:
        return read(self._message, behind_label(self._held)).marker(marker)

    def end(self, closed: Closed) -> str:
        return read(self._message, behind_label(self._held)).end(closed)


class AfterTerminator:
    """A terminator ends the message, unless text other than fillers follows (rule 9)."""

    plain: Sink = None

    __slots__ = ("_ended", "_fillers", "_held", "_message", "_stops")

    def __init__(
        self, message: State, marker: str, ended: State, stops: tuple[str, ...]
    ) -> None:
        self._message = message
        self._ended = ended  # the state after the message
        self._stops = stops  # markers that show that the message has ended
        self._held = marker  # terminators and fillers
        self._fillers = ""  # those after the last terminator

    def text(self, text: str) -> Step:
        self._held += text
        self._fillers += text
        waits = FILLERS_SO_FAR.fullmatch(self._fillers)
        if waits and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._message, self._held

    def marker(self, marker: str) -> State:
        if marker == CONSTRAIN or not FILLERS.fullmatch(self._fillers):
            return read(self._message, self._held).marker(marker)
        if marker in self._stops:
            self._message.end("message")
            return self._ended.marker(marker)
        self._held += marker
        self._fillers = ""
        too_long = len(self._held) > MAX_HEADER
        return read(self._message, self._held) if too_long else self

    def end(self, closed: Closed) -> str:
        if FILLERS.fullmatch(self._fillers):
            return self._message.end(closed)
        return read(self._message, self._held).end(closed)


class AfterCall:
    """After `<|call|>`: text is dropped, and only a whole message counts (rule 10)."""

    plain: Sink = None

    __slots__ = ("_header", "_held", "_hidden", "_out")

    def __init__(
        self,
        out: Output,
        header: Callable[[Output, str], State],
        hidden: Callable[[], State],
    ) -> None:
        self._out = out
        self._header = header  # makes the state for a header that begins with a marker
        self._hidden = hidden  # makes the state for a message without a header
        self._held = ""

    def text(self, text: str) -> Step:
        self._held = (self._held + text)[: MAX_HEADER + 1]
        if len(self._held) > MAX_HEADER or not FILLERS_SO_FAR.fullmatch(self._held):
            self._out.no_message_follows()
        return self, ""

    def marker(self, marker: str) -> State:
        if marker in (START, CHANNEL):
            return self._header(self._out, marker)
        if marker == MESSAGE:
            self._out.no_message_follows()
            return self._hidden()
        return self

    def end(self, closed: Closed) -> str:
        return ""


class AfterEnd:
    """The model speaks for a tool, or repeats itself: all that follows is dropped (rule 10)."""

    plain: Sink = None

    def text(self, text: str) -> Step:
        return self, ""

    def marker(self, marker: str) -> State:
        return self

    def end(self, closed: Closed) -> str:
        return ""


def cut(out: Output, incomplete: bool = True) -> State:
    """The state behind the last message that counts: what follows is dropped."""
    out.incomplete |= incomplete
    out.no_message_follows()
    return AfterEnd()


# ======================================================================================
# harmony_core/states.py
# The states of the parser, one small class each.
#
#     BetweenMessages    a header should come, the first or a further one
#     InHeader           after `<|start|>` or `<|channel|>`, or at a `to=` that stands for one
#     HeaderAfterCall    a header after a call
#     HeaderInBody       what may be a header inside a message, or its text
#     InMessage          text goes to the body of the message
#     InStrippedMessage  the same in a reply whose markers were lost on the way
#
# Each takes text in any pieces, and whole markers. It returns the next state and the text
# left for it. edge_states.py has the states around a body. The rules are in harmony.md.
# A rule that is named by its number alone is one of harmony.md.

_BEGINNERS = (START, CHANNEL, MESSAGE)
_SHORTEST_BARE = len("to=") + BARE_WAIT  # the least behind a marker that is a body


class BetweenMessages:
    """A header should come. Blanks and filler words wait; any other text is an answer."""

    plain: Sink = None

    __slots__ = ("_first", "_held", "_out")

    def __init__(self, out: Output, first: bool = False) -> None:
        self._out = out
        self._first = first  # whether nothing but blanks and fillers came before
        self._held = ""

    def text(self, text: str) -> Step:
        more_blanks = text.isspace() and self._held[-1:].isspace()
        self._held += text
        if more_blanks and len(self._held) <= MAX_HEADER:  # it still waits
            return self, ""
        start = self._held[:MAX_HEADER]  # this alone decides, in every chunking
        waits = FILLERS_SO_FAR.fullmatch(start)
        if self._first:
            if step := self._begin_stripped(start):
                return step
            waits = waits or RECIPIENT_START_SO_FAR.fullmatch(start)
        if waits and len(self._held) <= MAX_HEADER:
            return self, ""
        return self._answer()

    def _begin_stripped(self, start: str) -> Step | None:
        """The first message, if it begins with the words of a stripped header."""
        if end := label_at_start(start):
            sink = ReasoningDelta if start[:end].endswith(ANALYSIS) else AnswerDelta
            message = InStrippedMessage(self._out, Body(self._out, sink))
            return BehindLabel(message), self._held[end:]
        if recipient := RECIPIENT_START.match(start):
            lead, rest = recipient[1], self._held[recipient.end(1) :]
            return InHeader(self._out, lead=lead), rest
        return None

    def _answer(self) -> Step:
        if self._first and (final := FINAL_START.match(self._held[:MAX_HEADER])):
            return BehindLabel(_answer(self._out)), self._held[final.end() :]
        return _answer(self._out), self._held

    def marker(self, marker: str) -> State:
        if not FILLERS.fullmatch(self._held):
            return read(*self._answer()).marker(marker)
        if marker in (START, CHANNEL):
            return InHeader(self._out, marker)
        if marker == MESSAGE:
            return _answer(self._out)
        self._held, self._first = "", False  # a stray token
        return self

    def end(self, closed: Closed) -> str:
        if FILLERS.fullmatch(self._held):
            return ""
        return read(*self._answer()).end(closed)


class InHeader:
    """Collects a header until `<|message|>`, or until it can no longer be one (rule 5).

    With a `lead` it begins at a `to=`, and an implied header stands in for the lead.
    """

    plain: Sink = None

    __slots__ = ("_held", "_implied", "_lead", "_look_at", "_out")

    def __init__(self, out: Output, held: str = "", lead: str | None = None) -> None:
        self._out = out
        self._held = held
        self._lead = lead or ""
        self._implied = "" if lead is None else implied_header(lead)
        self._look_at = _SHORTEST_BARE  # length at which a body may have begun

    def text(self, text: str) -> Step:
        self._held += text
        size = len(self._implied) + len(self._held)
        begins_call = "{" in text and "to=" in self._held
        if (begins_call or size >= self._look_at) and (step := self._bare_message()):
            return step
        return self._give_up() if size > MAX_HEADER else (self, "")

    def marker(self, marker: str) -> State:
        raw = self._implied + self._held
        if marker == MESSAGE:
            return self._message(raw)
        if marker == CHANNEL:  # a body is looked for behind the last one
            self._look_at = len(raw) + len(CHANNEL) + _SHORTEST_BARE
        if marker in (CHANNEL, CONSTRAIN) or (marker == START and is_only_role(raw)):
            return read(self, marker)
        return read(*self._give_up()).marker(marker)

    def end(self, closed: Closed) -> str:
        return read(*self._give_up()).end(closed)

    def _message(self, raw: str, stripped: bool = False) -> State:
        header = parse_header(raw, self._out.tools, self._out.called)
        return state_in(self._out, header, stripped)

    def _is_unmarked(self) -> bool:
        """Whether only its `to=` makes it a header: no marker came yet."""
        return self._implied != "" and not MARKER.search(self._held)

    def _bare_message(self) -> Step | None:
        """The message without `<|message|>`, once its body must have begun."""
        raw = self._implied + self._held
        at = bare_body_at(raw)
        self._look_at = at or len(raw) + BARE_WAIT + 1  # a word's end is missing
        if not 0 < at <= min(len(raw), MAX_HEADER):
            return None
        return self._begin_bare(raw[:at], raw[at:]) or self._as_text()

    def _begin_bare(self, raw: str, text: str) -> Step | None:
        unmarked = self._is_unmarked()  # then it is counted already
        self._out.markers += 0 if unmarked else MARKERS_OF_HEADER - 1
        if unmarked and not is_plain_call(raw, self._out.tools):
            return None
        header, body = split_bare(raw, self._out.tools) or ("", "")
        if not header or not (unmarked or self._may_be_bare(header)):
            return None
        return self._message(header, unmarked), self._out.as_text(body + text)

    def _may_be_bare(self, raw: str) -> bool:
        """Whether this header may lack its `<|message|>`."""
        return True

    def _is_call(self, raw: str) -> bool:
        return parse_header(raw, self._out.tools).recipient in self._out.tools

    def _give_up(self) -> Step:
        """Make the best of a header that stays incomplete (rule 5)."""
        raw = self._implied + self._held
        start, rest = raw[: MAX_HEADER + 1], raw[MAX_HEADER + 1 :]
        call_too_long = len(raw) > MAX_HEADER and "to=" in start
        if not call_too_long and (step := self._begin_bare(start, rest)):
            return step
        return self._as_text()

    def _as_text(self) -> Step:
        """What it is if it is not a header: an answer, or markup that is dropped."""
        raw = self._implied + self._held
        if len(raw) > MAX_HEADER or self._is_unmarked():
            return _answer(self._out), self._lead + self._out.as_text(self._held)
        text = text_of(raw)
        return _answer(self._out) if text else BetweenMessages(self._out), text


class HeaderAfterCall(InHeader):
    """After a call only a whole message or a further call counts (rule 10)."""

    __slots__ = ("_is_assistants",)

    def __init__(self, out: Output, held: str) -> None:
        super().__init__(out, held)
        self._is_assistants: bool | None = None  # not known yet

    def text(self, text: str) -> Step:
        if self._is_assistants is None and len(self._held) < LONGEST_ROLE:
            self._is_assistants = is_assistants(self._held + text)
            if self._is_assistants is False:
                self._out.no_message_follows()
        return super().text(text)

    def _may_be_bare(self, raw: str) -> bool:
        return self._is_call(raw)

    def _as_text(self) -> Step:
        self._out.no_message_follows()
        return _after_call(self._out), ""


class HeaderInBody(InHeader):
    """A candidate: it is text of the open message unless it becomes a header (rule 4)."""

    __slots__ = ("_begins", "_open")

    def __init__(
        self, out: Output, message: InMessage, held: str = "", lead: str | None = None
    ) -> None:
        super().__init__(out, held, lead)
        self._open = message
        self._begins = lead is not None  # whether it begins like a header

    def text(self, text: str) -> Step:
        if not self._begins:
            begins = begins_in_body(self._held + text, self._out.tools)
            if not begins:
                self._held += text
                waits = begins is None and len(self._held) <= MAX_HEADER
                return (self, "") if waits else self._as_text()
            self._begins = True
        return super().text(text)

    def marker(self, marker: str) -> State:
        if not self._begins:
            begins = begins_in_body(self._held, self._out.tools, marker)
            if begins is None and len(self._held) <= MAX_HEADER:
                self._held += marker  # a doubled start
                return self
            if not begins:
                return read(*self._give_up()).marker(marker)
            self._begins = True
        return super().marker(marker)

    def end(self, closed: Closed) -> str:
        raw = self._implied + self._held
        quotable = self._open.body.is_answer and not self._out.aligned
        may_call = closed != "cut" and not quotable and self._is_call(raw)
        call = self._begin_bare(raw, "") if may_call else None
        return read(*(call or self._give_up())).end(closed)

    def _message(self, raw: str, stripped: bool = False) -> State:
        self._open.end("message")
        return super()._message(raw, stripped)

    def _may_be_bare(self, raw: str) -> bool:
        return self._open.body.is_call or self._is_call(raw)

    def _give_up(self) -> Step:
        may_begin = self._is_unmarked() or self._open.body.is_call
        bare = may_begin and self._begin_bare(self._implied + self._held, "")
        return bare or self._as_text()

    def _as_text(self) -> Step:
        if not self._implied:
            return self._open, self._out.as_text(self._held)
        self._open.body.emit(self._lead + "to=")
        return self._open, self._out.as_text(self._held.removeprefix("to="))


class InMessage:
    """Inside a message: text goes to its body until a marker ends it."""

    __slots__ = ("_out", "body", "plain")

    def __init__(self, out: Output, body: Body) -> None:
        self._out = out
        self.body = body
        self.plain: Sink = None if body.is_further_thought else body.sink

    def text(self, text: str) -> Step:
        self.body.emit(text)
        self.plain = self.body.sink
        return self, ""

    def marker(self, marker: str) -> State:
        if self.body.quotes():
            self.body.emit(marker)
            return self
        if marker in (START, CHANNEL):
            return HeaderInBody(self._out, self, marker)
        if marker in (MESSAGE, CONSTRAIN):
            self.body.emit(self._out.as_text(marker))
            return self
        if self.body.may_go_on(marker):
            stops = _BEGINNERS if self.body.is_answer else (*_BEGINNERS, END)
            return AfterTerminator(self, marker, BetweenMessages(self._out), stops)
        self.end("call" if marker == CALL else "message")
        closed_call = self.body.is_call and marker == CALL
        return _after_call(self._out) if closed_call else BetweenMessages(self._out)

    def end(self, closed: Closed) -> str:
        return self.body.end(closed)


class InStrippedMessage(InMessage):
    """A message that ends at the words left of the next header (rule 7)."""

    __slots__ = ("_tail",)

    def __init__(self, out: Output, body: Body) -> None:
        super().__init__(out, body)
        self.plain = None
        self._tail = ""  # what may become such words

    def text(self, text: str) -> Step:
        text, self._tail = self._tail + text, ""
        if holds_none(text):
            self.body.emit(text)
            return self, ""
        start = 0
        for words in SEPARATOR.finditer(text):
            self.body.emit(text[start : words.start()])
            start = words.end()
            if self.body.may_end():
                return self._behind(words[1], text[start:])
            self.body.emit(words[0])
        end = tail_at(text, start)
        self._tail = text[end:]
        self.body.emit(text[start:end])
        return self, ""

    def _behind(self, words: str, text: str) -> Step:
        """The state after a separator."""
        if words in TO_CALL:  # may be text after all, so this message stays open
            at = words.index("to=")
            header = HeaderInBody(self._out, self, lead=words[:at])
            return header, words[at:] + text
        self.end("message")
        if words.endswith("final"):
            return BehindLabel(_answer(self._out)), text
        sink = ReasoningDelta if words.endswith(ANALYSIS) else AnswerDelta
        message = InStrippedMessage(self._out, Body(self._out, sink))
        return (
            BehindLabel(
                message,
                lambda blanks: HeaderInBody(self._out, message, lead=words + blanks),
            ),
            text,
        )

    def marker(self, marker: str) -> State:
        self._flush()
        return super().marker(marker)

    def end(self, closed: Closed) -> str:
        self._flush()
        return super().end(closed)

    def _flush(self) -> None:
        self.body.emit(self._tail)
        self._tail = ""


def _answer(out: Output) -> InMessage:
    return InMessage(out, Body(out, AnswerDelta))


def _after_call(out: Output) -> State:
    return AfterCall(out, HeaderAfterCall, lambda: InMessage(out, Body(out)))


def state_in(out: Output, header: Header, stripped: bool = False) -> State:
    """The state inside the message that a header begins."""
    invented = header.audience == "tool" and bool(out.called)
    if invented or (header.recipient and not out.may_begin_call()):
        return cut(out, incomplete=not invented)
    message = (InStrippedMessage if stripped else InMessage)(out, body_of(header, out))
    return BeforeBody(message) if header.blank_first else message


# ======================================================================================
# harmony_core/parser.py
# HarmonyParser: raw Harmony text in any chunking -> thinking, answer and tool calls.
#
# Theory of operation. The lexer cuts the input into plain text and control strings. The
# states (`states.py`) turn both into events. Most text is thinking or answer and has no
# "<", so `feed` makes it a delta at once. A marker's length, MAX_HEADER and MAX_ARGUMENTS
# bound what is held. The rules are those of harmony.md.
# A rule that is named by its number alone is one of harmony.md.

_LONGEST_PIECE = 512
"""Longest piece read at once. Bounds copying: each state copies the text that it leaves."""


class HarmonyParser:
    """Takes a gpt-oss reply apart in any chunking; never raises, never loses text.

    `tools` are the names that the caller offered. They resolve sloppy recipients and
    decide `ToolCall.declared`. With `aligned` each `feed` is exactly one delta of a
    token-aligned server; it may be changed between feeds. Tool calls get the ids
    `{call_prefix}_1`, `{call_prefix}_2` and so on.
    """

    def __init__(
        self,
        tools: Iterable[str] = (),
        aligned: bool = False,
        call_prefix: str = "call",
    ) -> None:
        self._lexer = Lexer()
        self._out = Output(tuple(sorted(tools, key=len, reverse=True)))
        self.aligned = aligned
        self.call_prefix = call_prefix
        self._state: State = BetweenMessages(self._out, first=True)
        self._plain: Sink = None  # what text without "<" becomes; None: look at it
        self._closed = False

    @property
    def aligned(self) -> bool:
        """Whether each `feed` is one delta of a token-aligned server (rule 9)."""
        return self._out.aligned

    @aligned.setter
    def aligned(self, aligned: bool) -> None:
        self._out.aligned = aligned

    @property
    def call_prefix(self) -> str:
        """The prefix for the ids of further calls."""
        return self._out.call_prefix

    @call_prefix.setter
    def call_prefix(self, prefix: str) -> None:
        self._out.call_prefix = prefix

    @property
    def over(self) -> bool:
        """Whether nothing more follows an executable call: the host may hang up."""
        return self._out.over

    @property
    def call_closed(self) -> bool:
        """Whether the last message was an executable call that `<|call|>` closed."""
        return self._out.executable and isinstance(self._state, AfterCall)

    def feed(self, text: str) -> list[Event]:
        """Take the next piece of the reply and return what it brought."""
        plain = self._plain
        if plain is not None and "<" not in text:
            return [plain(text)] if text else []
        lexer = self._lexer
        if "<" not in text and not lexer.held:
            self._read(text)
        else:
            self._read_parts(
                lexer.delta(text) if self._out.aligned else lexer.text(text)
            )
        self._plain = None if lexer.held else self._state.plain
        return self._take_events()

    def close(self, finish_reason: FinishReason = "stop") -> list[Event]:
        """End the reply: emit what is held, settle an open call, then `Finish`."""
        if self._closed:
            return []
        self._closed, self._plain = True, None
        cut = finish_reason not in ("stop", "tool_calls")
        closed: Closed = "cut" if cut else "message"
        self._read(self._lexer.held)
        if swallowed := self._state.end(closed):
            self._reread(swallowed)
            self._state.end(closed)
        self._state, self._lexer = AfterEnd(), Lexer()
        if finish_reason == "stop" and self._out.executable:
            finish_reason = "tool_calls"
        truncated = cut or self._out.incomplete
        self._out.events.append(Finish(finish_reason, truncated))
        return self._take_events()

    def _reread(self, text: str) -> None:
        """Read what an unclosed JSON string had swallowed (rule 6)."""
        self._out.rereading = True
        self._state, lexer = BetweenMessages(self._out), Lexer()
        self._read_parts(lexer.text(text))
        self._read(lexer.held)

    def _read_parts(self, parts: Sequence[str]) -> None:
        """Read text and markers by turns; text comes first and last."""
        self._read(parts[0])
        for at in range(1, len(parts), 2):
            if not self._out.may_mark():
                self._state.end("cut")
                self._state = cut(self._out)
                return
            self._state = self._state.marker(parts[at])
            self._read(parts[at + 1])

    def _read(self, text: str) -> None:
        if len(text) <= _LONGEST_PIECE:
            state = self._state
            while text:
                state, text = state.text(text)
            self._state = state
            return
        for at in range(0, len(text), _LONGEST_PIECE):
            self._state = read(self._state, text[at : at + _LONGEST_PIECE])

    def _take_events(self) -> list[Event]:
        events, self._out.events = self._out.events, []
        return events


def parse(
    text: str, tools: Iterable[str] = (), finish_reason: FinishReason = "stop"
) -> Reply:
    """Read a whole raw reply."""
    parser = HarmonyParser(tools)
    return collect([*parser.feed(text), *parser.close(finish_reason)])


# ======================================================================================
# harmony_core/dialects.py
# The content of one reply, delta by delta: its text, and the fields beside it.
#
# The text is Harmony, and text without any markup counts as Harmony. Or it begins with
# `<think>` blocks: other models write them, and some servers do not split them off. After
# thinking that came in a field or in such a block, the rest is read like a new reply.

MAX_LEAD: Final = 64
"""Characters, mostly blanks, that may come before a reply shows how it is spelled."""

_LONGEST_THINK_PIECE: Final = 512
"""Longest piece read per call. Bounds recursion: `<think>` blocks nest the readers' calls."""

_LONGEST_CONTROL: Final = max(map(len, CONTROL_TOKENS))
_THINK_TAGS: Final = ("<think>", "<thinking>", "<reasoning>")

# LM Studio and Ollama split off only the thinking. The rest may be Harmony, with or
# without its control tokens (harmony.md, rule 7).
_HARMONY_STARTS: Final = (
    "<|",
    "assistantfinal",
    "to=functions.",
    "assistant to=functions.",
    "commentary to=",
    "assistantcommentary to=",
)
# Whatever begins one of these may still become such a start; `analysis` needs one more
# character.
_UNDECIDED: Final = (
    *_HARMONY_STARTS,
    "analysis.",
    "assistantanalysis.",
    "commentaryanalysis.",
    "assistantcommentary.",
)


class UntilWord:
    """Lets text pass up to the first of some words; `rest` is the text after that word."""

    def __init__(self, words: Iterable[str]) -> None:
        self.found = False
        self.rest = ""
        self._words = tuple(words)
        starts = {word[:size] for word in self._words for size in range(1, len(word))}
        self._starts = tuple(sorted(starts, key=len, reverse=True))
        self._held = ""  # what could be the start of a word

    def feed(self, text: str) -> str:
        """Return the text that certainly stands before any of the words."""
        text = self._held + text
        places = [(at + len(w), at) for w in self._words if (at := text.find(w)) >= 0]
        if places:  # the word that ends first wins, in every chunking
            end, start = min(places)
            self.found, self.rest, self._held = True, text[end:], ""
            return text[:start]
        self._held = ""
        if text.endswith(self._starts):
            self._held = next(start for start in self._starts if text.endswith(start))
        return text.removesuffix(self._held)

    def flush(self) -> str:
        """Return what is held: no more text will come."""
        held, self._held = self._held, ""
        return held


class DeltaReader:
    """Tells a reply's thinking, answer and calls apart, however they are spelled.

    Fields win over markup. Once a call came in a field, all text is the answer, markers
    included. After thinking in a field, text is the answer too, unless it begins like
    Harmony. Never raises.
    """

    def __init__(self, tools: Iterable[str] = ()) -> None:
        self._tools = tuple(tools)
        self.deltas = 0  # those that carried text, thinking or a call
        self._call_prefix = "call"
        self._native = NativeCalls(self._tools)
        self._parser = self._new_parser()
        self._read = self._read_start
        self._held = ""  # the start, until it shows how the reply is spelled
        self._tags: tuple[str, ...] = _THINK_TAGS  # those that may come at the start
        self._anew = False  # whether the start follows thinking
        self._thinking = UntilWord(())
        self._sink: type[AnswerDelta] | type[ReasoningDelta] = AnswerDelta
        self._at_edge = False  # at an edge of `<think>`, where blanks are dropped
        self._truncated = False  # whether text was cut or a call in it dropped
        self._aligning = True  # whether token alignment may still be found or lost
        self._tail = ""  # last characters before the first marker

    @property
    def over(self) -> bool:
        """Whether an executable call came, and nothing more will follow it."""
        return self._parser.over

    @property
    def call_closed(self) -> bool:
        """Whether an executable call is closed and nothing else is open."""
        return self._parser.call_closed

    def name_calls(self, prefix: str) -> None:
        """Set the prefix for the ids of calls that came without one."""
        self._call_prefix = self._parser.call_prefix = prefix

    def feed(self, delta: JsonObject) -> list[Event]:
        """Take one delta, or a whole message."""
        text, calls = _text_in(delta.get("content")), delta.get("tool_calls")
        reasoning = _reasoning_in(delta)
        if not (reasoning or calls):
            return self.feed_texts((text,))
        self.deltas += 1
        events = self._begin_anew() if reasoning else self._stop_searching_markup()
        if reasoning:
            events.append(ReasoningDelta(reasoning))
        if calls:
            events += self._stop_searching_markup()
        events += self._native.add(calls)
        return events + self._read(text) if text else events

    def feed_texts(self, texts: Iterable[str]) -> list[Event]:
        """Take deltas that carry nothing but text."""
        events: list[Event] = []
        for text in texts:
            if text:
                self.deltas += 1
                events += self._read(text)
        return events

    def close(self, reason: FinishReason) -> tuple[list[Event], bool]:
        """Emit all that is held; also tells whether text was cut or a call dropped."""
        events = self._close_text(reason)
        calls, dropped = self._native.close(reason != "stop", self._call_prefix)
        return [*events, *calls], dropped or self._truncated

    def _new_parser(self) -> HarmonyParser:
        return HarmonyParser(self._tools, call_prefix=self._call_prefix)

    def _stop_searching_markup(self) -> list[Event]:
        if self._read == self._emit:
            return []
        events = self._close_text("stop")
        self._read, self._sink, self._at_edge = self._emit, AnswerDelta, False
        return events

    def _begin_anew(self) -> list[Event]:
        """Wait for the reply that follows thinking in a field."""
        if self._read == self._read_start and self._anew and not self._held:
            return []
        events = self._stop_searching_markup()
        self._expect_start(())
        return events

    def _expect_start(self, tags: tuple[str, ...]) -> None:
        self._read, self._sink = self._read_start, AnswerDelta
        self._tags, self._anew, self._held = tags, True, ""

    def _close_text(self, reason: FinishReason) -> list[Event]:
        events = self._decide_start() if self._read == self._read_start else []
        events += self._emit(self._thinking.flush())
        for event in self._parser.close(reason):
            if isinstance(event, Finish):
                self._truncated |= event.truncated
            else:
                events.append(event)
        return events

    def _read_pieces(self, text: str) -> list[Event]:
        events: list[Event] = []
        for at in range(0, len(text), _LONGEST_THINK_PIECE):
            if self._read not in (self._read_start, self._read_thinking):
                return events + self._read(text[at:])
            events += self._read(text[at : at + _LONGEST_THINK_PIECE])
        return events

    def _read_start(self, text: str) -> list[Event]:
        if self._anew and len(text) > _LONGEST_THINK_PIECE:
            return self._read_pieces(text)
        self._held += text
        lead = self._held[:MAX_LEAD].lstrip()
        if tag := next(filter(lead.startswith, self._tags), ""):
            text, self._held = self._held.lstrip().removeprefix(tag), ""
            self._thinking = UntilWord([f"</{tag[1:]}"])
            self._read, self._sink = self._read_thinking, ReasoningDelta
            self._at_edge = not self._anew
            return self._read_pieces(text)
        waits = (*self._tags, *(_UNDECIDED if self._anew else ()))
        if len(self._held) < MAX_LEAD and any(w.startswith(lead) for w in waits):
            return []
        return self._decide_start()

    def _decide_start(self) -> list[Event]:
        """Read the start and all that follows as Harmony, or as an answer in plain text."""
        text, self._held = self._held, ""
        lead = text[:MAX_LEAD].lstrip()
        plain = not (lead.startswith(_HARMONY_STARTS) or label_at_start(lead))
        if self._anew and plain:
            self._read = self._emit
            return self._emit(text)
        if self._anew:
            self._parser, self._aligning, self._tail = self._new_parser(), True, ""
        self._read = self._read_harmony
        return self._read_harmony(text)

    def _read_harmony(self, text: str) -> list[Event]:
        if self._aligning and ("|>" in text or not self._parser.aligned):
            self._watch_alignment(text)
        return self._parser.feed(text)

    def _watch_alignment(self, delta: str) -> None:
        """Find out whether each delta is one token (harmony.md, rule 9).

        It is if the first marker fills its delta, except for bytes that the server held
        back before it. A later marker with other text in its delta ends that.
        """
        text = self._tail + delta
        if ">" in delta and any(token in text for token in CONTROL_TOKENS):
            alone = delta.lstrip(" \n\ufffd") in CONTROL_TOKENS
            self._parser.aligned = self._aligning = alone
        self._tail = "" if self._parser.aligned else text[-_LONGEST_CONTROL:]

    def _read_thinking(self, text: str) -> list[Event]:
        if len(text) > _LONGEST_THINK_PIECE:
            return self._read_pieces(text)
        events = self._emit(self._thinking.feed(text))
        if self._thinking.found:
            self._expect_start(_THINK_TAGS)
            self._at_edge = True
            events += self._read_start(self._thinking.rest)
        return events

    def _emit(self, text: str) -> list[Event]:
        """Emit text as the kind that is due now."""
        if self._at_edge:
            text = text.lstrip()
            self._at_edge = not text
        return [self._sink(text)] if text else []


def _text_in(content: Json) -> str:
    """The text of a string, or of a list of parts."""
    if isinstance(content, list):
        return "".join(sent_text(part.get("text")) for part in objects_in(content))
    return sent_text(content)


def _reasoning_in(delta: JsonObject) -> str:
    """The thinking in the first field that has any; vLLM repeats it in a second one."""
    for name in ("reasoning_content", "reasoning"):
        if text := _text_in(delta.get(name)):
            return text
    details = objects_in(delta.get("reasoning_details"))  # OpenRouter
    return "".join(
        sent_text(part.get("text")) or sent_text(part.get("summary"))
        for part in details
    )


# ======================================================================================
# harmony_core/answer_filter.py
# What callers ask of the answer: a stop word as its end, bare JSON, or logprobs.

MAX_LOGPROBS: Final = 32 * 1024 * 1024
"""Characters of the logprobs of one reply, as JSON; those that come later are dropped."""

_JSON_CALLS: Final = ("json", "json_object", "json_schema")
"""The model sometimes calls one of these instead of writing the JSON it was asked for."""


class AnswerFilter:
    """Filters events for a caller who asked for stop words or for JSON.

    The answer ends before its first stop word. Servers do not do that well: they search
    the raw text, thinking included (mlx_server.md, Requests). A JSON answer comes once,
    at the end, without a code fence and without the thinking.
    """

    def __init__(self, stop: Iterable[str], json_reply: bool) -> None:
        self.json_valid: bool | None = None  # None: not asked for, or a call instead
        self.thought = False  # whether thinking was left out
        self._stop = UntilWord(stop)
        self._json: list[str] | None = [] if json_reply else None
        self._json_call = ""  # the arguments of a call to a tool named like JSON

    @property
    def stopped(self) -> bool:
        """Whether a stop word came; everything after it is dropped."""
        return self._stop.found

    def apply(self, events: Iterable[Event]) -> list[Event]:
        """Return the part of these events that the caller gets now."""
        kept: list[Event] = []
        for event in events:
            if self.stopped:
                break
            if isinstance(event, AnswerDelta):
                kept += self._show(self._stop.feed(event.text))
                continue
            kept += self._show(self._stop.flush())  # a stop word cannot span a call
            if isinstance(event, ToolCall) and not event.declared:
                self._note_json_call(event)
            if self._json is None or not isinstance(event, ReasoningDelta):
                kept.append(event)
            else:
                self.thought = True
        return kept

    def close(
        self, events: Iterable[Event], called: bool, cut: bool = False
    ) -> list[Event]:
        """Return the caller's part of the last events, and what was held.

        `called`: an executable call came before; it may stand in for the JSON.
        `cut`: the reply did not end by itself, so its JSON is not mended.
        """
        kept = self.apply(events) + self._show(self._stop.flush())
        if self._json is None:
            return kept
        answer, valid = _json_in("".join(self._json) or self._json_call, cut)
        instead = not answer and (called or has_executable_call(kept))
        self.json_valid = None if instead else valid
        return [*kept, AnswerDelta(answer)] if answer else kept

    def _note_json_call(self, call: ToolCall) -> None:
        if call.name.lower() in _JSON_CALLS:
            self._json_call = call.arguments

    def _show(self, text: str) -> list[Event]:
        if self._json is None:
            return [AnswerDelta(text)] if text else []
        self._json.append(text)
        return []


class AnswerLogprobs:
    """Collects what a server tells of the tokens that the answer is made of.

    The tokens of a record go with the answer that it brings. They wait if its text is
    held back, and are dropped if it was thinking, a call or markup.
    """

    def __init__(self) -> None:
        self.found: list[Json] = []
        self._waiting: list[Json] = []
        self._room = MAX_LOGPROBS

    def add(self, choice: JsonObject, events: Iterable[Event]) -> None:
        """Take the tokens of a choice that brought these events; of a whole reply, all."""
        delta = as_object(choice.get("delta"))
        told = None if delta.get("tool_calls") else choice.get("logprobs")
        sent = as_list(as_object(told).get("content"))
        fitting = fitting_json(sent[: CONTEXT_SIZE - len(self._waiting)])
        text = sent_text(dump_json(fitting))
        self._room -= len(text)
        if self._room >= 0:
            self._waiting += objects_in(load_json(text))
        if any(isinstance(event, AnswerDelta) for event in events):
            self.found += self._waiting
            self._waiting = []
        elif delta and (events or "|>" in str(delta.get("content"))):
            self._waiting = []


def _json_in(answer: str, cut: bool) -> tuple[str, bool]:
    """The JSON in an answer, mended unless it was cut; and whether it is valid."""
    answer = answer.strip()
    if not cut:
        mended = mend_json(answer, closed=True)
        return mended.text, not mended.reason
    try:
        load_json(answer)
    except ValueError:
        return answer, False
    return answer, True


# ======================================================================================
# harmony_core/record_template.py
# Reads records of a stream that differ from an earlier one only in their text.
#
# A server sends hundreds of records that are alike except for the text of the delta, and
# parsing their JSON costs more than all the rest. So the bytes before and after the text
# are learned from one record, and in the next ones they are only compared.
#
# That is safe because JSON is read from left to right. A probe in the place of the text
# must come out as the text of the delta, and nothing else may change. Then any other body
# of a JSON string comes out there too. Everything else is left to the JSON parser.

MAX_TEMPLATE: Final = 1024
"""Longest record, in bytes, that becomes a template."""

MAX_UNUSED_TEMPLATES: Final = 8
"""After so many templates in a row that fit no record, no more are learned."""

_WINDOW: Final = 8192
"""Bytes that are searched at once, since the search may be in vain."""

_TEXT_FIELDS: Final = ("content", "reasoning", "reasoning_content")
_TEXT_PLACE: Final = rb'"%b"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_PROBE: Final = b"probe"
_STRICT_JSON: Final = json.JSONDecoder()


class RecordTemplate:
    """Reads the text of records like an earlier one; `field` is the text's name in the delta.

    A record is read as it is on the wire: `data: `, JSON and a blank line.
    """

    def __init__(self) -> None:
        self.field = ""
        self._before = self._behind = b""  # bytes around the text; empty until learned
        self._between = b""  # bytes between two texts
        self._unused = 0

    def texts_at(self, data: bytes, at: int) -> tuple[list[str], int]:
        """The texts of the fitting whole records from `at` on, and where the last one ends."""
        start = at + len(self._before)
        if not self._before or not data.startswith(self._before, at):
            return [], at
        end = data.rfind(self._behind, start, at + _WINDOW)
        if end < 0:
            return [], at
        bodies = data[start:end].split(self._between)
        texts = _strings_in(bodies)
        if texts is None:
            return self._texts_one_by_one(bodies, at)
        self._unused = 0
        return texts, end + len(self._behind)

    def _texts_one_by_one(self, bodies: list[bytes], at: int) -> tuple[list[str], int]:
        """The texts up to the first record that does not fit."""
        texts: list[str] = []
        for body in bodies:
            body, other, _ = body.partition(self._behind)
            text = _strings_in([body])
            if text is None:
                break
            texts += text
            at += len(self._before) + len(body) + len(self._behind)
            if other:
                break
        return texts, at

    def next_start(self, data: bytes, at: int) -> int:
        """Where the next fitting record may begin; the end if there is none."""
        found = data.find(b"\n\n" + self._before, at) if self._before else -1
        return found + 2 if found >= 0 else len(data)

    def learn(self, record: bytes, chunk: JsonObject) -> None:
        """Make a record without line breaks the template; `chunk` is its JSON."""
        field, text = _only_text(chunk)
        if not text or len(record) > MAX_TEMPLATE or b"\n" in record:
            return
        place = re.search(_TEXT_PLACE % field.encode(), record)
        if not place or self._unused == MAX_UNUSED_TEMPLATES:
            return
        before, behind = record[: place.start(1)], record[place.end(1) :]
        if _means(before + _PROBE + behind, _with_probe(chunk, field)):
            self._unused += 1
            self.field = field
            self._before, self._behind = b"data: " + before, behind + b"\n\n"
            self._between = self._behind + self._before


def _strings_in(bodies: list[bytes]) -> list[str] | None:
    """The bodies as JSON reads them between quotes; None unless each is one string.

    They are read in one go. Several bodies may hold no quote, so all quotes are ours. If
    a body ends in a backslash it escapes one of ours, and the rest does not add up.
    """
    joined = b'","'.join(bodies)
    if len(bodies) > 1 and joined.count(b'"') != 2 * len(bodies) - 2:
        return None
    try:
        text = f'["{joined.decode()}"]'
        texts: list[str]
        texts, end = _STRICT_JSON.raw_decode(text)
    except ValueError:
        return None
    if end != len(text) or len(texts) != len(bodies):
        return None
    return texts if "".join(texts).isprintable() else [*map(sent_text, texts)]


def _only_text(chunk: JsonObject) -> tuple[str, str]:
    """The field and the text of a chunk that carries nothing else; otherwise both empty."""
    choice = as_object([*as_list(chunk.get("choices")), None][0])
    more = chunk.get("usage") or chunk.get("error") or choice.get("logprobs")
    if more or choice.get("finish_reason"):
        return "", ""
    delta = as_object(choice.get("delta"))
    sent = [(key, value) for key, value in delta.items() if value and key != "role"]
    for field, text in sent if len(sent) == 1 else ():
        if field in _TEXT_FIELDS and isinstance(text, str):
            return field, text
    return "", ""


def _with_probe(chunk: JsonObject, field: str) -> JsonObject:
    choice, *others = as_list(chunk["choices"])
    delta = as_object(as_object(choice)["delta"])
    probed: Json = {**as_object(choice), "delta": {**delta, field: _PROBE.decode()}}
    return {**chunk, "choices": [probed, *others]}


def _means(record: bytes, chunk: JsonObject) -> bool:
    try:
        return bool(_STRICT_JSON.decode(record.decode()) == chunk)
    except (ValueError, RecursionError):
        return False


# ======================================================================================
# harmony_core/sse.py
# Server-sent events: bytes in, cut anywhere; data and progress out.

MAX_SSE_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one line and of one event's data: a hostile server must not fill the memory."""

MAX_EVENT_LINES: Final = 1024
"""Lines of one event's data. It bounds the work that a single blank line can cause."""

SseField: TypeAlias = bytes | Progress
"""The lines of one event's data, not decoded; or progress (`: keepalive 1/2` of mlx_lm.server)."""

_PROGRESS: Final = re.compile(rb":\s*keepalive (\d{1,12})/(\d{1,12})\s*")
_SHORTEST_PROGRESS: Final = len(
    ":keepalive 1/2"
)  # a flood of shorter comments costs little


class SseDecoder:
    """Decode an event stream from bytes cut anywhere; never raises.

    A line ends with LF, CR LF or CR alone. Comments other than progress only show that
    this is a stream. Unlike a browser, this skips the names of events, and `close` yields
    the event whose blank line never came. A field `error: …` (older llama.cpp) is data,
    and so is a line of bare JSON (Ollama's errors). An event of more than
    `MAX_EVENT_LINES` lines comes in several parts.
    """

    def __init__(self) -> None:
        self.is_stream = False  # whether data or a comment came
        self.too_long = False  # a line or an event was too long: nothing follows
        self._line = bytearray()  # the unfinished line
        self._data: list[bytes] = []  # this event's lines of data
        self._size = 0  # their bytes
        self._behind_cr = False  # an LF that comes now belongs to the CR before it

    @property
    def between_events(self) -> bool:
        """Whether what comes next begins an event."""
        return not (self._line or self._data or self._behind_cr or self.too_long)

    def feed(self, data: bytes) -> Iterator[SseField]:
        """Take some bytes and yield what they complete. Read it to its end, or feed no more."""
        if self.too_long:
            return
        if b"\r" in data or self._behind_cr:
            data = self._with_line_feeds(data)
        *lines, last = data.split(b"\n")
        if lines and self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        yield from self._fields(lines)
        self._hold(last)

    def close(self) -> Iterator[SseField]:
        """Yield what the end completes: an open line or event."""
        if not self.too_long:
            yield from self._fields([bytes(self._line), b""])

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._behind_cr and data:
            data = data.removeprefix(b"\n")
            self._behind_cr = False
        if data.endswith(b"\r"):
            self._behind_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, data: bytes) -> None:
        self._line += data
        if len(self._line) > MAX_SSE_EVENT:
            self.too_long = True
            self._line.clear()

    def _fields(self, lines: Iterable[bytes]) -> Iterator[SseField]:
        for line in lines:
            if not line:
                if self._data:
                    yield self._event()
            elif len(line) + self._size > MAX_SSE_EVENT:
                self.too_long = True
                break
            elif line[:1] == b":":
                self.is_stream = True
                long = len(line) >= _SHORTEST_PROGRESS
                if long and (progress := _PROGRESS.fullmatch(line)):
                    yield Progress(int(progress[1]), int(progress[2]))
            else:
                field = line[6:] if line[:6] == b"data: " else _data_of(line)
                if field is not None:
                    self._data.append(field)
                    self._size += len(field) + 1
                    if len(self._data) == MAX_EVENT_LINES:
                        yield self._event()

    def _event(self) -> bytes:
        event = b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        self.is_stream = True
        return event


def _data_of(line: bytes) -> bytes | None:
    name, _, value = line.partition(b":")
    if name[:1] == b"{":
        return line if value else None
    return value.removeprefix(b" ") if name in (b"data", b"error") else None


# ======================================================================================
# harmony_core/chat.py
# ChatStream: the raw bytes of a server's reply -> events.

MAX_BODY: Final = 16 * 1024 * 1024
"""Most bytes that are read of an answer that is not a stream."""

MAX_UNREADABLE: Final = 512
"""Records or lines in a row that are not chunks. A server that sends more is not a chat server."""

MAX_DETAIL: Final = 2000
"""Characters of a server's own words that are kept for `Finish.detail`."""

MAX_COUNT: Final = 10**12
"""Most tokens that a server may count; a larger number is ignored."""

# An event stream begins with a field name or a colon; JSON and HTML with one of these.
_BODY_STARTS: Final = (b"{", b"[", b"<")
_BLANKS: Final = b"\xef\xbb\xbf \t\r\n"  # a byte order mark among them

_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_-]")
_CUT_JSON: Final = re.compile(r'\{\s*"(?s:.*)(?<!\})\Z')  # an object without its end
_NO_WORDS: Final = re.compile(r'null|true|false|"[^"]*"|-?\d[\d.eE+-]*')  # JSON
# Some servers do not escape control characters in strings.
_JSON: Final = json.JSONDecoder(strict=False)
_TOO_LONG: Final = f"A piece of the reply is longer than {MAX_SSE_EVENT >> 20} MiB."

# Finish reasons as servers spell them; any other word means `stop`.
_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "error": "error",
    "abort": "interrupted",
}


class ChatStream:
    """Turns the body of a reply, cut anywhere, into events. Never raises.

    It reads the event streams of mlx_lm.server, LM Studio, llama.cpp, Ollama, vLLM and
    SGLang, and whole JSON completions. Errors, HTML and cut streams end in a `Finish`
    that names them. `Finish` comes once, as the last event. It waits for the usage and
    the end mark, because some servers send a finish reason with every chunk.

    `tools` are the offered names. `stop` lists words that end the answer; `json_reply`
    asks for bare JSON. With a `call_prefix` the calls get the ids `{call_prefix}_1`,
    `{call_prefix}_2` and so on; a new prefix for each reply makes them unique in a
    conversation. Without one the server's ids are kept.

    Once `finished` is true nothing more comes. Close the connection then: after a stop
    word that ends the generation.
    """

    def __init__(
        self,
        tools: Iterable[str] = (),
        stop: Iterable[str] = (),
        json_reply: bool = False,
        call_prefix: str = "",
    ) -> None:
        self.finished = False
        self.logprobs = AnswerLogprobs()
        self.fingerprint = ""
        self.server_model = ""
        words = [word for word in stop if word]
        self._filter = AnswerFilter(words, json_reply) if words or json_reply else None
        self._content = DeltaReader(tools)
        self._ids = CallIds(call_prefix)
        self._sse = SseDecoder()
        self._template = RecordTemplate()
        self._head = bytearray()  # the bytes until it is known to be a stream
        self._named = False
        self._unreadable = 0  # records since the last chunk
        self._unread = ""  # plain words sent as data: an error if no end follows
        self._usage: Json = None
        self._called = False  # an executable call was emitted
        self._reason: FinishReason | None = None  # the last one, if no text followed it

    @property
    def deltas(self) -> int:
        """How many deltas carried text or thinking."""
        return self._content.deltas

    @property
    def whole(self) -> bool:
        """Whether the reply is whole even if nothing more comes.

        True after a finish reason, and after a call that `<|call|>` closed. A silence or
        a broken connection is no failure then: `close` gives the proper `Finish`.
        """
        return self.finished or self._reason is not None or self._content.call_closed

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return what they brought."""
        if self.finished:
            return []
        if not self._sse.is_stream:
            data = data if self._head else data.lstrip(_BLANKS)
            self._head += data[: MAX_BODY - len(self._head)]
            if len(self._head) == MAX_BODY:
                return self.close()
            if self._head.startswith(_BODY_STARTS):
                return []
        events: list[Event] = []
        at = 0
        while at < len(data) and not self.finished:
            if self._sse.between_events:
                texts, at = self._template.texts_at(data, at)
                events += self._take_texts(texts)
                if at == len(data):
                    break
            end = self._template.next_start(data, at)
            events += self._take_fields(self._sse.feed(data[at:end]))
            at = end
        return events

    def close(self) -> list[Event]:
        """End the reply: emit what is held, then its `Finish`."""
        if self.finished:
            return []
        events = self._take_fields(self._sse.close())
        reason: FinishReason = "error" if self._unread else "interrupted"
        detail = self._unread
        if self._head and not self._sse.is_stream:
            detail = self._head.decode("utf-8", "replace").strip()
            events += self._take_data(detail)  # a whole completion reads like one chunk
            reason = "interrupted" if _CUT_JSON.match(detail) else "not_a_stream"
            if self._named:
                reason, detail = "stop", ""
            elif reason == "interrupted" and len(self._head) == MAX_BODY:
                reason, detail = "error", _TOO_LONG
        if reason == "interrupted" and self._content.call_closed:
            reason = "stop"
        return events + self._finish(reason, detail)

    def _take_fields(self, fields: Iterable[SseField]) -> list[Event]:
        events: list[Event] = []
        for field in fields:
            if self.finished:
                break
            events += self._take_record(field) if isinstance(field, bytes) else [field]
        if self._sse.too_long:
            events += self._finish("error", _TOO_LONG)
        return events

    def _take_record(self, record: bytes) -> list[Event]:
        wire = b"data: %b\n\n" % record
        texts, end = self._template.texts_at(wire, 0)
        if len(texts) == 1 and end == len(wire):
            return self._take_texts(texts)
        return self._take_data(record.decode("utf-8", "replace"), record)

    def _take_texts(self, texts: list[str]) -> list[Event]:
        """Take the texts of records that carry nothing else."""
        if texts:
            self._unreadable = 0
        if self._reason and any(texts):
            self._reason = None
        field = self._template.field
        if field == "content" and not self._filter:
            return self._give(self._content.feed_texts(texts))
        events: list[Event] = []
        for text in texts:
            if not self.finished:
                events += self._give(self._content.feed({field: text}))
        return events

    def _take_data(self, text: str, record: bytes = b"") -> list[Event]:
        self._unreadable += 1
        if self._unreadable > MAX_UNREADABLE:
            return self._finish("not_a_stream", text)
        if text[:1] + text[-1:] != "{}":
            return self._take_lines(text)
        try:
            chunk, end = _JSON.raw_decode(text)
        except (ValueError, RecursionError):
            return self._take_lines(text)
        if end != len(text):
            return self._take_lines(text)
        if "choices" not in chunk or chunk.get("error"):
            words = _error_words(chunk)
            is_error = words or chunk.get("error")
            return self._finish("error", words or text) if is_error else []
        if record:
            self._template.learn(record, chunk)
        return self._take_chunk(chunk)

    def _take_lines(self, text: str) -> list[Event]:
        """Take the end mark, plain words, or chunks without blank lines between them."""
        events: list[Event] = []
        for line in filter(None, map(str.strip, text.split("\n"))):
            if line == "[DONE]":
                events += self._finish("stop")
            elif line.startswith("{"):
                if line != text and line.endswith("}"):  # otherwise it was cut
                    events += self._take_data(line)
            elif not line.startswith("[") and not _NO_WORDS.fullmatch(line):
                self._unread = line
            if self.finished:
                break
        return events

    def _take_chunk(self, chunk: JsonObject) -> list[Event]:
        self._unreadable = 0
        if not self._named:
            self._take_names(chunk)
        usage = chunk.get("usage")
        self._usage = usage or self._usage
        choice = _first_of(chunk.get("choices"))
        if not choice:
            return self._finish("stop") if usage and self._reason else []
        delta = choice.get("delta") or choice.get("message")
        deltas = self.deltas
        events = self._content.feed(delta) if isinstance(delta, dict) else []
        if choice.get("logprobs"):
            self.logprobs.add(choice, events)
        reason = sent_text(choice.get("finish_reason"))
        if reason:
            self._reason = _REASONS.get(reason, "stop")
        elif self.deltas > deltas:
            self._reason = None
        return self._give(events)

    def _take_names(self, chunk: JsonObject) -> None:
        self._named = True
        self.fingerprint = sent_text(chunk.get("system_fingerprint"))
        self.server_model = sent_text(chunk.get("model"))
        reply_id = sent_text(chunk.get("id")).removeprefix("chatcmpl-")
        if reply_id := _NOT_IN_IDS.sub("", reply_id)[:64]:
            self._content.name_calls(f"call_{reply_id}")

    def _give(self, events: list[Event]) -> list[Event]:
        """Return the caller's events; ends the reply at a stop word or a call."""
        for event in events:
            if isinstance(event, ToolCall):
                events = self._with_ids(events)
                break
        else:
            if not (self._filter or self._called):
                return events
        if self._filter:
            events = self._filter.apply(events)
        self._called = self._called or has_executable_call(events)
        stopped = self._filter and self._filter.stopped
        over = self._called and self._content.over
        return events + self._finish("stop") if stopped or over else events

    def _with_ids(self, events: list[Event]) -> list[Event]:
        return [
            self._ids.give(event) if isinstance(event, ToolCall) else event
            for event in events
        ]

    def _finish(self, reason: FinishReason, detail: str = "") -> list[Event]:
        """Emit what is held, then the `Finish`. A finish reason that came earlier wins."""
        if self.finished:
            return []
        self.finished = True
        if self._reason:
            reason, detail = self._reason, ""
        events, incomplete = self._content.close(reason)
        self.logprobs.add({}, events)
        events = self._with_ids(events)
        truncated, json_valid, thought = reason != "stop" or incomplete, None, False
        if self._filter:
            events = self._filter.close(events, self._called, cut=reason != "stop")
            json_valid, thought = self._filter.json_valid, self._filter.thought
            if self._filter.stopped:
                reason, truncated, detail = "stop", False, ""
        if reason == "stop" and (self._called or has_executable_call(events)):
            reason = "tool_calls"
        finish = Finish(reason, truncated, detail[:MAX_DETAIL], json_valid, thought)
        usage = _usage_of(self._usage)
        return [*events, usage, finish] if usage else [*events, finish]


def _first_of(choices: Json) -> JsonObject | None:
    """The first choice: no request asks for more."""
    first = as_list(choices)[:1]
    return first[0] if first and isinstance(first[0], dict) else None


def _usage_of(usage: Json) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    cached = as_object(usage.get("prompt_tokens_details")).get("cached_tokens")
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Usage(_count(prompt), _count(completion), _count(cached))


def _count(value: Json) -> int:
    return int(value) if isinstance(value, int) and 0 < value <= MAX_COUNT else 0


def _error_words(frame: JsonObject) -> str:
    """The server's own words: `error`, or the fields that frameworks use instead."""
    error = frame.get("error")
    inner = error if isinstance(error, dict) else frame
    for words in (error, inner.get("message"), inner.get("detail")):
        if words and isinstance(words, str):
            return sent_text(words)
    return ""


# ======================================================================================
# harmony_core/reply_markup.py
# Takes apart what an assistant said, in whatever markup a host or a client keeps it.
#
# It reads raw and stripped Harmony, `<think>` and `<thinking>` (with attributes, in any case) and Open WebUI's
# `<details type="reasoning">` and `<details type="tool_calls">`. An answer *about* markup must survive: markup
# in Markdown code or in the middle of a sentence is text, and a text is Harmony only if it begins like it. The
# patterns are linear: no two quantifiers compete for the same text.

WORD_JOINER = "\u2060"
"""Breaks up what only looks like markup. It is invisible, allows no line break and survives normalizers."""

_MAX_LAYERS = 4
"""How often an answer is taken apart before the markup that is left counts as text."""

# A fenced block, or a code span within a line.
_CODE = re.compile(
    r"""
      ^[ \t>]*+ (?P<fence> `{3,}+(?=[^`\n]*$) | ~{3,}+ )
      .*? (?: ^[ \t>]*+ (?P=fence) [`~]*+ [ \t\r]*+ $ | \Z )
    | (?<!`) `++ [^`\n]++ `++
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
# An opening tag and its thought, or a closing tag alone. Blank lines behind a block that starts a line
# belong to it.
_BLOCK = re.compile(
    rf"""
      {_CODE.pattern}
    | (?P<line_start> ^[ \t]*+ )?+
      < (?P<tag> think(?:ing)?+ | details(?=\s[^<>]*type=["']?reasoning) ) (?:\s[^<>]*+)?+ >
      (?P<thought> .*? )
      (?: (?P<closed> </(?P=tag)\s*+> ) (?(line_start) (?:[ \t\r\n]*\n)? ) | \Z )
    | (?P<closed_alone> </think(?:ing)?+\s*+> )
    """,
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_ANY_TAG = re.compile(r"<(?=/?think|details)", re.IGNORECASE)
_DETAILS_DRESS = re.compile(r"\A\s*<summary>[^<]*</summary>\s*|^> ?", re.MULTILINE)
_MORE_ON_LINE = re.compile(r"[ \t]*+\S")

# A tool call with its result, as Open WebUI 0.6 keeps it: on a separate line or right after another block.
_STORED_CALL = re.compile(
    rf"""
      {_CODE.pattern}
    | (?: ^[ \t]*+ | (?<=</details>) )
      <details (?P<attributes> (?=\s[^<>]*type=["']?tool_calls) [^<>]*+ ) >
      (?P<body> .*? ) (?: (?P<closed> </details\s*+> ) (?: [ \t\r\n]*\n )? | \Z )
    """,
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""\s([a-z_]++)=(?:"([^"]*+)"|'([^']*+)')""", re.IGNORECASE)

# How a raw reply begins. If a blank follows a marker, a sentence merely names the marker.
_RAW_START = re.compile(
    r"""
      \s*+ (?:
        <\|(?:start|channel|message)\|> (?: \S | \Z )
      | (?: assistant | to=[\w.-]++ ) <\|(?:channel|constrain|message)\|>
      | assistant(?: analysis | final | commentary )
      | analysis(?=[^\W\d_])
      | (?: assistant | commentary ) \s++ to=
      | to=functions\.
      )
    """,
    re.VERBOSE,
)


def begins_as_harmony(text: str) -> bool:
    """Whether this is a raw reply, and not a text that quotes Harmony further on."""
    return _RAW_START.match(text) is not None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A tool call that a host keeps within an answer, and the part of the answer before it.

    `result` is None if the host stored none. Arguments and result are decoded to what the host had encoded;
    they stay text if that was not JSON.
    """

    before: str
    id: str
    name: str
    arguments: Json
    result: Json


def stored_calls(text: str) -> tuple[list[StoredCall], str]:
    """Split an answer at Open WebUI's `<details type="tool_calls">`: the calls, and the text after them.

    A block without a name or without an end stays text.
    """
    calls: list[StoredCall] = []
    end = 0
    for block in _STORED_CALL.finditer(text):
        name = unescape(_attributes(block["attributes"] or "").get("name", "")).strip()
        if name and block["closed"]:
            before = text[end : block.start()].rstrip("\r\n")
            calls.append(_stored_call(before, name, block))
            end = block.end()
    return calls, text[end:]


def _stored_call(before: str, name: str, block: re.Match[str]) -> StoredCall:
    given = _attributes(block["attributes"])
    body = unescape(_DETAILS_DRESS.sub("", block["body"])).strip()
    return StoredCall(
        before=before,
        id=unescape(given.get("id", "")),
        name=name,
        arguments=_decoded(given.get("arguments", "")),
        result=_decoded(given["result"]) if "result" in given else body or None,
    )


def _attributes(text: str) -> dict[str, str]:
    found = _ATTRIBUTE.findall(text)
    return {name.lower(): double or single for name, double, single in found}


def _decoded(text: str) -> Json:
    """What an attribute holds: JSON, escaped as HTML."""
    text = unescape(text)
    try:
        return load_json(text)
    except ValueError:
        return text


def split_reply(text: str) -> tuple[str, list[str], list[ToolCall]]:
    """Split what an assistant said into answer, thoughts and calls.

    The answer keeps its exact text, except for markup and for line breaks at its start. Splitting it again
    finds nothing. Removing markup can create new markup, so this repeats until nothing changes.
    """
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for _ in range(_MAX_LAYERS):
        before = text
        if begins_as_harmony(text):
            reply = parse(text)
            text = reply.answer
            thoughts.append(reply.reasoning)
            calls += reply.tool_calls
        text = _without_terminator(_without_thoughts(text, thoughts))
        text = re.sub(r"\A[ \t\r\n]*\n", "", text)
        if text == before and not stored_calls(text)[0]:
            return text, thoughts, calls
    return WORD_JOINER + _ANY_TAG.sub("<" + WORD_JOINER, text), thoughts, calls


def _without_terminator(text: str) -> str:
    """Drop the terminator of a bare answer. After a blank it is a word of the last sentence."""
    said = text.rstrip()
    for token in TERMINATORS:
        before = said.removesuffix(token)
        if before != said and not before[-1:].isspace():
            return before
    return text


def _without_thoughts(text: str, thoughts: list[str]) -> str:
    """Move thinking blocks from `text` to `thoughts`.

    A closing tag alone ends thinking that the server's template opened: everything since the last block. A
    tag that is never closed begins thinking that was cut off. With text on either side both are just words.
    """
    if not _ANY_TAG.search(text):
        return text
    kept: list[str] = []
    end = at = words = 0
    while block := _BLOCK.search(text, at):
        start, thought = block.start(), block["thought"]
        follows_a_block = at == end and not text[at:start].strip()
        at = block.end()
        if block["closed_alone"]:
            start, thought = end, text[end:start]
        elif not block["tag"]:
            continue  # code
        elif block["closed"] and not follows_a_block and _is_quoted(block):
            continue
        elif not (block["closed"] or _is_cut_off(block)):
            words += 1  # it took all that follows: search there again, within bounds
            at = block.start("thought") if words <= _MAX_LAYERS else at
            continue
        elif block["tag"].lower() == "details":
            thought = unescape(_DETAILS_DRESS.sub("", thought))
        kept.append(text[end:start])
        thoughts.append(thought)
        end = block.end()
    return "".join(kept) + text[end:]


def _is_cut_off(block: re.Match[str]) -> bool:
    next_character = block["thought"][:1]  # "" at the end of the text
    return block["line_start"] is not None or next_character in "\r\n"


def _is_quoted(block: re.Match[str]) -> bool:
    """Whether a pair of tags is part of a sentence: one line, with text before and behind.

    A letter right after the pair begins the answer, except in scripts without blanks between words.
    """
    if block["line_start"] is not None or "\n" in block["thought"]:
        return False
    text, start, end = block.string, block.start(), block.end()
    if text[end : end + 1].isalnum():
        neighbour = text[start - 1 : start]
        return neighbour.isalnum() and not neighbour.isascii()
    return _MORE_ON_LINE.match(text, end) is not None


# ======================================================================================
# harmony_core/history.py
# clean_history: whatever a host replays -> messages that the gpt-oss chat template accepts.
#
# The template raises on what it does not expect (mlx_server.md, "The gpt-oss chat template", rules 1 to 9),
# so one bad message in the past ends a conversation for good. Each message is read by itself, calls are
# paired with results, and the rest is written in the one form that works. These choices are not obvious:
#
# - The template renders one call per message and puts a result under the name of the last call. So each
#   call is sent alone, with its result right after it.
# - A call without a result gets `NO_RESULT`: a model that sees a call dangle invents the result.
# - A result without a call gets a made-up call; sent as a user message the model would obey it.
# - An answer without visible text is dropped: it teaches the model to answer nothing. User messages in a
#   row stay apart: the template takes them.
# - The template closes every answer. A host that sends an answer last wants it continued, so a short user
#   message asks for that.
# - A message is written the same whatever follows it, so the server's prompt cache stays warm. Exceptions
#   are later system messages, results, and thinking, which is dropped when its loop ends.
# A rule that is named by its number alone is one of mlx_server.md.

NO_RESULT = "No result was returned."
UNKNOWN_TOOL = "unknown_tool"
ATTACHMENT = "[attachment: this model reads text only]"
CONTINUE = (
    "Your last message was cut off. Go on exactly where it ends, in its language, without repeating any of it"
    " and without an introduction."
)

_THOUGHT_FIELDS = ("thinking", "reasoning_content", "reasoning", "reasoning_details")
_NAMESPACE = re.compile(r"^(?:functions\.)+")  # the template adds it

# Any spelling of a special token, not only Harmony's seven: the tokenizer also holds <|endoftext|>,
# <|startoftext|>, <|endofprompt|> and <|reserved_200013|>, and other models have their own.
_SPECIAL_TOKEN_START = re.compile(r"<(?=\|[a-z][a-z0-9_]{2,31}\|>)")


@dataclass(frozen=True, slots=True)
class PastCall:
    """A tool call of the past; `id` may be empty, `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class PastMessage:
    """A message of the past, its texts defused. A tool's message holds the call that it answers."""

    role: str
    text: str
    thought: str = ""
    calls: Sequence[PastCall] = ()
    results: list[PastMessage] = field(default_factory=list)


CallsById = dict[str, PastCall]


def clean_history(messages: Sequence[Json]) -> list[JsonObject]:
    """Turn OpenAI message dicts into ones that the gpt-oss chat template accepts and renders as meant.

    Pure, deterministic, idempotent and linear; never raises, whatever is in the list. Thinking is kept only
    on tool calls of the unfinished turn (after the last user message, before any answer), as `thinking`.
    After an answer at the end, `CONTINUE` asks for the rest of it. An empty list stays empty. If no message
    is worth sending, one empty user message is left.
    """
    past = [*chain.from_iterable(map(_read_message, objects_in([*messages])))]
    cleaned: list[JsonObject] = []
    instructions = (message.text for message in past if message.role == "system")
    if system := "\n\n".join(filter(str.strip, instructions)):
        cleaned.append({"role": "system", "content": system})
    spoken = _with_results(message for message in past if message.role != "system")
    loop_start = max(n for n, message in enumerate(spoken) if not message.calls)
    for message in spoken[:loop_start]:
        message.thought = ""
    known: CallsById = {}
    for message in spoken:
        _write(cleaned, message, known)
    if cleaned and cleaned[-1]["role"] == "assistant":
        cleaned.append({"role": "user", "content": CONTINUE})
    return cleaned if cleaned or not messages else [{"role": "user", "content": ""}]


def defuse(text: str) -> str:
    """Make control tokens harmless in text for the prompt; a reader sees no difference (rule 9).

    An invisible character between `<` and `|` keeps the tokenizer from finding a token. Lone surrogates,
    which no tokenizer takes, become U+FFFD. Idempotent.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _SPECIAL_TOKEN_START.sub("<" + WORD_JOINER, text)


def _read_message(message: JsonObject) -> list[PastMessage]:
    """Read one message. Messages of unknown roles become the user's, so their text is not lost."""
    role = message.get("role")
    if role == "assistant":
        return _read_assistant(message)
    text = defuse(_text_of(message.get("content"), instead=ATTACHMENT))
    if role in ("tool", "function"):
        call = _read_call(message.get("tool_call_id"), message)
        return [PastMessage("tool", text, calls=[call])]
    named = "system" if role in ("system", "developer") else "user"
    return [PastMessage(named, text)]


def _read_assistant(message: JsonObject) -> list[PastMessage]:
    """The answer, preceded by the tool calls that a host keeps in its text and by what led to each."""
    content = message.get("content")
    stored, text = stored_calls(_text_of(content))
    answer, thoughts, spoken = split_reply(text)
    parts = [message, *objects_in(content)]
    given = [_text_of(part.get(name)) for part in parts for name in _THOUGHT_FIELDS]
    native = objects_in(message.get("tool_calls"))
    calls = [_read_call(call.get("id"), call.get("function", call)) for call in native]
    legacy = as_object(message.get("function_call"))  # the older spelling of one call
    if not calls and legacy.get("name"):
        calls = [_read_call("", legacy)]
    calls = calls or [_read_call("", asdict(call)) for call in spoken]
    steps = map(_read_stored_call, stored)
    return [*steps, _assistant(answer, given + thoughts, calls)]


def _read_stored_call(stored: StoredCall) -> PastMessage:
    before, thoughts, _ = split_reply(stored.before)
    call = _read_call(stored.id, {"name": stored.name, "arguments": stored.arguments})
    step = _assistant(before, thoughts, [call])
    if stored.result is not None:
        result = defuse(_text_of(stored.result))
        step.results.append(PastMessage("tool", result, calls=[call]))
    return step


def _assistant(
    answer: str, thoughts: Iterable[str], calls: Sequence[PastCall]
) -> PastMessage:
    distinct = dict.fromkeys(map(str.strip, thoughts))  # hosts may send one twice
    thought = "\n\n".join(filter(None, distinct))
    answer = answer if answer.strip() else ""
    return PastMessage("assistant", defuse(answer), defuse(thought), calls)


def _read_call(call_id: Json, function: Json) -> PastCall:
    function = as_object(function)
    name = _NAMESPACE.sub("", _text_of(function.get("name"))) or UNKNOWN_TOOL
    arguments = _arguments(function.get("arguments"))
    return PastCall(defuse(_text_of(call_id)), defuse(name), arguments)


def _arguments(value: Json) -> str:
    """A JSON object as text (rule 6): unchanged if it is one; anything else is wrapped as `input`.

    A server parses this text before it renders it, so a control token can hide behind `\\u003c`. Such
    arguments are written anew.
    """
    text = _text_of(value).strip() or "{}"
    try:
        parsed = load_json(text)
    except ValueError:
        parsed = None
    usable = isinstance(parsed, dict) and is_within_depth(parsed)
    written = _json_or_nothing(parsed) if usable else ""
    if not written:
        text = written = _json_or_nothing({"input": text})
    harmless = defuse(written)
    return text if harmless == written and defuse(text) == text else harmless


def _text_of(value: Json, instead: str = "") -> str:
    """A text, the texts of content parts, or JSON.

    `instead` replaces each part without text, like an image, on its own line.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(map(_is_part, value)):
        between = "\n" if instead else ""
        texts = [
            _joined(run) if has_text else between.join(instead for _ in run)
            for has_text, run in groupby(value, key=_has_text)
        ]
        return between.join(filter(None, texts))
    return _json_or_nothing(value)


def _is_part(value: Json) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and "type" in value)


def _has_text(part: Json) -> bool:
    return isinstance(part, str) or "text" in as_object(part)


def _joined(parts: Iterable[Json]) -> str:
    texts = (
        part if isinstance(part, str) else as_object(part)["text"] for part in parts
    )
    return "".join(text for text in texts if isinstance(text, str))


def _json_or_nothing(value: Json) -> str:
    """The value as JSON; "" if it is nested too deeply or is not JSON at all."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _with_results(past: Iterable[PastMessage]) -> list[PastMessage]:
    """The messages worth sending, each with its results; the first one is a stand-in for early results."""
    spoken = [PastMessage("assistant", "")]
    callers: dict[str, PastMessage] = {}  # by id of a call since somebody spoke
    for message in past:
        if message.role == "tool":
            callers.get(message.calls[0].id, spoken[-1]).results.append(message)
        elif message.role == "user" or message.text or message.calls:
            spoken.append(message)
            if not message.calls:
                callers.clear()
            callers.update((call.id, message) for call in message.calls if call.id)
    return spoken


def _write(cleaned: list[JsonObject], message: PastMessage, known: CallsById) -> None:
    said: JsonObject = {"content": message.text}
    if not message.calls:
        if message.role == "user" or message.text:
            cleaned.append({"role": message.role, **said})
        said = {"content": ""}
    elif message.thought:
        # The template takes a preamble or a thought, not both, and renders either as analysis (rule 3). In a
        # separate message the preamble would look like a final answer, which ends the turn.
        thinking = f"{message.thought}\n\n{message.text}".strip()
        said = {"content": "", "thinking": thinking}
    for call, result in _pair(message, known):
        call_id = call.id or f"call_{len(cleaned)}"
        sent = openai_call(call_id, call.name, call.arguments)
        cleaned.append({"role": "assistant", **said, "tool_calls": [sent]})
        cleaned.append({"role": "tool", "tool_call_id": call_id, "content": result})
        said = {"content": ""}


def _pair(message: PastMessage, known: CallsById) -> Iterator[tuple[PastCall, str]]:
    """Each call with its result, matched by id, else in order. A leftover result gets a call."""
    known.update((call.id, call) for call in message.calls if call.id)
    waiting: defaultdict[str, deque[PastMessage]] = defaultdict(deque)
    for result in message.results:
        call_id = result.calls[0].id
        waiting[call_id if call_id in known else ""].append(result)
    for call in message.calls:
        results = waiting[call.id] or waiting[""]
        yield call, results.popleft().text if results else NO_RESULT
    for result in chain.from_iterable(waiting.values()):
        call = result.calls[0]
        yield known.get(call.id, call), result.text


# ======================================================================================
# harmony_core/tools.py
# Tools in a shape that the chat template takes, and OpenAI's `tool_choice`.
#
# The template reads a tool's JSON schema as it comes and joins texts to it. A `required` that is true, or a
# description that is a list, ends the request. So everything that it reads gets the type that it expects.

TOOL_REQUIRED: Final = (
    "Your next message must call one of the functions. Do not answer it with text."
)


def function_of(tool: Json) -> JsonObject:
    """The function of an OpenAI tool object, or a bare function; empty for anything else."""
    tool = as_object(tool)
    function = as_object(tool.get("function", tool))
    name = function.get("name")
    return function if name and isinstance(name, str) else {}


def offered_tools(tools: Sequence[Json], choice: Json) -> list[Json]:
    """The tools that a `tool_choice` leaves: none, the named one, or all."""
    if choice == "none":
        return []
    wanted = function_of(choice).get("name")
    named = [
        tool for tool in tools if wanted and function_of(tool).get("name") == wanted
    ]
    return named or list(tools)


def tool_section(tools: Sequence[Json], choice: Json) -> str:
    """A sentence for the instructions if a `tool_choice` demands a call, else ""."""
    wants_a_call = choice == "required" or bool(function_of(choice))
    return TOOL_REQUIRED if wants_a_call and any(map(function_of, tools)) else ""


def sendable_tool(tool: Json) -> JsonObject:
    """The tool with only what the template reads; empty for anything but a tool."""
    function = as_object(sendable(function_of(tool)))
    if not function:
        return {}
    parameters = _schema(function.get("parameters"))
    sent: JsonObject = {
        "name": function["name"],
        # Some copies of the template fail without one (mlx_server.md, its rule 7).
        "description": _description(function.get("description")),
        "parameters": {"type": "object", "properties": {}, **parameters},
    }
    return {"type": "function", "function": sent}


def _schema(schema: Json) -> JsonObject:
    """The schema; what the template reads in it has the expected type, or is left out."""
    given = as_object(schema)
    written: JsonObject = {}
    for name, part in given.items():
        coerced = _READ_BY_TEMPLATE.get(name)
        kept = coerced(part) if coerced else part
        if kept or not coerced:
            written[name] = kept
    default = written.get("default", "")
    if not isinstance(default, str) and given.keys() & {"enum", "oneOf"}:
        written["default"] = dump_json(default)  # the template adds it to a text
    return written


def _properties(properties: Json) -> Json:
    return {
        name: spec if isinstance(spec, bool) else _schema(spec)
        for name, spec in as_object(properties).items()
    }


def _variants(schemas: Json) -> Json:
    return [_schema(schema) for schema in objects_in(schemas)]


def _names(names: Json) -> Json:
    return [name for name in as_list(names) if isinstance(name, str)]


def _type(kind: Json) -> Json:
    return kind if isinstance(kind, str) else _names(kind)


def _description(given: Json) -> str:
    """The description as text: lines may come as a list."""
    if isinstance(given, list):
        return "\n".join(filter(None, map(_description, given)))
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return ""
    return str(given)


_READ_BY_TEMPLATE: Final[Mapping[str, Callable[[Json], Json]]] = {
    "type": _type,
    "description": _description,
    "enum": as_list,
    "oneOf": _variants,
    "properties": _properties,
    "items": _schema,
    "required": _names,
}


def sendable(value: Json) -> Json:
    """The value without nulls, without control tokens, and without what a server cannot read as JSON."""
    return _sendable(fitting_json(value))


def _sendable(value: Json) -> Json:
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, dict):
        named = ((defuse(name), _sendable(part)) for name, part in value.items())
        return {name: part for name, part in named if part is not None}
    if isinstance(value, list):
        return [part for part in map(_sendable, value) if part is not None]
    return value


# ======================================================================================
# harmony_core/problems.py
# The table of everything that can go wrong with a server: what happened, and what to do next.
#
# A row is named by its kind, or by its kind and a host or a case ("refused/localhost"). It holds the stage at
# which the exchange failed, two sentences in English, and the same two in Japanese. `diagnosis.py` fills in
# their blanks (`{url}`, `{model}`, …).

Language = Literal["en", "ja"]
Stage = Literal[
    "connection",  # nothing answers
    "authorization",  # the API key is missing or wrong
    "request",  # something answers, and says no
    "model",  # the server has no such model, or its mlx-lm cannot run it
    "generation",  # the connection or the generation broke off
    "reply",  # a complete reply without an answer
]


@dataclass(frozen=True, slots=True)
class Problem:
    """What happened and what to do, one sentence each, in English and in Japanese."""

    kind: str
    stage: Stage
    en: str
    ja: str

    def text(self, language: Language = "en") -> str:
        """Both sentences in one language."""
        return self.ja if language == "ja" else self.en


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """A row of the table: the sentences of a `Problem` with their blanks."""

    stage: Stage
    en: str
    ja: str


def problem_of(
    name: str, ja: Mapping[str, object] | None = None, /, **blanks: object
) -> Problem:
    """The problem that a row of the table describes, with its blanks filled in.

    `ja` holds the values that differ in Japanese.
    """
    row, kind = PROBLEMS[name], name.partition("/")[0]
    japanese = row.ja.format(**{**blanks, **(ja or {})})
    return Problem(kind, row.stage, row.en.format(**blanks), japanese)


PROBLEMS: Final[Mapping[str, ProblemRow]] = {
    "bad_url": ProblemRow(
        "connection",
        "The base URL “{url}” is not an address. Write it like http://127.0.0.1:8585 or http://127.0.0.1:8585/v1.",
        "ベース URL「{url}」は正しいアドレスではありません。http://127.0.0.1:8585 または http://127.0.0.1:8585/v1 のように書いてください。",
    ),
    "dns": ProblemRow(
        "connection",
        "The host name {host} cannot be found. Check how the base URL is spelled, or use the machine's address.",
        "ホスト名 {host} が見つかりません。ベース URL の綴りを確かめるか、そのマシンの IP アドレスを使ってください。",
    ),
    "dns/host.docker.internal": ProblemRow(
        "connection",
        "The host name {host} cannot be found. On Linux start the container with `--add-host=host.docker.internal:host-gateway`, or use the machine's address.",
        "ホスト名 {host} が見つかりません。Linux ではコンテナーを `--add-host=host.docker.internal:host-gateway` 付きで起動するか、そのマシンの IP アドレスを使ってください。",
    ),
    "refused": ProblemRow(
        "connection",
        "The connection to {url} was refused. Check the port, and start mlx_lm.server with `--host 0.0.0.0` so that other machines reach it.",
        "{url} への接続が拒否されました。ポート番号を確かめ、他のマシンから届くように mlx_lm.server を `--host 0.0.0.0` 付きで起動してください。",
    ),
    "refused/localhost": ProblemRow(
        "connection",
        "The connection to {url} was refused. Start mlx_lm.server with `--port {port}`, or, when calling from inside a container, use http://host.docker.internal:{port} and start the server with `--host 0.0.0.0`.",
        "{url} への接続が拒否されました。mlx_lm.server を `--port {port}` 付きで起動してください（コンテナーの中からは http://host.docker.internal:{port} を使い、サーバーを `--host 0.0.0.0` 付きで起動してください）。",
    ),
    "connect_timeout": ProblemRow(
        "connection",
        "{url} did not take the connection within {seconds} s. Check the address and the firewall, and that the machine is awake.",
        "{url} に {seconds} 秒以内に接続できませんでした。アドレスとファイアウォール、マシンがスリープしていないことを確かめてください。",
    ),
    "unreachable": ProblemRow(
        "connection",
        "{url} cannot be reached. Check the address and the network.",
        "{url} に到達できません。アドレスとネットワークを確かめてください。",
    ),
    "tls": ProblemRow(
        "connection",
        "A secure connection to {url} could not be set up. Check the address and the port, and look at the log of the proxy that speaks https there.",
        "{url} への暗号化接続を確立できませんでした。アドレスとポートを確かめ、https を受け持つプロキシのログを確かめてください。",
    ),
    "tls/http_only": ProblemRow(
        "connection",
        "A secure connection to {url} could not be set up, because plain http is spoken there. Write http:// instead of https:// (mlx_lm.server has no TLS).",
        "{url} は暗号化のない http で応答するため、暗号化接続を確立できませんでした。https:// ではなく http:// と書いてください（mlx_lm.server に TLS はありません）。",
    ),
    "tls/https_only": ProblemRow(
        "connection",
        "{url} speaks https only, and was asked in plain http. Write https:// instead of http:// in the base URL.",
        "{url} は https だけを受け付けますが、http で接続しました。ベース URL を http:// ではなく https:// で書いてください。",
    ),
    "tls/certificate": ProblemRow(
        "connection",
        "The certificate of {url} is not trusted here, or it was made for another name. Set the file of the authority that signed it (CA file, or REQUESTS_CA_BUNDLE), and use the name that stands in the certificate.",
        "{url} の証明書は信頼されていないか、別の名前に対するものです。署名した認証局のファイル（CA ファイル、または REQUESTS_CA_BUNDLE）を設定し、証明書に書かれた名前でアクセスしてください。",
    ),
    "tls/ca_file": ProblemRow(
        "connection",
        "The CA file cannot be used to check {url}: it is missing or holds no certificate. Correct its path (CA file, REQUESTS_CA_BUNDLE or SSL_CERT_FILE).",
        "{url} の確認に使う CA ファイルが見つからないか、証明書が入っていません。パス（CA ファイル、REQUESTS_CA_BUNDLE または SSL_CERT_FILE）を直してください。",
    ),
    "proxy": ProblemRow(
        "connection",
        "The web proxy of this machine did not connect to {url}. Check HTTP_PROXY and NO_PROXY, or switch the use of proxies off.",
        "このマシンの Web プロキシが {url} に接続できませんでした。HTTP_PROXY と NO_PROXY を確かめるか、プロキシの使用をやめてください。",
    ),
    # nothing is sent, but the cure is that of `unauthorized`: the right key
    "bad_key": ProblemRow(
        "authorization",
        "The API key holds characters that cannot be sent. Paste it again, without anything around it.",
        "API キーに送信できない文字が含まれています。前後に余計な文字が入らないように、貼り付け直してください。",
    ),
    "unauthorized": ProblemRow(
        "authorization",
        "{url} did not accept the request without a valid API key (status {status}). Enter the API key that the proxy in front of mlx_lm.server expects.",
        "{url} は有効な API キーのないリクエストを受け付けませんでした（ステータス {status}）。mlx_lm.server の前にあるプロキシが求める API キーを入力してください。",
    ),
    "wrong_path": ProblemRow(
        "request",
        "{url} answers, but the chat API is not under this path. Give the base URL as http://HOST:PORT or http://HOST:PORT/v1, with nothing behind it.",
        "{url} は応答しますが、このパスにチャット API はありません。ベース URL は http://HOST:PORT か http://HOST:PORT/v1 とし、後ろには何も付けないでください。",
    ),
    "rate_limited": ProblemRow(
        "request",
        "The server takes no more requests just now (status {status}). Wait a moment and try again.",
        "サーバーは現在これ以上のリクエストを受け付けていません（ステータス {status}）。しばらく待ってから、もう一度試してください。",
    ),
    "redirect": ProblemRow(
        "request",
        "{url} sends the request on to another address{location}. Use the right address as the base URL, because redirects are not followed.",
        "{url} はリクエストを別のアドレスに転送しようとしました{location}。リダイレクトには対応していないため、正しいアドレスをベース URL に指定してください。",
    ),
    "web_page": ProblemRow(
        "request",
        "{url} answered with a web page instead of a reply. Check the address and the port: a proxy's login page or another program is there, perhaps Open WebUI itself, whose own port is 8080 too.",
        "{url} は応答ではなく Web ページを返しました。アドレスとポートを確かめてください（プロキシのログイン画面か別のプログラム、たとえば同じ 8080 番を使う Open WebUI 自身が応答している可能性があります）。",
    ),
    "wrong_server": ProblemRow(
        "request",
        "{url} takes no chat requests (status {status}): it is not the model server, but perhaps Open WebUI itself, whose own port is 8080 too. Set the base URL to the address of mlx_lm.server.",
        "{url} はチャットのリクエストを受け付けません（ステータス {status}）。モデルのサーバーではなく、同じ 8080 番を使う Open WebUI 自身などと思われるため、ベース URL を mlx_lm.server のアドレスに直してください。",
    ),
    "not_a_reply": ProblemRow(
        "request",
        "{url} answered with something that is not a chat reply. Check that the base URL belongs to mlx_lm.server.",
        "{url} からチャットの応答とは異なるものが返りました。ベース URL が mlx_lm.server のものか確かめてください。",
    ),
    "bad_request": ProblemRow(
        "request",
        "The server refused the request (status {status}){words}. Correct the setting or the message that it names.",
        "サーバーがリクエストを拒否しました（ステータス {status}）{words}。そこに示された設定またはメッセージを直してください。",
    ),
    "cut_list": ProblemRow(
        "request",
        "The list of models of {url} did not come whole, or is too long to be read. Name a model, or look at the server's log.",
        "{url} のモデル一覧が最後まで届かなかったか、長すぎて読み取れません。モデル名を指定するか、サーバーのログを確かめてください。",
    ),
    "context_overflow": ProblemRow(
        "request",
        "The conversation is too long for the model as the server runs it{words}. Start a new chat, lower max_tokens, or give the server a larger context.",
        "会話がサーバーで動いているモデルのコンテキスト長を超えています{words}。新しいチャットを始めるか、max_tokens を減らすか、サーバーのコンテキスト長を増やしてください。",
    ),
    "too_large": ProblemRow(
        "request",
        "The conversation is too large for the proxy in front of the server (status {status}). Raise the proxy's limit for request bodies, or start a new chat.",
        "会話がサーバーの前にあるプロキシの上限を超えています（ステータス {status}）。プロキシのリクエスト上限を上げるか、新しいチャットを始めてください。",
    ),
    "template_refused": ProblemRow(
        "request",
        "The model's chat template refused the conversation. Start a new chat, and report the conversation to mlx-harmony if it happens again.",
        "モデルのチャットテンプレートが会話を受け付けませんでした。新しいチャットを始め、再発する場合はその会話を mlx-harmony に報告してください。",
    ),
    "server_error": ProblemRow(
        "request",
        "The server failed (status {status}){words}. Look at its log, and try again.",
        "サーバーでエラーが起きました（ステータス {status}）{words}。サーバーのログを確かめて、もう一度試してください。",
    ),
    "bad_gateway": ProblemRow(
        "request",
        "The proxy at {url} gets no reply from the server behind it (status {status}). Check that mlx_lm.server is running, and raise the proxy's time limit if the prompt is long.",
        "{url} のプロキシが背後のサーバーから応答を得られません（ステータス {status}）。mlx_lm.server の動作を確かめ、プロンプトが長い場合はプロキシの制限時間を延ばしてください。",
    ),
    "no_model": ProblemRow(
        "model",
        "The server was started without a model. Name a model, or start mlx_lm.server with `--model`.",
        "サーバーはモデルを指定せずに起動されています。モデル名を指定するか、mlx_lm.server を `--model` 付きで起動してください。",
    ),
    "unknown_model": ProblemRow(
        "model",
        "The server does not have the model{model}. Leave the model empty to use the one that is loaded, or choose one that the server lists{near}.",
        "モデル{model}はサーバーにありません。モデル名を空にして読み込み済みのモデルを使うか、サーバーの一覧にあるモデルを選んでください{near}。",
    ),
    "unknown_model/unnamed": ProblemRow(
        "model",
        "The server asks for a model that it has{words}. Name one that the server lists{near}.",
        "サーバーにあるモデルの名前が必要です{words}。サーバーの一覧にあるモデルを指定してください{near}。",
    ),
    "unknown_model/offline": ProblemRow(
        "model",
        "The server does not have the model{model}, and it cannot reach Hugging Face to download it. Choose one that the server lists{near}, or give that machine network access without HF_HUB_OFFLINE.",
        "モデル{model}はサーバーになく、Hugging Face に接続できないためダウンロードもできません。サーバーの一覧にあるモデルを選ぶか{near}、そのマシンを HF_HUB_OFFLINE なしでネットワークにつないでください。",
    ),
    "model_loading": ProblemRow(
        "model",
        "The server is still loading the model (status {status}). Wait a moment, and try again.",
        "サーバーはまだモデルを読み込んでいます（ステータス {status}）。しばらく待ってから、もう一度試してください。",
    ),
    "model_not_loaded": ProblemRow(
        "model",
        "The server could not load the model{model}{words}. Look at its log, and check the model's folder or name.",
        "サーバーがモデル{model}を読み込めませんでした{words}。サーバーのログと、モデルのフォルダーまたは名前を確かめてください。",
    ),
    "model_not_loaded/silently": ProblemRow(
        "model",
        "The server could not load the model{model}, and does not say why. Check its name, and upgrade mlx-lm there with `pip install -U mlx-lm` if it is older than 0.26.4.",
        "サーバーがモデル{model}を読み込めず、理由も返しませんでした。モデル名を確かめ、mlx-lm が 0.26.4 より古ければサーバー側で `pip install -U mlx-lm` を実行してください。",
    ),
    "gpt_oss_unsupported": ProblemRow(
        "model",
        "The server could not load the model: its mlx-lm is too old for gpt-oss. Upgrade it there with `pip install -U mlx-lm` (0.26.4 or newer) and start the server again.",
        "サーバーの mlx-lm が古く gpt-oss に対応していないため、モデルを読み込めませんでした。サーバー側で `pip install -U mlx-lm`（0.26.4 以降）を実行し、サーバーを起動し直してください。",
    ),
    "lossy_server": ProblemRow(
        "model",
        "The server's mlx-lm 0.26.3 loses the rest of a reply at many characters (Japanese, emoji, °). Upgrade it there with `pip install -U mlx-lm` (0.26.4 or newer) and start the server again.",
        "サーバーの mlx-lm 0.26.3 は、日本語や絵文字、° などの文字が出ると、それ以降の回答が欠けます。サーバー側で `pip install -U mlx-lm`（0.26.4 以降）を実行し、サーバーを起動し直してください。",
    ),
    "unstable_server": ProblemRow(
        "model",
        "The server's mlx-lm {version} can stop answering when its prompt cache fails. Upgrade it there with `pip install -U mlx-lm` (0.31 or newer) and start the server again.",
        "サーバーの mlx-lm {version} は、プロンプトキャッシュの失敗で応答しなくなることがあります。サーバー側で `pip install -U mlx-lm`（0.31 以降）を実行し、サーバーを起動し直してください。",
    ),
    "stream_defect": ProblemRow(
        "model",
        "The server's mlx-lm does not work with its version of MLX{words}. Upgrade both there with `pip install -U mlx mlx-lm`, and start the server again.",
        "サーバーの mlx-lm と MLX のバージョンが合っていません{words}。サーバー側で `pip install -U mlx mlx-lm` を実行し、サーバーを起動し直してください。",
    ),
    "batching_defect": ProblemRow(
        "model",
        "The server's mlx-lm failed on several requests at once, which is a defect of that version{words}. Upgrade it there with `pip install -U mlx-lm` and start the server again, or send a seed, which keeps a request apart from others.",
        "サーバーの mlx-lm が、複数のリクエストをまとめて処理するときの不具合で失敗しました{words}。サーバー側で `pip install -U mlx-lm` を実行してサーバーを起動し直すか、リクエストに seed を付けて単独で処理させてください。",
    ),
    "out_of_memory": ProblemRow(
        "model",
        "The server ran out of memory. Shorten the conversation, use a smaller model, or close other programs on that machine.",
        "サーバーのメモリーが足りなくなりました。会話を短くするか、小さいモデルを使うか、そのマシンの他のプログラムを終了してください。",
    ),
    "empty_reply": ProblemRow(
        "generation",
        "The server closed the connection without a reply. Look at its log for the reason, which newer versions of mlx-lm send along.",
        "サーバーが応答せずに接続を閉じました。サーバーのログで理由を確かめてください（新しい mlx-lm は理由も返します）。",
    ),
    "dead_server": ProblemRow(
        "generation",
        "The server took the request, but it can no longer generate text. Restart mlx_lm.server, and look at its log if it happens again.",
        "サーバーはリクエストを受け取りましたが、応答を生成できない状態です。mlx_lm.server を再起動し、再発する場合はそのログを確かめてください。",
    ),
    "silent": ProblemRow(
        "generation",
        "The server took the request, then sent no reply within {seconds} s. Restart mlx_lm.server if it is stuck, or raise the first-byte timeout if the prompt is long.",
        "サーバーはリクエストを受け取りましたが、{seconds} 秒以内に応答しませんでした。停止しているなら mlx_lm.server を再起動し、プロンプトが長いなら最初の応答までの制限時間を延ばしてください。",
    ),
    "silent/check": ProblemRow(
        "generation",
        "The server did not come to an end with its answer within {seconds} s. Try again in a minute, since it may be loading a model or answering somebody else, and restart mlx_lm.server if it stays so.",
        "サーバーの応答が {seconds} 秒以内に終わりませんでした。モデルの読み込み中か、他の要求への応答中かもしれないため、1 分ほど待ってもう一度試し、変わらなければ mlx_lm.server を再起動してください。",
    ),
    "stalled": ProblemRow(
        "generation",
        "The server fell silent for {seconds} s in the middle of the reply. Restart mlx_lm.server if it is stuck, or raise the idle timeout.",
        "応答の途中で、サーバーが {seconds} 秒間何も送ってきませんでした。停止しているなら mlx_lm.server を再起動するか、無通信の制限時間を延ばしてください。",
    ),
    "interrupted": ProblemRow(
        "generation",
        "The connection broke off before the reply was complete. Try again, and look at the server's log if it happens again (it may have run out of memory).",
        "応答が終わる前に接続が切れました。もう一度試し、再発する場合はサーバーのログを確かめてください（メモリー不足の可能性があります）。",
    ),
    "error_frame": ProblemRow(
        "generation",
        "The server gave up in the middle of the reply{words}. Look at its log, and try again.",
        "サーバーが応答の途中で処理を中断しました{words}。サーバーのログを確かめて、もう一度試してください。",
    ),
    "endless_reply": ProblemRow(
        "generation",
        "The server sent more than 16 MiB in one piece, so the reply was given up. Check that the base URL belongs to mlx_lm.server, and look at its log.",
        "サーバーが区切りなしに 16 MiB を超えるデータを送ってきたため、応答の受信を打ち切りました。ベース URL が mlx_lm.server のものか確かめ、サーバーのログも確認してください。",
    ),
    "cut_in_reasoning": ProblemRow(
        "reply",
        "The model used up its tokens{budget} before it could answer. Raise max_tokens, or lower the reasoning effort.",
        "モデルは回答を始める前に{budget}トークンを使い切りました。最大トークン数（max_tokens）を増やすか、推論の深さ（reasoning effort）を下げてください。",
    ),
    "only_reasoning": ProblemRow(
        "reply",
        "The model thought, but gave no answer. Ask again, or lower the reasoning effort.",
        "モデルは思考しただけで、回答しませんでした。もう一度尋ねるか、推論の深さ（reasoning effort）を下げてください。",
    ),
    "broken_call": ProblemRow(
        "reply",
        "The model began a tool call and did not finish it. Ask again.",
        "モデルのツール呼び出しが途中で終わりました。もう一度尋ねてください。",
    ),
    "empty": ProblemRow(
        "reply",
        "The model gave an empty answer. Ask again, perhaps in other words.",
        "モデルの回答は空でした。言い方を変えるなどして、もう一度尋ねてください。",
    ),
}

# ======================================================================================
# harmony_core/failures.py
# How an exchange with a server can fail, in the terms of any HTTP client.

Phase = Literal["connect", "headers", "status", "first_byte", "idle", "stream"]
Cause = Literal[
    "",
    "bad_url",
    "bad_key",
    "dns",
    "refused",
    "timeout",
    "limit",
    "proxy",
    "tls",
    "tls/http_only",
    "tls/https_only",
    "tls/certificate",
    "tls/ca_file",
    "not_a_reply",
]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds.

    `first_byte` is the longest silence before the body of the reply begins: the server may load a model or
    answer other requests first. `idle` is the longest silence after that; keepalive comments count as life.
    `short_answer` limits the whole body of an error or of a list of models, even if it trickles (for a list
    mlx_lm.server searches its whole cache).
    """

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 120.0
    short_answer: float = 30.0

    def limit(self, phase: Phase) -> float:
        """The limit in a phase."""
        return {"connect": self.connect, "idle": self.idle}.get(phase, self.first_byte)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of an exchange that brought no reply.

    `phase` tells how far it came: "connect" (needs a `cause`), "headers" (no status line came), "status" (it
    is not 200), "first_byte" (no body came), "idle" (a silence in the body) or "stream" (a break in it).
    `cause="timeout"`: nothing came for `seconds`. `cause="limit"`: the caller's time for the whole exchange
    ran out. Without a cause the connection was closed. `models` are the ids of GET /v1/models; None if nobody
    asked or nothing came.
    """

    phase: Phase
    base_url: str = field(
        repr=False
    )  # may hold a password; the body below may repeat a key
    cause: Cause = ""
    status: int = 0
    body: str = field(default="", repr=False)
    location: str = field(default="", repr=False)
    model: str = ""
    models: tuple[str, ...] | None = None
    seconds: float = 0


class ServerError(Exception):
    """An exchange failed; `problem` says why and what to do. Holds no key and chains no other exception."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text())
        self.problem = problem


# ======================================================================================
# harmony_core/server_words.py
# What servers, proxies and TLS libraries say when they refuse, and which row of the table that means.
#
# The words are from the sources of the servers, or from public reports. `tests/corpus/server_words.json`
# holds an example of each.

# The status alone decides, whatever the body says.
ROW_OF_SURE_STATUS: Final[Mapping[int, str]] = {
    429: "rate_limited",
    **dict.fromkeys(range(300, 400), "redirect"),
    **dict.fromkeys((401, 403, 407), "unauthorized"),
}
# The status decides unless the body says more.
ROW_OF_STATUS: Final[Mapping[int, str]] = {
    413: "too_large",
    **dict.fromkeys((405, 501), "wrong_server"),
    **dict.fromkeys((502, 503, 504), "bad_gateway"),
}
# What error bodies of mlx_lm.server, chat templates, huggingface_hub, MLX, llama.cpp,
# vLLM, SGLang, Ollama and LM Studio say; the first match counts.
ROW_OF_WORDS: Final[Mapping[str, str]] = {
    "dead_server": "generation thread died",
    "endless_reply": r"a piece of the reply is longer than \d+ MiB",  # ChatStream says it
    "stream_defect": r"there is no stream\(",
    "batching_defect": r"\[broadcast_shapes\]",
    "gpt_oss_unsupported": "model type gpt_oss not supported",
    "no_model": "a model path has to be given|no models? (is |are )?loaded",
    "model_loading": r"(?<!error )(?<!failed )loading model"
    "|model is (still |currently )?(loading|being loaded)",
    "context_overflow": r"maximum (context|input|sequence) length|context[_ ]length[_ ]exceeded"
    r"|exceed\w* (the |its )?((maximum|max|model'?s?|available|allowed) )*(context|n_ctx)"
    "|exceed_context_size|context (size|length|window) (has been |was )?exceeded"
    "|context ?window ?exceeded"
    "|loaded with context length|greater than the context length|reached context length"
    r"|longer than the (maximum )?model'?s? (context|length)"
    "|prompt (is )?too (long|large)|context the overflows"
    "|reduce the length of the (messages|prompt|input)|max_new_tokens` must be",
    "template_refused": "(assistant|tool|system) message|has tool role|conversation roles"
    r"|message containing <\|channel|chat[ _]template"
    "|object' has no attribute|' is undefined|can only get item pairs",
    "out_of_memory": r"out ?of ?memory|insufficient memory|\[metal::malloc\]",
    "unknown_model/offline": "cannot find (an|the) (appropriate|requested)|offline mode"
    "|couldn['’]t connect to|local_?entry_?not_?found|outgoing traffic"
    r"|max retries exceeded|nodename nor servname|name resolution|name or service not known",
    "unknown_model": "repository not found|repo id must|local models must be relative"
    "|model_not_found|try pulling it|invalid model identifier|no such model|unknown model"
    r"|model [`'\"“]?\S{1,300}[`'\"”]? (was )?not found|model not found"
    "|the model .{1,300}? does not exist|is not a valid model",
    "model_not_loaded": r"model type \S+ not supported|no safetensors found|config\.json"
    "|failed to load model|error loading model",
}
# What OpenSSL and `requests` say about a failed handshake.
CAUSE_OF_TLS_WORDS: Final[Mapping[Cause, str]] = {
    "tls/http_only": "WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL"
    "|record layer failure|PACKET_LENGTH_TOO_LONG",
    "tls/ca_file": "NO_CERTIFICATE_OR_CRL_FOUND|PEM lib|No such file|invalid path"
    "|CA certificate bundle|NO_START_LINE|BAD_BASE64",
    "tls/certificate": "CERTIFICATE_VERIFY_FAILED|match certificate|doesn't match",
}
# How a server that speaks TLS answers plain http: in words, or with a TLS alert.
HTTPS_ONLY: Final = re.compile(
    r"(?i)http request to an https server|plain http request was sent to https"
    r"|speaking plain http to an ssl|^\x15\x03|b'\\x15\\x03"
)

# ======================================================================================
# harmony_core/diagnosis.py
# From a failure or a reply to a row of the table in `problems.py`.
#
# It is pure, so an asyncio host, a gevent host and the command line say the same thing. The bodies are those
# of `mlx_lm.server` 0.26.3 to 0.32.2, read in its source and seen on the wire, and of proxies in front of it.
#
# No text holds an API key. Addresses are shown without user name and query. A server's words are quoted only
# if they say what to correct, with the key blotted out.

# By phase: what it means if the connection ends, or stays silent, before the first byte of a reply.
_KIND_OF_END = {
    "connect": "unreachable",
    "headers": "empty_reply",
    "first_byte": "dead_server",
}
_KIND_OF_SILENCE = {
    "connect": "connect_timeout",
    "headers": "silent",
    "first_byte": "silent",
}
# Exceptions by class name, since this module may import neither a socket nor an HTTP library.
_CAUSES: dict[str, Cause] = {
    "InvalidHeader": "bad_key",
    "UnicodeEncodeError": "bad_key",
    "ProxyError": "proxy",
    "InvalidProxyURL": "proxy",
    "SSLError": "tls",
    "ClientSSLError": "tls",
    "gaierror": "dns",
    "ConnectionRefusedError": "refused",
    "NewConnectionError": "",  # inherits from a timeout, but its cause is inside
    "TimeoutError": "timeout",
    "HeadTooLong": "not_a_reply",
    "LineTooLong": "not_a_reply",
    "ValueError": "bad_url",  # of all that we send, only the address can be that wrong
}
_HTML = re.compile(r"[\ufeff\s]*<(!doctype|html|head|\?xml)", re.IGNORECASE)
# What servers and proxies say about a path that they do not have, if anything.
_NO_PATH = re.compile(r"(?i)(404:? )?((file|page) )?not found|cannot post \S*|")
_HOST_AND_PORT = re.compile(r"//(\[.*?\]|[^/:]*):?(\d*)")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")
_QUOTED_LENGTH = 200  # characters of the server's own words
_MAX_ADDRESS = 500  # characters of an address that a server sends
_MAX_COMPARED = 500  # ids of models that are compared with a name


def cause_of(error: BaseException) -> Cause:
    """Why a connection failed, read from an exception of `requests`, `aiohttp` or the system."""
    chain = [error]
    for link in chain:  # grows on the way
        if cause := _named_cause(link):
            return cause
        inner = (link.__cause__, link.__context__, *link.args)
        chain += [e for e in inner if isinstance(e, BaseException) and e not in chain]
    return ""


def _named_cause(error: BaseException) -> Cause:
    words = str(error)
    if "CA certificate bundle" in words:  # `requests` raises it as a plain OSError
        return "tls/ca_file"
    names = (base.__name__ for base in type(error).__mro__)
    cause: Cause = next((_CAUSES[name] for name in names if name in _CAUSES), "")
    if cause == "tls":
        said = (
            c for c, saying in CAUSE_OF_TLS_WORDS.items() if re.search(saying, words)
        )
        return next(said, "tls")
    if HTTPS_ONLY.search(words):
        return "tls/https_only"
    return cause


def server_version(fingerprint: str) -> tuple[int, int, int] | None:
    """The version of mlx-lm in a `system_fingerprint`, where it precedes MLX's; None for another server."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)[^-]*-\d", fingerprint)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def visible_url(url: str) -> str:
    """An address fit to be shown: without user name, password and query."""
    address = url.strip()
    if address and "://" not in address:
        address = f"http://{address}"
    return re.sub(r"(?s)(?<=//).*@|[?#].*", "", address).rstrip("/")


def explain_failure(failure: Failure, *, api_key: str = "") -> Problem:
    """Name the problem of an exchange that brought no reply. Quoted words never show `api_key`."""
    return _filled(_problem_row(failure), failure, api_key)


def explain_reply(
    reply: Reply,
    *,
    base_url: str,
    fingerprint: str = "",
    deltas: int = 0,
    max_tokens: int | None = None,
    api_key: str = "",
) -> Problem | None:
    """Name the problem of a reply that did arrive; None if it is what was asked for.

    `deltas` counts the deltas that carried text. If mlx-lm 0.26.3 counts more tokens than its text
    explains, it lost some.
    """
    row = _reply_row(reply, fingerprint, deltas)
    failure = Failure("stream", base_url, body=reply.detail)
    return _filled(row, failure, api_key, max_tokens) if row else None


def _problem_row(failure: Failure) -> str:
    if failure.phase == "status":
        return _status_row(failure)
    if failure.cause == "timeout":
        return _KIND_OF_SILENCE.get(failure.phase, "stalled")
    if failure.cause == "limit":
        return "silent/check"
    tells = failure.cause.startswith(("tls/", "not_a_reply"))
    known = failure.cause if failure.phase == "connect" or tells else ""
    return known or _KIND_OF_END.get(failure.phase, "interrupted")


def _status_row(failure: Failure) -> str:
    if failure.status in ROW_OF_SURE_STATUS:
        return ROW_OF_SURE_STATUS[failure.status]
    is_page = _HTML.match(failure.body)
    if failure.status < 400:
        return "web_page" if is_page else "not_a_reply"
    if HTTPS_ONLY.search(failure.body):
        return "tls/https_only"
    if not is_page and (row := _body_row(failure.body)):
        return row
    if failure.status in ROW_OF_STATUS:
        return ROW_OF_STATUS[failure.status]
    if failure.status >= 500:
        return "server_error"
    if is_page:
        return "web_page"
    return _not_found_row(failure) if failure.status == 404 else "bad_request"


def _not_found_row(failure: Failure) -> str:
    """Any exception before the headers is a 404 (mlx_server.md): the body and the list tell which."""
    if not _NO_PATH.fullmatch(_message(failure.body).strip()):
        return "bad_request"
    # mlx-lm before 0.28 says just "Not Found" for a model that it cannot load, too.
    if failure.models is None or failure.body.strip() != "Not Found":
        return "wrong_path"
    if failure.model in ("", *failure.models):
        return "gpt_oss_unsupported"
    return "unknown_model" if failure.models else "model_not_loaded/silently"


def _body_row(body: str) -> str:
    rows = (row for row, said in ROW_OF_WORDS.items() if re.search(said, body, re.I))
    return next(rows, "")


def _reply_row(reply: Reply, fingerprint: str, deltas: int) -> str:
    counted = reply.usage.completion_tokens if reply.usage else 0
    lost = counted - deltas > _most_silent_tokens(reply)
    if lost and server_version(fingerprint) == (0, 26, 3):
        return "lossy_server"
    if reply.finish_reason == "error":
        return _body_row(reply.detail) or "error_frame"
    if reply.finish_reason == "not_a_stream":
        return "web_page" if _HTML.match(reply.detail) else "not_a_reply"
    if reply.finish_reason == "interrupted" and not (deltas or reply.detail):
        return "dead_server"
    if reply.outcome == "cut" and not (reply.answer.strip() or reply.tool_calls):
        return "cut_in_reasoning"
    return reply.outcome if reply.outcome in PROBLEMS else ""


def _most_silent_tokens(reply: Reply) -> int:
    """The most tokens without text in a reply that lost none.

    That is the end token and a blank before it, and all but the last token of a character
    that has several: two as a rule, four in an emoji.
    """
    text = reply.reasoning + reply.answer
    return 2 + sum((char > "\x7f") + 2 * (char > "\uffff") for char in text)


def _filled(row: str, failure: Failure, key: str, budget: int | None = None) -> Problem:
    url = visible_url(failure.base_url)
    match = _HOST_AND_PORT.search(url)
    host, port = match.groups() if match else ("", "")
    secrets = [*_secrets_of(failure.base_url, key)]
    words = _quotable(failure.body, secrets)
    target = failure.location[:_MAX_ADDRESS].partition("?")[0]
    location = _printable(_without(secrets, visible_url(target)))
    model = _printable(failure.model)[:_QUOTED_LENGTH]
    near = ", ".join(_nearest(failure.model, failure.models or ()))
    japanese = {
        "budget": f"上限の {budget} " if budget else "",
        "model": f"「{model}」" if model else "",
        "near": f"（{near}）" if near else "",
        "words": f"（「{words}」）" if words else "",
        "location": f"（{location}）" if location else "",
    }
    return problem_of(
        _case_of(row, host, failure.model),
        japanese,
        url=url,
        host=host,
        port=port or 8585,
        status=failure.status,
        seconds=f"{round(failure.seconds, 1):g}",
        budget=f" (limit {budget})" if budget else "",
        model=f" “{model}”" if model else "",
        near=f": {near}" if near else "",
        words=f": “{words}”" if words else "",
        location=f" ({location})" if location else "",
    )


def _case_of(row: str, host: str, model: str) -> str:
    """The row for this very host or request, if the table has one."""
    case = "localhost" if host.lower() in _LOCAL_HOSTS else host
    if row == "unknown_model" and not model:
        case = "unnamed"
    named = f"{row}/{case}"
    return named if named in PROBLEMS else row


def _nearest(model: str, models: tuple[str, ...]) -> list[str]:
    """Up to three ids like the name. It compares their last parts: few people type the owner."""
    name, models = model[:_QUOTED_LENGTH] or "gpt-oss", models[:_MAX_COMPARED]
    wanted, *ends = (name.rpartition("/")[2].lower() for name in (name, *models))
    near = difflib.get_close_matches(wanted, ends, n=3, cutoff=0.5)
    alike = [name for name, end in zip(models, ends, strict=True) if end in near]
    return (alike or list(models))[:3]


def _quotable(body: str, secrets: list[str]) -> str:
    """The message of an error body on one line, cut to length; "" if it would not help a user."""
    message = _message(body)
    if _HTML.match(message) or "Traceback" in message:
        return ""
    line = _printable(" ".join(_without(secrets, message).split())).rstrip(".。 ")
    return line if len(line) <= _QUOTED_LENGTH else f"{line[:_QUOTED_LENGTH]}…"


def _printable(text: str) -> str:
    """The text without characters that could steer a terminal."""
    return "".join(filter(str.isprintable, text))


def _secrets_of(base_url: str, api_key: str) -> Iterator[str]:
    """The key as it was pasted and as it is sent; the same for the password of an address."""
    yield from filter(None, (api_key.strip(), "".join(api_key.split())))
    yield from (word for word in api_key.split() if len(word) > 3)
    if user := re.search(r"(?s)//(.*)@", base_url):
        plain = unquote(user[1])
        yield base64.b64encode(plain.encode("utf-8", "replace")).decode()
        yield from filter(None, (user[1].partition(":")[2], plain.partition(":")[2]))


def _without(secrets: list[str], text: str) -> str:
    """The text with the secrets blotted out."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return text


def _message(body: str) -> str:
    try:
        value = load_json(body)
    except ValueError:
        return body
    for name in ("error", "message", "detail"):
        value = as_object(value).get(name, value)
    return value if isinstance(value, str) else ""


# ======================================================================================
# openwebui_pipe/phrases.py
# The pipe's own sentences for users, in English and Japanese.

PHRASES: Final = {
    "waiting": ("Waiting for the server", "サーバーの応答を待っています"),
    "still_waiting": (
        "Waiting for the server, {seconds} s",
        "サーバーの応答を待っています（{seconds} 秒）",
    ),
    "reading": (
        "Reading the prompt, {percent} %",
        "プロンプトを読み込み中 {percent} %",
    ),
    "reading_at": (
        "Reading the prompt, {percent} %, {rate} tokens/s",
        "プロンプトを読み込み中 {percent} %（{rate} トークン/秒）",
    ),
    "thinking": ("Thinking", "思考中"),
    "cut": (
        "The answer was cut at {budget} tokens."
        " Use Continue Response, or raise MAX_TOKENS.",
        "回答は {budget} トークンで切れました。"
        "「応答の続きを生成」を使うか、「最大トークン数」（MAX_TOKENS）を上げてください。",
    ),
    "bad_call": (
        "The model called the tool “{tool}” in a way that cannot be run."
        " Regenerate the answer.",
        "モデルがツール「{tool}」を実行できない形で呼び出しました。回答を再生成してください。",
    ),
    "tool_off": (
        "The model called the tool “{tool}”, which is not switched on in this chat."
        " Switch it on, or ask again.",
        "モデルがツール「{tool}」を呼び出しましたが、このチャットでは有効になっていません。"
        "有効にするか、もう一度尋ねてください。",
    ),
    "tool_left_out": (
        "The model called the tool “{tool}”, which the pipe does not send along in this"
        " chat. Ask again, or have an administrator set TOOLS to all.",
        "モデルがツール「{tool}」を呼び出しましたが、このチャットではパイプがこのツールを"
        "送っていません。もう一度尋ねるか、管理者に TOOLS を all にするよう依頼してください。",
    ),
    "effort_ignored": (
        "The server's mlx-lm ignores the reasoning effort. Upgrade it there with"
        " pip install -U mlx-lm (0.30.6 or newer).",
        "サーバーの mlx-lm は推論の深さ（reasoning effort）に対応していません。サーバー側で"
        " pip install -U mlx-lm（0.30.6 以降）を実行してください。",
    ),
    "images": (
        "gpt-oss reads text only. The images in this message were left out.",
        "gpt-oss が読めるのはテキストだけです。このメッセージの画像は送られませんでした。",
    ),
    "error": ("Error: {text}", "エラー: {text}"),
    "tasks_off": (
        "The pipe leaves this task out. Set TASKS to low-effort to have it done.",
        "このタスクは実行しません。実行する場合は TASKS を low-effort にしてください。",
    ),
    "task_dropped": (
        "The pipe left this task out: nobody waits for it any longer, or the server was"
        " busy for too long.",
        "このタスクは実行しませんでした。結果を待つ画面がなくなったか、サーバーが長く混み合って"
        "いました。",
    ),
    "no_answer": (
        "The model gave no answer to this task. Open WebUI goes on without it.",
        "このタスクにモデルの回答がありませんでした。Open WebUI はそのまま続行します。",
    ),
    "failed": (
        "The pipe failed ({error})."
        " Report it with the traceback from the log of Open WebUI.",
        "パイプでエラーが発生しました（{error}）。"
        "Open WebUI のログにあるトレースバックを添えて報告してください。",
    ),
}


def phrase(name: str, language: Language, **values: object) -> str:
    """One of the sentences, filled in."""
    return PHRASES[name][language == "ja"].format(**values)


def language_of(metadata: object) -> Language:
    """The language of the user's browser, which Open WebUI has as a prompt variable."""
    match metadata:
        case {"variables": {"{{USER_LANGUAGE}}": str(locale)}} if locale[:2] == "ja":
            return "ja"
    return "en"
