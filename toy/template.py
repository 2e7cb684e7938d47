"""The toy's chat template in a sandbox like that of transformers, but with our own clock."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jinja2.sandbox import ImmutableSandboxedEnvironment

from toy.transcripts import FOLDER, Json, Message


class Template:
    """A compiled template; rendering it has no side effects."""

    def __init__(self) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["tojson"] = lambda value: json.dumps(
            value, ensure_ascii=False
        )
        environment.globals["raise_exception"] = _refuse
        source = (FOLDER / "chat_template.jinja").read_text(encoding="utf-8")
        self._template = environment.from_string(source)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Json], date: str, effort: str
    ) -> str:
        """The prompt; raises ValueError if the template refuses the messages."""
        return self._template.render(
            messages=messages,
            tools=tools or None,
            add_generation_prompt=True,
            strftime_now=lambda _format: date,
            reasoning_effort=effort,
        )


def _refuse(reason: str) -> None:
    raise ValueError(reason)
