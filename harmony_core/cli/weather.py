"""The tool that `demo` and `doctor` offer, and the conversation after a call of it."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Reply
from ..jsontext import Json, JsonObject, dump_json
from ..native_calls import openai_call

QUESTION = "What is the weather in Tokyo?"
WEATHER: JsonObject = {"city": "Tokyo", "celsius": 21, "sky": "sunny"}
WEATHER_TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city."}
            },
            "required": ["city"],
        },
    },
}


def with_results(messages: Sequence[JsonObject], asked: Reply) -> list[JsonObject]:
    """Return the conversation with the reply's calls and their results; unchanged if there are no calls."""
    calls = [call for call in asked.tool_calls if call.executable]
    if not calls:
        return [*messages]
    call_list: list[Json] = [
        openai_call(call.id, call.name, call.arguments) for call in calls
    ]
    assistant: JsonObject = {
        "role": "assistant",
        "content": "",
        "reasoning": asked.reasoning,
        "tool_calls": call_list,
    }
    result = dump_json(WEATHER)
    results: list[JsonObject] = [
        {"role": "tool", "tool_call_id": call.id, "content": result} for call in calls
    ]
    return [*messages, assistant, *results]
