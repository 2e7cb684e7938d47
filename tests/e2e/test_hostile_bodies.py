"""Hostile requests to a real server. After each, the next user must still get an answer."""

from __future__ import annotations

import pytest

from harmony_core import ChatRequest, Client
from harmony_core.jsontext import Json, JsonObject
from harmony_core.request import NUMBERS
from toy.transcripts import load_transcripts

pytestmark = pytest.mark.e2e

GREETING = next(t for t in load_transcripts() if t.name == "greeting")

# These options have an effect only if their strength is set too.
COMPANIONS: dict[str, JsonObject] = {
    "repetition_context_size": {"repetition_penalty": 1.5},
    "presence_context_size": {"presence_penalty": 1},
    "frequency_context_size": {"frequency_penalty": 1},
    "top_logprobs": {"logprobs": True},
}
BOUNDS = [
    (name, bound) for name, bounds in NUMBERS.items() for bound in dict.fromkeys(bounds)
]
HUGE: Json = 10**12
HOSTILE: list[JsonObject] = [
    {"logit_bias": {"701": 1}},
    {"frequency_context_size": HUGE, "frequency_penalty": 1},
    {"presence_context_size": HUGE, "presence_penalty": 1},
    {"repetition_context_size": HUGE, "repetition_penalty": 1.1},
    {"chat_template_kwargs": {"chat_template": "{{ messages }}"}},
    {"chat_template_kwargs": {"add_generation_prompt": False, "tokenize": False}},
    {"draft_model": "evil/some-repo"},
    {"adapters": "../../elsewhere"},
    {"model": "evil/some-repo"},
    {"xtc_threshold": 0.9, "xtc_probability": 1.0},
    {"xtc_probability": 0.5},
    {"top_k": HUGE},
    {"temperature": 1e-320},
    {"temperature": 1e308, "min_p": 5e-324, "top_p": 5e-324},
    {"repetition_penalty": 5e-324},
    {"seed": 2**64},
    {"max_completion_tokens": 10**30},
    {"num_draft_tokens": HUGE},
    {"top_logprobs": HUGE, "logprobs": True},
    {"logprobs": False},
    dict.fromkeys(NUMBERS, HUGE),
]


def check_next_user(client: Client, extra: JsonObject) -> None:
    """Send a request with these fields, then check that an ordinary request gets its answer."""
    messages = list(GREETING.messages)
    extra = {"max_tokens": 12, "temperature": 1.0, **extra}
    reply = client.complete(ChatRequest(messages, extra=extra))
    assert reply.finish_reason in ("stop", "length", "tool_calls")
    reply = client.complete(ChatRequest(messages, temperature=0))
    assert reply.answer == GREETING.answer


@pytest.mark.parametrize(("name", "bound"), BOUNDS)
def test_a_server_takes_every_number_at_its_bounds(
    client: Client, name: str, bound: float
) -> None:
    check_next_user(client, {name: bound, **COMPANIONS.get(name, {})})


@pytest.mark.parametrize("extra", HOSTILE, ids=str)
def test_a_hostile_body_does_not_harm_the_next_user(
    client: Client, extra: JsonObject
) -> None:
    check_next_user(client, extra)


def test_a_deeply_nested_schema_is_answered(client: Client) -> None:
    schema: Json = {"type": "string"}
    for _ in range(900):
        schema = {"type": "object", "properties": {"a": schema}, "required": True}
    tools: list[Json] = [{"function": {"name": "f", "parameters": schema}}]
    messages = list(GREETING.messages)
    reply = client.complete(ChatRequest(messages, tools=tools, max_tokens=12))
    assert reply.finish_reason in ("stop", "length", "tool_calls")
