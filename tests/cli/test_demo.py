"""`demo` and `toy_server`, with a stand-in for mlx_lm.server."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pexpect
import pytest
from rich.console import Console

from harmony_core.cli import demo, toy_server
from harmony_core.cli.demo_scenes import play
from harmony_core.cli.toy_server import ToyServerError
from harmony_core.client import Client
from harmony_core.markers import CONTROL_TOKENS
from tests.cli.conftest import Run
from tests.cli.terminals import in_terminal
from tests.server import (
    DONE,
    Gate,
    ScriptedServer,
    chunk,
    harmony,
    head,
    reply,
    text,
)

ROOT = Path(__file__).parents[2]
STAND_IN = [str(ROOT / "tests" / "cli" / "stand_in"), str(ROOT)]
COMMAND = [sys.executable, "-m", "mlx_lm.server"]

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty")


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that passes for a model. Child processes import the stand-in for mlx_lm."""
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(demo, "TOY_MODEL", tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(STAND_IN))
    monkeypatch.setenv("STAND_IN", "well")
    return tmp_path


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore the signal handlers of this process after the test."""
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_demo(run: Run) -> tuple[int, str, str]:
    result = run("demo", "--server-python", sys.executable)
    return result.exit_code, result.stdout, result.stderr


def test_the_demo_shows_both_sides_and_checks_itself(run: Run) -> None:
    code, shown, _ = run_demo(run)
    assert code == 0
    assert shown.count("✓") == 6
    for part in (
        "<|channel|>analysis<|message|>",
        "Bonjour !",
        "こんにちは！😊",
        'get_weather({"city": "Tokyo"})',
    ):
        assert part in shown
    right = [line.split("│")[2] for line in shown.splitlines() if line.count("│") == 3]
    assert any("It is 21 °C." in cell for cell in right)
    assert not any(token in cell for token in CONTROL_TOKENS for cell in right)


def test_the_scenes_come_in_order_and_the_next_steps_at_the_end(
    run: Run,
) -> None:
    _, shown, _ = run_demo(run)
    expected = (
        "1 · A first turn",
        "2 · The second turn without mlx-harmony",
        "status 404: You have passed a message with",
        "✗ an error instead of an answer",
        "3 · The second turn with mlx-harmony",
        "Bonjour !",
        "4 · A tool call",
        "5 · Japanese",
        "✓ Without mlx-harmony the second turn fails",
        "Next: ",
        "demo --serve keeps this server up",
    )
    places = [shown.find(part) for part in expected]
    assert -1 not in places
    assert places == sorted(places)


def test_the_turn_without_us_sends_back_the_raw_reply(server: ScriptedServer) -> None:
    server.chat(
        reply(*harmony("A greeting.", "Hello!")),
        [],  # before 0.28 the connection closes
        reply(*harmony("Talk.", "No tool, no Japanese.")),
    )
    console = Console(file=io.StringIO(), width=100)
    assert not play(Client(server.base_url), console, "mlx-harmony")
    plain, ours = (r.json["messages"] for r in server.requests_to(server.CHAT)[1:3])
    assert "<|channel|>analysis" in str(plain)
    assert "<|channel|>" not in str(ours)
    assert "the connection closes without a reply" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_check_fails_if_the_server_accepts_raw_replies(
    server: ScriptedServer,
) -> None:
    server.chat(reply(*harmony("A greeting.", "Hello!")))
    console = Console(file=io.StringIO(), width=100)
    assert not play(Client(server.base_url), console, "mlx-harmony")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "✗ Without mlx-harmony the second turn fails" in shown


def test_a_scene_grows_while_the_reply_comes(server: ScriptedServer) -> None:
    gate = Gate()
    start = [text(token) for token in ("<|channel|>", "final", "<|message|>", "Hel")]
    end = [text("lo!"), chunk({}, "stop"), DONE]
    server.chat([head(), *start, gate, *end])
    program = (
        "from rich.console import Console; from harmony_core.client import Client; "
        "from harmony_core.cli.demo_scenes import play; "
        f"play(Client({server.base_url!r}), Console(), 'mlx-harmony')"
    )
    child = in_terminal("-c", program)
    child.expect(r"<\|message\|>.*Hel ")
    gate.open()
    child.expect_exact("Hello!")
    child.expect_exact("Next: ")
    child.expect(pexpect.EOF)


def test_the_picture_of_the_demo_is_complete_and_loads_nothing() -> None:
    picture = (ROOT / "docs" / "images" / "demo.svg").read_text("utf-8")
    words = " ".join("".join(ElementTree.fromstring(picture).itertext()).split())
    assert "5 · Japanese with emoji" in words
    assert "url(http" not in picture
    assert "@import" not in picture


def test_the_demo_shows_which_checks_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "talks")
    code, shown, _ = run_demo(run)
    assert code == 1
    assert shown.count("✓") == 4
    assert "✗ Thinking and answer" in shown
    assert "✗ The tool was called" in shown


def test_the_demo_reports_a_problem_of_the_server(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "drops")
    code, _, errors = run_demo(run)
    assert code == 6
    assert "closed the connection without a reply" in errors


def test_a_server_that_exits_is_reported_with_its_output(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "dies")
    code, _, errors = run_demo(run)
    assert code == 3
    assert errors.endswith(
        "no such model\n"
        "mlx_lm.server did not start (exit code 1). Look at its output above.\n"
    )


def test_a_missing_interpreter_is_reported(run: Run) -> None:
    result = run("demo", "--server-python", "/no/such/python")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[1:] == [
        "mlx_lm.server did not start (/no/such/python: No such file or directory)."
    ]


def test_a_taken_port_is_reported_and_its_server_gets_no_request(
    run: Run, server: ScriptedServer
) -> None:
    port = server.base_url.rpartition(":")[2]
    result = run("demo", "--server-python", sys.executable, "--port", port)
    assert result.exit_code == 3
    assert f"port {port} is taken; choose another with --port" in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "", "x\udcff"])
def test_a_host_of_another_machine_is_reported_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(toy_server, "START_LIMIT", 0.5)
    result = run("demo", "--server-python", sys.executable, "--host", host)
    assert result.exit_code == 3
    assert "did not start (cannot listen on " in result.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.2", "http://127.0.0.2:80"),
        ("::1", "http://[::1]:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
    ],
)
def test_the_address_follows_from_the_host_that_the_server_listens_on(
    host: str, url: str
) -> None:
    assert toy_server._base_url(host, 80) == url


def test_without_mlx_lm_the_demo_says_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run("demo")
    assert result.exit_code == 2
    assert "make demo" in result.stderr


def test_without_the_toy_model_the_demo_says_so(run: Run, model: Path) -> None:
    (model / "config.json").unlink()
    result = run("demo", "--server-python", sys.executable)
    assert result.exit_code == 2
    assert str(model) in result.stderr
    assert "Run `make demo` in a checkout" in result.stderr


def serve(model: Path) -> str:
    """Return a program that keeps a toy server running."""
    return (
        "from pathlib import Path; from harmony_core.cli import demo; "
        f"demo.TOY_MODEL = Path({str(model)!r}); "
        f"raise SystemExit(demo.run_demo({sys.executable!r}, True, '127.0.0.1', 0))"
    )


@pytest.fixture
def serving(model: Path) -> Iterator[pexpect.spawn]:
    """A terminal in which a toy server runs."""
    child = in_terminal("-c", serve(model))
    yield child
    child.close(force=True)


def test_serving_goes_on_until_ctrl_c(serving: pexpect.spawn) -> None:
    child = serving
    child.expect(r"at (http://127.0.0.1:(\d+)); Ctrl-C")
    url, port = child.match.group(1), child.match.group(2)
    child.expect_exact(f"http://host.docker.internal:{port}")
    with urllib.request.urlopen(f"{url}/v1/models", timeout=10) as answer:
        assert answer.status == 200
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_and_a_closed_terminal_stop_the_server(
    serving: pexpect.spawn, number: int
) -> None:
    serving.expect(r"at http://127.0.0.1:(\d+); Ctrl-C")
    port = int(serving.match.group(1))
    serving.kill(number)
    serving.expect(pexpect.EOF)
    serving.close()
    assert serving.exitstatus == 1
    assert toy_server.free_port(port) == port


def test_a_signal_that_nohup_ignores_stays_ignored(model: Path) -> None:
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    child = in_terminal("-c", ignore + serve(model))
    child.expect(r"at http://127.0.0.1:(\d+); Ctrl-C")
    child.kill(signal.SIGHUP)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    port = toy_server.free_port()
    assert toy_server.free_port(port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert toy_server.free_port(port) != port


def test_a_server_stops_when_its_block_ends(model: Path) -> None:
    port = toy_server.free_port()
    with toy_server.toy_server(COMMAND, model=model, port=port) as server:
        assert server.base_url == f"http://127.0.0.1:{port}"
        assert server.log.exists()
    assert not server.log.exists()
    with toy_server.toy_server(COMMAND, model=model, port=port):
        pass


def test_a_server_that_never_answers_is_reported(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_server, "START_LIMIT", 0.5)
    command = [
        sys.executable,
        "-c",
        "import time; print('busy', flush=True); time.sleep(60)",
    ]
    with (
        pytest.raises(ToyServerError, match="no answer within") as caught,
        toy_server.toy_server(command, model=model),
    ):
        pass
    assert caught.value.log.strip() in ("", "busy")


def test_a_server_that_ignores_sigterm_is_killed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "stays")
    monkeypatch.setattr(toy_server, "STOP_LIMIT", 0.5)
    with toy_server.toy_server(COMMAND, model=model) as server:
        pass
    assert toy_server.free_port(server.port) == server.port
