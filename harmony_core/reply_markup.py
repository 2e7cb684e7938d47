"""Takes apart what an assistant said, in whatever markup a host or a client keeps it.

It reads raw and stripped Harmony, `<think>` and `<thinking>` (with attributes, in any case) and Open WebUI's
`<details type="reasoning">` and `<details type="tool_calls">`. An answer *about* markup must survive: markup
in Markdown code or in the middle of a sentence is text, and a text is Harmony only if it begins like it. The
patterns are linear: no two quantifiers compete for the same text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from .events import ToolCall
from .jsontext import Json, load_json
from .markers import TERMINATORS
from .parser import parse

WORD_JOINER = "\u2060"
"""Breaks up what only looks like markup. It is invisible, allows no line break and survives normalizers."""

_MAX_LAYERS = 4
"""How often an answer is taken apart before the markup that is left counts as text."""

# A fenced block, or a code span within a line.
_CODE = re.compile(
    r"""
      ^[ \t>]*+ (?P<fence> `{3,}+(?=[^`\n]*$) | ~{3,}+ )
      .*? (?: ^[ \t>]*+ (?P=fence) [`~]*+ [ \t\r]*+ $ | \Z )
    | (?<!`) `++ [^`\n]++ `++
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
# An opening tag and its thought, or a closing tag alone. Blank lines behind a block that starts a line
# belong to it.
_BLOCK = re.compile(
    rf"""
      {_CODE.pattern}
    | (?P<line_start> ^[ \t]*+ )?+
      < (?P<tag> think(?:ing)?+ | details(?=\s[^<>]*type=["']?reasoning) ) (?:\s[^<>]*+)?+ >
      (?P<thought> .*? )
      (?: (?P<closed> </(?P=tag)\s*+> ) (?(line_start) (?:[ \t\r\n]*\n)? ) | \Z )
    | (?P<closed_alone> </think(?:ing)?+\s*+> )
    """,
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_ANY_TAG = re.compile(r"<(?=/?think|details)", re.IGNORECASE)
_DETAILS_DRESS = re.compile(r"\A\s*<summary>[^<]*</summary>\s*|^> ?", re.MULTILINE)
_MORE_ON_LINE = re.compile(r"[ \t]*+\S")

# A tool call with its result, as Open WebUI 0.6 keeps it: on a separate line or right after another block.
_STORED_CALL = re.compile(
    rf"""
      {_CODE.pattern}
    | (?: ^[ \t]*+ | (?<=</details>) )
      <details (?P<attributes> (?=\s[^<>]*type=["']?tool_calls) [^<>]*+ ) >
      (?P<body> .*? ) (?: (?P<closed> </details\s*+> ) (?: [ \t\r\n]*\n )? | \Z )
    """,
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""\s([a-z_]++)=(?:"([^"]*+)"|'([^']*+)')""", re.IGNORECASE)

# How a raw reply begins. If a blank follows a marker, a sentence merely names the marker.
_RAW_START = re.compile(
    r"""
      \s*+ (?:
        <\|(?:start|channel|message)\|> (?: \S | \Z )
      | (?: assistant | to=[\w.-]++ ) <\|(?:channel|constrain|message)\|>
      | assistant(?: analysis | final | commentary )
      | analysis(?=[^\W\d_])
      | (?: assistant | commentary ) \s++ to=
      | to=functions\.
      )
    """,
    re.VERBOSE,
)


def begins_as_harmony(text: str) -> bool:
    """Whether this is a raw reply, and not a text that quotes Harmony further on."""
    return _RAW_START.match(text) is not None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A tool call that a host keeps within an answer, and the part of the answer before it.

    `result` is None if the host stored none. Arguments and result are decoded to what the host had encoded;
    they stay text if that was not JSON.
    """

    before: str
    id: str
    name: str
    arguments: Json
    result: Json


def stored_calls(text: str) -> tuple[list[StoredCall], str]:
    """Split an answer at Open WebUI's `<details type="tool_calls">`: the calls, and the text after them.

    A block without a name or without an end stays text.
    """
    calls: list[StoredCall] = []
    end = 0
    for block in _STORED_CALL.finditer(text):
        name = unescape(_attributes(block["attributes"] or "").get("name", "")).strip()
        if name and block["closed"]:
            before = text[end : block.start()].rstrip("\r\n")
            calls.append(_stored_call(before, name, block))
            end = block.end()
    return calls, text[end:]


def _stored_call(before: str, name: str, block: re.Match[str]) -> StoredCall:
    given = _attributes(block["attributes"])
    body = unescape(_DETAILS_DRESS.sub("", block["body"])).strip()
    return StoredCall(
        before=before,
        id=unescape(given.get("id", "")),
        name=name,
        arguments=_decoded(given.get("arguments", "")),
        result=_decoded(given["result"]) if "result" in given else body or None,
    )


def _attributes(text: str) -> dict[str, str]:
    found = _ATTRIBUTE.findall(text)
    return {name.lower(): double or single for name, double, single in found}


def _decoded(text: str) -> Json:
    """What an attribute holds: JSON, escaped as HTML."""
    text = unescape(text)
    try:
        return load_json(text)
    except ValueError:
        return text


def split_reply(text: str) -> tuple[str, list[str], list[ToolCall]]:
    """Split what an assistant said into answer, thoughts and calls.

    The answer keeps its exact text, except for markup and for line breaks at its start. Splitting it again
    finds nothing. Removing markup can create new markup, so this repeats until nothing changes.
    """
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for _ in range(_MAX_LAYERS):
        before = text
        if begins_as_harmony(text):
            reply = parse(text)
            text = reply.answer
            thoughts.append(reply.reasoning)
            calls += reply.tool_calls
        text = _without_terminator(_without_thoughts(text, thoughts))
        text = re.sub(r"\A[ \t\r\n]*\n", "", text)
        if text == before and not stored_calls(text)[0]:
            return text, thoughts, calls
    return WORD_JOINER + _ANY_TAG.sub("<" + WORD_JOINER, text), thoughts, calls


def _without_terminator(text: str) -> str:
    """Drop the terminator of a bare answer. After a blank it is a word of the last sentence."""
    said = text.rstrip()
    for token in TERMINATORS:
        before = said.removesuffix(token)
        if before != said and not before[-1:].isspace():
            return before
    return text


def _without_thoughts(text: str, thoughts: list[str]) -> str:
    """Move thinking blocks from `text` to `thoughts`.

    A closing tag alone ends thinking that the server's template opened: everything since the last block. A
    tag that is never closed begins thinking that was cut off. With text on either side both are just words.
    """
    if not _ANY_TAG.search(text):
        return text
    kept: list[str] = []
    end = at = words = 0
    while block := _BLOCK.search(text, at):
        start, thought = block.start(), block["thought"]
        follows_a_block = at == end and not text[at:start].strip()
        at = block.end()
        if block["closed_alone"]:
            start, thought = end, text[end:start]
        elif not block["tag"]:
            continue  # code
        elif block["closed"] and not follows_a_block and _is_quoted(block):
            continue
        elif not (block["closed"] or _is_cut_off(block)):
            words += 1  # it took all that follows: search there again, within bounds
            at = block.start("thought") if words <= _MAX_LAYERS else at
            continue
        elif block["tag"].lower() == "details":
            thought = unescape(_DETAILS_DRESS.sub("", thought))
        kept.append(text[end:start])
        thoughts.append(thought)
        end = block.end()
    return "".join(kept) + text[end:]


def _is_cut_off(block: re.Match[str]) -> bool:
    next_character = block["thought"][:1]  # "" at the end of the text
    return block["line_start"] is not None or next_character in "\r\n"


def _is_quoted(block: re.Match[str]) -> bool:
    """Whether a pair of tags is part of a sentence: one line, with text before and behind.

    A letter right after the pair begins the answer, except in scripts without blanks between words.
    """
    if block["line_start"] is not None or "\n" in block["thought"]:
        return False
    text, start, end = block.string, block.start(), block.end()
    if text[end : end + 1].isalnum():
        neighbour = text[start - 1 : start]
        return neighbour.isalnum() and not neighbour.isascii()
    return _MORE_ON_LINE.match(text, end) is not None
