"""The table of problems: each cause has its kind, and a user can read every text."""

from __future__ import annotations

import json
import re
import socket
import ssl
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.chat import _TOO_LONG
from harmony_core.diagnosis import (
    cause_of,
    explain_failure,
    explain_reply,
    server_version,
    visible_url,
)
from harmony_core.events import Finish, Reply, ToolCall, Usage
from harmony_core.failures import Cause, Failure, Phase, ServerError
from harmony_core.problems import PROBLEMS, Language, Problem, problem_of

URL = "http://mac.local:8080"
KEY = "sk-very-secret"
HTML = "<!DOCTYPE html><html><body>Sign in</body></html>"
TEMPLATE_CHANNEL = (
    "You have passed a message containing <|channel|> tags in the content field. Instead of doing this, you "
    "should pass analysis messages (the string between '<|message|>' and '<|end|>') in the 'thinking' field."
)


def connect(cause: Cause, base_url: str = URL) -> Failure:
    return Failure("connect", base_url, cause=cause, seconds=5)


def status(
    code: int, body: str = "", models: tuple[str, ...] | None = None, model: str = ""
) -> Failure:
    return Failure("status", URL, status=code, body=body, models=models, model=model)


FAILURES: dict[str, tuple[Failure, str]] = {
    "refused": (connect("refused"), "refused"),
    "unknown host": (connect("dns"), "dns"),
    "slow to connect": (connect("timeout"), "connect_timeout"),
    "no route": (connect(""), "unreachable"),
    "TLS": (connect("tls"), "tls"),
    "https to a server without it": (connect("tls/http_only"), "tls"),
    "http to a server with TLS": (Failure("headers", URL, "tls/https_only"), "tls"),
    "a certificate that nobody trusts": (connect("tls/certificate"), "tls"),
    "a CA file that is not there": (connect("tls/ca_file"), "tls"),
    "all the time that a check has": (
        Failure("first_byte", URL, cause="limit", seconds=15),
        "silent",
    ),
    "proxy of the environment": (connect("proxy"), "proxy"),
    "no address": (connect("bad_url", "http://[::1"), "bad_url"),
    "key with Japanese quotes": (connect("bad_key"), "bad_key"),
    "closed before headers": (Failure("headers", URL), "empty_reply"),
    "silent before headers": (
        Failure("headers", URL, cause="timeout", seconds=600),
        "silent",
    ),
    "closed before the body": (Failure("first_byte", URL), "dead_server"),
    "silent before the body": (
        Failure("first_byte", URL, cause="timeout", seconds=600),
        "silent",
    ),
    "silent in mid-stream": (
        Failure("idle", URL, cause="timeout", seconds=120),
        "stalled",
    ),
    "broken in mid-stream": (Failure("stream", URL), "interrupted"),
    "wrong path": (status(404, "Not Found"), "wrong_path"),
    "wrong path, FastAPI": (status(404, '{"detail": "Not Found"}'), "wrong_path"),
    "0.26.2 with gpt-oss": (
        status(404, "Not Found", models=("a/b",)),
        "gpt_oss_unsupported",
    ),
    "0.26.3, unknown name": (
        status(404, "Not Found", models=("a/b",), model="c/d"),
        "unknown_model",
    ),
    "0.28, gpt-oss unsupported": (
        status(404, "Model type gpt_oss not supported."),
        "gpt_oss_unsupported",
    ),
    "other type unsupported": (
        status(404, '{"error": "Model type foo not supported."}'),
        "model_not_loaded",
    ),
    "no --model": (
        status(404, "A model path has to be given as a CLI argument"),
        "no_model",
    ),
    "hub, unknown": (
        status(404, '{"error": "401 Client Error. Repository Not Found for url"}'),
        "unknown_model",
    ),
    "hub, offline": (
        status(
            404,
            '{"error": "Cannot find an appropriate cached snapshot folder for the revision"}',
        ),
        "unknown_model",
    ),
    "hub, out of reach": (
        status(404, '{"error": "we cannot find the appropriate snapshot folder"}'),
        "unknown_model",
    ),
    "wrong path, Go": (status(404, "404 page not found\n"), "wrong_path"),
    "wrong path, aiohttp": (status(404, "404: Not Found"), "wrong_path"),
    "wrong path, llama.cpp": (
        status(404, '{"error": {"message": "File Not Found"}}'),
        "wrong_path",
    ),
    "wrong path, Express": (
        status(404, "Cannot POST /v2/v1/chat/completions"),
        "wrong_path",
    ),
    "vLLM, unknown": (
        status(
            404, '{"error": {"message": "The model `x` does not exist.", "code": 404}}'
        ),
        "unknown_model",
    ),
    "template, channel": (
        status(404, f'{{"error": "{TEMPLATE_CHANNEL}"}}'),
        "template_refused",
    ),
    "template, 0.28": (status(404, TEMPLATE_CHANNEL), "template_refused"),
    "template, orphan": (
        status(
            404,
            '{"error": "Message has tool role, but there was no previous assistant message"}',
        ),
        "template_refused",
    ),
    "template, toy": (
        status(
            404,
            '{"error": "A tool message follows no assistant message with a tool call."}',
        ),
        "template_refused",
    ),
    "template, undefined": (
        status(404, "{\"error\": \"'dict object' has no attribute 'description'\"}"),
        "template_refused",
    ),
    "an image": (
        status(400, '{"error": "Only \'text\' content type is supported."}'),
        "bad_request",
    ),
    "wrong type": (
        status(400, '{"error": "max_tokens must be of type int"}'),
        "bad_request",
    ),
    "unknown 404": (status(404, '{"error": "something else"}'), "bad_request"),
    "dead thread, 0.32": (
        status(404, '{"error": "generation thread died"}'),
        "dead_server",
    ),
    "memory": (
        status(404, '{"error": "[metal::malloc] Resource limit exceeded"}'),
        "out_of_memory",
    ),
    "no key": (status(401, "{}"), "unauthorized"),
    "wrong key": (status(403, HTML), "unauthorized"),
    "rate limit": (status(429), "rate_limited"),
    "body too large": (status(413, HTML), "too_large"),
    "HTML 404": (status(404, HTML), "web_page"),
    "HTML 200": (status(200, HTML), "web_page"),
    "moved": (status(302), "redirect"),
    "broken server": (status(500, "oops"), "server_error"),
    "nginx without server": (status(502, HTML), "bad_gateway"),
    "success without a body": (status(204), "not_a_reply"),
}


WORDS: dict[str, dict[str, Any]] = {
    row["name"]: row
    for row in json.loads(
        (Path(__file__).parents[1] / "corpus" / "server_words.json").read_text("utf-8")
    )
}


def told(name: str) -> Problem:
    row = WORDS[name]
    models = None if row["models"] is None else tuple(row["models"])
    return explain_failure(status(row["status"], row["body"], models, row["model"]))


@pytest.mark.parametrize("name", WORDS)
def test_the_words_of_real_servers_are_understood(name: str) -> None:
    problem = told(name)
    assert problem.kind == WORDS[name]["kind"]
    assert [words for words in WORDS[name]["says"] if words not in problem.en] == []


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_has_its_kind(name: str) -> None:
    failure, kind = FAILURES[name]
    assert explain_failure(failure).kind == kind


def reply(**fields: object) -> Reply:
    return Reply(**{"finish_reason": "stop", **fields})  # type: ignore[arg-type]


REPLIES: dict[str, tuple[Reply, str | None]] = {
    "an answer": (reply(answer="Hi"), None),
    "a call": (reply(tool_calls=(ToolCall("1", "f", "{}", True, True),)), None),
    "an answer cut off": (
        reply(answer="Hi", finish_reason="length", truncated=True),
        None,
    ),
    "only thinking": (reply(reasoning="hm"), "only_reasoning"),
    "a call that stops in its arguments": (
        reply(reasoning="hm", truncated=True),
        "broken_call",
    ),
    "cut in thinking": (
        reply(reasoning="hm", finish_reason="length", truncated=True),
        "cut_in_reasoning",
    ),
    "cut in the thinking of a JSON reply": (
        reply(thought=True, finish_reason="length", truncated=True),
        "cut_in_reasoning",
    ),
    "a JSON reply without an answer": (reply(thought=True), "only_reasoning"),
    "cut before anything": (
        reply(finish_reason="length", truncated=True),
        "cut_in_reasoning",
    ),
    "an answer, and a call that stops in its arguments": (
        reply(answer="Hi", truncated=True),
        "broken_call",
    ),
    "a call, and another that was lost": (
        reply(
            tool_calls=(ToolCall("1", "f", "{}", True, True),),
            finish_reason="tool_calls",
            truncated=True,
        ),
        None,
    ),
    "thinking that a filter ended": (
        reply(reasoning="hm", finish_reason="content_filter", truncated=True),
        "only_reasoning",
    ),
    "nothing": (reply(), "empty"),
    "broken off": (
        reply(answer="H", finish_reason="interrupted", truncated=True),
        "interrupted",
    ),
    "error frame": (
        reply(answer="H", finish_reason="error", detail="boom"),
        "error_frame",
    ),
    "a piece without end": (
        reply(finish_reason="error", detail=_TOO_LONG),
        "endless_reply",
    ),
    "error frame, memory": (
        reply(finish_reason="error", detail="Out of memory"),
        "out_of_memory",
    ),
    "web page": (reply(finish_reason="not_a_stream", detail=HTML), "web_page"),
    "some text": (
        reply(finish_reason="not_a_stream", detail="+OK POP3 ready"),
        "not_a_reply",
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_each_ending_of_a_reply_has_its_kind(name: str) -> None:
    given_reply, kind = REPLIES[name]
    problem = explain_reply(given_reply, base_url=URL, deltas=3)
    assert (problem.kind if problem else None) == kind


def test_headers_without_any_text_mean_a_dead_server() -> None:
    problem = explain_reply(
        reply(finish_reason="interrupted", truncated=True), base_url=URL
    )
    assert problem is not None
    assert problem.kind == "dead_server"


LOSSY = "0.26.3-0.28.0-macOS-15"


@pytest.mark.parametrize(
    ("fingerprint", "counted", "lossy"),
    [
        (LOSSY, 40, True),
        (LOSSY, 4, False),
        ("0.26.4-0.28.0-macOS", 40, False),
        ("fp_ollama", 40, False),
        ("", 40, False),
    ],
)
def test_a_lossy_reply_is_known_by_version_and_count(
    fingerprint: str, counted: int, lossy: bool
) -> None:
    cut = reply(answer="In", usage=Usage(9, counted))
    problem = explain_reply(cut, base_url=URL, fingerprint=fingerprint, deltas=3)
    assert (problem is not None and problem.kind == "lossy_server") == lossy


def test_tokens_without_text_do_not_make_a_reply_lossy() -> None:
    whole = reply(answer="👩‍👩‍👧 こんにちは", usage=Usage(9, 20))
    assert explain_reply(whole, base_url=URL, fingerprint=LOSSY, deltas=10) is None


def test_the_budget_spent_on_thinking_is_named() -> None:
    problem = explain_reply(
        REPLIES["cut in thinking"][0], base_url=URL, deltas=9, max_tokens=512
    )
    assert problem is not None
    assert "(limit 512)" in problem.en
    assert "上限の 512 トークン" in problem.ja


@pytest.mark.parametrize(
    ("fingerprint", "version"),
    [
        ("0.32.2-0.32.4-Linux-6.1-x86_64", (0, 32, 2)),
        ("0.31.0.dev1-0.30.0-macOS-15-arm64", (0, 31, 0)),
        ("gpt-oss-20b", None),
        ("fp_44709d6fcb", None),
        ("", None),
    ],
)
def test_the_fingerprint_begins_with_the_version(
    fingerprint: str, version: tuple[int, int, int] | None
) -> None:
    assert server_version(fingerprint) == version


def test_a_refused_localhost_names_the_address_for_containers() -> None:
    for url in ("localhost:9000", "http://127.0.0.1:9000/v1", "http://[::1]:9000"):
        problem = explain_failure(connect("refused", url))
        for text in (problem.en, problem.ja):
            assert "http://host.docker.internal:9000" in text
            assert "--host 0.0.0.0" in text


def test_a_refused_remote_server_names_the_option_to_listen_on_all_addresses() -> None:
    problem = explain_failure(connect("refused"))
    assert "--host 0.0.0.0" in problem.en
    assert "host.docker.internal" not in problem.en


def test_the_host_name_of_docker_gets_separate_advice() -> None:
    problem = explain_failure(connect("dns", "http://host.docker.internal:8080"))
    assert problem.kind == "dns"
    assert "host-gateway" in problem.en
    assert "host-gateway" in problem.ja


MODELS = (
    "mlx-community/Qwen3-4B",
    "mlx-community/gpt-oss-20b-MXFP4-Q8",
    "lmstudio-community/gpt-oss-20b-MXFP4-Q8",
    "mlx-community/gpt-oss-120b-MXFP4-Q4",
    "gpt-oss-20b-copy",
)


def unknown(model: str, models: tuple[str, ...]) -> Problem:
    return explain_failure(status(404, "Not Found", models, model))


def test_an_unknown_model_gets_the_nearest_names() -> None:
    problem = unknown("openai/gpt-oss-20b", MODELS)
    near = ", ".join([*MODELS[1:3], MODELS[4]])
    assert "“openai/gpt-oss-20b”" in problem.en
    assert f": {near}." in problem.en
    assert "「openai/gpt-oss-20b」" in problem.ja
    assert f"（{near}）。" in problem.ja


def test_an_unknown_model_without_near_names_gets_the_first_ones() -> None:
    assert f": {', '.join(MODELS[:3])}." in unknown("zzz", MODELS).en


def test_if_no_model_is_listed_the_advice_is_to_leave_it_empty() -> None:
    assert (
        "Leave the model empty to use the one that is loaded"
        in explain_failure(status(404, "Repository Not Found", (), "gpt-oss-20b")).en
    )


def test_the_words_of_the_server_are_quoted_on_one_line() -> None:
    body = '{"error": {"message": "max_tokens must be\\nof type int."}}'
    assert "“max_tokens must be of type int”" in explain_failure(status(400, body)).en


@pytest.mark.parametrize(
    "body", [HTML, "Traceback (most recent call last):\n  File x", '{"error": 5}', "{}"]
)
def test_words_that_do_not_help_a_user_are_not_quoted(body: str) -> None:
    assert explain_failure(status(500, body)).en.startswith(
        "The server failed (status 500). Look"
    )


def test_long_words_are_cut() -> None:
    assert len(explain_failure(status(500, "x" * 9000)).en) < 300


def test_a_redirect_names_the_place_without_its_secrets() -> None:
    failure = Failure(
        "status",
        URL,
        status=307,
        location=f"https://u:{KEY}@login.example/in?token={KEY}",
    )
    problem = explain_failure(failure)
    assert "https://login.example/in" in problem.en
    assert KEY not in problem.text() + problem.text("ja")


@pytest.mark.parametrize(
    "body", [f"bad key {KEY}", f'{{"error": "Bearer {KEY} is wrong"}}']
)
@pytest.mark.parametrize("code", [200, 400, 401, 404, 418, 500])
def test_a_key_never_gets_into_a_text(code: int, body: str) -> None:
    url = f"http://user:{KEY}@mac.local:8080/v1?key={KEY}"
    problem = explain_failure(
        Failure("status", url, status=code, body=body), api_key=KEY
    )
    assert KEY not in problem.text() + problem.text("ja")
    ending = explain_reply(
        reply(finish_reason="error", detail=body), base_url=url, api_key=KEY
    )
    assert ending is not None
    assert KEY not in ending.text() + ending.text("ja")


@pytest.mark.parametrize(
    "pasted", [f"{KEY}\n", f" {KEY} ", "sk-very -secret", f"Bearer {KEY}"]
)
def test_a_key_is_hidden_as_it_was_pasted_and_as_it_is_sent(pasted: str) -> None:
    body = f"no {KEY}, no {pasted}, no {''.join(pasted.split())}"
    failure = Failure("status", URL, status=400, body=body, location=f"http://x/{KEY}/")
    moved = Failure("status", URL, status=307, location=f"http://x/{KEY}/")
    for problem in (
        explain_failure(failure, api_key=pasted),
        explain_failure(moved, api_key=pasted),
    ):
        assert "secret" not in problem.text() + problem.text("ja")


@pytest.mark.parametrize("said", ["p%40ss!", "p@ss!", "bWU6cEBzcyE="])
def test_a_password_of_the_address_is_hidden_too(said: str) -> None:
    url = "http://me:p%40ss!@mac.local:8080/v1"
    problem = explain_failure(Failure("status", url, status=400, body=f"no {said}"))
    assert "“no …”" in problem.en
    assert said not in problem.en + problem.ja


def test_no_repr_shows_text_from_outside() -> None:
    url = f"http://user:{KEY}@mac.local"
    failure = Failure("status", url, body=KEY, location=KEY)
    ending = Finish("error", truncated=True, detail=f"no {KEY}")
    error = ServerError(explain_failure(failure, api_key=KEY))
    for shown in (failure, ending, reply(detail=KEY), error, error.problem):
        assert KEY not in repr(shown)


def test_a_very_long_address_from_a_server_is_cut() -> None:
    hostile = Failure("status", URL, status=302, location="/" * 10**6)
    assert len(explain_failure(hostile).en) < 1000


def test_the_words_of_a_server_hold_no_control_characters() -> None:
    problem = explain_failure(status(400, '{"error": "x \\u001b[31m\\u0007y"}'))
    assert problem.en.isprintable()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mac.local:8080/v1/", "http://mac.local:8080/v1"),
        (f"https://u:{KEY}@mac.local?x={KEY}", "https://mac.local"),
        (f"http://u:{KEY}@[::1", "http://[::1"),
        (f"http://u:a/{KEY}@mac.local#x", "http://mac.local"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert visible_url(url) == shown


def all_problems() -> list[tuple[str, Problem | None]]:
    failures = [
        (name, explain_failure(failure)) for name, (failure, _) in FAILURES.items()
    ]
    here = [(url, explain_failure(connect(cause, url))) for url, cause in HOSTS.items()]
    endings = [
        (name, explain_reply(ending, base_url=URL, deltas=3))
        for name, (ending, _) in REPLIES.items()
    ]
    versions = [
        ("lossy", problem_of("lossy_server")),
        ("old", problem_of("unstable_server", version="0.29.1")),
        ("a list cut off", problem_of("cut_list", url=URL)),
    ]
    words = [(name, told(name)) for name in WORDS]
    return [*failures, *words, *here, *endings, *versions]


KINDS = {row.partition("/")[0] for row in PROBLEMS}
HOSTS: dict[str, Cause] = {
    "http://localhost": "refused",
    "http://host.docker.internal": "dns",
}
TEXTS = [(name, problem) for name, problem in all_problems() if problem]
QUOTED = re.compile(
    "[“「].*?[”」]"
)  # addresses, names of models and the server's own words


def test_the_cases_reach_every_row_of_the_table() -> None:
    shown = {
        row for row in PROBLEMS for _, problem in TEXTS if is_filled_from(row, problem)
    }
    assert shown == set(PROBLEMS)


def is_filled_from(row: str, problem: Problem) -> bool:
    fixed = re.split(r"\{.*?\}", PROBLEMS[row].en)
    return re.fullmatch(".*".join(map(re.escape, fixed)), problem.en) is not None


@pytest.mark.parametrize(("name", "problem"), TEXTS)
def test_every_text_is_two_sentences_in_both_languages(
    name: str, problem: Problem
) -> None:
    english, japanese = QUOTED.sub("so", problem.en), QUOTED.sub("so", problem.ja)
    assert re.fullmatch(r"(?:[^.]|\.(?! ))+\. [A-Z](?:[^.]|\.(?! |$))+\.", english)
    assert not re.search("[!?]| [ :;,.]", english)
    assert re.fullmatch("[^。]+。[^。]+。", japanese)
    assert not re.search("[ぁ-んァ-ン一-龥][()]|[()][ぁ-んァ-ン一-龥]", japanese)
    assert all(re.search("[ぁ-ん]", sentence) for sentence in japanese.split("。")[:2])
    assert not re.search(r"[{}]", problem.en + problem.ja)


@pytest.mark.parametrize("row", PROBLEMS)
def test_both_languages_fill_in_the_same_blanks(row: str) -> None:
    texts = (PROBLEMS[row].en, PROBLEMS[row].ja)
    english, japanese = (set(re.findall(r"\{.*?\}", text)) for text in texts)
    assert english == japanese


@pytest.mark.parametrize("row", PROBLEMS)
def test_a_problem_has_the_stage_of_its_row_on_every_host(row: str) -> None:
    kind = row.partition("/")[0]
    blanks = dict.fromkeys(re.findall(r"\{(.*?)\}", PROBLEMS[row].en), "")
    assert problem_of(row, **blanks).stage == PROBLEMS[kind].stage


@pytest.mark.parametrize(("language", "text"), [("en", "A. B."), ("ja", "あ。い。")])
def test_a_problem_has_a_text_in_each_language(language: Language, text: str) -> None:
    assert Problem("dns", "connection", "A. B.", "あ。い。").text(language) == text


def wrapped(error: Exception) -> Exception:
    """An exception wrapped as HTTP libraries do it, as a cause and as an argument."""
    outer = ConnectionError("outer", RuntimeError("inner"))
    outer.args[1].__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError(111, "refused"), "refused"),
        (socket.gaierror(-2, "unknown"), "dns"),
        (ssl.SSLCertVerificationError("expired"), "tls"),
        (TimeoutError(), "timeout"),
        (OSError(113, "no route"), ""),
        (UnicodeEncodeError("latin-1", "鍵", 0, 1, "no"), "bad_key"),
    ],
)
def test_the_cause_is_found_inside_wrapping_exceptions(
    error: Exception, cause: Cause
) -> None:
    assert cause_of(error) == cause
    assert cause_of(wrapped(error)) == cause


def test_a_cycle_of_exceptions_ends_the_search() -> None:
    first, second = OSError("a"), OSError("b")
    first.__context__, second.__cause__ = second, first
    assert cause_of(first) == ""


@given(
    phase=st.sampled_from(get_args(Phase)),
    cause=st.sampled_from(get_args(Cause)),
    url=st.text(),
    code=st.integers(),
    body=st.text(),
    location=st.text(),
    model=st.text(),
    models=st.none() | st.lists(st.text(), max_size=4).map(tuple),
)
def test_any_failure_has_a_problem(
    phase: Phase,
    cause: Cause,
    url: str,
    code: int,
    body: str,
    location: str,
    model: str,
    models: tuple[str, ...] | None,
) -> None:
    failure = Failure(phase, url, cause, code, body, location, model, models)
    assert explain_failure(failure).kind in KINDS
