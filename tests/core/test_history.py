"""clean_history: the corpus, and any messages become messages that the chat template renders."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_core.history import CONTINUE, clean_history, defuse
from harmony_core.jsontext import Json, JsonObject
from harmony_core.parser import parse
from harmony_core.reply_markup import begins_as_harmony, split_reply
from toy.template import Template

CORPUS = sorted((Path(__file__).parent / "history_corpus").glob("*.json"))
CASES = [
    case for file in CORPUS for case in json.loads(file.read_text(encoding="utf-8"))
]
REPLIES = json.loads(
    (Path(__file__).parents[1] / "corpus" / "harmony.json").read_text(encoding="utf-8")
)
TOKEN = re.compile(r"<\|[a-z0-9_]+\|>")


CHAT_TEMPLATE = Template()


def render(messages: list[JsonObject]) -> str:
    """Render as the server does, which parses the arguments of calls first (mlx_server.md, rule 6)."""
    messages = copy.deepcopy(messages)
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    prompt = CHAT_TEMPLATE.render(messages, (), date="2026-11-22", effort="medium")
    prompt.encode()  # a tokenizer takes no lone surrogates
    return prompt


def strings_in(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [
            text for pair in value.items() for item in pair for text in strings_in(item)
        ]
    if isinstance(value, list):
        return [text for item in value for text in strings_in(item)]
    return [value] if isinstance(value, str) else []


def without_words(value: Json) -> Json:
    """The same messages with "{}" for every text that may be a user's."""
    if isinstance(value, dict):
        return {
            key: item if key in ("role", "type") else without_words(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_words(item) for item in value]
    return "{}" if isinstance(value, str) and value else value


# --- the corpus -------------------------------------------------------------------------------------


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) == 8
    assert len({case["name"] for case in CASES}) == len(CASES) > 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_history_is_cleaned(case: JsonObject) -> None:
    cleaned = clean_history(case["messages"])
    assert cleaned == case["cleaned"]
    assert clean_history(cleaned) == cleaned
    render(cleaned)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["name"])
def test_a_raw_reply_in_the_past_is_read_as_the_parser_reads_it(
    reply: JsonObject,
) -> None:
    answer, thoughts, calls = split_reply(reply["text"])
    if not begins_as_harmony(reply["text"]):
        assert not calls
        return
    parsed = parse(reply["text"])
    rest, more_thoughts, more_calls = split_reply(parsed.answer)
    assert answer == rest
    assert "".join(thoughts) == parsed.reasoning + "".join(more_thoughts)
    assert calls == [*parsed.tool_calls, *more_calls]


# --- defuse -----------------------------------------------------------------------------------------


TOKENS = [
    "<|start|>",
    "<|endoftext|>",
    "<|reserved_200013|>",
    "<<|end|>>",
    "<|im_start|>",
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_defused_token_looks_like_the_token_but_is_plain_text(token: str) -> None:
    harmless = defuse(f"a{token}b")
    assert not TOKEN.search(harmless)
    assert harmless.replace("\u2060", "") == f"a{token}b"


@given(
    st.lists(
        st.sampled_from(["<|", "<", "|", "|>", ">", "end", "<|end|>", "\u2060"])
    ).map("".join)
)
def test_defusing_twice_is_defusing_once(text: str) -> None:
    assert defuse(defuse(text)) == defuse(text)


# --- any messages -----------------------------------------------------------------------------------

FRAGMENTS = (
    (CORPUS[0].parent / "fragments.txt").read_text(encoding="utf-8").splitlines()
)
BLANKS = [" ", "  ", "\n", "\n\n", "\r\n", "> ", "\ud800"]
MARKUP = st.lists(st.sampled_from([*FRAGMENTS, *BLANKS])).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | MARKUP,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
PARTS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["text", "image_url", "input_audio", "thinking", "place"]
            )
            | JSON
        },
        optional={"text": MARKUP | JSON, "thinking": MARKUP},
    )
    | MARKUP,
    max_size=3,
)
IDS = st.sampled_from(["a", "b", "", "call_1", None, 7, "<|call|>"])
NAMES = st.sampled_from(
    ["f", "functions.functions.f", "Web Search", "", None, "<|end|>"]
)
FUNCTION = st.fixed_dictionaries(
    {}, optional={"name": NAMES, "arguments": MARKUP | JSON}
)
CALL = st.fixed_dictionaries({}, optional={"id": IDS, "function": FUNCTION | JSON})
CALLS = st.lists(CALL | JSON, max_size=3)
ROLES = st.sampled_from(
    [
        "user",
        "assistant",
        "assistant",
        "tool",
        "tool",
        "system",
        "developer",
        "function",
        "critic",
        None,
    ]
)
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES, "content": MARKUP | PARTS | JSON},
    optional={
        "tool_calls": CALLS | JSON,
        "function_call": FUNCTION | JSON,
        "tool_call_id": IDS,
        "name": NAMES,
        "thinking": MARKUP,
        "reasoning_content": MARKUP | JSON,
        "reasoning_details": PARTS | JSON,
        "refusal": MARKUP,
    },
)
HISTORY = st.lists(MESSAGE | JSON, max_size=6)


@given(HISTORY)
def test_the_template_renders_any_messages_after_cleaning(
    messages: list[Json],
) -> None:
    before = repr(messages)  # a copy would not do: NaN is not equal to itself
    cleaned = clean_history(messages)
    assert repr(messages) == before
    assert clean_history(cleaned) == cleaned
    assert clean_history(messages) == cleaned
    assert bool(cleaned) == bool(messages)
    assert not any(TOKEN.search(text) for text in strings_in(cleaned))
    assert TOKEN.findall(render(cleaned)) == TOKEN.findall(
        render(without_words(cleaned))
    )


@given(HISTORY)
def test_a_call_stands_alone_with_its_result_right_after_it(
    messages: list[Json],
) -> None:
    cleaned = clean_history(messages)
    for message, following in itertools.zip_longest(cleaned, cleaned[1:]):
        assert set(message) <= {
            "role",
            "content",
            "thinking",
            "tool_calls",
            "tool_call_id",
        }
        assert isinstance(message["content"], str)
        if "tool_calls" in message:
            [call] = message["tool_calls"]
            assert set(call) == {"id", "type", "function"}
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            assert not (message["content"] and message.get("thinking"))
            assert following["tool_call_id"] == call["id"]
        else:
            assert "thinking" not in message


@given(MARKUP)
def test_the_model_reads_exactly_what_a_user_writes(text: str) -> None:
    [message] = clean_history([{"role": "user", "content": text}])
    assert message["content"].replace("\u2060", "") == text.replace(
        "\u2060", ""
    ).replace("\ud800", "\ufffd")


@given(st.text(alphabet="ab 東🌸`~<>/|&#*\n\u2028"))
def test_an_answer_after_thinking_keeps_its_exact_text(text: str) -> None:
    answer, thoughts, _ = split_reply(f"<think>a</think>\n\n{text}")
    assert answer == re.sub(r"\A( *\n)+", "", text)
    assert thoughts == ["a"]


def test_tags_nested_very_deeply_become_text() -> None:
    block = ""
    for opening, closing in [
        ("think>", "think>"),
        ("details type=reasoning>", "details>"),
    ] * 3:
        block = (
            f"<{opening[:2]}{block}{opening[2:]}x</{closing[:2]}{block}{closing[2:]}"
        )
    answer, _, _ = split_reply(block)
    assert "<\u2060think>" in answer
    assert split_reply(answer) == (answer, [], [])


def nested(depth: int) -> Json:
    value: Json = []
    for _ in range(depth):
        value = [value]
    return value


NO_JSON = {
    "deep nesting": nested(100_000),
    "a key that is not a string": {("a", "b"): 1},
    "a set": {1, 2},
    "bytes": b"bytes",
    "a huge number": 10**5000,
    "no number": float("nan"),
    "an object": object(),
}


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON.keys())
def test_values_that_json_cannot_hold_do_not_raise(value: Json) -> None:
    for field in (
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "reasoning",
        "function_call",
    ):
        for role in ("user", "assistant", "tool"):
            render(clean_history([{"role": role, "content": "x", field: value}]))
    call = {"id": value, "function": {"name": value, "arguments": value}}
    render(
        clean_history(
            [{"role": "assistant", "content": [value], "tool_calls": [call, value]}]
        )
    )


# --- the prompt cache -------------------------------------------------------------------------------

STEP = st.tuples(
    st.sampled_from(["", "<think>T</think>", "Let me look."]), st.integers(1, 3)
)
ANSWER = st.sampled_from(["Hello", "<think>T</think>\n\nHello"])
TURN = st.tuples(st.lists(STEP, max_size=3), ANSWER)


def spell_out_steps(steps: list[tuple[str, int]]) -> list[list[Json]]:
    """Each step of a tool loop as its messages: a call message and its results."""
    spelled: list[list[Json]] = []
    for content, count in steps:
        calls = [
            {"function": {"name": f"f{n}", "arguments": "{}"}, "id": f"call_{n}"}
            for n in range(count)
        ]
        results = [
            {"role": "tool", "tool_call_id": f"call_{n}", "content": str(n)}
            for n in range(count)
        ]
        spelled.append(
            [{"role": "assistant", "content": content, "tool_calls": calls}, *results]
        )
    return spelled


@given(st.lists(TURN, min_size=1, max_size=4), st.lists(STEP, max_size=3))
def test_a_growing_conversation_keeps_its_beginning(
    turns: list[tuple[list[tuple[str, int]], str]], steps: list[tuple[str, int]]
) -> None:
    messages: list[Json] = [{"role": "system", "content": "S"}]
    sent = clean_history(messages)
    for loop, answer in turns:
        messages.append({"role": "user", "content": "q"})
        messages += [message for step in spell_out_steps(loop) for message in step]
        messages.append({"role": "assistant", "content": answer})
        *cleaned, last = clean_history(messages)
        assert cleaned[: len(sent)] == sent
        assert last["content"] == CONTINUE
        sent = cleaned
    messages.append({"role": "user", "content": "q"})
    for step in [[], *spell_out_steps(steps)]:
        messages += step
        cleaned = clean_history(messages)
        assert cleaned[: len(sent)] == sent
        assert render(cleaned).startswith(
            render(sent).removesuffix("<|start|>assistant")
        )
        sent = cleaned
