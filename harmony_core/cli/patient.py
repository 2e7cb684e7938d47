"""A server under examination by `doctor`, and the checks without which nothing else can be measured."""

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
from .model_choice import NEEDS_NAME, NO_WHOLE_LIST, listed_gpt_oss, not_listed
from .phrases import phrase
from .problem_words import problem_text

HELLO = "Hello!"
MAX_TOKENS = 1024
_LISTED = 5  # models that are named; a cache may hold dozens
_USUAL_RATE = 20.0  # tokens per second, where it could not be measured
_USUAL_REPLY = 100  # tokens


@dataclass
class Patient:
    """What to ask, and what is known so far: the ids of models, the model to name, the first reply."""

    client: Client
    wanted: str
    models: tuple[str, ...] | None = None
    model: str = ""
    hello: Measured | None = None
    japanese_told: bool = False  # whether the server loses text was measured

    def __post_init__(self) -> None:
        self.wanted = self.wanted.strip()
        if self.wanted == DEFAULT_MODEL:
            self.wanted = ""

    @property
    def url(self) -> str:
        """The address as it may be shown."""
        return visible_url(self.client.base_url)

    @property
    def request_seconds(self) -> float:
        """What a further request may take; 0 before the first one."""
        if self.hello is None:
            return 0
        rate = self.hello.tokens_per_second or _USUAL_RATE
        return (self.hello.first_token_seconds or 0) + _USUAL_REPLY / rate

    def ask(self, request: ChatRequest) -> Measured:
        """Send a request to the model, always drawing the same reply."""
        limit = request.max_tokens or MAX_TOKENS
        asked = replace(request, model=self.model, max_tokens=limit, temperature=0)
        return measure(self.client, asked)

    def leave(self, request: ChatRequest) -> None:
        """Send a request and close the connection as soon as the reply has begun."""
        asked = replace(request, model=self.model, temperature=0)
        with suppress(ServerError), self.client.open(asked) as stream:
            for event in stream:
                if isinstance(event, ReasoningDelta | AnswerDelta):
                    return


def user(text: str) -> JsonObject:
    """A message of the user."""
    return {"role": "user", "content": text}


def list_models(patient: Patient) -> Finding:
    """Whether something answers, and which models it has."""
    try:
        patient.models = patient.client.models()
    except ServerError as error:
        if error.problem.kind in NO_WHOLE_LIST:
            return _no_list(patient.url, error.problem)
        return failed("server", error.problem)
    models = patient.models
    shown = ", ".join(models[:_LISTED]) + (", …" if len(models) > _LISTED else "")
    key = "server_listed" if models else "server_ok"
    found = ok("server", key, url=patient.url, models=shown)
    return replace(found, facts={"models": [*models]})


def _no_list(url: str, problem: Problem) -> Finding:
    text = phrase("no_list", url=url)
    if problem.kind == "cut_list":
        text = problem_text(problem)
    return Finding("server", "warning", text, problem.kind)


def find_model(patient: Patient) -> Finding | None:
    """Decide what to ask for; a name that is not known to be there might start a download."""
    wanted = patient.wanted
    if not wanted:
        return None
    if patient.models is None:
        return warning("model", "model_unchecked", model=wanted)
    if wanted in patient.models:
        patient.model = wanted
        return ok("model", "model_ok", model=wanted)
    problem = not_listed(patient.client.base_url, wanted, patient.models)
    return failed("model", problem)


def first_reply(patient: Patient) -> Finding:
    """Whether the model replies, and how fast; names the one gpt-oss of the list where a name is needed."""
    hello = ChatRequest([user(HELLO)])
    measured = patient.ask(hello)
    kind = measured.problem.kind if measured.problem else ""
    chosen = listed_gpt_oss(patient.models or ())
    if kind in NEEDS_NAME and chosen and not patient.wanted:
        patient.model = chosen
        measured = patient.ask(hello)
    if not works(measured):
        return failed("reply", measured.problem, "reply_odd")
    patient.hello = measured
    rate, first = measured.tokens_per_second, measured.first_token_seconds
    facts: JsonObject = {
        "model": patient.model or measured.server_model,
        "first_token_seconds": None if first is None else round(first, 3),
        "tokens_per_second": None if rate is None else round(rate, 1),
    }
    name = patient.model or measured.server_model.replace(DEFAULT_MODEL, "")
    key = "reply_ok" if name else "reply_loaded"
    found = ok("reply", key, model=name, speed=_speed(measured))
    if patient.model != patient.wanted and not patient.wanted:
        text = phrase("reply_named", text=found.text, model=patient.model)
        found = replace(found, text=text)
    return replace(found, facts=facts)


def works(measured: Measured) -> bool:
    """Whether an answer came, or as much of one as was asked for.

    0.26.3 is suspected of losing text wherever it counts more tokens than it sends; only a known text
    tells (`japanese` in doctor_checks.py).
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
