"""
title: MLX Harmony
author: the mlx-harmony authors
version: 0.2.0
license: MIT
description: Chat with gpt-oss on mlx_lm.server: folded thinking, tools, clean titles, clear errors.
required_open_webui_version: 0.6.20
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import nullcontext
from typing import Final

from starlette.responses import StreamingResponse

from harmony_core.failures import Timeouts
from harmony_core.gpt_oss import effort_named
from harmony_core.jsontext import Json, JsonObject, as_list, as_object
from harmony_core.problems import Language
from harmony_core.request import (
    DEFAULT_MODEL,
    ChatRequest,
    Endpoint,
    sendable_number,
)
from openwebui_pipe.background_tasks import (
    AnswersFirst,
    BackgroundTask,
    client_gone,
    result_unless_gone,
)
from openwebui_pipe.chunks import ChunkMaker, error_chunk
from openwebui_pipe.host_manner import is_api_call, manner_of
from openwebui_pipe.http_replies import error_reply, is_anthropic, stream_reply
from openwebui_pipe.known_models import KnownModels
from openwebui_pipe.model_file import ModelFile, data_folder
from openwebui_pipe.model_list import model_entries, wanted_models, with_named_models
from openwebui_pipe.phrases import language_of, phrase
from openwebui_pipe.reply import PipeReply
from openwebui_pipe.servers import ModelServer, server_of, servers_from
from openwebui_pipe.status import Emitter, Status
from openwebui_pipe.tool_policy import offer_of
from openwebui_pipe.transport import Exchange
from openwebui_pipe.valves import PipeUserValves, PipeValves, user_valves_of
from openwebui_pipe.verdict import ReplyRules

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
