"""What is to be said about a reply, or about the trouble of getting one."""

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
    """What holds for one reply.

    `left_out` are the tools that the pipe did not send along, `answer_tokens` the most
    tokens of the answer itself (0: no limit), `live_answers` how many stream right now.
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
    """Judges a reply; `calls` are those of its calls that the host is given."""

    def __init__(self, exchange: Exchange, rules: ReplyRules) -> None:
        self._exchange = exchange
        self._rules = rules

    def calls_to_run(self, reply: Reply) -> list[ToolCall]:
        """The calls of a reply that the host is given."""
        return self._rules.manner.calls_to_run(reply, self._rules.left_out)

    def of_reply(self, reply: Reply, calls: list[ToolCall]) -> Complaint | None:
        """What is wrong with a reply that did arrive, if anything is."""
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
        """Trouble with the server, or a defect of the pipe."""
        if isinstance(error, ServerError):
            return self._complaint(error.problem)
        reply_log.error("The pipe failed", exc_info=error)
        kind = type(error).__name__
        return Complaint(phrase("failed", self._rules.language, error=kind), 500)

    def remarks(self, reply: Reply, calls: list[ToolCall]) -> list[str]:
        """What deserves a notice although it is not an error."""
        remarks = self._lost_calls(reply, calls)[:1] if calls else []
        if self._ignores_effort():
            remarks.append(phrase("effort_ignored", self._rules.language))
        return remarks

    def _lost_calls(self, reply: Reply, calls: list[ToolCall]) -> list[str]:
        """Why each call that is not run is not."""
        lost = [call for call in reply.tool_calls if call not in calls]
        return [self._reason(call) for call in lost]

    def _reason(self, call: ToolCall) -> str:
        name = "bad_call" if call.declared else "tool_off"
        if call.name in self._rules.left_out:
            name = "tool_left_out"
        return phrase(name, self._rules.language, tool=call.name)

    def _ignores_effort(self) -> bool:
        """Whether an old server thinks as always; true only once in a chat."""
        version = server_version(self._exchange.stream.fingerprint)
        if version is None or version >= FIRST_EFFORT:
            return False
        request = self._exchange.request
        roles = {message.get("role") for message in objects_in([*request.messages])}
        effort = request.effort or request.default_effort
        return effort != "medium" and "assistant" not in roles

    def _complaint(self, problem: Problem) -> Complaint:
        # Clients repeat by themselves what ended in 429 or 5xx.
        status = 422 if problem.stage == "reply" else 502
        status = 429 if problem.kind == "rate_limited" else status
        return Complaint(problem.text(self._rules.language), status)
