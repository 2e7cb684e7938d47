"""A finding of `doctor`: one line of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..jsontext import Json
from ..problems import Problem
from .phrases import phrase
from .problem_words import problem_text

Mark = Literal["ok", "unknown", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    `unknown` means: could not be measured. `warning` means: works, but deserves a look. `kind` names the
    problem, and `facts` hold the figures for programs.
    """

    name: str
    mark: Mark
    text: str
    kind: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


def ok(name: str, key: str, **values: Json) -> Finding:
    """Report that something works; `values` fill in the phrase and become the facts."""
    return Finding(name, "ok", phrase(key, **values), facts=values)


def unknown(name: str, key: str, **values: Json) -> Finding:
    """Report that something could not be measured."""
    return Finding(name, "unknown", phrase(key, **values), facts=values)


def warning(name: str, key: str, **values: Json) -> Finding:
    """Report that something works but deserves a look."""
    return Finding(name, "warning", phrase(key, **values), facts=values)


def failed(
    name: str, problem: Problem | None, key: str = "", **values: Json
) -> Finding:
    """Report that something does not work, in the problem's words or, without a problem, in a phrase's."""
    if problem is None:
        return Finding(name, "failed", phrase(key, **values), facts=values)
    return Finding(name, "failed", problem_text(problem), problem.kind, values)
