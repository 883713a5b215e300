"""Draws docs/coupling.svg, the README's picture, from a store that holds the `coupling` study.

.venv/bin/python -P scripts/picture.py results/thalweg.sqlite
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from thalweg.runner.store import Store
from thalweg.runner.terminal.answer import How, show_answer
from thalweg.runner.view import view_of

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("scale-inv. SGD + L2", "plain SGD + L2")
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono'"


def main() -> None:
    """Draw the maps of two panels as the terminal shows them."""
    with Store.open(sys.argv[1]) as store:
        rows, study = store.study_rows("coupling"), store.study("coupling")
    console = Console(record=True, width=80, force_terminal=True, color_system="truecolor", file=io.StringIO())
    show_answer(console, view_of(rows, study), How(SHOWN))
    svg = console.export_svg(title="thalweg show coupling --maps", theme=MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", FONT)
    (ROOT / "docs" / "coupling.svg").write_text(re.sub(r"terminal-\d+", "terminal", svg), encoding="utf-8")


if __name__ == "__main__":
    main()
