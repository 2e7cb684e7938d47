"""`make soak MINUTES=30`: sends mixed chats through a real plugin process and the pasted pipe.

Each round ends the plugin in the middle of its chats and starts it again. Each worker changes its server
after some chats. Prints what was played. Exits with 1 if a reader saw anything else than the server sent.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from openwebui_pipe.bundle import TARGET
from tests.dify.plugin_process import ServerlessPlugin
from tests.pipe.fake_host import load_as_in_0_12_4
from tests.server import ScriptedServer
from tests.soak.chats import Chat, Seen, any_chat
from tests.soak.readers import read_in_dify, read_in_open_webui

ROOT = Path(__file__).parents[2]
WORKERS = 3  # chats side by side in each host
ROUND = 45  # seconds that one plugin process lives
CHATS_OF_A_SERVER = 40


class Record:
    """What was played, and what was wrong; shared by all workers."""

    def __init__(self) -> None:
        self.played: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []
        self.restarts = 0
        self.memory: list[int] = []  # KiB of the plugin at the end of each round

    def take(self, host: str, chat: Chat, seen: Seen, cut: bool = False) -> None:
        """Note one chat. With `cut` the host was stopped meanwhile, and a part of the reply is enough."""
        self.played[host, "cut by a restart" if cut else chat.kind] += 1
        may_be_part = cut or chat.leaves
        right = (
            seen.is_part_of(chat.expected)
            if may_be_part
            else seen.checksum == chat.expected.checksum
        )
        if not right:
            self.wrong.append(f"{host}, {chat.kind}: {seen} instead of {chat.expected}")

    def note_closed(self, host: str, chat: Chat, server: ScriptedServer) -> None:
        """Check that the server saw the reader leave."""
        if chat.leaves and not server.requests[-1].was_closed_by_client():
            self.wrong.append(f"{host}, {chat.kind}: the server generates on")


def play_in_dify(record: Record, seed: int, end: float) -> None:
    """Play rounds; each has its own plugin process and several workers."""
    while time.monotonic() < end:
        seed += WORKERS
        ending = threading.Event()
        with ServerlessPlugin(ROOT) as plugin:
            workers = [
                threading.Thread(
                    target=_dify_worker, args=(record, plugin, seed + n, ending)
                )
                for n in range(WORKERS)
            ]
            for worker in workers:
                worker.start()
            time.sleep(max(0.0, min(ROUND, end - time.monotonic())))
            record.memory.append(_memory_of(plugin.process.pid))
            ending.set()
        for worker in workers:
            worker.join()
        record.restarts += 1


def _dify_worker(
    record: Record, plugin: ServerlessPlugin, seed: int, ending: threading.Event
) -> None:
    source = random.Random(seed)
    while not ending.is_set():
        with ScriptedServer() as server:
            for _ in range(CHATS_OF_A_SERVER):
                chat = any_chat(source)
                server.chat(chat.script)
                try:
                    seen = read_in_dify(plugin, server, chat)
                except requests.RequestException as error:
                    if ending.is_set():
                        record.take("Dify", chat, Seen(), cut=True)
                        return
                    record.wrong.append(f"Dify, {chat.kind}: {error!r}")
                    continue
                record.take("Dify", chat, seen, cut=ending.is_set())
                if ending.is_set():
                    return


async def play_in_open_webui(record: Record, seed: int, end: float) -> None:
    """Play several chats at the same time in one event loop; paste the pipe again now and then."""
    await asyncio.gather(*(_pipe_worker(record, seed + n, end) for n in range(WORKERS)))


async def _pipe_worker(record: Record, seed: int, end: float) -> None:
    source = random.Random(seed)
    while time.monotonic() < end:
        module = load_as_in_0_12_4(TARGET.read_text("utf-8"), f"soak_{seed}")
        with ScriptedServer() as server:
            for _ in range(CHATS_OF_A_SERVER):
                chat = any_chat(source)
                server.chat(chat.script)
                record.take(
                    "Open WebUI", chat, await read_in_open_webui(module, server, chat)
                )
                await asyncio.to_thread(record.note_closed, "Open WebUI", chat, server)
                if time.monotonic() > end:
                    return


def _memory_of(process: int) -> int:
    """The resident memory of a process in KiB; 0 where there is no /proc."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def _in_thread(
    play: Callable[..., Any], record: Record, *given: object
) -> threading.Thread:
    def run() -> None:
        try:
            play(record, *given)
        except BaseException as error:
            record.wrong.append(f"{play.__name__} ended: {error!r}")
            raise

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    record, end = Record(), time.monotonic() + options.minutes * 60
    dify = _in_thread(play_in_dify, record, options.seed * 1_000_000, end)
    asyncio.run(play_in_open_webui(record, options.seed * 2_000_000, end))
    dify.join()
    for (host, kind), count in sorted(record.played.items()):
        print(f"{host:>10}: {count:>6,} {kind}")
    print(f"{record.played.total():,} chats, {record.restarts} plugin processes")
    print(
        f"memory of the plugin, MiB: {', '.join(str(kib >> 10) for kib in record.memory)}"
    )
    if record.wrong:
        sys.exit("\n".join([f"{len(record.wrong)} were wrong:", *record.wrong[:20]]))


if __name__ == "__main__":
    main()
