"""Every fault that the scripted server plays: what it sends, and what is told of it.

`tests/core/test_faults.py`, `tests/pipe/test_faults.py` and `tests/dify/test_faults.py` play all of them.
`tools/fault_table.py` writes the table of docs/reliability.md, and `python -m tests.server NAME` plays one by
hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harmony_core.problems import PROBLEMS
from tests.server.replies import (
    DONE,
    Drip,
    Hang,
    Pause,
    Reset,
    Script,
    chunk,
    continue_drip,
    dripping_chunk_size,
    dripping_head,
    dripping_page,
    endless_json,
    harmony,
    head,
    json_page,
    keepalive,
    page,
    reply,
    sse,
    text,
)


@dataclass(frozen=True)
class Fault:
    """What goes to POST /v1/chat/completions, and what comes of it.

    `kind` is that of harmony_core/problems.py; "" for a reply that is whole all the same. `kept` is the
    answer that the reader has. Open WebUI's HTTP client counts no bytes of headers, so a flood of them is
    a silence there: `kind_in_pipe`.
    """

    script: Script
    kind: str = ""
    kept: str = ""
    waits: bool = False  # only a limit in time ends it
    kind_in_pipe: str = ""


def said(*words: str) -> list[bytes]:
    """The beginning of an answer."""
    return [head(), *(text(word) for word in ("<|channel|>final<|message|>", *words))]


THOUGHT: Final = "<|channel|>analysis<|message|>Hm"
LONG_LINE: Final = b"data: " + b"x" * 65_536

FAULTS: Final[dict[str, Fault]] = {
    "closed before the headers": Fault([], "empty_reply"),
    "reset before the headers": Fault([Reset()], "empty_reply"),
    "half a status line": Fault([b"HTTP/1.0 2"], "empty_reply"),
    "another protocol": Fault([b"220 smtp ready\r\n"], "empty_reply"),
    "silence instead of headers": Fault([Hang()], "silent", waits=True),
    "headers that trickle": Fault(dripping_head(), "silent", waits=True),
    "100 Continue now and then": Fault(continue_drip(), "silent", waits=True),
    "a flood of 100 Continue": Fault(
        continue_drip(seconds=0), "not_a_reply", kind_in_pipe="silent"
    ),
    "closed after the headers": Fault([head()], "dead_server"),
    "reset after the headers": Fault([head(), Pause(0.2), Reset()], "dead_server"),
    "silence after the headers": Fault([head(), Hang()], "silent", waits=True),
    "chunks whose size trickles": Fault(dripping_chunk_size(), "silent", waits=True),
    "broken gzip": Fault(
        [head(Content_Encoding="gzip"), b"no gzip at all"], "dead_server"
    ),
    "closed in mid-stream": Fault(said("Half"), "interrupted", "Half"),
    "reset in mid-stream": Fault(
        [*said("Half"), Pause(0.2), Reset()], "interrupted", "Half"
    ),
    "less than promised": Fault(
        [head(Content_Length="9999"), text("Half")], "interrupted", "Half"
    ),
    "silence in mid-stream": Fault([*said("Half"), Hang()], "stalled", "Half", waits=True),
    "an error in mid-stream": Fault(
        [*said("Half"), sse({"error": {"message": "boom"}}), DONE], "error_frame", "Half"
    ),
    "no memory in mid-stream": Fault(
        [*said("Half"), sse({"error": {"message": "out of memory"}})], "out_of_memory", "Half"
    ),
    "a line without end": Fault([*said("Half"), *[LONG_LINE] * 257], "error_frame", "Half"),
    "a finish reason, then silence": Fault(
        [*said("Whole"), chunk({}, "stop"), Hang()], "", "Whole", waits=True
    ),
    "a finish reason, then a reset": Fault(
        [*said("Whole"), chunk({}, "stop"), Pause(0.2), Reset()], "", "Whole"
    ),
    "a flood of keepalives": Fault(
        [head(), keepalive(1, 2) * 20_000, *reply(*harmony("Hm", "Whole"))[1:]], "", "Whole"
    ),
    "records that are no chunks": Fault(
        [*said(), b"data: null\n\ndata: 1\n\ndata: {}\n\n", text("Whole"), chunk({}, "stop"), DONE],
        "",
        "Whole",
    ),
    "a web page": Fault(page(200, "<html>Router", "text/html"), "web_page"),
    "a redirect": Fault(page(301, "", Location="https://elsewhere.example/"), "redirect"),
    "a wrong path": Fault(page(404, "Not Found"), "wrong_path"),
    "a key that is refused": Fault(page(401, "who are you"), "unauthorized"),
    "too many requests": Fault(page(429, "later"), "rate_limited"),
    "a request that is refused": Fault(
        json_page({"error": "max_tokens must be of type int"}, 400), "bad_request"
    ),
    "an error that trickles": Fault(
        dripping_page(400, '{"error": "max_tokens is odd"'), "bad_request", waits=True
    ),
    "a prompt that is too long": Fault(
        json_page({"error": "context length exceeded: too many tokens"}, 400), "context_overflow"
    ),
    "a template that refuses": Fault(
        json_page({"error": "Message has tool role, but ..."}, 404), "template_refused"
    ),
    "an error of the server": Fault(page(500, "Traceback"), "server_error"),
    "a gateway without a server": Fault(page(502, "<html>502", "text/html"), "bad_gateway"),
    "a completion without end": Fault(endless_json(), "interrupted"),
    "an old mlx-lm that loses tokens": Fault(
        reply("In", " Tokyo", completion_tokens=40, fingerprint="0.26.3-0.28-Linux"),
        "lossy_server",
        "In Tokyo",
    ),
    "only thinking": Fault(reply(THOUGHT), "only_reasoning"),
    "thinking cut off": Fault(reply(THOUGHT, finish_reason="length"), "cut_in_reasoning"),
    "nothing at all": Fault(reply(), "empty"),
    "an answer without end, left by its reader": Fault(
        [*said(), Drip(text("on "), 0.01)], "", "on "
    ),
}  # fmt: skip

LEFT: Final = "an answer without end, left by its reader"


def kinds_in(message: str, in_host: Callable[[str], str] = str) -> set[str]:
    """The kinds of problems whose sentences a message holds, whatever their blanks are filled with.

    `in_host` puts a sentence into the words of the host's form.
    """
    return {
        name.partition("/")[0]
        for name, row in PROBLEMS.items()
        if re.search(_pattern_of(in_host(row.en)), message, re.DOTALL)
    }


def _pattern_of(sentences: str) -> str:
    return ".*?".join(map(re.escape, re.split(r"\{\w+\}", sentences)))
