"""`chat`: sends the messages of a conversation, shows the replies, and says what is wrong with them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from ..client import Client, ReplyStream, ServerError
from ..events import Reply
from ..gpt_oss import DEFAULT_MAX_TOKENS
from ..json_schema import response_format_of
from ..jsontext import JsonObject
from ..problems import Problem
from ..render import Thinking
from ..request import DEFAULT_MODEL, ChatRequest
from .exit_codes import INTERRUPTED_BY_USER, OK, UNEXPECTED_REPLY, exit_code
from .model_choice import LIST_PROBLEMS, NEEDS_NAME, listed_gpt_oss, not_listed
from .phrases import phrase
from .problem_words import problem_text
from .schema import schema_mismatch
from .terminal import ReplyScreen, without_controls


@dataclass(frozen=True)
class ChatOptions:
    """The settings of a conversation; None and "" mean the default."""

    model: str = ""
    system: str = ""
    effort: str | None = None
    thinking: Thinking = "fold"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    schema: JsonObject | None = None

    @property
    def limit(self) -> int:
        """The most tokens that thinking and answer may use together."""
        return self.max_tokens or DEFAULT_MAX_TOKENS


class Conversation:
    """Sends messages, shows the replies, and remembers both."""

    def __init__(self, client: Client, options: ChatOptions) -> None:
        self.options = options
        self.turns: list[JsonObject] = []
        self.last_thinking = ""
        self._client = client

    def clear(self) -> None:
        """Forget everything but the settings."""
        self.turns = []
        self.last_thinking = ""

    def change(self, *, effort: str | None = None, system: str | None = None) -> None:
        """Change settings for the messages that follow."""
        if effort is not None:
            self.options = replace(self.options, effort=effort)
        if system is not None:
            self.options = replace(self.options, system=system)

    def find_server_problem(self) -> Problem | None:
        """Ask for the list of models; returns the problem that it shows, if any."""
        wanted = self.options.model
        try:
            models = self._client.models()
        except ServerError as error:
            return None if error.problem.kind in LIST_PROBLEMS else error.problem
        if not wanted or wanted in (*models, DEFAULT_MODEL):
            return None
        return not_listed(self._client.base_url, wanted, models)

    def ask(self, text: str) -> int:
        """Send a message and show the reply; returns an exit code. Ctrl-C stops only the reply."""
        self.turns.append({"role": "user", "content": text})
        stream: ReplyStream | None = None
        note, code = "", OK
        with ReplyScreen(self.options.thinking) as screen:
            try:
                with self._open() as stream:
                    for event in stream:
                        screen.show(event)
                note, code = verdict_of(stream, self.options)
            except ServerError as error:
                note = problem_text(error.problem)
                code = exit_code(error.problem.kind)
            except KeyboardInterrupt:
                note, code = phrase("stopped"), INTERRUPTED_BY_USER
        if note:
            print(without_controls(note), file=sys.stderr)
        self._record_answer(stream.reply if stream else Reply())
        return code

    def _open(self) -> ReplyStream:
        """Send the request. If the server requires a model name, try once more with its only gpt-oss."""
        try:
            return self._client.open(self._request())
        except ServerError as error:
            if self.options.model or error.problem.kind not in NEEDS_NAME:
                raise
            model = self._listed_gpt_oss()
            if not model:
                raise
        self.options = replace(self.options, model=model)
        words = phrase("model_taken", model=model)
        print(without_controls(words), file=sys.stderr)
        return self._client.open(self._request())

    def _listed_gpt_oss(self) -> str:
        try:
            return listed_gpt_oss(self._client.models())
        except ServerError:
            return ""

    def _request(self) -> ChatRequest:
        options = self.options
        system = [{"role": "system", "content": options.system}]
        schema = options.schema
        return ChatRequest(
            [*(system if options.system else ()), *self.turns],
            model=options.model,
            effort=options.effort,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            response_format=None if schema is None else response_format_of(schema),
        )

    def _record_answer(self, reply: Reply) -> None:
        """Keep the answer, even a partial one. Without an answer, drop the question."""
        self.last_thinking = reply.reasoning or self.last_thinking
        if reply.answer.strip():
            self.turns.append({"role": "assistant", "content": reply.answer})
        else:
            self.turns.pop()


def verdict_of(stream: ReplyStream, options: ChatOptions) -> tuple[str, int]:
    """Return what to tell the user about a complete reply ("" if it is fine), and the exit code."""
    reply = stream.reply
    if reply.finish_reason == "content_filter":
        return phrase("filtered"), UNEXPECTED_REPLY
    if (problem := stream.problem) is not None:
        if problem.kind == "cut_in_reasoning":
            return phrase(problem.kind, limit=options.limit), exit_code(problem.kind)
        return problem_text(problem), exit_code(problem.kind)
    if reply.outcome == "cut":
        return phrase("cut", limit=options.limit), UNEXPECTED_REPLY
    if reply.outcome == "called":
        calls = [f"{call.name}({call.arguments})" for call in reply.tool_calls]
        return phrase("called", calls=", ".join(calls)), UNEXPECTED_REPLY
    if reply.json_valid is False:
        return phrase("no_json"), UNEXPECTED_REPLY
    if options.schema is not None and (
        reason := schema_mismatch(reply.answer, options.schema)
    ):
        return phrase("no_fit", reason=reason), UNEXPECTED_REPLY
    return "", OK


def message_from_stdin() -> str:
    """Read all of standard input as one message."""
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip()
