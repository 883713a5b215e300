"""The answers of a whole study, from its rows."""

import math
from dataclasses import replace

import numpy as np
import planted_rows as planted
import pytest

from thalweg.runner.analysis.findings import findings
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.study.study import Analysis, Axis, Block, Expectation

BLOCK = planted.block("one", Expectation(-1, 0.3))
STUDY = planted.study(BLOCK)
WARMUP = "schedule.warmup"


def test_every_panel_is_asked_and_the_expectation_stands_beside_the_answer():
    blocks = [planted.block(name, Expectation(slope, 0.3)) for name, slope in (("a", -1), ("b", 0))]
    rows = [row for block in blocks for row in planted.rows(block, planted.valley_of(-1))]
    found = findings(rows, planted.study(*blocks))
    assert [each.panel for each in found] == ["a", "b"]
    assert [each.slope.estimate for each in found] == pytest.approx([-1, -1], abs=0.05)
    assert [each.as_expected for each in found] == [True, False]


def test_a_diverged_trial_is_a_result_and_an_untrained_one_is_not():
    base = planted.valley_of(-1)
    rows = planted.rows(BLOCK, lambda lr, wd, seed: None if lr * wd > 0.2 else base(lr, wd, seed))
    (found,) = findings(rows, STUDY)
    assert found.diverged == 36
    (part,) = findings([planted.untrained(row) if row.axes["seed"] == 2 else row for row in rows], STUDY)
    assert part.diverged == 24
    assert findings([planted.untrained(row) for row in rows], STUDY) == []


def test_a_study_that_asks_nothing_is_told_nothing():
    assert findings(planted.rows(BLOCK, planted.valley_of(-1)), planted.study(BLOCK, analyses=())) == []


def warmup_rows():
    """Rates × warmups × seeds, with losses that spike to 1.5 times the control's above lr = 0.1 without warmup."""
    rates, lengths, seeds = (0.05, 0.1, 0.2, 0.4), (0, 8), (0, 1)
    axes = (Axis("optimizer.lr", rates, ""), Axis(WARMUP, lengths, ""), Axis("seed", seeds, ""))
    block, rows, series = Block("w", axes), [], {}
    for lr in rates:
        for length in lengths:
            for seed in seeds:
                point = {"optimizer.lr": lr, WARMUP: length, "seed": seed}
                config = {**planted.config(lr, 0.0, seed), "schedule": {"warmup": length}}
                row = planted.row("w", point, 1.0 - lr, trial_id=f"{lr}-{length}-{seed}", config=config)
                rows.append(row)
                losses = np.full(100, 2.0 + seed)
                if lr > 0.1 and not length:
                    losses[10] *= 1.5
                if lr > 0.1:
                    losses[80] *= 9  # in the second half, where nothing is a spike
                series[row.trial_id] = {"train/batch_loss": Series(np.arange(100), losses)}
    analyses = (Analysis("warmup", "optimizer.lr", warmup=WARMUP), Analysis("sensitivity", "optimizer.lr"))
    return rows, planted.study(block, analyses=analyses, vars=()), series


def test_spikes_are_against_the_control_of_the_same_seed_in_the_first_half():
    rows, study, series = warmup_rows()
    found, _ = findings(rows, study, series.__getitem__)
    assert [level.spike_free.estimate for level in found.levels] == [0.1, 0.4]
    assert [level.spike_free.side for level in found.levels] == ["", ">"]


def test_without_series_a_warmup_study_still_says_what_trains():
    rows, study, _ = warmup_rows()
    found, _ = findings(rows, study)
    assert found.levels[0].spike_free.estimate is None
    assert found.levels[0].trainable.estimate == 0.4


def test_the_curves_of_a_sensitivity_study_are_all_combinations_of_the_other_axes():
    rows, study, series = warmup_rows()
    _, found = findings(rows, study, series.__getitem__)
    assert [curve.name for curve in found.curves] == ["w, warmup 0", "w, warmup 8"]
    assert found.reference == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("optimizer", "turns"),
    [
        ({"name": "adamw", "decay": "coupled"}, lambda lr, wd: lr * wd >= 1),
        ({"name": "sgd", "decay": "l2"}, lambda lr, wd: lr * wd >= 1),
        ({"name": "adamw", "decay": "independent"}, lambda lr, wd: wd >= 1),
        ({"name": "adam_l2", "decay": "l2"}, lambda lr, wd: False),
    ],
)
def test_where_decay_turns_signs_depends_on_its_convention(optimizer, turns):
    block = planted.block("one", products=(0.0, *(0.04 * 4.0**k for k in range(-4, 4))))
    rows = planted.rows(block, planted.valley_of(-1, at=0.04))
    rows = [replace(row, config={**row.config, "optimizer": {**row.config["optimizer"], **optimizer}}) for row in rows]
    (found,) = findings(rows, planted.study(block))
    cells = {(row.axes[planted.LR], row.axes[planted.WD]) for row in rows}
    assert found.flips == sum(turns(lr, wd) for lr, wd in cells)


def test_the_chance_loss_comes_from_the_dataset():
    rows = planted.rows(BLOCK, planted.valley_of(-1, base=math.log(10)))
    (found,) = findings(rows, STUDY)
    assert found.dropped == {"no better than guessing": 12}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda values: np.where(np.arange(100) >= 20, 3 * values, values), "spikes itself"),
        (lambda values: values, "diverged itself"),
    ],
)
def test_a_control_that_does_not_train_is_none_and_a_smaller_rate_is_asked_for(broken, why):
    rows, study, series = warmup_rows()
    for at, row in enumerate(rows):
        if row.trial_id.startswith("0.05-0-"):
            one = series[row.trial_id]["train/batch_loss"]
            series[row.trial_id] = {"train/batch_loss": replace(one, values=broken(one.values))}
            if why == "diverged itself":
                rows[at] = replace(row, outcome=Outcome.DIVERGED, metrics={}, diverged_step=3)
    found, _ = findings(rows, study, series.__getitem__)
    assert all(level.spike_free.estimate is None for level in found.levels)
    wanted = "add a smaller learning rate, such as 0.01"
    assert f"learning rate 0.05, warmup 0 {why}, so it is not a control of spikes: {wanted}" in found.verdict


@pytest.mark.parametrize(("end", "refused"), [(2.303, True), (2.31, False)])
def test_a_control_that_was_driven_to_guessing_is_none_and_one_that_hardly_moves_is_one(end, refused):
    rows, study, series = warmup_rows()
    for at, row in enumerate(rows):
        if row.trial_id.startswith("0.05-0-"):
            falling = np.concatenate([np.linspace(2.6 if refused else end, end, 20), np.full(80, end)])
            series[row.trial_id] = {"train/batch_loss": Series(np.arange(100), falling)}
            rows[at] = replace(row, metrics={**row.metrics, "val/loss": end, "guess/loss": 2.303})
    found, _ = findings(rows, study, series.__getitem__)
    assert ("ends no better than guessing, though it moved, so it is not a control" in found.verdict) == refused
    assert all((level.spike_free.estimate is None) == refused for level in found.levels)


@pytest.mark.parametrize(("decay", "each"), [("coupled", 0.4 * 0.01), ("independent", 0.01)])
def test_what_each_length_of_warmup_spends_is_summed_by_the_schedule(decay, each):
    rows, study, series = warmup_rows()
    changed = []
    for row in rows:
        schedule = {"name": "warmup_cosine", "warmup": row.axes[WARMUP], "floor": 0.0}
        optimizer = {**row.config["optimizer"], "weight_decay": 0.01, "decay": decay}
        config = {**row.config, "budget": {"steps": 20}, "schedule": schedule, "optimizer": optimizer}
        changed.append(replace(row, config=config))
    found, _ = findings(changed, study, series.__getitem__)
    for level in found.levels:
        t, W = np.arange(20), level.warmup
        m = np.where(t < W, (t + 1) / max(W, 1), 0.5 * (1 + np.cos(np.pi * (t - W) / (20 - W))))
        sums = [level.spent.rate.estimate, level.spent.decay.estimate]
        assert (level.spent.lr, *sums) == pytest.approx((0.4, 0.4 * m.sum(), each * m.sum()))


def test_losses_near_nothing_are_not_divided_by():
    """Of an example or two a loss may be near 0 before anything is learnt, and then any other is many times that."""
    rows, study, series = warmup_rows()
    for row in rows:
        some = np.where(np.arange(100) % 7 == 3, 1e-6 * (1 + 50 * row.axes["optimizer.lr"]), 2.0)
        series[row.trial_id] = {"train/batch_loss": Series(np.arange(100), some)}
    found, _ = findings(rows, study, series.__getitem__)
    assert all(level.spike_free.side == ">" for level in found.levels)


@pytest.mark.parametrize(
    ("falls_to", "by", "wanted"), [(1.7, 50, ""), (1.5, 50, "0.01"), (0.2, 50, "0.006"), (0.2, 2, "0.001")]
)
def test_beside_a_control_that_trains_a_slow_start_would_be_a_spike(falls_to, by, wanted):
    """So it is none; the rate that is wanted instead hardly moves in half of the steps."""
    rows, study, series = warmup_rows()
    for row in rows:
        late = 30 if row.axes[WARMUP] else 0
        falling = np.interp(np.arange(100), [late, late + by], [2.0, falls_to])
        series[row.trial_id] = {"train/batch_loss": Series(np.arange(100), falling)}
    found, _ = findings(rows, study, series.__getitem__)
    assert ("learning rate 0.05, warmup 0 trains by itself" in found.verdict) == bool(wanted)
    assert all((level.spike_free.estimate is None) == bool(wanted) for level in found.levels)
    assert not wanted or f"such as {wanted}" in found.verdict


def test_a_network_that_hardly_moved_and_is_better_than_a_guess_by_luck_has_not_trained():
    rows, study, series = warmup_rows()
    losses = {(0.05, 0): 2.0, (0.05, 1): 2.31}  # of a guess's 2.303
    for at, row in enumerate(rows):
        loss = losses.get((row.axes["optimizer.lr"], row.axes["seed"]), 0.5)
        rows[at] = replace(row, metrics={**row.metrics, "val/loss": loss, "guess/loss": 2.303})
    found, _ = findings(rows, study, series.__getitem__)
    assert [(level.trainable.estimate, level.trainable.side) for level in found.levels] == [(0.4, ">"), (0.4, ">")]


@pytest.mark.parametrize(("losses", "enough"), [((0.5, 0.6), 0), ((0.6, 0.5), 8), ((0.5, 0.51), 0), ((0.51, 0.5), 0)])
def test_a_warmup_longer_than_the_best_does_not_make_a_shorter_one_insufficient(losses, enough):
    rows, study, series = warmup_rows()
    for at, row in enumerate(rows):
        rows[at] = replace(row, metrics={**row.metrics, "val/loss": losses[row.axes[WARMUP] > 0]})
    found, _ = findings(rows, study, series.__getitem__)
    assert {need.sufficient.estimate for need in found.needs} == {enough}


def test_no_factor_is_at_least_nothing():
    rows, study, series = warmup_rows()
    for row in rows:
        series[row.trial_id]["train/batch_loss"].values[10] = 2.0
    found, _ = findings(rows, study, series.__getitem__)
    assert "is at least 0.4 at the shortest and at the longest warmup" in found.verdict
    assert "factor" not in found.verdict


def test_what_warmup_buys_is_asked_of_the_loss_where_a_study_chooses_by_accuracy():
    rows, study, series = warmup_rows()
    by_loss = [answer.findings for answer in findings(rows, study, series.__getitem__)]
    rows = [replace(row, metrics={**row.metrics, "val/accuracy": 0.5}) for row in rows]
    study = replace(study, metric="val/accuracy", direction="max")
    assert [answer.findings for answer in findings(rows, study, series.__getitem__)] == by_loss


def test_curves_whose_values_share_three_digits_are_two_curves():
    rows, study, series = warmup_rows()
    rows = [replace(row, axes={**row.axes, WARMUP: 0.12345 if row.axes[WARMUP] else 0.12341}) for row in rows]
    _, found = findings(rows, study, series.__getitem__)
    assert [curve.name for curve in found.curves] == ["w, warmup 0.1234", "w, warmup 0.1235"]
