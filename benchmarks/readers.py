"""How each contestant reads a whole reply, in one shape: thinking, answer, calls.

If a project splits the work over several parts, they are joined in the way that is kindest to it. Anything
that a reader raises counts as a wrong reading.
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
    """A reply as a contestant understood it; `calls` are names and arguments."""

    reasoning: str
    answer: str
    calls: tuple[tuple[str, str], ...]


class Case(TypedDict):
    """One row of the corpus, as far as it is compared."""

    name: str
    text: str
    tools: list[str]
    finish_reason: FinishReason
    reasoning: str
    answer: str
    tool_calls: list[dict[str, str]]


Read = Callable[[Sequence[str], Case], Reading]
"""Reads the pieces of a case's text, and may use the case's tools and finish reason."""


def ours(pieces: Sequence[str], case: Case) -> Reading:
    parser = HarmonyParser(case["tools"])
    events = [event for piece in pieces for event in parser.feed(piece)]
    reply = collect([*events, *parser.close(case["finish_reason"])])
    calls = tuple((call.name, call.arguments) for call in reply.tool_calls)
    return Reading(reply.reasoning, reply.answer, calls)


def oss_harmony_whole(pieces: Sequence[str], case: Case) -> Reading:
    return _from_messages(peers.messages_of(_tokens_behind_role(pieces)), case)


def oss_harmony_tokens(pieces: Sequence[str], case: Case) -> Reading:
    parser = peers.oss_harmony_parser()
    for token in _tokens_behind_role(pieces):
        parser.process(token)
    parser.process_eos()
    return _from_messages(parser.messages, case)


def _tokens_behind_role(pieces: Sequence[str]) -> list[int]:
    """Leave out a leading `<|start|>assistant`: the parser knows it from the role."""
    return peers.tokens_of("".join(pieces).removeprefix("<|start|>assistant"))


def _from_messages(messages: Sequence[peers.Message], case: Case) -> Reading:
    """Tell messages apart by recipient and channel; a name without `functions.` is often a misread type."""
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
    # "" as its detectors flush.
    events = [event for piece in [*pieces, ""] for event in parser.parse(piece)]
    if not events and "<|" not in (text := "".join(pieces)):
        return Reading("", text, ())  # as its GptOssDetector does
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
    """Take the thinking out, then look for calls and, if there is no answer yet, for the answer."""
    text = "".join(pieces)
    reasoning, content = peers.vllm_mlx_thinking().extract_reasoning(text)
    found = peers.vllm_mlx_calls().extract_tool_calls(_VLLM_MLX_THINKING.sub("", text))
    answer = found.content if content is None else content
    return Reading(reasoning or "", answer or "", _calls(found.tool_calls))


def vllm_mlx_deltas(pieces: Sequence[str], case: Case) -> Reading:
    """Give both of its parsers every delta; its server gives the second only what the first lets through."""
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
    if not calls:  # as its server does at the end of a stream
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
    came = [result for result in results if result]
    calls = [call for result in came for call in result["tool_calls"] or ()]
    return Reading(
        "".join(result["reasoning_content"] or "" for result in came),
        "".join(result["content"] or "" for result in came),
        _calls(calls),
    )
