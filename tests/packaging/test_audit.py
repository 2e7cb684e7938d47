"""`make audit` asks the index that the package clients use, and says if that has no advisories to check."""

from __future__ import annotations

import pytest

from tests.server import ScriptedServer, json_page, page
from tools.audit import (
    AuditError,
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


def test_an_advisory_is_reported_with_its_fix(server: ScriptedServer) -> None:
    withdrawn = {**KNOWN, "id": "GHSA-2", "withdrawn": "2024-01-01"}
    server.on(PATH, json_page({"info": {}, "vulnerabilities": [KNOWN, withdrawn]}))
    found = advisories_of(f"{server.base_url}/mirror/simple/", RELEASE)
    assert found == ["GHSA-1, fixed in 3.1.3: https://advisories.example/1"]


UNUSABLE = {
    "it has no such pages": (page(404, "no"), "lists no advisories"),
    "it fails": (page(500, "no"), "did not answer (HTTPError)"),
    "its pages are no JSON": (page(200, "<html>"), "did not answer (JSONDecodeError)"),
    "its JSON leaves them out": (json_page({"info": {}}), "lists no advisories"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_index_without_answers_is_not_mistaken_for_one_without_advisories(
    server: ScriptedServer,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, words = UNUSABLE[name]
    paths = [json_url("http://x/simple", *one) for one in pinned()]
    for path in paths:
        server.on(path.removeprefix("http://x"), script)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.base_url}/simple")
    with pytest.raises(AuditError):
        advisories_of(index_url(), RELEASE)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith("Nothing was checked: ")
    assert words in printed.err


def test_the_pinned_releases_are_read_from_the_files() -> None:
    names = {name for name, _ in pinned()}
    assert {"requests", "urllib3", "jsonschema", "atheris"} <= names
