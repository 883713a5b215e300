"""What fits into few columns: tables that break between words, and series as a line of bars."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.terminal.listing import curve
from thalweg.runner.terminal.text import console, longest_word, row, table

NUMBERS = st.floats(0.001, 999).map("{:.4g}".format)
WORDS = st.lists(st.text("abcxyz", min_size=1, max_size=9), min_size=1, max_size=5).map(" ".join)


def printed(lines: list[list[str]], width: int) -> str:
    text = io.StringIO()
    out = console(text)
    out.width = width
    made = table(*lines[0])
    for line in lines[1:]:
        row(made, *line)
    out.print(made)
    return text.getvalue()


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=2, max_size=5)))
def test_no_word_is_broken_where_all_have_room(lines):
    least = sum(longest_word(column) + 1 for column in zip(*lines, strict=True))
    text = printed(lines, max(40, least))
    assert sorted(text.split()) == sorted(word for line in lines for cell in line for word in cell.split())


def test_a_column_that_must_not_wrap_loses_nothing_beside_wide_ones():
    text = io.StringIO()
    out = console(text)
    out.width = 60
    made = table("panel", "verdict")
    made.columns[0].no_wrap = True
    row(made, "scale-invariant AdamW, independent", "undecided: nearly separable or nearly wd/lr alone")
    out.print(made)
    assert "scale-invariant AdamW, independent" in text.getvalue()
    assert "undecided: nearly" in text.getvalue()


def test_what_cannot_fit_is_folded_and_nothing_is_lost():
    text = printed([["a" * 30, "b" * 30], ["c" * 30, "d" * 30]], 40)
    assert [text.count(letter) for letter in "abcd"] == [30] * 4


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([1.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([100.0, 10.0, 1.0], "█▅▁"),
        ([-1.0, 0.0, 1.0], "▁▅█"),
        ([1.0, float("nan"), 2.0], "▁×█"),
        ([1.0, float("inf")], "▁×"),
        ([float("nan")], ""),
        ([0.0, 1.7e308], "▁█"),
        ([-1.7e308, 1.7e308], "▁█"),
        ([float("inf"), float("-inf")] * 16, ""),
    ],
)
def test_a_series_is_drawn_as_bars(values, drawn):
    assert curve(values) == drawn


@given(st.lists(st.floats(), max_size=200))
def test_any_series_is_at_most_sixteen_bars(values):
    assert len(curve(values)) <= 16


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4))
def test_a_number_is_whole_where_heads_are_broken(lines):
    """Half of a number is another number."""
    text = printed([["weight decay", "diverged", "learning rate", "momentum", "validation"], *map(list, lines)], 40)
    numbers = [value for line in lines for value in line]
    assert [word for word in text.split() if word in numbers] == numbers
