"""Numbers as people read them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.show.numbers import as_good, count, duration, figure, labels, rate, short

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


def read(text: str) -> float:
    return float(re.sub(r"^(-?)\.", r"\g<1>0.", text))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.6444, "0.644"), (1.234, "1.23"), (0.64, "0.640"), (15.44, "15.4"), (154.4, "154"), (0, "0"), (0.99996, "1.00")],
)
def test_a_loss_has_three_digits(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(("width", "text"), [(5, "0.644"), (4, ".644"), (3, ".64")])
def test_the_zero_before_the_point_goes_before_any_digit_does(width, text):
    assert figure(0.6444, 3, width) == text


@pytest.mark.parametrize(
    ("near", "others", "text"),
    [
        (0, 0, "no other cell is usable"),
        (0, 1, "the other usable cell is not as good"),
        (1, 3, "1 of the 3 other usable cells is as good, within the noise between seeds"),
        (1200, 3000, "1,200 of the 3,000 other usable cells are as good, within the noise between seeds"),
    ],
)
def test_how_many_are_as_good_is_said_of_any_number(near, others, text):
    assert as_good(near, others) == text


@given(FINITE, st.integers(1, 6))
def test_a_figure_is_within_half_of_its_last_digit(value, digits):
    shown = read(figure(value, digits))
    assert math.isclose(shown, value, rel_tol=0.5001 * 10 ** (1 - digits), abs_tol=1e-320)


@given(st.floats(min_value=1e-9, max_value=1e9), st.integers(4, 8))
def test_a_figure_fits_its_width(value, width):
    assert len(figure(value, 3, width)) <= width


@given(FINITE)
def test_dropping_zeros_changes_nothing(value):
    assert read(short(value)) == read(figure(value))


@given(FINITE, st.integers(1, 12))
def test_no_zero_before_the_point_goes_where_the_short_form_has_room(value, width):
    whole = short(value)
    assert len(whole) > width or short(value, 3, width) == whole


def test_powers_of_two_are_fractions_only_where_all_values_are():
    assert labels([1 / 256, 0.5, 4.0]) == {1 / 256: "1/256", 0.5: "1/2", 4.0: "4"}
    assert labels([0.1, 0.5, 0.9]) == {0.1: "0.1", 0.5: "0.5", 0.9: "0.9"}
    assert labels([0.0, 0.25, 0.5])[0.25] == "1/4"
    assert labels([0.5]) == {0.5: "0.5"}
    assert labels(["sgd", True, 30]) == {"sgd": "sgd", True: "true", 30: "30"}


@pytest.mark.parametrize("exponent", range(-18, 14))
def test_a_rate_that_is_a_power_of_two_reads_back_exactly(exponent):
    top, _, bottom = rate(2.0**exponent).partition("/")
    assert int(top) / int(bottom or 1) == 2.0**exponent


def test_spans_of_time_and_counts():
    spans = [0.04, 54, 130, 3 * 3600 + 300, 90000]
    assert [duration(s) for s in spans] == ["0.0 s", "54 s", "2 min 10 s", "3 h 05 min", "1 d 01 h"]
    assert (count(1, "trial"), count(2592, "trial")) == ("1 trial", "2,592 trials")


@given(st.floats(1e-300, 1e300), st.integers(1, 3))
def test_neighbours_among_floats_have_names_of_their_own(value, steps):
    values = [value]
    for _ in range(steps):
        values.append(math.nextafter(values[-1], math.inf))
    assert len(set(labels(values).values())) == len(values)
