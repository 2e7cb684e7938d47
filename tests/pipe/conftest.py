"""Fixtures of the pipe's tests; `module` runs a test on the source and on the bundle in both hosts."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import openwebui_pipe.pipe
from openwebui_pipe.bundle import TARGET
from tests.pipe.browser import Visit, chromium
from tests.pipe.fake_host import Host, load_as_in_0_6_20, load_as_in_0_12_4
from tests.pipe.openwebui import SHOTS, OpenWebUi
from tests.server import ScriptedServer, models


@pytest.fixture(
    scope="session", params=["source", "bundle as in 0.6.20", "bundle as in 0.12.4"]
)
def module(request: pytest.FixtureRequest) -> Any:
    """The module with `Pipe`: the source, or the bundle as a host loads it."""
    if request.param == "source":
        return openwebui_pipe.pipe
    load = load_as_in_0_6_20 if request.param.endswith("0.6.20") else load_as_in_0_12_4
    return load(TARGET.read_text("utf-8"), f"test_{load.__name__}")


@pytest.fixture
def host(module: Any, server: ScriptedServer) -> Host:
    """A host whose pipe talks to the server."""
    return Host(module, BASE_URL=server.base_url)


@pytest.fixture
def host_with(module: Any, server: ScriptedServer) -> Callable[..., Host]:
    """Makes a host whose pipe talks to the server and has more Valves set."""
    return lambda **valves: Host(module, **({"BASE_URL": server.base_url} | valves))


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the pipe finds as Open WebUI's data folder."""
    env = types.ModuleType("open_webui.env")
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(env, "DATA_DIR", folder, raising=False)
    monkeypatch.setitem(sys.modules, "open_webui", types.ModuleType("open_webui"))
    monkeypatch.setitem(sys.modules, "open_webui.env", env)
    return folder


@pytest.fixture
def host_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the pipe find a given version of Open WebUI."""

    def pretend(version: str) -> None:
        env = types.ModuleType("open_webui.env")
        monkeypatch.setattr(env, "VERSION", version, raising=False)
        monkeypatch.setitem(sys.modules, "open_webui", types.ModuleType("open_webui"))
        monkeypatch.setitem(sys.modules, "open_webui.env", env)

    return pretend


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, webui: OpenWebUi) -> Iterator[Visit]:
    """The admin's tab on the Open WebUI of the module."""
    someone = Visit(browser, webui.base_url, SHOTS)
    yield someone
    someone.close()


@pytest.fixture
def machine(server: ScriptedServer, webui: OpenWebUi) -> ScriptedServer:
    """The scripted server, as the pipe's server."""
    server.models(models("gpt-oss"))
    webui.set_valves("mlx_harmony", BASE_URL=server.base_url, MODEL_IDS="default_model")
    webui.models()
    return server
