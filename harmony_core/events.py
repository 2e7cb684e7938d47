"""What a reply is made of: frozen events, and the reply they add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "interrupted", "error", "not_a_stream"
]
Outcome = Literal[
    "answered", "called", "only_reasoning", "cut_in_reasoning", "cut", "empty", "interrupted", "failed"
]


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """A piece of what the user should read."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One complete tool call.

    `arguments` is the text for the tool: JSON where `valid`, else what the model wrote, unchanged.
    """

    id: str
    name: str
    arguments: str
    valid: bool
    declared: bool

    @property
    def executable(self) -> bool:
        """Whether a host may run it: the caller offered the tool and the arguments are JSON."""
        return self.valid and self.declared


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the server has read the prompt, in tokens (mlx_lm.server's keepalive comments)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The server's own token counts; `cached_tokens` is the part of the prompt it did not read again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply, always its last event.

    `tool_calls` stands in place of the server's `stop` when a call may be executed. `interrupted` is a
    stream without an end, `error` an error frame and `not_a_stream` something else than an SSE stream
    or a completion; `detail` is then the server's text. `json_valid` is None unless JSON was asked for.
    """

    reason: FinishReason
    truncated: bool = False
    detail: str = ""
    json_valid: bool | None = None


Event = ReasoningDelta | AnswerDelta | ToolCall | Progress | Usage | Finish


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, as `collect` sums it up."""

    reasoning: str = ""
    answer: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    truncated: bool = False
    finish_reason: FinishReason = "interrupted"
    usage: Usage | None = None
    detail: str = ""
    json_valid: bool | None = None

    @property
    def outcome(self) -> Outcome:
        """How the reply ended, in one word that a host can act on.

        `cut_in_reasoning`: `max_tokens` ran out before any answer. `only_reasoning`: the model stopped
        after thinking. `cut`: there is an answer or a call, but not all of it.
        """
        if self.finish_reason in ("error", "not_a_stream"):
            return "failed"
        if self.finish_reason == "interrupted":
            return "interrupted"
        if not (self.answer.strip() or self.tool_calls):
            return self._outcome_without_answer()
        if self.truncated:
            return "cut"
        return "answered" if self.answer.strip() else "called"

    def _outcome_without_answer(self) -> Outcome:
        if not self.reasoning.strip():
            return "cut" if self.truncated else "empty"
        return "cut_in_reasoning" if self.truncated else "only_reasoning"


def collect(events: Iterable[Event]) -> Reply:
    """Sum events up to a reply; without a `Finish` among them it is an interrupted one."""
    reasoning: list[str] = []
    answer: list[str] = []
    calls: list[ToolCall] = []
    usage: Usage | None = None
    finish = Finish("interrupted", truncated=True)
    for event in events:
        match event:
            case ReasoningDelta(text):
                reasoning.append(text)
            case AnswerDelta(text):
                answer.append(text)
            case ToolCall():
                calls.append(event)
            case Usage():
                usage = event
            case Finish():
                finish = event
            case Progress():
                pass
    return Reply(
        reasoning="".join(reasoning),
        answer="".join(answer),
        tool_calls=tuple(calls),
        truncated=finish.truncated,
        finish_reason=finish.reason,
        usage=usage,
        detail=finish.detail,
        json_valid=finish.json_valid,
    )
