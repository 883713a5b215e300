"""Ranges: points are exact, old points survive widening bit for bit, and near misses are refused by name."""

import math
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.ranges import half_open, numeric_values, parse_number, parse_range


def values(text):
    return parse_range(text).values()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0..2", [0, 1, 2]),
        ("-1..1", [-1, 0, 1]),
        ("5..5", [5]),
        ("5..5:3lin", [5, 5, 5]),
        ("1/256..8:x2", [2.0**k for k in range(-8, 4)]),
        ("1..8:x2", [1, 2, 4, 8]),
        ("1..9:x2", [1, 2, 4, 8]),
        ("1/3..9:x3", [1 / 3, 1.0, 3.0, 9.0]),
        ("1.953125e-5..0.32:x4", [0.005 * 4.0**k for k in range(-4, 4)]),
        ("1e-4..1e0:2/dec", [1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2, 10**-1.5, 0.1, 10**-0.5, 1.0]),
        ("0..0.5:+0.1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ("1e-5..1e-1:5log", [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ("0..1:11lin", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (" 1 .. 4 : x2 ", [1, 2, 4]),
    ],
)
def test_a_range_holds_the_points_a_person_would_write(text, expected):
    made = values(text)
    assert made == pytest.approx(expected, rel=1e-15)
    assert [type(v) for v in made] == [type(v) for v in expected]


@pytest.mark.parametrize("text", ["1e-5..1e-1:9log", "1e-5..1e-1:2/dec", "1e-5..0.1:x10", "0.00001..0.1:5log"])
def test_powers_of_ten_are_the_floats_that_are_typed(text):
    assert {1e-5, 1e-4, 1e-3, 1e-2, 1e-1} <= set(values(text))


@given(st.integers(-8, 2), st.integers(1, 6), st.integers(1, 3), st.integers(1, 4))
def test_widening_a_decade_range_keeps_old_points_bit_for_bit(low, decades, more, per_decade):
    old = values(f"1e{low}..1e{low + decades}:{per_decade}/dec")
    new = values(f"1e{low - more}..1e{low + decades + more}:{per_decade}/dec")
    assert set(old) <= set(new)
    assert len(old) == decades * per_decade + 1


@given(
    st.fractions(Fraction(1, 1000), 1000, max_denominator=1000),
    st.sampled_from(["2", "4", "10", "1.5", "3", "1.1"]),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_widening_a_factor_range_keeps_old_points_bit_for_bit(low, factor, steps, more):
    by = Fraction(factor)
    old = values(f"{low}..{low * by**steps}:x{factor}")
    new = values(f"{low}..{low * by ** (steps + more)}:x{factor}")
    assert len(old) == steps + 1
    assert new[: len(old)] == old
    lower = values(f"{low / by}..{low * by**steps}:x{factor}") if low / by > Fraction(1, 10**4) else [None, *old]
    assert lower[1:] == old


@given(st.integers(-50, 50), st.integers(1, 60), st.integers(1, 60))
def test_widening_a_sum_range_keeps_old_points_bit_for_bit(tenths, steps, more):
    low = f"{tenths}/10"
    old, new = (values(f"{low}..{tenths + n}/10:+0.1") for n in (steps, steps + more))
    assert old == [(tenths + i) / 10 for i in range(steps + 1)]
    assert new[: len(old)] == old


@given(st.integers(-20, 20), st.integers(1, 40), st.integers(1, 9))
def test_hydras_range_is_recomputed_in_decimals(start, count, step):
    points = half_open(start / 10, (start + count * step) / 10, step / 10)
    assert points.values() == [(start + i * step) / 10 for i in range(count)]


def test_hydras_range_leaves_out_its_end():
    assert half_open(0.1, 0.4, 0.1).values() == [0.1, 0.2, 0.3]
    assert half_open(3, 0, -1).values() == [3, 2, 1]
    assert half_open(1, 1, 1).count == 0


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("1e-4...1:x2", "1e-4..1:x2"),
        ("1e-4..1:9", "1e-4..1:9log or 1e-4..1:9lin"),
        ("1e-4..1:2/decade", "1e-4..1:2/dec"),
        ("1e-4..1:2dec", "1e-4..1:2/dec"),
        ("1e-4..1:*2", "1e-4..1:x2"),
        ("1e-4..1:2x", "1e-4..1:x2"),
        ("1e-4..1:X2", "1e-4..1:x2"),
        ("1e-4..1:log9", "1e-4..1:9log"),
        ("2^-8", "1/256"),
        ("2**-8", "1/256"),
        ("2^-8..8:x2", "1/256..8:x2"),
        ("1e-4..1", "1e-4..1:x2"),
    ],
)
def test_a_near_miss_is_refused_with_the_right_spelling(text, right):
    with pytest.raises(ConfigError) as refusal:
        parse_range(text)
    assert right in refusal.value.hint


@pytest.mark.parametrize(
    "text",
    ["8..1", "0..1:x2", "-1..1:3log", "1..2:x1", "1..2:x0.5", "1..2:+0", "0..1:+-1", "1..2:1log", "1..2:0/dec",
     "1e-400..1:x2", "1/0..1:x2", "a..b", "..", "1..", "..1", "1..2:", "1..2:x", "1..2:x1e-400"],
)  # fmt: skip
def test_a_range_that_cannot_mean_anything_is_refused(text):
    with pytest.raises(ConfigError):
        parse_range(text)


@given(st.text(alphabet="0123456789.e-+:x/declogin ^*", max_size=20))
def test_no_text_makes_the_parser_crash(text):
    try:
        points = parse_range(text)
    except ConfigError:
        return
    assert points.count >= 1


@pytest.mark.parametrize(
    "text", ["1..1e9:+1", "0..1:+1e-9", "1e-300..1e300:x1.000001", "0..999999999", "1..2:9999999lin"]
)
def test_an_axis_that_is_too_large_is_refused_with_its_size_before_it_is_built(text):
    tracemalloc.start()
    with pytest.raises(ConfigError, match=f"{parse_range(text).count:,} values"):
        numeric_values("optimizer.lr", [text])
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_an_axis_mixes_values_and_ranges_and_drops_repeats():
    assert numeric_values("k", [0, "1..4:x2", 2.0, "1/8", "8"]) == [0, 1, 2, 4, 0.125, 8]


def test_an_axis_without_values_is_refused_with_an_example():
    with pytest.raises(
        ConfigError, match=r"axis optimizer.lr has 0 values; give at least one, e.g. optimizer.lr=0.1,0.3"
    ):
        numeric_values("optimizer.lr", [])


@given(st.floats(1e-300, 1e300))
def test_a_number_reads_back_as_itself(number):
    assert float(parse_number(repr(number))) == number


@given(st.integers(1, 200), st.floats(1e-6, 1e6), st.floats(1.5, 1e6))
def test_points_in_all_include_both_ends(n, low, ratio):
    high = low * ratio
    for kind in ("log", "lin"):
        made = values(f"{low!r}..{high!r}:{n + 1}{kind}")
        assert len(made) == n + 1
        assert (made[0], made[-1]) == (low, high)
        assert all(math.isfinite(v) for v in made)
        assert made == sorted(made)
