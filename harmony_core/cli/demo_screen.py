"""What the demo shows while a reply arrives: the raw text on the left, a reader's view on the right."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..events import Reply
from ..markers import CONTROL_TOKENS
from .phrases import phrase


@dataclass
class Turn:
    """One request to the server: the message that was sent, the raw reply, and the parsed reply so far.

    `error` is what came instead of a reply.
    """

    said: str
    raw: str = ""
    reply: Reply = Reply()  # noqa: RUF009 (frozen)
    error: str = ""


class Scene:
    """Turns under a title; as a context manager it redraws them on a terminal while they grow."""

    def __init__(self, console: Console, title: str) -> None:
        self.turns: list[Turn] = []
        self._title = phrase(title)
        self._console = console
        self._live = Live(
            console=console, get_renderable=self._table, refresh_per_second=12
        )

    def __enter__(self) -> Scene:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:  # rich ends the table without a line break
            self._console.print()

    def _table(self) -> Table:
        table = Table(
            title=self._title,
            title_justify="left",
            title_style="bold",
            expand=True,
            show_lines=True,
        )
        table.add_column(phrase("left"), ratio=1, overflow="fold")
        table.add_column(phrase("right"), ratio=1, overflow="fold")
        for turn in self.turns:
            table.add_row(_raw_view(turn), _reader_view(turn))
        return table


def _raw_view(turn: Turn) -> Text:
    if turn.error:
        return Text(turn.error, "red", overflow="fold")
    text = Text(turn.raw, overflow="fold")
    text.highlight_words(CONTROL_TOKENS, "cyan")
    return text


def _reader_view(turn: Turn) -> Group:
    """Show a turn as a chat window would, with the thinking folded."""
    lines = [Text(turn.said, "bold")]
    if turn.error:
        lines.append(Text(f"✗ {phrase('no_answer')}", "red"))
    if turn.reply.reasoning:
        lines.append(Text(f"▸ {phrase('thought_folded')}", "dim"))
    lines += [
        Text(f"→ {call.name}({call.arguments})", "green")
        for call in turn.reply.tool_calls
    ]
    if turn.reply.answer:
        lines.append(Text(turn.reply.answer, overflow="fold"))
    return Group(*lines)
