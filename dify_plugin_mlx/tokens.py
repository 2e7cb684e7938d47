"""Estimates the tokens of a request and of a reply that ended before the server counted them.

A tokenizer would be a download, or make the package ten times as big. For English and Japanese prose the
estimate is within a fifth of gpt-oss's own count; tables and code have more tokens.
"""

from __future__ import annotations

from typing import Final

from harmony_core.jsontext import JsonObject, as_object, dump_json, objects_in
from harmony_core.request import ChatRequest

_TEMPLATE: Final = 63  # the template's own system message, and the start of the reply
_TOOLS: Final = 32  # what the template writes around tools
_MESSAGE: Final = 5  # the markers of one message
_TOOL_SHARE: Final = (
    0.45  # the template writes tools as TypeScript, in less than half the tokens
)


def tokens_of(text: str) -> int:
    """About how many tokens a text has: four bytes of UTF-8 make one, in English as in Japanese."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def prompt_tokens(request: ChatRequest) -> int:
    """About how many tokens the prompt of a request has, the template's own included."""
    body = request.payload()
    count = _TEMPLATE + sum(map(_message_tokens, objects_in(body["messages"])))
    if tools := objects_in(body.get("tools")):
        sizes = (tokens_of(dump_json(tool)) for tool in tools)
        count += _TOOLS + round(_TOOL_SHARE * sum(sizes))
    return count


def reply_tokens(bytes_of_parts: list[int]) -> int:
    """About how many tokens a reply has whose messages have these sizes in UTF-8."""
    return sum(_MESSAGE + (size + 3) // 4 for size in bytes_of_parts if size)


def _message_tokens(message: JsonObject) -> int:
    texts = [message.get("content"), message.get("thinking")]
    for call in objects_in(message.get("tool_calls")):
        function = as_object(call.get("function"))
        texts += [function.get("name"), dump_json(function.get("arguments"))]
    parts = [text for text in texts if isinstance(text, str) and text]
    return sum(_MESSAGE + tokens_of(text) for text in parts)
