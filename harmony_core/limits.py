"""How much is taken from a server: the bounds that both clients keep."""

from __future__ import annotations

from typing import Final

MAX_HEAD: Final = 1024 * 1024
"""Bytes before a body: the status line, headers, and any number of `100 Continue`."""

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes of an error that are read; what counts stands in the first few hundred."""

MAX_LIST_BYTES: Final = 2 * 1024 * 1024
"""Bytes of a list of models; a longer one is not read at all."""

MAX_MODELS: Final = 2000
"""Models of a list that are offered."""

MAX_ID: Final = 300
"""Characters of a model's id; a longer one is left out."""
