"""Ports of this machine that nobody listens on."""

from __future__ import annotations

from harmony_core.cli.toy_server import free_port

__all__ = ["free_port"]
