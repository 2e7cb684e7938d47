"""`--json-schema`: reading the schema, and checking a reply against it."""

from __future__ import annotations

from pathlib import Path

from jsonschema import SchemaError
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from ..jsontext import Json, JsonObject, load_json


def read_schema(path: Path) -> JsonObject:
    """Read a JSON schema; raises ValueError, whose text says what is wrong with it."""
    try:
        schema = load_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise ValueError(f"{path} is not JSON.") from None
    if not isinstance(schema, dict):
        raise ValueError(f"{path} is not a JSON schema.")
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{path} is not a JSON schema: {error.message}.") from None
    except Exception:  # noqa: BLE001 (a `$schema` of any type, nesting without end)
        raise ValueError(f"{path} is not a JSON schema.") from None
    return schema


def misfit(answer: str, schema: JsonObject) -> str:
    """Why an answer does not fit the schema; "" when it does. No reference is ever fetched."""
    value: Json = load_json(answer)
    validator = validator_for(schema)(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unresolvable:
        return f"{unresolvable.ref} cannot be resolved"
    except Exception:  # noqa: BLE001 (a `$ref` to itself, to something that is no schema, …)
        return "the schema cannot be applied"
    if error is None:
        return ""
    return (
        f"{error.json_path}: {error.message}" if error.absolute_path else error.message
    )
