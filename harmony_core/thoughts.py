"""What an assistant said, taken apart: answer, thoughts and calls, in whatever markup a host keeps them.

Understood are raw and stripped Harmony, `<think>` (also `<thinking>`, in any case, with attributes) and
Open WebUI's `<details type="reasoning">`. The hard part is an answer *about* markup, which must survive:
tags and headers inside Markdown code are text, always, and the rules for what stands outside of code are
in `_is_harmony` and `_blocks`. Every pattern is linear: no two quantifiers compete for the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from .events import ToolCall
from .markers import CHANNEL, MESSAGE, START, TERMINATORS
from .parser import parse

WORD_JOINER = "\u2060"
"""Invisible, no place for a line break, and kept by normalizers: parts what must not be read as markup."""

_MAX_LAYERS = 4
"""How often an answer is taken apart before what still looks like markup is declared text."""

# Text about markup: fenced blocks, of which only the fences match here, and code spans within a line.
_CODE = r"(?:^[ \t>]*+(?P<fence>`{3,}+(?=[^`\n]*$)|~{3,}+)(?P<info>.*)$)|(?P<span>(?<!`)`++[^`\n]++`++)"
_HEADER_OR_CODE = re.compile(
    rf"{_CODE}|<\|(?:start|channel)\|>(?:[^<]{{0,64}}<\|(?:channel|constrain)\|>){{0,3}}[^<]{{0,64}}<\|message\|>",
    re.MULTILINE,
)
# A marker with a blank behind it is one that a sentence names.
_HARMONY_START = re.compile(rf"\s*+(?:{'|'.join(map(re.escape, (START, CHANNEL, MESSAGE)))})(?:\S|\Z)")
_STRIPPED_START = re.compile(
    r"\s*+(?:assistant(?=analysis|final|commentary)|analysis(?=[^\W\da-z_])|commentary\s++to=|to=functions\.)"
)

_ANY_TAG = re.compile(r"<(?=/?think|details)", re.IGNORECASE)
_TAG_OR_CODE = re.compile(
    rf"{_CODE}|(?P<line_start>^[ \t]*+)?+<(?:/think(?:ing)?+\s*+"
    r"|(?P<open>think(?:ing)?+|details(?=[^<>]*\btype\s*+=\s*+[\"']?+reasoning\b))(?:\s[^<>]*+)?+)>",
    re.IGNORECASE | re.MULTILINE,
)
_END_OF_THINK = re.compile(r"</think(?:ing)?+\s*+>", re.IGNORECASE)
_END_OF_DETAILS = re.compile(r"</details\s*+>", re.IGNORECASE)
_LINE_END = re.compile(r"[ \t]*+(?:\r?\n|\Z)")
_BLANK_LINES = re.compile(r"[ \t]*+(?:\r?\n(?:[ \t]*+\r?\n)*+)?+")
_LEADING_BREAKS = re.compile(r"(?:[ \t]*+\r?\n)*+")

_SUMMARY = re.compile(r"\s*+<summary[^<>]*+>[^<]*+</summary>", re.IGNORECASE)
_QUOTE_MARK = re.compile(r"^> ?", re.MULTILINE)


def take_apart(text: str) -> tuple[str, list[str], list[ToolCall]]:
    """Split what an assistant said into answer, thoughts and calls.

    The answer keeps its exact text, but for markup and for line breaks at its start. Taking it apart again
    finds nothing more: removing markup can bring other markup together, so this goes on until all is quiet.
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
        text = _LEADING_BREAKS.sub("", _without_thoughts(text, thoughts), count=1)
        if text == before:
            return text, thoughts, calls
    return _as_plain_text(text), thoughts, calls


def _is_harmony(text: str) -> bool:
    """Whether text is a raw reply and not an answer about Harmony: by its start, its end, a header in it."""
    if _STRIPPED_START.match(text) or _HARMONY_START.match(text) or text.rstrip().endswith(TERMINATORS):
        return True
    return MESSAGE in text and _search_outside_code(_HEADER_OR_CODE, text, 0) is not None


def _without_thoughts(text: str, thoughts: list[str]) -> str:
    """Move thinking blocks from `text` to `thoughts`."""
    if not _ANY_TAG.search(text):
        return text
    kept: list[str] = []
    done = 0
    for start, thought, end in _blocks(text):
        kept.append(text[done:start])
        thoughts.append(thought)
        done = end
    return "".join(kept) + text[done:]


def _blocks(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield where each thinking block starts, its thought, and where the answer goes on.

    A block goes to the first closing tag. A closing tag without an opening one ends thinking that the
    server's template opened: all since the block before. An opening tag without a closing one is thinking
    that was cut off where it stands at the start or the end of a line; else it is a word in a sentence.
    """
    at = end = 0
    starts_line = True
    never_closed: set[re.Pattern[str]] = set()  # looking once is enough: the search stays linear
    while tag := _search_outside_code(_TAG_OR_CODE, text, at):
        start, at = tag.span()
        starts_line = tag["line_start"] is not None or (starts_line and start == end)
        if not tag["open"]:
            start, thought, end, starts_line = end, text[end:start], at, True
        else:
            is_details = tag["open"].lower() == "details"
            closing_tag = _END_OF_DETAILS if is_details else _END_OF_THINK
            closing = None if closing_tag in never_closed else closing_tag.search(text, at)
            if not closing:
                never_closed.add(closing_tag)
                if not (starts_line or _LINE_END.match(text, at)):
                    continue
            thought, end = (text[at : closing.start()], closing.end()) if closing else (text[at:], len(text))
            thought = _unquote(thought) if is_details else thought
        if starts_line and (blank := _BLANK_LINES.match(text, end)):
            end = blank.end()
        yield start, thought, end
        at = end


def _search_outside_code(pattern: re.Pattern[str], text: str, start: int) -> re.Match[str] | None:
    """The first match that is neither in a fenced block nor in a code span; `start` is outside of both."""
    fence = ""
    for match in pattern.finditer(text, start):
        if match["fence"]:
            if not fence:
                fence = match["fence"]
            elif match["fence"].startswith(fence) and not match["info"].strip():
                fence = ""
        elif not fence and not match["span"]:
            return match
    return None


def _unquote(details: str) -> str:
    """Undo what Open WebUI does to thinking inside <details>: a summary, quote marks, HTML escapes."""
    return unescape(_QUOTE_MARK.sub("", _SUMMARY.sub("", details, count=1)))


def _as_plain_text(text: str) -> str:
    """Part what still looks like markup with an invisible character."""
    text = _ANY_TAG.sub("<" + WORD_JOINER, text).lstrip()
    return text[:1] + WORD_JOINER + text[1:] if _STRIPPED_START.match(text) else text
