"""The nginx of docs/servers.md, run in front of two servers: keys count, and tokens come one by one."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_core import AnswerDelta, ChatRequest, Client
from harmony_core.cli.exit_codes import OK
from tests.server import DONE, Gate, ScriptedServer, chunk, harmony, head, reply, text
from tests.server.certificate import own_certificate
from tests.support.documents import Block, blocks_run_by, page_of
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e
NGINX = shutil.which(
    "nginx", path="/usr/sbin:/usr/local/bin:/opt/homebrew/bin:/usr/bin"
)
COMMAND = Path(sys.executable).with_name("mlx-harmony")
KEY = "change-this-key-2"
HELLO = ChatRequest([{"role": "user", "content": "Hello!"}])
FIRST = [text(token) for token in ("<|channel|>", "final", "<|message|>", "One")]
REST = [text(" two"), chunk({}, "stop"), DONE]
FRAME = """daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{recipe}
}}
"""


@pytest.fixture
def macs() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    with ScriptedServer() as studio, ScriptedServer() as mini:
        for mac in (studio, mini):
            mac.chat(reply(*harmony("Politely.", "Bonjour !")))
        yield studio, mini


@pytest.fixture(params=blocks_run_by("nginx"), ids=page_of)
def address(
    request: pytest.FixtureRequest,
    macs: tuple[ScriptedServer, ScriptedServer],
    tmp_path: Path,
) -> Iterator[str]:
    """Where nginx listens, with the page's file as it is but for names and ports."""
    if NGINX is None:
        pytest.skip("nginx is needed (Debian: apt-get install nginx-light)")
    own_certificate(tmp_path)
    block: Block = request.param
    port, recipe = free_port(), block.code
    for name, mac in zip(("studio", "mini"), macs, strict=True):
        recipe = recipe.replace(f"{name}.local:8585", f"127.0.0.1:{mac.port}")
    recipe = recipe.replace("/etc/nginx/mlx", str(tmp_path))
    recipe = recipe.replace("listen 8443", f"listen 127.0.0.1:{port}")
    file = tmp_path / "nginx.conf"
    file.write_text(FRAME.format(folder=tmp_path, recipe=recipe))
    running = subprocess.Popen([NGINX, "-p", tmp_path, "-c", file])
    try:
        wait_for(tmp_path / "nginx.pid", running)
        yield f"https://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


def wait_for(file: Path, running: subprocess.Popen[bytes]) -> None:
    """Wait, with a bound, until nginx has written its process id, which it does once it listens."""
    for _ in range(200):
        if file.exists():
            return
        assert running.poll() is None
        time.sleep(0.05)
    pytest.fail("nginx did not start")


@pytest.mark.parametrize("block", blocks_run_by("nginx_check"), ids=page_of)
def test_the_check_is_refused_without_a_key_and_answered_with_one(
    block: Block, address: str, tmp_path: Path
) -> None:
    outcomes = []
    for line in block.code.splitlines():
        _, *arguments = shlex.split(line.replace("https://studio.local:8443", address))
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        outcomes.append((done.returncode == OK, "Bonjour !" in done.stdout))
    assert outcomes == [(False, False), (True, True)]


def test_each_token_passes_as_it_comes_and_the_key_stays_at_the_proxy(
    address: str, macs: tuple[ScriptedServer, ScriptedServer], tmp_path: Path
) -> None:
    gate = Gate()
    for mac in macs:
        mac.chat([head(), *FIRST, gate, *REST])
    client = Client(address, KEY, ca_file=str(tmp_path / "certificate.pem"))
    with client.open(HELLO) as stream:
        answer = (event.text for event in stream if isinstance(event, AnswerDelta))
        assert next(answer) == "One"
        gate.open()
        assert "".join(answer) == " two"
    [request] = [request for mac in macs for request in mac.requests]
    assert "authorization" not in {name.lower() for name in request.headers}


def test_requests_at_the_same_time_go_to_different_servers(
    address: str, macs: tuple[ScriptedServer, ScriptedServer], tmp_path: Path
) -> None:
    gate = Gate()
    for mac in macs:
        mac.chat([head(), *FIRST, gate, *REST])
    client = Client(address, KEY, ca_file=str(tmp_path / "certificate.pem"))
    with client.open(HELLO), client.open(HELLO):
        assert [len(mac.requests) for mac in macs] == [1, 1]
        gate.open()
