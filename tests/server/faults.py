"""Every fault that the scripted server plays: what it sends, and what a host must report.

FAULTS concern a chat, LIST_FAULTS the list of models, and TLS_FAULTS https.
`tests/core/test_faults.py`, `tests/pipe/test_faults.py` and `tests/dify/test_faults.py` play all of them.
`tools/fault_table.py` writes the tables of docs/reliability.md, and `python -m tests.server NAME` plays one
by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harmony_core.problems import PROBLEMS
from harmony_core.server_check import LIST_MISSING
from tests.server.certificate import own_certificate
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
    models,
    page,
    reply,
    sse,
    text,
)
from tests.server.scripted import ScriptedServer

CHECK_IS_OVER: Final = "silent/check"


@dataclass(frozen=True)
class Fault:
    """The script that answers one request, and the result that a host must give.

    `kind` is a row of harmony_core/problems.py, or "" if the reply is complete. `kept` is the part of the
    answer that the reader keeps. `kind_in_pipe` is set where Open WebUI reports another problem, because its
    HTTP client does not count the bytes of headers. `tls` says what answers https: the server as always, the
    script, or a server whose certificate nobody trusts.
    """

    script: Script
    kind: str = ""
    kept: str = ""
    waits: bool = False  # only a limit in time ends it
    kind_in_pipe: str = ""
    tls: Literal["as always", "by the script", "own certificate"] = "as always"

    @property
    def kind_in_form(self) -> str:
        """The problem that Dify's form reports; "" if a model can be used without the list."""
        if self.waits:  # the whole check has a time limit
            return CHECK_IS_OVER
        return "" if self.kind in (*LIST_MISSING, "cut_list") else self.kind


def said(*words: str) -> list[bytes]:
    """Return the beginning of a stream, with these words of an answer."""
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
    "a line without end": Fault([*said("Half"), *[LONG_LINE] * 257], "endless_reply", "Half"),
    "a finish reason, then silence": Fault(
        [*said("Whole"), chunk({}, "stop"), Hang()], "", "Whole", waits=True
    ),
    "a finish reason, then a reset": Fault(
        [*said("Whole"), chunk({}, "stop"), Pause(0.2), Reset()], "", "Whole"
    ),
    "a flood of keepalives": Fault(
        [head(), keepalive(1, 2) * 20_000, *reply(*harmony("Hm", "Whole"))[1:]], "", "Whole"
    ),
    "records that are not chunks": Fault(
        [*said(), b"data: null\n\ndata: 1\n\ndata: {}\n\n", text("Whole"), chunk({}, "stop"), DONE],
        "",
        "Whole",
    ),
    "records that are not chunks, without end": Fault(
        [*said("Half"), b"data: {}\n\n" * 2000, Hang()], "not_a_reply", "Half"
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
    "a completion without end": Fault(endless_json(), "endless_reply"),
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

JSON_HEAD: Final = head(200, "application/json")
LIST_FAULTS: Final[dict[str, Fault]] = {
    "no list: closed before the headers": Fault([], "empty_reply"),
    "no list: closed after the headers": Fault([JSON_HEAD], "dead_server"),
    "no list: reset": Fault([Reset()], "empty_reply"),
    "no list: silence": Fault([Hang()], "silent", waits=True),
    "no list: headers that trickle": Fault(dripping_head(), "silent", waits=True),
    "no list: 100 Continue now and then": Fault(continue_drip(), "silent", waits=True),
    "no list: a flood of 100 Continue": Fault(continue_drip(seconds=0), "not_a_reply"),
    "a list that trickles": Fault(
        dripping_page(200, '{"data": [{"id": "a"}]', "application/json"), "cut_list", waits=True
    ),
    "a list that is cut off": Fault([JSON_HEAD, b'{"data": [{"id": "a"}, {"i'], "cut_list"),
    "a list without end": Fault([JSON_HEAD, b'{"data": [', Drip(b" " * 65_536, 0)], "cut_list"),
    "an error that says nothing of models": Fault(json_page({"error": "boom"}), "not_a_reply"),
    "a web page instead of the list": Fault(page(200, "<html>Router", "text/html"), "web_page"),
    "a redirect of the list": Fault(
        page(302, "", Location="https://elsewhere.example/"), "redirect"
    ),
    "a list that needs a key": Fault(page(401, "who are you"), "unauthorized"),
    "a server without a list": Fault(page(404, "Not Found"), "wrong_path"),
    "an error instead of the list": Fault(page(500, "Traceback"), "server_error"),
    "a gateway without a server behind it": Fault(page(502, "<html>502"), "bad_gateway"),
}  # fmt: skip

HELLO_WITHOUT_END: Final = [b"\x16\x03\x03\x40\x00", Drip(b"\x00")]
TLS_FAULTS: Final[dict[str, Fault]] = {
    "https to a server without it": Fault(page(400, "Bad"), "tls/http_only", tls="by the script"),
    "http to a server that speaks https": Fault([b"\x15\x03\x01\x00\x02\x02\x46"], "tls/https_only"),
    "a certificate that nobody trusts": Fault([], "tls/certificate", tls="own certificate"),
    "a handshake that is closed": Fault(
        [], "tls", kind_in_pipe="unreachable", tls="by the script"
    ),
    "a handshake that is refused": Fault(
        [b"\x15\x03\x03\x00\x02\x02\x28"], "tls", tls="by the script"
    ),
    "a handshake without an answer": Fault(
        [Hang()], "connect_timeout", waits=True, tls="by the script"
    ),
    "a handshake that trickles": Fault(
        HELLO_WITHOUT_END, "connect_timeout", waits=True, tls="by the script"
    ),
}  # fmt: skip


@contextmanager
def playing(name: str, folder: Path, port: int = 0) -> Iterator[ScriptedServer]:
    """Run a server that plays one fault and is healthy otherwise; `base_url` is the address to ask."""
    fault = {**FAULTS, **LIST_FAULTS, **TLS_FAULTS}[name]
    own = fault.tls == "own certificate"
    with ScriptedServer(port, own_certificate(folder)[1] if own else None) as server:
        server.models(models("mlx-community/gpt-oss-20b")).chat(
            reply(*harmony("Hm", "Hi"))
        )
        if fault.tls == "by the script":
            server.on(server.HANDSHAKE, fault.script)
            server.base_url = server.base_url.replace("http:", "https:")
        elif name in LIST_FAULTS:
            server.models(fault.script)
        else:
            server.chat(fault.script)
        yield server


LEFT: Final = "an answer without end, left by its reader"


def kinds_in(message: str, in_host: Callable[[str], str] = str) -> set[str]:
    """Return the kinds of problems whose sentences a message holds, whatever fills the blanks.

    `in_host` rewrites a sentence in the words of the host's form.
    """
    told = (row for row in PROBLEMS if tells(row, message, in_host))
    return {row.partition("/")[0] for row in told}


def tells(row: str, message: str, in_host: Callable[[str], str] = str) -> bool:
    """Whether a message holds the sentences of a row of the table."""
    fixed = re.split(r"\{\w+\}", in_host(PROBLEMS[row].en))
    return re.search(".*?".join(map(re.escape, fixed)), message, re.DOTALL) is not None
