"""JSON replies: what is wrong with the schema that Dify hands over, or with a reply."""

from __future__ import annotations

from harmony_core.json_schema import SchemaFault, fit_reply, parse_schema
from harmony_core.jsontext import Json, JsonObject
from harmony_core.mender import mend_json
from harmony_core.problems import Problem

from .phrases import UserError, plugin_problem

QUOTED_LENGTH = 300
"""Characters of a reply that an error shows."""


def read_schema(parameter: Json) -> JsonObject:
    """Read and check the `json_schema` parameter; raises UserError."""
    try:
        return parse_schema(parameter if isinstance(parameter, str) else "")
    except SchemaFault as fault:
        raise UserError(_problem_of_schema(fault)) from None


def json_of(answer: str, schema: JsonObject | None, *, truncated: bool) -> str:
    """Return the JSON that an answer holds and that fits the schema; raises UserError."""
    mended = mend_json(answer, closed=not truncated)
    if mended.reason:
        kind = "json_cut" if truncated else "json_invalid"
        raise UserError(plugin_problem(kind, reply=_short(answer)))
    if schema is None:
        return mended.text
    try:
        return fit_reply(mended.text, schema)
    except SchemaFault as fault:
        raise UserError(_problem_of_reply(fault, answer)) from None


def _problem_of_schema(fault: SchemaFault) -> Problem:
    if fault.reason == "invalid":
        message = _short(fault.message)
        return plugin_problem("schema_invalid", path=fault.path, message=message)
    missing = fault.reason in ("not_json", "not_an_object")
    return plugin_problem("schema_missing" if missing else "schema_unreadable")


def _problem_of_reply(fault: SchemaFault, answer: str) -> Problem:
    message = _short(fault.message)
    if fault.reason == "invalid":
        blanks = {"path": fault.path, "message": message, "reply": _short(answer)}
        return plugin_problem("json_misfit", **blanks)
    if fault.reason == "unresolvable":
        return plugin_problem("schema_unresolvable", message=message)
    return plugin_problem("schema_unusable")


def _short(text: str) -> str:
    """The text on one line, cut to length."""
    line = " ".join(text[: 4 * QUOTED_LENGTH].split())
    return line if len(line) <= QUOTED_LENGTH else line[:QUOTED_LENGTH] + "…"
