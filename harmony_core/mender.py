"""JSON as models write it, read as the value that was meant (harmony.md, rule 6).

Valid JSON stays as it is, and a text that could mean two things is refused. Each
function reads its text a bounded number of times, however hostile it is.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Final, NamedTuple

from .jsontext import Json, dump_json, load_json, sent_text

MAX_MENDED: Final = 3000
"""Tokens of a text that is mended; a longer one is refused if it is broken."""

_MAX_BRACKETS: Final = 128  # in prose; where there are more, none is meant
_MAX_ENCODINGS: Final = 3  # how often an object may be encoded as a JSON string
_MAX_MENDED_DEPTH: Final = 200  # nested brackets that are still mended
_NO_ARGUMENTS: Final = ("", "null", "None")
_PYTHON_WORDS: Final = {"True": "true", "False": "false", "None": "null"}
_LONG_QUOTES: Final = ("'''", '"""')
_CLOSING_BRACKET: Final = {"{": "}", "[": "]"}

_JSON_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BARE_STRING: Final = re.compile(r'[{\[]\s*+\\"')
_JSON_TOKEN: Final = re.compile(
    rf"""
    (?P<blank>[ \t\r\n]++)
    |(?P<gap>[\s\ufeff]++|//[^\n]*+|\#[^\n]*+|/\*.*?\*/)
    |(?P<python>'{{3}}.*?(?<!\\)'{{3}}|"{{3}}.*?(?<!\\)"{{3}}|'(?:[^'\\]++|\\.)*+'(?!'))
    |(?P<string>{_JSON_STRING.pattern}(?!")|[“”](?:[^“”\\]++|\\.)*+[“”])
    |(?P<word>(?:true|false|null|True|False|None)\b|[-+.\d][\w.+-]*+)
    |(?P<key>(?:[^\W\d]|\$)[\w$-]*+(?=\s*+:))
    |(?P<open>[{{\[])
    |(?P<close>[}}\]])
    |(?P<comma>,)
    |(?P<colon>:)
    |(?P<end>```|~~~|\Z)
    |(?P<junk>.)
    """,
    re.DOTALL | re.VERBOSE,
)

# Inside strings. A backslash that JSON does not know stands for itself, and so does
# the one in the shell's '\''.
_HEX_DIGIT: Final = "[0-9a-fA-F]"
_JSON_ESCAPE: Final = re.compile(rf'\\(["\\/bfnrt]|u{_HEX_DIGIT}{{4}})?')
_PYTHON_ESCAPE: Final = re.compile(
    rf"\\(['\"\\/bfnrt]|x{_HEX_DIGIT}{{2}}|u{_HEX_DIGIT}{{4}}|U{_HEX_DIGIT}{{8}})?"
)
_ESCAPED: Final = {
    sign: dump_json(sign)[1:-1] for sign in ("\\", '"', *map(chr, range(32)))
}
_NOT_PLAIN: Final = re.compile(r'[\\"\x00-\x1f]')
_STRING_PIECE: Final = re.compile(
    rf"""
    (?P<right>(?:\\["\\/bfnrt])++
        |\\u[dD][89abAB]{_HEX_DIGIT}{{2}}\\u[dD][c-fC-F]{_HEX_DIGIT}{{2}}
        |\\u(?![dD][89a-fA-F]){_HEX_DIGIT}{{4}})
    |(?P<half>\\u{_HEX_DIGIT}{{4}})
    |(?P<apostrophe>(?<!')\\'|\\'(?!'))
    |(?P<code>\\x{_HEX_DIGIT}{{2}}|\\U00(?:0{_HEX_DIGIT}|10){_HEX_DIGIT}{{4}})
    |(?P<odd>{_NOT_PLAIN.pattern})
    """,
    re.VERBOSE,
)
_WINDOWS_DRIVE: Final = re.compile(r"[A-Za-z]:\\(?!\\)")
_BACKSLASH: Final = re.compile(r'\\\\|\\(?!")')

# Around the value. Brackets of prose hold no quotes, and braces of prose no colons.
_JSON_LEAD: Final = re.compile(r"\ufeff?(?:(?:```|~~~)[\w./+-]*+|`|json|code)?:?\s*+")
_JSON_OPENING: Final = re.compile(r"((?:```|~~~)[ \t]*+[\w./+-]*+\s*+)?[{\[]")
_ASIDE: Final = re.compile(r"""\{[^{}\[\]"':]*\}|(?:\{\s*+)+(?=\{)|\[[^{}\[\]"']*\]""")
_BRACKETS_MISSING: Final = re.compile(r"```|~~~|[}\]\s]*+\Z")
_CLOSED_TOO_EARLY: Final = re.compile(r"""\s*+,\s*+["'“”]""")
_JSON_KEY: Final = re.compile(r"""["'“”]\s*+:""")
_INTRODUCTION: Final = re.compile(
    r"(?:[\n:.!?`：。！？]|\*/|(?:```|~~~)[\w./+-]*)[ \t]*\Z"
)
_COMMAND: Final = re.compile(r"[=<>;$|&\\]|\(\s*\Z")


class Mended(NamedTuple):
    """The JSON that was meant. With a `reason` it is not JSON, and `text` is unchanged."""

    text: str
    value: Json = None
    reason: str = ""


class _JsonPiece(NamedTuple):
    text: str
    value: Json
    start: int
    end: int


def mend_json(text: str, *, closed: bool = False) -> Mended:
    """Return the JSON in a reply, without the text around it.

    `closed`: the model itself ended the text, so brackets that are missing at its end
    are added. An object or a list inside a JSON string is taken out of the string.
    """
    text = sent_text(text)
    try:
        return _mend(text.strip(), closed, False, _MAX_ENCODINGS)
    except ValueError as error:
        return Mended(text, reason=_why_not_json(error))


def mend_object(text: str, *, closed: bool = False) -> Mended:
    """Return the object in a tool call's arguments; nothing and null become `{}`.

    Any other value is refused. So is an object in the middle of a command or of code: it
    is not the arguments.
    """
    text = sent_text(text)
    if text.strip() in _NO_ARGUMENTS:
        return Mended("{}", {})
    try:
        mended = _mend(text.strip(), closed, True, _MAX_ENCODINGS)
    except ValueError as error:
        return Mended(text, reason=_why_not_json(error))
    value = mended.value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return Mended(mended.text[1:-1].strip(), value[0])
    if isinstance(value, dict):
        return mended
    return Mended(text, reason="Expecting an object: line 1 column 1")


def _why_not_json(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}: line {error.lineno} column {error.colno}"
    return str(error).partition(":")[0]  # int() adds advice for programmers


def _mend(text: str, closed: bool, call: bool, encodings: int) -> Mended:
    """Read the text, or else mend it; raises the ValueError of reading it."""
    try:
        whole = _read_json(text)
    except ValueError:
        found = _mend_encoded(text, call, encodings) or _find_json(text, closed, call)
        if found is None:
            raise
        return found
    if isinstance(whole.value, str):
        return _mend_encoded(text, call, encodings) or whole
    return whole


def _read_json(text: str) -> Mended:
    """Parse JSON, and replace the halves of characters that its escapes spell."""
    value = load_json(text)
    if "\\ud" in text or "\\uD" in text:
        text = _JSON_STRING.sub(lambda found: _json_string(found[0][1:-1]), text)
        value = load_json(text)
    return Mended(text, value)


def _mend_encoded(text: str, call: bool, encodings: int) -> Mended | None:
    r"""Mend the object or the list in the JSON string that a text begins with.

    The quotes around the string may be missing: `{\"a\": 1}`.
    """
    if _BARE_STRING.match(text):
        text = f'"{text}"'
    encoded = _JSON_STRING.match(text)
    if encoded is None or encodings == 0:
        return None
    try:
        inner = _read_json(_json_string(encoded[0][1:-1])).value
        if not isinstance(inner, str) or inner.lstrip()[:1] not in ("{", "[", '"'):
            return None
        mended = _mend(inner.strip(), False, call, encodings - 1)
    except ValueError:
        return None
    return mended if isinstance(mended.value, dict | list) else None


def _find_json(text: str, closed: bool, call: bool) -> Mended | None:
    """Mend the value at the start of the text, else the one in its prose."""
    lead = _JSON_LEAD.match(text)
    start = lead.end() if lead else 0
    piece = None
    if begins := text.startswith(("{", "["), start):
        piece = _mend_brackets(text, start, closed)
    # The search would only try the same bracket again, unless that is an aside.
    if piece is None and (not begins or _ASIDE.match(text, start)):
        piece = _find_json_in_prose(text, closed, call)
    return piece and Mended(piece.text, piece.value)


def _find_json_in_prose(text: str, closed: bool, call: bool) -> _JsonPiece | None:
    """Mend the first code block that holds a value, else the only value.

    The search ends at a key, and at brackets that hold neither a value nor a few words.
    So it never takes an inner object for the whole, and only one scan can be in vain.
    """
    pieces: dict[str, _JsonPiece] = {}
    position = 0
    for _ in range(_MAX_BRACKETS):
        opening = _JSON_OPENING.search(text, position)
        if opening is None:
            break
        start = opening.end() - 1
        if not opening[1] and (aside := _ASIDE.match(text, start)):
            position = aside.end()
            continue
        piece = (
            None
            if _JSON_KEY.search(text, position, start)
            else _mend_brackets(text, start, closed)
        )
        if piece is None or not (piece.value or opening[1]):
            break
        if opening[1]:
            pieces = {"": piece}
            break
        pieces.setdefault("".join(piece.text.split()), piece)
        position = piece.end
    else:
        return None
    if len(pieces) != 1:
        return None
    [piece] = pieces.values()
    return piece if not call or _is_introduced(text, piece.start) else None


def _is_introduced(text: str, start: int) -> bool:
    """Whether prose, not a command or code, introduces the value at `start`."""
    introduced = _INTRODUCTION.search(text, 0, start) is not None
    return introduced and not _COMMAND.search(text, 0, start)


def _mend_brackets(
    text: str, start: int, closed: bool, python: bool = False
) -> _JsonPiece | None:
    """Rewrite the tokens from a bracket to its partner as JSON.

    `python`: a quote or a word showed that the text is Python, and so are its escapes.
    """
    pieces: list[str] = []
    due: list[str] = []  # closing brackets that are still missing
    comma = -1  # place in `pieces` of a comma that only blanks follow so far
    for token in _JSON_TOKEN.finditer(text, start):
        kind, word = token.lastgroup, token[0]
        too_much = len(pieces) == MAX_MENDED or len(due) > _MAX_MENDED_DEPTH
        if kind == "junk" or too_much:
            return None
        if not python and (kind == "python" or word in _PYTHON_WORDS):
            return _mend_brackets(text, start, closed, python=True)
        if kind == "open":
            due.append(_CLOSING_BRACKET[word])
        elif kind in ("close", "end"):
            if comma >= 0:
                pieces[comma] = ""
            if word == due[-1]:
                due.pop()
            elif closed and _BRACKETS_MISSING.match(text, token.start()):
                word = "".join(reversed(due))
                due.clear()
            else:
                return None
        if kind not in ("blank", "gap"):
            comma = len(pieces) if kind == "comma" else -1
        pieces.append(_json_token(kind, word, python))
        if not due:
            break
    try:
        mended = _read_json("".join(pieces))
    except ValueError:
        return None
    if _CLOSED_TOO_EARLY.match(text, token.end()):
        return None  # its bracket closed too early: keys would be lost
    return _JsonPiece(mended.text, mended.value, start, token.end())


def _json_token(kind: str | None, word: str, python: bool) -> str:
    """Spell one token as JSON does."""
    if kind == "gap":
        return " "
    if kind == "key":
        return f'"{word}"'
    if kind in ("string", "python"):
        quote = 3 if word.startswith(_LONG_QUOTES) else 1
        return _json_string(word[quote:-quote], python)
    return _PYTHON_WORDS.get(word, word)


def _json_string(body: str, python: bool = False) -> str:
    """Spell what stands between two quotes as a JSON string."""
    if _NOT_PLAIN.search(body) is None:
        return f'"{body}"'
    escapes = (_PYTHON_ESCAPE if python else _JSON_ESCAPE).finditer(body)
    if _WINDOWS_DRIVE.match(body) and not all(found[1] for found in escapes):
        body = _BACKSLASH.sub(r"\\\\", body)  # a path that was not escaped at all
    mended = _STRING_PIECE.sub(partial(_json_string_piece, python=python), body)
    return f'"{mended}"'


def _json_string_piece(found: re.Match[str], python: bool) -> str:
    kind, piece = found.lastgroup, found[0]
    if kind == "right":
        return piece
    if kind == "half":
        return "\ufffd"
    if kind == "apostrophe":
        return "'"
    if kind == "code" and python:
        return dump_json(sent_text(chr(int(piece[2:], 16))))[1:-1]
    return _ESCAPED[piece[0]] + piece[1:]
