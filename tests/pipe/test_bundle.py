"""The generated file: what a host wants of it, and what the bundler refuses to generate."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import black
import pytest

from openwebui_pipe.bundle import (
    EXPORT,
    JAPANESE,
    REWRITTEN,
    ROOT,
    TARGET,
    BundleError,
    bundle,
    export,
    frontmatter,
    main,
)
from openwebui_pipe.valves import PipeUserValves, PipeValves
from tests.pipe.fake_host import (
    frontmatter_of,
    load_as_in_0_6_20,
    load_as_in_0_12_4,
    rewritten,
)


@pytest.fixture(scope="module")
def text() -> str:
    return TARGET.read_text("utf-8")


def test_what_is_committed_is_what_the_sources_give() -> None:
    assert main(["--check"]) is None


def test_a_changed_byte_is_noticed_and_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stale = tmp_path / TARGET.name
    stale.write_bytes(b"")
    monkeypatch.setattr("openwebui_pipe.bundle.generated", lambda: {stale: b"new"})
    assert (
        main(["--check"])
        == f"Stale: {TARGET.name}. Run python -m openwebui_pipe.bundle and commit."
    )
    assert main([]) is None
    assert main(["--check"]) is None
    assert stale.read_bytes() == b"new"


def test_the_result_is_the_same_every_time(text: str) -> None:
    assert bundle() == text


def test_saving_it_in_open_webuis_editor_changes_nothing(text: str) -> None:
    assert black.format_str(text, mode=black.Mode()) == text
    assert rewritten(text) == text


def test_it_stays_short_enough_to_be_read(text: str) -> None:
    assert text.count("\n") < 3600


def test_the_host_reads_the_frontmatter(text: str) -> None:
    read = frontmatter_of(text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert read["version"] == project["version"]
    assert read == frontmatter(text)
    assert set(read) >= {
        "title",
        "author",
        "version",
        "license",
        "description",
        "required_open_webui_version",
    }
    assert "requirements" not in read


@pytest.mark.parametrize("load", [load_as_in_0_6_20, load_as_in_0_12_4])
def test_it_loads_in_both_ways_and_knows_its_settings(
    text: str, load: Callable[..., Any]
) -> None:
    module = load(text, "bundle_test")
    assert not hasattr(module, "Filter")
    assert not hasattr(module, "Action")
    pipe = module.Pipe()
    assert pipe.Valves.model_json_schema() == PipeValves.model_json_schema()
    assert pipe.UserValves().model_dump() == PipeUserValves().model_dump()


def test_nothing_of_the_project_is_imported_and_nothing_is_defined_twice(
    text: str,
) -> None:
    tree = ast.parse(text)
    imported = [
        node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = [node.module or "" for node in imported if isinstance(node, ast.ImportFrom)]
    names += [
        alias.name
        for node in imported
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    assert not [
        name
        for name in names
        if name.startswith(("harmony_core", "openwebui_pipe", "."))
    ]
    defined = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assert len(defined) == len(set(defined))


def test_comments_and_docstrings_of_the_core_are_kept(text: str) -> None:
    assert "# Theory of operation. Text goes through two layers." in text
    assert (
        "# aiohttp's own resolver" in text
        or "aiohttp's own resolver does not know" in text
    )


def test_every_setting_and_every_choice_has_a_japanese_label() -> None:
    japanese = json.loads(JAPANESE.read_text("utf-8"))
    wanted = {"name", "description"}
    for prefix, valves in (("valves", PipeValves), ("user_valves", PipeUserValves)):
        for name, spec in valves.model_json_schema()["properties"].items():
            wanted |= {f"{prefix}.{name}.title", f"{prefix}.{name}.description"}
            wanted |= {
                f"{prefix}.{name}.enum.{choice}" for choice in spec.get("enum", [])
            }
    assert set(japanese) == wanted
    assert all(
        any("ぁ" <= sign <= "鿿" for sign in label)
        for key, label in japanese.items()
        if key != "name"
    )


def test_the_export_is_one_function_as_the_import_wants_it(text: str) -> None:
    (function,) = json.loads(export(text, {"name": "名前"}))
    assert function["id"] == "mlx_harmony"
    assert function["type"] == "pipe"
    assert function["content"] == text
    assert function["meta"]["description"] == frontmatter(text)["description"]
    assert function["meta"]["i18n"] == {"ja": {"name": "名前"}}
    assert json.loads(EXPORT.read_text("utf-8"))[0]["content"] == text


ENTRY_TEXT = (
    '"""\ntitle: Test\n"""\n\nfrom harmony_core.part import one\n\nresult = one()\n'
)


def project(folder: Path, part: str, entry: str = ENTRY_TEXT, **others: str) -> Path:
    """A small project of an entry and one or more core modules."""
    (folder / "openwebui_pipe").mkdir()
    (folder / "openwebui_pipe" / "pipe.py").write_text(entry, "utf-8")
    (folder / "harmony_core").mkdir()
    for name, content in {"part": part, **others}.items():
        (folder / "harmony_core" / f"{name}.py").write_text(content, "utf-8")
    return folder


def test_modules_stand_in_import_order_with_their_imports_merged(
    tmp_path: Path,
) -> None:
    root = project(
        tmp_path,
        '"""Part."""\n\nimport re\nfrom json import dumps\n\nfrom .base import base\n\n\n'
        "# why\ndef one():\n    return dumps(base(re))\n",
        base='"""Base."""\n\nfrom json import loads\n\n\ndef base(x):\n    return loads(str(x))  # kept\n',
    )
    text = bundle(root=root)
    assert (
        text.index("def base")
        < text.index("# why\ndef one")
        < text.index("result = one()")
    )
    assert text.count("import re\n") == 1
    assert "from json import dumps, loads\n" in text
    assert "# kept" in text
    assert "# Base." in text
    assert text.startswith('"""\ntitle: Test\n"""\n')


REFUSED = {
    "a star": ("one = 1\n", "from harmony_core.part import *\n", "star"),
    "an alias": ("one = 1\n", "from harmony_core.part import one as uno\n", "alias"),
    "a plain import": ("one = 1\n", "import harmony_core.part\n", "import NAME"),
    "an import of the package": (
        "one = 1\n",
        "from harmony_core import part\n",
        "not a module",
    ),
    "an import within a function": (
        "one = 1\n",
        "def f():\n    from harmony_core.part import one\n\n    return one\n",
        "top level",
    ),
    "a name that is taken": (
        "one = 1\n",
        "from harmony_core.part import one\n\none = 2\n",
        "taken",
    ),
    "a name that an import takes": (
        "from json import loads\n\none = loads\n",
        "from harmony_core.part import one\n\n\ndef loads():\n    return one\n",
        "taken",
    ),
    "a name that means two imports": (
        "from json import loads\n\none = loads\n",
        "from pickle import loads\n\nfrom harmony_core.part import one\n\ntwo = one(loads)\n",
        "taken",
    ),
    "a builtin that is hidden": (
        "id = 1\none = 1\n",
        "from harmony_core.part import one\n",
        "builtin",
    ),
    "a package that the host need not have": (
        "import numpy\n\none = 1\n",
        ENTRY_TEXT,
        "numpy",
    ),
    "a circle": (
        "from openwebui_pipe.pipe import result\n\none = result\n",
        ENTRY_TEXT,
        "circle",
    ),
    **{words: (f'one = "{words}"\n', ENTRY_TEXT, "rewrite") for words in REWRITTEN},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_flat_file_cannot_express_is_refused(tmp_path: Path, case: str) -> None:
    part, entry, why = REFUSED[case]
    with pytest.raises(BundleError, match=why):
        bundle(root=project(tmp_path, part, entry))
