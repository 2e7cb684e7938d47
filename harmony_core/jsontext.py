"""JSON with names for its types, and safe to read when it is hostile."""

from __future__ import annotations

import json
import math
import re
from typing import Final, TypeAlias, Union

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
JsonObject: TypeAlias = dict[str, Json]

MAX_DEPTH: Final = 50
"""Deepest nesting of objects and lists that is sent. The chat template recurses, and each level costs it
several of its thousand frames."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def load_json(text: str | bytes) -> Json:
    """Parse JSON; raises only ValueError, also for NaN and for endless nesting."""
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        value: Json = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def as_object(value: object) -> JsonObject:
    """The value if it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Json]:
    """The value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def objects_in(value: object) -> list[JsonObject]:
    """The objects of a list; an empty list for anything else."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def dump_json(value: Json) -> str:
    """Write JSON the same way every time, with non-ASCII text left readable."""
    return json.dumps(value, ensure_ascii=False)


def sent_text(value: Json) -> str:
    """The text that a server sent; "" if it is not a text.

    JSON can spell halves of characters, which no text may hold. They become U+FFFD.
    """
    if not isinstance(value, str):
        return ""
    if value.isprintable():  # most text is, and none of it has surrogates
        return value
    return _SURROGATE.sub("\ufffd", value)


def is_within_depth(value: Json, depth: int = MAX_DEPTH) -> bool:
    """Whether no more than `depth` objects and lists are nested in each other."""
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(is_within_depth(part, depth - 1) for part in parts)


def fitting_json(value: Json, depth: int = MAX_DEPTH) -> Json:
    """The value without the parts that a server cannot read: too deep, too large, or not JSON."""
    if isinstance(value, dict):
        parts = ((name, part) for name, part in value.items() if isinstance(name, str))
        kept = ((name, part) for name, part in parts if _fits(part, depth - 1))
        return {name: fitting_json(part, depth - 1) for name, part in kept}
    if isinstance(value, list | tuple):
        return [
            fitting_json(part, depth - 1) for part in value if _fits(part, depth - 1)
        ]
    return value


def _fits(value: Json, depth: int) -> bool:
    if isinstance(value, dict | list | tuple):
        return depth > 0
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, str)
