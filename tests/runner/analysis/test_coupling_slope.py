"""The slope of the best decay against the rate, on tables whose slope is known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from tables import planted, shrinking_weight, with_losses

from thalweg.runner.analysis import Expected, Results, coupling
from thalweg.runner.analysis.coupling_slope import _drawn
from thalweg.runner.analysis.results import grid
from thalweg.runner.analysis.ridge import skewness, vertices
from thalweg.runner.analysis.rows import Drop
from thalweg.runner.cells.noise import Noise

SLOPES = (-2.0, -1.0, -0.5, 0.0, 1.0)


@pytest.mark.parametrize("design", ["along", "plain", "oblique", "random"])
@pytest.mark.parametrize("slope", SLOPES)
def test_a_planted_slope_is_found_on_every_kind_of_grid(slope, design):
    found = coupling(planted(slope, grid=design, columns=10))
    assert found.slope.low <= slope <= found.slope.high
    assert found.slope.estimate == pytest.approx(slope, abs=0.1)
    assert found.slope.high - found.slope.low < 0.4


@pytest.mark.parametrize(("rule", "slope"), [("coupled", -1), ("momentum", -1), ("independent", 0), ("adam_l2", None)])
def test_the_workload_whose_answer_is_known_exactly(rule, slope):
    found = coupling(shrinking_weight(rule))
    if slope is None:
        assert (found.slope.estimate, found.label) == (None, "not identified: flat: decay makes no difference")
        assert found.undetermined
    else:
        assert found.slope.estimate == pytest.approx(slope, abs=0.02)
        assert not found.undetermined


def test_rescaling_rates_or_decays_leaves_the_slope():
    one = planted()
    for other in (replace(one, lr=one.lr * 1000), replace(one, wd=one.wd / 700)):
        assert coupling(other).slope.estimate == pytest.approx(coupling(one).slope.estimate, abs=1e-9)


def test_rescaling_the_loss_leaves_the_slope():
    one = planted()
    for name in ("estimate", "low", "high"):
        ends = [getattr(coupling(each).slope, name) for each in (one, replace(one, loss=one.loss * 7))]
        assert ends[0] == pytest.approx(ends[1], abs=1e-9)


@pytest.mark.parametrize("scale", ["linear", "negated"])
@pytest.mark.parametrize("unit", [1e-4, 10.0, 1e4])
def test_the_unit_of_what_is_no_loss_leaves_the_slope(scale, unit):
    one = planted(noise=0.03)
    sign = 1 if scale == "linear" else -1
    one, other = (replace(one, loss=sign * by * (one.loss - 9), scale=scale, chance=None) for by in (1.0, unit))
    for name in ("estimate", "low", "high"):
        assert getattr(coupling(one).slope, name) == pytest.approx(getattr(coupling(other).slope, name), abs=1e-6)


def test_it_is_said_which_cells_have_one_seed():
    one = planted(noise=0.03)
    best = int(one.loss.argmin())
    one = one.take((one.lr != one.lr[best]) | (one.wd != one.wd[best]) | (one.seed == one.seed[best]))
    alone = replace(one, loss=np.where((one.lr == one.lr[best]) & (one.wd == one.wd[best]), 1e-3, one.loss))
    assert coupling(alone).slope.caveats == (
        "the cells near the best have one seed: the interval knows how rows scatter about a line alone",
    )


@pytest.mark.parametrize("slope", [-1.0, 0.0])
def test_relabelling_coupled_decay_as_independent_adds_exactly_one(slope):
    one = planted(slope)
    coupled, independent = coupling(one).slope, coupling(replace(one, wd=one.wd * one.lr)).slope
    for name in ("estimate", "low", "high"):
        assert getattr(independent, name) - getattr(coupled, name) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("exponent", [-1.0, 1.0, -2.0])
def test_a_rotated_grid_has_the_slope_of_its_product_axis_plus_its_exponent(exponent):
    product = planted(0.0, grid="plain")  # "wd" is the product axis here
    rotated = coupling(replace(product, wd=product.wd * product.lr**exponent)).slope
    assert rotated.estimate == pytest.approx(coupling(product).slope.estimate + exponent, abs=1e-9)


def test_the_order_of_trials_is_irrelevant():
    one = planted()
    order = np.random.default_rng(1).permutation(len(one.lr))
    mixed, found = coupling(one.take(order)), coupling(one)
    assert mixed.slope.estimate == pytest.approx(found.slope.estimate, abs=1e-9)
    assert [row.wd for row in mixed.rows] == pytest.approx([row.wd for row in found.rows])


@pytest.mark.parametrize("lost", [math.nan, math.inf, 1e31])
def test_a_diverged_row_leaves_the_others(lost):
    one = planted()
    top = one.lr == one.lr.max()
    extra = Results(
        lr=np.concatenate([one.lr, 2 * one.lr[top]]),
        wd=np.concatenate([one.wd, one.wd[top] / 2]),
        loss=np.concatenate([one.loss, np.full(top.sum(), lost)]),
        seed=np.concatenate([one.seed, one.seed[top]]),
    )
    found = coupling(extra)
    assert found.rows[:-1] == coupling(one).rows
    assert found.rows[-1].reason == Drop.EMPTY.phrase
    assert found.slope.estimate == pytest.approx(coupling(one).slope.estimate, abs=0.03)
    assert found.diverged == top.sum()


@pytest.mark.parametrize("lost", [math.nan, math.inf, 1e31, None])
def test_a_best_beside_diverged_cells_is_a_bound_however_they_are_written_down(lost):
    one = planted(diverged=0.2)
    found = coupling(
        one.take(np.isfinite(one.loss)) if lost is None else with_losses(one, lambda *c: _fill(c[3], lost))
    )
    assert found.undetermined
    assert found.slope.estimate is None
    assert all(row.side == ">" for row in found.rows)


def _fill(loss, value):
    return np.where(np.isfinite(loss), loss, value)


def test_survivors_of_a_diverged_seed_are_never_averaged():
    one = planted()
    best = coupling(one).best
    struck = (one.lr == best.lr) & (one.wd == best.wd) & (one.seed == 0)
    found = coupling(with_losses(one, lambda lr, wd, seed, loss: np.where(struck, np.nan, loss)))
    assert (found.best.lr, found.best.wd) != (best.lr, best.wd)
    absent = coupling(one.take(~(struck | ((one.lr == best.lr) & (one.wd > best.wd)))))
    (row,) = (row for row in absent.rows if row.lr == best.lr)
    assert not row.kept


@pytest.mark.parametrize(("off", "side", "where"), [(-3.5, "<", "below"), (3.5, ">", "above")])
def test_a_best_at_the_grids_edge_is_a_bound_and_the_axis_to_widen_is_named(off, side, where):
    found = coupling(planted(off=off))
    edge = next(edge for edge in found.edge if edge.axis == "wd")
    assert (edge.side, edge.along) == (where, "lr·wd")
    assert {row.side for row in found.rows if row.reason != Drop.FAR.phrase} == {side}
    assert f"Widen lr·wd {where}" in found.verdict
    assert found.undetermined


def test_no_decay_at_all_being_best_is_a_bound_not_the_logarithm_of_nought():
    one = planted()
    rates, seeds = np.meshgrid(np.unique(one.lr), np.unique(one.seed))
    none = np.zeros(rates.size)
    found = coupling(
        Results(
            lr=np.concatenate([one.lr, rates.ravel()]),
            wd=np.concatenate([one.wd, none]),
            loss=np.concatenate([one.loss, none + 0.6]),
            seed=np.concatenate([one.seed, seeds.ravel()]),
        )
    )
    assert {row.side for row in found.rows} == {"<"}
    assert {row.reason for row in found.rows} == {Drop.EDGE.phrase}
    assert found.best.wd == 0
    assert found.undetermined


def test_dead_nets_and_rows_far_from_the_best_do_not_count():
    one = replace(planted(), chance=math.log(10))
    dead = coupling(with_losses(one, lambda lr, wd, seed, loss: np.where(lr > 1, 2.29, loss)))
    assert dead.dropped == {Drop.GUESS.phrase: 3}
    far = coupling(with_losses(one, lambda lr, wd, seed, loss: np.where(lr > 1, 1.8 * loss, loss)))
    assert far.dropped == {Drop.FAR.phrase: 3}


def test_a_loss_that_does_not_depend_on_decay_is_called_flat():
    for seeds in (1, 3):
        found = coupling(planted(width=0.0, seeds=seeds))
        assert found.label == "not identified: flat: decay makes no difference"
        assert found.undetermined


def test_noise_that_hides_the_ridge_leaves_it_undetermined():
    found = coupling(planted(noise=0.6))
    assert found.undetermined
    assert not found.excluded or found.slope.estimate is not None


def test_one_seed_gives_an_interval_from_the_rows_and_says_what_that_costs():
    found = coupling(planted(seeds=1))
    assert found.slope.low <= -1 <= found.slope.high
    assert "one seed" in found.verdict.lower()
    assert "one seed" not in coupling(planted()).verdict.lower()


def test_what_a_seed_does_to_all_trials_alike_does_not_widen_the_interval():
    one = planted()
    shifted = coupling(with_losses(one, lambda lr, wd, seed, loss: loss * np.exp(0.1 * (seed - 1))))
    assert shifted.slope.estimate == pytest.approx(coupling(one).slope.estimate, abs=1e-6)
    assert shifted.slope.high == pytest.approx(coupling(one).slope.high, abs=1e-6)


def test_the_verdict_names_what_is_excluded_and_stands_beside_what_was_expected():
    found = coupling(planted(), expect=Expected(-1, 0.3))
    assert found.label == "only lr·wd matters"
    assert found.consistent == ("only lr·wd matters",)
    assert set(found.excluded) == {"only lr²·wd matters", "separable", "only wd/lr matters"}
    assert "12 of 12 learning rates used" in found.verdict
    assert found.verdict.endswith("Expected beforehand: -1 ± 0.3, and so it came out.")
    assert "and it came out otherwise" in coupling(planted(), expect=Expected(0, 0.3)).verdict


def test_no_picture_is_claimed_for_a_slope_between_two():
    found = coupling(planted(-0.5))
    assert found.consistent == ()
    assert "matters" not in found.label
    assert not found.undetermined


def test_the_same_table_gives_the_same_answer_twice():
    assert coupling(planted()) == coupling(planted())


def test_a_metric_that_is_best_large_is_turned_around():
    one = planted()
    found = coupling(replace(one, loss=1 - one.loss / 10, scale="negated"))
    assert found.slope.estimate == pytest.approx(-1, abs=0.1)
    assert found.best.loss == pytest.approx((1 - one.loss / 10).max(), abs=0.01)


def test_regions_where_decay_alone_turns_a_weights_sign_are_counted():
    one = planted()
    one = replace(one, wd=one.wd * 10)
    cells = {(lr, wd) for lr, wd in zip(one.lr, one.wd, strict=True) if lr * wd >= 1}
    assert len(cells) == 12
    assert coupling(one).flips == 12
    assert "In 12 cells lr·wd is so large that weight decay alone changes the signs of weights" in coupling(one).verdict
    assert coupling(one, turns=np.zeros(len(one.lr), bool)).flips == 0


def steep(rows=9, tilt=0.6, **case):
    """A noise-free bowl of which a cut at 16% above the best loss would leave three rows of nine."""
    return planted(rows=rows, noise=0.0, width=0.5, tilt=tilt, **case)


@pytest.mark.parametrize("design", ["plain", "random", "box"])
@pytest.mark.parametrize("slope", [-2.0, -1.0, -0.5, 0.0, 0.5])
def test_the_slope_of_a_steep_bowl_is_known(slope, design):
    found = coupling(planted(slope, noise=0.0, width=0.5, tilt=0.6, grid=design, columns=12))
    assert found.slope.low <= slope <= found.slope.high
    assert found.slope.high - found.slope.low < 0.15


def test_rows_count_the_less_the_further_their_loss_lies_above_the_best():
    rows = sorted(coupling(steep()).kept, key=lambda row: row.loss)
    assert len(rows) >= 5
    assert [row.weight for row in rows] == sorted((row.weight for row in rows), reverse=True)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("kind", [{"grid": "plain", "columns": 10}, {"grid": "box"}, {"tilt": 0.1, "best": -2.4}])
def test_last_bits_of_the_losses_move_no_slope(kind, noise):
    one = planted(-1.0, noise=noise, **kind)
    last = np.random.default_rng(5).uniform(-1e-7, 1e-7, len(one.loss))
    found, moved = coupling(one).slope, coupling(replace(one, loss=one.loss * (1 + last))).slope
    for name in ("estimate", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name), abs=1e-4)
    assert moved.n == found.n


def test_a_row_that_noise_moves_past_any_cut_moves_no_slope_outside_its_interval():
    """Two rows off the line, at 10% to 40% above the best loss: a cut somewhere between would drop them at once."""
    one, estimates = planted(-1.0, noise=0.01), []
    for above in np.linspace(0.1, 0.4, 13):
        off = (one.lr < 2.0**-6.5) * (above + 0.1 * (np.log10(one.wd * one.lr) - np.log10(5e-3) - 0.6))
        estimates.append(coupling(replace(one, loss=one.loss * np.exp(off))).slope)
    steps = [abs(a.estimate - b.estimate) for a, b in itertools.pairwise(estimates)]
    assert max(steps) < 0.3 * min(each.high - each.low for each in estimates)


@pytest.mark.parametrize("freedom", [1, 200])
def test_noise_that_few_seeds_tell_of_is_redrawn_with_its_own_uncertainty(freedom):
    folded = grid(planted())
    shaken = _drawn(folded, Noise(0.02, freedom)) - folded.mean_RC
    scale = shaken.std((1, 2))  # of a table: as uncertain as a variance is that rests on so many degrees of freedom
    assert (scale.max() > 10 * np.median(scale)) == (freedom == 1)


def test_a_row_whose_best_cell_comes_to_lie_at_the_edge_counts_the_less_the_surer_that_is():
    one = planted(-1.0, noise=0.02, grid="along", columns=8)
    row = one.lr == np.unique(one.lr)[6]
    edge = row & np.isclose(one.wd, one.wd[row].max())
    best = math.log(coupling(one).rows[6].loss)
    weights = []
    for above in np.linspace(0.04, -0.04, 9):
        loss = np.where(edge, math.exp(best + above), one.loss)
        weights.append(coupling(replace(one, loss=loss)).rows[6].weight)
    assert weights == sorted(weights, reverse=True)
    assert (weights[0] > 0.5, weights[-1]) == (True, 0.0)
    assert len(set(weights)) >= 4


def test_an_asymmetric_valley_has_its_best_where_it_is_wherever_that_lies_between_two_cells():
    lies, cells = np.linspace(-0.3, 0.3, 7), 0.6 * np.arange(-4, 5)
    away = cells - lies[:, None]
    score, x = away**2 * (1 + 0.3 * np.tanh(away)), np.broadcast_to(cells, away.shape)
    usable = np.ones(x.shape, bool)
    skew = skewness(score, x, usable)
    errors = [np.ptp(vertices(score[None], x, usable, each)[1][0] - lies) for each in (0.0, skew)]
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("seed", range(10))
def test_a_random_search_that_a_ridge_leaves_soon_knows_its_slope(seed):
    """Of some of these tables the better half shows no valley to begin with."""
    found = coupling(planted(-2.0, seed=seed, noise=0.0, grid="box", best=-2.4, tilt=0.1, asymmetry=0.3))
    assert found.slope.low <= -2 <= found.slope.high
