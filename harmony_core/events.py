"""What a reply is made of: frozen events, and the reply they add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

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
