"""Sampled points: the same ones everywhere, kept when there are more, and spread as asked."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.sampling import MOST_AXES, Sample, drawn, parse_spread, shares, sobol

LR, DECAY, BATCH = "optimizer.lr", "optimizer.weight_decay", "budget.batch_size"
RANGES = {
    LR: (parse_spread("1e-4..1:log"), False),
    DECAY: (parse_spread("0..0.5:lin"), False),
    BATCH: (parse_spread("16..128:log"), True),
}


def test_these_are_the_points_and_no_version_or_machine_changes_them():
    """Stored trials have these values in their ids: a change here makes them strangers."""
    assert drawn(Sample(4, "sobol", 0), RANGES) == (
        (0.0546001, 0.278066, 82),
        (0.000546001, 0.0280663, 28),
        (0.546001, 0.403066, 17),
        (0.00546001, 0.153066, 48),
    )
    assert drawn(Sample(3, "random", 1), RANGES) == RANDOM


RANDOM = ((0.015051, 0.13435, 107), (0.0527275, 0.0427041, 44), (0.00157742, 0.461138, 76))


@pytest.mark.parametrize("method", ["random", "sobol"])
@given(n=st.integers(1, 40), more=st.integers(0, 40), seed=st.integers(0, 9))
def test_more_points_keep_those_there_are(method, n, more, seed):
    few, many = (shares(Sample(each, method, seed), (LR, DECAY)) for each in (n, n + more))
    assert {key: points[:n] for key, points in many.items()} == few


def test_points_of_random_axes_do_not_depend_on_the_other_axes():
    alone, beside = (shares(Sample(9, "random", 0), keys)[LR] for keys in ((LR,), (DECAY, LR, BATCH)))
    assert alone == beside


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_the_order_of_axes_and_the_seed(method):
    one, other = (shares(Sample(9, method, 0), keys) for keys in ((LR, DECAY), (DECAY, LR)))
    assert one == other
    assert one[LR] != one[DECAY]
    assert one != shares(Sample(9, method, 1), (LR, DECAY))


def test_sobol_is_torchs_in_every_dimension():
    from torch.quasirandom import SobolEngine

    expected = SobolEngine(MOST_AXES).draw(256, dtype=__import__("torch").float64)
    for dimension in range(MOST_AXES):
        assert [point / 2**32 for point in sobol(dimension, 256)] == expected[:, dimension].tolist()


@given(st.integers(0, 5))
def test_sobol_puts_one_point_of_a_power_of_two_into_each_part(seed):
    found = shares(Sample(16, "sobol", seed), ("a", "b"))
    for key in ("a", "b"):
        assert sorted(int(16 * share) for share in found[key]) == list(range(16))
    assert len({(int(4 * a), int(4 * b)) for a, b in zip(found["a"], found["b"], strict=True)}) == 16


@given(st.fractions(0, 1), st.sampled_from(["1e-4..1:log", "3..5:lin", "-1..1:lin", "0.123456789..0.123456791:lin"]))
def test_points_are_within_the_range_and_short(share, text):
    spread = parse_spread(text)
    value = spread.at(share, whole=False)
    assert spread.low <= Fraction(value) or value == float(spread.low)
    assert value <= float(spread.high)
    assert len(repr(value).replace("-", "").replace(".", "").split("e")[0].lstrip("0")) <= 6 or "123456789" in text


SPREADS = ["1e-4..1:log", "1..1e6:log", "-1..1:lin", "-1e-7..1e-9:lin", "1..1.0001:log", "1e-300..1e300:log"]


@given(st.integers(0, 2**53 - 1), st.sampled_from([*SPREADS, "0..0.5:lin", "123456..123458:lin", "1/3..1/2:log"]))
def test_floats_give_the_points_that_decimals_give(place, text):
    """They are asked first, being quicker, and have no say where their last digits might matter."""
    spread, share = parse_spread(text), Fraction(2 * place + 1, 2**54)
    for whole in (False, True) if spread.low >= 1 or not spread.log else (False,):
        value, exact = spread.at(share, whole), spread._exactly(share, whole)
        assert (repr(value), type(value)) == (repr(exact), type(exact))


@given(st.integers(100_000, 999_999), st.sampled_from(["1e-4..1:log", "0..10:lin"]), st.integers(-2, 2))
def test_a_point_between_two_of_six_digits_is_left_to_decimals(digits, text, ulps):
    spread = parse_spread(text)
    middle = (digits + 0.5) * 1e-6  # half way between two
    share = (middle - float(spread.low)) / float(spread.high - spread.low)
    if spread.log:
        share = math.log(middle / float(spread.low)) / math.log(float(spread.high / spread.low))
    for _ in range(abs(ulps)):
        share = math.nextafter(share, math.copysign(2, ulps))
    assert spread._fine(share) is None


@pytest.mark.parametrize("kind", ["log", "lin"])
def test_each_whole_number_is_met_as_often_as_it_lies_in_the_range(kind):
    spread = parse_spread(f"1..4:{kind}")
    met = [spread.at(Fraction(2 * i + 1, 2000), whole=True) for i in range(1000)]
    counts = [met.count(value) for value in (1, 2, 3, 4)]
    assert sum(counts) == 1000
    assert counts == ([250] * 4 if kind == "lin" else sorted(counts, reverse=True))


def test_equal_points_are_one():
    assert len(drawn(Sample(60, "random", 0), {BATCH: (parse_spread("1..4:lin"), True)})) == 4


@pytest.mark.parametrize("text", ["1..2", "1..2:3log", "a..b:log", "1..2:cubic", "log", ""])
def test_what_gives_no_range_to_draw_from_is_none(text):
    assert parse_spread(text) is None


@pytest.mark.parametrize(
    "text", ["2..1:log", "1..1:lin", "0..1:log", "-1..1:log", "1e-301..1:log", "1..1e301:log", "-1e400..1:lin"]
)
def test_a_range_that_spans_nothing_is_refused(text):
    with pytest.raises(ConfigError):
        parse_spread(text)


def test_too_many_axes_for_sobol_are_refused():
    keys = tuple(map(str, range(MOST_AXES + 1)))
    assert shares(Sample(1, "random", 0), keys)
    with pytest.raises(ConfigError, match="21 axes at most"):
        shares(Sample(1, "sobol", 0), keys)
