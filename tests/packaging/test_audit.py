"""`make audit` asks the index that the package clients use, and says so when that cannot tell."""

from __future__ import annotations

import pytest

from tests.server import ScriptedServer, json_page, page
from tools.audit import (
    CannotAsk,
    advisories_of,
    index_url,
    json_url,
    main,
    pinned,
)

RELEASE = ("jinja2", "3.1.2")
PATH = "/mirror/pypi/jinja2/3.1.2/json"
KNOWN = {
    "id": "GHSA-1",
    "fixed_in": ["3.1.3"],
    "link": "https://advisories.example/1",
    "withdrawn": None,
}


def test_an_advisory_is_told_with_its_fix(server: ScriptedServer) -> None:
    withdrawn = {**KNOWN, "id": "GHSA-2", "withdrawn": "2024-01-01"}
    server.on(PATH, json_page({"info": {}, "vulnerabilities": [KNOWN, withdrawn]}))
    found = advisories_of(f"{server.base_url}/mirror/simple/", RELEASE)
    assert found == ["GHSA-1, fixed in 3.1.3: https://advisories.example/1"]


DUMB = {
    "it has no such pages": (page(404, "no"), "lists no advisories"),
    "it fails": (page(500, "no"), "did not answer (HTTPError)"),
    "its pages are no JSON": (page(200, "<html>"), "did not answer (JSONDecodeError)"),
    "its JSON leaves them out": (json_page({"info": {}}), "lists no advisories"),
}


@pytest.mark.parametrize("name", DUMB)
def test_an_index_that_cannot_tell_is_not_taken_for_one_without_advisories(
    server: ScriptedServer,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, words = DUMB[name]
    paths = [json_url("http://x/simple", *one) for one in pinned()]
    for path in paths:
        server.on(path.removeprefix("http://x"), script)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.base_url}/simple")
    with pytest.raises(CannotAsk):
        advisories_of(index_url(), RELEASE)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("Nothing was checked: ")
    assert words in said.err


def test_the_pinned_releases_are_read_from_the_files() -> None:
    names = {name for name, _ in pinned()}
    assert {"requests", "urllib3", "jsonschema", "atheris"} <= names
