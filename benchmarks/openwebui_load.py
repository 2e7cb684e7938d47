"""Measures Open WebUI with many chats at once: our pipe beside the built-in OpenAI connection.

    python -m benchmarks.openwebui_load [--chats 50] [--tokens 300] [--rate 40] [--rounds 3]

It starts a real Open WebUI 0.12.4 and, in another process, a server that sends mlx_lm.server's chunks to
every chat at a steady rate. The chats read their streams to the end, while `/health` is asked twenty times a
second. Idle, built-in and pipe take turns in each round, so that a busy machine slows all of them. CPU time
is that of the Open WebUI process alone. The cost of its answers to `/health` is measured while idle, and
subtracted.

A percentile is taken of each round, and the median of the rounds is reported. A full garbage collection of
the host stops it for a third of a second, about once in a hundred seconds. It hits whichever load runs then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks.longest_feed import empty_loop, timed
from openwebui_pipe.bundle import TARGET
from tests.pipe.openwebui import OpenWebUi
from tests.server import DONE, chunk, harmony, head, models, text, usage
from tests.support.ports import free_port

PIPE, BUILT_IN = "mlx_harmony.default_model", "built-in-model"
POLL = 0.05  # seconds between two questions to /health
ARRIVAL = 2.0  # seconds within which the chats begin
PERCENTILES = (0.5, 0.99)


@dataclass
class Round:
    """The measurements of one round. Times are in seconds."""

    health: list[float] = field(default_factory=list)
    first_text: list[float] = field(default_factory=list)
    cpu: float = 0  # answers to /health included
    tokens: int = 0
    loop: float = 0  # for a million rounds of an empty loop


@dataclass
class Load:
    """The rounds of one kind of load."""

    rounds: list[Round] = field(default_factory=list)

    def health(self, part: float) -> float:
        """Return a percentile of the times to answer /health, in milliseconds."""
        return median(percentile(one.health, part) for one in self.rounds)

    def first_text(self, part: float) -> float:
        """Return a percentile of the times until a reader sees text, in milliseconds."""
        return median(percentile(one.first_text, part) for one in self.rounds)

    def cpu_per_token(self, idle: Load) -> float:
        """Return the microseconds for a token; the cost of /health is known from the idle host."""
        questions = sum(len(one.health) for one in idle.rounds)
        question = sum(one.cpu for one in idle.rounds) / questions
        return median(
            1e6 * (one.cpu - question * len(one.health)) / one.tokens
            for one in self.rounds
        )


async def serve(port: int, tokens: int, rate: float) -> None:
    """Answer every chat with `tokens` tokens at `rate` tokens per second."""
    words = " ".join(["word"] * (tokens - 20))
    chunks = [text(token) for token in harmony("I think for a moment about it.", words)]
    end = chunk({}, "stop") + usage(68, len(chunks)) + DONE
    listing = b"".join(step for step in models(BUILT_IN) if isinstance(step, bytes))

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET"):
            writer.write(listing)
        else:
            writer.write(head())
            started = time.monotonic()
            for number, piece in enumerate(chunks):
                await asyncio.sleep(started + number / rate - time.monotonic())
                writer.write(piece)
                await writer.drain()
            writer.write(end)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


async def chat(
    session: aiohttp.ClientSession, url: str, model: str, delay: float, record: Round
) -> None:
    """Run one chat after `delay` seconds, and read its stream to the end."""
    await asyncio.sleep(delay)
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    started = time.perf_counter()
    async with session.post(f"{url}/api/chat/completions", json=body) as response:
        response.raise_for_status()
        waiting = True
        async for line in response.content:
            if waiting and has_text(line):
                record.first_text.append(time.perf_counter() - started)
                waiting = False


def has_text(line: bytes) -> bool:
    """Whether a line of the stream has text for a reader; the tokens of a header do not count."""
    if not line.startswith(b"data: {"):
        return False
    choices = json.loads(line[6:]).get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    piece = delta.get("content") or delta.get("reasoning_content")
    return bool(piece) and piece not in ("<|channel|>", "analysis", "<|message|>")


async def poll(
    session: aiohttp.ClientSession, url: str, record: Round, over: asyncio.Event
) -> None:
    """Ask /health until the load is over."""
    while not over.is_set():
        started = time.perf_counter()
        async with session.get(f"{url}/health") as response:
            await response.read()
        record.health.append(time.perf_counter() - started)
        await asyncio.sleep(POLL)


async def measure(
    webui: OpenWebUi, model: str, chats: int, tokens: int, rate: float
) -> Round:
    """Measure one load, and poll /health meanwhile. Without a model the host stays idle as long."""
    record = Round(tokens=chats * tokens if model else 0, loop=timed(empty_loop))
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {webui.key}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        over = asyncio.Event()
        poller = asyncio.create_task(poll(session, webui.base_url, record, over))
        before = cpu_seconds(webui.pid)
        if model:
            delays = [ARRIVAL * number / chats for number in range(chats)]
            await asyncio.gather(
                *(
                    chat(session, webui.base_url, model, delay, record)
                    for delay in delays
                )
            )
        else:
            await asyncio.sleep(tokens / rate)
        record.cpu = cpu_seconds(webui.pid) - before
        over.set()
        await poller
    return record


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process in seconds; works on Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: list[float], part: float) -> float:
    """Return a percentile in milliseconds; `part` is between 0 and 1."""
    return 1000 * sorted(values)[min(len(values) - 1, int(part * len(values)))]


def table(loads: dict[str, Load]) -> str:
    """Return the figures as a Markdown table."""
    rows = [
        "| | /health p50 | p99 | first text p50 | p99 | CPU per token |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, load in loads.items():
        cells = [f"{load.health(part):.1f} ms" for part in PERCENTILES]
        if name == "idle":
            cells += ["", "", ""]
        else:
            cells += [f"{load.first_text(part):.0f} ms" for part in PERCENTILES]
            cells.append(f"{load.cpu_per_token(loads['idle']):.0f} µs")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def ratios(loads: dict[str, Load]) -> str:
    """Return the figures that have goals (README.md), as ratios."""
    idle, built_in, pipe = loads.values()
    found = {
        "CPU per token": pipe.cpu_per_token(idle) / built_in.cpu_per_token(idle),
        "/health p99": pipe.health(0.99) / built_in.health(0.99),
        "first text p50": pipe.first_text(0.5) / built_in.first_text(0.5),
        "first text p99": pipe.first_text(0.99) / built_in.first_text(0.99),
    }
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.items())


def run(chats: int, tokens: int, rate: float, rounds: int) -> dict[str, Load]:
    """Start the server and Open WebUI, and measure the loads in turn."""
    port = free_port()
    upstream = f"http://127.0.0.1:{port}"
    arguments = ["--serve", str(port), "--tokens", str(tokens), "--rate", str(rate)]
    server = subprocess.Popen([sys.executable, "-m", __spec__.name, *arguments])
    built_in = {
        "ENABLE_PERSISTENT_CONFIG": "True",  # as by default: it reads its connections there
        "ENABLE_OPENAI_API": "True",
        "OPENAI_API_BASE_URLS": f"{upstream}/v1",
        "OPENAI_API_KEYS": "none",
    }
    loads = {"idle": Load(), "built-in connection": Load(), "pipe": Load()}
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            OpenWebUi("0.12.4", Path(folder), **built_in) as webui,
        ):
            webui.install_function(
                "mlx_harmony",
                "MLX Harmony",
                TARGET.read_text("utf-8"),
                BASE_URL=upstream,
            )
            assert {PIPE, BUILT_IN} <= set(webui.models()), webui.models()
            for number in range(rounds + 1):
                for name, model in zip(loads, ("", BUILT_IN, PIPE), strict=True):
                    measured = asyncio.run(measure(webui, model, chats, tokens, rate))
                    if number:  # the first round warms up
                        loads[name].rounds.append(measured)
    finally:
        server.terminate()
    return loads


def main() -> None:
    """Measure and print, or serve in the subprocess."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chats", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument(
        "--rate", type=float, default=40.0, help="tokens per second and chat"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.tokens, options.rate))
        return
    loads = run(options.chats, options.tokens, options.rate, options.rounds)
    print(table(loads))
    print(f"\nThe pipe, × the built-in connection: {ratios(loads)}")
    loop = 1000 * median(one.loop for load in loads.values() for one in load.rounds)
    print(f"A million rounds of an empty loop took {loop:.0f} ms.")
    print(
        f"{options.chats} chats, {options.rate:g} tokens/s each, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
