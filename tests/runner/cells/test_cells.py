"""Rows folded over seeds."""

import math
from dataclasses import replace

import planted_rows as planted
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thalweg.runner.cells.cells import Cell, fold, near_optimal, panels, ranked
from thalweg.runner.cells.health import Health
from thalweg.runner.cells.noise import Noise, interval
from thalweg.runner.cells.student import t95
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.study.study import Axis, Block, Bundle, Expectation

BLOCK = planted.block("one", lrs=(0.25, 0.5), products=(0.0, 0.01, 0.04))
STUDY = planted.study(BLOCK)
ROWS = planted.rows(BLOCK, planted.valley_of(-1))


def cell_of(rows, lr=0.25, product=0.01):
    return next(c for c in fold(rows, STUDY) if (c.axes[planted.LR], c.axes[planted.PRODUCT]) == (lr, product))


def with_losses(*losses):
    """The first cell with these losses, a seed each; None diverges, "never" is untrained, "failed" failed."""
    made = []
    for seed, loss in enumerate(losses):
        axes = {planted.LR: 0.25, planted.PRODUCT: 0.01, "seed": seed, planted.WD: 0.04}
        one = planted.row("one", axes, loss if isinstance(loss, float) else None)
        if loss == "never":
            one = planted.untrained(one)
        if loss == "failed":
            one = replace(one, outcome=Outcome.FAILED, diverged_step=None, error="boom")
        made.append(one)
    (cell,) = fold(made, STUDY)
    return cell


def test_a_cell_holds_the_seeds_of_one_point_and_every_trial_is_in_one_cell():
    cells = fold(ROWS, STUDY)
    assert len(cells) == 6
    assert all([row.axes["seed"] for row in cell.rows] == [0, 1, 2] for cell in cells)
    assert sum(len(cell.rows) for cell in cells) == len(ROWS)


def test_the_interval_is_students_t_over_seeds_by_factors_of_the_mean():
    cell = with_losses(1.0, 2.0, 3.0)
    assert cell.mean == 2.0
    half = 4.30265 / math.sqrt(3) / 2
    assert cell.interval == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-5)
    assert with_losses(1.0).interval is None


@pytest.mark.parametrize(
    ("metric", "direction", "values", "expected"),
    [
        ("val/focal_loss", "min", (50.0, 60.0, 70.0), 50.0),  # above four times ln 10, which is a guess's on digits
        ("val/focal_loss", "min", (2.4, 2.5, 2.6), 2.4),
        ("val/negative_loss", "max", (0.1, 5.0, 60.0), 60.0),
        ("val/negative_loss", "max", (-3.0, -1.0, -2.0), -1.0),
        ("val/top_accuracy", "max", (0.01, 0.02, 0.03), 0.03),
        ("val/r2", "min", (0.1, 0.2, 0.3), 0.1),
    ],
)
def test_a_metric_of_the_users_is_judged_by_its_own_end_whatever_its_name_ends_in(metric, direction, values, expected):
    lrs = (0.1, 0.2, 0.3)
    block = planted.block("one", lrs=lrs, products=(0.0,))
    rows = [
        replace(row, metrics={metric: values[lrs.index(row.axes[planted.LR])]}, outcome=Outcome.FINISHED)
        for row in planted.rows(block, planted.valley_of(-1))
    ]
    study = replace(planted.study(block), metric=metric, direction=direction)
    cells = fold(rows, study)
    assert [cell.health for cell in cells] == [Health.USABLE] * 3
    assert ranked(cells)[0].mean == pytest.approx(expected)


def test_two_means_are_told_apart_by_the_noise_of_both():
    known = Noise(deviation=0.1, freedom=1_000_000)
    assert known.margin(4, 4) == pytest.approx(1.96 * 0.1 * math.sqrt(1 / 2), rel=1e-4)
    assert known.margin(1, 100) == pytest.approx(1.96 * 0.1 * math.sqrt(1.01), rel=1e-4)
    assert known.margin(2, 3) == known.margin(3, 2)


def test_student_quantiles_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in [*range(1, 40), 100, 1000]:
        assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-4)


def test_survivors_of_a_diverged_seed_are_never_averaged():
    cell = with_losses(0.5, None, 0.5)
    assert (cell.mean, cell.interval, cell.usable, cell.diverged, cell.n) == (None, None, False, 1, 2)


def test_untrained_and_failed_seeds_leave_the_mean_of_the_others():
    cell = with_losses(0.5, "never", "failed")
    assert (cell.mean, cell.n, cell.failed, cell.usable) == (0.5, 1, 1, True)
    assert not with_losses("never").usable


def test_a_finite_but_unhealthy_loss_is_not_usable():
    limit = 4 * math.log(10)
    assert with_losses(limit - 0.01, 0.5, 0.5, 0.5, 0.5).health is Health.USABLE
    assert with_losses(limit + 0.01, 0.5, 0.5, 0.5, 0.5).health is Health.UNHEALTHY
    assert with_losses(1e31).health is Health.UNHEALTHY


def test_a_cell_at_a_guess_or_worse_is_not_usable():
    chance = math.log(10)
    assert with_losses(0.97 * chance, 0.97 * chance).usable
    assert with_losses(0.99 * chance, 0.98 * chance).health is Health.GUESS
    assert with_losses(1.5 * chance).health is Health.GUESS


def guessing(metrics, guess, metric="val/loss", direction="min", config=None):
    """A cell of own data, of which nothing is known but what is recorded; a seed for each of `metrics`."""
    known = {f"guess/{name}": value for name, value in guess.items()}
    config = config or {"dataset": {"_target_": "own.data"}}
    rows = [replace(ROWS[0], metrics={**one, **known}, config=config) for one in metrics]
    return Cell({}, tuple(rows), metric, direction)


@pytest.mark.parametrize(
    ("metric", "value", "guess", "health"),
    [
        ("val/loss", 0.66, {"loss": 0.69}, Health.USABLE),  # own data of two classes
        ("val/loss", 0.69, {"loss": 0.69}, Health.GUESS),
        ("val/loss", 7.0, {"loss": 0.69}, Health.GUESS),
        ("val/loss", 1.01, {"loss": 1.0}, Health.GUESS),  # a regression no better than its mean
        ("val/loss", -1.0, {"loss": -1.2}, Health.GUESS),
        ("val/loss", -1.3, {"loss": -1.2}, Health.USABLE),
        ("val/accuracy", 0.90, {"accuracy": 0.90}, Health.GUESS),  # the commonest of two classes
        ("val/accuracy", 0.905, {"accuracy": 0.90}, Health.USABLE),
        ("val/accuracy", 0.11, {"accuracy": 0.10}, Health.GUESS),
        ("val/accuracy", 0.13, {"accuracy": 0.10}, Health.USABLE),
        ("val/r2", 0.01, {"r2": 0.0}, Health.GUESS),
        ("val/r2", 0.1, {"r2": 0.0}, Health.USABLE),
        ("val/bits_per_character", 4.8, {"bits_per_character": 4.8}, Health.GUESS),
    ],
)
def test_a_recorded_guess_judges_whatever_the_data(metric, value, guess, health):
    direction = "max" if metric.endswith(("accuracy", "r2")) else "min"
    assert guessing([{metric: value}], guess, metric, direction).health is health


def test_an_accuracy_little_above_a_guess_counts_where_the_loss_has_fallen():
    guess = {"accuracy": 0.01, "loss": 4.605}
    assert guessing([{"val/accuracy": 0.025, "val/loss": 4.3}], guess, "val/accuracy", "max").usable
    assert not guessing([{"val/accuracy": 0.025, "val/loss": 4.6}], guess, "val/accuracy", "max").usable


@pytest.mark.parametrize("metric", ["val/calibration_error", "val/own_metric"])
def test_what_a_guess_is_not_measured_by_is_judged_by_the_accuracy(metric):
    one = {metric: 0.01, "val/accuracy": 0.5, "val/loss": 0.69}
    assert guessing([one], {"accuracy": 0.5, "loss": 0.69}, metric).health is Health.GUESS
    assert guessing([{**one, "val/accuracy": 0.8}], {"accuracy": 0.5, "loss": 0.69}, metric).usable


def test_a_loss_of_the_users_is_not_held_against_the_classes():
    config = {"dataset": {"name": "digits"}, "task": {"loss": "own.loss"}}
    assert guessing([{"val/loss": 30.0, "val/accuracy": 0.9}], {"accuracy": 0.1}, config=config).usable
    assert guessing([{"val/loss": 3.0, "val/accuracy": 0.1}], {"accuracy": 0.1}, config=config).health is Health.GUESS


def test_what_was_recorded_goes_before_what_is_known_of_the_dataset():
    config = {"dataset": {"name": "digits"}}
    assert guessing([{"val/loss": 1.5}], {"loss": 1.4}, config=config).health is Health.GUESS
    assert guessing([{"val/loss": 1.5}], {}, config=config).usable


def test_cells_are_compared_on_the_mean_that_is_shown():
    one, other = with_losses(0.1, 3.3), with_losses(1.0, 1.0)
    assert one.mean > other.mean
    assert one.score > other.score
    assert math.exp(one.score) == pytest.approx(one.mean)


def test_a_cell_with_half_of_the_seeds_of_others_is_not_the_best_but_may_be_as_good():
    few, many, worse = with_losses(0.50), with_losses(0.51, 0.52), with_losses(0.8, 0.81)
    found = near_optimal([few, many, worse])
    assert ranked([few, many, worse]) == [many, worse, few]
    assert (found.best, few in found.cells, worse in found.cells) == (many, True, False)
    two = with_losses(0.50, 0.51)
    assert ranked([two, with_losses(0.55, 0.55, 0.55)])[0] is two  # two of three are enough


def test_losses_below_0_are_compared_as_they_are():
    rows = [replace(row, metrics={"val/loss": row.metrics["val/loss"] - 2}, config={}) for row in ROWS]
    found = near_optimal(fold(rows, STUDY))
    assert found.best.mean == min(cell.mean for cell in fold(rows, STUDY))
    assert found.best.interval[0] < found.best.mean < found.best.interval[1] < 0


@given(
    st.sampled_from(["val/loss", "val/accuracy", "val/r2", "val/calibration_error", "val/bits_per_character"]),
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(1e-3, 1e3),
)
@example("val/r2", [0.0, 1.0], 1.0)
@example("val/accuracy", [0.0, 1.0], 1.0)
@example("val/loss", [0.0, 1.0], 1.0)
@example("val/accuracy", [1.0, 1 - 2**-53], 1.0)
@example("val/calibration_error", [0.0, 5e-324], 1.0)
@example("val/r2", [1.0, 1 - 2**-53], 1.0)
def test_no_interval_holds_what_its_metric_cannot_be(metric, values, scale):
    positive = metric.endswith(("loss", "character"))
    if positive:
        values = [value * scale + 1e-9 for value in values]
    low, high = interval(values, metric)
    assert low <= sum(values) / len(values) * (1 + 1e-9) + 1e-12
    assert high >= sum(values) / len(values) * (1 - 1e-9) - 1e-12
    assert low > 0 if positive else high <= 1
    assert low >= 0 or metric == "val/r2"


def test_a_score_to_be_maximised_is_turned_around():
    cells = fold(ROWS, planted.study(BLOCK, metric="val/accuracy", direction="max"))
    found = near_optimal(cells)
    assert found.best.mean == max(cell.mean for cell in cells)


def test_members_outside_the_study_are_left_out():
    rows = [replace(row, outside=row.axes[planted.LR] == 0.5) for row in ROWS]
    assert {cell.axes[planted.LR] for cell in fold(rows, STUDY)} == {0.25}


def test_trials_of_another_base_are_never_averaged_with_the_studys():
    longer = [replace(row, config={**row.config, "budget": {"steps": 40}}, overridden=True) for row in ROWS]
    usual = [replace(row, config={**row.config, "budget": {"steps": 600}}) for row in ROWS]
    cells = fold([*usual, *longer], STUDY)
    assert len(cells) == 12
    assert {cell.axes["budget.steps"] for cell in cells} == {40, 600}
    assert [panel.name for panel in panels([*usual, *longer], STUDY)] == ["one, steps=600", "one, steps=40"]


def test_an_axis_that_only_some_members_have_is_filled_from_their_configuration():
    extra = [
        replace(
            row,
            axes={**row.axes, "optimizer.momentum": 0.5},
            config={**row.config, "optimizer": {**row.config["optimizer"], "momentum": 0.5}},
        )
        for row in ROWS
    ]
    usual = [replace(r, config={**r.config, "optimizer": {**r.config["optimizer"], "momentum": 0.9}}) for r in ROWS]
    assert {cell.axes["optimizer.momentum"] for cell in fold([*usual, *extra], STUDY)} == {0.5, 0.9}


def test_panels_have_rows_and_columns_ascending_whatever_the_order_of_rows():
    (panel,) = panels(reversed(ROWS), STUDY)
    assert (panel.y, panel.x) == (planted.LR, planted.PRODUCT)
    assert panel.row_values == (0.25, 0.5)
    assert panel.column_values == (0.0, 0.01, 0.04)
    assert set(panel.grid) == {(y, x) for y in panel.row_values for x in panel.column_values}


def test_further_axes_cut_a_block_into_panels():
    axes = (*BLOCK.axes[:2], Axis("optimizer.momentum", (0.0, 0.9), ""), BLOCK.axes[2])
    block = Block("one", axes, derive=BLOCK.derive, expect=Expectation(-1, 0.3))
    rows = [replace(row, axes={**row.axes, "optimizer.momentum": mu}) for mu in (0.0, 0.9) for row in ROWS]
    cut = panels(rows, planted.study(block))
    assert [panel.name for panel in cut] == ["one, momentum=0", "one, momentum=0.9"]
    assert all(panel.expect == Expectation(-1, 0.3) and len(panel.cells) == 6 for panel in cut)


def test_a_panel_at_null_says_null():
    key, sized = "dataset.train_size", []
    for row in ROWS:
        for size in (None, 100):
            config = {**row.config, "dataset": {"train_size": size}}
            sized.append(replace(row, axes={**row.axes, key: size}, config=config))
    names = [panel.name for panel in panels(sized, STUDY)]
    assert names == ["one, train_size=null", "one, train_size=100"]


def test_a_study_of_one_axis_has_a_panel_without_a_grid():
    block = planted.block("one", lrs=(0.25, 0.5), products=(0.01,))
    (panel,) = panels(planted.rows(block, planted.valley_of(-1)), planted.study(block))
    assert (panel.x, panel.grid, len(panel.cells)) == (None, {}, 2)
    assert panel.best is not None


def test_the_near_optimal_set_is_all_that_the_seeds_cannot_tell_apart():
    losses = {0.0: (0.500, 0.520, 0.510), 0.01: (0.505, 0.515, 0.525), 0.04: (0.9, 0.92, 0.91)}
    rows = [
        planted.row("one", {planted.LR: 0.25, planted.PRODUCT: product, "seed": seed}, loss)
        for product, of_seeds in losses.items()
        for seed, loss in enumerate(of_seeds)
    ]
    found = near_optimal(fold(rows, STUDY))
    assert [cell.axes[planted.PRODUCT] for cell in found.cells] == [0.0, 0.01]
    assert (found.of, found.pooled) == (3, 2)


def test_without_replicates_nothing_is_claimed_about_the_neighbours():
    found = near_optimal(fold([row for row in ROWS if row.axes["seed"] == 0], STUDY))
    assert (len(found.cells), found.margin) == (1, None)


def test_nothing_usable_means_no_choice():
    assert near_optimal(fold([planted.untrained(row) for row in ROWS], STUDY)) is None


def tied(points, keys=(planted.LR, "budget.batch_size"), decays=(0.0, 0.1)):
    """A study of one bundle and a grid axis beside it, and its rows."""
    columns = [tuple(dict.fromkeys(column)) for column in zip(*points, strict=True)]
    axes = [Axis(key, values, "") for key, values in zip(keys, columns, strict=True)]
    block = Block("one", (*axes, Axis(planted.WD, decays, "")), bundles=(Bundle("pair", keys, points),))
    rows = [
        planted.row("one", {**dict(zip(keys, point, strict=True)), planted.WD: decay, "seed": 0}, 0.5)
        for point in points
        for decay in decays
    ]
    return planted.study(block), rows


def test_a_map_draws_no_two_axes_that_a_bundle_ties_and_cuts_no_panel_by_what_follows():
    study, rows = tied(((0.1, 16), (0.2, 32), (0.4, 32)))
    (panel,) = panels(rows, replace(study, analyses=()))
    assert (panel.y, panel.x) == (planted.LR, planted.WD)
    assert len(panel.grid) == len(panel.cells) == 6


def test_an_axis_of_a_bundle_that_does_not_follow_from_the_drawn_one_cuts_panels():
    study, rows = tied(((0.1, 16), (0.1, 32), (0.4, 32)))
    found = panels(rows, replace(study, analyses=()))
    assert sum(len(panel.grid) for panel in found) == sum(len(panel.cells) for panel in found) == 6
    assert len(found) == 2


def test_points_that_are_drawn_are_listed_and_not_mapped():
    study, rows = tied(((0.1, 16), (0.2, 32), (0.4, 24)), decays=(0.0,))
    (panel,) = panels(rows, replace(study, analyses=()))
    assert (panel.x, panel.y, len(panel.cells)) == (None, None, 3)
    assert set(panel.axes) == {planted.LR, "budget.batch_size"}


@pytest.mark.parametrize("metric", ["val/myloss", "val/mine", "val/r2x"])
@pytest.mark.parametrize("values", [(1.7e308,) * 3, (-1.7e308, 1.7e308, 0.5), (1e308, 1.5e308, 1.7e308)])
def test_numbers_at_the_end_of_all_floats_have_a_mean(metric, values):
    rows = [
        replace(planted.row("one", {"seed": seed}, 1.0), metrics={metric: value}) for seed, value in enumerate(values)
    ]
    cell = Cell({}, tuple(rows), metric, "min", signed=min(values) < 0)
    assert min(values) <= cell.mean <= max(values)
    low, high = cell.interval or (cell.mean, cell.mean)
    assert low <= cell.mean <= high
    found = near_optimal([cell, Cell({}, tuple(rows), metric, "min", signed=min(values) < 0)])
    assert found is not None
    assert len(found.cells) == 2
