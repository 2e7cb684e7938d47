"""gpt-oss as data: what a request to it should say where the caller says nothing."""

from __future__ import annotations

from typing import Final, Literal

Effort = Literal["low", "medium", "high"]
EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
DEFAULT_EFFORT: Final[Effort] = "medium"

CONTEXT_SIZE: Final = 131_072

# The server's own defaults, 512 tokens and temperature 0, let the analysis eat the budget and make the
# model repeat itself (mlx_server.md, Requests); 1.0 and 1.0 are what OpenAI recommends for gpt-oss.
DEFAULT_MAX_TOKENS: Final = 8192
DEFAULT_TEMPERATURE: Final = 1.0
DEFAULT_TOP_P: Final = 1.0
