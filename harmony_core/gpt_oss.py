"""gpt-oss as data: the defaults of a request to it."""

from __future__ import annotations

import re
from typing import Final, Literal

Effort = Literal["low", "medium", "high"]
EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
DEFAULT_EFFORT: Final[Effort] = "medium"

# Also under the names that other models use.
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
# People set the effort like this in a system prompt, because the template writes it this way.
_EFFORT_LINE = re.compile(
    r"\s*+reasoning:[ \t]*+(high|medium|low)[ \t]*+(?:\r?\n\s*+|\Z)", re.IGNORECASE
)

CONTEXT_SIZE: Final = 131_072

# With the server's own defaults, 512 tokens and temperature 0, the analysis eats the budget and the model
# repeats itself (mlx_server.md, Requests). OpenAI recommends 1.0 and 1.0 for gpt-oss.
DEFAULT_MAX_TOKENS: Final = 8192
DEFAULT_TEMPERATURE: Final = 1.0
DEFAULT_TOP_P: Final = 1.0


def effort_named(wish: object) -> Effort | None:
    """The effort that a name means, in capitals or not; None for an unknown name."""
    return _EFFORT_NAMES.get(wish.strip().lower()) if isinstance(wish, str) else None


def split_effort(instructions: str) -> tuple[Effort | None, str]:
    """Split a first line like `Reasoning: high` off a system prompt: the effort, and the rest."""
    line = _EFFORT_LINE.match(instructions)
    if line is None:
        return None, instructions
    return effort_named(line[1]), instructions[line.end() :]
