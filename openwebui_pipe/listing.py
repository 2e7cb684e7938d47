"""Which of a server's models are offered, and under which names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase


def wanted_models(ids: Sequence[str], patterns: str) -> list[str]:
    """The ids that match one of the comma-separated patterns: parts of ids, or globs; empty means all."""
    wishes = [wish for part in patterns.lower().split(",") if (wish := part.strip())]
    return [name for name in ids if not wishes or any(_matches(name.lower(), wish) for wish in wishes)]


def _matches(name: str, wish: str) -> bool:
    return fnmatchcase(name, wish) if set(wish) & set("*?[") else wish in name


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Each id with its last component as its name; ids that share one are told apart by what precedes it."""
    parts = {name: name.replace("\\", "/").rstrip("/").rpartition("/") for name in ids}
    count = Counter(last for _, _, last in parts.values())
    return {
        name: last if count[last] == 1 else f"{last} ({owner})" if owner else name
        for name, (owner, _, last) in parts.items()
    }
