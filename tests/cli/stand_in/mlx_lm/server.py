"""Stands in for mlx_lm.server if mlx-lm is not installed: plays the demo's replies in order.

Run it as `python -m mlx_lm.server`, with this folder on the path. STAND_IN chooses how it behaves: "well",
"dies" (it exits at once), "drops" (it closes the connection on the first chat request), "talks" (it neither
thinks nor calls the tool) or "stays" (it ignores SIGTERM). tests/e2e runs the real server.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from tests.server import ScriptedServer, harmony, json_page, models, reply
from tests.support.weather import weather_call

REPLIES = (
    reply(*harmony("A greeting.", "Hello!")),
    json_page({"error": "You have passed a message with channel tags."}, 404),
    reply(*harmony("In French.", "Bonjour !")),
    reply(*weather_call("Tokyo")),
    reply(*harmony("The tool knows.", "It is 21 °C.")),
    reply(*harmony("Japanese.", "こんにちは！😊 お元気ですか。")),
)

TALK = [
    *REPLIES[:3],
    reply("<|channel|>", "final", "<|message|>", "こんにちは！😊 はい。"),
]

SCRIPTS = {"well": REPLIES, "talks": TALK, "drops": ([],), "stays": ([],)}

if __name__ == "__main__":
    mode = os.environ["STAND_IN"]
    if mode == "dies":
        sys.exit("no such model")
    if mode == "stays":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    with ScriptedServer(port) as server:
        server.models(models("toy"))
        server.chat(*SCRIPTS[mode])
        threading.Event().wait()
