"""`chat`: one message, or a conversation in the terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from prompt_toolkit import PromptSession
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from ..client import Client, ReplyStream, ServerError
from ..events import Reply
from ..json_schema import response_format_of
from ..jsontext import JsonObject
from ..render import Thinking
from ..request import ChatRequest
from .exit_codes import INTERRUPTED_BY_USER, OK, UNEXPECTED_REPLY, exit_code
from .phrases import language, phrase
from .schema import misfit
from .terminal import ReplyScreen, without_controls


@dataclass(frozen=True)
class ChatOptions:
    """What stays the same during a conversation; None and "" leave a setting to the defaults."""

    model: str = ""
    system: str = ""
    effort: str | None = None
    thinking: Thinking = "fold"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    schema: JsonObject | None = None


class Conversation:
    """Asks, shows the replies, and remembers both."""

    def __init__(self, client: Client, options: ChatOptions) -> None:
        self._client = client
        self._options = options
        self._messages: list[JsonObject] = []
        self.clear()

    def clear(self) -> None:
        """Forget all but the system prompt."""
        system = self._options.system
        self._messages = [{"role": "system", "content": system}] if system else []

    def ask(self, text: str) -> int:
        """Send a message and show the reply; returns an exit code. Ctrl-C stops the reply only."""
        self._messages.append({"role": "user", "content": text})
        stream: ReplyStream | None = None
        note, code = "", OK
        with ReplyScreen(self._options.thinking) as screen:
            try:
                with self._client.open(self._request()) as stream:
                    for event in stream:
                        screen.show(event)
                note, code = self._verdict(stream)
            except ServerError as error:
                note, code = (
                    error.problem.text(language()),
                    exit_code(error.problem.kind),
                )
            except KeyboardInterrupt:
                note, code = phrase("stopped"), INTERRUPTED_BY_USER
        if note:
            print(without_controls(note), file=sys.stderr)
        self._remember(stream.reply if stream else Reply())
        return code

    def _request(self) -> ChatRequest:
        options = self._options
        schema = options.schema
        return ChatRequest(
            self._messages,
            model=options.model,
            effort=options.effort,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            response_format=None if schema is None else response_format_of(schema),
        )

    def _verdict(self, stream: ReplyStream) -> tuple[str, int]:
        """What to say about a complete reply, and the exit code."""
        if stream.problem is not None:
            return stream.problem.text(language()), exit_code(stream.problem.kind)
        if stream.reply.outcome == "cut":
            return phrase("cut"), UNEXPECTED_REPLY
        if stream.reply.json_valid is False:
            return phrase("no_json"), UNEXPECTED_REPLY
        if self._options.schema is not None and (
            reason := misfit(stream.reply.answer, self._options.schema)
        ):
            return phrase("no_fit", reason=reason), UNEXPECTED_REPLY
        return "", OK

    def _remember(self, reply: Reply) -> None:
        """Keep what was answered, also half an answer; without one the question is taken back."""
        if reply.answer.strip():
            self._messages.append({"role": "assistant", "content": reply.answer})
        else:
            self._messages.pop()


def talk(conversation: Conversation, base_url: str) -> None:
    """Chat until the user leaves."""
    prompt = _prompt()
    print(phrase("welcome", url=base_url), file=sys.stderr)
    text = ""
    while text != "/exit":
        try:
            text = prompt.prompt("> ").strip()
            if text.startswith("/") and "\n" not in text:
                _obey(text, conversation)
            elif text:
                conversation.ask(text)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _obey(command: str, conversation: Conversation) -> None:
    if command == "/exit":
        return
    if command == "/clear":
        conversation.clear()
        words = phrase("cleared")
    else:
        words = (
            phrase("help") if command == "/help" else phrase("no_command", name=command)
        )
    print(words, file=sys.stderr)


def _prompt() -> PromptSession[str]:
    """Enter sends; Alt-Enter, which terminals send as Esc Enter, begins a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return PromptSession(
        multiline=True,
        key_bindings=keys,
        bottom_toolbar=phrase("toolbar"),
        output=create_output(always_prefer_tty=True),  # the answers may go into a file
    )


def message_from_stdin() -> str:
    """All of standard input as one message."""
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip()
