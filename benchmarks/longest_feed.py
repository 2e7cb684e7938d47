"""`python -m benchmarks.longest_feed`: finds the longest single call over hostile pieces of 64 KiB.

No call may block an event loop longer than LIMIT. CPU seconds are counted, because a busy machine changes
them less. A call over the limit is tried again. `--search 60` plays random words for 60 seconds as well.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Final

from harmony_core.chat import ChatStream
from harmony_core.markers import CONTROL_TOKENS
from harmony_core.parser import HarmonyParser
from tests.server.replies import chunk

SIZE: Final = 65_536
LIMIT: Final = 0.020  # seconds
TRIES: Final = 10
SHOWN: Final = 20
CALL: Final = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
THINKING: Final = "<|channel|>analysis<|message|>"

TEXTS: Final = {
    "one letter": "a",
    "less-than signs": "<",
    "half markers": "<|channel|",
    "markers": "<|channel|>",
    "starts": "<|start|>assistant",
    "messages": f"{THINKING}a<|end|><|start|>assistant",
    "messages without text": THINKING,
    "terminators": "<|end|>",
    "reserved": "<|reserved_1|>",
    "headers without end": "<|channel|>commentary to=",
    "recipients": " to=functions.f",
    "stripped separators": "assistantanalysis",
    "separators to a call": "assistantcommentary to=functions.f ",
    "blanks": " ",
    "fillers": "assistant ",
    "recipients between messages": " to=functions.f<|start|>",
    "recipients behind a lost marker": "analysisfunctions.f to=functions.f",
    "calls that open a brace": "<|return|><|channel|>to=/*{ ",
    "calls behind a terminator": "//<|end|><|start|>to=/*a",
    "headers that hold a brace": "<|start|>{",
    "calls": f"{CALL}{{}}<|call|><|start|>assistant",
    "braces": "{",
    "keys and words": "{a:",
    "keys and numbers": '"a":1,',
    "quotes": '"',
    "backslashes": "\\",
    "escaped quotes": '\\"',
    "Python": "'a':None,",
    "comments": "/*",
    "lines of comment": "#\n",
    "objects": '{"a":1} ',
    "objects that are alike but broken": '{"a":1,} ',
    "brackets of prose": "[a] ",
    "fences": "```json ",
    "halves of characters": '"\\ud800"',
    "headers in a string": '"<|start|>assistant<|channel|>commentary to=functions.f ',
}
LEADS: Final = {
    "": "",
    "in thinking": THINKING,
    "in a call": CALL + "{",
    "in a list": CALL + '{"a":[',
    "in a broken call": CALL + "{a:",
    "behind prose in a call": CALL + "Here it is: ",
}
WORDS: Final = (
    *CONTROL_TOKENS,
    *("analysis", "commentary", "final", "assistant", "user", "tool", "functions.", "json", "code", "to="),
    *("to=f", " to=functions.f", "f", "assistantanalysis", "commentaryanalysis", "assistantcommentary"),
    *("assistantfinal", "analysisfunctions.f", " ", "\n", "a", "We think. ", ":", "<", "<|", "\ufffd", "é"),
    *("{", "}", '{"a":1}', "{a:1}", '"', "'", "\\", "[", "]", ",", "1", "None", "/*", "#", "```"),
)  # fmt: skip
LONGEST_UNIT: Final = 6  # words
KEEPALIVE: Final = b": keepalive 1/2\n\n"
BODIES: Final = {
    "line feeds": b"\n",
    "carriage returns": b"\r",
    "comments": b":\n",
    "keepalives": b": keepalive 1/2\n\n",
    "lines of data": b"data: a\n",
    "short records": b"data:{}\n\n",
    "empty records": b"data\n\n",
    "bare objects": b"{}\n\n",
    "bare brackets": b"{\n\n",
    "bare words of JSON": b'data:"\n\n',
    "objects that are not JSON": b"{:aaaaaaaaa}\n\n",
    "comments with words": b":a\n",
    "comments with blank lines": b":a\n\n",
    "records in a record": b"data: {\ndata: \n\n",
    "words": b"data: a\n\n",
    "nested JSON": b"data: " + b"[" * 900 + b"\n\n",
    "records": chunk({"content": "a"}),
    "records that differ": chunk({"content": "a"}) + chunk({"reasoning": "a"}),
    "calls": chunk(
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}
    ),
    "many calls": chunk(
        {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}] * 50}
    ),
    "a completion": b'{"choices": [',
}


def fill(unit: str) -> str:
    return (unit * (SIZE // len(unit) + 1))[:SIZE]


def parser_rows() -> Iterator[tuple[str, Callable[[], float]]]:
    for name, unit in TEXTS.items():
        for where, lead in LEADS.items():
            yield (
                f"parser: {name} {where}",
                partial(parse, lead, fill(unit)),
            )


def random_rows(seconds: float, seed: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """Pieces that repeat a few random words, behind a random lead, as many as can be played in this time."""
    chance, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        unit = "".join(chance.choices(WORDS, k=chance.randint(1, LONGEST_UNIT)))
        where, lead = chance.choice(list(LEADS.items()))
        yield f"parser: {unit!r} {where}", partial(parse, lead, fill(unit))


def chat_rows() -> Iterator[tuple[str, Callable[[], float]]]:
    for name, unit in BODIES.items():
        body = (unit * (SIZE // len(unit) + 1))[:SIZE]
        yield f"chat: {name}", partial(read, body)
        yield f"chat: {name} in a stream", partial(read, body, KEEPALIVE)
    for name, text in TEXTS.items():
        record = chunk({"content": fill(text)[: SIZE // 2]})
        yield f"chat: {name} in a record", partial(read, record)


def parse(lead: str, text: str) -> float:
    """Return the seconds of the longer call: the feed of the whole piece, or the close of the reply."""
    parser = HarmonyParser(["f"])
    parser.feed(lead)
    return max(timed(parser.feed, text), timed(parser.close))


def read(body: bytes, lead: bytes = b"") -> float:
    stream = ChatStream(["f"])
    stream.feed(lead)
    return max(timed(stream.feed, body), timed(stream.close))


def best_of(play: Callable[[], float]) -> float:
    """Return the seconds of one try, or of the best of TRIES if it is over the limit."""
    seconds = play()
    for _ in range(TRIES - 1):
        seconds = min(seconds, play()) if LIMIT < seconds < 10 * LIMIT else seconds
    return seconds


def empty_loop() -> None:
    """Tell how fast the machine is at this moment."""
    for _ in range(1_000_000):
        pass


def timed(call: Callable[..., object], *given: object) -> float:
    start = time.process_time()
    call(*given)
    return time.process_time() - start


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="longest_feed", description=__doc__)
    parser.add_argument("--search", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    searched = random_rows(chosen.search, chosen.seed)
    rows = chain(parser_rows(), chat_rows(), searched)
    longest = sorted(((best_of(play), name) for name, play in rows), reverse=True)
    for seconds, name in longest[:SHOWN]:
        print(f"{seconds * 1000:8.2f} ms  {name}")
    print(f"{len(longest)} kinds of pieces")
    loop = best_of(partial(timed, empty_loop))
    print(f"A million rounds of an empty loop take {loop * 1000:.0f} ms.")
    if over := sum(seconds > LIMIT for seconds, _ in longest):
        sys.exit(f"{over} take longer than {LIMIT * 1000:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
