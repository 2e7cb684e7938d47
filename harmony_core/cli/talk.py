"""`chat` without a message: a conversation in the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from rich.console import Console
from rich.text import Text

from .chat import Conversation
from .commands import LEAVE, obey
from .phrases import phrase
from .problem_words import problem_text
from .terminal import without_controls


def talk(conversation: Conversation, base_url: str) -> None:
    """Look at the server, then chat until the user leaves."""
    history = history_file()
    prompt = _prompt(_history(history))
    print(phrase("welcome", url=base_url), file=sys.stderr)
    _look(conversation)
    while True:
        try:
            text = prompt.prompt("> ").strip()
            if text in LEAVE:
                return
            if text.startswith("/") and "\n" not in text:
                print(obey(text, conversation, history), file=sys.stderr)
            elif text:
                conversation.ask(text)
                print(file=sys.stderr)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _look(conversation: Conversation) -> None:
    """Say before the first question what would stand in its way; a server may still be started then."""
    notes = Console(stderr=True)
    with suppress(KeyboardInterrupt):
        with notes.status(Text(phrase("looking"), "dim")):
            problem = conversation.look_at_server()
        if problem is not None:
            print(without_controls(problem_text(problem)), file=sys.stderr)


def history_file() -> Path:
    """Where the lines are kept that were typed."""
    if state := os.environ.get("XDG_STATE_HOME"):
        folder = Path(state)
    elif sys.platform == "darwin":
        folder = Path("~/Library/Application Support").expanduser()
    else:
        folder = Path("~/.local/state").expanduser()
    return folder / "mlx-harmony" / "history"


class _KeptHistory(FileHistory):
    """Lines in a file; one that cannot be written is no reason to end a chat."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def _history(file: Path) -> History:
    """The lines of earlier conversations, which nobody else may read."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return _KeptHistory(str(file))


def _prompt(history: History) -> PromptSession[str]:
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
        history=history,
        bottom_toolbar=phrase("toolbar"),
        output=create_output(always_prefer_tty=True),  # the answers may go into a file
    )
