"""The tool that tests offer to the model, and a reply that calls it."""

from __future__ import annotations

from harmony_core.jsontext import JsonObject
from tests.server.replies import harmony_call

WEATHER_FUNCTION: JsonObject = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
WEATHER_TOOL: JsonObject = {"type": "function", "function": WEATHER_FUNCTION}


def weather_call(city: str = "Paris", thinking: str = "I need a tool.") -> list[str]:
    """Return the tokens of a reply that thinks, then calls `get_weather` for a city."""
    return harmony_call("get_weather", f'{{"city": "{city}"}}', thinking)
