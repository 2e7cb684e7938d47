"""Whom a message is for: the offered tool that a garbled name means (harmony.md, rule 2)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

READERS = frozenset(("final", "user", "response", "developer", "system"))
"""Recipients that are not tools: the body is the answer, on any channel."""

NAMESPACE = "functions."

_BEFORE_NAME = re.compile(r"\s*+(?:<\|\w*+\|>\s*+)*+")
# What may be glued to a name: a channel word, a type word, or a sign that no name holds.
_GLUED_TO_NAME = re.compile(
    r"(analysis|commentary|final|)(?:json|code|)(?![\w.\-/])", re.IGNORECASE
)
_THREE_WORDS = re.compile(r"[^\s<{\[\"]++(?:[ \t]++[^\s<{\[\"]++){0,2}")
_ONE_WORD = re.compile(r"[^\s<{\[\"]*+")
_GLUED_BEHIND = re.compile(
    r"(?:analysis|commentary|final)?(?:json|code)?[^\w]*\Z", re.I
)
_SIGNS = re.compile(r"[-_.\s]++")


def read_recipient(target: str, tools: Collection[str]) -> tuple[str, int]:
    """Find the name at the start of `target`, and where it ends.

    It is the offered tool that stands there in full, blanks included; else the only tool
    that it resembles; else the text up to a blank. `tools` come longest first.
    """
    start = _end_of(_BEFORE_NAME, target, 0)
    if target.startswith(NAMESPACE, start):
        start += len(NAMESPACE)
    for tool in tools:
        name = tool.removeprefix(NAMESPACE)
        behind = _GLUED_TO_NAME.match(target, start + len(name))
        if behind and target.startswith(name, start):
            return tool, behind.end(1)
    for spelling in _spellings(target, start):
        if tool := _only_tool_like(spelling, tools):
            return tool, start + len(spelling)
    end = _end_of(_ONE_WORD, target, start)
    return target[start:end], end


def find_tool(name: str, tools: Collection[str]) -> str:
    """The offered tool that a name means, else the name alone."""
    return read_recipient(name, tools)[0]


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _spellings(target: str, start: int) -> Iterator[str]:
    """Candidates for the name: up to three words, then one, then one without glued words."""
    words = target[start : _end_of(_THREE_WORDS, target, start)]
    while " " in words or "\t" in words:
        yield words
        words = words.rpartition(" ")[0].rstrip() or words.partition("\t")[0]
    word = target[start : _end_of(_ONE_WORD, target, start)]
    yield word
    yield _GLUED_BEHIND.sub("", word, count=1)


def _only_tool_like(spelling: str, tools: Collection[str]) -> str:
    """The only tool that differs just in case, `-`, `_`, `.` or blanks; else ""."""
    key = _key(spelling)
    fits = [tool for tool in tools if key and _key_of_tool(tool) == key]
    return fits[0] if len(fits) == 1 else ""


@lru_cache(maxsize=1024)
def _key_of_tool(tool: str) -> str:
    return _key(tool.removeprefix(NAMESPACE))


def _key(name: str) -> str:
    return _SIGNS.sub("", name).casefold()
