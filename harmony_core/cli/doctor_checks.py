"""The checks of a server that replies. Each sends up to two requests and returns a finding."""

from __future__ import annotations

import re
from dataclasses import replace

from ..compatibility import ADVISED_MLX_LM, EFFORT_SINCE, mlx_lm_range
from ..jsontext import JsonObject
from ..request import ChatRequest
from ..server_check import JAPANESE
from .examined_server import HELLO, ExaminedServer, has_answer, user
from .finding import Finding, failed, ok, unknown, warning
from .measure import Measured
from .problem_words import fault_text
from .weather import QUESTION, WEATHER_TOOL, with_results

_FRENCH = "How do you say that in French?"
_STORY = "Tell me a long story about a lighthouse."
_PARIS = "Describe Paris as JSON."
_LONG_EFFORT = "low low low low low low low low"
_CJK = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_EMOJI_AND_MORE = re.compile(r"(?s)[\U0001f300-\U0001faff\u2600-\u27bf].*\w")


def form(_: ExaminedServer, hello: Measured) -> Finding:
    """Check whether the reply came as raw Harmony or with thinking in a field."""
    deltas = hello.deltas
    if deltas.structured:
        found = ok("format", "format_fields")
    elif not deltas.harmony:
        found = unknown("format", "format_plain")
    elif deltas.aligned:
        found = ok("format", "format_raw")
    else:
        found = ok("format", "format_recut")
    aligned = deltas.aligned if deltas.harmony else None
    return replace(found, facts={"structured": deltas.structured, "aligned": aligned})


def effort(server: ExaminedServer, hello: Measured) -> Finding:
    """Check whether the reasoning effort reaches the chat template.

    “low” and “high” are one token each, so a longer effort lengthens the prompt only if it gets there.
    """
    low = _prompt_tokens(server, "low")
    longer = _prompt_tokens(server, _LONG_EFFORT)
    if 0 < low < longer:
        found = ok("effort", "effort_ok")
    elif hello.version is not None and low:
        found = warning("effort", "effort_lost", since=EFFORT_SINCE)
    else:
        found = unknown("effort", "effort_unknown")
    return replace(found, facts={"prompt_tokens": [low, longer]})


def _prompt_tokens(server: ExaminedServer, word: str) -> int:
    option: JsonObject = {"reasoning_effort": word}
    request = ChatRequest([user(HELLO)], max_tokens=1, template_options=option)
    return server.ask(request).prompt_tokens


def second_turn(server: ExaminedServer, hello: Measured) -> Finding:
    """Check a second turn with the raw reply in the history, as hosts send it."""
    said = hello.deltas.raw if hello.deltas.harmony else hello.reply.answer
    first: JsonObject = {"role": "assistant", "content": said}
    turn = server.ask(ChatRequest([user(HELLO), first, user(_FRENCH)]))
    cached = turn.reply.usage.cached_tokens if turn.reply.usage else 0
    return replace(_reply_finding("second_turn", turn), facts={"cached_tokens": cached})


def tools(server: ExaminedServer, _: Measured) -> Finding:
    """Check whether the model calls a tool and answers with the result."""
    question = [user(QUESTION)]
    asked = server.ask(ChatRequest(question, tools=[WEATHER_TOOL]))
    if not any(call.executable for call in asked.reply.tool_calls):
        if has_answer(asked):
            return unknown("tools", "tools_unused")
        return failed("tools", asked.problem, "tools_broken")
    messages = with_results(question, asked.reply)
    return _reply_finding(
        "tools", server.ask(ChatRequest(messages, tools=[WEATHER_TOOL]))
    )


def json(server: ExaminedServer, _: Measured) -> Finding:
    """Check whether a JSON reply is JSON."""
    wanted: JsonObject = {"type": "json_object"}
    reply = server.ask(ChatRequest([user(_PARIS)], response_format=wanted))
    if has_answer(reply) and not reply.reply.json_valid:
        return failed("json", reply.problem, "json_broken")
    return _reply_finding("json", reply)


def japanese(server: ExaminedServer, _: Measured) -> Finding:
    """Check whether Japanese and emoji arrive complete; token counts alone cannot show that."""
    reply = server.ask(ChatRequest(JAPANESE))
    answer = reply.reply.answer
    if "\ufffd" in answer:
        return failed("japanese", None, "japanese_broken")
    whole = _CJK.search(answer) and _EMOJI_AND_MORE.search(answer)
    if has_answer(reply) and whole:
        server.japanese_measured = True
        if reply.problem is not None:  # the token counts wrongly suggest lost text
            return warning("japanese", "japanese_patched")
        return ok("japanese", "japanese_ok")
    if reply.problem is not None:
        server.japanese_measured = True
        return failed("japanese", reply.problem)
    return unknown("japanese", "japanese_unused")


def stop(server: ExaminedServer, hello: Measured) -> Finding:
    """Check whether a stop word ends the answer. The word is taken from the first answer."""
    answer = hello.reply.answer
    words = re.findall(r"\w+", answer)
    if len(words) < 3:
        return unknown("stop", "stop_short")
    word = words[len(words) // 2]
    stopped = server.ask(ChatRequest([user(HELLO)], stop=[word]))
    if stopped.problem is not None and not has_answer(stopped):
        return failed("stop", stopped.problem)
    if stopped.reply.answer != answer.partition(word)[0]:
        return unknown("stop", "stop_unused")
    return ok("stop", "stop_ok")


def parting(server: ExaminedServer, _: Measured) -> Finding:
    """Check whether the server still works after a client left during a reply, as the Stop button does."""
    server.abandon(ChatRequest([user(_STORY)]))
    after = server.ask(ChatRequest([user(HELLO)], max_tokens=1))
    problem = after.problem
    if problem is not None and problem.stage in ("connection", "generation"):
        return replace(failed("parting", None, "parting_broken"), kind=problem.kind)
    return ok("parting", "parting_ok")


def version(server: ExaminedServer, hello: Measured) -> Finding:
    """Look up the version that the server reports in the table of known faults."""
    if hello.version is None:
        found = ok("version", "version_unknown")
        return replace(found, facts={"fingerprint": hello.fingerprint})
    number = ".".join(map(str, hello.version))
    mlx = hello.fingerprint.split("-")[1]
    name = mlx_lm_range(hello.version).fault
    if not name or (name == "lossy" and server.japanese_measured):
        return ok("version", "version_ok", version=number, mlx=mlx)
    fault = fault_text(name)
    found = warning(
        "version", "version_fault", version=number, fault=fault, advised=ADVISED_MLX_LM
    )
    return replace(found, kind=name, facts={"version": number, "mlx": mlx})


def _reply_finding(name: str, measured: Measured) -> Finding:
    if has_answer(measured):
        return ok(name, f"{name}_ok")
    problem = measured.problem
    # Only the check `japanese` reports lost text as the problem.
    if problem is not None and problem.kind == "lossy_server":
        return replace(failed(name, None, f"{name}_broken"), kind=problem.kind)
    return failed(name, problem, f"{name}_broken")
