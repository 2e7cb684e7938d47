"""Real servers of several mlx-lm versions with the toy model, each in a separate environment.

`make` builds the environments (.cache/mlx-lm-VERSION from requirements/mlx-lm-VERSION.txt).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_core import Client
from harmony_core.cli.toy_server import ToyServer, toy_server

CACHE = Path(__file__).resolve().parents[2] / ".cache"
NEWEST = "newest"
WORKING = ("0.26.4", "0.28.4", "0.31.3")
LOSSY = "0.26.3"


def python_of(version: str) -> str:
    python = CACHE / f"mlx-lm-{version}" / "bin" / "python"
    assert python.exists(), (
        f"run `make {python.parent.parent.relative_to(CACHE.parent)}/.ready` first"
    )
    return str(python)


@pytest.fixture(
    scope="session",
    params=[
        NEWEST,
        *(pytest.param(version, marks=pytest.mark.e2e) for version in WORKING),
    ],
)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def server(version: str) -> Iterator[ToyServer]:
    with toy_server([python_of(version), "-m", "mlx_lm.server"]) as running:
        yield running


@pytest.fixture
def client(server: ToyServer) -> Client:
    return Client(server.base_url)
