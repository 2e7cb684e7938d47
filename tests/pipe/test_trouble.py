"""After a failure the chat shows one clear sentence and keeps the partial answer; nothing is raised."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.pipe.fake_host import Host, error_of, joined
from tests.server import (
    DONE,
    Hang,
    Pause,
    Reset,
    ScriptedServer,
    Step,
    chunk,
    dripping_head,
    dripping_page,
    harmony,
    harmony_call,
    head,
    json_page,
    models,
    page,
    reply,
    sse,
    text,
)
from tests.server.certificate import own_certificate
from tests.support.ports import free_port
from tests.support.weather import WEATHER_TOOL


@pytest.fixture
def ca_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate of `tls_server`, which no default authority has signed."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "certificate.pem"


@pytest.fixture
def tls_server(tmp_path: Path, ca_file: Path) -> Iterator[ScriptedServer]:
    _, context = own_certificate(tmp_path)
    with ScriptedServer(tls=context) as running:
        yield running


FAILURES: dict[str, tuple[Sequence[Step], str, str]] = {
    "an old mlx-lm": (page(404, "Not Found"), "", "upgrade"),
    "a proxy without the right key": (page(401, "no"), "", "key"),
    "a redirect": (page(301, "", Location="https://elsewhere/"), "", "elsewhere"),
    "a web page instead of a stream": (
        page(200, "<!doctype html><p>Router", "text/html"),
        "",
        "page",
    ),
    "an error frame": (
        [head(), text("Half"), sse({"error": {"message": "out of memory"}}), DONE],
        "Half",
        "memory",
    ),
    "a stream that breaks off": ([head(), text("Half")], "Half", "broke off"),
    "a connection that is reset": (
        [head(), text("Half"), Reset()],
        "Half",
        "broke off",
    ),
    "a reply without a byte": ([head()], "", "mlx_lm.server"),
    "no status line": ([b""], "", "log"),
    "only thinking": (
        reply("<|channel|>", "analysis", "<|message|>", "Hm"),
        "",
        "thought",
    ),
    "thinking cut off": (
        reply("<|channel|>", "analysis", "<|message|>", "Hm", finish_reason="length"),
        "",
        "8192",
    ),
    "nothing at all": (reply(), "", "empty"),
    "a template that refuses": (
        json_page({"error": "Message has tool role, but ..."}, 404),
        "",
        "template",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_each_failure_is_told_after_the_partial_answer(
    host: Host, server: ScriptedServer, case: str
) -> None:
    script, kept, word = FAILURES[case]
    server.chat(script).models(models("mlx-community/gpt-oss-20b"))
    chunks = host.chat()
    assert joined(chunks) == kept
    assert word.lower() in error_of(chunks).lower()
    assert host.statuses[-1] == ""


def test_a_wrong_path_is_told(host: Host, server: ScriptedServer) -> None:
    server.chat(page(404, "Not Found"))
    assert "base URL" in error_of(host.chat())


def test_a_server_that_is_not_there_is_named(host_with: Callable[..., Host]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert url in error_of(host_with(BASE_URL=url).chat())


@pytest.mark.parametrize(
    "url", ["", "http://", "http://[", "no such host.invalid", "http://host:port"]
)
def test_an_invalid_address_is_reported(
    host_with: Callable[..., Host], url: str
) -> None:
    assert error_of(host_with(BASE_URL=url).chat())


def test_errors_are_japanese_in_a_japanese_browser(
    host_with: Callable[..., Host],
) -> None:
    host = host_with(BASE_URL=f"http://127.0.0.1:{free_port()}")
    assert "接続" in error_of(
        host.chat(__metadata__={"variables": {"{{USER_LANGUAGE}}": "ja"}})
    )


def test_a_silent_server_is_given_up_after_the_first_byte_timeout(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat([Hang()])
    assert "1 s" in error_of(host_with(FIRST_BYTE_TIMEOUT=1).chat())
    assert server.requests[0].was_closed_by_client()


def test_a_server_that_sends_headers_alone_is_given_up_too(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat([head(), Hang()])
    assert "1 s" in error_of(host_with(FIRST_BYTE_TIMEOUT=1).chat())


def test_a_reply_that_stalls_is_given_up_and_its_text_is_kept(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat([head(), text("Half"), Hang()])
    chunks = host_with(IDLE_TIMEOUT=1).chat()
    assert joined(chunks) == "Half"
    assert error_of(chunks)
    assert server.requests[0].was_closed_by_client()


def test_silence_behind_a_finish_reason_is_the_end_of_a_whole_reply(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat([head(), text("Hi"), chunk({}, "stop"), Hang()])
    chunks = host_with(IDLE_TIMEOUT=1).chat()
    assert joined(chunks) == "Hi"
    assert not any("error" in chunk for chunk in chunks)
    assert server.requests[0].was_closed_by_client()


def test_an_unknown_model_is_told_with_the_nearest_names(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(json_page({"error": "Repository Not Found for url"}, 404)).models(
        models("org/gpt-oss-20b")
    )
    assert "org/gpt-oss-20b" in error_of(host.chat(model="mlx_harmony.org/gpt-oss-20"))


def test_the_lossy_version_of_mlx_lm_is_named(
    host: Host, server: ScriptedServer
) -> None:
    old = "0.26.3-0.26.5-macOS-15"
    server.chat(reply("Hello", completion_tokens=40, fingerprint=old))
    chunks = host.chat()
    assert joined(chunks) == "Hello"
    assert "0.26.4" in error_of(chunks)


def test_an_answer_cut_by_the_budget_says_so_above_it(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("Long.", "Once upon a"), finish_reason="length"))
    host = host_with(MAX_TOKENS=20)
    chunks = host.chat()
    assert joined(chunks) == "Once upon a"
    assert not [piece for piece in chunks if "error" in piece]
    assert host.statuses[-1].startswith("The answer was cut at 20 tokens.")


def test_a_request_that_does_not_stream_gets_the_error_in_its_answer(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), text("Half")])
    answer = host.complete()
    assert answer["choices"][0]["message"]["content"] == "Half"
    assert "broke off" in answer["error"]["message"]


def test_the_words_of_a_trickling_error_are_told(
    module: Any, host: Host, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.Exchange.read.__globals__, "LIST_TIMEOUT", 0.5)
    server.chat(dripping_page(400, '{"error": "max_tokens is odd"'))
    assert "max_tokens is odd" in error_of(host.chat())
    assert server.requests[0].was_closed_by_client()


def test_headers_that_trickle_have_one_limit(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(dripping_head())
    assert "1 s" in error_of(host_with(FIRST_BYTE_TIMEOUT=1).chat())


def test_a_password_in_the_address_is_sent_if_there_is_no_key_and_never_shown(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(page(400, "Basic bWU6czNjcmV0 is odd, s3cret is odd"))
    url = server.base_url.replace("//", "//me:s3cret@")
    chunks = host_with(BASE_URL=url).chat()
    host_with(BASE_URL=url, API_KEY="k").chat()
    first, second = server.requests_to(server.CHAT)
    assert first.headers["authorization"] == "Basic bWU6czNjcmV0"
    assert second.headers["authorization"] == "Bearer k"
    assert "s3cret" not in json.dumps(chunks)
    assert "bWU6" not in json.dumps(chunks)


def test_private_certificates_are_accepted_and_wrong_ones_named(
    host_with: Callable[..., Host], tls_server: ScriptedServer, ca_file: Path
) -> None:
    tls_server.chat(reply("Hello"))
    url = tls_server.base_url
    assert joined(host_with(BASE_URL=url, CA_FILE=str(ca_file)).chat()) == "Hello"
    assert joined(host_with(BASE_URL=url, VERIFY_TLS=False).chat()) == "Hello"
    assert "certificate of" in error_of(host_with(BASE_URL=url).chat())
    missing = host_with(BASE_URL=url, CA_FILE=str(ca_file.with_name("none")))
    assert "CA file" in error_of(missing.chat())


def test_over_https_no_text_is_lost_that_comes_while_a_reply_rests(
    host_with: Callable[..., Host], tls_server: ScriptedServer, ca_file: Path
) -> None:
    rest = [text(" upon"), text(" a time"), chunk({}, "stop"), DONE]
    tls_server.chat([head(), text("Once"), Pause(0.01), *rest])
    host = host_with(BASE_URL=tls_server.base_url, CA_FILE=str(ca_file))
    assert joined(host.chat()) == "Once upon a time"


def test_https_to_a_server_without_it_is_named(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    url = server.base_url.replace("http", "https")
    assert "Write http://" in error_of(host_with(BASE_URL=url).chat())


def test_a_tls_alert_to_plain_http_is_named(host: Host, server: ScriptedServer) -> None:
    server.chat([b"\x15\x03\x01\x00\x02\x02\x46"])
    assert "Write https://" in error_of(host.chat())


def test_no_valve_shows_a_secret(host_with: Callable[..., Host]) -> None:
    host = host_with(BASE_URL="http://me:s3cret@mac", API_KEY="s3cret")
    assert "s3cret" not in repr(host.module.Pipe.Valves(**host.valves))


def test_a_key_is_never_shown(
    host_with: Callable[..., Host], server: ScriptedServer
) -> None:
    server.chat(page(401, "Bearer s3cret is wrong"))
    chunks = host_with(API_KEY="s3cret").chat()
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in json.dumps(chunks)


def test_a_failing_event_emitter_does_not_stop_the_answer(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony("Hm.", "Hello")))

    async def broken(event: Any) -> None:
        raise RuntimeError("socket gone")

    assert joined(host.chat(__event_emitter__=broken)) == "Hello"


class BrokenMessage(dict[str, object]):
    """A message that raises when it is read, in place of a defect of the pipe."""

    def get(self, *_: object) -> object:
        raise TypeError


def test_a_defect_becomes_an_error_and_a_traceback_in_the_log(
    host: Host, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [BrokenMessage(), {"role": "user", "content": "Hi"}]
    assert "TypeError" in error_of(host.chat(messages=messages))
    assert "TypeError" in host.complete(messages=messages)["error"]["message"]
    assert "Traceback" in caplog.text


def test_the_conversation_goes_on_after_an_error(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), text("Half")], reply("Whole"))
    assert error_of(host.chat())
    turns = [{"role": "user", "content": "One"}, {"role": "user", "content": "Two"}]
    assert joined(host.chat(messages=turns)) == "Whole"


def test_a_stop_word_ends_the_answer_and_the_generation(
    host: Host, server: ScriptedServer
) -> None:
    server.chat([head(), text("one"), text(" END"), text(" two"), Hang()])
    assert joined(host.chat(stop=["END"])).strip() == "one"
    assert server.requests[0].was_closed_by_client()
    assert "stop" not in server.requests[0].json


def test_an_empty_delta_is_not_the_end(host: Host, server: ScriptedServer) -> None:
    server.chat(
        [
            head(),
            text(""),
            chunk({"content": None}),
            text("Hello"),
            chunk({}, "stop"),
            DONE,
        ]
    )
    assert joined(host.chat()) == "Hello"


@pytest.mark.parametrize(
    ("script", "kept", "word"),
    [
        (page(401, "no"), "", "key"),
        ([head(), text("Half")], "Half\n\n", "broke off"),
    ],
)
def test_in_a_channel_the_error_is_the_message(
    host: Host, server: ScriptedServer, script: Sequence[Step], kept: str, word: str
) -> None:
    server.chat(script)
    chunks = host.chat(__metadata__={"chat_id": "channel:1"})
    assert joined(chunks).startswith(f"{kept}Error: ")
    assert word in joined(chunks)
    assert not [chunk for chunk in chunks if "error" in chunk]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (page(401, "no"), 502),
        (page(429, "slow down"), 429),
        ([head(), text("Half")], 502),
        (reply("<|channel|>", "analysis", "<|message|>", "Hm"), 422),
    ],
)
def test_a_program_that_does_not_stream_gets_an_http_error(
    host: Host, server: ScriptedServer, script: Sequence[Step], status: int
) -> None:
    server.chat(script)
    answer = _reply_to_a_program(host, stream=False)
    assert answer.status_code == status
    assert json.loads(answer.body)["error"]["message"]


def test_a_program_that_streams_gets_one_finish_reason(
    host: Host, server: ScriptedServer
) -> None:
    server.chat(reply(*harmony_call("get_weather", "{}")))

    async def read() -> list[str]:
        answer = await _start_as_a_program(host, stream=True, tools=[WEATHER_TOOL])
        return [str(piece) async for piece in answer.body_iterator]

    records = asyncio.run(read())
    assert records[-1] == "data: [DONE]\n\n"
    chunks = [json.loads(record.removeprefix("data: ")) for record in records[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    reasons = [c["finish_reason"] for c in choices if c["finish_reason"]]
    assert reasons == ["tool_calls"]


def test_an_error_for_anthropics_clients_stays_a_dict(
    host: Host, server: ScriptedServer
) -> None:
    class Messages:
        url = "http://localhost/api/v1/messages"

        async def is_disconnected(self) -> bool:
            return False

    server.chat(page(401, "no"))
    answer = host.complete(__metadata__={"session_id": None}, __request__=Messages())
    assert "key" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("effort", "version", "told"),
    [
        ("high", "0.28.4-0.29.1-macOS", True),
        ("medium", "0.28.4-0.29.1-macOS", False),
        ("high", "0.31.3-0.29.1-macOS", False),
    ],
)
def test_an_old_server_that_ignores_the_effort_is_told_once_in_a_chat(
    host: Host, server: ScriptedServer, effort: str, version: str, told: bool
) -> None:
    server.chat(reply("Hello", fingerprint=version))
    first = {"role": "user", "content": "Hi"}
    second = [first, {"role": "assistant", "content": "Hello"}, first]
    host.chat(reasoning_effort=effort, messages=[first])
    assert ("reasoning effort" in json.dumps(host.events)) is told
    host.events.clear()
    host.chat(reasoning_effort=effort, messages=second)
    assert "reasoning effort" not in json.dumps(host.events)


async def _start_as_a_program(host: Host, **body: Any) -> Any:
    host.function.valves = host.function.Valves(**host.valves)
    body = {"messages": [{"role": "user", "content": "Hi"}], **body}
    return await host.start(body, __metadata__={"session_id": None})


def _reply_to_a_program(host: Host, **body: Any) -> Any:
    return asyncio.run(_start_as_a_program(host, **body))
