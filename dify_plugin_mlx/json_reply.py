"""JSON replies: the schema that Dify hands over, and whether a reply fits it."""

from __future__ import annotations

from dify_plugin.errors.model import InvokeBadRequestError
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from harmony_core.jsontext import Json, JsonObject, load_json


def read_schema(parameter: Json) -> JsonObject:
    """Read and check the `json_schema` parameter; raises InvokeBadRequestError.

    Dify's structured output wraps the schema as `{"name": …, "schema": …}`, and people paste what OpenAI's
    API takes, which is `{"type": "json_schema", "json_schema": {"name": …, "schema": …}}`.
    """
    try:
        schema = load_json(parameter) if isinstance(parameter, str) else None
    except ValueError:
        schema = None
    for wrapper in ("json_schema", "schema"):
        inner = schema.get(wrapper) if isinstance(schema, dict) else None
        if isinstance(inner, dict):
            schema = inner
    if not isinstance(schema, dict):
        raise InvokeBadRequestError(
            "The JSON schema is missing or is not a JSON object. Correct it, or choose another format."
        )
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        raise InvokeBadRequestError(
            f"The JSON schema is not valid at {error.json_path}: {error.message}. Correct it there."
        ) from None
    except Exception:  # noqa: BLE001 (a `$schema` of any type, nesting without end)
        raise InvokeBadRequestError(
            "The JSON schema cannot be read. Correct its $schema, or nest it less deeply."
        ) from None
    return schema


def misfit(
    answer: str, schema: JsonObject | None, *, valid: bool, truncated: bool
) -> str:
    """Say why an answer is not the JSON that was asked for; empty when it is."""
    if not valid:
        if truncated:
            return "The reply ended before its JSON was complete. Raise max tokens."
        return "The reply is not valid JSON. Ask again, or lower the temperature."
    if schema is None:
        return ""
    try:
        _validator(schema).validate(load_json(answer))
    except ValidationError as error:
        return (
            f"The reply does not fit the JSON schema at {error.json_path}: {_short(error.message)}. "
            "Ask again, or describe that field in the prompt."
        )
    except Unresolvable as error:
        return f"The JSON schema refers to {error.ref}, which it does not hold. Put that part into it."
    except Exception:  # noqa: BLE001 (a `$ref` to itself, to something that is no schema, …)
        return "The JSON schema cannot be applied to the reply. Correct where its $ref point, or simplify it."
    return ""


def _validator(schema: JsonObject) -> Validator:
    """A validator that fetches nothing: a `$ref` to another machine would be a request to it."""
    return validator_for(schema, default=Draft202012Validator)(
        schema, registry=Registry()
    )


def _short(message: str) -> str:
    return message if len(message) <= 200 else message[:200] + "…"
