"""The client over real sockets, against a scripted server that fails as real ones do."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harmony_core.client import Client, ReplyStream, ServerError, Timeouts
from harmony_core.events import (
    AnswerDelta,
    Event,
    Finish,
    Progress,
    ReasoningDelta,
    Usage,
)
from harmony_core.limits import MAX_MODELS
from harmony_core.request import ChatRequest, Endpoint
from harmony_core.transport import Exchange
from tests.server import (
    DONE,
    Drip,
    Gate,
    Hang,
    Pause,
    Reset,
    Script,
    ScriptedServer,
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
from tests.server.certificate import own_certificate

# Longer than anything takes on a busy machine; a test that passes never waits so long.
PATIENT = Timeouts(connect=60, first_byte=120, idle=120, short_answer=120)
HURRIED = Timeouts(connect=10, first_byte=0.3, idle=0.3)
HELLO = ChatRequest([{"role": "user", "content": "Hi"}])
KEY = "sk-very-secret"


def client(
    server: ScriptedServer, timeouts: Timeouts = PATIENT, api_key: str = KEY
) -> Client:
    return Client(server.base_url, api_key, timeouts)


def failure(
    server: ScriptedServer, timeouts: Timeouts = PATIENT, request: ChatRequest = HELLO
) -> ServerError:
    with pytest.raises(ServerError) as caught:
        client(server, timeouts).complete(request)
    return caught.value


def open_final(*tokens: str) -> list[bytes]:
    """The beginning of a stream whose final channel is open."""
    return [
        head(),
        *(text(token) for token in ("<|channel|>", "final", "<|message|>", *tokens)),
    ]


# Replies


def test_a_reply_comes_whole_and_in_order(server: ScriptedServer) -> None:
    server.chat(reply(*harmony("The user greets me.", "Hello 世界 😀.")))
    with client(server).open(HELLO) as stream:
        events = list(stream)
    assert events[0] == Progress(67, 68)
    assert (
        "".join(e.text for e in events if isinstance(e, ReasoningDelta))
        == "The user greets me."
    )
    assert (
        "".join(e.text for e in events if isinstance(e, AnswerDelta))
        == "Hello 世界 😀."
    )
    assert isinstance(events[-2], Usage)
    assert events[-1] == Finish("stop")
    assert stream.reply.answer == "Hello 世界 😀."
    assert stream.problem is None


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_have_v1_and_a_slash(
    server: ScriptedServer, suffix: str
) -> None:
    server.chat(reply("Hello")).models(models("a"))
    there = Client(server.base_url + suffix, timeouts=PATIENT)
    assert there.complete(HELLO).answer == "Hello"
    assert there.models() == ("a",)


def test_the_key_goes_into_a_header_that_is_left_out_without_a_key(
    server: ScriptedServer,
) -> None:
    server.chat(reply("Hello"))
    client(server).complete(HELLO)
    client(server, api_key="").complete(HELLO)
    with_key, without_key = server.requests
    assert with_key.headers["authorization"] == f"Bearer {KEY}"
    assert with_key.headers["accept-encoding"] == "identity"
    assert "authorization" not in without_key.headers


def test_each_token_arrives_before_the_next_is_sent(server: ScriptedServer) -> None:
    gates = [Gate(), Gate(), Gate()]
    server.chat(
        [
            *open_final("One "),
            gates[0],
            text("two "),
            gates[1],
            keepalive(1, 2),
            gates[2],
            text("three"),
            chunk({}, "stop"),
            DONE,
        ]
    )
    seen: list[Event] = []
    with client(server).open(HELLO) as stream:
        for gate in gates:
            seen.append(next(stream))
            gate.open()
        seen += stream
    assert seen == [
        AnswerDelta("One "),
        AnswerDelta("two "),
        Progress(1, 2),
        AnswerDelta("three"),
        Finish("stop"),
    ]


def test_chunked_encoding_and_a_connection_that_stays_open_are_understood(
    server: ScriptedServer,
) -> None:
    def chunked(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    gate = Gate()
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    first, *others = (chunked(piece) for piece in reply("Hello", " you")[2:])
    server.chat([start + first, gate, *others, Hang()])
    with client(server).open(HELLO) as stream:
        assert next(stream) == AnswerDelta("Hello")
        gate.open()
        assert (
            stream.reply.answer
            + "".join(e.text for e in stream if isinstance(e, AnswerDelta))
            == "Hello you"
        )
    assert server.requests[0].was_closed_by_client()


def test_a_proxy_that_compresses_unasked_is_understood(
    server: ScriptedServer,
) -> None:
    body = b"".join(piece for piece in reply("Hello")[1:] if isinstance(piece, bytes))
    server.chat(
        [head(200, "text/event-stream", Content_Encoding="gzip") + gzip.compress(body)]
    )
    assert client(server).complete(HELLO).answer == "Hello"


def test_a_whole_json_reply_is_understood(server: ScriptedServer) -> None:
    message = {"role": "assistant", "content": "".join(harmony("hm", "Hello"))}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    server.chat(
        json_page({"id": "x", "object": "chat.completion", "choices": [choice]})
    )
    assert (
        client(server).complete(ChatRequest(HELLO.messages, stream=False)).answer
        == "Hello"
    )


@pytest.mark.parametrize(
    ("end", "kind"),
    [((), "interrupted"), ((Reset(),), "interrupted"), ((Hang(),), "stalled")],
)
def test_a_whole_json_reply_that_breaks_off_says_so(
    server: ScriptedServer, end: Script, kind: str
) -> None:
    server.chat([head(200, "application/json"), b'{"id": "x", "choices": [{"ind', *end])
    request = ChatRequest(HELLO.messages, stream=False)
    assert failure(server, HURRIED, request).problem.kind == kind


def test_the_tap_gets_every_byte(server: ScriptedServer) -> None:
    script = reply(*harmony("hm", "Hello"))
    server.chat(script)
    received: list[bytes] = []
    with client(server).open(HELLO, tap=received.append) as stream:
        list(stream)
    sent = b"".join(piece for piece in script[1:] if isinstance(piece, bytes))
    # The client may stop reading before the end mark, because the reply is complete.
    assert b"".join(received).removesuffix(DONE) == sent.removesuffix(DONE)


# Closing


def test_closing_the_stream_closes_the_socket(server: ScriptedServer) -> None:
    server.chat([*open_final("Hello"), Hang()])
    stream = client(server).open(HELLO)
    assert next(stream) == AnswerDelta("Hello")
    stream.close()
    assert server.requests[0].was_closed_by_client()
    assert list(stream) == []
    assert stream.reply.answer == "Hello"


def test_reading_after_the_close_gives_nothing(server: ScriptedServer) -> None:
    server.chat([*open_final("Hello"), Hang()])
    exchange = Exchange(Endpoint(server.base_url), PATIENT, use_proxies=False, model="")
    exchange.send("POST", Endpoint(server.base_url).chat_url, b"{}")
    exchange.close()
    assert exchange.read() == b""


def test_closing_a_generator_that_reads_the_stream_closes_the_socket(
    server: ScriptedServer,
) -> None:
    def texts(stream: ReplyStream) -> Iterator[str]:
        with stream:
            for event in stream:
                yield getattr(event, "text", "")

    server.chat([*open_final("Hello"), Hang()])
    generator = texts(client(server).open(HELLO))
    assert next(generator) == "Hello"
    generator.close()  # type: ignore[attr-defined]
    assert server.requests[0].was_closed_by_client()


def test_another_thread_can_close_a_stream_that_waits(server: ScriptedServer) -> None:
    server.chat([*open_final("Hello"), Hang()])
    stream = client(server).open(HELLO)
    next(stream)
    closer = threading.Timer(0.2, stream.close)
    closer.start()
    assert list(stream) == []
    closer.join()
    assert server.requests[0].was_closed_by_client()


def test_a_stop_word_closes_the_connection(
    server: ScriptedServer,
) -> None:
    server.chat([*open_final("One", " END", " two"), Hang()])
    answer = client(server).complete(ChatRequest(HELLO.messages, stop=["END"]))
    assert answer.answer.strip() == "One"
    assert server.requests[0].was_closed_by_client()


def test_greenlets_share_one_thread_while_a_stream_waits(
    server: ScriptedServer,
) -> None:
    pytest.importorskip("gevent")
    server.chat([*open_final("Hello"), Hang()])
    words = run_under_gevent("gevent_client.py", server.base_url)
    assert words == ["Hello", "others-run", "closed", "ended"]
    assert server.requests[0].was_closed_by_client()


def run_under_gevent(script: str, *arguments: str) -> list[str]:
    """The words that a script of this folder prints; its process is patched by gevent."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, root / "tests" / "core" / script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


# Silence


def test_a_silent_server_is_given_up(server: ScriptedServer) -> None:
    server.chat([Hang()])
    assert failure(server, HURRIED).problem.kind == "silent"
    assert server.requests[0].was_closed_by_client()


def test_headers_do_not_count_as_the_first_byte(server: ScriptedServer) -> None:
    server.chat([head(), Hang()])
    assert (
        failure(server, Timeouts(connect=10, first_byte=0.3, idle=60)).problem.kind
        == "silent"
    )


def test_the_idle_limit_does_not_hold_before_the_first_byte(
    server: ScriptedServer,
) -> None:
    body = b"".join(piece for piece in reply("Hello")[1:] if isinstance(piece, bytes))
    server.chat([head(), Pause(0.6), body])
    assert (
        client(server, Timeouts(connect=10, first_byte=60, idle=0.3))
        .complete(HELLO)
        .answer
        == "Hello"
    )


def test_a_silence_in_mid_stream_has_its_own_limit(server: ScriptedServer) -> None:
    server.chat([*open_final("Hello"), Hang()])
    stream = client(server, Timeouts(connect=10, first_byte=60, idle=0.3)).open(HELLO)
    assert next(stream) == AnswerDelta("Hello")
    assert next(stream) == Finish("interrupted", truncated=True)
    with pytest.raises(ServerError) as caught:
        next(stream)
    assert caught.value.problem.kind == "stalled"
    assert list(stream) == []


def test_keepalive_comments_restart_the_limits(server: ScriptedServer) -> None:
    waiting = [step for n in range(6) for step in (keepalive(n, 9), Pause(0.2))]
    body = b"".join(piece for piece in reply("Hello")[1:] if isinstance(piece, bytes))
    server.chat([head(), *waiting, body])
    shorter_than_all_pauses = Timeouts(connect=10, first_byte=1, idle=1)
    answer = client(server, shorter_than_all_pauses).complete(HELLO).answer
    assert answer == "Hello"


def test_a_flood_of_keepalives_takes_no_memory(server: ScriptedServer) -> None:
    flood = b"".join(keepalive(n, 20_000) for n in range(20_000))
    server.chat([head(), *[flood] * 5, text("Hello"), chunk({}, "stop"), DONE])
    with client(server).open(HELLO) as stream:
        next(stream)
        tracemalloc.start()
        try:
            assert sum(isinstance(event, Progress) for event in stream) == 99_999
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert stream.reply.answer == "Hello"
    assert kept < 1_000_000


# Servers that never stop sending. Without limits these tests would not end either.

SHORT = Timeouts(connect=60, first_byte=0.5, idle=0.5, short_answer=2)


@pytest.mark.parametrize("script", [dripping_head(), continue_drip()])
def test_all_headers_share_one_limit(server: ScriptedServer, script: Script) -> None:
    server.chat(script).models(script)
    assert failure(server, SHORT).problem.kind == "silent"
    with pytest.raises(ServerError) as caught:
        client(server, SHORT).models()
    assert caught.value.problem.kind == "silent"
    assert server.wait_for_requests()[0].was_closed_by_client()


def test_headers_share_one_limit_over_tls_too(tls_server: ScriptedServer) -> None:
    tls_server.chat(dripping_head())
    assert failure(tls_server, SHORT).problem.kind == "silent"


def test_a_flood_before_the_headers_is_given_up(server: ScriptedServer) -> None:
    server.chat(continue_drip(seconds=0))
    assert failure(server).problem.kind == "not_a_reply"
    assert server.wait_for_requests()[0].was_closed_by_client()


def test_the_words_of_a_trickling_error_are_told(server: ScriptedServer) -> None:
    server.chat(dripping_page(400, '{"error": "max_tokens is odd"'))
    error = failure(server, SHORT)
    assert "max_tokens is odd" in str(error)
    assert server.wait_for_requests()[0].was_closed_by_client()


def test_an_error_without_end_is_cut(server: ScriptedServer) -> None:
    server.chat([head(404, "text/plain"), b"generation thread died", Drip(b"x" * 9999)])
    assert failure(server).problem.kind == "dead_server"
    assert server.wait_for_requests()[0].was_closed_by_client()


def test_a_trickling_list_counts_as_cut(server: ScriptedServer) -> None:
    server.models(dripping_page(200, '{"data": [{"id": "a"}]', "application/json"))
    with pytest.raises(ServerError) as caught:
        client(server, SHORT).models()
    assert caught.value.problem.kind == "cut_list"
    assert server.wait_for_requests()[0].was_closed_by_client()


def test_a_trickling_chunk_size_counts_as_silence(server: ScriptedServer) -> None:
    server.chat(dripping_chunk_size())
    assert failure(server, SHORT).problem.kind == "silent"


def test_a_completion_without_end_is_given_up(server: ScriptedServer) -> None:
    server.chat(endless_json())
    request = ChatRequest(HELLO.messages, stream=False)
    assert failure(server, request=request).problem.kind == "endless_reply"
    assert server.wait_for_requests()[0].was_closed_by_client()


def test_all_addresses_of_a_name_share_one_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # they fill the queue, so further connections time out
            one.setblocking(False)
            one.connect_ex(address)
        many = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 9999
        look_up = socket.getaddrinfo

        def found(host: str, *rest: Any, **options: Any) -> object:
            return many if host == "mac.test" else look_up(host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", found)
        there = Client("http://mac.test", timeouts=Timeouts(connect=0.5))
        with pytest.raises(ServerError) as caught:
            there.models()
        for one in waiting:
            one.close()
    assert caught.value.problem.kind == "connect_timeout"


def test_a_name_that_is_looked_up_for_ever_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def search(*_: object, **__: object) -> list[object]:
        answered.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", search)
    there = Client("http://mac.test", timeouts=Timeouts(connect=0.3))
    with pytest.raises(ServerError) as caught:
        there.models()
    assert not answered.is_set()
    answered.set()
    assert caught.value.problem.kind == "connect_timeout"


def test_under_gevent_a_name_that_is_looked_up_for_ever_is_given_up() -> None:
    pytest.importorskip("gevent")
    assert run_under_gevent("gevent_lookup.py") == ["connect_timeout"]


SLOW_CHECKS: dict[str, tuple[Script, Script]] = {
    "headers trickle": (dripping_head(), dripping_head()),
    "100 Continue": (continue_drip(), continue_drip()),
    "the list trickles": (dripping_page(200, '{"data": ['), reply("Hello")),
    "the list is an error that trickles": (dripping_page(500, "oh"), reply("Hello")),
    "the reply is silent": (models("a"), [head(), Hang()]),
    "the reply keeps alive": (models("a"), [head(), Drip(keepalive(1, 9))]),
    "the reply is an error that trickles": (models("a"), dripping_page(404, "oh")),
    "the reply goes on and on": (models("a"), [head(), Drip(text("x"))]),
}


@pytest.mark.parametrize("name", SLOW_CHECKS)
def test_a_check_has_one_limit_for_all_that_it_does(
    server: ScriptedServer, name: str
) -> None:
    list_script, chat_script = SLOW_CHECKS[name]
    server.models(list_script).chat(chat_script)
    with pytest.raises(ServerError) as caught:
        client(server).check(within=0.7)
    assert caught.value.__context__ is None
    assert server.requests[-1].was_closed_by_client()


def test_a_check_that_ran_out_of_time_names_a_possible_cause(
    server: ScriptedServer,
) -> None:
    server.models(models("a")).chat([Hang()])
    with pytest.raises(ServerError) as caught:
        client(server).check(within=0.5)
    assert caught.value.problem.kind == "silent"
    assert "it may be loading a model" in str(caught.value)


# Failures

SCRIPTED_FAILURES: dict[str, tuple[Script, str]] = {
    "closed before the headers": ([], "empty_reply"),
    "reset before the headers": ([Reset()], "empty_reply"),
    "half a status line": ([b"HTTP/1.0 2"], "empty_reply"),
    "no HTTP": ([b"220 smtp ready\r\n"], "empty_reply"),
    "closed after the headers": ([head()], "dead_server"),
    "reset after the headers": ([head(), Pause(0.2), Reset()], "dead_server"),
    "closed in mid-stream": (open_final("Hello"), "interrupted"),
    "reset in mid-stream": ([*open_final("Hello"), Pause(0.2), Reset()], "interrupted"),
    "less than promised": (
        [head(200, "text/event-stream", Content_Length="9999"), text("Hello")],
        "interrupted",
    ),
    "error frame": (
        [*open_final("Hello"), sse({"error": {"message": "out of memory"}})],
        "out_of_memory",
    ),
    "web page": (page(200, "<html>hi", "text/html"), "web_page"),
    "broken gzip": (
        [head(200, "text/event-stream", Content_Encoding="gzip"), b"no gzip at all"],
        "dead_server",
    ),
    "0.26.3": (
        reply("In", " Tokyo", completion_tokens=40, fingerprint="0.26.3-0.28-Linux"),
        "lossy_server",
    ),
    "no key": (page(401, "who are you"), "unauthorized"),
    "busy": (page(429, "later"), "rate_limited"),
    "nginx": (page(502, "<html>502", "text/html"), "bad_gateway"),
    "bad type": (
        page(400, '{"error": "max_tokens must be of type int"}'),
        "bad_request",
    ),
}


@pytest.mark.parametrize("name", SCRIPTED_FAILURES)
def test_each_failure_is_named_without_cause_context_or_key(
    server: ScriptedServer, name: str
) -> None:
    script, kind = SCRIPTED_FAILURES[name]
    server.chat(script)
    error = failure(server)
    assert error.problem.kind == kind
    assert error.__cause__ is None
    assert error.__context__ is None
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://nosuch.invalid", "dns"),
        ("", "bad_url"),
        ("http://", "bad_url"),
        ("ftp://127.0.0.1", "bad_url"),
        ("http://127.0.0.1:99999", "bad_url"),
        ("http://[::1", "bad_url"),
    ],
)
def test_each_address_that_leads_nowhere_is_named(url: str, kind: str) -> None:
    with pytest.raises(ServerError) as caught:
        Client(url, KEY, PATIENT).open(HELLO)
    assert caught.value.problem.kind == kind
    assert caught.value.__context__ is None


def test_https_to_a_server_without_it_is_named(server: ScriptedServer) -> None:
    with pytest.raises(ServerError) as caught:
        Client(server.base_url.replace("http:", "https:"), timeouts=PATIENT).models()
    assert caught.value.problem.kind == "tls"
    assert "Write http://" in str(caught.value)


@pytest.fixture
def tls_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScriptedServer]:
    """A server that speaks https with a certificate that this test alone trusts."""
    certificate, context = own_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with ScriptedServer(tls=context) as running:
        yield running


def test_over_tls_a_stream_can_be_closed_while_it_waits(
    tls_server: ScriptedServer,
) -> None:
    tls_server.chat([*open_final("Hello"), Hang()])
    stream = client(tls_server).open(HELLO)
    assert next(stream) == AnswerDelta("Hello")
    closer = threading.Timer(0.2, stream.close)
    closer.start()
    assert list(stream) == []
    closer.join()
    assert tls_server.requests[0].was_closed_by_client()


def test_silence_after_a_finish_reason_is_the_end_of_a_whole_reply(
    server: ScriptedServer,
) -> None:
    server.chat([head(), text("Hi"), chunk({}, "stop"), Hang()])
    reply = client(server, HURRIED).complete(HELLO)
    assert (reply.answer, reply.finish_reason, reply.truncated) == ("Hi", "stop", False)


def test_two_replies_never_share_the_id_of_a_call(server: ScriptedServer) -> None:
    function = {"name": "f", "arguments": "{}"}
    call = chunk({"tool_calls": [{"index": 0, "id": "call_0", "function": function}]})
    server.chat([head(), call, DONE], [head(), call, DONE])
    request = ChatRequest([{"role": "user", "content": "Hi"}])
    replies = [client(server).complete(request) for _ in range(2)]
    first, second = (reply.tool_calls[0].id for reply in replies)
    assert first != second


def test_over_tls_the_idle_limit_holds_too(tls_server: ScriptedServer) -> None:
    tls_server.chat([*open_final("Hello"), Hang()])
    limits = Timeouts(connect=10, first_byte=60, idle=0.3)
    assert failure(tls_server, limits).problem.kind == "stalled"


def without_ca(patch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        patch.delenv(name, raising=False)


def test_an_unsigned_certificate_is_named(
    tls_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ca(monkeypatch)
    problem = failure(tls_server).problem
    assert problem.kind == "tls"
    assert "certificate" in problem.en


def test_either_variable_of_the_environment_names_the_certificates(
    tls_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = os.environ["REQUESTS_CA_BUNDLE"]
    tls_server.models(models("a"))
    assert client(tls_server).models() == ("a",)
    without_ca(monkeypatch)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    assert client(tls_server).models() == ("a",)


def test_a_setting_names_the_certificates_or_switches_the_check_off(
    tls_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = os.environ["REQUESTS_CA_BUNDLE"]
    without_ca(monkeypatch)
    tls_server.models(models("a"))
    url = tls_server.base_url
    assert Client(url, timeouts=PATIENT, ca_file=certificate).models() == ("a",)
    assert Client(url, timeouts=PATIENT, verify=False).models() == ("a",)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_an_unusable_ca_file_is_named(
    tls_server: ScriptedServer, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ServerError) as caught:
        Client(tls_server.base_url, timeouts=PATIENT, ca_file=str(path)).models()
    assert caught.value.problem.kind == "tls"
    assert "CA file" in str(caught.value)


def test_a_tls_alert_to_plain_http_is_named(server: ScriptedServer) -> None:
    server.models([b"\x15\x03\x01\x00\x02\x02\x46"])
    with pytest.raises(ServerError) as caught:
        client(server).models()
    assert "Write https://" in str(caught.value)


def test_a_key_that_does_not_fit_a_header_is_named(server: ScriptedServer) -> None:
    with pytest.raises(ServerError) as caught:
        client(server, api_key="「鍵」").models()
    assert caught.value.problem.kind == "bad_key"
    assert "鍵" not in str(caught.value)


def test_text_before_a_failure_is_delivered(server: ScriptedServer) -> None:
    server.chat([*open_final("Hello", " there"), Pause(0.2), Reset()])
    stream = client(server).open(HELLO)
    seen: list[Event] = []
    with pytest.raises(ServerError):
        seen += stream  # keeps the events from before the raise
    assert stream.reply.answer == "Hello there"
    assert stream.reply.finish_reason == "interrupted"


def test_a_break_after_the_end_of_a_reply_is_not_a_failure(
    server: ScriptedServer,
) -> None:
    server.chat([*open_final("Hello"), chunk({}, "stop"), Pause(0.2), Reset()])
    assert client(server).complete(HELLO).answer == "Hello"


def test_a_reply_without_an_answer_is_a_problem_but_not_an_error(
    server: ScriptedServer,
) -> None:
    server.chat(reply(*harmony("hm", "")[:4], finish_reason="length"))
    with client(server).open(ChatRequest(HELLO.messages, max_tokens=77)) as stream:
        list(stream)
    assert stream.problem is not None
    assert stream.problem.kind == "cut_in_reasoning"
    assert "77" in stream.problem.text()


def test_the_problem_names_the_budget_under_either_field_name(
    server: ScriptedServer,
) -> None:
    server.chat(
        reply("<|channel|>", "analysis", "<|message|>", "Hm", finish_reason="length")
    )
    asked = ChatRequest(HELLO.messages, extra={"max_completion_tokens": 55})
    with client(server).open(asked) as stream:
        list(stream)
    assert stream.problem is not None
    assert "55" in stream.problem.text()


@pytest.mark.parametrize(
    ("list_script", "model", "kind"),
    [
        (page(404, "Not Found"), "", "wrong_path"),
        (page(200, ""), "", "gpt_oss_unsupported"),
        (models("a/b"), "", "gpt_oss_unsupported"),
        (models("a/b"), "a/b", "gpt_oss_unsupported"),
        (models("a/b"), "default_model", "gpt_oss_unsupported"),
        (models("a/b"), "c/d", "unknown_model"),
    ],
)
def test_the_list_of_models_explains_a_bare_404(
    server: ScriptedServer, list_script: Script, model: str, kind: str
) -> None:
    server.chat(page(404, "Not Found")).models(list_script)
    assert (
        failure(server, request=ChatRequest(HELLO.messages, model=model)).problem.kind
        == kind
    )


# Secrets, redirects, proxies and interrupts


def test_a_password_of_the_address_goes_into_the_header_alone(
    server: ScriptedServer,
) -> None:
    server.chat(page(400, "odd: c2VjcmV0"))
    url = server.base_url.replace("//", "//me:s3cret@")
    with pytest.raises(ServerError) as caught:
        Client(url, timeouts=PATIENT).complete(HELLO)
    assert server.requests[0].headers["authorization"] == "Basic bWU6czNjcmV0"
    assert "s3cret" not in str(caught.value)


def test_a_redirect_is_reported_and_not_followed(server: ScriptedServer) -> None:
    with ScriptedServer() as elsewhere:
        server.chat(page(307, "", Location=f"{elsewhere.base_url}/v1/chat/completions"))
        error = failure(server)
        assert error.problem.kind == "redirect"
        assert elsewhere.base_url in str(error)
        assert elsewhere.requests == []


def test_proxies_of_the_environment_are_used_only_if_asked(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.models(models("a"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        assert client(server).models() == ("a",)
        assert proxy.requests == []
        with pytest.raises(ServerError):
            Client(server.base_url, timeouts=PATIENT, use_proxies=True).models()
        assert proxy.requests[0].path == f"{server.base_url}/v1/models"
        assert len(server.requests) == 1


def test_a_netrc_file_does_not_replace_the_key(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.models(models("a"))
    client(server).models()
    Client(server.base_url, KEY, PATIENT, use_proxies=True).models()
    assert [r.headers["authorization"] for r in server.requests] == [
        f"Bearer {KEY}"
    ] * 2


def test_an_interrupt_while_waiting_closes_the_connection(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.chat([Hang()])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.client.HTTPConnection.getresponse", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client(server).open(HELLO)
    assert server.wait_for_requests()[0].was_closed_by_client()


# Models and checks


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([head(200, "application/json")], "dead_server"),
        (page(200, "<html>"), "web_page"),
        (json_page({"error": "Unexpected endpoint"}), "not_a_reply"),
        (page(404, "Not Found"), "wrong_path"),
    ],
)
def test_an_answer_without_models_has_its_kind_of_problem(
    server: ScriptedServer, script: Script, kind: str
) -> None:
    server.models(script)
    with pytest.raises(ServerError) as caught:
        client(server).models()
    assert caught.value.problem.kind == kind


CUT_LISTS: dict[str, Script] = {
    "cut off": [head(200, "application/json"), b'{"object": "list", "data": [{"id'],
    "cut before its models": [
        head(200, "application/json", Content_Length="900"),
        b'{"obj',
    ],
    "too long to read": [
        head(200, "application/json"),
        b'{"data": [',
        Drip(b" " * 9999, 0),
    ],
    "too many": models(*map(str, range(MAX_MODELS + 1))),
}


@pytest.mark.parametrize("name", CUT_LISTS)
def test_an_incomplete_list_does_not_count_as_empty(
    server: ScriptedServer, name: str
) -> None:
    server.models(CUT_LISTS[name]).chat(reply("x", finish_reason="length"))
    with pytest.raises(ServerError) as caught:
        client(server).models()
    assert caught.value.problem.kind == "cut_list"
    assert client(server).check("some/model").models is None


def test_a_400_for_an_unknown_model_names_the_listed_models(
    server: ScriptedServer,
) -> None:
    refused = json_page({"error": 'Invalid model identifier "x"'}, 400)
    server.chat(refused).models(models("openai/gpt-oss-20b"))
    named = ChatRequest(HELLO.messages, model="x")
    assert "openai/gpt-oss-20b" in str(failure(server, request=named))


def test_a_check_tells_the_models_and_the_version_of_the_server(
    server: ScriptedServer,
) -> None:
    server.models(models("a/b", "c/d")).chat(
        reply("<|channel|>", finish_reason="length")
    )
    facts = client(server).check("c/d")
    assert facts.models == ("a/b", "c/d")
    assert facts.version == (0, 32, 2)
    (asked,) = server.requests_to(server.CHAT)
    assert asked.json["max_tokens"] == 1
    assert asked.json["model"] == "c/d"


def test_a_check_never_sends_a_name_that_is_not_listed(server: ScriptedServer) -> None:
    server.models(models("mlx-community/gpt-oss-20b")).chat(reply("x"))
    with pytest.raises(ServerError) as caught:
        client(server).check("gpt-oss-20b")
    assert caught.value.problem.kind == "unknown_model"
    assert "mlx-community/gpt-oss-20b" in str(caught.value)
    assert server.requests_to(server.CHAT) == []


@pytest.mark.parametrize(
    "script", [[], [head(200, "application/json")], page(404, "Not Found")]
)
def test_a_check_without_a_list_asks_only_the_loaded_model(
    server: ScriptedServer, script: Script
) -> None:
    server.models(script).chat(reply("<|channel|>", finish_reason="length"))
    facts = client(server).check("some/model")
    assert facts.models is None
    (asked,) = server.requests_to(server.CHAT)
    assert asked.json["model"] == "default_model"
    steps = client(server).check_steps("some/model")
    assert [step.name for step in steps] == ["server", "reply", "version"]


CHECKS: dict[str, tuple[Script, Script, str]] = {
    "wrong path": (page(404, "Not Found"), page(404, "Not Found"), "wrong_path"),
    "proxy": (page(401, "no"), reply("x"), "unauthorized"),
    "too old": (models("a"), page(404, "Not Found"), "gpt_oss_unsupported"),
    "dead": (models("a"), [head()], "dead_server"),
    "0.26.3": (
        models("a"),
        reply("x", fingerprint="0.26.3-0.28-Linux", completion_tokens=40),
        "lossy_server",
    ),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_names_what_is_wrong(server: ScriptedServer, name: str) -> None:
    list_script, chat_script, kind = CHECKS[name]
    server.models(list_script).chat(chat_script)
    with pytest.raises(ServerError) as caught:
        client(server).check()
    assert caught.value.problem.kind == kind


OLD = "0.26.3-0.28-Linux"
FAMILY = harmony("Japanese.", "👩‍👩‍👧 こんにちは OK")


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (reply(*FAMILY, fingerprint=OLD, completion_tokens=len(FAMILY) + 12), ""),
        (reply(*FAMILY[:8], fingerprint=OLD, completion_tokens=90), "lossy_server"),
    ],
    ids=["mended", "as it came"],
)
def test_a_check_measures_whether_mlx_lm_0_26_3_loses_text(
    server: ScriptedServer, told: Script, kind: str
) -> None:
    server.models(models("a")).chat(reply("x", fingerprint=OLD), told)
    *_, last = client(server).check_steps()
    assert (last.problem.kind if last.problem else "") == kind
    assert server.requests_to(server.CHAT)[1].json["messages"]


def test_the_steps_of_a_check_end_with_the_first_fatal_one(
    server: ScriptedServer,
) -> None:
    server.models(models("a")).chat(page(404, '{"error": "generation thread died"}'))
    steps = list(client(server).check_steps())
    assert [step.name for step in steps] == ["server", "model", "reply"]
    assert [step.problem is None for step in steps] == [True, True, False]


def test_an_unstable_version_is_a_warning(server: ScriptedServer) -> None:
    server.models(models("a")).chat(reply("x", fingerprint="0.30.2-0.30-Linux"))
    *_, last = client(server).check_steps()
    assert last.problem is not None
    assert last.problem.kind == "unstable_server"
    assert not last.fatal
    assert client(server).check().version == (0, 30, 2)
