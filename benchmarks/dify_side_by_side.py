"""Sends the same requests to one server through Dify's OpenAI-compatible provider and through ours.

    .venv/bin/python -m benchmarks.dify_side_by_side [PYTHON_WITH_MLX_LM]

It starts mlx_lm.server with the toy model, and prints the table of docs/dify.md. It needs Dify's SDK, and so
Python 3.12.
"""

from __future__ import annotations

import dify_plugin  # isort: skip  (patches the process; must be first)

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from dify_plugin import LargeLanguageModel, OAICompatLargeLanguageModel
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    PromptMessage,
    PromptMessageTool,
    ToolPromptMessage,
    UserPromptMessage,
)
from dify_plugin.entities.model.provider import ModelProviderConfiguration

from dify_plugin_mlx.models.llm.llm import MlxHarmonyModel
from harmony_core.cli.toy_server import toy_server
from tests.support.weather import WEATHER_FUNCTION
from toy.transcripts import load_transcripts

assert dify_plugin

RUNS = 5
SHOWN_LENGTH = 150  # characters of a reply in the table
LINES = {transcript.name: transcript for transcript in load_transcripts()}
WEATHER = PromptMessageTool.model_validate(WEATHER_FUNCTION)


@dataclass
class Provider:
    """One of the two providers, ready to be invoked."""

    name: str
    kind: type[LargeLanguageModel]
    credentials: dict[str, object]

    def invoke(
        self,
        messages: Sequence[PromptMessage],
        tools: Sequence[PromptMessageTool],
        **wishes: object,
    ) -> Reply:
        """Request a reply, and measure when its text arrives. Errors are kept in the reply."""
        provider = ModelProviderConfiguration(
            **yaml.safe_load(Path("dify_plugin_mlx/provider/mlx.yaml").read_text())
        )
        reply = Reply()
        began, cpu = time.perf_counter(), time.process_time()
        try:
            for chunk in self.kind(
                provider.models if self.kind is MlxHarmonyModel else []
            ).invoke(
                "gpt-oss-20b",
                self.credentials,
                list(messages),
                {"temperature": 0, **wishes},
                list(tools),
            ):
                if chunk.delta.message.content:
                    reply.last_text = time.perf_counter() - began
                    reply.cpu = time.process_time() - cpu
                    reply.first_text = reply.first_text or reply.last_text
                reply.text += chunk.delta.message.get_text_content()
                reply.calls += chunk.delta.message.tool_calls
                if chunk.delta.usage:
                    reply.tokens = chunk.delta.usage.completion_tokens
        except Exception as error:  # noqa: BLE001 (a Dify user would see any error)
            reply.error = f"{type(error).__name__}: {error}"
        return reply


@dataclass
class Reply:
    """What a user of Dify gets; times are seconds after the request."""

    text: str = ""
    calls: list[AssistantPromptMessage.ToolCall] = field(default_factory=list)
    error: str = ""
    first_text: float = 0.0
    last_text: float = 0.0
    cpu: float = 0.0
    tokens: int = 0

    @property
    def shown(self) -> str:
        calls = [
            f"{call.function.name}({call.function.arguments})" for call in self.calls
        ]
        parts = [
            self.text,
            *(f"⟨tool call {call}⟩" for call in calls),
            f"⟨error {self.error}⟩" if self.error else "",
        ]
        return _code(" ".join(part for part in parts if part)) or "nothing"


def second_turn(provider: Provider) -> Reply:
    """Ask a second question. Dify sends the first answer back as it was shown."""
    first = provider.invoke([UserPromptMessage(content=LINES["greeting"].prompt)], [])
    return provider.invoke(
        [
            UserPromptMessage(content=LINES["greeting"].prompt),
            AssistantPromptMessage(content=first.text),
            UserPromptMessage(content=LINES["second_turn"].prompt),
        ],
        [],
    )


def agent(provider: Provider) -> Reply:
    """Return the answer to a tool's result, or the first reply if it has no call."""
    question = UserPromptMessage(content=LINES["tool_call"].prompt)
    first = provider.invoke([question], [WEATHER])
    if not first.calls:
        return first
    said = AssistantPromptMessage(content=first.text, tool_calls=first.calls)
    report = str(LINES["tool_answer"].messages[-1]["content"])
    result = ToolPromptMessage(content=report, tool_call_id=first.calls[0].id)
    return provider.invoke([question, said, result], [WEATHER])


def ask(provider: Provider, name: str, **wishes: object) -> Reply:
    return provider.invoke(
        [UserPromptMessage(content=LINES[name].prompt)], [], **wishes
    )


def unreachable(provider: Provider) -> Reply:
    nowhere = dict.fromkeys(("base_url", "endpoint_url"), "http://localhost:9")
    return ask(
        replace(provider, credentials=provider.credentials | nowhere), "greeting"
    )


CASES: dict[str, Callable[[Provider], Reply]] = {
    "a chat in Japanese": lambda provider: ask(provider, "greeting_ja"),
    "the second turn": second_turn,
    "an agent with a tool": agent,
    "a JSON reply": lambda provider: ask(
        provider, "json", response_format="json_object"
    ),
    "a title (`max_tokens` 100)": lambda provider: ask(
        provider, "user_input_title", max_tokens=100
    ),
    "an unreachable server": unreachable,
}


def table(providers: Sequence[Provider]) -> Iterator[str]:
    """Yield the lines of the table: what each case shows, then counts and speeds."""
    yield _row("", (provider.name for provider in providers))
    yield _row("---", ("---" for _ in providers))
    for title, case in CASES.items():
        yield _row(title, (case(provider).shown for provider in providers))
    counts = [ask(provider, "greeting_ja") for provider in providers]
    yield _row(
        "tokens counted",
        (str(reply.tokens or _code(f"⟨error {reply.error}⟩")) for reply in counts),
    )
    rounds = [
        [ask(provider, "long_story", max_tokens=4000) for provider in providers]
        for _ in range(RUNS)
    ]
    # All replies have the same tokens, so the server's count for one of them holds for all.
    tokens = max(reply.tokens for replies in rounds for reply in replies)
    # The providers took turns above, so a busy machine slows both.
    runs = list(zip(*rounds, strict=True))
    firsts = [statistics.median(reply.first_text for reply in run) for run in runs]
    speeds = [
        statistics.median(tokens / reply.last_text for reply in run) for run in runs
    ]
    costs = [statistics.median(reply.cpu / tokens for reply in run) for run in runs]
    yield _row("first text after", (f"{first * 1000:.0f} ms" for first in firsts))
    yield _row("tokens per second", (f"{speed:.0f}" for speed in speeds))
    yield _row(
        "the plugin's own time per token", (f"{cost * 1000:.2f} ms" for cost in costs)
    )


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def _code(text: str) -> str:
    line = text.replace("\n", "⏎").replace("`", "´")
    line = line if len(line) <= SHOWN_LENGTH else f"{line[:SHOWN_LENGTH]}…"
    return f"`{line}`".replace("|", "\\|") if line else ""


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else ".cache/mlx-lm-newest/bin/python"
    with toy_server([python, "-m", "mlx_lm.server"]) as server:
        compatible: dict[str, object] = {
            "endpoint_url": f"{server.base_url}/v1",
            "mode": "chat",
        }
        compatible |= {
            "function_calling_type": "tool_call",
            "endpoint_model_name": "default_model",
        }
        providers = [
            Provider(
                "`OAICompatLargeLanguageModel`", OAICompatLargeLanguageModel, compatible
            ),
            Provider("MLX Harmony", MlxHarmonyModel, {"base_url": server.base_url}),
        ]
        print(*table(providers), sep="\n")


if __name__ == "__main__":
    main()
