"""A number in a table is decimal digits. Python's own syntax is wider, and no data."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.number import number, numbers_of

NONE = [
    *("3_4", "1_0", "1e5_0", "0_0", "1_0.5", "1._5"),
    *("٣", "३", "３", "１２", "1２", "𝟑", "٣.٥", "1e٣", "−1", "½", "²"),
    *("nan", "NaN", "-nan", "+nan", "inf", "-inf", "Infinity", "INFINITY", "+infinity", "infinit"),
    *("", " ", ".", "e5", "1e", "+", "--1", "1 2", "0x10", "0b1", "1j", "True", "1,5", "1.2.3", "1.000,5"),
]
SOME = {
    "3": 3.0, "-3": -3.0, "+3": 3.0, "03": 3.0, "3.": 3.0, ".5": 0.5, "-.5e-3": -5e-4, "1E5": 1e5, "1e+05": 1e5,
    " 3\t": 3.0, "\u00a03": 3.0, "1e-400": 0.0, "1.7e308": 1.7e308,
}  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_number_in_a_table_is_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize("text", SOME)
def test_decimal_digits_are_what_they_say(text: str) -> None:
    assert number(text) == SOME[text]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_writes_of_a_number_is_that_number(value: float) -> None:
    assert number(repr(value)) == number(f"{value:.17e}") == value
    assert number(repr(value).replace(".", ","), comma=True) == value


@given(st.text(alphabet="0123456789_.eE+-٣３ naif", max_size=8))
def test_no_text_is_a_number_that_is_none_to_python(text: str) -> None:
    made = number(text)
    assert made is None or (made == float(text) and not set(text) & set("_٣３nai"))


CELLS = st.sampled_from([*NONE, *SOME, "1 ", "1\t", 3, None, 2.5]) | st.text("0123456789+-.eE ", max_size=4)


@given(st.lists(CELLS, max_size=4), st.booleans())
def test_many_cells_are_the_numbers_of_each(cells: list, comma: bool) -> None:
    assert numbers_of(cells, comma) == [number(cell, comma) for cell in cells]


def test_a_decimal_comma_leaves_no_doubt_about_points() -> None:
    assert number("1,5", comma=True) == 1.5
    for text in ("1.5", "1.234,5", "1,234,5"):
        assert number(text, comma=True) is None


def test_cells_of_other_types_are_numbers_if_they_are_some() -> None:
    assert [number(cell) for cell in (3, True, 2.5, Decimal("1.5"))] == [3.0, 1.0, 2.5, 1.5]
    for cell in (None, b"3", [3], object(), 10**400, Decimal("sNaN"), 1j):
        assert number(cell) is None
