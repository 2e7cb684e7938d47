"""One message header in a tolerant grammar: from a first marker up to `<|message|>`.

The model garbles headers in every way that harmony.md lists under T1 to T19 and M1 to
M7: the recipient in the role part, in the channel part or in both, a channel twice, a
type without `<|constrain|>` or without the blank. So a header is cut at its markers
into parts, and each part is searched for what it may hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from .markers import CHANNEL, START

Audience = Literal["user", "hidden", "tool"]

_PART = re.compile(r"<\|(start|channel|constrain)\|>")
_TYPE_WORDS = ("json", "code")
_TYPES = "|".join(_TYPE_WORDS)
# A blank is one of Unicode everywhere, as for str.isspace; letters are ASCII letters.
_KNOWN_CHANNEL = re.compile(
    rf"[^A-Za-z0-9]*+((?ai:analysis|commentary|final))(?=\Z|[\s<]|(?ai:to=|{_TYPES}))"
)
# No backtracking into what was read: a long header costs no more than its length.
# Python 3.11.2 misreads `(?:...(?=...))?+`, so the groups are atomic instead.
_RECIPIENT_PART = r"\s*+(?>to=[^<{\[]*+|)"
_CONSTRAIN = r"<\|constrain\|>"
_CONSTRAIN_PART = rf"\s*+(?>{_CONSTRAIN}|)\s*+"
# What may go on as a header behind its channel; if it cannot, how far the header goes.
_WORD = r"[A-Za-z0-9_./+-]*+"
_MORE_HEADER = re.compile(
    rf"{_RECIPIENT_PART}\s*+{_WORD}\s*+{_WORD}(?>(?:\s*+{_CONSTRAIN}\s*+{_WORD})*)\s*+"
)
_HEADER_END = re.compile(
    rf"{_RECIPIENT_PART}{_CONSTRAIN_PART}(?>(?:{_TYPES})\s*+(?=[{{\[\"]|\Z)|)"
)

_TYPE_BEHIND_NAME = re.compile(
    rf"{_CONSTRAIN_PART}(?>(?ai:{_TYPES})(?![^\s<{{\[\"])|)\s*+"
)

_HIDDEN_ROLES = ("user", "system", "developer")


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says; channel (if known) and recipient are "" where there is none.

    `audience` is "tool" for the roles under which tools speak, and "hidden" for the other
    roles that no reader sees and for messages to the assistant itself (rules 2 and 10).
    """

    audience: Audience
    channel: str
    recipient: str


def parse_header(raw: str, tools: Collection[str] = ()) -> Header:
    """Read a header; `tools` (longest first) settle where a recipient ends (rule 2)."""
    audience: Audience = "user"
    channel = recipient = addressed_in = ""
    raw = raw.replace("\ufffd", " ")  # an unfinished character in front of a marker
    for kind, text in _parts(raw):
        names, _, target = text.partition("to=")
        if kind == "start":
            audience = _audience(names.strip())
        elif kind == "channel":
            known = _KNOWN_CHANNEL.match(names)
            channel = known[1].lower() if known else channel
            if (recipient, addressed_in) == ("assistant", "channel"):  # a stray (T13)
                recipient = ""
        if target:
            recipient = resolve_recipient(target, tools) or recipient
            addressed_in = kind
    if recipient == "assistant":
        audience = "hidden" if audience == "user" else audience
        recipient = ""
    return Header(audience, channel, recipient)


def _parts(raw: str) -> Iterator[tuple[str, str]]:
    rest = _PART.split(raw)[1:]  # nothing stands before the first marker
    yield from zip(rest[::2], rest[1::2], strict=True)


def _audience(role: str) -> Audience:
    if role in _HIDDEN_ROLES:
        return "hidden"
    if role in ("tool", "python") or role.startswith(("functions.", "browser")):
        return "tool"
    return "user"


def resolve_recipient(target: str, tools: Collection[str] = ()) -> str:
    """Find the name behind `to=`: a tool, a tool with a type glued on, else a word."""
    words = target.strip().removeprefix("functions.")
    for glued in ("", *_TYPE_WORDS):
        for tool in tools:
            name = tool.removeprefix("functions.") + glued
            if words.startswith(name) and not words[len(name) :][:1].strip():
                return tool
    return words.split(maxsplit=1)[0] if words else ""


def bare_body_start(raw: str, complete: bool) -> int | None:
    """Where the body begins in a header without `<|message|>` (rule 5).

    None where there is no known channel and no recipient, and, unless `complete`, while
    `raw` may still go on as a header.
    """
    raw = raw.replace("\ufffd", " ")
    at = raw.rfind(CHANNEL)
    at = at + len(CHANNEL) if at >= 0 else raw.rfind(START) + 1
    known = _KNOWN_CHANNEL.match(raw, at)
    start = known.end() if known else raw.find("to=", at)
    if start < 0 or (not complete and _MORE_HEADER.fullmatch(raw, start)):
        return None
    header_end = _HEADER_END.match(raw, start)
    return header_end.end() if header_end else start


def behind_recipient(raw: str, tools: Collection[str]) -> str:
    """What stands behind the name and the type where a header ends without a mark.

    A name may hold blanks, so only the resolved one tells where it ended (rule 2).
    """
    target = raw.rpartition(CHANNEL)[2].partition("to=")[2]
    target = target.lstrip().removeprefix("functions.")
    name = resolve_recipient(target.partition("<")[0], tools).removeprefix("functions.")
    kind = _TYPE_BEHIND_NAME.match(target, len(name))
    return target[kind.end() :] if kind else ""


def is_plain_call(raw: str, tools: Collection[str]) -> bool:
    """Whether a header without a marker is a call, not prose that begins in `to=`."""
    target = raw.partition("to=")[2].strip()
    name = resolve_recipient(target, tools)
    rest = target.removeprefix("functions.")
    rest = rest.removeprefix(name.removeprefix("functions.")).strip()
    if not rest:
        return name in tools or target.startswith("functions.")
    return bool(name) and rest in _TYPE_WORDS
