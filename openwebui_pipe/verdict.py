"""Decides what the user is told about a reply, or about a failure to get one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harmony_core.diagnosis import explain_reply, server_version
from harmony_core.events import Reply, ToolCall
from harmony_core.failures import ServerError
from harmony_core.jsontext import objects_in
from harmony_core.problems import Language, Problem
from openwebui_pipe.host_manner import HostManner
from openwebui_pipe.phrases import phrase
from openwebui_pipe.transport import Exchange

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
