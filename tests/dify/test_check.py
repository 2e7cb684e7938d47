"""The check of the form ends in its time, whatever the server does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dify_plugin.errors.model import CredentialsValidateFailedError

from tests.dify.sdk_driver import Talk
from tests.server import (
    Drip,
    Hang,
    Script,
    ScriptedServer,
    continue_drip,
    dripping_head,
    dripping_page,
    head,
    keepalive,
    models,
    reply,
)
from tests.server.certificate import own_certificate

SLOW: dict[str, Script] = {
    "silence": [Hang()],
    "headers that trickle": dripping_head(),
    "100 Continue": continue_drip(),
    "an error that trickles": dripping_page(404, "oh"),
    "comments for ever": [head(), Drip(keepalive(1, 9))],
}


@pytest.fixture
def tls_that_trickles() -> Iterator[str]:
    """The address of a server whose side of the handshake never comes to an end."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.sendall(b"\x16\x03\x03\x40\x00")
            while True:
                time.sleep(0.05)
                connection.sendall(b"\x00")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_an_own_certificate_passes_with_its_file_a_variable_or_no_check(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    certificate, context = own_certificate(tmp_path)
    with ScriptedServer(tls=context) as server:
        server.models(models("a")).chat(reply("x", finish_reason="length"))
        talk.credentials["base_url"] = server.base_url
        for ca_file in (str(certificate), "off"):
            talk.credentials["ca_file"] = ca_file
            talk.model().validate_credentials("gpt-oss-20b", talk.credentials)
        talk.credentials["ca_file"] = ""
        assert "certificate" in refusal(talk, monkeypatch)
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            with monkeypatch.context() as container:
                container.setenv(name, str(certificate))
                talk.model().validate_credentials("gpt-oss-20b", talk.credentials)


def refusal(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> str:
    # On a busy machine the list of models alone may take a second.
    monkeypatch.setattr("dify_plugin_mlx.models.llm.llm.CHECK_LIMIT", 3)
    with pytest.raises(CredentialsValidateFailedError) as caught:
        talk.model().validate_credentials("gpt-oss-20b", talk.credentials)
    return str(caught.value)


@pytest.mark.parametrize("name", SLOW)
def test_the_check_ends_while_the_reply_does_not(
    server: ScriptedServer, talk: Talk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server.chat(SLOW[name])
    assert refusal(talk, monkeypatch)
    [chat] = server.requests_to(server.CHAT)
    assert chat.was_closed_by_client()


def test_the_check_ends_while_the_handshake_does_not(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, tls_that_trickles: str
) -> None:
    talk.credentials["base_url"] = tls_that_trickles
    assert "did not come to an end" in refusal(talk, monkeypatch)
