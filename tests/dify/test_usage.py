"""Token counts of replies that ended before the server counted, beside what gpt-oss counts.

The counts below were taken with the vocabulary of gpt-oss (`tokens_of` of `benchmarks.peers`), over the
messages as gpt-oss's own chat template writes them, markers and system message included.
"""

from __future__ import annotations

import pytest
from dify_plugin.entities.model.message import (
    AssistantPromptMessage,
    PromptMessage,
    SystemPromptMessage,
    UserPromptMessage,
)

from tests.dify.sdk_driver import WEATHER, Talk
from tests.server import DONE, Script, ScriptedServer, harmony, head, reply, text

ENGLISH = (
    "Last summer my sister and I took the night train from Vienna to Venice. We had packed bread, "
    "apples and far too many books, and nobody on board could sleep because a choir from Graz sang in "
    "the corridor until three. What would you read on such a journey, and why?"
)
JAPANESE = (
    "昨年の夏、姉と一緒に夜行列車で京都から青森まで旅をしました。車内ではおにぎりを食べながら、窓の外に流れる"
    "田んぼや海をずっと眺めていました。こういう旅に持って行くなら、どんな本がおすすめですか。理由も教えてください。"
)
PROMPTS: dict[str, tuple[list[PromptMessage], int]] = {
    "a word": ([UserPromptMessage(content="Hello")], 68),
    "English": ([UserPromptMessage(content=ENGLISH)], 124),
    "Japanese": ([UserPromptMessage(content=JAPANESE)], 150),
    "a conversation": (
        [
            SystemPromptMessage(content="Be brief."),
            UserPromptMessage(content=ENGLISH),
            AssistantPromptMessage(
                content=f"<think>\n{ENGLISH}\n</think>\n\n{JAPANESE}"
            ),
            UserPromptMessage(content="Hello"),
        ],
        228,
    ),
}
REPLIES = {"English": (ENGLISH, 124), "Japanese": (JAPANESE, 150)}


def within_a_fifth(estimate: int, count: int) -> bool:
    return 0.8 * count <= estimate <= 1.2 * count


@pytest.mark.parametrize(("messages", "count"), PROMPTS.values(), ids=PROMPTS)
def test_the_prompt_of_a_reply_that_is_cut_is_estimated(
    server: ScriptedServer, talk: Talk, messages: list[PromptMessage], count: int
) -> None:
    server.chat(reply_without_usage("Hm", "Yes. Observation: no"))
    shown = talk.say(messages, stop=["Observation"])
    assert within_a_fifth(shown.usage.prompt_tokens, count)
    estimate = talk.model().get_num_tokens("gpt-oss-20b", {}, messages)
    assert within_a_fifth(estimate, count)


def test_tools_are_counted_as_the_template_writes_them(talk: Talk) -> None:
    messages: list[PromptMessage] = [UserPromptMessage(content="Hello")]
    estimate = talk.model().get_num_tokens("gpt-oss-20b", {}, messages, [WEATHER])
    assert within_a_fifth(estimate, 117)


@pytest.mark.parametrize(("answer", "count"), REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_reply_that_is_cut_is_estimated_however_it_was_split(
    server: ScriptedServer, talk: Talk, answer: str, count: int, size: int
) -> None:
    thinking = [ENGLISH[at : at + size] for at in range(0, len(ENGLISH), size)]
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    markers = harmony("", "")
    middle = markers.index("<|message|>") + 1
    script = [*markers[:middle], *thinking, *markers[middle:], *pieces, "Observation"]
    server.chat([head(), *(text(piece) for piece in script), DONE])
    shown = talk.say(stop=["Observation"])
    assert within_a_fifth(shown.usage.completion_tokens, count)


def test_what_the_server_counted_is_not_estimated(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony("Hm", "Yes"), completion_tokens=321))
    usage = talk.say(ENGLISH).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (68, 321)


def reply_without_usage(thinking: str, answer: str) -> Script:
    return [head(), *(text(token) for token in harmony(thinking, answer)), DONE]
