"""The model to request if the user named none, and the problem of a model that is not listed."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnosis import explain_failure
from ..failures import Failure
from ..problems import Problem
from ..server_check import LIST_MISSING

NEEDS_NAME = ("unknown_model", "no_model")
"""What Ollama, LM Studio and vLLM answer to `default_model`, which only mlx_lm.server knows."""

LIST_PROBLEMS = (*LIST_MISSING, "cut_list")
"""Problems of the list of models that do not prevent a chat (mlx_server.md, Requests)."""


def listed_gpt_oss(models: Sequence[str]) -> str:
    """Return the only gpt-oss of a list; "" if there is none, or more than one."""
    found = [name for name in models if "gpt-oss" in name.lower().replace("_", "-")]
    return found[0] if len(found) == 1 else ""


def not_listed(base_url: str, model: str, models: Sequence[str]) -> Problem:
    """Return the problem of a model that a server does not list."""
    failure = Failure(
        "status",
        base_url,
        status=404,
        body="model_not_found",
        model=model,
        models=tuple(models),
    )
    return explain_failure(failure)
