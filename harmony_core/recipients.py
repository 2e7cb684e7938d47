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
_GLUED_WORDS = ("analysis", "commentary", "final", "json", "code")
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
        if not target.startswith(name, start):
            continue
        if behind := _GLUED_TO_NAME.match(target, start + len(name)):
            return tool, behind.end(1)
    end = _end_of(_ONE_WORD, target, start)
    if start == end:
        return "", end
    by_key = _tools_by_key(tuple(tools))
    for spelling in _spellings(target, start, end):
        if similar := by_key.get(_key(spelling)):
            return similar, start + len(spelling)
    return target[start:end], end


def find_tool(name: str, tools: Collection[str]) -> str:
    """The offered tool that a name means, else the name alone."""
    return read_recipient(name, tools)[0]


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _spellings(target: str, start: int, end: int) -> Iterator[str]:
    """Candidates for the name: up to three words, then one, then one without glued words."""
    words = target[start : _end_of(_THREE_WORDS, target, start)]
    while " " in words or "\t" in words:
        yield words
        words = words.rpartition(" ")[0].rstrip() or words.partition("\t")[0]
    word = target[start:end]
    yield word
    if not word[-1:].isalnum() or word.lower().endswith(_GLUED_WORDS):
        yield _GLUED_BEHIND.sub("", word, count=1)


@lru_cache(maxsize=32)
def _tools_by_key(tools: tuple[str, ...]) -> dict[str, str]:
    """The tools by their keys, without those that share one."""
    keys = [_key(tool.removeprefix(NAMESPACE)) for tool in tools]
    pairs = zip(keys, tools, strict=True)
    return {key: tool for key, tool in pairs if key and keys.count(key) == 1}


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """The name without what a model garbles: case, `-`, `_`, `.` and blanks."""
    return _SIGNS.sub("", name).casefold()
