"""Which model of a list to use if nobody named one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_FAMILY: Final = "gpt-oss"


def choose_model(ids: Sequence[str], wanted: str = "") -> str:
    """Return the id that `wanted` means, else the first gpt-oss, else the only one, else "".

    Some servers have no name for the model that they have loaded. A name means an id that
    equals or contains it: `gpt-oss-20b` means `mlx-community/gpt-oss-20b-MXFP4-Q8`, and
    also Ollama's `gpt-oss:20b`.
    """
    for part in filter(None, (_plain(wanted), _plain(_FAMILY))):
        alike = [name for name in ids if part in _plain(name)]
        if alike:
            return alike[0]
    return ids[0] if len(ids) == 1 else ""


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
