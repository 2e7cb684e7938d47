"""What `doctor` measures of a server that replies: a request or two, and what was seen."""

from __future__ import annotations

import re
from dataclasses import replace

from ..compatibility import ADVISED_MLX_LM, EFFORT_SINCE, FAULTS, mlx_lm_range
from ..jsontext import JsonObject
from ..request import ChatRequest
from ..server_check import JAPANESE
from .finding import Finding, failed, ok, unknown, warning
from .measure import Measured
from .patient import HELLO, Patient, user, works
from .phrases import language
from .weather import QUESTION, WEATHER_TOOL, with_results

_FRENCH = "How do you say that in French?"
_STORY = "Tell me a long story about a lighthouse."
_PARIS = "Describe Paris as JSON."
_LONG_EFFORT = "low low low low low low low low"
_CJK = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_EMOJI_AND_MORE = re.compile(r"(?s)[\U0001f300-\U0001faff\u2600-\u27bf].*\w")


def form(_: Patient, hello: Measured) -> Finding:
    """In what form the reply came: raw Harmony, or thinking in a field."""
    wire = hello.wire
    if wire.structured:
        found = ok("format", "format_fields")
    elif not wire.harmony:
        found = unknown("format", "format_plain")
    elif wire.aligned:
        found = ok("format", "format_raw")
    else:
        found = ok("format", "format_recut")
    aligned = wire.aligned if wire.harmony else None
    return replace(found, facts={"structured": wire.structured, "aligned": aligned})


def effort(patient: Patient, hello: Measured) -> Finding:
    """Whether the template gets the effort: “low” and “high” have one token each, so a longer word tells."""
    low = _prompt_tokens(patient, "low")
    longer = _prompt_tokens(patient, _LONG_EFFORT)
    if 0 < low < longer:
        found = ok("effort", "effort_ok")
    elif hello.version is not None and low:
        found = warning("effort", "effort_lost", since=EFFORT_SINCE)
    else:
        found = unknown("effort", "effort_unknown")
    return replace(found, facts={"prompt_tokens": [low, longer]})


def _prompt_tokens(patient: Patient, word: str) -> int:
    option: JsonObject = {"reasoning_effort": word}
    request = ChatRequest([user(HELLO)], max_tokens=1, template_options=option)
    return patient.ask(request).prompt_tokens


def second_turn(patient: Patient, hello: Measured) -> Finding:
    """Whether a chat goes on, with the raw reply in its history as hosts send it."""
    said = hello.wire.raw if hello.wire.harmony else hello.reply.answer
    first: JsonObject = {"role": "assistant", "content": said}
    turn = patient.ask(ChatRequest([user(HELLO), first, user(_FRENCH)]))
    cached = turn.reply.usage.cached_tokens if turn.reply.usage else 0
    return replace(_judged("second_turn", turn), facts={"cached_tokens": cached})


def tools(patient: Patient, _: Measured) -> Finding:
    """Whether a tool is called, and its result answered."""
    question = [user(QUESTION)]
    asked = patient.ask(ChatRequest(question, tools=[WEATHER_TOOL]))
    if not any(call.executable for call in asked.reply.tool_calls):
        if works(asked):
            return unknown("tools", "tools_unused")
        return failed("tools", asked.problem, "tools_broken")
    messages = with_results(question, asked.reply)
    return _judged("tools", patient.ask(ChatRequest(messages, tools=[WEATHER_TOOL])))


def json(patient: Patient, _: Measured) -> Finding:
    """Whether a JSON reply is JSON."""
    wanted: JsonObject = {"type": "json_object"}
    reply = patient.ask(ChatRequest([user(_PARIS)], response_format=wanted))
    if works(reply) and not reply.reply.json_valid:
        return failed("json", reply.problem, "json_broken")
    return _judged("json", reply)


def japanese(patient: Patient, _: Measured) -> Finding:
    """Whether Japanese and emoji arrive whole, which token counts alone cannot tell."""
    reply = patient.ask(ChatRequest(JAPANESE))
    answer = reply.reply.answer
    if "\ufffd" in answer:
        return failed("japanese", None, "japanese_broken")
    whole = _CJK.search(answer) and _EMOJI_AND_MORE.search(answer)
    if works(reply) and whole:
        patient.japanese_told = True
        if reply.problem is not None:  # its token counts look as if text were lost
            return warning("japanese", "japanese_patched")
        return ok("japanese", "japanese_ok")
    if reply.problem is not None:
        patient.japanese_told = True
        return failed("japanese", reply.problem)
    return unknown("japanese", "japanese_unused")


def stop(patient: Patient, hello: Measured) -> Finding:
    """Whether a stop word ends the answer where it stands; the word is taken from the first answer."""
    answer = hello.reply.answer
    words = re.findall(r"\w+", answer)
    if len(words) < 3:
        return unknown("stop", "stop_short")
    word = words[len(words) // 2]
    stopped = patient.ask(ChatRequest([user(HELLO)], stop=[word]))
    if stopped.problem is not None and not works(stopped):
        return failed("stop", stopped.problem)
    if stopped.reply.answer != answer.partition(word)[0]:
        return unknown("stop", "stop_unused")
    return ok("stop", "stop_ok")


def parting(patient: Patient, _: Measured) -> Finding:
    """Whether the server goes on after a connection was closed in the middle of a reply, as Stop does it."""
    patient.leave(ChatRequest([user(_STORY)]))
    after = patient.ask(ChatRequest([user(HELLO)], max_tokens=1))
    problem = after.problem
    if problem is not None and problem.stage in ("connection", "generation"):
        return replace(failed("parting", None, "parting_broken"), kind=problem.kind)
    return ok("parting", "parting_ok")


def version(patient: Patient, hello: Measured) -> Finding:
    """The versions that the server tells, against the table of known faults."""
    if hello.version is None:
        found = ok("version", "version_unknown")
        return replace(found, facts={"fingerprint": hello.fingerprint})
    number = ".".join(map(str, hello.version))
    mlx = hello.fingerprint.split("-")[1]
    name = mlx_lm_range(hello.version).fault
    if not name or (name == "lossy" and patient.japanese_told):
        return ok("version", "version_ok", version=number, mlx=mlx)
    fault = FAULTS[name].ja if language() == "ja" else FAULTS[name].en
    found = warning(
        "version", "version_fault", version=number, fault=fault, advised=ADVISED_MLX_LM
    )
    return replace(found, kind=name, facts={"version": number, "mlx": mlx})


def _judged(name: str, measured: Measured) -> Finding:
    if works(measured):
        return ok(name, f"{name}_ok")
    problem = measured.problem
    if problem is not None and problem.kind == "lossy_server":  # told with the Japanese
        return replace(failed(name, None, f"{name}_broken"), kind=problem.kind)
    return failed(name, problem, f"{name}_broken")
