"""Runs atheris on one target, in its own process: `python -m tests.fuzz.engine TARGET OPTION…`."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["harmony_core"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
