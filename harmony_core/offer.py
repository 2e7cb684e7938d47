"""Tools and response formats in the shape that the chat template bears."""

from __future__ import annotations

import math
from typing import Final

from .history import defuse
from .jsontext import Json, JsonObject, dump_json

_PLAIN_JSON: Final = "The whole answer is one JSON object, without any text or code fence around it."
_SCHEMA_JSON: Final = "The whole answer is JSON of this schema, without any text or code fence around it."


def function_of(tool: Json) -> JsonObject:
    """The function of an OpenAI tool object; a bare function is taken as one."""
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return function if isinstance(function, dict) and isinstance(name, str) and name else {}


def sendable_tool(tool: Json) -> JsonObject:
    """The tool with all that the template reads and nothing else; empty for what is no tool."""
    function = function_of(tool)
    if not function:
        return {}
    description = function.get("description")
    # Some copies of the template fail without a description (mlx_server.md, rule 7 of the template).
    sent: JsonObject = {
        "name": defuse(str(function["name"])),
        "description": defuse(description) if isinstance(description, str) else "",
        "parameters": _sendable_parameters(function.get("parameters")),
    }
    return {"type": "function", "function": sent}


def _sendable_parameters(given: Json) -> JsonObject:
    schema = _defused(without_nulls(given))
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    properties = schema.get("properties")
    described = properties.items() if isinstance(properties, dict) else ()
    return {**schema, "properties": {name: _sendable_property(spec) for name, spec in described}}


def _sendable_property(spec: Json) -> Json:
    """The property as the template can write it, which adds its description and default to texts."""
    if not isinstance(spec, dict):
        return spec
    sent = {"description": "", **spec}
    if ("enum" in spec or "oneOf" in spec) and not isinstance(spec.get("default", ""), str):
        sent["default"] = dump_json(spec["default"])
    return sent


def _defused(value: Json) -> Json:
    """The value without control tokens in any of its texts."""
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, list):
        return [_defused(part) for part in value]
    if isinstance(value, dict):
        return {defuse(name): _defused(part) for name, part in value.items()}
    return value


def response_section(wanted: Json) -> str:
    """Harmony's "# Response Formats" section for an OpenAI `response_format`, empty if it wants no JSON."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or kind not in ("json_object", "json_schema"):
        return ""
    given = wanted.get("json_schema")
    asked = given if isinstance(given, dict) and kind == "json_schema" else {}
    schema = asked.get("schema")
    if not isinstance(schema, dict):
        name, note, schema = "json_object", _PLAIN_JSON, {"type": "object"}
    else:
        name, note = _one_line(asked.get("name")) or "response", _one_line(asked.get("description"))
        note = f"{note} {_SCHEMA_JSON}".strip()
    text = f"# Response Formats\n\n## {name}\n\n// {note}\n{dump_json(schema)}"
    return defuse(text)


def _one_line(text: Json) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""


def without_nulls(value: Json) -> Json:
    """The value without nulls and without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(name): kept for name, v in value.items() if (kept := without_nulls(v)) is not None}
    if isinstance(value, list | tuple):
        return [kept for v in value if (kept := without_nulls(v)) is not None]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
