"""`doctor`: `Client.check` as a checklist, with what to do about the first thing that is not well."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from ..client import Client
from ..diagnosis import visible_url
from ..server_check import LIST_MISSING, CheckStep
from .exit_codes import OK, exit_code
from .phrases import language, phrase
from .terminal import without_controls

REPLY_LIMIT = 180.0  # seconds that a big model gets to be loaded before the server counts as stuck
_LISTED = 5  # models that are named; a cache may hold dozens
_WORDS_OF_STEP = {"model": "model_ok", "reply": "reply_ok", "version": "version_ok"}


def examine(client: Client, model: str, as_json: bool) -> int:
    """Check the server, report on stdout, and return the exit code."""
    report = _report_json if as_json else _report_text
    return report(visible_url(client.base_url), client.check_steps(model))


def _report_text(url: str, steps: Iterable[CheckStep]) -> int:
    console = Console(highlight=False, soft_wrap=True)
    code = OK
    for step in _with_status(steps):
        if step.problem is None:
            console.print(_line("✓", "green", _good_news(step, url)))
        elif not step.fatal:
            console.print(_line("!", "yellow", _warning(step, url)))
        else:
            console.print(_line("✗", "red", step.problem.text(language())))
            code = exit_code(step.problem.kind)
    if code == OK:
        console.print(phrase("all_well"))
    return code


def _line(mark: str, style: str, words: str) -> Text:
    """One line, whatever names a server may give to its models."""
    one_line = without_controls(" ".join(words.split()))
    return Text(f"{mark} ", style) + Text(one_line, "default")


def _report_json(url: str, steps: Iterable[CheckStep]) -> int:
    rows: list[dict[str, object]] = []
    code = OK
    for step in steps:
        well = step.problem is None or not step.fatal
        row: dict[str, object] = {"name": step.name, "ok": well, "fact": step.fact}
        if step.problem is not None:
            row["kind"] = step.problem.kind
            row["text"] = step.problem.text(language())
            code = code if well else exit_code(step.problem.kind)
        rows.append(row)
    report = {"ok": code == OK, "base_url": url, "steps": rows}
    sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    return code


def _with_status(steps: Iterable[CheckStep]) -> Iterable[CheckStep]:
    """Show that something is going on while a step is taken, for loading a model takes a while."""
    waiting = Console(stderr=True)
    iterator = iter(steps)
    while True:
        with waiting.status(Text(phrase("waiting"), "dim")):
            step = next(iterator, None)
        if step is None:
            return
        yield step


def _good_news(step: CheckStep, url: str) -> str:
    if step.name == "server":
        listed = step.fact.split(", ")
        more = ", …" if len(listed) > _LISTED else ""
        models = (
            phrase("server_listed", fact=", ".join(listed[:_LISTED]) + more)
            if step.fact
            else ""
        )
        return phrase("server_ok", url=url) + models
    if step.name == "version" and not step.fact:
        return phrase("version_unknown")
    return phrase(_WORDS_OF_STEP[step.name], fact=step.fact)


def _warning(step: CheckStep, url: str) -> str:
    if step.problem is not None and step.problem.kind not in LIST_MISSING:
        return step.problem.text(language())
    return phrase("no_list", url=url)
