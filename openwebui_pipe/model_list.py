"""Which models are offered, and under which names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from harmony_core.request import Endpoint

MODELS_FRESH: Final = 10.0
"""Seconds for which the model list stands: it is wanted on every page load."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """What a server offered, and when it was asked last."""

    endpoint: Endpoint
    ids: tuple[str, ...]
    asked: float


def wanted_models(ids: Sequence[str], patterns: str) -> list[str]:
    """The ids that match a comma-separated pattern, part of an id or glob; "" is all."""
    wishes = [wish for part in patterns.lower().split(",") if (wish := part.strip())]
    globs = [wish if set(wish) & set("*?[") else f"*{wish}*" for wish in wishes or "*"]
    return [name for name in ids if any(fnmatchcase(name.lower(), g) for g in globs)]


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Ids with their last component; those that share it, with what precedes it too."""
    parts = {name: name.replace("\\", "/").rstrip("/").rpartition("/") for name in ids}
    count = Counter(last for _, _, last in parts.values())
    return {
        name: last if count[last] == 1 else f"{last} ({owner})" if owner else name
        for name, (owner, _, last) in parts.items()
    }
