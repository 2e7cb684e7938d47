"""Markdown for a terminal that keeps what rich drops: HTML, LaTeX, link targets and line breaks."""

from __future__ import annotations

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown
from rich.segment import Segment


class AnswerMarkdown:
    """A model's answer as printable Markdown. Lines are not padded, because copying would keep the blanks."""

    def __init__(self, text: str) -> None:
        self._markdown = _LosslessMarkdown(text)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        for line in console.render_lines(self._markdown, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                yield from line[:-1]
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


class _LosslessMarkdown(Markdown):
    """Keeps HTML and line breaks, which rich drops, and backslashes, which LaTeX such as `\\(x\\)` needs."""

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False, code_theme="ansi_dark")
        parser = MarkdownIt("commonmark", {"html": False})
        parser.enable(["strikethrough", "table"])
        parser.disable(["escape", "reference", "image"])
        self.markup = text
        self.parsed = parser.parse(text)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"
