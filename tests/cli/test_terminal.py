"""`chat` in a real terminal: live lines, a conversation, Ctrl-C, input of several lines."""

from __future__ import annotations

from collections.abc import Iterator

import pexpect
import pytest

from tests.cli.terminals import in_terminal
from tests.server import (
    DONE,
    Gate,
    Hang,
    ScriptedServer,
    chunk,
    harmony,
    head,
    keepalive,
    reply,
    text,
)

# Python warns of a fork beside the server's thread; the child executes another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty")

CTRL_C, CTRL_D, ESCAPE = "\x03", "\x04", "\x1b"


@pytest.fixture
def terminal(server: ScriptedServer) -> Iterator[pexpect.spawn]:
    """A conversation that waits for the first line."""
    child = spawn(server)
    child.expect("/help")
    child.expect_exact(">")
    yield child
    if child.isalive():
        child.send(CTRL_D)
        child.expect(pexpect.EOF)
    child.close()


def spawn(server: ScriptedServer, *arguments: str) -> pexpect.spawn:
    line = ["-m", "harmony_core", "chat", *arguments, "--base-url", server.base_url]
    return in_terminal(*line)


def phrase(terminal: pexpect.spawn, line: str) -> None:
    terminal.send(line + "\r")


def test_the_prompt_being_read_and_the_thinking_are_shown_live(
    server: ScriptedServer,
) -> None:
    gates = [Gate(), Gate()]
    thought = [
        text(token)
        for token in ("<|channel|>", "analysis", "<|message|>", "The user greets me.")
    ]
    answer = [text(token) for token in harmony("", "Hello.")[4:]]
    end = [chunk({}, "stop"), DONE]
    server.chat(
        [head(), keepalive(62, 100), gates[0], *thought, gates[1], *answer, *end]
    )
    child = spawn(server, "Hi")
    child.expect("Reading the prompt… 62 %")
    gates[0].open()
    child.expect(r"Thinking… \d+ s")
    gates[1].open()
    child.expect(r"Thought for \d+ s")
    child.expect("Hello.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_thinking_between_two_answers_leaves_the_first_one_alone(
    server: ScriptedServer,
) -> None:
    preamble = [
        "<|channel|>",
        "comment",
        "ary",
        "<|message|>",
        "One moment.",
        "<|end|>",
        "<|start|>",
        "assistant",
    ]
    server.chat(reply(*preamble, *harmony("The user greets me.", "Hello.")))
    child = spawn(server, "Hi")
    child.expect(r"One moment\.\r\n")
    child.expect(r"Thought for \d+ s")
    child.expect("Hello.")
    child.expect(pexpect.EOF)


def test_control_characters_of_the_model_do_not_reach_the_terminal(
    server: ScriptedServer,
) -> None:
    server.chat(reply(*harmony("hm", "red\x1b[31m alert\x07.")))
    child = spawn(server, "Hi", "--thinking", "hide")
    child.expect_exact("red[31m alert.")
    child.expect(pexpect.EOF)


def test_a_conversation_remembers_its_turns(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "First.")), reply(*harmony("hm", "Second.")))
    phrase(terminal, "One")
    terminal.expect_exact("First.")
    phrase(terminal, "Two")
    terminal.expect_exact("Second.")
    assert server.requests[1].json["messages"] == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Two"},
    ]
    terminal.send(CTRL_D)
    terminal.expect(pexpect.EOF)


def test_ctrl_c_stops_the_reply_and_keeps_the_chat(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    started = [
        head(),
        *(text(token) for token in ("<|channel|>", "final", "<|message|>", "Half an")),
    ]
    server.chat([*started, Hang()], reply(*harmony("hm", "Whole.")))
    phrase(terminal, "One")
    terminal.expect_exact("Half an")
    terminal.send(CTRL_C)
    assert server.requests[0].was_closed_by_client()
    terminal.expect_exact("(stopped)")
    phrase(terminal, "Two")
    terminal.expect_exact("Whole.")
    assert [message["content"] for message in server.requests[1].json["messages"]] == [
        "One",
        "Half an",
        "Two",
    ]


def test_a_failed_turn_is_told_and_forgotten(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat([], reply(*harmony("hm", "Better.")))
    phrase(terminal, "One")
    terminal.expect_exact("closed the connection without a reply")
    phrase(terminal, "Two")
    terminal.expect_exact("Better.")
    assert server.requests[1].json["messages"] == [{"role": "user", "content": "Two"}]


def test_a_message_may_have_several_lines(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    phrase(terminal, "first" + ESCAPE + "\rsecond")
    terminal.expect_exact("Good.")
    assert server.requests[0].json["messages"] == [
        {"role": "user", "content": "first\nsecond"}
    ]


def test_commands_are_obeyed_and_not_sent(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    phrase(terminal, "One")
    terminal.expect_exact("Good.")
    phrase(terminal, "/help")
    terminal.expect_exact("forget the conversation")
    phrase(terminal, "/clear")
    terminal.expect_exact("is forgotten")
    phrase(terminal, "/nonsense")
    terminal.expect_exact("There is no command /nonsense")
    terminal.send(CTRL_C)
    phrase(terminal, "")
    phrase(terminal, "Two")
    terminal.expect_exact("Good.")
    phrase(terminal, "/exit")
    terminal.expect(pexpect.EOF)
    assert [request.json["messages"] for request in server.requests] == [
        [{"role": "user", "content": "One"}],
        [{"role": "user", "content": "Two"}],
    ]
