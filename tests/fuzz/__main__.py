"""`make fuzz`: runs atheris on one target after the other, for some seconds in all or some inputs each.

Prints how many inputs each target took. Exits with 1 if a target raised. The input is then in the folder
that is printed; make it a row of tests/corpus/fuzz.json.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CACHE = Path(".cache/fuzzing")
LONGEST_INPUT = 512  # bytes; what a long input costs is measured in benchmarks/
SLOWEST_INPUT = 5  # seconds that one input may take
MEMORY = 1024  # MiB
INPUTS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def main() -> None:
    options = _options()
    names = options.target or list(TARGETS)
    seconds = max(1, options.seconds // len(names))
    taken = {name: _fuzz(name, seconds, options.runs) for name in names}
    for name, (inputs, _) in taken.items():
        print(f"{name:>8}: {inputs:>12,} inputs")
    print(f"{'in all':>8}: {sum(inputs for inputs, _ in taken.values()):>12,} inputs")
    failed = [name for name, (_, whole) in taken.items() if not whole]
    if failed:
        sys.exit(f"Found something in {', '.join(failed)}: see {CACHE}/findings")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for each target")
    parser.add_argument("target", nargs="*", choices=[[], *TARGETS])
    return parser.parse_args()


def _fuzz(name: str, seconds: int, runs: int) -> tuple[int, bool]:
    """Fuzz one target; returns the number of inputs, and whether it passed."""
    corpus, first, found = (
        CACHE / kind / name for kind in ("corpus", "seeds", "findings")
    )
    for folder in (corpus, first, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (first / str(number)).write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        f"-runs={runs}",
        f"-timeout={SLOWEST_INPUT}",
    ]
    limits += [f"-max_len={LONGEST_INPUT}", f"-rss_limit_mb={MEMORY}"]
    notes = ["-print_final_stats=1", f"-artifact_prefix={found}/", "-verbosity=1"]
    command = [sys.executable, "-m", "tests.fuzz.engine", name, *limits, *notes]
    log = CACHE / f"{name}.log"
    with log.open("w") as output:
        ended = subprocess.run(
            [*command, str(corpus), str(first)], stdout=output, stderr=output
        )
    counted = INPUTS.search(log.read_text("utf-8", "replace"))
    if ended.returncode:
        print(f"{name}: {log} tells what happened")
    return int(counted[1]) if counted else 0, ended.returncode == 0


if __name__ == "__main__":
    main()
