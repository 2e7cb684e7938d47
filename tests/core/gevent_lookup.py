# ruff: noqa: E402, T201
"""`test_client.py` runs this in another process: a name is looked up for ever."""

from gevent import monkey

monkey.patch_all()

import socket

from gevent.event import Event

from harmony_core.client import Client
from harmony_core.failures import ServerError, Timeouts

monkey.patch_item(socket, "getaddrinfo", lambda *_, **__: Event().wait(60))
try:
    Client("http://mac.test", timeouts=Timeouts(connect=0.3)).models()
except ServerError as error:
    print(error.problem.kind)
