"""What a reply is made of: frozen events, and the reply they add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class FurtherThought(ReasoningDelta):
    """The first piece of a further message of thinking.

    Nothing stands between two thoughts: who shows them puts a blank line there.
    """


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """A piece of what the user should read."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One complete tool call.

    `arguments` is JSON where `valid`, else what the model wrote, unchanged.
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
    """The server's token counts; `cached_tokens` of the prompt were not read again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply, always its last event.

    `tool_calls` stands for the server's `stop` when a call may be executed. `detail`
    holds its words after an `error` frame and where the reply was `not_a_stream`.
    `interrupted` is a stream without an end. `json_valid` is None if nobody wanted JSON;
    `thought` tells of thinking that a JSON reply leaves out.
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
        """How the reply ended, in one word that a host can act on.

        `cut_in_reasoning`: `max_tokens` ran out before any answer. `only_reasoning`:
        the model stopped after thinking. `broken_call`: it stopped within a tool call.
        `cut`: not all of an answer or a call came.
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
