"""Which models are offered, and under which names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from harmony_core.request import Endpoint

MODELS_FRESH: Final = 10.0
"""Seconds for which the model list stands: it is wanted on every page load."""


# What servers list beside the models that chat.
_NO_CHAT: Final = re.compile(
    r"(?<![a-z])(embed|rerank|bge-|e5-|gte-|all-minilm|colbert)"
)
_SEPARATORS: Final = re.compile(r"[,，、;；|\n]")


@dataclass(frozen=True, slots=True)
class ModelList:
    """What a server offered, and when it was asked last."""

    endpoint: Endpoint
    ids: tuple[str, ...]
    asked: float


def words_of(setting: str) -> list[str]:
    """What a setting lists, separated by commas, `|`, semicolons or lines."""
    return [word for part in _SEPARATORS.split(setting) if (word := part.strip())]


def wanted_models(ids: Sequence[str], patterns: str) -> list[str]:
    """The ids that match a pattern, part of an id or glob; "" is all that can chat.

    `-` and `_` are alike, and so are capitals and small letters.
    """
    wishes = [alike(wish) for wish in words_of(patterns)]
    globs = [wish if set(wish) & set("*?[") else f"*{wish}*" for wish in wishes or "*"]
    return [
        name
        for name in ids
        if any(fnmatchcase(alike(name), glob) for glob in globs)
        and not _NO_CHAT.search(alike(name))
    ]


def alike(text: str) -> str:
    """The text in the one spelling in which names are compared."""
    return text.lower().replace("_", "-")


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Ids with their last component; those that share it, with what precedes it too."""
    parts = {name: name.replace("\\", "/").rstrip("/").rpartition("/") for name in ids}
    count = Counter(last for _, _, last in parts.values())
    return {
        name: last if count[last] == 1 else f"{last} ({owner})" if owner else name
        for name, (owner, _, last) in parts.items()
    }
