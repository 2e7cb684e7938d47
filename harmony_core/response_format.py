"""OpenAI's `response_format` in words that the chat template takes."""

from __future__ import annotations

from .jsontext import Json, as_object, dump_json, fitting_json


def response_section(wanted: Json) -> str:
    """Harmony's "# Response Formats" section for an OpenAI `response_format`, or ""."""
    kinds = ("json_object", "json_schema")
    wanted = as_object(wanted)
    if wanted.get("type") not in kinds:
        return ""
    asked = as_object(wanted.get("json_schema"))
    schema = asked.get("schema")
    if isinstance(schema, dict):
        name = _one_line(asked.get("name")) or "response"
        note = _one_line(asked.get("description"))
        note = f"{note} The whole answer is JSON of this schema".lstrip()
    else:
        name, schema = "json_object", {"type": "object"}
        note = "The whole answer is one JSON object"
    note = f"// {note}, without any text or code fence around it."
    return (
        f"# Response Formats\n\n## {name}\n\n{note}\n{dump_json(fitting_json(schema))}"
    )


def _one_line(text: Json) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""
