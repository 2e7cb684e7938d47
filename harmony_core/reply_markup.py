"""What an assistant said, taken apart, in whatever markup a host or a client keeps it.

Understood are raw and stripped Harmony, `<think>` and `<thinking>` (with attributes, in any case) and Open
WebUI's `<details type="reasoning">`. An answer *about* markup must survive: what stands in Markdown code
is text. The patterns are linear: no two quantifiers compete for the same text.
"""

from __future__ import annotations

import re
from html import unescape

from .events import ToolCall
from .markers import MESSAGE, TERMINATORS
from .parser import parse

WORD_JOINER = "\u2060"
"""Invisible, no place for a line break, and kept by normalizers: parts what is no markup."""

_MAX_LAYERS = 4
"""How often an answer is taken apart before what still looks like markup is declared text."""

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

# How a raw reply begins. A marker with a blank behind it is one that a sentence names.
_RAW_START = re.compile(
    r"\s*+(?:<\|(?:start|channel|message)\|>(?:\S|\Z)|assistant(?:analysis|final|commentary)"
    r"|analysis(?=[^\W\da-z_])|commentary\s++to=|to=functions\.)"
)


def split_reply(text: str) -> tuple[str, list[str], list[ToolCall]]:
    """Split what an assistant said into answer, thoughts and calls.

    The answer keeps its exact text, but for markup and for line breaks at its start. Taking it apart again
    finds nothing: as removing markup can bring other markup together, this goes on until all is quiet.
    """
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for _ in range(_MAX_LAYERS):
        before = text
        if _is_harmony(text):
            reply = parse(text)
            text = reply.answer
            thoughts.append(reply.reasoning)
            calls += reply.tool_calls
        text = re.sub(r"\A[ \t\r\n]*\n", "", _without_thoughts(text, thoughts))
        if text == before:
            return text, thoughts, calls
    return WORD_JOINER + _ANY_TAG.sub("<" + WORD_JOINER, text), thoughts, calls


def _is_harmony(text: str) -> bool:
    """Whether this is a raw reply and no answer about Harmony."""
    if _RAW_START.match(text) or text.rstrip().endswith(TERMINATORS):
        return True
    return MESSAGE in text and MESSAGE in _CODE.sub("", text)


def _without_thoughts(text: str, thoughts: list[str]) -> str:
    """Move thinking blocks from `text` to `thoughts`.

    A closing tag alone ends thinking that the server's template opened: all since the last block. A tag
    that nothing closes is thinking that was cut off, but a word where text stands on both sides of it.
    """
    if not _ANY_TAG.search(text):
        return text
    kept: list[str] = []
    end = at = words = 0
    while block := _BLOCK.search(text, at):
        at = block.end()
        start, thought = block.start(), block["thought"]
        if block["closed_alone"]:
            start, thought = end, text[end:start]
        elif not block["tag"]:
            continue  # code
        elif not (block["closed"] or _is_cut_off(block)):
            words += 1  # took along all that follows: look there again, within bounds
            at = block.start("thought") if words <= _MAX_LAYERS else at
            continue
        elif block["tag"].lower() == "details":
            thought = unescape(_DETAILS_DRESS.sub("", thought))
        kept.append(text[end:start])
        thoughts.append(thought)
        end = block.end()
    return "".join(kept) + text[end:]


def _is_cut_off(block: re.Match[str]) -> bool:
    next_character = block["thought"][:1]  # none at the end of the text
    return block["line_start"] is not None or next_character in "\r\n"
