# ruff: noqa: E402, T201
"""A process of `test_client.py`: one greenlet waits for a stream, and another one closes it."""

from gevent import monkey

monkey.patch_all()

import sys

import gevent

from harmony_core.client import Client
from harmony_core.request import ChatRequest

stream = Client(sys.argv[1]).open(ChatRequest([{"role": "user", "content": "Hi"}]))


def read() -> None:
    print(next(stream).text)
    assert list(stream) == []
    print("ended")


reader = gevent.spawn(read)
gevent.sleep(0.3)
print("others-run")
stream.close()
print("closed")
reader.join()
