"""The Harmony client core: what both hosts share, without any I/O of its own.

`Client` alone does I/O, and alone needs `requests`: it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chat import ChatStream
from .events import Reply, collect
from .history import clean_history
from .parser import HarmonyParser, parse
from .request import ChatRequest

if TYPE_CHECKING:
    from .client import Client

__all__ = [
    "ChatRequest",
    "ChatStream",
    "Client",
    "HarmonyParser",
    "Reply",
    "clean_history",
    "collect",
    "parse",
]


def __getattr__(name: str) -> type[Client]:
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .client import Client

    return Client
