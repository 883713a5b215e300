"""LR sensitivity of curves, against one reference."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.analysis import Results, sensitivity
from thalweg.runner.base.errors import UsageError

LRS = 2.0 ** np.arange(-4, 5)


def curves(seeds=3):
    """A narrow and a wide parabola in log lr of equal best, three seeds each."""
    lr, loss, seed, names = [], [], [], []
    for name, width in (("narrow", 0.1), ("wide", 0.02)):
        for rate in LRS:
            for number in range(seeds):
                lr.append(rate)
                loss.append(0.5 + width * math.log2(rate) ** 2 + 0.01 * number)
                seed.append(number)
                names.append(name)
    one = Results(
        lr=np.array(lr), loss=np.array(loss), seed=np.array(seed), initial=np.full(len(lr), 2.3), chance=math.log(10)
    )
    return one, names


def test_it_is_the_mean_excess_over_the_best_of_all_capped_at_initialisation():
    found = sensitivity(*curves())
    narrow, wide = (curve.sensitivity.estimate for curve in found.curves)
    squares = np.log2(LRS) ** 2
    assert narrow == pytest.approx(np.minimum(0.1 * squares, 1.8).mean(), abs=0.01)
    assert wide == pytest.approx(0.02 * squares.mean(), abs=0.01)
    assert found.label == "least: wide"
    assert found.reference == pytest.approx(0.51)


def test_a_diverged_trial_counts_as_much_as_one_at_initialisation():
    one, names = curves()
    top = one.lr == LRS[-1]
    lost, stuck = (replace(one, loss=np.where(top, value, one.loss)) for value in (np.nan, 2.3))
    costs = [[curve.sensitivity.estimate for curve in sensitivity(each, names).curves] for each in (lost, stuck)]
    assert costs[0] == pytest.approx(costs[1])


def test_without_the_loss_at_initialisation_diverged_trials_are_refused():
    one, names = curves()
    lost = replace(one, loss=np.where(one.lr == LRS[-1], np.nan, one.loss), initial=None, chance=None)
    with pytest.raises(UsageError, match="loss at initialisation is not known"):
        sensitivity(lost, names)


def test_one_curve_that_trains_better_does_not_look_more_sensitive_for_it():
    one, names = curves()
    is_wide = np.array(names) == "wide"
    better = sensitivity(replace(one, loss=one.loss - 0.2 * is_wide), names)
    assert better.curves[1].sensitivity.estimate < better.curves[0].sensitivity.estimate
    assert better.curves[0].sensitivity.estimate > sensitivity(one, names).curves[0].sensitivity.estimate


def test_one_seed_has_no_interval():
    (first, _) = sensitivity(*curves(seeds=1)).curves
    assert (first.sensitivity.low, first.sensitivity.high) == (None, None)


def taken(one, names, which):
    return one.take(which), [name for name, here in zip(names, which, strict=True) if here]


def test_seeds_added_at_the_best_learning_rate_alone_change_nothing():
    one, names = curves()
    more, of_more = curves(seeds=9)
    found = sensitivity(*taken(more, of_more, (more.seed < 3) | (more.lr == 1.0)))
    for curve, expected in zip(found.curves, sensitivity(one, names).curves, strict=True):
        assert expected.sensitivity.caveats == ()
        assert curve.sensitivity.estimate == pytest.approx(expected.sensitivity.estimate, abs=0.04)
        assert curve.sensitivity.n == 3
        assert curve.sensitivity.caveats == ("6 seeds more, not trained at every learning rate, left out",)


def test_a_learning_rate_counts_alike_however_many_of_its_seeds_are_missing():
    one, names = curves()
    found = sensitivity(*taken(one, names, (one.seed == 0) | (one.lr == 1.0)))
    narrow = found.curves[0].sensitivity
    squares = np.log2(LRS) ** 2
    assert narrow.estimate == pytest.approx(np.minimum(0.1 * squares, 1.8).mean(), abs=0.02)
    assert (narrow.low, narrow.n) == (None, 1)
    assert narrow.caveats == ("fewer than two seeds were trained at every learning rate: no interval",)


def test_points_drawn_at_random_have_no_interval_over_seeds():
    lr = np.geomspace(1e-3, 1, 50)
    one = Results(lr=lr, loss=1 + np.log10(lr) ** 2, seed=np.arange(50), initial=np.full(50, 99.0))
    (curve,) = sensitivity(one, ["all"] * 50).curves
    assert curve.sensitivity.estimate == pytest.approx(3.03, abs=0.05)
    assert (curve.sensitivity.low, curve.sensitivity.n) == (None, 1)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2]), st.integers(0, 4), st.floats(0.1, 3)), min_size=1, max_size=16))
def test_no_learning_rate_costs_less_than_nothing(trials):
    lr, seed, loss = (np.array(column) for column in zip(*{t[:2]: t for t in trials}.values(), strict=True))
    (curve,) = sensitivity(
        Results(lr=lr, loss=loss, seed=seed, initial=np.full(len(lr), 2.3)), ["one"] * len(lr)
    ).curves
    found = curve.sensitivity
    assert found.estimate >= -1e-9
    assert found.low is None or -1e-9 <= found.low <= found.estimate <= found.high
