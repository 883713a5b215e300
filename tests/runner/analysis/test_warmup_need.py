"""What warmup buys, on a table where the largest spike-free rate doubles with the warmup."""

import math
from dataclasses import replace

import numpy as np
import pytest

from thalweg.runner.analysis import Results, warmup

LRS, WARMUPS, SEEDS = 2.0 ** np.arange(-4, 4), np.array([0.0, 2, 4, 8, 16]), (0, 1, 2)


def limit(length):
    return 0.25 * max(length, 1)


def table(spikes=True):
    """A rate above `limit` spikes; above twice that it diverges. The loss falls with the rate."""
    trials = [(lr, W, seed) for lr in LRS for W in WARMUPS for seed in SEEDS]
    lr, length, seed = (np.array(column) for column in zip(*trials, strict=True))
    over = lr / np.array([limit(W) for W in length])
    loss = 1.2 - 0.1 * np.log2(lr) + 0.001 * seed + 0.3 * (over > 1)
    return Results(
        lr=lr,
        warmup=length,
        loss=np.where(over > 2, np.nan, loss),
        seed=seed.astype(np.int64),
        initial=np.full(len(lr), 2.5),
        spike=np.where(over > 2, np.inf, np.where(over > 1, 1.6, 1.0)) if spikes else None,
        chance=math.log(10),
    )


def test_the_largest_spike_free_rate_doubles_with_the_warmup():
    found = warmup(table())
    assert [level.spike_free.estimate for level in found.levels] == [limit(W) for W in WARMUPS]
    assert [level.trainable.estimate for level in found.levels] == [min(2 * limit(W), 8) for W in WARMUPS]
    assert found.label == "warmup allows a learning rate 16 times as large"


def test_a_rate_that_nothing_spoils_is_a_bound():
    found = warmup(table())
    assert [level.trainable.side for level in found.levels] == ["", "", "", "", ">"]


def test_each_rate_is_told_the_smallest_warmup_that_it_needs():
    needs = {need.lr: need for need in warmup(table()).needs}
    assert needs[0.25].spike_free.estimate == 0
    assert needs[1.0].spike_free.estimate == 4
    assert needs[1.0].sufficient.estimate == 4
    assert (needs[8.0].spike_free.estimate, needs[8.0].spike_free.side) == (16, ">")
    assert needs[4.0].sufficient.estimate == 16


def test_a_seed_that_spikes_ends_what_is_spike_free_and_the_bracket_says_so():
    one = table()
    spike = np.where((one.lr == 1.0) & (one.warmup == 4) & (one.seed == 2), 1.3, one.spike)
    level = next(each for each in warmup(replace(one, spike=spike)).levels if each.warmup == 4)
    assert (level.spike_free.estimate, level.spike_free.high) == (0.5, 2.0)


def test_sensitivity_falls_with_warmup_against_one_reference():
    costs = [level.sensitivity.estimate for level in warmup(table()).levels]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 0.5


def test_without_training_losses_spikes_are_not_claimed():
    found = warmup(table(spikes=False))
    assert all(level.spike_free.estimate is None for level in found.levels)
    assert all("no series" in level.spike_free.caveats for level in found.levels)
    assert found.levels[0].trainable.estimate == 0.5


def test_where_warmup_does_nothing_that_is_said():
    one = table()
    dull = replace(one, loss=1.2 - 0.1 * np.log2(one.lr), spike=np.ones(len(one.lr)))
    found = warmup(dull)
    assert found.label.startswith("no effect seen")
    assert found.undetermined  # every rate trains: the axis ends too low to tell


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_trials_is_irrelevant(seed):
    one = table()
    order = np.random.default_rng(seed).permutation(len(one.lr))
    found, mixed = warmup(one), warmup(one.take(order))
    assert [f.estimate for f in mixed.findings] == pytest.approx([f.estimate for f in found.findings], nan_ok=True)


def test_a_control_that_is_too_slow_to_train_does_not_end_the_trainable_rates_before_they_begin():
    whole = table()
    slow = replace(whole, loss=np.where(whole.lr == LRS[0], 2.4, whole.loss))  # no better than its loss at the start
    before, after = warmup(whole).levels, warmup(slow).levels
    assert [level.trainable.estimate for level in after] == [level.trainable.estimate for level in before]
    assert [level.trainable.side for level in after] == [level.trainable.side for level in before]


def lasting(*rates, high=2.0):
    """A table whose warmups 0, 2, 4, … allow these largest rates; beyond `high` times as much every seed diverges."""
    lengths = WARMUPS[: len(rates)]
    trials = [(lr, W, seed) for lr in LRS for W in lengths for seed in SEEDS]
    lr, length, seed = (np.array(column) for column in zip(*trials, strict=True))
    over = lr / np.array([dict(zip(lengths, rates, strict=True))[W] for W in length])
    loss = np.where((over > high) | ((over > 1) & (seed == 0)), np.nan, 1.0 + 0.01 * seed)
    return Results(lr=lr, warmup=length, loss=loss, seed=seed.astype(np.int64), chance=math.log(10))


def test_a_largest_rate_that_stays_is_no_growth():
    found = warmup(lasting(0.5, 0.5, 0.5))
    assert found.label == "no effect seen: the largest learning rate hardly changes"
    assert "is 0.5 at the shortest and at the longest warmup" in found.verdict
    assert "0 to 0 steps" not in found.verdict


def test_a_largest_rate_within_the_brackets_is_left_open():
    found = warmup(lasting(0.5, 1.0, high=4.0))
    assert found.label == "warmup allows a learning rate 2 times as large, though the seeds do not make that certain"
    assert found.undetermined
    assert "a factor of at least 0.25 and at most 16" in found.verdict


def test_up_and_down_is_no_growth_whatever_its_largest():
    found = warmup(lasting(0.25, 4.0, 0.5))
    assert found.label == "undecided: the largest learning rate goes up and down with warmup"
    assert found.undetermined


def test_growth_is_from_the_shortest_warmup_to_the_longest():
    found = warmup(lasting(0.25, 2.0, 1.0, high=4.0))  # 2 and 1 are one rate within their brackets
    assert "a learning rate 5.7 times as large" in found.label  # from 0.25 to the mean of the two
    assert "goes from 0.25 to 1.41" in found.verdict


@pytest.mark.parametrize("values", [[3.0, 0.001, 0.002], [1e-6, 2e-3, 1e-3]])
def test_no_loss_and_no_cost_is_less_than_nothing(values):
    one = lasting(4.0, 4.0)
    loss = np.array(values)[one.seed] * np.where(one.warmup == 0, 2.0, 1.0) * (1 + one.lr)
    for found in warmup(replace(one, loss=loss)).findings:
        if found.unit in ("loss",) and found.low is not None:
            assert 0 <= found.low <= found.estimate <= found.high
