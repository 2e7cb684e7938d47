"""How the host takes a reply: its versions, channels and API clients differ."""

from __future__ import annotations

from dataclasses import dataclass

from harmony_core.events import Reply, ToolCall
from harmony_core.jsontext import JsonObject
from openwebui_pipe.host_version import at_least, host_version, older_than


@dataclass(frozen=True, slots=True)
class HostManner:
    """What the host does with this reply.

    `answers_any_call`: it tells the model itself that a tool is unknown or its arguments
    are wrong. `shows_errors`: it has a place for an error beside the answer.
    `reads_tags`: it takes tags in the answer for thinking until thinking came apart from
    it. `tags_end_folds`: it does so always, and tags in the thinking end its fold.
    """

    answers_any_call: bool = False
    shows_errors: bool = True
    reads_tags: bool = False
    tags_end_folds: bool = False

    def calls_to_run(self, reply: Reply, left_out: frozenset[str]) -> list[ToolCall]:
        """The calls of a reply that the host is given.

        It would run a tool that the pipe left out of the request.
        """
        others = self.answers_any_call and not reply.truncated
        return [
            call
            for call in reply.tool_calls
            if call.executable or (others and call.name not in left_out)
        ]


def is_api_call(metadata: JsonObject) -> bool:
    """Whether a program asks, and not a page of Open WebUI or a channel."""
    return not metadata.get("session_id")


def manner_of(metadata: JsonObject) -> HostManner:
    """How this host takes the reply to this request."""
    if is_api_call(metadata):
        return HostManner()
    return HostManner(
        answers_any_call=at_least(0, 10),
        shows_errors=not str(metadata.get("chat_id")).startswith("channel:"),
        reads_tags=host_version() is not None,
        tags_end_folds=older_than(0, 10),
    )
