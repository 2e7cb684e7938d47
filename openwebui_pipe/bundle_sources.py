"""The modules that go into the pasted file, and checks that one flat file can hold them."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENTRY: Final = "openwebui_pipe.pipe"
PROJECT: Final = ("harmony_core", "openwebui_pipe")
# Open WebUI has them. Anything else would need `requirements:`, which fails on installations without pip.
HOST_PACKAGES: Final = frozenset({"aiohttp", "pydantic", "starlette", "open_webui"})
Import = ast.Import | ast.ImportFrom


class BundleError(Exception):
    """A source that a flat file cannot express; the message names the place."""


@dataclass(frozen=True)
class Source:
    """One module of the project, as text and as syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def imports(self) -> list[Import]:
        """The import statements at the top level."""
        return [node for node in self.tree.body if isinstance(node, Import)]

    @property
    def docstring(self) -> str:
        """The module's docstring, or ""."""
        return ast.get_docstring(self.tree) or ""

    def refuse(self, node: ast.stmt, why: str) -> BundleError:
        """An error that names the place."""
        return BundleError(f"{self.name}, line {node.lineno}: {why}.")


def read_source(name: str, root: Path) -> Source:
    """Read one module of the project by its dotted name."""
    path = root.joinpath(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        raise BundleError(
            f"{name} is not a module: import from the module that defines the name."
        )
    text = path.read_text("utf-8")
    return Source(name, text, ast.parse(text, str(path)))


def sources_in_import_order(entry: str, root: Path) -> list[Source]:
    """The entry module and all that it imports from the project, each after what it needs."""
    done: dict[str, Source] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise BundleError(
                f"{' imports '.join([*path, name])}: a circle cannot be put in order."
            )
        if name in done:
            return
        source = read_source(name, root)
        for needed in project_modules(source):
            visit(needed, (*path, name))
        done[name] = source

    visit(entry, ())
    return list(done.values())


def project_modules(source: Source) -> Iterator[str]:
    """The project's modules that a source imports; refuses what a flat file cannot express."""
    for node in ast.walk(source.tree):
        if not isinstance(node, Import) or not (
            module := project_module(node, source.name)
        ):
            continue
        if isinstance(node, ast.Import):
            raise source.refuse(
                node,
                f"`import {module}` leaves no name behind, use `from ... import NAME`",
            )
        if node not in source.tree.body:
            raise source.refuse(
                node, "an import of the project must stand at the top level"
            )
        for alias in node.names:
            if alias.name == "*" or alias.asname:
                raise source.refuse(
                    node, "no star and no alias in an import of the project"
                )
        yield module


def project_module(node: Import, importer: str) -> str:
    """The project's module that an import statement names, or ""."""
    if isinstance(node, ast.Import):
        return next((a.name for a in node.names if a.name.split(".")[0] in PROJECT), "")
    if node.level:
        package = importer.split(".")[: -node.level]
        return ".".join([*package, node.module] if node.module else package)
    module = node.module or ""
    return module if module.split(".")[0] in PROJECT else ""


def merged_imports(sources: Iterable[Source]) -> list[str]:
    """The other imports of all sources as sorted lines, `__future__` first."""
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    for source in sources:
        for node in source.imports:
            if project_module(node, source.name):
                continue
            refuse_foreign_package(source, node)
            if isinstance(node, ast.Import):
                plain.update(ast.unparse(alias) for alias in node.names)
            else:
                members.setdefault(node.module or "", set()).update(
                    map(ast.unparse, node.names)
                )
    future = members.pop("__future__", set())
    lines = [f"from __future__ import {', '.join(sorted(future))}"] if future else []
    lines += [f"import {name}" for name in sorted(plain)]
    lines += [
        f"from {module} import {', '.join(sorted(names))}"
        for module, names in sorted(members.items())
    ]
    return lines


def refuse_foreign_package(source: Source, node: Import) -> None:
    """Refuse an import that neither the standard library nor Open WebUI provides."""
    modules = (
        [a.name for a in node.names]
        if isinstance(node, ast.Import)
        else [node.module or ""]
    )
    for module in modules:
        top = module.split(".")[0]
        if top not in sys.stdlib_module_names and top not in HOST_PACKAGES:
            raise source.refuse(node, f"Open WebUI may not have {top}")


def bound_names(node: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement other than an import binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def refuse_clashes(sources: Iterable[Source]) -> None:
    """Refuse a top-level name that means two things in the file, or hides a builtin."""
    owners: dict[str, str] = {}
    for source in sources:
        for node in source.tree.body:
            claims = (
                import_claims(source, node)
                if isinstance(node, Import)
                else name_claims(source, node)
            )
            for name, owner in claims:
                if owners.setdefault(name, owner) != owner:
                    raise source.refuse(node, f"`{name}` is taken by {owners[name]}")
                if owner == source.name and hasattr(builtins, name):
                    raise source.refuse(
                        node, f"`{name}` would hide the builtin in the other modules"
                    )


def import_claims(source: Source, node: Import) -> Iterator[tuple[str, str]]:
    """The names that an import which stays in the file binds, and to what."""
    if project_module(node, source.name):
        return
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield (
                alias.asname or alias.name.split(".")[0],
                f"import {alias.asname and alias.name}",
            )
        else:
            yield alias.asname or alias.name, f"from {node.module} import {alias.name}"


def name_claims(source: Source, node: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that a definition or an assignment binds; they belong to its module."""
    return ((name, source.name) for name in bound_names(node))
