"""Fixtures for every test folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers as the test says."""
    with ScriptedServer() as running:
        yield running
