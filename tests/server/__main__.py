"""Play one fault by hand: `python -m tests.server "a web page" --port 8585`. Without a name, list all."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from pathlib import Path

from tests.server.faults import FAULTS, LIST_FAULTS, TLS_FAULTS, playing

NAMES = [*FAULTS, *LIST_FAULTS, *TLS_FAULTS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.server", description=__doc__)
    parser.add_argument("fault", nargs="?", choices=NAMES)
    parser.add_argument("--port", type=int, default=8585)
    options = parser.parse_args()
    if options.fault is None:
        print("\n".join(NAMES))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        playing(options.fault, Path(folder), options.port) as server,
    ):
        print(f"{server.base_url} plays: {options.fault}. Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
