"""`chat` with one message: what goes to stdout, to stderr, to the server, and into the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harmony_core.client import Timeouts
from tests.cli.conftest import Run, chat
from tests.server import (
    Hang,
    Reset,
    Script,
    ScriptedServer,
    harmony,
    head,
    models,
    page,
    reply,
    text,
)

HELLO = reply(*harmony("The user greets me.", "Hello 世界 😀."))
KEY = "sk-very-secret"


def test_the_answer_alone_goes_to_stdout(server: ScriptedServer, run: Run) -> None:
    server.chat(HELLO)
    result = chat(run, server)
    assert result.stdout == "Hello 世界 😀.\n"
    assert result.stderr == ""
    assert result.exit_code == 0


def test_thinking_goes_to_stderr_if_it_is_shown(
    server: ScriptedServer, run: Run
) -> None:
    server.chat(HELLO)
    result = chat(run, server, "--thinking", "show")
    assert result.stdout == "Hello 世界 😀.\n"
    assert result.stderr == "The user greets me.\n\n"


def test_two_thoughts_are_shown_with_a_blank_line_between(
    server: ScriptedServer, run: Run
) -> None:
    thought = ["<|channel|>", "analysis", "<|message|>", "One.", "<|end|>", "<|start|>"]
    server.chat(reply(*thought, "assistant", *harmony("Two.", "Done")))
    result = chat(run, server, "--thinking", "show")
    assert "One.\n\nTwo." in result.stderr


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_message_may_come_from_stdin(
    server: ScriptedServer, run: Run, arguments: tuple[str, ...]
) -> None:
    server.chat(HELLO)
    run("chat", *arguments, "--base-url", server.base_url, input="Hi\nthere\n")
    assert server.requests[0].json["messages"] == [
        {"role": "user", "content": "Hi\nthere"}
    ]


def test_nothing_on_stdin_is_wrong_usage(run: Run) -> None:
    assert run("chat", "-", input=" \n").exit_code == 2


def test_the_options_reach_the_server(server: ScriptedServer, run: Run) -> None:
    server.chat(HELLO)
    options = [
        "--model",
        "a/b",
        "--effort",
        "low",
        "--max-tokens",
        "99",
        "--temperature",
        "0.5",
    ]
    options += ["--top-p", "0.9", "--system", "Be brief.", "--api-key", KEY]
    chat(run, server, *options)
    (request,) = server.requests
    sent = request.json
    assert sent["model"] == "a/b"
    assert sent["chat_template_kwargs"] == {"reasoning_effort": "low"}
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (99, 0.5, 0.9)
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_the_key_may_come_from_the_environment_and_is_never_shown(
    server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_HARMONY_API_KEY", KEY)
    server.chat(page(401, f"{KEY} is wrong"))
    result = chat(run, server)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert result.exit_code == 4
    assert KEY not in result.output + run("chat", "--help").output


def test_undecodable_bytes_in_a_model_name_are_replaced(
    server: ScriptedServer, run: Run
) -> None:
    server.chat(HELLO)
    result = chat(run, server, "--model", "a\udcff")
    assert result.exit_code == 0
    assert server.requests[0].json["model"] == "a?"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([Hang()], "sent no reply within 1 s"),
        ([head(), text("Hello"), Hang()], "silent for 1 s"),
    ],
    ids=["before the reply", "within the reply"],
)
def test_the_timeout_can_be_chosen(
    server: ScriptedServer, run: Run, script: Script, words: str
) -> None:
    server.chat(script)
    result = chat(run, server, "--timeout", "1")
    assert result.exit_code == 6
    assert words in result.stderr


def test_the_help_shows_the_default_timeouts(run: Run) -> None:
    usual = Timeouts()
    words = f"{usual.first_byte:g}, then {usual.idle:g} within"
    assert words in run("chat", "--help").stdout.replace("│", "")


def test_an_error_message_cannot_steer_the_terminal(
    server: ScriptedServer, run: Run
) -> None:
    server.chat(page(400, '{"error": "no \\u001b[31m."}'))
    result = chat(run, server)
    assert "no [31m" in result.stderr
    assert "\x1b" not in result.stderr


FAILURES: dict[str, tuple[Script, int]] = {
    "refused by a proxy": (page(403, "no"), 4),
    "no such model": (page(404, "Not Found"), 5),
    "cut": (reply(*harmony("hm", "Hello"), finish_reason="length"), 1),
    "cut in thinking": (
        reply("<|channel|>", "analysis", "<|message|>", "hm", finish_reason="length"),
        1,
    ),
    "nothing": (reply(), 1),
    "broken off": ([head(), text("Hello"), Reset()], 6),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_has_an_exit_code_and_prints_one_line(
    server: ScriptedServer, run: Run, name: str
) -> None:
    script, code = FAILURES[name]
    server.chat(script).models(models("a"))
    result = chat(run, server)
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_an_unreachable_server_is_reported_in_the_language_of_the_locale(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    english = run("chat", "Hi", "--base-url", "http://127.0.0.1:1")
    monkeypatch.setenv("LC_ALL", "")
    monkeypatch.setenv("LC_MESSAGES", "ja_JP.UTF-8")
    japanese = run("chat", "Hi", "--base-url", "http://127.0.0.1:1")
    assert english.exit_code == japanese.exit_code == 3
    assert "was refused." in english.stderr
    assert "拒否されました。" in japanese.stderr


SCHEMA = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string"}},
}


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


def test_a_json_reply_is_printed_without_fence_and_thinking(
    server: ScriptedServer, run: Run, schema: str
) -> None:
    server.chat(reply(*harmony("hm", '```json\n{"city": "Paris"}\n```')))
    result = chat(run, server, "--json-schema", schema)
    assert json.loads(result.stdout) == {"city": "Paris"}
    assert result.exit_code == 0
    assert '"city"' in json.dumps(server.requests[0].json["messages"]).replace("\\", "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"city": 5}', "$.city: 5 is not of type 'string'"),
        ("{}", "'city' is a required"),
        ("Paris.", "not JSON"),
    ],
)
def test_a_json_reply_that_does_not_fit_is_reported(
    server: ScriptedServer, run: Run, schema: str, answer: str, words: str
) -> None:
    server.chat(reply(*harmony("hm", answer)))
    result = chat(run, server, "--json-schema", schema)
    assert result.stdout.strip() == answer
    assert words in result.stderr
    assert result.exit_code == 1


def test_a_schema_never_fetches_anything(
    server: ScriptedServer, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"$ref": f"{server.base_url}/schema.json"}))
    server.chat(reply(*harmony("hm", "{}")))
    result = chat(run, server, "--json-schema", str(path))
    assert result.exit_code == 1
    assert "cannot be resolved" in result.stderr
    assert [request.path for request in server.requests] == [server.CHAT]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$id": "http://[", "$ref": "x"},
        {"$ref": "#/a", "a": 5},
        {"$ref": "#/a/x", "a": []},
    ],
    ids=json.dumps,
)
def test_a_schema_that_cannot_be_applied_is_reported(
    server: ScriptedServer, run: Run, tmp_path: Path, schema: object
) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    server.chat(reply(*harmony("hm", "{}")))
    result = chat(run, server, "--json-schema", str(path))
    assert result.exit_code == 1
    assert "(the schema cannot be applied)" in result.stderr


INVALID_SCHEMAS = (
    "{",
    "[]",
    '{"type": "nonsense"}',
    '{"$schema": 5}',
    '{"$schema": []}',
    '{"$schema": "http://["}',
    '{"not": ' * 400 + "{}" + "}" * 400,
)


@pytest.mark.parametrize("content", [None, *INVALID_SCHEMAS])
def test_a_file_without_a_schema_is_wrong_usage(
    run: Run, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_text(content)
    assert run("chat", "Hi", "--json-schema", str(path)).exit_code == 2
