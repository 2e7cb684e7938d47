"""The scripted server and the scripts it plays: see `ScriptedServer`."""

from __future__ import annotations

from tests.server.replies import (
    DONE,
    FINGERPRINT,
    Gate,
    Hang,
    Pause,
    Reset,
    Script,
    Step,
    chunk,
    harmony,
    harmony_call,
    head,
    json_page,
    keepalive,
    models,
    page,
    reply,
    sse,
    text,
    usage,
)
from tests.server.scripted import Request, ScriptedServer

__all__ = [
    "DONE",
    "FINGERPRINT",
    "Gate",
    "Hang",
    "Pause",
    "Request",
    "Reset",
    "Script",
    "ScriptedServer",
    "Step",
    "chunk",
    "harmony",
    "harmony_call",
    "head",
    "json_page",
    "keepalive",
    "models",
    "page",
    "reply",
    "sse",
    "text",
    "usage",
]
