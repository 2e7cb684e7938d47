"""The order of the pasted file: first what an admin looks for, then the parts that it uses.

A function may use names that are defined below it, because it runs later. Code that runs while the file is
loaded may not: base classes, decorators, defaults, values of the top level, and everything that these call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from openwebui_pipe.bundle_sources import (
    BundleError,
    Import,
    Source,
    bound_names,
    project_modules,
)

GROUPS: Final = {
    "Settings (Valves)": (
        "openwebui_pipe.host_version",
        "harmony_core.gpt_oss",
        "openwebui_pipe.valves",
    ),
    "Pipe: what Open WebUI calls": ("openwebui_pipe.pipe",),
    "JSON": ("harmony_core.jsontext",),
    "What Open WebUI gets: chunks, the status line, the list of models": (
        "openwebui_pipe.reply",
        "openwebui_pipe.verdict",
        "openwebui_pipe.chunks",
        "openwebui_pipe.tag_breaker",
        "openwebui_pipe.host_manner",
        "openwebui_pipe.http_replies",
        "openwebui_pipe.status",
        "openwebui_pipe.servers",
        "openwebui_pipe.model_list",
        "openwebui_pipe.known_models",
        "openwebui_pipe.model_file",
        "openwebui_pipe.tool_policy",
        "openwebui_pipe.background_tasks",
    ),
    "Talking to the server": ("openwebui_pipe.transport", "harmony_core.request"),
    "The parser: from bytes to thinking, answer and tool calls": (
        "harmony_core.chat",
        "harmony_core.events",
    ),
    "History and tools: what goes to the model": (
        "harmony_core.history",
        "harmony_core.tools",
    ),
    "Words: what a user reads when something fails": (
        "openwebui_pipe.phrases",
        "harmony_core.problems",
        "harmony_core.diagnosis",
    ),
}
"""A module that is not in any group joins the first module that imports it."""


def in_reading_order(sources: Sequence[Source]) -> dict[str, list[Source]]:
    """The modules under the headings of `GROUPS`; within a group in import order.

    An order in which the file could not be loaded is refused.
    """
    groups: dict[str, list[Source]] = {heading: [] for heading in GROUPS}
    for source in sources:
        groups[heading_of(source.name, sources)].append(source)
    refuse_use_before_definition([s for group in groups.values() for s in group])
    return {heading: group for heading, group in groups.items() if group}


def heading_of(name: str, sources: Sequence[Source]) -> str:
    """The group of a module."""
    for heading, members in GROUPS.items():
        if name in members:
            return heading
    importer = next(source for source in sources if name in project_modules(source))
    return heading_of(importer.name, sources)


def refuse_use_before_definition(ordered: Sequence[Source]) -> None:
    """Refuse a name that is used while the file is loaded and not yet defined."""
    definitions = {
        name: (source, node)
        for source in ordered
        for node in source.tree.body
        if not isinstance(node, Import)
        for name in bound_names(node)
    }
    nodes = {name: node for name, (_, node) in definitions.items()}
    for place, source in enumerate(ordered):
        for name in sorted(names_at_load(source, nodes)):
            owner = definitions[name][0]
            if ordered.index(owner) > place:
                raise BundleError(
                    f"{source.name} needs `{name}` while it is loaded:"
                    f" {owner.name} must stand above it, see GROUPS in bundle_order.py."
                )


def names_at_load(source: Source, definitions: dict[str, ast.stmt]) -> set[str]:
    """The names of the file that loading a module uses, directly or not.

    Every name in a used function or class counts, because it may be called.
    """
    found: set[str] = set()
    waiting = [
        name
        for node in source.tree.body
        if not isinstance(node, Import)
        for name in names_in(run_at_load(node))
    ]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in found:
            found.add(name)
            waiting += names_in(ast.walk(definitions[name]))
    return found


def names_in(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """The names that syntax nodes read."""
    return (
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


def run_at_load(node: ast.AST, in_model: bool = False) -> Iterator[ast.AST]:
    """The parts of a statement that run while the file is loaded.

    Annotations are postponed, but pydantic reads those of a model, a class with a base, at once.
    """
    yield node
    parts: list[ast.AST | None]
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            parts = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
        case ast.AnnAssign() if not in_model:
            parts = [node.target, node.value]
        case _:
            parts = [*ast.iter_child_nodes(node)]
    is_model = isinstance(node, ast.ClassDef) and bool(node.bases)
    for part in filter(None, parts):
        yield from run_at_load(part, is_model)
