"""Who may import what, read from the syntax trees (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "harmony_core"
CLIENT = {
    "client.py",
    "transport.py",
    "wire.py",
    "server_check.py",
}  # the synchronous client
SCHEMAS = CORE / "json_schema.py"
PURE = sorted(
    path
    for path in CORE.glob("*.py")
    if path.name not in CLIENT | {SCHEMAS.name, "__main__.py"}
)
# Modules that reach outside: sockets, clocks, the environment, randomness, logs, files, threads.
IMPURE = {
    *(
        "asyncio",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
        "random",
        "secrets",
    ),
    *(
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
    ),
    *("urllib", "uuid", "warnings"),
}
PURE_PARTS = {"urllib.parse"}  # of modules that otherwise reach outside
HOSTS = ("dify_plugin_mlx", "openwebui_pipe")
HTTP_LIBRARIES = {"requests", "urllib3"}
SCHEMA_LIBRARIES = {"jsonschema", "referencing"}


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports; relative ones keep their leading dots."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def absolute_imports(path: Path) -> set[str]:
    return {name for name in imports(path) if not name.startswith(".")}


def top_level(names: set[str]) -> set[str]:
    """The packages of modules, without `_typeshed`, which only type checkers have."""
    return {name.partition(".")[0] for name in names} - {"_typeshed"}


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_the_core_needs_the_standard_library_only_and_touches_nothing_outside(
    path: Path,
) -> None:
    names = absolute_imports(path)
    assert top_level(names) <= sys.stdlib_module_names
    assert not top_level(names - PURE_PARTS) & IMPURE


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_the_core_opens_no_file_and_uses_no_terminal(path: Path) -> None:
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if is_plain_call(node)
    }
    assert not called & {"open", "print", "input", "eval", "exec", "hash", "id"}


def is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_no_pure_module_imports_the_client_or_the_command_line(path: Path) -> None:
    relative = {name for name in imports(path) if name.startswith(".")}
    lazily = {".client"} if path.name == "__init__.py" else set()
    parts = {".client", ".transport", ".wire", ".server_check", ".json_schema", ".cli"}
    assert not relative & (parts - lazily)


def test_importing_the_package_loads_no_library_before_client_is_used() -> None:
    program = (
        "import sys, harmony_core as h; found = [getattr(h, n) for n in h.__all__ if n != 'Client']; "
        f"print(sorted({HTTP_LIBRARIES | SCHEMA_LIBRARIES} & set(sys.modules)), h.Client.__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[] Client\n"


def test_the_client_adds_only_its_http_library() -> None:
    for name in CLIENT:
        names = top_level(absolute_imports(CORE / name))
        assert names - sys.stdlib_module_names <= HTTP_LIBRARIES


def test_only_one_module_reads_json_schemas_with_a_library() -> None:
    names = absolute_imports(SCHEMAS)
    assert top_level(names) - sys.stdlib_module_names == SCHEMA_LIBRARIES
    assert not top_level(names) & IMPURE
    for folder in (CORE, *(ROOT / host for host in HOSTS)):
        for path in folder.rglob("*.py"):
            if path != SCHEMAS:
                assert not top_level(absolute_imports(path)) & SCHEMA_LIBRARIES, path


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_never_imports_the_other_one_or_the_command_line(host: str) -> None:
    other = next(name for name in HOSTS if name != host)
    files = [
        path
        for path in (ROOT / host).rglob("*.py")
        if path.name != "mlx_harmony_pipe.py"
    ]
    assert files
    for path in files:
        names = absolute_imports(path)
        assert other not in top_level(names), path
        assert not any(
            name == "harmony_core.cli" or name.startswith("harmony_core.cli.")
            for name in names
        ), path


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_takes_only_public_names_from_the_core(host: str) -> None:
    for path in (ROOT / host).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "harmony_core"
            ):
                assert not [
                    alias.name for alias in node.names if alias.name.startswith("_")
                ], path


def test_the_core_never_imports_a_host() -> None:
    for path in CORE.rglob("*.py"):
        assert not top_level(absolute_imports(path)) & set(HOSTS), path
