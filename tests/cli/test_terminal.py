"""`chat` in a real terminal: live lines, a conversation, Ctrl-C, input of several lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.cli.servers import mlx_lm, play
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
    models,
    reply,
    text,
)

# Python warns about a fork while a thread runs. It is harmless: the child executes another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty")

CTRL_C, CTRL_D, ESCAPE = "\x03", "\x04", "\x1b"


@pytest.fixture
def terminal(server: ScriptedServer) -> Iterator[pexpect.spawn]:
    """A conversation that waits for its first line."""
    child = start_chat(server)
    child.expect("/help")
    child.expect_exact(">")
    yield child
    if child.isalive():
        child.send(CTRL_D)
        child.expect(pexpect.EOF)
    child.close()


def start_chat(server: ScriptedServer, *arguments: str) -> pexpect.spawn:
    line = ["-m", "harmony_core", "chat", *arguments, "--base-url", server.base_url]
    return in_terminal(*line)


def type_line(terminal: pexpect.spawn, line: str) -> None:
    terminal.send(line + "\r")


def messages_to(server: ScriptedServer) -> list[object]:
    """Return the messages of each chat request, without the requests for the list of models."""
    return [request.json["messages"] for request in server.requests_to(server.CHAT)]


def test_prompt_progress_and_thinking_are_shown_live(
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
    child = start_chat(server, "Hi")
    child.expect("Reading the prompt… 62 %")
    gates[0].open()
    child.expect(r"Thinking… \d+ s")
    gates[1].open()
    child.expect(r"Thought for (\d+ s|less than a second)")
    child.expect("Hello.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_thinking_between_two_answers_keeps_the_first_one(
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
    child = start_chat(server, "Hi")
    child.expect(r"One moment\.\r\n")
    child.expect(r"Thought for (\d+ s|less than a second)")
    child.expect("Hello.")
    child.expect(pexpect.EOF)


def test_control_characters_of_the_model_do_not_reach_the_terminal(
    server: ScriptedServer,
) -> None:
    server.chat(reply(*harmony("hm", "red\x1b[31m alert\x07.")))
    child = start_chat(server, "Hi", "--thinking", "hide")
    child.expect_exact("red[31m alert.")
    child.expect(pexpect.EOF)


def test_a_conversation_remembers_its_turns(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "First.")), reply(*harmony("hm", "Second.")))
    type_line(terminal, "One")
    terminal.expect_exact("First.")
    type_line(terminal, "Two")
    terminal.expect_exact("Second.")
    assert messages_to(server)[1] == [
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
    type_line(terminal, "One")
    terminal.expect_exact("Half an")
    terminal.send(CTRL_C)
    assert server.requests_to(server.CHAT)[0].was_closed_by_client()
    terminal.expect_exact("(stopped)")
    type_line(terminal, "Two")
    terminal.expect_exact("Whole.")
    assert [message["content"] for message in messages_to(server)[1]] == [
        "One",
        "Half an",
        "Two",
    ]


def test_a_failed_turn_is_reported_and_forgotten(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat([], reply(*harmony("hm", "Better.")))
    type_line(terminal, "One")
    terminal.expect_exact("closed the connection without a reply")
    type_line(terminal, "Two")
    terminal.expect_exact("Better.")
    assert messages_to(server)[1] == [{"role": "user", "content": "Two"}]


def test_a_message_may_have_several_lines(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    type_line(terminal, "first" + ESCAPE + "\rsecond")
    terminal.expect_exact("Good.")
    assert messages_to(server)[0] == [{"role": "user", "content": "first\nsecond"}]


def test_commands_are_run_and_not_sent(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    type_line(terminal, "One")
    terminal.expect_exact("Good.")
    type_line(terminal, "/help")
    terminal.expect_exact("forget the conversation")
    type_line(terminal, "/clear")
    terminal.expect_exact("is forgotten")
    type_line(terminal, "/nonsense")
    terminal.expect_exact("There is no command /nonsense")
    terminal.send(CTRL_C)
    type_line(terminal, "")
    type_line(terminal, "Two")
    terminal.expect_exact("Good.")
    type_line(terminal, "/exit")
    terminal.expect(pexpect.EOF)
    assert messages_to(server) == [
        [{"role": "user", "content": "One"}],
        [{"role": "user", "content": "Two"}],
    ]


def leave(terminal: pexpect.spawn) -> None:
    terminal.send(CTRL_D)
    terminal.expect(pexpect.EOF)


def test_a_complete_answer_becomes_markdown(server: ScriptedServer) -> None:
    server.chat(reply(*harmony("hm", "Some **bold** words.\n\n- a point")))
    child = start_chat(server, "Hi", "--thinking", "hide")
    child.expect(r"Some \x1b\[1mbold\x1b\[0m words\.")
    child.expect_exact("• ")
    child.expect(pexpect.EOF)


def test_words_are_not_broken_at_the_edge(server: ScriptedServer) -> None:
    words = " ".join(["wonderful"] * 15)
    server.chat(reply(*harmony("hm", words)))
    child = start_chat(server, "Hi", "--thinking", "hide")
    child.expect(pexpect.EOF)
    assert child.before.count("wonderful") >= 15
    assert not re.search(r"wonderf?u?\r\n|wonderful\r\nful", child.before)


def test_a_long_answer_shows_its_end_while_it_grows(server: ScriptedServer) -> None:
    gate = Gate()
    lines = [text(f"line {number}\n") for number in range(100)]
    start = [text(token) for token in ("<|channel|>", "final", "<|message|>")]
    server.chat([head(), *start, *lines, gate, chunk({}, "stop"), DONE])
    child = start_chat(server, "Hi")
    child.expect_exact("line 99")
    assert "line 5\r\n" not in child.before
    gate.open()
    child.expect_exact("line 5\r\n")
    child.expect(pexpect.EOF)


def test_thinking_can_be_shown_again(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("The user greets me.", "Good.")))
    type_line(terminal, "/thinking")
    terminal.expect_exact("There is no thinking to show yet.")
    type_line(terminal, "One")
    terminal.expect_exact("Good.")
    type_line(terminal, "/thinking")
    terminal.expect_exact("The user greets me.")


def test_effort_and_system_prompt_can_be_changed_during_a_chat(
    server: ScriptedServer, terminal: pexpect.spawn
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    type_line(terminal, "/effort")
    terminal.expect_exact("Reasoning effort: the server's default")
    type_line(terminal, "/effort much")
    terminal.expect_exact("There is no effort “much”.")
    type_line(terminal, "/effort HIGH")
    terminal.expect_exact("Reasoning effort: high")
    type_line(terminal, "/system")
    terminal.expect_exact("System prompt: none")
    type_line(terminal, "/system Be brief.")
    terminal.expect_exact("System prompt: Be brief.")
    type_line(terminal, "One")
    terminal.expect_exact("Good.")
    (request,) = server.requests_to(server.CHAT)
    assert request.json["chat_template_kwargs"] == {"reasoning_effort": "high"}
    assert request.json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
    ]


def test_a_conversation_is_saved_only_to_a_new_file(
    server: ScriptedServer, terminal: pexpect.spawn, tmp_path: Path
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    type_line(terminal, "One")
    terminal.expect_exact("Good.")
    path = tmp_path / "c.md"
    type_line(terminal, "/save")
    terminal.expect_exact("Name a file: /save chat.md")
    type_line(terminal, f"/save {path}")
    terminal.expect_exact("The conversation is in")
    type_line(terminal, f"/save {path}")
    terminal.expect_exact("could not be")
    assert path.read_text() == "## User\n\nOne\n\n## Assistant\n\nGood.\n"


@pytest.mark.parametrize("command", ["/quit", "/exit"])
def test_quit_and_exit_leave_the_chat(terminal: pexpect.spawn, command: str) -> None:
    type_line(terminal, command)
    terminal.expect(pexpect.EOF)


def test_typed_lines_are_kept_for_the_next_conversation(
    server: ScriptedServer, terminal: pexpect.spawn, tmp_path: Path
) -> None:
    server.chat(reply(*harmony("hm", "Good.")))
    type_line(terminal, "One of many")
    terminal.expect_exact("Good.")
    leave(terminal)
    history = tmp_path / "state" / "mlx-harmony" / "history"
    assert "+One of many" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    again = start_chat(server)
    again.expect_exact(">")
    again.send("\x1b[A")
    again.expect_exact("One of many")
    again.close()


def test_a_chat_works_without_a_writable_history(
    server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file instead of a folder")
    server.chat(reply(*harmony("hm", "Good.")))
    child = start_chat(server)
    child.expect_exact(">")
    type_line(child, "One")
    child.expect_exact("Good.")
    leave(child)


def test_an_unreachable_server_is_reported_before_the_first_question() -> None:
    child = in_terminal(
        "-m", "harmony_core", "chat", "--base-url", "http://127.0.0.1:1"
    )
    child.expect_exact("was refused.")
    child.expect_exact(">")
    leave(child)


def test_an_unlisted_model_is_reported_before_the_first_question(
    server: ScriptedServer,
) -> None:
    child = start_chat(server.models(models("a/b")), "--model", "nosuch")
    child.expect_exact("nosuch")
    child.expect_exact("lists: a/b")
    leave(child)


def test_doctor_shows_its_progress(server: ScriptedServer) -> None:
    gate = Gate()
    scripts = mlx_lm()
    held = [gate, *scripts["second_turn"]]
    play(server, scripts | {"second_turn": held})
    child = in_terminal("-m", "harmony_core", "doctor", "--base-url", server.base_url)
    child.expect_exact("short requests: about a minute")
    child.expect(r"3 of 11: the second turn… about \d+ s left")
    gate.open()
    child.expect_exact("A second turn works")
    child.expect(pexpect.EOF)
