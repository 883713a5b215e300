"""Each row's best weight decay, against valleys that were planted."""

import math

import planted_rows as planted
import pytest

from runner.study import Axis, Block
from runner.summary import panels
from runner.valley import Where, movement, sentence, span, valley

BLOCK = planted.block("one")
STUDY = planted.study(BLOCK)


def found_in(surface, block=BLOCK, study=None, keep=lambda row: row):
    study = study or planted.study(block)
    (panel,) = panels([keep(row) for row in planted.rows(block, surface)], study)
    return valley(panel, study)


def test_a_valley_along_the_product_is_found_in_every_row():
    found = found_in(planted.valley_of(-1, at=5e-3))
    assert all(row.counts for row in found.rows)
    assert [row.wd * row.y for row in found.rows] == pytest.approx([5e-3] * 12)
    said = sentence(found)
    assert said == "from lr 1/256 to 8 the best weight decay falls from 1.3 to 6.3e-4 (12 of 12 rows inside the grid)"
    assert (movement(found), span(found)) == ("1.3→6.3e-4", "1/256→8")


def test_rows_follow_a_valley_of_another_slope_as_far_as_the_grid_goes():
    found = found_in(planted.valley_of(-0.5, at=0.02))
    for row in found.counted:
        assert abs(math.log(row.wd / (0.02 * row.y**-0.5), 4)) <= 0.51
    assert "falls" in sentence(found)


def test_a_best_decay_that_does_not_move_is_not_said_to_fall_or_rise():
    products = (0.0, *(1e-3 * 4.0**k for k in range(8)))
    axes = (Axis(planted.LR, planted.LRS[3:9], ""), Axis(planted.WD, products, ""), Axis("seed", (0, 1), ""))
    block = Block("one", (), axes)
    surface = planted.valley_of(0, at=0.064, width=0.4)
    rows = [
        planted.row("one", {planted.LR: lr, planted.WD: wd, "seed": seed}, surface(lr, wd, seed))
        for lr in axes[0].values
        for wd in products
        for seed in (0, 1)
    ]
    study = planted.study(block)
    (panel,) = panels(rows, study)
    assert "best weight decay stays at .064" in sentence(valley(panel, study))


@pytest.mark.parametrize(("at", "side", "where"), [(1e-9, "<", "below 2e-5"), (1.0, ">", "above .32")])
def test_a_best_on_the_edge_is_a_bound_and_the_axis_to_widen_is_named(at, side, where):
    found = found_in(planted.valley_of(-1, at=at, width=0.02))
    assert {(row.where, row.side) for row in found.rows} == {(Where.EDGE, side)}
    assert sentence(found) == f"optimum on the grid's edge in 12 of 12 rows: widen lr_x_wd {where}"


def test_no_decay_at_all_being_best_is_a_bound_not_a_logarithm_of_nought():
    base = planted.valley_of(-1)
    found = found_in(lambda lr, wd, seed: 0.3 if wd == 0 else base(lr, wd, seed))
    assert {(row.where, row.side) for row in found.rows} == {(Where.EDGE, "<")}
    assert all(row.wd > 0 and row.cell.axes[planted.WD] == 0 for row in found.rows)


@pytest.mark.parametrize("seeds_lost", [1, 3])
def test_a_best_beside_a_diverged_cell_is_a_bound(seeds_lost):
    base = planted.valley_of(-1)
    found = found_in(lambda lr, wd, seed: None if lr * wd > 6e-3 and seed < seeds_lost else base(lr, wd, seed))
    assert {(row.where, row.side) for row in found.rows} == {(Where.BESIDE_DIVERGED, ">")}
    assert not found.known


def test_a_best_beside_cells_that_are_not_trained_yet_is_a_bound():
    found = found_in(
        planted.valley_of(-1), keep=lambda row: planted.untrained(row) if row.axes[planted.PRODUCT] > 6e-3 else row
    )
    assert {row.where for row in found.rows} == {Where.BESIDE_UNTRAINED}


def test_rows_of_few_cells_do_not_count():
    block = planted.block("one", products=(0.0, 1e-3, 5e-3, 2e-2))
    found = found_in(planted.valley_of(-1), block)
    assert {row.where for row in found.rows} == {Where.FEW}
    assert "0 of 12 rows can be used" in sentence(found)


def test_rows_no_better_than_guessing_do_not_count():
    found = found_in(planted.valley_of(-1, base=2.28))
    assert {row.where for row in found.rows} == {Where.GUESS}


def test_rows_far_above_the_best_loss_do_not_count():
    base = planted.valley_of(-1)
    found = found_in(lambda lr, wd, seed: base(lr, wd, seed) * (1.2 if lr > 1 else 1))
    assert [row.where for row in found.rows] == [Where.INSIDE] * 9 + [Where.FAR] * 3
    assert "9 of 12 rows used; left out: 3 more than 16% above the best loss" in sentence(found)


def test_the_order_of_rows_does_not_matter():
    rows = planted.rows(BLOCK, planted.valley_of(-1))
    said = [sentence(valley(panels(order, STUDY)[0], STUDY)) for order in (rows, rows[::-1])]
    assert said[0] == said[1]


def test_without_an_analysis_the_columns_are_the_question():
    axes = (Axis("optimizer.lr", planted.LRS, ""), Axis("schedule.warmup", (0, 8, 16, 32, 64), ""))
    block = Block("warm", (), axes)
    rows = [
        planted.row(
            "warm", {"optimizer.lr": lr, "schedule.warmup": w}, 0.5 * math.exp(0.02 * abs(math.log2((w or 2) / 16)))
        )
        for lr in planted.LRS
        for w in axes[1].values
    ]
    study = planted.study(block, analyses=(), replicate=None, vars=())
    (panel,) = panels(rows, study)
    assert sentence(valley(panel, study)).startswith("from lr 1/256 to 8 the best warmup stays at 16 ")


def test_nothing_trained_has_no_valley():
    (panel,) = panels([planted.untrained(row) for row in planted.rows(BLOCK, planted.valley_of(-1))], STUDY)
    assert valley(panel, STUDY) is None
