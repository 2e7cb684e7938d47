"""The commands of a conversation, such as /thinking, /effort and /save."""

from __future__ import annotations

from pathlib import Path

from ..gpt_oss import EFFORTS
from .chat import Conversation
from .phrases import phrase
from .terminal import without_controls

QUIT_COMMANDS = ("/quit", "/exit")


def run_command(line: str, conversation: Conversation, history: Path) -> str:
    """Run a line that begins with a slash; returns what to tell the user."""
    name, _, argument = line.partition(" ")
    argument = argument.strip()
    match name:
        case "/help":
            return phrase("help", history=history)
        case "/clear":
            conversation.clear()
            return phrase("cleared")
        case "/thinking":
            thinking = without_controls(conversation.last_thinking.strip())
            return thinking or phrase("no_thinking")
        case "/effort":
            return _effort(conversation, argument.lower())
        case "/system":
            return _system(conversation, argument)
        case "/save":
            return _save(conversation, argument)
        case _:
            return phrase("no_command", name=without_controls(name))


def _effort(conversation: Conversation, effort: str) -> str:
    if effort and effort not in EFFORTS:
        return phrase("effort_wrong", effort=without_controls(effort))
    conversation.change(effort=effort or None)
    known = conversation.options.effort or phrase("effort_default")
    return phrase("effort_is", effort=known)


def _system(conversation: Conversation, system: str) -> str:
    conversation.change(system=system or None)
    known = conversation.options.system or phrase("system_empty")
    return phrase("system_is", system=without_controls(known))


def _save(conversation: Conversation, name: str) -> str:
    """Write a new file. An existing file is never overwritten."""
    if not name:
        return phrase("save_where")
    path = Path(name).expanduser()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(as_markdown(conversation))
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        return phrase("not_saved", path=name, reason=reason)
    return phrase("saved", path=path)


def as_markdown(conversation: Conversation) -> str:
    """Format the conversation as Markdown. The heading of each message is its role."""
    parts = [
        (str(turn["role"]).capitalize(), str(turn["content"]))
        for turn in conversation.turns
    ]
    if conversation.options.system:
        parts.insert(0, ("System", conversation.options.system))
    return "\n".join(f"## {role}\n\n{text.strip()}\n" for role, text in parts)
