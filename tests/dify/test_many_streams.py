"""One plugin process serves a whole Dify: its streams must not starve one another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.dify.plugin_process import ServerlessPlugin
from tests.server import Gate, ScriptedServer, harmony, reply, text
from tests.server.replies import Step

ROOT = Path(__file__).parents[2]
STREAMS = 100
QUESTION: list[dict[str, object]] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def plugin() -> Iterator[ServerlessPlugin]:
    with ServerlessPlugin(ROOT) as process:
        yield process


def texts(plugin: ServerlessPlugin, server: ScriptedServer) -> Iterator[str]:
    for message in plugin.chat({"base_url": server.base_url}, QUESTION):
        assert message["type"] != "error", message
        if message["type"] == "stream":
            yield message["data"]["delta"]["message"]["content"]  # type: ignore[index]


def test_a_hundred_streams_run_at_the_same_time(
    plugin: ServerlessPlugin, server: ScriptedServer
) -> None:
    """No reply goes on before every one of them has begun to arrive."""
    gate = Gate()
    all_began = threading.Barrier(STREAMS, action=gate.open)
    start, *rest = reply(*harmony("Hm", "Yes"))
    server.chat([start, text("<|channel|>analysis<|message|>Begun. "), gate, *rest])

    def follow(_: int) -> str:
        whole = ""
        for piece in texts(plugin, server):
            whole += piece
            if piece.startswith("Begun"):
                all_began.wait(timeout=60)
        return whole

    with ThreadPoolExecutor(STREAMS) as pool:
        shown = list(pool.map(follow, range(STREAMS)))
    assert len(server.requests) == STREAMS
    assert len(set(shown)) == 1
    assert shown[0].startswith("<think>\nBegun. ")
    assert shown[0].endswith("\n</think>\n\nYes")


class Flood(list[Step]):
    """An answer without end, as fast as the connection takes it, until the test says stop."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = threading.Event()

    def __iter__(self) -> Iterator[Step]:
        start, *rest = reply("<|channel|>", "final", "<|message|>")
        yield start
        yield from rest[:4]
        while not self.enough.is_set():
            yield text("word ") * 50
        yield from rest[4:]


def test_a_server_that_floods_one_stream_does_not_hold_up_another(
    plugin: ServerlessPlugin, server: ScriptedServer
) -> None:
    flood = Flood()
    server.chat(flood, reply(*harmony("Hm", "Yes")))
    flooded = texts(plugin, server)
    while next(flooded) != "word ":
        pass
    drain = threading.Thread(target=lambda: any(flood.enough.is_set() for _ in flooded))
    drain.start()
    assert "".join(texts(plugin, server)).endswith("Yes")
    assert drain.is_alive()
    flood.enough.set()
    drain.join(60)
    assert not drain.is_alive()
