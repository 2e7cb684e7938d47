"""`parse` and `clean`: the core as filters between stdin and stdout."""

from __future__ import annotations

import json
import sys

import typer

from ..history import clean_history
from ..jsontext import JsonObject, load_json
from ..parser import parse
from .exit_codes import USAGE


def parse_text() -> None:
    """Read a raw reply from stdin and write it to stdout as JSON."""
    reply = parse(_stdin())
    calls = [
        {"name": call.name, "arguments": call.arguments} for call in reply.tool_calls
    ]
    _write_json(
        {
            "reasoning": reply.reasoning,
            "answer": reply.answer,
            "tool_calls": calls,
            "truncated": reply.truncated,
        }
    )


def clean_messages() -> None:
    """Read a JSON list of messages from stdin and write the list that the chat template accepts."""
    _write_json(clean_history(_messages(_stdin())))


def _messages(text: str) -> list[JsonObject]:
    try:
        value = load_json(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(
        isinstance(message, dict) for message in value
    ):
        typer.echo(
            "Standard input is not a JSON list of messages. "
            'Write it like [{"role": "user", "content": "Hi"}].',
            err=True,
        )
        raise typer.Exit(USAGE)
    return [message for message in value if isinstance(message, dict)]


def _stdin() -> str:
    return sys.stdin.buffer.read().decode("utf-8-sig", "replace")


def _write_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
