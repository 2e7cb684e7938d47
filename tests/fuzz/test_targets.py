"""What the fuzzer checks holds for every row of the corpus, and for what it found before."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_of_a_target_keeps_what_it_promises(target: str) -> None:
    tried = [TARGETS[target](data) for data in (b"", *seeds(target))]
    assert len(tried) > 10
