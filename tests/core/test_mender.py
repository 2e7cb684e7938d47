"""Mending of JSON as models write it: the corpus, damage of every kind, and hostile texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmony_core.jsontext import Json, JsonObject
from harmony_core.mender import MAX_MENDED, Mended, mend_json, mend_object


class Case(NamedTuple):
    """One row of the corpus.

    `expected` is the result of `mend_object`, and of `mend_json` too, unless the row has a
    `reply`. None stands for a refusal.
    """

    name: str
    input: str
    expected: str | None
    reply: str | None = ""
    closed: bool = True


CORPUS = [
    Case(**row)
    for row in json.loads(
        (Path(__file__).parent.parent / "corpus" / "mender.json").read_text("utf-8")
    )
]
each_case = pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)


def check(mended: Mended, text: str, expected: str | None) -> None:
    if expected is None:
        assert mended.reason
        assert mended == Mended(text, None, mended.reason)
    else:
        assert mended == Mended(expected, json.loads(expected))


@each_case
def test_the_arguments_of_a_call_are_mended(case: Case) -> None:
    check(mend_object(case.input, closed=case.closed), case.input, case.expected)


@each_case
def test_the_json_of_a_reply_is_mended(case: Case) -> None:
    expected = case.expected if case.reply == "" else case.reply
    check(mend_json(case.input, closed=case.closed), case.input, expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ls -la", "Expecting value: line 1 column 1"),
        ('{"a": <x>}', "Expecting value: line 1 column 7"),
        ('{"a": 1,\n "b', "Unterminated string starting at: line 2 column 2"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("12", "Expecting an object: line 1 column 1"),
        ("[" * 100_000, "JSON is nested too deeply"),
        (
            '{"a": ' + "9" * 4400 + "}",
            "Exceeds the limit (4300 digits) for integer string conversion",
        ),
    ],
)
def test_a_refusal_says_why(text: str, reason: str) -> None:
    assert mend_object(text).reason == reason


def test_lone_surrogates_are_replaced_even_in_refused_text() -> None:
    assert mend_object('{"a": "\ud800"}') == Mended('{"a": "\ufffd"}', {"a": "\ufffd"})
    assert mend_object("x \udfff").text == "x \ufffd"


def test_too_many_encodings_are_refused() -> None:
    text = "{}"
    for _ in range(5):
        text = json.dumps(text)
    assert mend_object(text).reason


@pytest.mark.parametrize(("depth", "mended"), [(100, True), (300, False)])
def test_deeply_nested_json_is_not_mended(depth: int, mended: bool) -> None:
    text = '{"a":' * depth + "1," + "}" * depth
    assert bool(mend_object(text).value) == mended


# Damage: each function writes an object in one of the ways that models do.

TEXTS = st.text() | st.text("\\dux'\"\n/#*:,{}[]`~ 0")
LEAVES = st.none() | st.booleans() | st.integers() | TEXTS
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    LEAVES | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)


def write(
    value: Json, quote: Callable[[str], str], gap: str = "", last: str = ""
) -> str:
    """JSON with `gap` around every comma, colon and bracket, and `last` after each last member."""

    def parts() -> list[str]:
        if isinstance(value, dict):
            return [
                f"{quote(key)}{gap}:{gap}{write(item, quote, gap, last)}"
                for key, item in value.items()
            ]
        assert isinstance(value, list)
        return [write(item, quote, gap, last) for item in value]

    if isinstance(value, str):
        return quote(value)
    if not isinstance(value, dict | list):
        return json.dumps(value)
    inner = f"{gap},{gap}".join(parts())
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}{gap}{inner}{last if inner else ''}{gap}{closing}"


def raw_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def loose_string(text: str) -> str:
    """A string in which a backslash before a `d` is not escaped."""
    return raw_string(text).replace("\\\\d", "\\d")


DAMAGE: dict[str, Callable[[JsonObject], str]] = {
    "nothing": json.dumps,
    "brackets behind it": lambda value: json.dumps(value) + "]} }",
    "a sentence behind it": lambda value: json.dumps(value) + " We then continue.",
    "written twice": lambda value: json.dumps(value) * 2,
    "prose around it": lambda value: f"Here:\n\n{json.dumps({'a': value})}\n\nMore?",
    "a code block": lambda value: f"```json\n{json.dumps(value, indent=2)}\n```",
    "a code block in prose": lambda value: f"So:\n~~~\n{json.dumps(value)}\n~~~\nOk?",
    "an open code block": lambda value: f"```\n{write(value, raw_string)}",
    "raw control characters": lambda value: write(value, raw_string),
    "trailing commas": lambda value: write(value, json.dumps, last=" ,"),
    "line comments": lambda value: write(value, json.dumps, gap=" // it's {\n"),
    "block comments": lambda value: write(value, json.dumps, gap='/* "}\n* */'),
    "Python's comments": lambda value: write(value, json.dumps, gap="\n# ]'\n"),
    "odd blanks": lambda value: write(value, json.dumps, gap="\u00a0\u3000"),
    "Python": lambda value: repr({"one": "x"} | value),
    "wrong escapes": lambda value: write(value, loose_string),
    "an array around it": lambda value: json.dumps([value]),
    "a JSON string": lambda value: json.dumps(json.dumps(value)),
    "a JSON string twice": lambda value: json.dumps(json.dumps(json.dumps(value))),
    "a JSON string without quotes": lambda value: json.dumps(json.dumps(value))[1:-1],
    "no brackets at the end": lambda value: json.dumps(value).rstrip("]}"),
    "one bracket less": lambda value: json.dumps({"a": [value]})[:-2],
}
WRAPPED: dict[str, Callable[[JsonObject], JsonObject]] = {
    "prose around it": lambda value: {"a": value},
    "Python": lambda value: {"one": "x"} | value,
    "one bracket less": lambda value: {"a": [value]},
}


@pytest.mark.parametrize("kind", DAMAGE)
@settings(max_examples=40)
@given(value=OBJECTS)
@example(value={"a": "```json\n{}\n```", "b": "// # /* \\' '\\'' \\\\ \x00\x7f\u2028"})
@example(value={"A:\x1f": None})
@example(value={"a": [{}, [[]], {"b": [True, None, "it's", 'say "x"']}]})
def test_mending_restores_a_damaged_object(kind: str, value: JsonObject) -> None:
    meant = WRAPPED[kind](value) if kind in WRAPPED else value
    assert mend_object(DAMAGE[kind](value), closed=True).value == meant


@given(value=OBJECTS, indent=st.sampled_from([None, 0, 2]), readable=st.booleans())
def test_valid_json_stays_as_it_is(
    value: JsonObject, indent: int | None, readable: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=not readable)
    assert mend_object(text, closed=True) == Mended(text, value)
    assert mend_json(text, closed=True) == Mended(text, value)


@given(value=OBJECTS, cut=st.integers(min_value=1))
def test_a_cut_object_is_never_mended_unless_the_model_ended_it(
    value: JsonObject, cut: int
) -> None:
    text = json.dumps({"a": value})
    assert mend_object(text[: -1 - cut % (len(text) - 1)]).reason


PIECES = st.sampled_from(
    [*"{}[]\",:'\\/*# \na1“”`~", '{"a":', "True", "```", '"""', "\\u", "\\ud800", "//"]
)


@given(text=st.lists(PIECES, max_size=40).map("".join), closed=st.booleans())
def test_any_text_gives_an_object_or_a_reason(text: str, closed: bool) -> None:
    mended = mend_object(text, closed=closed)
    mended.text.encode()
    if mended.reason:
        assert mended.value is None
    else:
        assert isinstance(mended.value, dict)
        assert mended.value == json.loads(mended.text)
        assert mend_object(mended.text) == mended


SIZE = 1 << 17


def filled(middle: str, before: str = "", after: str = "") -> str:
    return before + middle * (SIZE // len(middle)) + after


@pytest.mark.parametrize(
    "text",
    [
        *map(filled, ["{", "[", '{"a":', '"', "'", "\\", "`", "~", "/*", "{}", "[x"]),
        *map(filled, ["{/*", "{//", "[//]", "{#", "{'", "``` ", "```{", "```[/*]"]),
        *map(
            filled, ["[{", "[}", "{x}", '{"a":1}', "\ud800", '"\\"', ": ", "( ", "'{"]
        ),
        filled('"', "{"),
        filled("'", "{"),
        filled(" ", "{"),
        filled(" ", "{", "x"),
        filled(",", "{"),
        filled("a:", "{"),
        filled("a", "{"),
        filled("a", "```"),
        filled("“", "{"),
        filled("\\", '{"a":"', 'x"}'),
        filled("\\U", '{"a":"C:', '"}'),
        filled('\\"', '{"a":"', '"}'),
        filled('\\"', "{"),
        filled("\\ud800", '{"a":"', '"}'),
        filled("\n", '{"a":"', '"}'),
        filled('"""', '{"a":'),
        filled('\\"""', '{"a":"""'),
        filled("9", '{"a":', "}"),
        filled("1,", "[", "]"),
        filled("True,", "[", "]"),
        filled("}", '{"a":[1', "x"),
        filled('{"a":1} ', "So:\n"),
        filled('" ', after='{"a":1}'),
    ],
    ids=lambda text: ascii(text[:12] + text[-4:]),
)
def test_a_hostile_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    """If the time grew with the square of the length, one of these texts would take minutes."""
    for mended in (mend_object(text, closed=True), mend_json(text, closed=True)):
        mended.text.encode()
        assert mended.reason or mended.value == json.loads(mended.text)


@pytest.mark.parametrize("unit", ["{a:", '"a":1,', "'a':None,", "[1,],", "#\n"])
def test_broken_json_past_the_bound_is_refused(unit: str) -> None:
    text = "{" + unit * MAX_MENDED
    assert mend_object(text, closed=True).reason
    few = "{" + '"a":1,' * (MAX_MENDED // 8)
    assert not mend_object(few, closed=True).reason


def test_valid_json_of_any_length_stays_as_it_is() -> None:
    text = '{"a": [' + "1, " * MAX_MENDED + "1]}"
    assert mend_object(text).text == text


def test_prose_that_repeats_a_value_very_often_is_refused() -> None:
    assert mend_json('Here: {"a": 1} ' * 2).value == {"a": 1}
    assert mend_json('Here: {"a": 1} ' * 1000).reason
