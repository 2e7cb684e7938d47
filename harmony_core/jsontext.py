"""JSON with names for its types, and without surprises when it is hostile."""

from __future__ import annotations

import json
from typing import TypeAlias, Union

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
JsonObject: TypeAlias = dict[str, Json]


def load_json(text: str | bytes) -> Json:
    """Parse JSON; raises ValueError only, also for NaN and nesting without end."""
    try:
        value: Json = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def dump_json(value: Json) -> str:
    """Write JSON the same way every time, with non-ASCII text left readable."""
    return json.dumps(value, ensure_ascii=False)
