"""The report of `doctor`: lines for people, JSON for programs, one verdict for both."""

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
_BEFORE_ALL = ("server", "model", "reply")  # without these there is no chat
_CAUSES = ("container", "installation", "memory")  # why there may be none
_SHORTEST_SECRET = 4  # characters: a shorter key would blot out half of the words


class Report:
    """What was found so far, and what it adds up to."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url
        self.findings: list[Finding] = []
        self._secrets = [
            word for word in api_key.split() if len(word) >= _SHORTEST_SECRET
        ]

    def add(self, finding: Finding) -> None:
        self.findings.append(finding)

    def shown(self, text: str) -> str:
        """One line without the key, whatever names servers give to their models."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return without_controls(" ".join(text.split()))

    @property
    def exit_code(self) -> int:
        """That of the first thing that does not work."""
        for finding in self._with("failed"):
            known = finding.kind in PROBLEMS
            return exit_code(finding.kind) if known else UNEXPECTED_REPLY
        return OK

    @property
    def verdict(self) -> str:
        """One sentence, from what was measured."""
        broken, odd = self._with("failed"), self._with("warning")
        for finding in broken:
            if finding.name in _BEFORE_ALL:
                return self.shown(self._no_chat(_first_sentence(finding.text)))
        if broken:
            return phrase("verdict_broken", topics=_topics(broken))
        if odd:
            return phrase("verdict_odd", topics=_topics(odd))
        if unmeasured := self._with("unknown"):
            return phrase("verdict_unmeasured", topics=_topics(unmeasured))
        return phrase("all_well")

    def _no_chat(self, reason: str) -> str:
        causes = [found for found in self._with("warning") if found.name in _CAUSES]
        if not causes:
            return phrase("verdict_no_chat", reason=reason)
        return phrase("verdict_cause", reason=reason, topics=_topics(causes))

    def as_json(self) -> Json:
        """The whole report, with the words of the screen."""
        return {
            "ok": self.exit_code == OK,
            "verdict": self.verdict,
            "base_url": self.shown(self.url),
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
            "text": self.shown(finding.text),
        }
        if finding.kind:
            row["kind"] = finding.kind
        facts = json.loads(self.shown(json.dumps(dict(finding.facts))))
        return {**row, "facts": facts} if facts else row

    def _with(self, mark: Mark) -> list[Finding]:
        return [finding for finding in self.findings if finding.mark == mark]


def print_line(report: Report, finding: Finding) -> None:
    """One line of the checklist."""
    sign, style = _SIGNS[finding.mark]
    line = Text(f"{sign} ", style) + Text(report.shown(finding.text), "default")
    _screen().print(line)


def print_verdict(report: Report) -> None:
    """The last line."""
    _screen().print(Text(report.verdict, "bold"))


def print_json(report: Report) -> None:
    """The report for programs."""
    text = json.dumps(report.as_json(), ensure_ascii=False, indent=2)
    sys.stdout.write(text + "\n")


def _screen() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _topics(findings: list[Finding]) -> str:
    separator = "、" if language() == "ja" else ", "
    return separator.join(phrase(f"topic_{finding.name}") for finding in findings)


def _first_sentence(text: str) -> str:
    end = "。" if language() == "ja" else ". "
    return text.partition(end)[0].rstrip(".。")
