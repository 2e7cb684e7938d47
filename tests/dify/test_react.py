"""Agents without tool calls: what Dify 1.7's parser reads in our replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.dify.sdk_driver import Talk
from tests.server import DONE, Script, ScriptedServer, chunk, harmony, head, reply

STOP = ["Observation"]
DELETE = '{"action": "delete_everything", "action_input": {"sure": true}}'
SEARCH = '{"action": "search", "action_input": {"query": "Paris"}}'

FINAL = "Thought: done\nFinalAnswer: Paris"


def objects_in(text: str) -> Iterator[object]:
    """Every outermost pair of braces in a text, read as JSON: quotes do not protect a brace."""
    depth = start = 0
    for at, character in enumerate(text):
        if character == "{":
            start = start if depth else at
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                try:
                    yield json.loads(text[start : at + 1], strict=False)
                except ValueError:
                    continue


def actions_in(pieces: Sequence[str]) -> list[tuple[object, object]]:
    """What the agent runs: the rules of Dify 1.7's `cot_output_parser`, told in our own words.

    Characters are read one by one, in whatever chunks they come. An object in braces, in a code block or
    not, is an action if one of its keys has "input" in its name, and another has not: the one holds the
    input, the other the tool's name. `<think>` means nothing.
    """
    found = []
    for value in objects_in("".join(pieces)):
        if isinstance(value, Mapping):
            inputs = [value[key] for key in value if "input" in key.lower()]
            names = [value[key] for key in value if "input" not in key.lower()]
            if inputs and names:
                found.append((names[-1], inputs[-1]))
    return found


@pytest.mark.parametrize(
    "answer",
    [
        f"Thought: I search.\nAction:\n```\n{SEARCH}\n```\n",
        f"Thought: I search.\nAction: {SEARCH}\nObservation: sunny",
    ],
    ids=["in a code block", "bare, with an observation that the model invents"],
)
def test_an_action_that_the_model_only_thinks_of_is_not_run(
    server: ScriptedServer, talk: Talk, answer: str
) -> None:
    server.chat(reply(*harmony(f"I could say Action: {DELETE}", answer)))
    shown = talk.say(stop=STOP, thinking="fold")
    assert actions_in(shown.pieces) == [("search", {"query": "Paris"})]
    assert shown.text.startswith("Thought: I search.")
    assert "sunny" not in shown.text


IN_THOUGHT = {
    "as Harmony": reply(*harmony(f"I could:\n```\n{DELETE}\n```", FINAL)),
    "in <think> tags": reply("<think>", f"Action: {DELETE}", "</think>", FINAL),
    "in its own field": [
        head(),
        chunk({"reasoning": f"Action: {DELETE}"}),
        chunk({"content": FINAL}),
        chunk({}, "stop"),
        DONE,
    ],
}


@pytest.mark.parametrize("script", IN_THOUGHT.values(), ids=IN_THOUGHT)
@pytest.mark.parametrize("stop", ["Observation", "\nObservation:", "observation"])
def test_no_thinking_reaches_the_parser_however_a_server_sends_it(
    server: ScriptedServer, talk: Talk, script: Script, stop: str
) -> None:
    server.chat(script)
    shown = talk.say(stop=[stop], thinking="fold")
    assert (shown.text, shown.error) == (FINAL, None)


def test_without_the_stop_word_thinking_is_folded_and_its_action_would_run(
    server: ScriptedServer, talk: Talk
) -> None:
    server.chat(reply(*harmony(f"I could say Action: {DELETE}", f"Action: {SEARCH}")))
    names = [name for name, _ in actions_in(talk.say(stop=["Stop"]).pieces)]
    assert names == ["delete_everything", "search"]
