"""`doctor`: examines a server with real requests, and says how to fix what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from ..client import Client
from . import doctor_checks as checks
from .doctor_report import Report, print_json, print_line, print_verdict
from .examined_server import ExaminedServer, find_model, first_reply, list_models
from .finding import Finding
from .machine import inspect_machine
from .measure import Measured
from .phrases import phrase

REPLY_LIMIT = 180.0  # seconds; the server may have to load a large model first

_FIRST_CHECKS: tuple[Callable[[ExaminedServer], Finding | None], ...] = (
    list_models,
    find_model,
    first_reply,
)


@dataclass(frozen=True)
class Check:
    """A check of a server that replies; `requests` is how many requests it sends."""

    name: str
    run: Callable[[ExaminedServer, Measured], Finding]
    requests: int = 1


CHECKS = (
    Check("format", checks.form, 0),
    Check("effort", checks.effort, 2),
    Check("second_turn", checks.second_turn),
    Check("tools", checks.tools, 2),
    Check("json", checks.json),
    Check("japanese", checks.japanese),
    Check("stop", checks.stop),
    Check("parting", checks.parting, 2),
    Check("version", checks.version, 0),
)
_REQUESTS = 1 + sum(check.requests for check in CHECKS)


def examine(
    client: Client,
    model: str,
    as_json: bool,
    api_key: str = "",
    server_python: str = "",
) -> int:
    """Examine the server, report on stdout, and return the exit code."""
    server = ExaminedServer(client, model)
    report = Report(server.url, api_key)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    if not as_json:
        words = phrase("doctor_begins", url=server.url, requests=_REQUESTS)
        notes.print(Text(report.printable(words), "dim"))
    for finding in _findings(server, server_python, notes):
        report.add(finding)
        if not as_json:
            print_line(report, finding)
    if as_json:
        print_json(report)
    else:
        print_verdict(report)
    return report.exit_code


def _findings(
    server: ExaminedServer, server_python: str, notes: Console
) -> Iterator[Finding]:
    """Yield each finding as soon as it is made: first those of the server, then those of this machine."""
    for check in _FIRST_CHECKS:
        with notes.status(Text(phrase("doctor_first"), "dim")):
            finding = check(server)
        if finding is None:
            continue
        yield finding
        if finding.mark == "failed":
            break
    if server.hello is not None:
        yield from _check_replying_server(server, server.hello, notes)
    yield from inspect_machine(server, server_python)


def _check_replying_server(
    server: ExaminedServer, hello: Measured, notes: Console
) -> Iterator[Finding]:
    left = _REQUESTS - 1
    for check in CHECKS:
        seconds = round(left * server.request_seconds)
        topic = phrase(f"topic_{check.name}")
        words = phrase(
            "doctor_next",
            topic=topic,
            done=_REQUESTS - left,
            requests=_REQUESTS,
            seconds=seconds,
        )
        with notes.status(Text(words, "dim")):
            finding = check.run(server, hello)
        left -= check.requests
        yield finding
