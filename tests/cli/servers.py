"""Scripts of the servers that `doctor` examines: an answer to each request, in order.

The scripts of Ollama, llama.cpp and LM Studio follow their source and bug reports in form; the words are ours
(tests/core/dialects/README.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.server import (
    DONE,
    FINGERPRINT,
    Hang,
    Script,
    ScriptedServer,
    chunk,
    harmony,
    head,
    json_page,
    models,
    reply,
    text,
    usage,
)
from tests.support.weather import weather_call

HELLO = "Hello! Ask me about the weather."
JAPANESE = "こんにちは！😊 お元気ですか。"
Scripts = Mapping[str, Script]


def counted(prompt: int, fingerprint: str = FINGERPRINT) -> Script:
    """Return a reply of one token whose usage chunk tells the length of the prompt."""
    cut = chunk({}, "length", fingerprint)
    return [head(), text("<|channel|>", fingerprint), cut, usage(prompt, 1), DONE]


def mlx_lm(fingerprint: str = FINGERPRINT) -> dict[str, Script]:
    """Return the answers of a healthy mlx_lm.server."""

    def said(*tokens: str) -> Script:
        return reply(*tokens, fingerprint=fingerprint)

    return {
        "hello": said(*harmony("A greeting.", HELLO)),
        "low": counted(70, fingerprint),
        "long": counted(77, fingerprint),
        "second_turn": said(*harmony("In French.", "Bonjour !")),
        "call": said(*weather_call("Tokyo")),
        "result": said(*harmony("The tool knows.", "It is sunny.")),
        "json": said(*harmony("JSON.", '{"city": "Paris"}')),
        "japanese": said(*harmony("Japanese.", JAPANESE)),
        "stop": said(*harmony("A greeting.", HELLO)),
        "left": [*said(*harmony("A story.", "Once upon a time")), Hang()],
        "parting": counted(70, fingerprint),
    }


def patched_mlx_lm() -> dict[str, Script]:
    """Return the answers of a patched mlx-lm 0.26.3: it counts empty tokens, and sends all text."""
    old = "0.26.3-0.29.4-Linux"
    tokens = harmony("Japanese.", JAPANESE)
    whole = reply(*tokens, fingerprint=old, completion_tokens=len(tokens) + 30)
    return mlx_lm(old) | {"japanese": whole, "long": counted(70, old)}


def lossy_mlx_lm() -> dict[str, Script]:
    """Return the answers of mlx-lm 0.26.3: text after the first empty token is counted, but not sent."""
    lost = reply(
        *harmony("Japanese.", "こんにちは！"),
        fingerprint="0.26.3-0.29.4-Linux",
        completion_tokens=90,
    )
    return patched_mlx_lm() | {"japanese": lost}


def splitting(field: str, fingerprint: str) -> dict[str, Script]:
    """Return the answers of a server that sends thinking as `field` and calls as `tool_calls`."""

    def said(thinking: str, **delta: object) -> Script:
        thought = chunk({"content": "", field: thinking}, None, fingerprint)
        end = [chunk({}, "stop", fingerprint), usage(92, 31, fingerprint), DONE]
        return [head(), thought, chunk(delta, None, fingerprint), *end]

    function = {"name": "get_weather", "arguments": '{"city": "Tokyo"}'}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return {
        "hello": said("A greeting.", content=HELLO),
        "low": said("A greeting.", content="Hello"),
        "long": said("A greeting.", content="Hello"),
        "second_turn": said("In French.", content="Bonjour !"),
        "call": said("The weather.", tool_calls=[call]),
        "result": said("The tool knows.", content="It is sunny."),
        "json": said("JSON.", content='{"city": "Paris"}'),
        "japanese": said("Japanese.", content=JAPANESE),
        "stop": said("A greeting.", content=HELLO),
        "left": said("A story.", content="Once upon a time"),
        "parting": said("A greeting.", content="Hello"),
    }


def no_such_model(message: str) -> Script:
    """Return the error of Ollama and LM Studio for an unknown model name."""
    return json_page({"error": {"message": message, "code": "model_not_found"}}, 404)


def play(server: ScriptedServer, scripts: Scripts, *ids: str) -> ScriptedServer:
    """Let a server answer with the scripts, and list the model ids."""
    return server.models(models(*(ids or ("a/gpt-oss-20b",)))).chat(*scripts.values())
