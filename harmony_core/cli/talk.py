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
from .commands import QUIT_COMMANDS, run_command
from .phrases import phrase
from .problem_words import problem_text
from .terminal import without_controls


def talk(conversation: Conversation, base_url: str) -> None:
    """Check the server, then chat until the user leaves."""
    history = history_file()
    prompt = _prompt(_open_history(history))
    print(phrase("welcome", url=base_url), file=sys.stderr)
    _print_server_problem(conversation)
    while True:
        try:
            text = prompt.prompt("> ").strip()
            if text in QUIT_COMMANDS:
                return
            if text.startswith("/") and "\n" not in text:
                print(run_command(text, conversation, history), file=sys.stderr)
            elif text:
                conversation.ask(text)
                print(file=sys.stderr)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _print_server_problem(conversation: Conversation) -> None:
    """Print a problem of the server before the first question, while the user can still start it."""
    notes = Console(stderr=True)
    with suppress(KeyboardInterrupt):
        with notes.status(Text(phrase("looking"), "dim")):
            problem = conversation.find_server_problem()
        if problem is not None:
            print(without_controls(problem_text(problem)), file=sys.stderr)


def history_file() -> Path:
    """Return the path of the file that keeps the typed lines."""
    if state := os.environ.get("XDG_STATE_HOME"):
        folder = Path(state)
    elif sys.platform == "darwin":
        folder = Path("~/Library/Application Support").expanduser()
    else:
        folder = Path("~/.local/state").expanduser()
    return folder / "mlx-harmony" / "history"


class _LenientHistory(FileHistory):
    """A history file whose write errors are ignored, since they should not end a chat."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def _open_history(file: Path) -> History:
    """Open the history file, which only the user may read; keep the lines in memory if that fails."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return _LenientHistory(str(file))


def _prompt(history: History) -> PromptSession[str]:
    """Make the prompt. Enter sends; Alt-Enter, which terminals send as Esc Enter, begins a new line."""
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
        output=create_output(always_prefer_tty=True),  # stdout may be a file
    )
