"""How an exchange with a server can fail, in the terms that every HTTP client has."""

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

    `first_byte` is the longest silence until the body of the reply begins (loading a model, waiting behind
    other requests); `idle` is the longest silence after that, where keepalive comments count as life.
    `short_answer` is the most for the whole of an error's body or a list of models (for the latter
    mlx_lm.server looks through its whole cache), however it trickles.
    """

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 120.0
    short_answer: float = 30.0

    def limit(self, phase: Phase) -> float:
        """The limit that holds in a phase."""
        return {"connect": self.connect, "idle": self.idle}.get(phase, self.first_byte)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of an exchange that brought no reply.

    `phase` tells how far it came: "connect", which needs a `cause`; "headers", before a status line;
    "status", one that is not 200; "first_byte", before the body; "idle", a silence, and "stream", a break
    in the body. `cause` "timeout" tells a silence, of `seconds`, from an end, and "limit" the end of
    what the caller allows for the whole exchange. `models` are the ids of GET
    /v1/models, None where nobody asked or nothing came.
    """

    phase: Phase
    base_url: str = field(
        repr=False
    )  # may hold a password, as the next may repeat a key
    cause: Cause = ""
    status: int = 0
    body: str = field(default="", repr=False)
    location: str = field(default="", repr=False)
    model: str = ""
    models: tuple[str, ...] | None = None
    seconds: float = 0


class ServerError(Exception):
    """An exchange failed; `problem` says what happened and what to do. Holds no key and chains nothing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text())
        self.problem = problem
