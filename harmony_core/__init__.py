"""The Harmony client core: what both hosts share, without any I/O of its own."""

from __future__ import annotations

from .parser import HarmonyParser, parse

__all__ = ["HarmonyParser", "parse"]
