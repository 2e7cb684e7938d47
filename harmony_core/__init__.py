"""The Harmony core that both hosts share.

Only `Client` does I/O and needs `requests`, so it is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chat import ChatStream
from .events import (
    AnswerDelta,
    Event,
    Finish,
    FurtherThought,
    Progress,
    ReasoningDelta,
    Reply,
    ToolCall,
    Usage,
    collect,
)
from .failures import ServerError, Timeouts
from .history import clean_history
from .parser import HarmonyParser, parse
from .request import ChatRequest, Endpoint

if TYPE_CHECKING:
    from .client import Client

__version__ = "0.2.0"  # as in pyproject.toml; a test compares them

__all__ = [
    "AnswerDelta",
    "ChatRequest",
    "ChatStream",
    "Client",
    "Endpoint",
    "Event",
    "Finish",
    "FurtherThought",
    "HarmonyParser",
    "Progress",
    "ReasoningDelta",
    "Reply",
    "ServerError",
    "Timeouts",
    "ToolCall",
    "Usage",
    "clean_history",
    "collect",
    "parse",
]


def __getattr__(name: str) -> type[Client]:
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .client import Client
    except ModuleNotFoundError as error:
        if error.name not in ("requests", "urllib3"):
            raise
        raise ImportError(
            f"Client needs {error.name}, which is not installed. "
            'Install it with `pip install "mlx-harmony[client]"`.',
            name=error.name,
        ) from None
    return Client
