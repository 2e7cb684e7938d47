"""What `chat` says about a reply. It names its options, not the settings of a host."""

from __future__ import annotations

import pytest
from rich.console import Console

from harmony_core.cli.markdown import AnswerMarkdown
from harmony_core.cli.model_choice import listed_gpt_oss
from harmony_core.cli.problem_words import problem_text
from harmony_core.problems import PROBLEMS, Problem
from tests.cli.conftest import Run, chat
from tests.cli.servers import no_such_model, splitting
from tests.server import ScriptedServer, harmony, models, page, reply
from tests.support.weather import weather_call

HELLO = reply(*harmony("A greeting.", "Hello."))


def test_a_reply_with_only_a_tool_call_is_explained(
    server: ScriptedServer, run: Run
) -> None:
    result = chat(run, server.chat(reply(*weather_call("Tokyo"))))
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'only called a tool: get_weather({"city": "Tokyo"}).' in result.stderr
    assert "no tools, so nothing was run" in result.stderr


@pytest.mark.parametrize("answer", ["Half an answer", ""])
def test_a_content_filter_is_not_mistaken_for_the_token_limit(
    server: ScriptedServer, run: Run, answer: str
) -> None:
    tokens = harmony("hm", answer)
    server.chat(reply(*tokens, finish_reason="content_filter"))
    result = chat(run, server)
    assert result.exit_code == 1
    assert result.stderr == (
        "The server's content filter ended the reply. Ask in other words.\n"
    )


def test_a_cut_reply_names_the_limit_and_the_option(
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


def test_a_server_that_requires_a_name_is_asked_for_its_only_gpt_oss(
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
    assert (
        result.stderr == "(The server requires a model name, so gpt-oss:20b is used.)\n"
    )
    asked = [request.json["model"] for request in server.requests_to(server.CHAT)]
    assert asked == ["default_model", "gpt-oss:20b"]


def test_a_model_that_the_user_named_is_never_replaced(
    server: ScriptedServer, run: Run
) -> None:
    server.models(models("gpt-oss:20b")).chat(no_such_model("model 'b' not found"))
    result = chat(run, server, "--model", "b")
    assert result.exit_code == 5
    assert len(server.requests_to(server.CHAT)) == 1


def test_without_a_list_the_refusal_is_reported(
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
def test_a_model_is_chosen_only_if_one_gpt_oss_is_listed(
    ids: tuple[str, ...], chosen: str
) -> None:
    assert listed_gpt_oss(ids) == chosen


# Settings of the hosts' forms, which a command line does not have.
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
    if kind != "bad_gateway":  # its timeout is a setting of the proxy
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
