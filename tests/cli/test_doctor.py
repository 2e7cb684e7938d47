"""`doctor`: a checklist for people, or JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harmony_core.cli.doctor import REPLY_LIMIT
from tests.cli.conftest import Run
from tests.server import Hang, Script, ScriptedServer, head, models, page, reply
from tests.server.certificate import own_certificate

ONE_TOKEN = reply("<|channel|>", finish_reason="length")


def test_a_healthy_server_gets_a_tick_at_each_step(
    server: ScriptedServer, run: Run
) -> None:
    server.models(models("a/gpt-oss-20b")).chat(ONE_TOKEN)
    result = run("doctor", "--base-url", server.base_url)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"✓ The server answers at {server.base_url}; it lists a/gpt-oss-20b",
        "✓ The model can be used: default_model",
        "✓ The model replies",
        "✓ Server: mlx-lm 0.32.2",
        "All is well.",
    ]


def test_another_kind_of_server_is_fine_too(server: ScriptedServer, run: Run) -> None:
    server.models(models("a")).chat(reply("x", fingerprint=""))
    assert (
        "✓ The server does not tell its version"
        in run("doctor", "--base-url", server.base_url).stdout
    )


def test_a_list_that_is_cut_off_is_not_called_no_list(
    server: ScriptedServer, run: Run
) -> None:
    server.models([head(200, "application/json"), b'{"data": [{"id": "a']).chat(
        ONE_TOKEN
    )
    assert "did not come whole" in run("doctor", "--base-url", server.base_url).stdout


def test_certificates_of_ones_own_are_taken_or_not_looked_at(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    certificate, context = own_certificate(tmp_path)
    with ScriptedServer(tls=context) as server:
        server.models(models("a")).chat(ONE_TOKEN)
        ask = ("doctor", "--base-url", server.base_url)
        assert run(*ask, "--ca-file", str(certificate)).exit_code == 0
        assert run(*ask, "--insecure").exit_code == 0
        assert "certificate" in run(*ask).stdout


CASES: dict[str, tuple[Script, Script, tuple[str, ...], int, str]] = {
    "wrong path": (
        page(404, "Not Found"),
        page(404, "Not Found"),
        (),
        4,
        "✗ {url} answers, but",
    ),
    "unknown model": (models("a/b"), ONE_TOKEN, ("--model", "b"), 5, "lists: a/b."),
    "dead": (
        models("a"),
        page(404, '{"error": "generation thread died"}'),
        (),
        6,
        "✗ The server took",
    ),
    "lossy": (
        models("a"),
        reply("x", fingerprint="0.26.3-0.28-L"),
        (),
        5,
        "✗ The server's mlx-lm 0.26.3",
    ),
    "unstable": (
        models("a"),
        reply("x", fingerprint="0.30.1-0.30-L"),
        (),
        0,
        "! The server's mlx-lm 0.30.1",
    ),
    "no list": (
        [],
        ONE_TOKEN,
        (),
        0,
        "! The server answers at {url}, but gives no list",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_finding_is_reported_with_its_exit_code(
    server: ScriptedServer, run: Run, name: str
) -> None:
    list_script, chat_script, arguments, code, words = CASES[name]
    server.models(list_script).chat(chat_script)
    result = run("doctor", "--base-url", server.base_url, *arguments)
    assert result.exit_code == code
    assert words.format(url=server.base_url) in result.stdout
    assert ("All is well." in result.stdout) == (code == 0)


def test_the_names_of_models_can_neither_steer_the_terminal_nor_make_up_lines(
    server: ScriptedServer, run: Run
) -> None:
    server.models(models("a\x1b[2J\x9b1m\n✓ b", "c\u2028✓ d")).chat(ONE_TOKEN)
    lines = run("doctor", "--base-url", server.base_url).stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].endswith("it lists c ✓ d")


def test_the_wait_for_a_reply_can_be_chosen(server: ScriptedServer, run: Run) -> None:
    server.models(models("a")).chat([Hang()])
    result = run("doctor", "--base-url", server.base_url, "--timeout", "1")
    assert result.exit_code == 6
    assert "sent no reply within 1 s" in result.stdout
    assert f"({REPLY_LIMIT:g})" in run("doctor", "--help").stdout


def test_the_report_can_be_json(server: ScriptedServer, run: Run) -> None:
    server.models(models("a")).chat(reply("x", fingerprint="0.30.1-0.30-L"))
    report = json.loads(run("doctor", "--json", "--base-url", server.base_url).stdout)
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]] == [
        "server",
        "model",
        "reply",
        "version",
    ]
    assert report["steps"][-1]["kind"] == "unstable_server"


def test_a_failure_in_json_speaks_the_language_of_the_locale(
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
    assert japanese["steps"][0]["text"].startswith(
        "http://127.0.0.1:1 への接続が拒否されました。"
    )
    assert "secret" not in result.output
