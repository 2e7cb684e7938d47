"""How much both clients take from a server."""

from __future__ import annotations

from typing import Final

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes that are read of an error; the useful words are in the first few hundred."""

MAX_LIST_BYTES: Final = 2 * 1024 * 1024
"""Bytes of a list of models; a longer one is not read at all."""

MAX_MODELS: Final = 2000
"""Models that are offered of one list."""

MAX_ID: Final = 300
"""Characters of a model's id; a longer one is left out."""
