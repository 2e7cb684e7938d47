"""JSON replies: what is wrong with the schema that Dify hands over, or with a reply, in words for Dify."""

from __future__ import annotations

from dify_plugin.errors.model import InvokeBadRequestError

from harmony_core.json_schema import SchemaFault, check_reply, parse_schema
from harmony_core.jsontext import Json, JsonObject


def read_schema(parameter: Json) -> JsonObject:
    """Read and check the `json_schema` parameter; raises InvokeBadRequestError."""
    try:
        return parse_schema(parameter if isinstance(parameter, str) else "")
    except SchemaFault as fault:
        if fault.reason == "invalid":
            words = f"is not valid at {fault.path}: {fault.message}. Correct it there."
        elif fault.reason in ("not_json", "not_an_object"):
            words = "is missing or is not a JSON object. Correct it, or choose another format."
        else:
            words = "cannot be read. Correct its $schema, or nest it less deeply."
    raise InvokeBadRequestError(f"The JSON schema {words}")


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
        check_reply(answer, schema)
    except SchemaFault as fault:
        return _words_of(fault)
    return ""


def _words_of(fault: SchemaFault) -> str:
    """Why a reply does not fit its schema."""
    if fault.reason == "invalid":
        return (
            f"The reply does not fit the JSON schema at {fault.path}: {_short(fault.message)}. "
            "Ask again, or describe that field in the prompt."
        )
    if fault.reason == "unresolvable":
        return f"The JSON schema refers to {fault.message}, which it does not hold. Put that part into it."
    return "The JSON schema cannot be applied to the reply. Correct where its $ref point, or simplify it."


def _short(message: str) -> str:
    return message if len(message) <= 200 else message[:200] + "…"
