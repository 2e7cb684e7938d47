"""What a chat in Open WebUI shows of every fault."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from openwebui_pipe import pipe
from tests.pipe.fake_host import Host, error_of, joined
from tests.server import ScriptedServer
from tests.server.faults import FAULTS, LEFT, kinds_in


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
def test_each_fault_is_told_in_the_chat_and_what_came_is_kept(
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
