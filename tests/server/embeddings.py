"""A server with OpenAI's API for embeddings. Texts that share words get similar vectors."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from zlib import crc32

LENGTH = 256


class EmbeddingServer:
    """Answers POST /embeddings at `base_url`; a context manager."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> EmbeddingServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))["input"]
        texts = [asked] if isinstance(asked, str) else asked
        vectors = [{"index": i, "embedding": vector(t)} for i, t in enumerate(texts)]
        body = json.dumps({"object": "list", "data": vectors}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output quiet."""


def vector(text: str) -> list[float]:
    """Count the words of a text. A word's checksum decides its place in the vector."""
    counts = [0.0] * LENGTH
    for word in re.findall(r"\w+", text.lower()):
        counts[crc32(word.encode()) % LENGTH] += 1
    return counts
