"""Which model to ask for where nobody named one, and what to say of one that is not there."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnosis import explain_failure
from ..failures import Failure
from ..problems import Problem
from ..server_check import LIST_MISSING

NEEDS_NAME = ("unknown_model", "no_model")
"""What servers say to `default_model`, which only mlx_lm.server knows: Ollama, LM Studio, vLLM."""

NO_WHOLE_LIST = (*LIST_MISSING, "cut_list")
"""Where a server gives no list, or not all of it, it may serve all the same (mlx_server.md, Requests)."""


def listed_gpt_oss(models: Sequence[str]) -> str:
    """The one gpt-oss of a list, "" where there is none or a choice: a wrong one would be loaded."""
    found = [name for name in models if "gpt-oss" in name.lower().replace("_", "-")]
    return found[0] if len(found) == 1 else ""


def not_listed(base_url: str, model: str, models: Sequence[str]) -> Problem:
    """The problem of a model that a server does not list."""
    failure = Failure(
        "status",
        base_url,
        status=404,
        body="model_not_found",
        model=model,
        models=tuple(models),
    )
    return explain_failure(failure)
