"""The planted workload through the whole program: what is known exactly is what the grid and the analysis show."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from thalweg.runner.analysis.findings import findings
from thalweg.runner.cells.cells import panels
from thalweg.runner.cli import main
from thalweg.runner.store import Store

SMALLER = ("optimizer.lr=1/16..1/2:x2", "seed=0..1", "tracker=none", "launcher.workers=1")
HALF_A_STEP = 0.5 * math.log(10) / 8
"""The study's grid has eight products a decade: its best cell is the nearest one, to within half a step."""
LR, WD = "optimizer.lr", "optimizer.weight_decay"
PRODUCT, PRODUCT_WITH_MOMENTUM = 0.01186746395, 0.001163762668


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "s.sqlite"
    assert main(["sweep", "planted", *SMALLER, "--store", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def answers(path) -> dict:
    """Panel -> the answer to the study's question."""
    with Store.open(path) as store:
        found = findings(store.study_rows("planted"), store.study("planted"), store.series)
    return {answer.panel: answer for answer in found}


@pytest.fixture(scope="module")
def rows_of(path) -> dict:
    """Panel -> its cells, row by row."""
    with Store.open(path) as store:
        cut = panels(store.study_rows("planted"), store.study("planted"))
    return {
        panel.name: [[cell for (y, _), cell in panel.grid.items() if y == lr] for lr in panel.row_values]
        for panel in cut
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("panel", "exact"),
    [
        ("AdamW", lambda lr: PRODUCT / lr),
        ("SGD", lambda lr: PRODUCT / lr),
        ("SGD, momentum .9", lambda lr: PRODUCT_WITH_MOMENTUM / lr),
        ("AdamW ind.", lambda lr: PRODUCT),
    ],
)
def test_the_best_decay_of_every_row_is_the_cell_nearest_to_the_exact_one(rows_of, panel, exact) -> None:
    assert len(rows_of[panel]) == 4
    for row in rows_of[panel]:
        best = min(row, key=lambda cell: cell.score)
        away = math.log(best.coordinate(WD) / exact(best.coordinate(LR)))
        assert abs(away) <= HALF_A_STEP


@pytest.mark.long
def test_under_adam_with_l2_how_much_decay_there_is_makes_no_difference(rows_of) -> None:
    for row in rows_of["Adam + L2"]:
        scores = [cell.score for cell in row if cell.coordinate(WD) > 0]
        assert max(scores) - min(scores) < 1e-3


@pytest.mark.parametrize(
    ("panel", "slope", "label"),
    [
        ("AdamW", -1, "only lr·wd matters"),
        ("SGD", -1, "only lr·wd matters"),
        ("SGD, momentum .9", -1, "only lr·wd matters"),
        ("AdamW ind.", 0, "separable"),
    ],
)
def test_the_slope_that_was_planted_is_found_and_its_interval_is_narrow(answers, panel, slope, label) -> None:
    found = answers[panel]
    assert found.slope.estimate == pytest.approx(slope, abs=0.005)
    assert found.slope.low < slope < found.slope.high < found.slope.low + 0.1
    assert (found.label, found.as_expected, len(found.kept)) == (label, True, 4)


def test_where_decay_makes_no_difference_no_number_is_given(answers) -> None:
    found = answers["Adam + L2"]
    assert (found.slope.estimate, found.undetermined) == (None, True)
    assert "not identified" in found.label
    assert "flat" in found.label
