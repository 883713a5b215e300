"""Axes: what stands aside, and labels that never run into each other."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thalweg.runner.report.chart import CHARACTER, apart
from thalweg.runner.report.ruler import Ruler

SHARES = st.integers(0, 10**6).map(lambda n: n / 10**6)
WARMUP_RATES = [2**-16, *(2.0 ** (k / 2) for k in range(-12, 7))]


@pytest.mark.parametrize(
    ("values", "aside"),
    [
        ([0, 0.01, 0.1, 1], 0),
        (WARMUP_RATES, 2**-16),
        (WARMUP_RATES[1:], None),
        ([1e-6, 1, 2], None),  # of two gaps neither is the usual one
        ([1e-4, 1e-3, 1e-2, 1e-1], None),
    ],
)
def test_a_nought_and_a_control_stand_aside(values, aside):
    assert Ruler(values, 0.0, 400.0).aside == aside


def test_a_control_takes_a_strip_and_the_others_the_width():
    ruler = Ruler(WARMUP_RATES, 0.0, 400.0)
    assert ruler.at(WARMUP_RATES[0]) == 8
    assert ruler.at(WARMUP_RATES[1]) < 40
    assert ruler.ticks()[0] == (8, "1.53e-5")
    assert ruler.spans(WARMUP_RATES)[WARMUP_RATES[0]] == (0, 16)


def test_shares_that_come_close_to_1_have_round_ticks_where_they_are_many():
    ruler = Ruler([1 - 0.5 * 0.9**k for k in range(60)], 0.0, 400.0)
    assert [label for _, label in ruler.ticks()] == [
        "0.5",
        "0.8",
        "0.9",
        "0.95",
        "0.98",
        "0.99",
        "0.995",
        "0.998",
        "0.999",
    ]


@given(
    st.lists(st.one_of(SHARES, st.floats(1e-12, 1e12), st.integers(-1000, 1000).map(float)), min_size=1, max_size=40),
    st.booleans(),
)
@example([1e11 + 0.25], True)
def test_every_axis_has_its_ticks_within_its_ends(values, round_ticks):
    ruler = Ruler(values, 0.0, 400.0, round_ticks=round_ticks)
    assert all(-1e-6 <= at <= 400 + 1e-6 for at, _ in ruler.ticks())
    assert all(-1e-6 <= ruler.at(value) <= 400 + 1e-6 for value in values)


@given(st.lists(st.tuples(st.floats(0, 400), st.text("0123456789.e-", min_size=1, max_size=9)), max_size=20))
def test_labels_do_not_run_into_each_other_and_the_first_stays(ticks):
    ticks.sort()
    kept = apart(ticks)
    assert kept[:1] == ticks[:1]
    ends = [(at - CHARACTER * len(label) / 2, at + CHARACTER * len(label) / 2) for at, label in kept]
    assert all(right < left for (_, right), (left, _) in pairwise(ends))
