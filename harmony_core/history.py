"""clean_history: whatever a host replays -> messages that the gpt-oss chat template accepts.

The template raises on what it does not expect (mlx_server.md, "The gpt-oss chat template", rules 1 to 9),
so one bad message in the past ends a conversation for good. Each message is read by itself, calls are
paired with results, and the rest is written in the one form that works. These choices are not obvious:

- The template renders one call per message and puts a result under the name of the last call. So each
  call is sent alone, with its result right after it.
- A call without a result gets `NO_RESULT`: a model that sees a call dangle invents the result.
- A result without a call gets a made-up call; sent as a user message the model would obey it.
- An answer without visible text is dropped: it teaches the model to answer nothing. User messages in a
  row stay apart: the template takes them.
- The template closes every answer. A host that sends an answer last wants it continued, so a short user
  message asks for that.
- A message is written the same whatever follows it, so the server's prompt cache stays warm. Exceptions
  are later system messages, results, and thinking, which is dropped when its loop ends.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, groupby

from .jsontext import (
    Json,
    JsonObject,
    as_object,
    is_within_depth,
    load_json,
    objects_in,
)
from .native_calls import openai_call
from .reply_markup import WORD_JOINER, StoredCall, split_reply, stored_calls

NO_RESULT = "No result was returned."
UNKNOWN_TOOL = "unknown_tool"
ATTACHMENT = "[attachment: this model reads text only]"
CONTINUE = (
    "Your last message was cut off. Go on exactly where it ends, in its language, without repeating any of it"
    " and without an introduction."
)

_THOUGHT_FIELDS = ("thinking", "reasoning_content", "reasoning", "reasoning_details")
_NAMESPACE = re.compile(r"^(?:functions\.)+")  # the template adds it

# Any spelling of a special token, not only Harmony's seven: the tokenizer also holds <|endoftext|>,
# <|startoftext|>, <|endofprompt|> and <|reserved_200013|>, and other models have their own.
_SPECIAL_TOKEN_START = re.compile(r"<(?=\|[a-z][a-z0-9_]{2,31}\|>)")


@dataclass(frozen=True, slots=True)
class PastCall:
    """A tool call of the past; `id` may be empty, `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class PastMessage:
    """A message of the past, its texts defused. A tool's message holds the call that it answers."""

    role: str
    text: str
    thought: str = ""
    calls: Sequence[PastCall] = ()
    results: list[PastMessage] = field(default_factory=list)


CallsById = dict[str, PastCall]


def clean_history(messages: Sequence[Json]) -> list[JsonObject]:
    """Turn OpenAI message dicts into ones that the gpt-oss chat template accepts and renders as meant.

    Pure, deterministic, idempotent and linear; never raises, whatever is in the list. Thinking is kept only
    on tool calls of the unfinished turn (after the last user message, before any answer), as `thinking`.
    After an answer at the end, `CONTINUE` asks for the rest of it. An empty list stays empty. If no message
    is worth sending, one empty user message is left.
    """
    past = [*chain.from_iterable(map(_read_message, objects_in([*messages])))]
    cleaned: list[JsonObject] = []
    instructions = (message.text for message in past if message.role == "system")
    if system := "\n\n".join(filter(str.strip, instructions)):
        cleaned.append({"role": "system", "content": system})
    spoken = _with_results(message for message in past if message.role != "system")
    loop_start = max(n for n, message in enumerate(spoken) if not message.calls)
    for message in spoken[:loop_start]:
        message.thought = ""
    known: CallsById = {}
    for message in spoken:
        _write(cleaned, message, known)
    if cleaned and cleaned[-1]["role"] == "assistant":
        cleaned.append({"role": "user", "content": CONTINUE})
    return cleaned if cleaned or not messages else [{"role": "user", "content": ""}]


def defuse(text: str) -> str:
    """Make control tokens harmless in text for the prompt; a reader sees no difference (rule 9).

    An invisible character between `<` and `|` keeps the tokenizer from finding a token. Lone surrogates,
    which no tokenizer takes, become U+FFFD. Idempotent.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _SPECIAL_TOKEN_START.sub("<" + WORD_JOINER, text)


def _read_message(message: JsonObject) -> list[PastMessage]:
    """Read one message. Messages of unknown roles become the user's, so their text is not lost."""
    role = message.get("role")
    if role == "assistant":
        return _read_assistant(message)
    text = defuse(_text_of(message.get("content"), instead=ATTACHMENT))
    if role in ("tool", "function"):
        call = _read_call(message.get("tool_call_id"), message)
        return [PastMessage("tool", text, calls=[call])]
    named = "system" if role in ("system", "developer") else "user"
    return [PastMessage(named, text)]


def _read_assistant(message: JsonObject) -> list[PastMessage]:
    """The answer, preceded by the tool calls that a host keeps in its text and by what led to each."""
    content = message.get("content")
    stored, text = stored_calls(_text_of(content))
    answer, thoughts, spoken = split_reply(text)
    parts = [message, *objects_in(content)]
    given = [_text_of(part.get(name)) for part in parts for name in _THOUGHT_FIELDS]
    native = objects_in(message.get("tool_calls"))
    calls = [_read_call(call.get("id"), call.get("function", call)) for call in native]
    legacy = as_object(message.get("function_call"))  # the older spelling of one call
    if not calls and legacy.get("name"):
        calls = [_read_call("", legacy)]
    calls = calls or [_read_call("", asdict(call)) for call in spoken]
    steps = map(_read_stored_call, stored)
    return [*steps, _assistant(answer, given + thoughts, calls)]


def _read_stored_call(stored: StoredCall) -> PastMessage:
    before, thoughts, _ = split_reply(stored.before)
    call = _read_call(stored.id, {"name": stored.name, "arguments": stored.arguments})
    step = _assistant(before, thoughts, [call])
    if stored.result is not None:
        result = defuse(_text_of(stored.result))
        step.results.append(PastMessage("tool", result, calls=[call]))
    return step


def _assistant(
    answer: str, thoughts: Iterable[str], calls: Sequence[PastCall]
) -> PastMessage:
    distinct = dict.fromkeys(map(str.strip, thoughts))  # hosts may send one twice
    thought = "\n\n".join(filter(None, distinct))
    answer = answer if answer.strip() else ""
    return PastMessage("assistant", defuse(answer), defuse(thought), calls)


def _read_call(call_id: Json, function: Json) -> PastCall:
    function = as_object(function)
    name = _NAMESPACE.sub("", _text_of(function.get("name"))) or UNKNOWN_TOOL
    arguments = _arguments(function.get("arguments"))
    return PastCall(defuse(_text_of(call_id)), defuse(name), arguments)


def _arguments(value: Json) -> str:
    """A JSON object as text (rule 6): unchanged if it is one; anything else is wrapped as `input`.

    A server parses this text before it renders it, so a control token can hide behind `\\u003c`. Such
    arguments are written anew.
    """
    text = _text_of(value).strip() or "{}"
    try:
        parsed = load_json(text)
    except ValueError:
        parsed = None
    usable = isinstance(parsed, dict) and is_within_depth(parsed)
    written = _json_or_nothing(parsed) if usable else ""
    if not written:
        text = written = _json_or_nothing({"input": text})
    harmless = defuse(written)
    return text if harmless == written and defuse(text) == text else harmless


def _text_of(value: Json, instead: str = "") -> str:
    """A text, the texts of content parts, or JSON.

    `instead` replaces each part without text, like an image, on its own line.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(map(_is_part, value)):
        between = "\n" if instead else ""
        texts = [
            _joined(run) if has_text else between.join(instead for _ in run)
            for has_text, run in groupby(value, key=_has_text)
        ]
        return between.join(filter(None, texts))
    return _json_or_nothing(value)


def _is_part(value: Json) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and "type" in value)


def _has_text(part: Json) -> bool:
    return isinstance(part, str) or "text" in as_object(part)


def _joined(parts: Iterable[Json]) -> str:
    texts = (
        part if isinstance(part, str) else as_object(part)["text"] for part in parts
    )
    return "".join(text for text in texts if isinstance(text, str))


def _json_or_nothing(value: Json) -> str:
    """The value as JSON; "" if it is nested too deeply or is not JSON at all."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _with_results(past: Iterable[PastMessage]) -> list[PastMessage]:
    """The messages worth sending, each with its results; the first one is a stand-in for early results."""
    spoken = [PastMessage("assistant", "")]
    callers: dict[str, PastMessage] = {}  # by id of a call since somebody spoke
    for message in past:
        if message.role == "tool":
            callers.get(message.calls[0].id, spoken[-1]).results.append(message)
        elif message.role == "user" or message.text or message.calls:
            spoken.append(message)
            if not message.calls:
                callers.clear()
            callers.update((call.id, message) for call in message.calls if call.id)
    return spoken


def _write(cleaned: list[JsonObject], message: PastMessage, known: CallsById) -> None:
    said: JsonObject = {"content": message.text}
    if not message.calls:
        if message.role == "user" or message.text:
            cleaned.append({"role": message.role, **said})
        said = {"content": ""}
    elif message.thought:
        # The template takes a preamble or a thought, not both, and renders either as analysis (rule 3). In a
        # separate message the preamble would look like a final answer, which ends the turn.
        thinking = f"{message.thought}\n\n{message.text}".strip()
        said = {"content": "", "thinking": thinking}
    for call, result in _pair(message, known):
        call_id = call.id or f"call_{len(cleaned)}"
        sent = openai_call(call_id, call.name, call.arguments)
        cleaned.append({"role": "assistant", **said, "tool_calls": [sent]})
        cleaned.append({"role": "tool", "tool_call_id": call_id, "content": result})
        said = {"content": ""}


def _pair(message: PastMessage, known: CallsById) -> Iterator[tuple[PastCall, str]]:
    """Each call with its result, matched by id, else in order. A leftover result gets a call."""
    known.update((call.id, call) for call in message.calls if call.id)
    waiting: defaultdict[str, deque[PastMessage]] = defaultdict(deque)
    for result in message.results:
        call_id = result.calls[0].id
        waiting[call_id if call_id in known else ""].append(result)
    for call in message.calls:
        results = waiting[call.id] or waiting[""]
        yield call, results.popleft().text if results else NO_RESULT
    for result in chain.from_iterable(waiting.values()):
        call = result.calls[0]
        yield known.get(call.id, call), result.text
