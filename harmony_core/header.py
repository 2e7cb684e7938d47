"""One message header in a tolerant grammar: from a first marker up to `<|message|>`.

The model garbles headers in every way that harmony.md lists: the recipient in the role
part, in the channel part, behind the type or twice, a channel twice or behind the role,
a type without `<|constrain|>` or without the blank. So a header is cut at its markers
into parts, and each part is searched for what it may hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from .lexer import any_of, beginnings
from .markers import CHANNEL, CHANNELS, CONSTRAIN, FINAL, START
from .recipients import NAMESPACE, READERS, read_recipient

Audience = Literal["user", "hidden", "tool"]

BARE_WAIT = 64
"""Characters behind a channel or a recipient that make a body without `<|message|>`."""

LONGEST_ROLE = 32
"""Characters of a header in which it shows whose message it begins."""

_HIDDEN_ROLES = ("user", "system", "developer")
_TOOL_ROLES = ("tool", "python")
_GLUED = (*CHANNELS, "assistant", "json", "code")
"""Words that may touch the `to=` or the channel behind them."""

_PART = re.compile(r"<\|(start|channel|constrain)\|>")
_CHANNEL = re.compile(
    rf"[\W_]*+({any_of(CHANNELS)})(?=\W|\Z|to=|{any_of(_GLUED)})", re.IGNORECASE
)
_ASSISTANT = re.compile(r"\s*+(?:assistant\s*+)*+")
_NAME = re.compile(r"\s*+[^\s<{]*+")
_CHANNEL_THEN_BLANK = re.compile(r"<\|channel\|>\s")
# What stands between a channel or a name and its body, where `<|message|>` is missing.
_CONSTRAIN = r"<\|constrain\|>\s*+[A-Za-z0-9_./+-]*+"
_BEHIND_CHANNEL = re.compile(
    rf"\s*+(?:{_CONSTRAIN}|(?:json|code)(?=\s*+(?:[{{\[\"]|\Z))|)\s*+"
)
_BEHIND_NAME = re.compile(
    rf"\s*+(?:{_CONSTRAIN}|(?:json|code)(?![A-Za-z0-9_])|)\s*+", re.IGNORECASE
)
_NAMED = re.compile(f"to=|{any_of(CHANNELS)}", re.IGNORECASE)
_TYPE_AND_VALUE = re.compile(
    r"\s*+(?:<\|constrain\|>\s*+)?+(?:json|code)\s*+(?:[{\[\"]|\Z)", re.IGNORECASE
)
_LONGEST_TARGET = len("to=functions.") + 64  # a tool's name has 64 characters at most
_VALUE_OR_END = re.compile(r"\s*+(?:\{|\Z)")
# How a header begins that counts inside an open body: a role and what follows it.
_ROLES = ("assistant", *_HIDDEN_ROLES, *_TOOL_ROLES)
_ROLE = rf"\s*+(?:(?:assistant)++|{any_of(_ROLES)}|(?:functions\.|browser)[^\s<]*+)"
_THEN = ("to=", *CHANNELS)
_BEGINS = re.compile(rf"{_ROLE}\s*+(?:{any_of(_THEN)})", re.IGNORECASE)
_ROLE_ONLY = re.compile(rf"{_ROLE}\s*+", re.IGNORECASE)
_MAY_BEGIN = re.compile(
    rf"\s*+(?:{any_of(beginnings(*_ROLES, 'functions.', 'browser'))}|)"
    rf"|{_ROLE}\s*+(?:{any_of(beginnings(*_THEN, 'assistant'))}|)",
    re.IGNORECASE,
)
_CHANNEL_BEGINS = re.compile(
    rf"\s*+(?:(?:{any_of(CHANNELS)})(?=\W|to=|{any_of(_GLUED)})|to=|functions\.)",
    re.IGNORECASE,
)
_CHANNEL_ONLY = re.compile(rf"\s*+(?:{any_of(CHANNELS)})\s*+", re.IGNORECASE)
_CHANNEL_MAY_BEGIN = re.compile(
    rf"\s*+(?:{any_of(beginnings(*CHANNELS, 'to=', 'functions.'))}"
    rf"|(?:{any_of(CHANNELS)})(?:{any_of(beginnings('to=', *_GLUED))}|)|)",
    re.IGNORECASE,
)
_OURS = ("assistant", "to=", "<|")  # how a header of the assistant's goes on
_OURS_SO_FAR = beginnings(*_OURS) | {""}
_KNOWN_PART = re.compile(
    rf"[\W_]*+(?:(?:{any_of(_ROLES)}|browser)(?![a-z])|functions\.|to=)"
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says; channel (if known) and recipient are "" where there is none.

    `audience` is whom the message is for: "user" (shown), "tool" (a tool's own message),
    "hidden" (of the user, system or developer, or to the assistant itself).
    `blank_first`: a blank follows `<|channel|>`, so one behind `<|message|>` is dropped
    (LLM-jp-4 writes one after each control token).
    """

    audience: Audience
    channel: str
    recipient: str
    blank_first: bool = False


def parse_header(
    raw: str, tools: Collection[str] = (), called: Collection[str] = ()
) -> Header:
    """Read a header; `tools` come longest first, `called` are those called so far."""
    raw = raw.replace("\ufffd", " ")  # an unfinished character in front of a marker
    audience: Audience = "user"
    channel = recipient = addressed_in = speaker = ""
    for kind, text in _parts(raw):
        to = _recipient_at(text)
        names = text if to < 0 else text[:to]
        if kind == "start":
            audience, speaker = _role(names, tools)
            assistant = _ASSISTANT.match(names)
            channel = _channel_in(names, assistant.end() if assistant else 0) or channel
        elif kind == "channel":
            channel = _channel_in(names) or channel
            audience, speaker = _tool_for_channel(names, tools) or (audience, speaker)
            if (recipient, addressed_in) == ("assistant", "channel"):  # a stray (T13)
                recipient = ""
        if to >= 0:
            recipient = read_recipient(text[to + 3 :], tools)[0] or recipient
            addressed_in = kind
    if speaker and speaker not in called and recipient in _NOBODY[addressed_in]:
        audience, recipient = "user", speaker
    return _addressed(audience, channel, recipient, raw, tools)


# Where a tool's name stands for the role or the channel, these leave it a call: results
# are addressed to the assistant behind the role.
_NOBODY = {"": ("",), "start": ("",), "channel": ("", "assistant"), "constrain": ("",)}


def _addressed(
    audience: Audience, channel: str, recipient: str, raw: str, tools: Collection[str]
) -> Header:
    if recipient == "assistant":
        audience = "hidden" if audience == "user" else audience
        recipient = ""
    elif recipient in READERS and recipient not in tools:
        channel, recipient = FINAL, ""
    return Header(audience, channel, recipient, bool(_CHANNEL_THEN_BLANK.search(raw)))


def _parts(raw: str) -> Iterator[tuple[str, str]]:
    rest = _PART.split(raw)  # nothing stands before the first marker
    return zip(rest[1::2], rest[2::2], strict=True)


def _recipient_at(text: str, start: int = 0, end: int | None = None) -> int:
    """Where a `to=` stands, but not inside a longer word; -1 without one."""
    at = text.find("to=", start, end)
    while at > start and (before := text[start:at])[-1:].isidentifier():
        if before.endswith(_GLUED):
            break
        at = text.find("to=", at + 1, end)
    return at


def _channel_in(names: str, start: int = 0) -> str:
    known = _CHANNEL.match(names, start)
    return known[1].lower() if known else ""


def _role(names: str, tools: Collection[str]) -> tuple[Audience, str]:
    """The audience of a role, and the offered tool that it names."""
    role = (names.split(maxsplit=1) or [""])[0]
    if role in _HIDDEN_ROLES:
        return "hidden", ""
    tool = _offered(role, tools)
    is_tool = tool or role in _TOOL_ROLES or role.startswith((NAMESPACE, "browser"))
    return ("tool" if is_tool else "user"), tool


def _tool_for_channel(
    names: str, tools: Collection[str]
) -> tuple[Audience, str] | None:
    names = names.strip()
    tool = _offered(names, tools) if names.startswith(NAMESPACE) else ""
    return ("tool", tool) if tool else None


def _offered(name: str, tools: Collection[str]) -> str:
    bare = name.removeprefix(NAMESPACE)
    return next((tool for tool in tools if tool.removeprefix(NAMESPACE) == bare), "")


def split_bare(raw: str, tools: Collection[str]) -> tuple[str, str] | None:
    """Cut a header without `<|message|>` from its body (rule 5).

    None where it has neither a known channel nor a recipient.
    """
    read = raw.replace("\ufffd", " ")
    if not _NAMED.search(read):
        return None
    at = _last_part(read)
    if (to := _recipient_at(read, at)) >= 0:
        _, length = read_recipient(read[to + 3 :], tools)
        end = to + 3 + length
        body = _BEHIND_NAME.match(read, end)
    elif known := _CHANNEL.match(read, at):
        end = known.end()
        body = _BEHIND_CHANNEL.match(read, end)
    else:
        return None
    return raw[:end], raw[body.end() if body else end :]


def bare_body_at(raw: str) -> int:
    """How much of a header without `<|message|>` tells that its body has begun (rule 5).

    That is up to a call's `{`, or BARE_WAIT characters behind the channel or the name.
    The answer is the same whatever follows; it may lie behind the end of `raw`. 0 where
    neither a channel nor a recipient has come.
    """
    at = _last_part(raw)
    known = _CHANNEL.match(raw, at)
    limit = known.end() + BARE_WAIT if known else len(raw)
    to = _recipient_at(raw, at, limit)
    if to < 0:
        return limit if known else 0
    name = _NAME.match(raw, to + 3)
    limit = (name.end() if name else to + 3) + BARE_WAIT
    brace = raw.find("{", to, limit)
    return brace + 1 if brace >= 0 else limit


def _last_part(raw: str) -> int:
    """Where the text of the last channel part begins, or of the last role part."""
    at = raw.rfind(CHANNEL)
    if at >= 0:
        return at + len(CHANNEL)
    at = raw.rfind(START) + len(START)
    assistant = _ASSISTANT.match(raw, at)
    return assistant.end() if assistant else at


def is_plain_call(raw: str, tools: Collection[str]) -> bool:
    """Whether a header without a marker is a call, not prose that holds a `to=`.

    An offered name, one in the namespace or a reader's is enough before a value or the
    end; any other needs its type as well.
    """
    to = _recipient_at(raw)
    if to < 0 or (len(raw) - to > _LONGEST_TARGET and not _holds_call_sign(raw)):
        return False
    name, length = read_recipient(raw[to + 3 :], tools)
    end = to + 3 + length
    if name and _TYPE_AND_VALUE.match(raw, end):
        return True
    if name in READERS:
        type_word = _BEHIND_NAME.match(raw, end)
        return bool(type_word and type_word[0].strip())
    known = name in tools or raw.startswith(NAMESPACE, to + 3)
    return known and _VALUE_OR_END.match(raw, end) is not None


def _holds_call_sign(raw: str) -> bool:
    """Whether there is a value or a type at all: it costs less to ask than to find the name."""
    return any(sign in raw.lower() for sign in ("{", "json", "code"))


def begins_in_body(raw: str, tools: Collection[str], marker: str = "") -> bool | None:
    """Whether what stands in an open body begins like a header (rule 4); None: not yet.

    It needs a role, directly followed by a marker, by `to=` or by a channel; or a known
    channel, `to=` or `functions.` behind `<|channel|>`. `marker` is what came behind.
    """
    raw = raw[max(raw.rfind(START), raw.rfind(CHANNEL)) :]  # without doubled starts
    if raw.startswith(CHANNEL):
        return _channel_begins(raw[len(CHANNEL) :], marker != "")
    names = raw[len(START) :]
    if marker in (START, CHANNEL) and not names.strip():
        return None  # a role left out: what follows decides
    for tool in tools:  # a tool's name is a role
        words = names.lstrip()
        if words.startswith(tool):
            names = "tool" + words[len(tool) :]
        elif words and not marker and tool.startswith(words):
            return None
    if _BEGINS.match(names) or (marker and _ROLE_ONLY.fullmatch(names)):
        return True
    return None if not marker and _MAY_BEGIN.fullmatch(names) else False


def _channel_begins(names: str, closed: bool) -> bool | None:
    if _CHANNEL_BEGINS.match(names) or (closed and _CHANNEL_ONLY.fullmatch(names)):
        return True
    return None if not closed and _CHANNEL_MAY_BEGIN.fullmatch(names) else False


def implied_header(lead: str) -> str:
    """The header that stands for what precedes a `to=` without markers."""
    words = lead.strip().removeprefix("assistant").split()
    return f"{CHANNEL}{words[0]} " if words else f"{START}assistant "


def is_only_role(raw: str) -> bool:
    """Whether a header holds no more than a doubled start or role (M2, M3).

    Only what follows the last start is looked at: this was asked at each start before.
    """
    parts = raw[raw.rfind(START) + len(START) :].split(CONSTRAIN)
    return CHANNEL not in raw and all(map(_ASSISTANT.fullmatch, parts))


def is_assistants(raw: str) -> bool | None:
    """Whether a header is that of a further message of the assistant; None: not yet."""
    role = raw.removeprefix(START).lstrip()
    return None if role in _OURS_SO_FAR else role.startswith(_OURS)


def text_of(raw: str) -> str:
    """The text of a header that came to nothing, "" where it is markup (rule 5).

    It is text if no part begins like a role, a channel or a recipient, and if it has two
    words or more.
    """
    if len(raw.split()) < 2:
        return ""
    parts = _PART.split(raw)[2::2]
    if any(_KNOWN_PART.match(part) or _CHANNEL.match(part) for part in parts):
        return ""
    text = "".join(parts)
    return text if len(text.split()) > 1 else ""
