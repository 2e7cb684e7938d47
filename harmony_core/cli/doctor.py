"""`doctor`: a server examined by real requests, with what to do about what is not well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from ..client import Client
from . import doctor_checks as checks
from .doctor_report import Report, print_json, print_line, print_verdict
from .finding import Finding
from .machine import look_around
from .measure import Measured
from .patient import Patient, find_model, first_reply, list_models
from .phrases import phrase

REPLY_LIMIT = 180.0  # seconds that a big model gets to be loaded before the server counts as stuck

_FIRST: tuple[Callable[[Patient], Finding | None], ...] = (
    list_models,
    find_model,
    first_reply,
)


@dataclass(frozen=True)
class Check:
    """A check of a server that replies, and how many requests it sends."""

    name: str
    run: Callable[[Patient, Measured], Finding]
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
    patient = Patient(client, model)
    report = Report(patient.url, api_key)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    if not as_json:
        words = phrase("doctor_begins", url=patient.url, requests=_REQUESTS)
        notes.print(Text(report.shown(words), "dim"))
    for finding in _findings(patient, server_python, notes):
        report.add(finding)
        if not as_json:
            print_line(report, finding)
    if as_json:
        print_json(report)
    else:
        print_verdict(report)
    return report.exit_code


def _findings(
    patient: Patient, server_python: str, notes: Console
) -> Iterator[Finding]:
    """Every finding as it is made; where no reply comes, what could explain it on this machine."""
    for take in _FIRST:
        with notes.status(Text(phrase("doctor_first"), "dim")):
            finding = take(patient)
        if finding is None:
            continue
        yield finding
        if finding.mark == "failed":
            break
    if patient.hello is not None:
        yield from _further(patient, patient.hello, notes)
    yield from look_around(patient, server_python)


def _further(patient: Patient, hello: Measured, notes: Console) -> Iterator[Finding]:
    left = _REQUESTS - 1
    for check in CHECKS:
        seconds = round(left * patient.request_seconds)
        topic = phrase(f"topic_{check.name}")
        words = phrase(
            "doctor_next",
            topic=topic,
            done=_REQUESTS - left,
            requests=_REQUESTS,
            seconds=seconds,
        )
        with notes.status(Text(words, "dim")):
            finding = check.run(patient, hello)
        left -= check.requests
        yield finding
