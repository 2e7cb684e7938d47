"""What `chat` says about a reply, in words that fit its own options."""

from __future__ import annotations

import pytest
from rich.console import Console

from harmony_core.cli.markdown import AnswerMarkdown
from harmony_core.cli.model_choice import listed_gpt_oss
from harmony_core.cli.problem_words import problem_text
from harmony_core.problems import PROBLEMS, Problem
from tests.cli.conftest import Outcome, Run
from tests.cli.servers import no_such_model, splitting
from tests.server import ScriptedServer, harmony, models, page, reply
from tests.support.weather import weather_call

HELLO = reply(*harmony("A greeting.", "Hello."))


def chat(run: Run, server: ScriptedServer, *arguments: str) -> Outcome:
    return run("chat", "Hi", "--base-url", server.base_url, *arguments)


def test_a_reply_that_is_only_a_tool_call_says_so(
    server: ScriptedServer, run: Run
) -> None:
    result = chat(run, server.chat(reply(*weather_call("Tokyo"))))
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'only called a tool: get_weather({"city": "Tokyo"}).' in result.stderr
    assert "no tools, so nothing was run" in result.stderr


@pytest.mark.parametrize("answer", ["Half an answer", ""])
def test_an_end_by_a_content_filter_is_not_taken_for_too_few_tokens(
    server: ScriptedServer, run: Run, answer: str
) -> None:
    tokens = harmony("hm", answer)
    server.chat(reply(*tokens, finish_reason="content_filter"))
    result = chat(run, server)
    assert result.exit_code == 1
    assert result.stderr == (
        "The server's content filter ended the reply. Ask in other words.\n"
    )


def test_what_is_cut_names_the_limit_and_the_option(
    server: ScriptedServer, run: Run
) -> None:
    thought = ["<|channel|>", "analysis", "<|message|>", "hm"]
    server.chat(
        reply(*harmony("hm", "Half"), finish_reason="length"),
        reply(*thought, finish_reason="length"),
    )
    answer = chat(run, server)
    thinking = chat(run, server, "--max-tokens", "5")
    assert "the limit of 8192 tokens. Raise --max-tokens" in answer.stderr
    assert thinking.stderr == (
        "The model used up its 5 tokens before it could answer. "
        "Raise --max-tokens, or lower --effort.\n"
    )


def test_the_address_may_come_from_the_environment(
    server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_HARMONY_BASE_URL", server.chat(HELLO).base_url)
    assert run("chat", "Hi").stdout == "Hello.\n"
    assert "MLX_HARMONY_BASE_URL" in run("chat", "--help").stdout


def test_a_server_that_wants_a_name_is_asked_for_its_one_gpt_oss(
    server: ScriptedServer, run: Run
) -> None:
    answer = splitting("reasoning", "fp_ollama")["hello"]
    server.models(models("qwen3:8b", "gpt-oss:20b"))
    server.chat(no_such_model("model 'default_model' not found"), answer)
    result = chat(run, server)
    assert (result.exit_code, result.stdout) == (
        0,
        "Hello! Ask me about the weather.\n",
    )
    assert result.stderr == "(The server wants a name, so this is gpt-oss:20b.)\n"
    asked = [request.json["model"] for request in server.requests_to(server.CHAT)]
    assert asked == ["default_model", "gpt-oss:20b"]


def test_a_name_that_the_user_gave_is_never_replaced(
    server: ScriptedServer, run: Run
) -> None:
    server.models(models("gpt-oss:20b")).chat(no_such_model("model 'b' not found"))
    result = chat(run, server, "--model", "b")
    assert result.exit_code == 5
    assert len(server.requests_to(server.CHAT)) == 1


def test_without_a_list_the_servers_refusal_stands(
    server: ScriptedServer, run: Run
) -> None:
    server.models(page(500, "no")).chat(no_such_model("model not found"))
    assert chat(run, server).exit_code == 5


@pytest.mark.parametrize(
    ("ids", "chosen"),
    [
        (("qwen3:8b", "gpt-oss:20b"), "gpt-oss:20b"),
        (("mlx-community/gpt_oss_20b",), "mlx-community/gpt_oss_20b"),
        (("gpt-oss:20b", "gpt-oss:120b"), ""),
        (("qwen3:8b",), ""),
        ((), ""),
    ],
)
def test_a_model_is_chosen_only_where_there_is_no_choice(
    ids: tuple[str, ...], chosen: str
) -> None:
    assert listed_gpt_oss(ids) == chosen


# What stands in the forms of hosts, and is nowhere on a command line.
SETTINGS = {
    "en": (
        "base URL",
        "byte timeout",
        "idle timeout",
        " max_tokens",
        "reasoning effort",
    ),
    "ja": ("ベース URL", "制限時間を延ばしてください。", "(reasoning", "（reasoning"),
}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_problem_names_options_instead_of_settings(
    kind: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8" if language == "ja" else "C")
    row = PROBLEMS[kind]
    told = problem_text(Problem(kind, row.stage, row.en, row.ja))
    if kind != "bad_gateway":  # there it is the proxy's own time limit
        assert not [name for name in SETTINGS[language] if name in told]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("**bold**", "bold"),
        ("one\ntwo", "one\ntwo"),
        (r"\(x^2\) and \[y\]", r"\(x^2\) and \[y\]"),
        ("<details>kept</details>", "<details>kept</details>"),
        ("a <kbd>b</kbd>", "a <kbd>b</kbd>"),
        ("[site](http://a.b/c)", "site (http://a.b/c)"),
        ("[1]: http://a.b/c", "[1]: http://a.b/c"),
        ("![cat](http://a.b/c)", "!cat (http://a.b/c)"),
    ],
)
def test_markdown_loses_nothing_that_a_reader_needs(answer: str, shown: str) -> None:
    console = Console(width=60, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(AnswerMarkdown(answer))
    lines = [line.rstrip() for line in captured.get().strip("\n").split("\n")]
    assert "\n".join(lines) == shown
