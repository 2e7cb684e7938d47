"""Schemas are read out of their wrappers, and every fault is told by its reason and place."""

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
from harmony_core.jsontext import JsonObject
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


OPEN_INSIDE = {
    "properties": {"a": {"anyOf": [{"type": "object", "additionalProperties": False}]}},
    "additionalProperties": False,
}


def test_keys_that_nobody_allows_are_dropped_and_a_fitting_answer_stays_as_it_is() -> (
    None
):
    closed: JsonObject = {"properties": {"a": {}}, "additionalProperties": False}
    assert fit_reply('{"a":  1}', closed) == '{"a":  1}'
    assert fit_reply('{"b": 1, "a": 2, "c": 3}', closed) == '{"a": 2}'


def test_a_fault_that_is_not_an_extra_key_alone_is_told() -> None:
    with pytest.raises(SchemaFault):
        fit_reply('{"a": {"b": 1}}', OPEN_INSIDE)
