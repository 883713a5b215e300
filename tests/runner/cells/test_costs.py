"""What an axis costs: nothing where it does nothing, what was planted where it does something, over many noises."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import fmean, stdev

import planted_rows as planted
import pytest
from three_axes import B1, B1S, LRS, WDS, bowl, cells_of, rows_of, study_of

from thalweg.runner.cells.cells import panels
from thalweg.runner.cells.costs import cost_of, groups, spaces
from thalweg.runner.study.study import Axis, Block, Bundle
from thalweg.runner.view.costs import costs_said


def test_without_noise_the_cost_is_what_was_planted():
    cells = cells_of(bowl(0, random.Random(0), beta=0.3))
    found = cost_of(cells, B1)
    assert found.cost == pytest.approx(0.3 * fmean(B1S))
    assert found.low == pytest.approx(found.cost)
    assert found.told
    assert cost_of(cells, planted.WD).cost == pytest.approx(0)
    assert found.worse == "×1.15 [1.15, 1.15]"


@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_the_estimate_is_not_biased_by_choosing_and_the_interval_covers(beta):
    """Chosen and judged on the same seeds, an axis of no effect would cost 0.03 here, at every draw."""
    rng, found = random.Random(1), []
    for _ in range(80):
        shared = [rng.gauss(0, 0.05) for _ in range(3)]
        found.append(cost_of(cells_of(bowl(0.05, rng, beta, shared)), B1))
    true = beta * fmean(B1S)
    estimates = [each.cost for each in found]
    assert abs(fmean(estimates) - true) < 3 * stdev(estimates) / math.sqrt(80) + 0.004
    assert sum(each.low <= true <= each.high for each in found) >= 72
    assert beta or sum(each.told for each in found) <= 6


def test_one_seed_has_no_interval_and_says_nothing():
    found = cost_of(cells_of(bowl(0.05, random.Random(2)), seeds=(0,)), B1)
    assert (found.low, found.high, found.told) == (None, None, False)
    assert found.cost >= 0


def test_values_at_which_nothing_trains_are_counted_and_left_out():
    def loss(lr, wd, b1, seed):
        return None if lr > 1 else 0.5

    found = cost_of(cells_of(loss), planted.LR)
    assert (found.values, found.dead, found.cost) == (6, 2, 0.0)
    everywhere = cost_of(cells_of(lambda *at: None), planted.LR)
    assert (everywhere.cost, everywhere.dead, everywhere.worse) == (None, 6, "not known")


def test_a_range_that_was_drawn_from_is_cut_into_fifths():
    lrs = tuple(1.5**-k for k in range(23))
    cells = [cell for i, cell in enumerate(cells_of(bowl(0.01, random.Random(3)), lrs=lrs)) if i % 9 == i // 9 % 9]
    at = groups(cells, planted.LR)
    assert [len(each) for each in at] == [5, 4, 5, 4, 5]
    ends = [cell.axes[planted.LR] for each in at for cell in each]
    assert ends == sorted(ends)


def test_three_axes_are_a_space_and_two_are_none():
    (space,) = spaces(panels(rows_of(lambda *at: 0.5), study_of()))
    assert space.axes == (planted.LR, planted.WD, B1)
    assert len(space.cells) == len(LRS) * len(WDS) * len(B1S)
    block = planted.block("one")
    assert spaces(panels(planted.rows(block, planted.valley_of(-1)), planted.study(block))) == []


def zipped(*more):
    """Learning rate and weight decay of one zip, beside other axes."""
    points = ((0.1, 1.0), (0.2, 2.0), (0.4, 3.0))
    pair = Bundle("pair", (planted.LR, planted.WD), points)
    axes = tuple(Axis(key, (0.0, 1.0), "") for key in more)
    study = planted.study(Block("grid", (*axes, Axis("seed", (0, 1, 2), "")), bundles=(pair,)), analyses=(), vars=())
    at = [
        {planted.LR: lr, planted.WD: wd, **dict(zip(more, values, strict=True)), "seed": seed}
        for lr, wd in points
        for values in product((0.0, 1.0), repeat=len(more))
        for seed in range(3)
    ]
    rows = [planted.row("grid", each, 0.5 + each[planted.LR] + 0.1 * sum(each[key] for key in more)) for each in at]
    return spaces(panels(rows, study), study.blocks)


def test_axes_of_a_zip_are_one_axis():
    """Which of them made the difference, nobody can say."""
    assert zipped(B1) == []
    (space,) = zipped(B1, "optimizer.eps")
    assert [(each.key, each.along) for each in space.costs if each.along] == [(planted.LR, (planted.WD,))]
    assert planted.WD not in [each.key for each in space.costs]
    said = costs_said(space.costs, "val/loss", str)
    assert "optimizer.lr with optimizer.weight_decay" in said
