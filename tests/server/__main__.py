"""Play one fault by hand: `python -m tests.server "a web page" --port 8585`; without a name, list them."""

from __future__ import annotations

import argparse
import contextlib
import threading

from tests.server import ScriptedServer, models
from tests.server.faults import FAULTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.server", description=__doc__)
    parser.add_argument("fault", nargs="?", choices=FAULTS)
    parser.add_argument("--port", type=int, default=8585)
    options = parser.parse_args()
    if options.fault is None:
        print("\n".join(FAULTS))
        return
    with ScriptedServer(options.port) as server:
        server.chat(FAULTS[options.fault].script).models(
            models("mlx-community/gpt-oss-20b")
        )
        print(f"{server.base_url} plays: {options.fault}. Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
