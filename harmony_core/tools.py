"""Tools in a shape that the chat template takes, and OpenAI's `tool_choice`.

The template reads a tool's JSON schema as it comes and joins texts to it. A `required` that is true, or a
description that is a list, ends the request. So everything that it reads gets the type that it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .history import defuse
from .jsontext import (
    Json,
    JsonObject,
    as_list,
    as_object,
    dump_json,
    fitting_json,
    objects_in,
)

TOOL_REQUIRED: Final = (
    "Your next message must call one of the functions. Do not answer it with text."
)


def function_of(tool: Json) -> JsonObject:
    """The function of an OpenAI tool object, or a bare function; empty for anything else."""
    tool = as_object(tool)
    function = as_object(tool.get("function", tool))
    name = function.get("name")
    return function if name and isinstance(name, str) else {}


def offered_tools(tools: Sequence[Json], choice: Json) -> list[Json]:
    """The tools that a `tool_choice` leaves: none, the named one, or all."""
    if choice == "none":
        return []
    wanted = function_of(choice).get("name")
    named = [
        tool for tool in tools if wanted and function_of(tool).get("name") == wanted
    ]
    return named or list(tools)


def tool_section(tools: Sequence[Json], choice: Json) -> str:
    """A sentence for the instructions if a `tool_choice` demands a call, else ""."""
    wants_a_call = choice == "required" or bool(function_of(choice))
    return TOOL_REQUIRED if wants_a_call and any(map(function_of, tools)) else ""


def sendable_tool(tool: Json) -> JsonObject:
    """The tool with only what the template reads; empty for anything but a tool."""
    function = as_object(sendable(function_of(tool)))
    if not function:
        return {}
    parameters = _schema(function.get("parameters"))
    sent: JsonObject = {
        "name": function["name"],
        # Some copies of the template fail without one (mlx_server.md, its rule 7).
        "description": _description(function.get("description")),
        "parameters": {"type": "object", "properties": {}, **parameters},
    }
    return {"type": "function", "function": sent}


def _schema(schema: Json) -> JsonObject:
    """The schema; what the template reads in it has the expected type, or is left out."""
    given = as_object(schema)
    written: JsonObject = {}
    for name, part in given.items():
        coerced = _READ_BY_TEMPLATE.get(name)
        kept = coerced(part) if coerced else part
        if kept or not coerced:
            written[name] = kept
    default = written.get("default", "")
    if not isinstance(default, str) and given.keys() & {"enum", "oneOf"}:
        written["default"] = dump_json(default)  # the template adds it to a text
    return written


def _properties(properties: Json) -> Json:
    return {
        name: spec if isinstance(spec, bool) else _schema(spec)
        for name, spec in as_object(properties).items()
    }


def _variants(schemas: Json) -> Json:
    return [_schema(schema) for schema in objects_in(schemas)]


def _names(names: Json) -> Json:
    return [name for name in as_list(names) if isinstance(name, str)]


def _type(kind: Json) -> Json:
    return kind if isinstance(kind, str) else _names(kind)


def _description(given: Json) -> str:
    """The description as text: lines may come as a list."""
    if isinstance(given, list):
        return "\n".join(filter(None, map(_description, given)))
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return ""
    return str(given)


_READ_BY_TEMPLATE: Final[Mapping[str, Callable[[Json], Json]]] = {
    "type": _type,
    "description": _description,
    "enum": as_list,
    "oneOf": _variants,
    "properties": _properties,
    "items": _schema,
    "required": _names,
}


def sendable(value: Json) -> Json:
    """The value without nulls, without control tokens, and without what a server cannot read as JSON."""
    return _sendable(fitting_json(value))


def _sendable(value: Json) -> Json:
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, dict):
        named = ((defuse(name), _sendable(part)) for name, part in value.items())
        return {name: part for name, part in named if part is not None}
    if isinstance(value, list):
        return [part for part in map(_sendable, value) if part is not None]
    return value
