"""How a reply looks in a terminal: the answer on stdout, all else dimmed on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ..events import AnswerDelta, Event, Progress, ReasoningDelta
from ..render import Thinking
from .phrases import phrase

# A model's text must not steer the terminal: control characters but tab and line break are left out.
_NO_CONTROLS = {
    code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"
}


def without_controls(text: str) -> str:
    """The text without what would steer a terminal."""
    return text.translate(_NO_CONTROLS)


class ReplyScreen:
    """Shows the events of one reply as they come; a context manager.

    Piped output holds the answer alone, its text unchanged. On a terminal one live line on stderr tells
    what the server is doing, and how long the model has been thinking.
    """

    def __init__(self, thinking: Thinking) -> None:
        self._thinking = thinking
        self._notes = Console(stderr=True, highlight=False, soft_wrap=True)
        self._line = _LiveLine()
        self._live: Live | None = None
        self._thinking_since: float | None = None
        self._answer_end = ""

    def __enter__(self) -> ReplyScreen:
        self._status(lambda: phrase("waiting"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_thinking()
        if self._answer_end not in ("", "\n"):
            self._write("\n")

    def show(self, event: Event) -> None:
        """Show what came next."""
        match event:
            case Progress(done, total) if self._thinking_since is None:
                self._status(
                    lambda: phrase("reading", percent=100 * done // max(total, 1))
                )
            case ReasoningDelta(text):
                self._show_thought(text)
            case AnswerDelta(text):
                self._end_thinking()
                self._write(text)
            case _:
                pass

    def _show_thought(self, text: str) -> None:
        if self._thinking_since is None:
            self._thinking_since = time.monotonic()
            self._begin_thinking()
        if self._thinking == "show":
            self._notes.print(Text(without_controls(text), "dim"), end="")

    def _begin_thinking(self) -> None:
        self._end_line()
        match self._thinking:
            case "fold":
                self._status(lambda: phrase("thinking", seconds=self._seconds()))
            case "hide":
                self._status(lambda: phrase("waiting"))
            case "show":
                self._hide_status()

    def _end_thinking(self) -> None:
        self._hide_status()
        if self._thinking_since is None:
            return
        if self._thinking == "show":
            self._notes.print("\n")
        if self._thinking == "fold" and self._notes.is_terminal:
            self._notes.print(Text(phrase("thought", seconds=self._seconds()), "dim"))
        self._thinking_since = None

    def _end_line(self) -> None:
        """On a terminal, keep what comes on stderr off the line of an answer that has begun."""
        if self._answer_end not in ("", "\n") and sys.stdout.isatty():
            self._write("\n")

    def _seconds(self) -> int:
        return round(time.monotonic() - (self._thinking_since or 0))

    def _write(self, text: str) -> None:
        if sys.stdout.isatty():
            text = without_controls(text)
        sys.stdout.write(text)
        sys.stdout.flush()
        self._answer_end = text[-1:] or self._answer_end

    def _status(self, words: Callable[[], str]) -> None:
        self._line.words = words
        if self._live is None and self._notes.is_terminal:
            self._live = Live(
                self._line,
                console=self._notes,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _hide_status(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _LiveLine:
    """A spinner whose words are asked for anew at every refresh."""

    def __init__(self) -> None:
        self.words: Callable[[], str] = str
        self._spinner = Spinner("dots", style="dim")

    def __rich__(self) -> Spinner:
        self._spinner.update(text=Text(self.words(), "dim"))
        return self._spinner
