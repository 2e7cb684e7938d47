"""`--json-schema`: reads a schema, and says what is wrong with it or with a reply."""

from __future__ import annotations

from pathlib import Path

from ..json_schema import SchemaFault, check_reply, parse_schema
from ..jsontext import JsonObject


def read_schema(path: Path) -> JsonObject:
    """Read a JSON schema; raises ValueError, whose text says what is wrong with it."""
    try:
        return parse_schema(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
    except SchemaFault as fault:
        if fault.reason == "not_json":
            raise ValueError(f"{path} is not JSON.") from None
        details = f": {fault.message}" if fault.message else ""
        raise ValueError(f"{path} is not a JSON schema{details}.") from None


def schema_mismatch(answer: str, schema: JsonObject) -> str:
    """Return why an answer does not fit the schema; "" if it fits."""
    try:
        check_reply(answer, schema)
    except SchemaFault as fault:
        if fault.reason == "invalid":
            return f"{fault.path}: {fault.message}".removeprefix("$: ")
        if fault.reason == "unresolvable":
            return f"{fault.message} cannot be resolved"
        return "the schema cannot be applied"
    return ""
