"""The documented table of faults is the one that the tests play."""

from __future__ import annotations

import pytest

from harmony_core.problems import Language
from tests.server.faults import FAULTS, LIST_FAULTS, TLS_FAULTS
from tools.fault_table import DOCUMENTS, PLAYED_IN, players, tables, written


@pytest.mark.parametrize("language", DOCUMENTS)
def test_the_table_of_faults_is_fresh(language: Language) -> None:
    document = DOCUMENTS[language].read_text("utf-8")
    assert document == written(document, language), "run `python -m tools.fault_table`"


def test_every_fault_is_played_for_every_host_and_has_an_outcome() -> None:
    for faults in ("FAULTS", "LIST_FAULTS", "TLS_FAULTS"):
        assert set(players(faults)) == set(PLAYED_IN.values())
    rows = [row for row in tables("en").splitlines() if row.startswith("|")]
    heads = 3 * 2
    assert len(rows) == len([*FAULTS, *LIST_FAULTS, *TLS_FAULTS]) + heads
    assert not any(word in row for row in rows for word in ("hangs", "unknown"))
