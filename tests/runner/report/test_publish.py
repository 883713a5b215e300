"""The tables that scripts/publish writes, of answers that are known; and that the pages have places for them."""

from __future__ import annotations

import runpy
from pathlib import Path

import planted_rows as planted
import pytest

from thalweg.runner.analysis.answers import Finding, Spent, Warmup, WarmupLevel
from thalweg.runner.view import StudyView, view_of

ROOT = Path(__file__).parents[3]
MADE = runpy.run_path(str(ROOT / "scripts" / "publish.py"))


def view(product: float) -> StudyView:
    block = planted.block("scale-inv. SGD")
    return view_of(planted.rows(block, planted.valley_of(product, at=0.04)), planted.study(block))


def test_the_coupling_table_has_slope_interval_and_rows_that_count() -> None:
    made = MADE["coupling_table"]({"digits": view(-1.0), "signals": view(-1.0)})
    head, _, line = made.splitlines()
    assert head == "| panel | digits | signals |"
    name, digits, signals = (cell.strip() for cell in line.strip("|").split("|"))
    assert name == "scale-inv. SGD"
    assert digits == signals
    assert digits.startswith("-1.0")
    assert " of " in digits


def finding(estimate: float | None, side: str = "") -> Finding:
    return Finding(name="x", estimate=estimate, n=3, counted="seeds", unit="lr", method="", side=side)  # type: ignore[arg-type]


def test_the_warmup_table_has_a_column_a_length_and_marks_bounds() -> None:
    spent: Spent | None = None
    levels = (
        WarmupLevel(0.0, finding(0.25), finding(None), finding(0.69), finding(1.0), spent),
        WarmupLevel(8.0, finding(2.0, ">"), finding(1.0, "<"), finding(0.2567), finding(1.0), spent),
    )
    said = {"label": "", "verdict": "", "undetermined": False, "diverged": 0, "best": None}
    answer = Warmup(panel="signals, init ×1.5", levels=levels, needs=(), **said)  # type: ignore[arg-type]
    assert MADE["warmup_table"]([answer]).splitlines() == [
        "| warmup | 0 | 8 |",
        "|---|---|---|",
        "| signals: spike-free learning rate | 1/4 | >2 |",
        "| signals: learning rate that trains | — | <1 |",
        "| signals: best training loss | 0.69 | 0.26 |",
    ]


def test_the_pages_have_a_place_for_each_table(tmp_path) -> None:
    page = tmp_path / "studies.md"
    before = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    page.write_text(before, encoding="utf-8")
    for name in ("coupling", "warmup"):
        MADE["put"](page, name, "| new |\n")
    after = page.read_text(encoding="utf-8")
    assert after.count("| new |") == 2
    assert after.splitlines()[0] == before.splitlines()[0]
    with pytest.raises(SystemExit, match="no <!-- published: other -->"):
        MADE["put"](page, "other", "")
    quoted = MADE["QUOTED"].findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(quoted) == 1
    assert "came out as expected beforehand" in quoted[0]
