"""Tools in the shape that the chat template bears."""

from __future__ import annotations

import math

from .history import defuse
from .jsontext import Json, JsonObject, as_object, dump_json


def function_of(tool: Json) -> JsonObject:
    """The function of an OpenAI tool object, or a bare one; empty for anything else."""
    tool = as_object(tool)
    function = as_object(tool.get("function", tool))
    name = function.get("name")
    return function if name and isinstance(name, str) else {}


def sendable_tool(tool: Json) -> JsonObject:
    """The tool with what the template reads and nothing else; empty for what is none."""
    function = as_object(sendable(function_of(tool)))
    if not function:
        return {}
    description = function.get("description")
    sent: JsonObject = {
        "name": function["name"],
        # Some copies of the template fail without one (mlx_server.md, its rule 7).
        "description": description if isinstance(description, str) else "",
        "parameters": _sendable_parameters(function.get("parameters")),
    }
    return {"type": "function", "function": sent}


def _sendable_parameters(schema: Json) -> JsonObject:
    schema = schema if isinstance(schema, dict) else {"type": "object"}
    properties = as_object(schema.get("properties"))
    written = {name: _sendable_property(spec) for name, spec in properties.items()}
    return {**schema, "properties": written}


def _sendable_property(spec: Json) -> Json:
    """The property with a default that is text where the template adds it to one."""
    if not isinstance(spec, dict) or not spec.keys() & {"enum", "oneOf"}:
        return spec
    default = spec.get("default", "")
    return spec if isinstance(default, str) else {**spec, "default": dump_json(default)}


def sendable(value: Json) -> Json:
    """The value without nulls, numbers that JSON does not have, and control tokens."""
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, dict):
        pairs = ((defuse(str(name)), sendable(part)) for name, part in value.items())
        return {name: part for name, part in pairs if part is not None}
    if isinstance(value, list | tuple):
        return [part for part in map(sendable, value) if part is not None]
    return None if isinstance(value, float) and not math.isfinite(value) else value
