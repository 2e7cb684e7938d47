"""`.venv/bin/python -m tools.demo_picture`: draws what `make demo` shows as docs/images/demo.svg.

It needs the real server (`make .cache/mlx-lm-newest/.ready`). The same server gives the same bytes. The
picture loads no font, because GitHub shows only pictures that load nothing.
"""

from __future__ import annotations

import argparse
import html
import io
import os
import re
import sys
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI

from harmony_core.cli.demo_scenes import play
from harmony_core.cli.toy_server import toy_server
from harmony_core.client import Client

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
SERVER_PYTHON = ROOT / ".cache" / "mlx-lm-newest" / "bin" / "python"
_COLUMNS = 104
_FONTS = re.compile(r"\s*@font-face\s*\{[^}]*\}")
_LENGTH = re.compile(r'textLength="([\d.]+)"([^>]*)>([^<]*)<')


def draw(server_python: Path) -> str:
    """Play the demo in English on a recording console; returns the picture as SVG."""
    os.environ["LC_ALL"] = "C.UTF-8"
    console = Console(
        record=True,
        file=io.StringIO(),
        width=_COLUMNS,
        highlight=False,
        color_system="truecolor",
    )
    with toy_server([str(server_python), "-m", "mlx_lm.server"]) as server:
        play(Client(server.base_url), console, "mlx-harmony")
    svg = console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo")
    return _LENGTH.sub(_with_true_length, _FONTS.sub("", svg))


def _with_true_length(match: re.Match[str]) -> str:
    """Correct a text's length. rich counts characters, which would squeeze Japanese into half its width."""
    length, rest, text = match.groups()
    plain = html.unescape(text)
    length = f"{float(length) * cell_len(plain) / len(plain):g}"
    return f'textLength="{length}"{rest}>{text}<'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server-python", type=Path, default=SERVER_PYTHON)
    parser.add_argument("--output", type=Path, default=PICTURE)
    options = parser.parse_args()
    options.output.write_text(draw(options.server_python), encoding="utf-8")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
