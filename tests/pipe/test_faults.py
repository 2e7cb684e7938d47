"""A chat in Open WebUI with each fault of a server."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from openwebui_pipe import pipe
from tests.pipe.fake_host import Host, error_of, joined
from tests.server import ScriptedServer, models
from tests.server.faults import (
    FAULTS,
    LEFT,
    LIST_FAULTS,
    TLS_FAULTS,
    kinds_in,
    playing,
    tells,
)


async def chunks_of(host: Host, leaves: bool) -> list[dict[str, Any]]:
    host.function.valves = host.function.Valves(**host.valves)
    chunks: list[dict[str, Any]] = []
    stream = await host.start({"messages": [{"role": "user", "content": "Hi"}]})
    async with aclosing(stream):
        async for piece in stream:
            chunks.append(piece)
            if leaves and joined(chunks):
                break
    return chunks


@pytest.mark.parametrize("name", FAULTS)
def test_a_chat_shows_each_fault_and_keeps_the_answer_before_it(
    server: ScriptedServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    server.chat(fault.script)
    valves: dict[str, object] = {"BASE_URL": server.base_url}
    if fault.waits or fault.kind_in_pipe:
        valves |= {"FIRST_BYTE_TIMEOUT": 1, "IDLE_TIMEOUT": 1}
        monkeypatch.setattr("openwebui_pipe.transport.LIST_TIMEOUT", 0.5)
    chunks = asyncio.run(chunks_of(Host(pipe, **valves), name == LEFT))
    failed = any("error" in chunk for chunk in chunks)
    kinds = kinds_in(error_of(chunks)) if failed else {""}
    assert joined(chunks) == fault.kept
    assert (fault.kind_in_pipe or fault.kind) in kinds
    if name == LEFT:
        assert server.requests[0].was_closed_by_client()


@pytest.mark.parametrize("name", LIST_FAULTS)
def test_the_known_models_stay_when_the_list_is_faulty(
    server: ScriptedServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.models(models("mlx-community/gpt-oss-20b"), LIST_FAULTS[name].script)
    host = Host(pipe, BASE_URL=server.base_url)
    before = asyncio.run(host.models())
    monkeypatch.setattr("openwebui_pipe.transport.LIST_TIMEOUT", 0.5)
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)
    assert asyncio.run(host.models()) == before
    assert len(server.wait_for_requests(2)) >= 2  # aiohttp tries again


@pytest.mark.parametrize("name", TLS_FAULTS)
def test_a_chat_shows_each_fault_of_https(tmp_path: Path, name: str) -> None:
    fault = TLS_FAULTS[name]
    with playing(name, tmp_path) as server:
        host = Host(pipe, BASE_URL=server.base_url)
        chunks = asyncio.run(chunks_of(host, leaves=False))
    assert tells(fault.kind_in_pipe or fault.kind, error_of(chunks))
