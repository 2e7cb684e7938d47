"""What a Dify user sees: our chunks, as the plugin process sends them, through Dify's own LLM node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dify.environments import environment
from tests.dify.plugin_process import ServerlessPlugin
from tests.server import Reset, Script, ScriptedServer, harmony, head, reply, text

ROOT = Path(__file__).parents[2]
THOUGHT, ANSWER = "Say </think> twice: hello", "Hello, 世界 🌍"
Node = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def plugin() -> Iterator[ServerlessPlugin]:
    with ServerlessPlugin(ROOT) as process:
        yield process


@pytest.fixture
def node(plugin: ServerlessPlugin, server: ScriptedServer) -> Node:
    """Runs Dify's LLM node over the plugin's reply to a script."""
    python = environment("graphon")
    asked: dict[str, object] = {"model_type": "llm", "model": "gpt-oss-20b"}
    schema = plugin.ask(
        "get_ai_model_schemas", credentials={"base_url": server.base_url}, **asked
    )

    def run(
        script: Script, reasoning_format: str, **parameters: Any
    ) -> dict[str, object]:
        server.chat(script)
        question: list[dict[str, object]] = [{"role": "user", "content": "Hello"}]
        messages = list(
            plugin.chat({"base_url": server.base_url}, question, **parameters)
        )
        errors = [
            message["data"]["message"]
            for message in messages
            if message["type"] == "error"
        ]  # type: ignore[index]
        task = {
            "model_schema": schema["data"]["model_schema"],  # type: ignore[index]
            "chunks": [
                message["data"] for message in messages if message["type"] == "stream"
            ],
            "error": "".join(errors),
            "reasoning_format": reasoning_format,
        }
        command = [str(python), str(Path(__file__).with_name("graphon_node.py"))]
        done = subprocess.run(
            command, input=json.dumps(task), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, object] = json.loads(done.stdout)
        return result

    return run


def test_separated_mode_yields_the_answer_and_the_thinking_apart(node: Node) -> None:
    shown = node(reply(*harmony(THOUGHT, ANSWER)), "separated")
    assert shown["status"] == "succeeded"
    assert shown["text"] == shown["streamed_text"] == ANSWER
    thinking = str(shown["reasoning"]).replace("\u200b", "")
    assert (
        thinking
        == str(shown["streamed_reasoning"]).replace("\u200b", "").strip()
        == THOUGHT
    )


def test_tagged_mode_yields_one_block_and_the_answer(node: Node) -> None:
    shown = node(reply(*harmony("Hm, hm", ANSWER)), "tagged")
    assert (
        shown["text"]
        == shown["streamed_text"]
        == f"<think>\nHm, hm\n</think>\n\n{ANSWER}"
    )
    assert shown["reasoning"] == ""


def test_hidden_thinking_yields_the_answer_alone_in_both_modes(node: Node) -> None:
    for mode in ("tagged", "separated"):
        shown = node(reply(*harmony(THOUGHT, ANSWER)), mode, thinking="hide")
        assert (shown["text"], shown["reasoning"]) == (ANSWER, "")


def test_a_json_reply_reaches_the_node_as_json_alone(node: Node) -> None:
    answer = 'Here is the JSON:\n```json\n{"n": 3, // three\n}\n```\nAnything else?'
    for mode in ("tagged", "separated"):
        script = reply(*harmony('Say {"n": 4}?', answer))
        shown = node(script, mode, response_format="json_object")
        assert json.loads(str(shown["text"])) == {"n": 3}
        assert shown["reasoning"] == ""


def test_the_node_gets_the_finish_reason_and_the_servers_count(node: Node) -> None:
    shown = node(reply(*harmony("Hm", "It is"), finish_reason="length"), "separated")
    assert (shown["finish_reason"], shown["prompt_tokens"]) == ("length", 68)


def test_a_stream_that_breaks_off_fails_the_node_with_our_sentence(node: Node) -> None:
    shown = node(
        [head(), *(text(token) for token in harmony("Hm", "It is")), Reset()],
        "separated",
    )
    assert shown["status"] == "failed"
    assert shown["streamed_text"] == "It is"
    assert "broke off" in str(shown["error"]) or "interrupted" in str(shown["error"])
