"""New rungs are the ones that a finer or wider range would have, and the same however often they are computed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.cells.cells import Cell
from thalweg.runner.decide.ladder import between, beyond, is_logarithmic, ladder, typed
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row
from thalweg.runner.study.ranges import parse_range


def cell(key, value, loss=1.0):
    row = Row(
        trial_id="0",
        block="b",
        axes={key: value},
        outcome=Outcome.FINISHED,
        diverged_step=None,
        metrics={"val/loss": loss},
        config={},
    )
    return Cell({key: value}, (row,), "val/loss", "min")


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        ("1/256..16:x4", "1/256..16:x2"),
        ("1.953125e-5..0.32:x4", "1.953125e-5..0.32:x2"),
        ("1e-4..1e4:x100", "1e-4..1e4:x10"),
    ],
)
def test_half_steps_are_the_points_of_the_finer_range(coarse, fine):
    old, new = parse_range(coarse).values(), parse_range(fine).values()
    assert [between(a, b, True) for a, b in pairwise(old)] == [v for v in new if v not in old]


@given(st.floats(1e-8, 1e8), st.floats(1.2, 1e3), st.booleans())
def test_a_half_step_lies_between_and_can_be_typed(low, ratio, logarithmic):
    middle = between(low, low * ratio, logarithmic)
    assert low < middle < low * ratio
    assert float(repr(middle)) == middle
    assert between(low, low * ratio, logarithmic) == middle


@pytest.mark.parametrize("text", ["1/256..8:x2", "2e-3..2:x10", "0..1:+0.25", "1..5:+2"])
def test_an_axis_widens_in_its_own_step(text):
    values = parse_range(text).values()
    rungs = ladder("k", [cell("k", v) for v in values], is_logarithmic(values))
    step = values[-1] / values[-2] if rungs.logarithmic else values[-1] - values[-2]
    first, second = beyond(rungs, "above", 2)
    assert (first, second) == pytest.approx(
        (values[-1] * step, values[-1] * step**2) if rungs.logarithmic else (values[-1] + step, values[-1] + 2 * step)
    )


def test_a_zero_stands_beside_factors_and_belongs_to_sums():
    assert is_logarithmic([0, 2, 4, 8, 16])
    assert not is_logarithmic([0, 10, 20, 30])
    assert not is_logarithmic([0.8, 0.9, 1.0])
    assert is_logarithmic([1e-3, 1e-2])
    assert not is_logarithmic([-1, 1, 2])
    rungs = ladder("k", [cell("k", v) for v in (8, 0, 2)], True)
    assert ([rungs.at(c) for c in rungs.cells], rungs.zero.axes["k"]) == ([2, 8], 0)


def test_integers_stay_integers():
    assert typed(5.66, 4) == 6
    assert isinstance(typed(5.66, 4), int)
    assert typed(0.3, 2) == 1
    assert typed(5.66, 4.0) == 5.66
