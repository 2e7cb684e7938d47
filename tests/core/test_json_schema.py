"""Schemas are read out of their wrappers, and every fault has a reason and a place."""

from __future__ import annotations

import json

import pytest

from harmony_core.json_schema import (
    SchemaFault,
    check_reply,
    fit_reply,
    parse_schema,
    response_format_of,
)
from harmony_core.jsontext import Json, JsonObject
from harmony_core.response_format import response_section

SCHEMA: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    "given",
    [SCHEMA, {"name": "count", "schema": SCHEMA}, response_format_of(SCHEMA)],
    ids=["bare", "as Dify wraps it", "as OpenAI's API takes it"],
)
def test_a_schema_is_read_out_of_its_wrappers(given: JsonObject) -> None:
    assert parse_schema(json.dumps(given)) == SCHEMA


def test_the_response_format_of_a_schema_is_one_that_a_request_understands() -> None:
    section = response_section(response_format_of(SCHEMA))
    assert "## reply" in section
    assert json.dumps(SCHEMA) in section


@pytest.mark.parametrize(
    ("text", "reason", "path"),
    [
        ("{", "not_json", "$"),
        ("", "not_json", "$"),
        ("[]", "not_an_object", "$"),
        ('{"type": "nonsense"}', "invalid", "$.type"),
        ('{"$schema": 5}', "unusable", "$"),
        ('{"$schema": []}', "unusable", "$"),
        ('{"not": ' * 400 + "{}" + "}" * 400, "unusable", "$"),
    ],
)
def test_a_text_that_is_not_a_schema_has_a_reason_and_a_place(
    text: str, reason: str, path: str
) -> None:
    with pytest.raises(SchemaFault) as caught:
        parse_schema(text)
    assert (caught.value.reason, caught.value.path) == (reason, path)


@pytest.mark.parametrize(
    ("answer", "schema", "reason", "path"),
    [
        ('{"n": "three"}', SCHEMA, "invalid", "$.n"),
        ("[]", SCHEMA, "invalid", "$"),
        ("{}", {"$ref": "http://elsewhere/schema.json"}, "unresolvable", "$"),
        ("{}", {"$ref": "#"}, "unusable", "$"),
        ("{}", {"$ref": "#/a", "a": 5}, "unusable", "$"),
    ],
)
def test_a_reply_that_does_not_fit_has_a_reason_and_a_place(
    answer: str, schema: JsonObject, reason: str, path: str
) -> None:
    with pytest.raises(SchemaFault) as caught:
        check_reply(answer, schema)
    assert (caught.value.reason, caught.value.path) == (reason, path)
    assert caught.value.__suppress_context__  # no stored traceback may hold its details


def test_a_reply_that_fits_passes() -> None:
    check_reply('{"n": 3}', SCHEMA)


def closed(properties: JsonObject, **rules: Json) -> JsonObject:
    """The schema of an object that takes no other keys."""
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    } | rules


NULL: JsonObject = {"type": "null"}
ONE_OF_TWO: JsonObject = {
    "oneOf": [closed({"a": {}}, required=["a"]), closed({"b": {}}, required=["b"])]
}
IN_TWO_PLACES: JsonObject = {
    "allOf": [closed({"a": {}}), {"properties": {"b": closed({})}}]
}


def test_an_answer_that_fits_stays_as_it_is() -> None:
    assert fit_reply('{"a":  1}', closed({"a": {}})) == '{"a":  1}'


@pytest.mark.parametrize(
    ("schema", "answer", "fitted"),
    [
        (closed({"a": {}}), '{"b": 1, "a": 2, "c": 3}', '{"a": 2}'),
        (
            {"items": {"items": closed({"a": {}})}},
            '[[{"a": 1, "b": {"a": 1}}], [{"b": 1}]]',
            '[[{"a": 1}], [{}]]',
        ),
        (
            closed({"a": {"anyOf": [NULL, closed({"b": {}})]}}),
            '{"a": {"b": 1, "c": 2}, "d": 3}',
            '{"a": {"b": 1}}',
        ),
        (ONE_OF_TWO, '{"b": 1, "c": 2}', '{"b": 1}'),
        (IN_TWO_PLACES, '{"a": 1, "b": {"c": 2}}', '{"a": 1}'),
    ],
    ids=["an object", "lists in a list", "may be null", "one of two", "all of two"],
)
def test_keys_that_the_schema_does_not_allow_are_dropped(
    schema: JsonObject, answer: str, fitted: str
) -> None:
    assert fit_reply(answer, schema) == fitted


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (closed({"a": {"type": "string"}}), '{"a": 1, "b": 2}'),
        ({"anyOf": [closed({"a": {}}), closed({"b": {}})]}, '{"a": 1, "b": 2}'),
        ({"oneOf": [closed({"a": {}}), {"type": "object"}]}, '{"a": 1}'),
    ],
    ids=["another fault", "two readings", "fits twice"],
)
def test_a_reply_with_a_fault_beside_extra_keys_is_refused(
    schema: JsonObject, answer: str
) -> None:
    with pytest.raises(SchemaFault):
        fit_reply(answer, schema)


def text_of(pattern: str) -> JsonObject:
    return {"type": "string", "pattern": pattern}


SLOW = [
    *("^(a+)+$", "^(a|a)*$", "(a*)*b", "^(?:a?){30}a{30}$", "^(?=(a+)+$)a", r"^(a+)\1*$"),
    *("a*a*a*a*b", "^(a{1,40}){20}$", "^((a|b)+c?)+$"),
]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_may_take_for_ever_is_refused(pattern: str) -> None:
    for schema in (text_of(pattern), {"patternProperties": {pattern: {}}}):
        with pytest.raises(SchemaFault) as caught:
            parse_schema(json.dumps({"properties": {"n": schema}}))
        assert (caught.value.reason, "for ever" in caught.value.message) == (
            "invalid",
            True,
        )


@pytest.mark.parametrize("pattern", SLOW)
def test_a_reply_is_never_checked_against_a_slow_pattern(pattern: str) -> None:
    text = "a" * 40 + "!"
    with pytest.raises(SchemaFault, match="for ever"):
        check_reply(json.dumps(text), text_of(pattern))
    names: JsonObject = {
        "additionalProperties": False,
        "patternProperties": {pattern: {}},
    }
    with pytest.raises(SchemaFault, match="for ever"):
        check_reply(json.dumps({text: 1}), names)


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (r"^\d{4}-\d{2}-\d{2}$", "2026-01-31", "31.1.2026"),
        (r"^[\w.%+-]+@[\w.-]+\.[a-z]{2,}$", "a.b@c.example", "a@b"),
        (r"^(\d{1,3}\.){3}\d{1,3}$", "127.0.0.1", "127.0.0"),
        (r"^(red|green|blue)$", "red", "pink"),
        (r"^https?://[^/]+/.*$", "https://a.example/b", "ftp://a"),
        (r"(ab)+c", "xababc", "ab"),
    ],
)
def test_usual_patterns_are_checked(pattern: str, fits: str, fails: str) -> None:
    schema = parse_schema(json.dumps(text_of(pattern)))
    check_reply(json.dumps(fits), schema)
    with pytest.raises(SchemaFault, match="does not match"):
        check_reply(json.dumps(fails), schema)


def test_a_string_that_is_too_long_for_a_pattern_is_refused() -> None:
    schema = parse_schema(json.dumps(text_of(r"^\w+@\w+\.\w+$")))
    with pytest.raises(SchemaFault, match="for ever"):
        check_reply(json.dumps("a" * 5000), schema)


def doubling(levels: int, reference: str = "$ref") -> JsonObject:
    """A schema whose references double at each level."""
    names = [f"level{number}" for number in range(levels)]
    parts: JsonObject = {"last": {"type": "object"}}
    for name, below in zip(names, [*names[1:], "last"], strict=True):
        parts[name] = {"allOf": [{reference: f"#/$defs/{below}"}] * 2}
    return {"$defs": parts, reference: "#/$defs/level0"}


@pytest.mark.parametrize("reference", ["$ref", "$dynamicRef"])
def test_references_that_double_at_each_level_are_given_up(reference: str) -> None:
    schema = parse_schema(json.dumps(doubling(40, reference)))
    with pytest.raises(SchemaFault, match="for ever"):
        check_reply("{}", schema)


def test_references_that_double_a_few_times_are_followed() -> None:
    check_reply("{}", parse_schema(json.dumps(doubling(10))))
    with pytest.raises(SchemaFault, match="not of type"):
        check_reply("1", parse_schema(json.dumps(doubling(10))))


def test_a_long_list_may_refer_to_one_schema() -> None:
    item: JsonObject = {"$ref": "#/$defs/item"}
    schema: JsonObject = {"items": item, "$defs": {"item": text_of("^[a-z]+$")}}
    check_reply(json.dumps(["word"] * 5000), schema)


@pytest.mark.parametrize(
    ("item", "checked"),
    [
        ("a" * 18, text_of("^(a?){20}b$")),
        ({"a" * 18: 1}, {"patternProperties": {"^(a?){20}b$": {}}}),
    ],
)
def test_all_strings_share_the_time_for_patterns(
    item: object, checked: JsonObject
) -> None:
    with pytest.raises(SchemaFault, match="for ever"):
        check_reply(json.dumps([item] * 1000), {"items": checked})
