"""The server that `doctor` examines, and the checks that must come first: list, model and reply."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from ..client import Client, ServerError
from ..diagnosis import visible_url
from ..events import AnswerDelta, ReasoningDelta
from ..jsontext import JsonObject
from ..problems import Problem
from ..request import DEFAULT_MODEL, ChatRequest
from .finding import Finding, failed, ok, warning
from .measure import Measured, measure
from .model_choice import LIST_PROBLEMS, NEEDS_NAME, listed_gpt_oss, not_listed
from .phrases import phrase
from .problem_words import problem_text

HELLO = "Hello!"
MAX_TOKENS = 1024
_LISTED = 5  # models to name; a server's cache may hold dozens
_USUAL_RATE = 20.0  # tokens per second, if the rate could not be measured
_USUAL_REPLY = 100  # tokens


@dataclass
class ExaminedServer:
    """A server, and what is known of it so far: its models, the model to request, the first reply."""

    client: Client
    wanted: str
    models: tuple[str, ...] | None = None
    model: str = ""
    hello: Measured | None = None
    japanese_measured: bool = False  # the Japanese check showed whether text is lost

    def __post_init__(self) -> None:
        self.wanted = self.wanted.strip()
        if self.wanted == DEFAULT_MODEL:
            self.wanted = ""

    @property
    def url(self) -> str:
        """The address without its password."""
        return visible_url(self.client.base_url)

    @property
    def request_seconds(self) -> float:
        """The estimated seconds of one more request; 0 before the first reply."""
        if self.hello is None:
            return 0
        rate = self.hello.tokens_per_second or _USUAL_RATE
        return (self.hello.first_token_seconds or 0) + _USUAL_REPLY / rate

    def ask(self, request: ChatRequest) -> Measured:
        """Send a request at temperature 0, so that the same question gets the same reply."""
        limit = request.max_tokens or MAX_TOKENS
        asked = replace(request, model=self.model, max_tokens=limit, temperature=0)
        return measure(self.client, asked)

    def abandon(self, request: ChatRequest) -> None:
        """Send a request, and close the connection when the reply begins."""
        asked = replace(request, model=self.model, temperature=0)
        with suppress(ServerError), self.client.open(asked) as stream:
            for event in stream:
                if isinstance(event, ReasoningDelta | AnswerDelta):
                    return


def user(text: str) -> JsonObject:
    """Return a message of the user."""
    return {"role": "user", "content": text}


def list_models(server: ExaminedServer) -> Finding:
    """Check whether the server answers, and which models it lists."""
    try:
        server.models = server.client.models()
    except ServerError as error:
        if error.problem.kind in LIST_PROBLEMS:
            return _no_list(server.url, error.problem)
        return failed("server", error.problem)
    models = server.models
    shown = ", ".join(models[:_LISTED]) + (", …" if len(models) > _LISTED else "")
    key = "server_listed" if models else "server_ok"
    found = ok("server", key, url=server.url, models=shown)
    return replace(found, facts={"models": [*models]})


def _no_list(url: str, problem: Problem) -> Finding:
    text = phrase("no_list", url=url)
    if problem.kind == "cut_list":
        text = problem_text(problem)
    return Finding("server", "warning", text, problem.kind)


def find_model(server: ExaminedServer) -> Finding | None:
    """Check the model that the user named. An unlisted one is never requested: it might be downloaded."""
    wanted = server.wanted
    if not wanted:
        return None
    if server.models is None:
        return warning("model", "model_unchecked", model=wanted)
    if wanted in server.models:
        server.model = wanted
        return ok("model", "model_ok", model=wanted)
    problem = not_listed(server.client.base_url, wanted, server.models)
    return failed("model", problem)


def first_reply(server: ExaminedServer) -> Finding:
    """Check whether the model replies, and how fast. If the server requires a name, use its only gpt-oss."""
    hello = ChatRequest([user(HELLO)])
    measured = server.ask(hello)
    kind = measured.problem.kind if measured.problem else ""
    chosen = listed_gpt_oss(server.models or ())
    if kind in NEEDS_NAME and chosen and not server.wanted:
        server.model = chosen
        measured = server.ask(hello)
    if not has_answer(measured):
        return failed("reply", measured.problem, "reply_odd")
    server.hello = measured
    rate, first = measured.tokens_per_second, measured.first_token_seconds
    facts: JsonObject = {
        "model": server.model or measured.server_model,
        "first_token_seconds": None if first is None else round(first, 3),
        "tokens_per_second": None if rate is None else round(rate, 1),
    }
    name = server.model or measured.server_model.replace(DEFAULT_MODEL, "")
    key = "reply_ok" if name else "reply_loaded"
    found = ok("reply", key, model=name, speed=_speed(measured))
    if server.model != server.wanted and not server.wanted:
        text = phrase("reply_named", text=found.text, model=server.model)
        found = replace(found, text=text)
    return replace(found, facts=facts)


def has_answer(measured: Measured) -> bool:
    """Whether an answer came, complete or cut by the limit of tokens.

    `lossy_server` does not count: it is suspected whenever mlx-lm 0.26.3 counts more tokens than it sends.
    Only a known text proves the loss (`japanese` in doctor_checks.py).
    """
    problem, outcome = measured.problem, measured.reply.outcome
    unharmed = problem is None or problem.kind == "lossy_server"
    return unharmed and outcome in ("answered", "cut") and measured.reply.answer != ""


def _speed(measured: Measured) -> str:
    first, rate = measured.first_token_seconds, measured.tokens_per_second
    if first is None:
        return ""
    if rate is None:
        return phrase("speed_first", first=f"{first:.1f}")
    return phrase("speed", first=f"{first:.1f}", rate=f"{rate:.0f}")
