"""How the host treats a reply, which depends on its version and on who asks."""

from __future__ import annotations

from dataclasses import dataclass

from harmony_core.jsontext import JsonObject
from openwebui_pipe.host_version import at_least, host_version


@dataclass(frozen=True, slots=True)
class HostManner:
    """What the host does with this reply.

    `answers_any_call`: it tells the model itself that a tool is unknown or its arguments
    are wrong. `shows_errors`: it has a place for an error beside the answer.
    `reads_tags`: it reads tags in the answer as thinking, until it gets thinking in the
    separate field. `tags_end_folds`: it always reads them so, and tags in the thinking
    end its fold.
    """

    answers_any_call: bool = False
    shows_errors: bool = True
    reads_tags: bool = False
    tags_end_folds: bool = False


def is_api_call(metadata: JsonObject) -> bool:
    """Whether a program sent the request, and not a page of Open WebUI or a channel."""
    return not metadata.get("session_id")


def manner_of(metadata: JsonObject) -> HostManner:
    """How this host treats the reply to this request."""
    if is_api_call(metadata):
        return HostManner()
    known, new = host_version() is not None, at_least(0, 10)
    return HostManner(
        answers_any_call=new,
        shows_errors=not str(metadata.get("chat_id")).startswith("channel:"),
        reads_tags=known,
        tags_end_folds=known and not new,
    )
