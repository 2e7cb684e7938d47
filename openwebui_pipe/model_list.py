"""Which models are offered, under which ids and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from harmony_core.request import DEFAULT_MODEL
from openwebui_pipe.servers import ModelServer, server_of

FALLBACK_NAME: Final = "gpt-oss (MLX)"
"""Name of the model that the server was started with; it is offered if there is no list."""

# Servers also list models that cannot chat.
_NO_CHAT: Final = re.compile(
    r"(?<![a-z])(embed|rerank|bge-|e5-|gte-|all-minilm|colbert)"
)
_BETWEEN_WORDS: Final = re.compile(r"[,，、;；|\n]")


def words_of(setting: str) -> list[str]:
    """The words of a setting, separated by commas, `|`, semicolons or lines."""
    return [word for part in _BETWEEN_WORDS.split(setting) if (word := part.strip())]


def wanted_models(ids: Sequence[str], patterns: str) -> list[str]:
    """The ids that match a pattern (part of an id, or a glob); "" means all that can chat.

    `-` and `_` count as the same, and so do capitals and small letters.
    """
    words = [comparable(word) for word in words_of(patterns)]
    globs = [word if set(word) & set("*?[") else f"*{word}*" for word in words or "*"]
    return [
        name
        for name in ids
        if any(fnmatchcase(comparable(name), glob) for glob in globs)
        and not _NO_CHAT.search(comparable(name))
    ]


def comparable(text: str) -> str:
    """The spelling in which names are compared."""
    return text.lower().replace("_", "-")


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Each id with a short name: its last part, or more if two ids share that part."""
    parts = {name: name.replace("\\", "/").rstrip("/").rpartition("/") for name in ids}
    count = Counter(last for _, _, last in parts.values())
    return {
        name: last if count[last] == 1 else f"{last} ({owner})" if owner else name
        for name, (owner, _, last) in parts.items()
    }


def with_named_models(
    listed: Mapping[ModelServer, Sequence[str]], named: str
) -> dict[ModelServer, list[str]]:
    """The models that each server lists, and those that the admin named in addition."""
    models = {server: [*ids] for server, ids in listed.items()}
    for word in words_of(named):
        server, model = server_of(word, [*listed])
        if model not in models[server]:
            models[server].append(model)
    return models


def model_entries(
    models: Mapping[ModelServer, Sequence[str]], prefix: str, shared: bool
) -> dict[str, str]:
    """The ids and names that Open WebUI shows: at least one for each server.

    Names show the server if there are several. With `shared`, a model that several
    servers have is one entry, with the id of the first.
    """
    lead = f"{prefix} " if prefix[-1:].isalnum() else prefix
    copies = Counter(model for ids in models.values() for model in ids)
    entries: dict[str, str] = {}
    joined: set[str] = set()
    for server, ids in models.items():
        names = short_names(ids) or {DEFAULT_MODEL: FALLBACK_NAME}
        for model, name in names.items():
            if model in joined:
                continue
            if shared and copies[model] > 1:
                joined.add(model)
            elif len(models) > 1:
                name = f"{server.name} · {name}"
            entries[server.prefix + model] = lead + name
    return entries
