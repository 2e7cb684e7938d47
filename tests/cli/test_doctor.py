"""`doctor`: a checklist for people, or JSON for programs."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest

from harmony_core.cli.doctor import REPLY_LIMIT
from harmony_core.compatibility import (
    ADVISED_MLX_LM,
    FAULTS,
    MLX_LM,
    TESTED_MLX_LM,
    mlx_lm_range,
)
from tests.cli.conftest import Run
from tests.cli.servers import (
    counted,
    lossy_mlx_lm,
    mlx_lm,
    no_such_model,
    patched_mlx_lm,
    play,
    splitting,
)
from tests.server import (
    Hang,
    Script,
    ScriptedServer,
    harmony,
    head,
    json_page,
    models,
    page,
    reply,
)
from tests.server.certificate import own_certificate

pytestmark = pytest.mark.usefixtures("bare_machine")
KEY = "sk-very-secret"


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide an installed mlx-lm and a container, so that the report does not depend on the machine."""
    monkeypatch.setattr("harmony_core.cli.machine.find_python", lambda wanted: wanted)
    monkeypatch.setattr("harmony_core.cli.machine.in_container", lambda: False)


def lines_of(run: Run, server: ScriptedServer, *arguments: str) -> list[str]:
    result = run("doctor", "--base-url", server.base_url, *arguments)
    return result.stdout.splitlines()


def report_of(run: Run, server: ScriptedServer, *arguments: str) -> dict[str, object]:
    result = run("doctor", "--json", "--base-url", server.base_url, *arguments)
    report = json.loads(result.stdout)
    assert isinstance(report, dict)
    return report


def test_a_healthy_server_gets_a_tick_for_each_check(
    server: ScriptedServer, run: Run
) -> None:
    lines = lines_of(run, play(server, mlx_lm()))
    assert (
        lines[0] == f"✓ The server answers at {server.base_url}; it lists a/gpt-oss-20b"
    )
    assert lines[1].startswith("✓ The server's own model replies: first token after")
    assert lines[2:] == [
        "✓ It sends raw Harmony, control tokens one by one",
        "✓ The reasoning effort reaches the model",
        "✓ A second turn works",
        "✓ A tool was called and its result answered",
        "✓ A JSON reply is JSON",
        "✓ Japanese and emoji arrive whole",
        "✓ A stop word ends the answer",
        "✓ It keeps working after a client disconnects during a reply",
        "✓ mlx-lm 0.32.2 with MLX 0.32.4",
        "All is well.",
    ]


def test_doctor_says_at_the_start_how_long_it_takes(
    server: ScriptedServer, run: Run
) -> None:
    play(server, mlx_lm())
    result = run("doctor", "--base-url", server.base_url)
    assert "11 short requests: about a minute" in result.stderr
    assert len(server.requests_to(server.CHAT)) == 11


def test_doctor_closes_a_connection_during_a_reply(
    server: ScriptedServer, run: Run
) -> None:
    run("doctor", "--base-url", play(server, mlx_lm()).base_url)
    assert server.requests_to(server.CHAT)[-2].was_closed_by_client()


def test_the_second_turn_is_sent_without_control_tokens(
    server: ScriptedServer, run: Run
) -> None:
    run("doctor", "--base-url", play(server, mlx_lm()).base_url)
    sent = server.requests_to(server.CHAT)[3].json["messages"]
    assert "<|channel|>" not in json.dumps(sent)


def test_the_json_report_has_the_sentences_and_the_verdict_of_the_screen(
    server: ScriptedServer, run: Run
) -> None:
    lines = lines_of(run, play(server, mlx_lm()))
    play(server, mlx_lm())
    report = report_of(run, server)
    steps = report["steps"]
    assert isinstance(steps, list)
    told = [step["text"] for step in steps if step["name"] != "reply"]
    assert told == [line[2:] for line in lines[:-1] if "replies" not in line]
    assert report["verdict"] == lines[-1] == "All is well."
    assert report["ok"] is True
    figures = next(step["facts"] for step in steps if step["name"] == "reply")
    assert figures["first_token_seconds"] >= 0


def broken(name: str, script: Script) -> dict[str, Script]:
    return mlx_lm() | {name: script}


def without_result(scripts: dict[str, Script]) -> dict[str, Script]:
    """Leave out the answer to the tool's result, because no tool is called."""
    return {name: script for name, script in scripts.items() if name != "result"}


SHORT = broken("hello", reply(*harmony("A greeting.", "Hi!")))
SILENT = reply("<|channel|>", "analysis", "<|message|>", "hm")
TALK = reply(*harmony("hm", "I cannot."))
LOST = reply(
    "<|channel|>", "analysis", completion_tokens=90, fingerprint="0.26.3-0.29.4-L"
)
CASES: dict[str, tuple[dict[str, Script], int, str, str]] = {
    "no second turn": (
        broken("second_turn", page(404, '{"error": "chat template"}')),
        4,
        "✗ The model's chat template refused",
        "A chat is possible, but this does not work: the second turn.",
    ),
    "no answer to the tool": (
        broken("result", SILENT),
        1,
        "✗ The model thought, but gave no answer",
        "A chat is possible, but this does not work: tool calls.",
    ),
    "no tool call": (
        without_result(broken("call", page(500, "no"))),
        4,
        "✗ The server failed (status 500)",
        "A chat is possible, but this does not work: tool calls.",
    ),
    "no reply to a stop word": (
        broken("stop", page(500, "no")),
        4,
        "✗ The server failed (status 500)",
        "A chat is possible, but this does not work: stop words.",
    ),
    "too short for a stop word": (
        {name: script for name, script in SHORT.items() if name != "stop"},
        0,
        "· The first answer is too short",
        "Everything that could be measured works; this could not be measured: stop words.",
    ),
    "no tool wanted": (
        without_result(broken("call", TALK)),
        0,
        "· The model answered without calling the tool",
        "Everything that could be measured works; this could not be measured: tool calls.",
    ),
    "no JSON": (
        broken("json", TALK),
        1,
        "✗ The JSON reply is not JSON",
        "A chat is possible, but this does not work: JSON replies.",
    ),
    "no Japanese": (
        broken("japanese", TALK),
        0,
        "· The model did not write Japanese",
        "Everything that could be measured works; this could not be measured: Japanese and emoji.",
    ),
    "broken Japanese": (
        broken("japanese", reply(*harmony("hm", "こんに\ufffdは😊 x"))),
        1,
        "✗ Japanese or emoji arrive with broken",
        "A chat is possible, but this does not work: Japanese and emoji.",
    ),
    "another answer": (
        broken("stop", TALK),
        0,
        "· The model answered differently",
        "Everything that could be measured works; this could not be measured: stop words.",
    ),
    "effort lost": (
        broken("long", counted(70)),
        0,
        "! The reasoning effort does not reach the model: mlx-lm supports it since 0.30.6",
        "A chat is possible; look at this: reasoning effort.",
    ),
    "dead after a client left": (
        broken("parting", [head()]),
        6,
        "✗ It stops working after a client disconnects",
        "A chat is possible, but this does not work: clients that disconnect.",
    ),
    "no JSON from a lossy server": (
        lossy_mlx_lm() | {"json": LOST},
        5,
        "✗ The JSON reply is not JSON",
        "A chat is possible, but this does not work: JSON replies, Japanese and emoji.",
    ),
    "lossy": (
        lossy_mlx_lm(),
        5,
        "✗ The server's mlx-lm 0.26.3",
        "A chat is possible, but this does not work: Japanese and emoji.",
    ),
    "patched": (
        patched_mlx_lm(),
        0,
        "! Japanese and emoji arrive whole, so this mlx-lm 0.26.3 was patched",
        "A chat is possible; look at this: reasoning effort, Japanese and emoji.",
    ),
    "unstable": (
        mlx_lm("0.30.1-0.30.0-L"),
        0,
        "! mlx-lm 0.30.1: it can stop answering when its prompt cache fails",
        "A chat is possible; look at this: the version of mlx-lm.",
    ),
    "reported": (
        mlx_lm("0.31.3-0.31.2-L"),
        0,
        f"until it is started again. Upgrade it on the server to {ADVISED_MLX_LM} with",
        "A chat is possible; look at this: the version of mlx-lm.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_screen_and_the_json_report_have_the_same_verdict(
    server: ScriptedServer, run: Run, name: str
) -> None:
    scripts, code, words, verdict = CASES[name]
    play(server, scripts)
    result = run("doctor", "--base-url", server.base_url)
    assert result.exit_code == code
    assert words in result.stdout
    assert result.stdout.splitlines()[-1] == verdict
    report = report_of(run, play(server, scripts))
    assert (report["verdict"], report["ok"]) == (verdict, code == 0)


DEAD_ENDS: dict[str, tuple[Script, Script, tuple[str, ...], int, str]] = {
    "wrong path": (
        page(404, "Not Found"),
        page(404, "Not Found"),
        (),
        4,
        "✗ {url} answers, but",
    ),
    "unknown model": (models("a/b"), [], ("--model", "b"), 5, "lists: a/b."),
    "dead": (
        models("a"),
        page(404, '{"error": "generation thread died"}'),
        (),
        6,
        "✗ The server took",
    ),
    "no answer": (models("a"), SILENT, (), 1, "✗ The model thought"),
}


@pytest.mark.parametrize("name", DEAD_ENDS)
def test_without_a_reply_the_verdict_gives_the_reason(
    server: ScriptedServer, run: Run, name: str
) -> None:
    list_script, chat_script, arguments, code, words = DEAD_ENDS[name]
    server.models(list_script).chat(chat_script)
    result = run("doctor", "--base-url", server.base_url, *arguments)
    assert result.exit_code == code
    assert words.format(url=server.base_url) in result.stdout
    verdict = result.stdout.splitlines()[-1]
    assert verdict.startswith("No chat is possible yet: ")
    assert verdict.count(". ") == 0
    assert report_of(run, server, *arguments)["verdict"] == verdict


def test_a_list_that_is_cut_off_gets_a_warning(
    server: ScriptedServer, run: Run
) -> None:
    play(server, mlx_lm()).models(
        [head(200, "application/json"), b'{"data": [{"id": "a']
    )
    lines = lines_of(run, server)
    assert lines[0].startswith("! The list of models of ")
    assert "did not come whole" in lines[0]
    assert lines[-1] == "A chat is possible; look at this: the list of models."


def test_a_private_certificate_can_be_trusted_or_ignored(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    certificate, context = own_certificate(tmp_path)
    with ScriptedServer(tls=context) as server:
        ask = ("doctor", "--base-url", server.base_url)
        for option in (("--ca-file", str(certificate)), ("--insecure",)):
            play(server, mlx_lm())
            assert run(*ask, *option).exit_code == 0
        assert "certificate" in run(*ask).stdout


def test_a_model_that_could_not_be_checked_gets_a_warning(
    server: ScriptedServer, run: Run
) -> None:
    server.models([]).chat(*mlx_lm().values())
    lines = lines_of(run, server, "--model", "nosuch")
    assert "! The server answers at" in lines[0]
    assert lines[1].startswith("! Whether the server has nosuch was not checked")
    assert lines[-1].startswith("A chat is possible; look at this: ")
    assert "the model that was named" in lines[-1]
    asked = {request.json["model"] for request in server.requests_to(server.CHAT)}
    assert asked == {"default_model"}  # another name might start a download


def test_ollama_is_asked_for_its_only_gpt_oss(server: ScriptedServer, run: Run) -> None:
    refusal = no_such_model("model 'default_model' not found")
    scripts = {"unnamed": refusal, **splitting("reasoning", "fp_ollama")}
    lines = lines_of(run, play(server, scripts, "qwen3:8b", "gpt-oss:20b"))
    assert lines[1].startswith("✓ gpt-oss:20b replies")
    assert lines[1].endswith(
        "(this server requires a model name: use --model gpt-oss:20b)"
    )
    assert "✓ It separates thinking and answer itself" in lines
    assert "✓ It is not mlx_lm.server, or does not tell its version" in lines
    assert lines[-1].endswith("this could not be measured: reasoning effort.")
    later = [request.json["model"] for request in server.requests_to(server.CHAT)[1:]]
    assert set(later) == {"gpt-oss:20b"}


def test_no_model_is_chosen_if_two_gpt_oss_are_listed(
    server: ScriptedServer, run: Run
) -> None:
    scripts = {"unnamed": no_such_model("model 'default_model' not found")}
    lines = lines_of(run, play(server, scripts, "gpt-oss:20b", "gpt-oss:120b"))
    assert lines[-1].startswith("No chat is possible yet: ")
    assert len(server.requests_to(server.CHAT)) == 1


def test_lm_studio_is_examined_with_the_model_that_the_user_names(
    server: ScriptedServer, run: Run
) -> None:
    play(server, splitting("reasoning", "openai/gpt-oss-20b"), "openai/gpt-oss-20b")
    lines = lines_of(run, server, "--model", "openai/gpt-oss-20b")
    assert lines[1] == "✓ The server has the model openai/gpt-oss-20b"
    assert "✓ A tool was called and its result answered" in lines


def test_llama_cpp_accepts_any_model_name(server: ScriptedServer, run: Run) -> None:
    scripts = splitting("reasoning_content", "b6123-deadbeef")
    lines = lines_of(run, play(server, scripts, "gpt-oss-20b.gguf"))
    assert lines[1].startswith("✓ The server's own model replies")
    assert not [line for line in lines if line.startswith(("✗", "!"))]


def test_a_server_without_thinking_is_not_mistaken_for_gpt_oss(
    server: ScriptedServer, run: Run
) -> None:
    scripts = mlx_lm("") | {"hello": reply("Hello there, my friend.", fingerprint="")}
    assert any(
        line.startswith("· It sends plain text")
        for line in lines_of(run, play(server, scripts))
    )


def test_control_tokens_that_a_proxy_splits_are_reported(
    server: ScriptedServer, run: Run
) -> None:
    joined = "".join(harmony("A greeting.", "Hello! Ask me about the weather."))
    scripts = mlx_lm() | {"hello": reply(joined[:30], joined[30:])}
    assert (
        "✓ It sends raw Harmony, which something on the way splits differently"
        in lines_of(run, play(server, scripts))
    )


def test_model_names_cannot_steer_the_terminal_or_add_lines(
    server: ScriptedServer, run: Run
) -> None:
    names = ("a\x1b[2J\x9b1m\n✓ b", "c\u2028✓ d")
    lines = lines_of(run, play(server, mlx_lm(), *names))
    assert len(lines) == 12
    assert lines[0].endswith("it lists c ✓ d")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_key_is_ever_shown(
    server: ScriptedServer, run: Run, form: tuple[str, ...]
) -> None:
    play(server, mlx_lm(), f"a/{KEY}", "b")
    url = server.base_url.replace("http://", "http://u:passw0rd@")
    result = run("doctor", "--base-url", url, "--api-key", KEY, *form)
    assert result.exit_code == 0
    assert KEY not in result.output
    assert "passw0rd" not in result.output


def test_the_timeout_can_be_chosen(server: ScriptedServer, run: Run) -> None:
    server.models(models("a")).chat([Hang()])
    result = run("doctor", "--base-url", server.base_url, "--timeout", "1")
    assert result.exit_code == 6
    assert "sent no reply within 1 s" in result.stdout
    assert f"({REPLY_LIMIT:g})" in run("doctor", "--help").stdout


def test_a_failure_in_json_is_in_the_language_of_the_locale(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("doctor", "--json", "--base-url", "http://u:secret@127.0.0.1:1")
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")
    japanese = json.loads(
        run("doctor", "--json", "--base-url", "http://127.0.0.1:1").stdout
    )
    report = json.loads(result.stdout)
    assert result.exit_code == 3
    assert report["ok"] is False
    assert report["steps"][0]["kind"] == "refused"
    assert report["steps"][0]["text"].startswith(
        "The connection to http://127.0.0.1:1 was refused. Start"
    )
    assert report["verdict"] == (
        "No chat is possible yet: The connection to http://127.0.0.1:1 was refused."
    )
    assert japanese["verdict"] == (
        "まだ会話できません: http://127.0.0.1:1 への接続が拒否されました。"
    )
    assert "secret" not in result.output


def test_an_error_instead_of_the_list_is_reported(
    server: ScriptedServer, run: Run
) -> None:
    server.models(json_page({"detail": "no"}, 405)).chat(page(405, "no"))
    assert lines_of(run, server)[-1].startswith("No chat is possible yet: ")


def test_each_tested_version_has_a_row_and_each_fault_has_sentences() -> None:
    tested = [tuple(map(int, version.split("."))) for version in TESTED_MLX_LM]
    rows = [mlx_lm_range((a, b, c)) for a, b, c in tested]
    assert [row.chat for row in rows] == ["cut", "yes", "yes", "yes", "yes"]
    assert [row.effort for row in rows] == [False, False, False, True, True]
    assert {row.fault for row in MLX_LM} - {""} == set(FAULTS)
    assert [row.first for row in MLX_LM] == sorted(row.first for row in MLX_LM)
    for fault in FAULTS.values():
        assert not list(
            filter(lambda field: field[1], string.Formatter().parse(fault.en))
        )
        assert fault.ja
