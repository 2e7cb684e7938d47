"""clean_history: whatever a host replays -> messages that the gpt-oss chat template accepts.

Theory of operation. The server pours the messages through a template that raises on what it does not
expect (mlx_server.md, "The gpt-oss chat template", rules 1 to 9), so one bad message in the past ends a
conversation for good. Cleaning is a pure function in three steps:

1. *Read* each message by itself (replay.py, thoughts.py): one text, one thought, calls.
2. *Pair* calls with results. The template renders one call per message and puts a result under the name
   of the last call, so each call is sent alone with its results right behind it. A call without a result
   gets `NO_RESULT`: a model that sees a call dangle invents what came of it. A result without a call (the
   call fell out of the host's window, or a user spoke in between) gets its call again, or an invented one:
   so it stays a tool's word, where as a user's it would be obeyed.
3. *Write* dicts that hold only what the server reads, every string passed through `defuse`.

Decisions that are not obvious:

- An assistant's message without visible text or calls is dropped: an empty answer teaches to answer
  nothing. User messages in a row stay apart, and a partial answer at the end ("continue") stays the last
  message: the template takes both.
- What a message becomes depends on those before it only, apart from later system messages, from results
  and from thinking, which goes when its loop ends. So the server's prompt cache stays warm.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence

from .jsontext import Json, JsonObject, dump_json, load_json
from .replay import UNKNOWN_TOOL, PastCall, PastMessage, json_or_nothing, read_message
from .thoughts import WORD_JOINER

NO_RESULT = "No result was returned."

# Any spelling of a special token, not only Harmony's seven: the tokenizer also holds <|endoftext|>,
# <|startoftext|>, <|endofprompt|> and <|reserved_200013|>, and other models have their own.
_SPECIAL_TOKEN_START = re.compile(r"<(?=\|[a-z][a-z0-9_]{2,31}\|>)")

_INSTRUCTING = ("system", "developer")

_Exchange = tuple[PastMessage, list[PastMessage]]  # a message and the tool results right behind it
_Answered = tuple[PastCall, list[str]]  # a call and the texts of its results


def clean_history(messages: Sequence[Json]) -> list[JsonObject]:
    """Turn OpenAI message dicts into ones that the gpt-oss chat template accepts and renders as meant.

    Pure, deterministic, idempotent and linear; never raises, whatever is in the list. Thinking is left
    only on tool calls behind the last user message that no answer has followed yet, as `thinking`. Nothing
    in is nothing out; where none of the messages is worth sending, one empty user message is left.
    """
    past = [read_message(message) for message in messages if isinstance(message, dict)]
    exchanges = _exchanges(message for message in past if message.role not in _INSTRUCTING)
    loop_start = 1 + max((n for n, (head, _) in enumerate(exchanges) if not head.calls), default=-1)
    turns: list[JsonObject] = []
    known: dict[str, PastCall] = {}
    for n, (head, results) in enumerate(exchanges):
        answered = _pair(head.calls, results, known)
        known.update((call.id, call) for call in head.calls if call.id)
        _write(turns, head, answered, keep_thought=n >= loop_start)
    cleaned = [*_instructions(past), *turns]
    return cleaned if cleaned or not messages else [{"role": "user", "content": ""}]


def defuse(text: str) -> str:
    """Make control tokens in text for the prompt harmless; a reader sees no difference (rule 9).

    An invisible character parts `<` from `|`, so that the tokenizer finds no token. Lone surrogates, which
    no tokenizer takes, become U+FFFD. Idempotent.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _SPECIAL_TOKEN_START.sub("<" + WORD_JOINER, text)


def _instructions(past: Iterable[PastMessage]) -> list[JsonObject]:
    """One message of all instructions, in order: a later one would be dropped in silence (rule 1)."""
    given = [message for message in past if message.role in _INSTRUCTING and message.text.strip()]
    text = "\n\n".join(message.text for message in given)
    return [{"role": given[0].role, "content": defuse(text)}] if given else []


def _exchanges(spoken: Iterable[PastMessage]) -> list[_Exchange]:
    """Group each message with the results right behind it, and drop what is not worth sending."""
    exchanges: list[_Exchange] = []
    for message in spoken:
        if message.role == "tool":
            if not exchanges:
                exchanges.append((PastMessage("assistant", ""), []))
            exchanges[-1][1].append(message)
        elif message.role == "user" or message.text or message.calls:
            exchanges.append((message, []))
    return exchanges


def _pair(
    calls: Sequence[PastCall], results: Iterable[PastMessage], known: dict[str, PastCall]
) -> list[_Answered]:
    """Give each call its results: by id, else by position. Results that are left over bring their call."""
    pairs: list[_Answered] = [(call, []) for call in calls]
    by_id: dict[str, deque[list[str]]] = {}
    for call, texts in pairs:
        if call.id:
            by_id.setdefault(call.id, deque()).append(texts)
    late: list[_Answered] = []
    strays: list[PastMessage] = []
    for result in results:
        if queue := by_id.get(result.call_id):  # calls of one id take turns, the last takes what is over
            (queue.popleft() if len(queue) > 1 else queue[0]).append(result.text)
        elif result.call_id in known:
            late.append((known[result.call_id], [result.text]))
        else:
            strays.append(result)
    unanswered = [texts for _, texts in pairs if not texts]
    for texts, stray in zip(unanswered, strays, strict=False):
        texts.append(stray.text)
    late += [
        (PastCall(stray.call_id, stray.name or UNKNOWN_TOOL), [stray.text])
        for stray in strays[len(unanswered) :]
    ]
    return pairs + late


def _write(
    turns: list[JsonObject], head: PastMessage, answered: Iterable[_Answered], keep_thought: bool
) -> None:
    spoken = _spoken_with_call(head, keep_thought) if head.calls else {"content": ""}
    if not head.calls and (head.role == "user" or head.text):
        turns.append({"role": head.role, "content": defuse(head.text)})
    for call, texts in answered:
        call_id = defuse(call.id or f"call_{len(turns)}")
        function: JsonObject = {"name": defuse(call.name), "arguments": _arguments(call.arguments)}
        sent: JsonObject = {"id": call_id, "type": "function", "function": function}
        turns.append({"role": "assistant", **spoken, "tool_calls": [sent]})
        for text in texts or [NO_RESULT]:
            turns.append({"role": "tool", "tool_call_id": call_id, "content": defuse(text)})
        spoken = {"content": ""}


def _spoken_with_call(head: PastMessage, keep_thought: bool) -> JsonObject:
    """Preamble and thought of a call: the template takes one of them and renders it as analysis (rule 3).

    So a preamble joins the thought it belongs to. As a message of its own it would look like a final
    answer: the template would then drop the thinking of all calls before it, and the model would learn to
    end its turn there.
    """
    if not (keep_thought and head.thought):
        return {"content": defuse(head.text)}
    return {"content": "", "thinking": defuse(f"{head.thought}\n\n{head.text}".strip())}


def _arguments(value: Json) -> str:
    """A JSON object as text (rule 6), as it came where it is one; anything else is wrapped as `input`.

    A server parses this text before it renders it, so a control token can hide behind `\\u003c`: such
    arguments are written anew.
    """
    text = value if isinstance(value, str) else json_or_nothing(value)
    if text.strip() in ("", "null"):
        return "{}"
    try:
        parsed = load_json(text)
    except ValueError:
        parsed = None
    written = json_or_nothing(parsed) if isinstance(parsed, dict) else ""
    if not written:
        return defuse(dump_json({"input": text}))
    return text if defuse(written) == written else defuse(written)
