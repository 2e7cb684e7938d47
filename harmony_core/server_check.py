"""The check of a server, step by step: what `Client.check` and `mlx-harmony doctor` find out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .diagnosis import explain_failure, server_version
from .events import collect
from .failures import Failure, ServerError
from .jsontext import JsonObject
from .problems import Problem, problem_of
from .request import DEFAULT_MODEL, ChatRequest

if TYPE_CHECKING:
    from .client import Client

# What GET /v1/models gives without a cache folder (mlx_server.md), or if a proxy passes only the chat path.
NO_LIST_YET = ("empty_reply", "dead_server")
LIST_MISSING = (*NO_LIST_YET, "wrong_path")

# The family is written in several tokens, and what follows it is what a lossy server loses.
_JAPANESE_SYSTEM = "Answer in Japanese. Begin with 👩‍👩‍👧 and end with the word OK."
JAPANESE: Final[tuple[JsonObject, ...]] = (
    {"role": "system", "content": _JAPANESE_SYSTEM},
    {"role": "user", "content": "こんにちは！"},
)


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of `Client.check_steps`.

    `problem` is None if all is well; `fatal` is False for a mere warning. `fact` is what was found, for
    people to read: an address, ids of models, a version.
    """

    name: str
    fact: str = ""
    problem: Problem | None = None
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a successful check learned. `models` is None if the server has no list, and `version` if the
    server is not mlx-lm's."""

    models: tuple[str, ...] | None
    fingerprint: str
    version: tuple[int, int, int] | None


class ServerCheck:
    """Looks at a server from the outside in; see `Client.check`."""

    def __init__(self, client: Client, model: str, within: float = math.inf) -> None:
        """`within`: the seconds for all steps together."""
        self._client = client
        self._end = time.monotonic() + within
        self._model = "" if model.strip() == DEFAULT_MODEL else model.strip()
        self.models: tuple[str, ...] | None = None
        self.fingerprint = ""

    def steps(self) -> Iterator[CheckStep]:
        """Each step as it is taken; ends at the first fatal problem."""
        takes = [self._list_models, self._find_model, self._ask, self._know_version]
        for take in takes:
            step = take()
            if step is None:
                continue
            yield step
            if step.problem is not None and step.fatal:
                return

    def _list_models(self) -> CheckStep:
        try:
            self.models = self._client.models(self._left())
        except ServerError as error:
            return CheckStep(
                "server",
                "",
                error.problem,
                fatal=error.problem.kind not in (*LIST_MISSING, "cut_list"),
            )
        return CheckStep("server", ", ".join(self.models))

    def _find_model(self) -> CheckStep | None:
        if self.models is None:
            return None  # nobody can tell without a list
        if not self._model or self._model in self.models:
            return CheckStep("model", self._model or DEFAULT_MODEL)
        failure = Failure(
            "status",
            self._client.base_url,
            status=404,
            body="model_not_found",  # OpenAI's word for it
            model=self._model,
            models=self.models,
        )
        return CheckStep("model", self._model, explain_failure(failure))

    def _ask(self) -> CheckStep:
        # A name that is not listed might start a download.
        model = self._model if self.models is not None else ""
        hello: list[JsonObject] = [{"role": "user", "content": "Hi"}]
        try:
            with self._client.open(
                ChatRequest(hello, model=model, max_tokens=1, temperature=0),
                within=self._left(),
            ) as stream:
                for _ in stream:
                    pass
        except ServerError as error:
            return CheckStep("reply", "", error.problem)
        self.fingerprint = stream.fingerprint
        return CheckStep("reply", stream.server_model)

    def _left(self) -> float:
        return self._end - time.monotonic()

    def _know_version(self) -> CheckStep:
        version = server_version(self.fingerprint)
        if version is None:
            return CheckStep("version", self.fingerprint)
        number = ".".join(map(str, version))
        found = CheckStep("version", f"mlx-lm {number}")
        if version == (0, 26, 3):
            return self._find_lost_text(found)
        if version[:2] in ((0, 29), (0, 30)):
            unstable = problem_of("unstable_server", version=number)
            return replace(found, problem=unstable, fatal=False)
        return found

    def _find_lost_text(self, found: CheckStep) -> CheckStep:
        """Ask 0.26.3 for Japanese: some people have mended theirs, and it loses nothing."""
        suspected = replace(found, problem=problem_of("lossy_server"))
        request = ChatRequest(JAPANESE, max_tokens=512, effort="low", temperature=0)
        try:
            with self._client.open(request, within=self._left()) as stream:
                answer = collect(list(stream)).answer
        except ServerError as error:
            return replace(suspected, fatal=error.problem.kind == "lossy_server")
        return suspected if answer.isascii() else found
