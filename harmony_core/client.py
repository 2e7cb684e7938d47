"""The synchronous client: send a chat request, receive events as they arrive, or get a `ServerError`.

A `Client` holds no connection, so threads and greenlets can share it without a lock. It starts
a thread only to limit a TLS handshake.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from uuid import uuid4

from .chat import ChatStream
from .diagnosis import explain_reply, server_version, visible_url
from .events import Event, Reply, ReplyBuilder
from .failures import ServerError, Timeouts
from .jsontext import dump_json
from .limits import MAX_ERROR_BODY, MAX_LIST_BYTES
from .problems import Problem, problem_of
from .request import DEFAULT_MODEL, ChatRequest, Endpoint, listed_models_in
from .server_check import NO_LIST_YET, CheckStep, ServerCheck, ServerFacts
from .transport import Exchange

__all__ = [
    "CheckStep",
    "Client",
    "ReplyStream",
    "ServerError",
    "ServerFacts",
    "Timeouts",
]

# Statuses that may mean that the server does not have the model.
_ABOUT_A_MODEL = (400, 404)


class Client:
    """Talks to one OpenAI-style server, mlx_lm.server above all.

    `base_url` may end in `/v1`. Redirects are never followed, and `.netrc` is never read. The environment's
    proxies are used only with `use_proxies`. https is checked against `ca_file`, else against the file in
    REQUESTS_CA_BUNDLE or SSL_CERT_FILE, else against the usual authorities. `verify=False` turns that off.

    Everything but a reply is limited as a whole. A reply is limited only in each silence, because a slow
    reply is still a good one. `within` limits a whole call, in seconds, whatever the server does.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (frozen)
        use_proxies: bool = False,
        ca_file: str = "",
        verify: bool = True,
    ) -> None:
        self.base_url = base_url
        self.timeouts = timeouts
        self._endpoint = Endpoint(base_url, api_key, ca_file, verify)
        self._use_proxies = use_proxies

    def open(
        self,
        request: ChatRequest,
        tap: Callable[[bytes], object] | None = None,
        within: float = math.inf,
    ) -> ReplyStream:
        """Send a chat request; returns once the headers of the reply are there.

        Raises ServerError if there is no reply to read. `tap` gets the raw bytes of the reply.
        """
        body = request.payload()
        # Servers restart their numbers of calls with each reply, but hosts want unique ids.
        chat = request.chat_stream(call_prefix=f"call_{uuid4().hex}")
        exchange = self._exchange(request.model, within)
        exchange.send("POST", self._endpoint.chat_url, dump_json(body).encode())
        if exchange.status != 200:
            words = exchange.read_all(MAX_ERROR_BODY)
            # Before 0.28 a wrong path and a model that does not load get the same words.
            about_model = exchange.status in _ABOUT_A_MODEL
            models = self._models_or_none(exchange.left) if about_model else None
            raise exchange.refusal(words, models)
        budget = body.get("max_completion_tokens", body.get("max_tokens"))
        limit = budget if isinstance(budget, int) else None
        return ReplyStream(exchange, chat, limit, tap)

    def complete(self, request: ChatRequest) -> Reply:
        """Send a chat request and wait for the whole reply; raises ServerError."""
        with self.open(request) as stream:
            for _ in stream:
                pass
        return stream.reply

    def models(self, within: float = math.inf) -> tuple[str, ...]:
        """The ids of GET /v1/models; raises ServerError, also if the list is cut or too long.

        mlx_lm.server lists the Hugging Face cache and a local `--model`. Without a cache folder it closes
        the connection and sends no reply.
        """
        exchange = self._exchange("", min(within, self.timeouts.short_answer))
        exchange.send("GET", self._endpoint.models_url, None)
        if exchange.status != 200:
            raise exchange.refusal(exchange.read_all(MAX_ERROR_BODY))
        body = exchange.read_all(MAX_LIST_BYTES)
        if not body:
            raise exchange.failure or exchange.error("first_byte", "")
        ids, complete = listed_models_in(body)
        cut = not exchange.whole or (b'"data"' in body and not complete)
        if cut and body.lstrip().startswith(b"{"):
            raise ServerError(problem_of("cut_list", url=visible_url(self.base_url)))
        if not complete or b'"data"' not in body:
            raise exchange.refusal(body[:MAX_ERROR_BODY])
        return ids

    def check(self, model: str = "", within: float = math.inf) -> ServerFacts:
        """Find out whether the server can serve `model` ("" for the loaded one); raises ServerError.

        Never makes mlx_lm.server download anything: names that it does not list are not sent.
        """
        check = ServerCheck(self, model, within)
        for step in check.steps():
            if step.problem is not None and step.fatal:
                raise ServerError(step.problem)
        return ServerFacts(
            check.models, check.fingerprint, server_version(check.fingerprint)
        )

    def check_steps(self, model: str = "") -> Iterator[CheckStep]:
        """The same check, step by step; ends at the first fatal problem."""
        return ServerCheck(self, model).steps()

    def _exchange(self, model: str, within: float) -> Exchange:
        named = "" if model.strip() == DEFAULT_MODEL else model.strip()
        return Exchange(self._endpoint, self.timeouts, self._use_proxies, named, within)

    def _models_or_none(self, within: float) -> tuple[str, ...] | None:
        try:
            return self.models(within)
        except ServerError as error:
            return () if error.problem.kind in NO_LIST_YET else None


class ReplyStream:
    """The events of one reply, as they arrive: an iterator and a context manager.

    After the last event it raises ServerError if the reply as a whole is bad: broken off, an error frame,
    not a reply at all, or known to be lossy. `close` frees the connection at once, from any thread or
    greenlet, and iteration simply ends.
    """

    def __init__(
        self,
        exchange: Exchange,
        chat: ChatStream,
        max_tokens: int | None,
        tap: Callable[[bytes], object] | None,
    ) -> None:
        self._exchange = exchange
        self._chat = chat
        self._max_tokens = max_tokens
        self._tap = tap
        self._pending: deque[Event] = deque()
        self._given = ReplyBuilder()  # what has been iterated over
        self._over = False
        self._ended = False  # by itself, and not judged yet
        self._failure: ServerError | None = None

    @property
    def reply(self) -> Reply:
        """What has been iterated over so far, as a reply; the whole one after the end."""
        return self._given.reply

    @property
    def fingerprint(self) -> str:
        """The server's `system_fingerprint`, which begins with the version of mlx-lm."""
        return self._chat.fingerprint

    @property
    def server_model(self) -> str:
        """The server's name for the model that replied."""
        return self._chat.server_model

    @property
    def problem(self) -> Problem | None:
        """What is wrong with the reply, known after its end. Not always fatal: it may just lack an answer."""
        return self._judge(self.reply)

    def close(self) -> None:
        """Close the connection; the server stops generating at its next write."""
        self._over = True
        self._ended = False
        self._pending.clear()
        self._exchange.close()

    def __enter__(self) -> ReplyStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._pending and not self._over:
            self._read()
        if self._pending:
            event = self._pending.popleft()
            self._given.add(event)
            return event
        if self._ended:
            self._ended = False
            self._raise_if_no_good()
        raise StopIteration

    def _read(self) -> None:
        failure: ServerError | None = None
        data = b""
        try:
            data = self._exchange.read()
        except ServerError as error:
            failure = error
        if self._over:  # closed by somebody else while we waited
            return
        if self._tap is not None:
            self._tap(data)
        self._pending.extend(self._chat.feed(data))
        if not data or self._chat.finished:
            self._end(failure)

    def _end(self, failure: ServerError | None) -> None:
        self._over = self._ended = True
        self._failure = failure
        self._exchange.close()
        self._pending.extend(self._chat.close())

    def _raise_if_no_good(self) -> None:
        """Judge the reply; a silence or a break behind a finish reason is no failure."""
        reply = self.reply
        problem = self._judge(reply)
        if problem is None:
            return
        if self._failure is not None and reply.finish_reason == "interrupted":
            raise self._failure
        if problem.stage != "reply":
            raise ServerError(problem)

    def _judge(self, reply: Reply) -> Problem | None:
        return explain_reply(
            reply,
            base_url=self._exchange.endpoint.base_url,
            fingerprint=self._chat.fingerprint,
            deltas=self._chat.deltas,
            max_tokens=self._max_tokens,
            api_key=self._exchange.endpoint.api_key,
        )
