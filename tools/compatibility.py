"""`python -m tools.compatibility`: writes the tables of what works with what into the READMEs.

Their data is in `harmony_core/compatibility.py`, which `mlx-harmony doctor` uses too. `--check` writes
nothing, and fails if a README is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from harmony_core.compatibility import (
    ADVISED_MLX_LM,
    FAULTS,
    MLX_LM,
    OLDEST_DIFY,
    OTHER_SERVERS,
    TESTED_DIFY,
    TESTED_MLX_LM,
    TESTED_OPEN_WEBUI,
    MlxLmRange,
)

ROOT: Final = Path(__file__).resolve().parents[1]
BEGIN: Final = "<!-- compatibility: written by `python -m tools.compatibility` -->"
END: Final = "<!-- end of compatibility -->"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of the tables in one language."""

    works: dict[str, str]
    servers: str
    hosts: str
    others: str
    to: str
    older: str
    newer: str
    advised: str
    tested: str
    since: str
    any_name: str
    comma: str


ENGLISH: Final = Words(
    works={"yes": "yes", "no": "no", "cut": "cut off"},
    servers="| mlx-lm | chat | tools | reasoning effort | progress | known faults |",
    hosts="| host | works with | tested with |",
    others="| other server | base URL | model id of gpt-oss-20b |",
    to=" to ",
    older="before {}",
    newer="{} and newer",
    advised="**{}** (advised: {})",
    tested="Run by the tests: {}.",
    since="{} and newer",
    any_name="any (`{}`)",
    comma=", ",
)
JAPANESE: Final = Words(
    works={"yes": "○", "no": "×", "cut": "途中で切れる"},
    servers="| mlx-lm | チャット | ツール | 推論の深さ | 進捗表示 | 既知の不具合 |",
    hosts="| ホスト | 対応 | テスト済み |",
    others="| その他のサーバー | ベース URL | gpt-oss-20b のモデル ID |",
    to=" ～ ",
    older="{} より前",
    newer="{} 以降",
    advised="**{}**（推奨: {}）",
    tested="テストで実際に動かしているバージョン: {}。",
    since="{} 以降",
    any_name="任意（`{}` など）",
    comma="、",
)
READMES: Final = {
    "README.md": ENGLISH,
    "readme/README_ja_JP.md": JAPANESE,
}


def tables(words: Words) -> str:
    """Return all tables in one language."""
    parts = (_mlx_lm(words), _hosts(words), _other_servers(words))
    return "\n\n".join("\n".join(part) for part in parts)


def with_tables(text: str, words: Words) -> str:
    """Return a document with the current tables between their marks; raises ValueError without marks."""
    between = re.compile(f"(?s){re.escape(BEGIN)}.*?{re.escape(END)}")
    if not between.search(text):
        raise ValueError(f"no line {BEGIN}")
    return between.sub(lambda _: f"{BEGIN}\n\n{tables(words)}\n\n{END}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables, or check that they are up to date; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tools.compatibility", description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing.")
    check: bool = parser.parse_args(arguments).check
    stale = []
    for name, words in READMES.items():
        path = ROOT / name
        text = path.read_text("utf-8")
        fresh = with_tables(text, words)
        if fresh != text:
            stale.append(name)
            if not check:
                path.write_text(fresh, "utf-8")
    if check and stale:
        print(f"Not fresh: {', '.join(stale)}. Run python -m tools.compatibility.")
    return int(check and bool(stale))


def _mlx_lm(words: Words) -> Iterator[str]:
    yield words.servers
    yield "|---|---|---|---|---|---|"
    later = [after.first for _, after in pairwise(MLX_LM)]
    for row, end in zip(MLX_LM, [*later, None], strict=True):
        cells = [_versions(row, end, words)]
        cells += [words.works[work] for work in (row.chat, row.tools)]
        cells += [_yes_or_no(has, words) for has in (row.effort, row.progress)]
        yield _row(*cells, _fault(row, words))
    yield ""
    yield words.tested.format(words.comma.join(TESTED_MLX_LM))


def _versions(row: MlxLmRange, end: tuple[int, ...] | None, words: Words) -> str:
    """Return the versions of a row in words; `end` is the first version after it."""
    first = ".".join(map(str, row.first))
    if end is None:
        return words.advised.format(words.newer.format(first), ADVISED_MLX_LM)
    if not any(row.first):
        return words.older.format(".".join(map(str, end)))
    *above, last = end
    if last == row.first[-1] + 1 and above == list(row.first[:-1]):
        return first
    until = (
        ".".join(map(str, [*above, last - 1])) if last else f"{_minor_before(end)}.x"
    )
    return f"{first}{words.to}{until}"


def _minor_before(end: tuple[int, ...]) -> str:
    return f"{end[0]}.{end[1] - 1}"


def _yes_or_no(has: bool, words: Words) -> str:
    return words.works["yes" if has else "no"]


def _fault(row: MlxLmRange, words: Words) -> str:
    """Return the known fault of a row, with links to its reports."""
    if not row.fault:
        return ""
    fault = FAULTS[row.fault]
    text = fault.en if words is ENGLISH else fault.ja
    links = (f"[#{url.rpartition('/')[2]}]({url})" for url in fault.reports)
    return " ".join([text, *links])


def _hosts(words: Words) -> Iterator[str]:
    yield words.hosts
    yield "|---|---|---|"
    first, last = TESTED_OPEN_WEBUI[0], TESTED_OPEN_WEBUI[-1]
    tested = words.comma.join(TESTED_OPEN_WEBUI)
    yield _row("Open WebUI", f"{first}{words.to}{last}", tested)
    yield _row("Dify", words.since.format(OLDEST_DIFY), words.comma.join(TESTED_DIFY))


def _other_servers(words: Words) -> Iterator[str]:
    yield words.others
    yield "|---|---|---|"
    for server in OTHER_SERVERS:
        model = f"`{server.model}`"
        if not server.needs_model:
            model = words.any_name.format(server.model)
        yield _row(server.name, f"`{server.url}`", model)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
