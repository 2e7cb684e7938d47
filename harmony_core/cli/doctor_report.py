"""The report of `doctor`: lines for people, JSON for programs, and one verdict for both."""

from __future__ import annotations

import json
import platform
import sys

from rich.console import Console
from rich.text import Text

from .. import __version__
from ..jsontext import Json
from ..problems import PROBLEMS
from .exit_codes import OK, UNEXPECTED_REPLY, exit_code
from .finding import Finding, Mark
from .phrases import language, phrase
from .terminal import without_controls

_SIGNS: dict[Mark, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "unknown": ("·", "dim"),
    "warning": ("!", "yellow"),
    "failed": ("✗", "red"),
}
_ESSENTIAL = ("server", "model", "reply")  # if one of these fails, no chat is possible
# Warnings that may explain such a failure.
_LOCAL_CAUSES = ("container", "installation", "memory")
_SHORTEST_SECRET = 4  # characters; hiding a shorter key would garble other words


class Report:
    """The findings so far, and the verdict and the exit code that follow from them."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url
        self.findings: list[Finding] = []
        self._secrets = [
            word for word in api_key.split() if len(word) >= _SHORTEST_SECRET
        ]

    def add(self, finding: Finding) -> None:
        self.findings.append(finding)

    def printable(self, text: str) -> str:
        """Return the text on one line, without the API key and without control characters."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return without_controls(" ".join(text.split()))

    @property
    def exit_code(self) -> int:
        """The exit code of the first failed finding; OK if none failed."""
        for finding in self._marked("failed"):
            known = finding.kind in PROBLEMS
            return exit_code(finding.kind) if known else UNEXPECTED_REPLY
        return OK

    @property
    def verdict(self) -> str:
        """One sentence that sums up the findings."""
        failures, warnings = self._marked("failed"), self._marked("warning")
        for finding in failures:
            if finding.name in _ESSENTIAL:
                return self.printable(
                    self._no_chat_verdict(_first_sentence(finding.text))
                )
        if failures:
            return phrase("verdict_broken", topics=_topics(failures))
        if warnings:
            return phrase("verdict_odd", topics=_topics(warnings))
        if unmeasured := self._marked("unknown"):
            return phrase("verdict_unmeasured", topics=_topics(unmeasured))
        return phrase("all_well")

    def _no_chat_verdict(self, reason: str) -> str:
        causes = [
            found for found in self._marked("warning") if found.name in _LOCAL_CAUSES
        ]
        if not causes:
            return phrase("verdict_no_chat", reason=reason)
        return phrase("verdict_cause", reason=reason, topics=_topics(causes))

    def as_json(self) -> Json:
        """Return the report as JSON, with the same sentences as on the screen."""
        return {
            "ok": self.exit_code == OK,
            "verdict": self.verdict,
            "base_url": self.printable(self.url),
            "mlx_harmony": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(terse=True),
            "steps": [self._row(finding) for finding in self.findings],
        }

    def _row(self, finding: Finding) -> Json:
        row: dict[str, Json] = {
            "name": finding.name,
            "ok": finding.mark != "failed",
            "mark": finding.mark,
            "text": self.printable(finding.text),
        }
        if finding.kind:
            row["kind"] = finding.kind
        facts = json.loads(self.printable(json.dumps(dict(finding.facts))))
        return {**row, "facts": facts} if facts else row

    def _marked(self, mark: Mark) -> list[Finding]:
        return [finding for finding in self.findings if finding.mark == mark]


def print_line(report: Report, finding: Finding) -> None:
    """Print one line of the checklist."""
    sign, style = _SIGNS[finding.mark]
    line = Text(f"{sign} ", style) + Text(report.printable(finding.text), "default")
    _console().print(line)


def print_verdict(report: Report) -> None:
    """Print the verdict, which is the last line."""
    _console().print(Text(report.verdict, "bold"))


def print_json(report: Report) -> None:
    """Print the report as JSON."""
    text = json.dumps(report.as_json(), ensure_ascii=False, indent=2)
    sys.stdout.write(text + "\n")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _topics(findings: list[Finding]) -> str:
    separator = "、" if language() == "ja" else ", "
    return separator.join(phrase(f"topic_{finding.name}") for finding in findings)


def _first_sentence(text: str) -> str:
    end = "。" if language() == "ja" else ". "
    return text.partition(end)[0].rstrip(".。")
