"""How each contestant reads a reply. All return the same type: thinking, answer and calls.

If a project has several parsers for this, they are joined in the way that is kindest to it. A reader that
raises an error counts as wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from benchmarks import peers
from harmony_core import HarmonyParser, collect
from harmony_core.events import FinishReason


@dataclass(frozen=True)
class Reading:
    """A reply as a contestant read it; `calls` are pairs of a name and arguments."""

    reasoning: str
    answer: str
    calls: tuple[tuple[str, str], ...]


class Case(TypedDict):
    """The compared fields of a row of the corpus."""

    name: str
    text: str
    tools: list[str]
    finish_reason: FinishReason
    reasoning: str
    answer: str
    tool_calls: list[dict[str, str]]


Read = Callable[[Sequence[str], Case], Reading]
"""Reads the pieces of a case's text. It may use the case's tools and finish reason."""


def ours(pieces: Sequence[str], case: Case) -> Reading:
    parser = HarmonyParser(case["tools"])
    events = [event for piece in pieces for event in parser.feed(piece)]
    reply = collect([*events, *parser.close(case["finish_reason"])])
    calls = tuple((call.name, call.arguments) for call in reply.tool_calls)
    return Reading(reply.reasoning, reply.answer, calls)


def oss_harmony_whole(pieces: Sequence[str], case: Case) -> Reading:
    return _from_messages(peers.messages_of(_tokens_after_role(pieces)), case)


def oss_harmony_tokens(pieces: Sequence[str], case: Case) -> Reading:
    parser = peers.oss_harmony_parser()
    for token in _tokens_after_role(pieces):
        parser.process(token)
    parser.process_eos()
    return _from_messages(parser.messages, case)


def _tokens_after_role(pieces: Sequence[str]) -> list[int]:
    """Remove a leading `<|start|>assistant`, which the parser knows from the role."""
    return peers.tokens_of("".join(pieces).removeprefix("<|start|>assistant"))


def _from_messages(messages: Sequence[peers.Message], case: Case) -> Reading:
    """Sort messages by recipient and channel. A recipient without `functions.` is often a misread type."""
    reasoning, answer = "", ""
    calls: list[tuple[str, str]] = []
    for message in messages:
        text = "".join(part.text for part in message.content)
        if message.author.role.value != "assistant":
            continue
        recipient = message.recipient or ""
        if recipient.startswith("functions.") or recipient in case["tools"]:
            calls.append((recipient.removeprefix("functions."), text))
        elif message.channel == "analysis":
            reasoning += text
        else:
            answer += text
    return Reading(reasoning, answer, tuple(calls))


# Kinder than sglang's own GptOssDetector, which wants `<|constrain|>json` and JSON arguments.
_SGLANG_CALL = re.compile(
    r"to=(?:functions\.)?([\w.-]+).*?<\|message\|>(.*?)(?:<\|call\|>|$)", re.DOTALL
)


def sglang(pieces: Sequence[str], case: Case) -> Reading:
    parser = peers.sglang_parser()
    # sglang's detectors flush the parser with "".
    events = [event for piece in [*pieces, ""] for event in parser.parse(piece)]
    if not events and "<|" not in (text := "".join(pieces)):
        return Reading("", text, ())  # its GptOssDetector does so, too
    texts = {
        kind: "".join(event.content for event in events if event.event_type == kind)
        for kind in ("reasoning", "normal")
    }
    found = (
        _SGLANG_CALL.search(event.raw_text or "")
        for event in events
        if event.event_type == "tool_call"
    )
    return Reading(
        texts["reasoning"],
        texts["normal"],
        tuple((call[1], call[2]) for call in found if call),
    )


_VLLM_MLX_THINKING = re.compile(
    r"<\|channel\|>analysis\s*<\|message\|>.*?<\|end\|>", re.DOTALL
)


def vllm_mlx_whole(pieces: Sequence[str], case: Case) -> Reading:
    """Remove the thinking, then look for calls, and for the answer if the first parser found none."""
    text = "".join(pieces)
    reasoning, content = peers.vllm_mlx_thinking().extract_reasoning(text)
    found = peers.vllm_mlx_calls().extract_tool_calls(_VLLM_MLX_THINKING.sub("", text))
    answer = found.content if content is None else content
    return Reading(reasoning or "", answer or "", _calls(found.tool_calls))


def vllm_mlx_deltas(pieces: Sequence[str], case: Case) -> Reading:
    """Give every delta to both parsers. Its server gives the second one only what the first lets through."""
    thinker, caller = peers.vllm_mlx_thinking(), peers.vllm_mlx_calls()
    reasoning, answer, text = "", "", ""
    calls: list[peers.Call] = []
    for piece in pieces:
        previous, text = text, text + piece
        delta = thinker.extract_reasoning_streaming(previous, text, piece)
        if delta:
            reasoning, answer = (
                reasoning + (delta.reasoning or ""),
                answer + (delta.content or ""),
            )
        found = caller.extract_tool_calls_streaming(previous, text, piece)
        calls += [call["function"] for call in (found or {}).get("tool_calls", ())]
    if not calls:  # its server does so at the end of a stream
        calls = caller.extract_tool_calls(text).tool_calls
    return Reading(reasoning, answer, _calls(calls))


def _calls(calls: Sequence[peers.Call]) -> tuple[tuple[str, str], ...]:
    return tuple((call["name"], call["arguments"]) for call in calls)


def mlx_openai_server_whole(pieces: Sequence[str], case: Case) -> Reading:
    parser = peers.mlx_openai_server_parser()
    return _from_results([parser.parse("".join(pieces))])


def mlx_openai_server_deltas(pieces: Sequence[str], case: Case) -> Reading:
    parser = peers.mlx_openai_server_parser()
    results = [parser.parse_streaming(piece)[0] for piece in pieces]
    return _from_results([*results, parser.handle_parse_streaming_end()[0]])


def _from_results(results: Sequence[peers.Result | None]) -> Reading:
    given = [result for result in results if result]
    calls = [call for result in given for call in result["tool_calls"] or ()]
    return Reading(
        "".join(result["reasoning_content"] or "" for result in given),
        "".join(result["content"] or "" for result in given),
        _calls(calls),
    )
