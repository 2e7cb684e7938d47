"""Every Python that the project supports reads the core's patterns in the same way."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import harmony_core
from harmony_core import HarmonyParser, collect

# The standard library's parser of patterns has no public name.
sre_parser = importlib.import_module("re._parser")


def nodes(tree: object) -> Iterator[tuple[str, object]]:
    """All nodes in the syntax tree of a pattern: the name and the contents of each."""
    if isinstance(tree, tuple) and len(tree) == 2 and hasattr(tree[0], "name"):
        yield str(tree[0]), tree[1]
    if isinstance(tree, tuple | list | sre_parser.SubPattern):
        for part in tree:
            yield from nodes(part)


def is_misread(pattern: str, flags: int = 0) -> bool:
    """Whether a possessive group holds a look-ahead: Python 3.11.2 misreads it."""
    return any(
        name == "POSSESSIVE_REPEAT"
        and any(inner in ("ASSERT", "ASSERT_NOT") for inner, _ in nodes(held))
        for name, held in nodes(sre_parser.parse(pattern, flags))
    )


PURE = [
    name
    for module in pkgutil.iter_modules(harmony_core.__path__)
    if (name := module.name) not in ("__main__", "cli")
]


@pytest.mark.parametrize("name", PURE)
def test_no_pattern_of_the_core_is_read_in_two_ways(name: str) -> None:
    module = importlib.import_module(f"harmony_core.{name}")
    patterns = [
        value for value in vars(module).values() if isinstance(value, re.Pattern)
    ]
    misread = [one.pattern for one in patterns if is_misread(one.pattern, one.flags)]
    assert misread == []


@pytest.mark.parametrize(
    ("pattern", "misread"),
    [
        (r"(?:json(?=x))?+", True),
        (r"(?:(?:json|code)(?!\s))*+", True),
        (r"(?>json(?=x)|)", False),
        (r"(?:json)?+\s*+(?=x)", False),
    ],
)
def test_a_pattern_that_is_misread_is_found(pattern: str, misread: bool) -> None:
    assert is_misread(pattern) is misread


@pytest.mark.parametrize(
    ("deltas", "answer"),
    [
        (("<|channel|>", "final", " json", "<|constrain|>", "a", " b"), "jsona b"),
        (("<|channel|>", "final", " json", " a"), "json a"),
        (("<|channel|>", "final", " json", " {}"), "{}"),
    ],
)
def test_a_type_word_belongs_to_the_answer_unless_json_follows(
    deltas: tuple[str, ...], answer: str
) -> None:
    parser = HarmonyParser(aligned=True)
    events = [event for delta in deltas for event in parser.feed(delta)]
    assert collect([*events, *parser.close()]).answer == answer
