"""Shows a reply in a terminal: the answer on stdout, everything else dimmed on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ..events import (
    PARAGRAPH,
    AnswerDelta,
    Event,
    FurtherThought,
    Progress,
    ReasoningDelta,
)
from ..render import Thinking
from .markdown import AnswerMarkdown
from .phrases import phrase

# A model's text must not steer the terminal, so all control characters but tab and line break are removed.
_NO_CONTROLS = {
    code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"
}


def without_controls(text: str) -> str:
    """Remove the control characters that could steer a terminal."""
    return text.translate(_NO_CONTROLS)


class ReplyScreen:
    """Shows the events of one reply as they come; a context manager.

    A pipe gets the unchanged answer and nothing else. A terminal gets the complete answer as Markdown; until
    then one live line on stderr tells what the server is doing, or how long the model has been thinking.
    """

    def __init__(self, thinking: Thinking) -> None:
        self._thinking = thinking
        self._notes = Console(stderr=True, highlight=False, soft_wrap=True)
        self._line = _LiveLine()
        self._live: Live | None = None
        self._thinking_since: float | None = None
        self._answer = _AnswerView() if sys.stdout.isatty() else _PlainAnswer()

    def __enter__(self) -> ReplyScreen:
        self._show_status(lambda: phrase("waiting"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_thinking()
        self._answer.end()

    def show(self, event: Event) -> None:
        """Show the next event."""
        match event:
            case Progress(done, total) if self._thinking_since is None:
                self._show_status(
                    lambda: phrase("reading", percent=100 * done // max(total, 1))
                )
            case FurtherThought(text) if self._thinking_since is not None:
                self._show_thought(PARAGRAPH + text)
            case ReasoningDelta(text):
                self._show_thought(text)
            case AnswerDelta(text):
                self._end_thinking()
                self._answer.add(text)
            case _:
                pass

    def _show_thought(self, text: str) -> None:
        if self._thinking_since is None:
            self._thinking_since = time.monotonic()
            self._begin_thinking()
        if self._thinking == "show":
            self._notes.print(Text(without_controls(text), "dim"), end="")

    def _begin_thinking(self) -> None:
        self._answer.pause()
        match self._thinking:
            case "fold":
                self._show_status(lambda: phrase("thinking", seconds=self._seconds()))
            case "hide":
                self._show_status(lambda: phrase("waiting"))
            case "show":
                self._hide_status()

    def _end_thinking(self) -> None:
        self._hide_status()
        if self._thinking_since is None:
            return
        if self._thinking == "show":
            self._notes.print("\n")
        if self._thinking == "fold" and self._notes.is_terminal:
            seconds = self._seconds()
            key = "thought" if seconds else "thought_briefly"
            self._notes.print(Text(phrase(key, seconds=seconds), "dim"))
        self._thinking_since = None

    def _seconds(self) -> int:
        return int(time.monotonic() - (self._thinking_since or 0))

    def _show_status(self, words: Callable[[], str]) -> None:
        self._line.words = words
        if self._live is None and self._notes.is_terminal:
            self._live = _live(self._line, self._notes)

    def _hide_status(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _PlainAnswer:
    """Writes the answer as it comes, for a pipe or a file."""

    def __init__(self) -> None:
        self._end = ""

    def add(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._end = text[-1:] or self._end

    def pause(self) -> None:
        """Do nothing, since stderr does not disturb a pipe."""

    def end(self) -> None:
        if self._end not in ("", "\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()


class _AnswerView:
    """Shows the last lines of an answer while it grows, then all of it as Markdown."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._text = ""
        self._live: Live | None = None

    def add(self, text: str) -> None:
        self._text += without_controls(text)
        if self._live is None:
            self._live = _live(self, self._console)

    def pause(self) -> None:
        """Finish the text so far, before something else is shown below it."""
        self.end()

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._text.strip():
            self._console.print(AnswerMarkdown(self._text))
        self._text = ""

    def __rich__(self) -> Text:
        width, height = self._console.width, max(1, self._console.height - 2)
        recent = Text(self._text[-width * height :])
        return Text("\n").join(recent.wrap(self._console, width)[-height:])


class _LiveLine:
    """A spinner that asks for its text at every refresh."""

    def __init__(self) -> None:
        self.words: Callable[[], str] = str
        self._spinner = Spinner("dots", style="dim")

    def __rich__(self) -> Spinner:
        self._spinner.update(text=Text(self.words(), "dim"))
        return self._spinner


def _live(content: _LiveLine | _AnswerView, console: Console) -> Live:
    """Start a live display that disappears when it is stopped."""
    live = Live(
        content,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    live.start()
    return live
