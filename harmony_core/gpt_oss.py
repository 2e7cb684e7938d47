"""gpt-oss as data: what a request to it should say where the caller says nothing."""

from __future__ import annotations

import re
from typing import Final, Literal

Effort = Literal["low", "medium", "high"]
EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
DEFAULT_EFFORT: Final[Effort] = "medium"

# Also in the words that other models have for theirs.
_EFFORT_NAMES: Final[dict[str, Effort]] = {
    "none": "low",
    "off": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
# How people set the effort in a system prompt, since the template itself writes it so.
_EFFORT_LINE = re.compile(
    r"\s*+reasoning:[ \t]*+(high|medium|low)[ \t]*+(?:\r?\n\s*+|\Z)", re.IGNORECASE
)

CONTEXT_SIZE: Final = 131_072

# The server's own defaults, 512 tokens and temperature 0, let the analysis eat the budget and make the
# model repeat itself (mlx_server.md, Requests); 1.0 and 1.0 are what OpenAI recommends for gpt-oss.
DEFAULT_MAX_TOKENS: Final = 8192
DEFAULT_TEMPERATURE: Final = 1.0
DEFAULT_TOP_P: Final = 1.0


def effort_named(wish: object) -> Effort | None:
    """The effort that a wish means, in any case; None where it means no effort."""
    return _EFFORT_NAMES.get(wish.strip().lower()) if isinstance(wish, str) else None


def split_effort(instructions: str) -> tuple[Effort | None, str]:
    """Take a first line like `Reasoning: high` from a system prompt: the effort, and the rest."""
    line = _EFFORT_LINE.match(instructions)
    if line is None:
        return None, instructions
    return effort_named(line[1]), instructions[line.end() :]
