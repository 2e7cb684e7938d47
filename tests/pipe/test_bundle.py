"""The generated file suits the hosts and its readers, and the bundler refuses all other code."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import black
import pytest

from openwebui_pipe.bundle import (
    ENTRY,
    EXPORT,
    JAPANESE,
    MAX_LINES,
    REWRITTEN,
    ROOT,
    TARGET,
    bundle,
    export,
    frontmatter,
    main,
    sources_in_import_order,
)
from openwebui_pipe.bundle_head import RULER
from openwebui_pipe.bundle_sources import BundleError
from openwebui_pipe.model_file import FILE_NAME
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


def test_the_committed_file_matches_the_sources() -> None:
    assert main(["--check"]) is None


def test_a_stale_file_is_noticed_and_written_anew(
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


def test_each_line_of_the_contents_leads_to_the_ruler_of_its_section(text: str) -> None:
    lines = text.splitlines()
    contents = re.findall(r"^# +(\d+)  (\S+\.py)$", text, re.MULTILINE)
    assert len(contents) == lines.count(RULER) > 20
    for number, path in contents:
        assert lines[int(number) - 1 : int(number) + 1] == [RULER, f"# {path}"]
        assert (ROOT / path).is_file()


def test_an_admin_finds_the_settings_and_the_pipe_first(text: str) -> None:
    classes = re.findall(r"^class (\w+)", text, re.MULTILINE)
    assert classes[:4] == ["ForgivingValves", "PipeValves", "PipeUserValves", "Pipe"]
    contents = text[: text.index("from __future__")]
    headings = [
        "Settings (Valves)",
        "Pipe: what Open WebUI calls",
        "Talking to the server",
        "The parser",
        "History",
        "Words",
    ]
    places = [contents.index(f"\n#   {heading}") for heading in headings]
    assert places == sorted(places)


def test_the_head_names_the_servers_it_talks_to_and_the_project(text: str) -> None:
    (url,) = re.findall(r"^repo: (\S+)$", (ROOT / "manifest.yaml").read_text(), re.M)
    top = text[: text.index("from __future__")]
    assert (
        f"# Generated. Edit the source files named in the section headings; see {url}\n"
        in top
    )
    assert "the servers in the setting BASE_URL and to nobody else" in top
    assert FILE_NAME in top
    assert frontmatter_of(text)["git_url"] == frontmatter_of(text)["author_url"] == url


def test_every_page_that_a_comment_names_has_its_url_in_the_head(text: str) -> None:
    for page in set(re.findall(r"\b[a-z_]+\.md\b", text)):
        (path,) = re.findall(rf"^#   {page} +https://.*/blob/main/(\S+)$", text, re.M)
        assert (ROOT / path).name == page
        assert (ROOT / path).is_file()


def test_a_section_with_bare_rule_numbers_names_their_page(text: str) -> None:
    for part in text.split(RULER)[1:]:
        if re.search(r"\(rules? \d", part):
            assert re.search(r"^# A rule .* is one of [a-z_]+\.md\.$", part, re.M)


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
        "author_url",
        "git_url",
    }
    assert "requirements" not in read


@pytest.mark.parametrize("load", [load_as_in_0_6_20, load_as_in_0_12_4])
def test_both_hosts_load_it_with_the_settings_of_the_sources(
    text: str, load: Callable[..., Any]
) -> None:
    module = load(text, "bundle_test")
    assert not hasattr(module, "Filter")
    assert not hasattr(module, "Action")
    pipe = module.Pipe()
    assert pipe.Valves.model_json_schema() == PipeValves.model_json_schema()
    assert pipe.UserValves().model_dump() == PipeUserValves().model_dump()


def test_it_imports_nothing_of_the_project_and_defines_each_name_once(
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


def documentation(text: str) -> set[str]:
    """The comments and docstrings of a module, without words in brackets, which may be references."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found = [token.string for token in tokens if token.type == tokenize.COMMENT]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(ast.get_docstring(node) or "")
    return {re.sub(r"\([^)]*\)", "", entry) for entry in found}


def test_comments_and_docstrings_of_the_sources_are_kept(text: str) -> None:
    sources = sources_in_import_order(ENTRY, ROOT)
    written = {entry for source in sources for entry in documentation(source.text)}
    assert len(written) > 100
    assert written <= documentation(text)


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
    (folder / "manifest.yaml").write_text("repo: https://example.org/it\n", "utf-8")
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
    assert text.startswith('"""\ntitle: Test\nauthor_url: https://example.org/it\n')


USED_LATER = {
    "in a function": "def f():\n    return Thing()\n",
    "in a method": "class A:\n    def f(self):\n        return Thing()\n",
    "in an annotation of a function": "def f(x: Thing) -> Thing:\n    return x\n",
    "in an annotation of a class without a base": "class A:\n    x: Thing\n",
    "in an annotation at the top": "x: Thing | None = None\n",
}
USED_WHILE_LOADING = {
    "as a base": "class A(Thing):\n    pass\n",
    "as a decorator": "@Thing\ndef f():\n    pass\n",
    "as a default": "def f(x=Thing):\n    return x\n",
    "as a default by keyword": "def f(*, x=Thing):\n    return x\n",
    "as a value": "x = Thing()\n",
    "in the body of a class": "class A:\n    x = Thing\n",
    "by a function that is called": "def f():\n    return Thing()\n\n\nx = f()\n",
    "by a class that is called": "class A:\n    def __init__(self):\n        Thing()\n\n\nx = A()\n",
    "in an annotation of a model": "class A(BaseModel):\n    x: Thing\n",
}


def project_with_history(folder: Path, entry: str) -> Path:
    """An entry that uses `Thing` of a module whose group is below it in the file."""
    needed = (
        "from pydantic import BaseModel\n\nfrom harmony_core.history import Thing\n\n"
    )
    return project(folder, "", needed + entry, history="class Thing:\n    pass\n")


@pytest.mark.parametrize("case", USED_LATER)
def test_a_name_that_is_used_later_may_be_defined_below(
    tmp_path: Path, case: str
) -> None:
    entry = '"""\ntitle: Test\n"""\n\nfrom __future__ import annotations\n\n'
    root = project_with_history(tmp_path, USED_LATER[case])
    pipe = root / "openwebui_pipe" / "pipe.py"
    pipe.write_text(entry + pipe.read_text("utf-8"), "utf-8")
    text = bundle(root)
    assert text.index("# openwebui_pipe/pipe.py") < text.index("class Thing")
    exec(compile(text, "<bundle>", "exec"), {})


@pytest.mark.parametrize("case", USED_WHILE_LOADING)
def test_a_name_that_loading_uses_must_be_defined_above(
    tmp_path: Path, case: str
) -> None:
    root = project_with_history(tmp_path, USED_WHILE_LOADING[case])
    with pytest.raises(BundleError, match="needs `Thing` while it is loaded"):
        bundle(root)


def test_a_module_without_a_group_stands_with_the_first_that_imports_it(
    tmp_path: Path,
) -> None:
    entry = (
        "from harmony_core.chat import two\nfrom harmony_core.history import three\n"
    )
    root = project(
        tmp_path,
        "one = 1\n",
        f'"""\ntitle: Test\n"""\n\n{entry}\n\ndef f():\n    return two, three\n',
        chat="from harmony_core.part import one\n\ntwo = one\n",
        history="from harmony_core.part import one\n\nthree = one\n",
    )
    contents = bundle(root).partition("import")[0]
    parser, history = contents.index("The parser"), contents.index("History")
    assert parser < contents.index("harmony_core/part.py") < history


def test_a_file_over_the_limit_of_lines_is_refused(tmp_path: Path) -> None:
    part = "one = 1\n" + "# a line\n" * MAX_LINES
    with pytest.raises(BundleError, match=str(MAX_LINES)):
        bundle(project(tmp_path, part))


RULES = "# Page\n\n### Rule 1: a heading\n\n## Others\n2. An item.\n"
DANGLING = {
    "a page that is missing": "# see pages.md\n",
    "a rule that is missing": "# see page.md, rule 3\n",
    "a bare rule that is missing": "# see page.md (rule 12)\n",
    "a rule of no page": "# see rule 1\n",
    "bare rules of two pages": "# page.md (rule 1), other.md (rule 1)\n",
}


def project_with_pages(folder: Path, part: str) -> Path:
    (folder / "docs" / "spec").mkdir(parents=True)
    for page in ("page.md", "other.md"):
        (folder / "docs" / "spec" / page).write_text(RULES, "utf-8")
    return project(folder, part + "one = 1\n")


def test_a_reference_leads_to_a_heading_or_an_item(tmp_path: Path) -> None:
    part = "# page.md, rule 2; other.md, Others (rule 1)\n"
    text = bundle(project_with_pages(tmp_path, part))
    for page in ("page.md", "other.md"):
        assert f" https://example.org/it/blob/main/docs/spec/{page}\n" in text
    assert "# A rule that is named by its number alone is one of other.md." in text


@pytest.mark.parametrize("case", DANGLING)
def test_a_reference_that_leads_nowhere_is_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(BundleError, match=r"nowhere|which page"):
        bundle(project_with_pages(tmp_path, DANGLING[case]))


def test_a_manifest_without_the_address_of_the_project_is_refused(
    tmp_path: Path,
) -> None:
    root = project(tmp_path, "one = 1\n")
    (root / "manifest.yaml").write_text("name: it\n", "utf-8")
    with pytest.raises(BundleError, match=r"manifest\.yaml"):
        bundle(root)


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
    "a package that the host may not have": (
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
def test_the_bundler_refuses_code_that_a_flat_file_cannot_hold(
    tmp_path: Path, case: str
) -> None:
    part, entry, why = REFUSED[case]
    with pytest.raises(BundleError, match=why):
        bundle(root=project(tmp_path, part, entry))
