"""`make bench`: measures everything and prints the tables; `--write` also puts them into README.md."""

from __future__ import annotations

import argparse
import sys

from benchmarks import correctness, report, speed
from harmony_core.cli.bench import stream_costs


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument(
        "--write", action="store_true", help="put the tables into benchmarks/README.md"
    )
    write = options.parse_args().write
    parts = [report.about()]
    rows = []
    for row in speed.measure():
        rows.append(row)
        print(f"measured: {row.state.name}", file=sys.stderr)
    parts += [report.speed_tables(rows), report.stream_table(stream_costs())]
    parts.append(report.score_table(correctness.scores(), len(correctness.cases())))
    figures = "\n\n".join(parts)
    print(figures)
    if write:
        report.write(figures)


main()
