"""How an exchange with a server can fail, in the terms of any HTTP client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .problems import Problem

Phase = Literal["connect", "headers", "status", "first_byte", "idle", "stream"]
Cause = Literal[
    "",
    "bad_url",
    "bad_key",
    "dns",
    "refused",
    "timeout",
    "limit",
    "proxy",
    "tls",
    "tls/http_only",
    "tls/https_only",
    "tls/certificate",
    "tls/ca_file",
    "not_a_reply",
]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds.

    `first_byte` is the longest silence before the body of the reply begins: the server may load a model or
    answer other requests first. `idle` is the longest silence after that; keepalive comments count as life.
    `short_answer` limits the whole body of an error or of a list of models, even if it trickles (for a list
    mlx_lm.server searches its whole cache).
    """

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 120.0
    short_answer: float = 30.0

    def limit(self, phase: Phase) -> float:
        """The limit in a phase."""
        return {"connect": self.connect, "idle": self.idle}.get(phase, self.first_byte)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of an exchange that brought no reply.

    `phase` tells how far it came: "connect" (needs a `cause`), "headers" (no status line came), "status" (it
    is not 200), "first_byte" (no body came), "idle" (a silence in the body) or "stream" (a break in it).
    `cause="timeout"`: nothing came for `seconds`. `cause="limit"`: the caller's time for the whole exchange
    ran out. Without a cause the connection was closed. `models` are the ids of GET /v1/models; None if nobody
    asked or nothing came.
    """

    phase: Phase
    base_url: str = field(
        repr=False
    )  # may hold a password; the body below may repeat a key
    cause: Cause = ""
    status: int = 0
    body: str = field(default="", repr=False)
    location: str = field(default="", repr=False)
    model: str = ""
    models: tuple[str, ...] | None = None
    seconds: float = 0


class ServerError(Exception):
    """An exchange failed; `problem` says why and what to do. Holds no key and chains no other exception."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text())
        self.problem = problem
