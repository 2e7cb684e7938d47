"""Reads JSON schemas, and checks replies against them. A reference to another machine is not fetched.

Faults are raised as `SchemaFault`; each host words them for its users.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from .jsontext import JsonObject, as_object, load_json

Reason = Literal["not_json", "not_an_object", "invalid", "unresolvable", "unusable"]


class SchemaFault(ValueError):
    """A schema cannot be used, or a reply does not fit it.

    `reason` tells which:

    - "not_json", "not_an_object": the text is not a schema.
    - "invalid": the schema or the reply breaks a rule at `path` ("$" is its top), as `message` says.
    - "unresolvable": the reference in `message` leads out of the schema.
    - "unusable": the validator chokes on anything else.
    """

    def __init__(self, reason: Reason, path: str = "$", message: str = "") -> None:
        super().__init__(reason, path, message)
        self.reason = reason
        self.path = path
        self.message = message


def parse_schema(text: str | bytes) -> JsonObject:
    """Read a JSON schema; raises SchemaFault.

    It takes the schema out of its wrappers: Dify's structured output sends `{"name": …, "schema": …}`, and
    people paste OpenAI's `{"type": "json_schema", "json_schema": {"name": …, "schema": …}}`.
    """
    try:
        schema = load_json(text)
    except ValueError:
        raise SchemaFault("not_json") from None
    for wrapper in ("json_schema", "schema"):
        inner = as_object(schema).get(wrapper)
        schema = inner if isinstance(inner, dict) else schema
    if not isinstance(schema, dict):
        raise SchemaFault("not_an_object")
    with _schema_faults():
        _validator_class(schema).check_schema(schema)
    return schema


def check_reply(answer: str, schema: JsonObject) -> None:
    """Check a JSON answer against a schema; raises SchemaFault."""
    with _schema_faults():
        # The registry is empty, so a `$ref` to another machine sends no request.
        validator = _validator_class(schema)(schema, registry=Registry())
        if error := best_match(validator.iter_errors(load_json(answer))):
            raise error


def response_format_of(schema: JsonObject) -> JsonObject:
    """OpenAI's `response_format` that asks for a reply of this schema."""
    named: JsonObject = {"name": "reply", "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def _validator_class(schema: JsonObject) -> type[Validator]:
    return validator_for(schema, default=Draft202012Validator)


@contextmanager
def _schema_faults() -> Iterator[None]:
    """Turn everything that the validators raise into SchemaFault."""
    try:
        yield
    except (SchemaError, ValidationError) as error:
        raise SchemaFault("invalid", error.json_path, error.message) from None
    except Unresolvable as error:
        raise SchemaFault("unresolvable", message=error.ref) from None
    except Exception:  # noqa: BLE001 (a `$schema` of any type, a `$ref` to itself, nesting without end, …)
        raise SchemaFault("unusable") from None
