"""The filters, the help, the exit codes, and the words in both languages."""

from __future__ import annotations

import json
import shlex
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from prompt_toolkit.utils import get_cwidth

from harmony_core import __version__
from harmony_core.body import MAX_MARKERS
from harmony_core.cli import bench
from harmony_core.cli.exit_codes import exit_code
from harmony_core.cli.phrases import _PHRASES, language, phrase
from harmony_core.cli.phrases_help import _COMMANDS, _TEXTS
from harmony_core.lexer import MARKER
from harmony_core.problems import PROBLEMS
from tests.cli.conftest import Outcome, Run

RAW = (
    "<|channel|>analysis<|message|>ふむ<|end|><|start|>assistant<|channel|>final<|message|>Hi<|end|>"
    "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}"
)


def test_parse_turns_raw_text_into_json(run: Run) -> None:
    result = run("parse", input=RAW)
    assert json.loads(result.stdout) == {
        "reasoning": "ふむ",
        "answer": "Hi",
        "tool_calls": [{"name": "f", "arguments": "{}"}],
        "truncated": False,
    }


def test_clean_removes_markup_from_messages(run: Run) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": RAW[:118]},
        {"role": "user", "content": "More"},
    ]
    cleaned = json.loads(run("clean", input=json.dumps(messages)).stdout)
    assert [message["role"] for message in cleaned] == ["user", "assistant", "user"]
    assert cleaned[1]["content"] == "Hi"


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no"])
def test_clean_refuses_anything_but_a_list_of_messages(run: Run, text: str) -> None:
    result = run("clean", input=text)
    assert result.exit_code == 2
    assert result.stderr.startswith("Standard input is not a JSON list of messages.")
    assert result.stdout == ""


def test_every_kind_of_problem_has_an_exit_code() -> None:
    kinds = {row.partition("/")[0] for row in PROBLEMS}
    assert {exit_code(kind) for kind in kinds} == {1, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("refused", 3),
        ("bad_key", 4),
        ("unauthorized", 4),
        ("bad_gateway", 4),
        ("lossy_server", 5),
        ("empty_reply", 6),
        ("cut_in_reasoning", 1),
    ],
)
def test_the_exit_code_of_a_problem_follows_from_its_stage(
    kind: str, code: int
) -> None:
    assert exit_code(kind) == code


def test_the_help_names_the_commands_and_the_exit_codes(run: Run) -> None:
    help_text = " ".join(run("--help").stdout.split())
    for word in (
        "chat",
        "doctor",
        "parse",
        "clean",
        "demo",
        "3 the server cannot be reached",
    ):
        assert word in help_text


@pytest.mark.parametrize("command", ["", *_COMMANDS])
def test_the_help_is_japanese_in_a_japanese_locale(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")
    japanese = without_blanks(shell(f"{command} --help", monkeypatch).stdout)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    english = without_blanks(shell(f"{command} --help", monkeypatch).stdout)
    assert without_blanks(_COMMANDS.get(command, "")) in japanese
    shown = [told for words, told in _TEXTS.items() if without_blanks(words) in english]
    assert [told for told in shown if without_blanks(told) not in japanese] == []
    assert shown or command in ("parse", "clean", "bench")  # these take no options


def without_blanks(text: str) -> str:
    """Return a text without blanks and frames, so that wrapping does not matter."""
    return "".join(text.replace("│", "").split())


@pytest.mark.parametrize("command", [[], ["chat"], ["package"]])
def test_the_short_option_shows_the_same_help(run: Run, command: list[str]) -> None:
    assert run(*command, "-h") == run(*command, "--help")


def test_the_version_is_that_of_the_library(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"mlx-harmony {__version__}\n")


def test_the_help_loads_no_http_library() -> None:
    program = (
        "import sys; from harmony_core.cli.app import app; "
        "names = ('requests', 'markdown_it', 'prompt_toolkit', 'jsonschema'); "
        "print([name for name in names if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"


def test_the_module_can_be_run() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "harmony_core", "parse"],
        cwd=Path(__file__).parents[2],
        input=RAW.encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(result.stdout)["answer"] == "Hi"


def test_an_encoding_without_japanese_does_not_stop_the_chat() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-X",
            "utf8=0",
            "-m",
            "harmony_core",
            "chat",
            "Hi",
            "--base-url",
            "http://127.0.0.1:1",
        ],
        cwd=Path(__file__).parents[2],
        env={"LC_ALL": "ja_JP.UTF-8", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 3
    assert b"http://127.0.0.1:1 ????" in result.stderr


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_closed_pipe_prints_no_error(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "harmony_core", "parse"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(b"x" * size)
    assert errors == b""
    assert process.returncode == 1


def shell(line: str, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Run the command in a shell, as a new process."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    result = subprocess.run(
        f"exec {shlex.quote(sys.executable)} -m harmony_core {line}",
        shell=True,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(result.stdout, result.stderr, result.returncode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("command", ["parse", "--help"])
def test_a_full_disk_is_reported_in_one_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = shell(f"{command} > /dev/full", monkeypatch)
    assert result.exit_code == 1
    assert result.stderr.startswith("Reading or writing failed (No space left")
    assert result.stderr.count("\n") == 1
    assert shell(f"{command} > /dev/full 2>&1", monkeypatch).exit_code == 1


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        ("parse <&-", 0),
        ("clean <&-", 2),
        ("chat <&-", 2),
        ("parse >&-", 0),
        ("chat hi --base-url http://127.0.0.1:1 >&-", 3),
        ("chat hi --base-url http://127.0.0.1:1 2>&-", 3),
        ("doctor --json --base-url http://127.0.0.1:1 >&-", 3),
    ],
)
def test_closed_standard_streams_count_as_empty(
    line: str, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = shell(line, monkeypatch)
    assert result.exit_code == exit_code
    assert "Traceback" not in result.output


@pytest.mark.parametrize("key", _PHRASES)
def test_both_languages_fill_in_the_same_blanks(key: str) -> None:
    english, japanese = (
        {name for _, name, _, _ in string.Formatter().parse(text) if name}
        for text in _PHRASES[key]
    )
    assert english == japanese


@pytest.mark.parametrize("toolbar", _PHRASES["toolbar"])
def test_the_toolbar_fits_a_terminal_of_80_columns(toolbar: str) -> None:
    # Some terminals draw the dots two columns wide.
    assert get_cwidth(toolbar) + toolbar.count("·") <= 80


def test_the_text_of_demo_serve_names_the_fields_of_the_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(__file__).parents[2]
    form = (root / "dify_plugin_mlx" / "provider" / "mlx.yaml").read_text("utf-8")
    valves = (root / "openwebui_pipe" / "valves.py").read_text("utf-8")
    english = phrase("serving", url="URL", port=1, command="mlx-harmony")
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")
    japanese = phrase("serving", url="URL", port=1, command="mlx-harmony")
    assert "en_US: Server URL\n" in form
    assert "ja_JP: サーバー URL\n" in form
    assert 'title="Base URL"' in valves
    assert "Server URL URL" in english
    assert "“Base URL” URL" in english
    assert "サーバー URL に URL" in japanese
    assert "「ベース URL」に URL" in japanese


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"LC_ALL": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LC_ALL": "C", "LANG": "ja_JP.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_locale_decides_the_language(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], expected: str
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.setenv(name, settings.get(name, ""))
    assert language() == expected


def test_bench_shows_every_state_beside_its_goal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (1024, 2048)
    states = tuple(
        replace(state, sizes=small) if state.sizes == bench.SIZES else state
        for state in bench.STATES
    )
    monkeypatch.setattr(bench, "SIZES", small)
    monkeypatch.setattr(bench, "STATES", states)
    monkeypatch.setattr(bench, "REPEATS", 1)
    whole_measurement = bench.stream_costs
    monkeypatch.setattr(bench, "stream_costs", lambda: whole_measurement(50))
    shown = run("bench").stdout
    assert all(f"{state.name} " in shown for state in states)
    assert "Japanese, blocks of 4 KiB" in shown
    assert "\nshort and long: 1K and 2K characters (" in shown
    assert shown.endswith(
        "; before the first header: 128 and 512)\ngoal: ratio <= 0.6\n"
    )


def test_bench_measures_no_text_that_the_parser_cuts() -> None:
    for state in bench.STATES:
        for size in state.sizes:
            assert len(MARKER.findall(state.text(size))) <= MAX_MARKERS
