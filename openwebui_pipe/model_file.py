"""A small file that keeps the models of each server over a restart."""

from __future__ import annotations

import importlib
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from harmony_core.diagnosis import visible_url
from harmony_core.jsontext import (
    Json,
    JsonObject,
    as_list,
    as_object,
    dump_json,
    load_json,
)
from harmony_core.request import Endpoint
from openwebui_pipe.status import log

FILE_NAME: Final = "mlx_harmony_models.json"
MAX_FILE: Final = 4_000_000
"""Most bytes that are read; with the next three bounds the file stays smaller."""
MAX_KEPT_SERVERS: Final = 32
MAX_KEPT_MODELS: Final = 100
MAX_KEPT_ID: Final = 256


def data_folder() -> Path | None:
    """The folder with Open WebUI's data; None outside of Open WebUI."""
    try:
        return Path(importlib.import_module("open_webui.env").DATA_DIR)
    except (ImportError, AttributeError, TypeError):
        return None


class ModelFile:
    """The file; without a folder nothing is kept. A file that cannot be used is no error."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE_NAME if folder else None
        self._lock = threading.Lock()

    def models(self, endpoint: Endpoint) -> tuple[str, ...]:
        """The ids kept for a server."""
        kept = as_list(self._read().get(visible_url(endpoint.models_url)))
        return tuple(name for name in kept if isinstance(name, str))

    def keep(self, endpoint: Endpoint, models: Sequence[str]) -> None:
        """Keep the ids of a server. Too many servers push out the one kept longest ago."""
        address = visible_url(endpoint.models_url)  # without a password or a key
        good = [name for name in models if len(name) <= MAX_KEPT_ID]
        kept: list[Json] = [*good[:MAX_KEPT_MODELS]]
        with self._lock:
            lists = self._read()
            if lists.pop(address, None) != kept:
                newest = [*lists.items(), (address, kept)][-MAX_KEPT_SERVERS:]
                self._write(dict(newest))

    def _read(self) -> JsonObject:
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                return as_object(load_json(file.read(MAX_FILE)))
        except (OSError, ValueError):  # it does not exist yet, or is damaged
            return {}

    def _write(self, lists: JsonObject) -> None:
        if self._path is None:
            return
        # A process that reads at the same time finds the old file or the new one.
        fresh = self._path.with_name(f"{FILE_NAME}.{uuid.uuid4().hex}")
        try:
            fresh.write_text(dump_json(lists), "utf-8")
            fresh.replace(self._path)
        except (OSError, ValueError) as error:
            log.warning("The list of models was not kept: %s", error)
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
