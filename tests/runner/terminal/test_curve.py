"""Pictures of curves: any series is drawn within the width, and says what it is."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.facts.observation import Series
from thalweg.runner.terminal.curve import HEIGHT, LABEL, picture


def series(*values: float, every: int = 1) -> Series:
    return Series(np.arange(len(values)) * every, np.array(values))


@given(
    st.lists(st.floats(width=64), min_size=1, max_size=200),
    st.integers(1, 10_000),
    st.integers(LABEL + 30, 200),
)
def test_any_series_is_drawn_within_the_width(values: list[float], every: int, width: int) -> None:
    lines = picture("val/loss", series(*values, every=every), width)
    assert all(len(line.plain) <= width for line in lines)
    assert "nan" not in "".join(line.plain for line in lines[1:])
    if any(map(math.isfinite, values)):
        assert len(lines) == HEIGHT + 2


def test_a_line_falls_from_corner_to_corner_and_a_gap_stays_empty() -> None:
    lines = [line.plain[LABEL + 1 :] for line in picture("val/loss", series(*range(24, 12, -1)), 80)][1:-1]
    assert [line.index("•") for line in lines] == list(range(12))
    sparse = picture("val/loss", Series(np.array([0, 50, 99]), np.array([1.0, 1.5, 2.0])), LABEL + 101)[1:-1]
    assert sum(line.plain.count("•") for line in sparse) == 3


def test_ends_are_labelled_and_many_decades_are_drawn_by_logarithm() -> None:
    lines = [line.plain for line in picture("val/loss", series(100.0, 10.0, 1.0), 80)]
    assert lines[0] == "val/loss, logarithmic"
    assert lines[1].split()[0] == "100"
    assert lines[-2].split()[0] == "1.00"
    assert lines[-1].split() == ["step", "0", "2"]
    assert picture("val/loss", series(-1.0, 10.0), 80)[0].plain == "val/loss"


def test_what_is_not_finite_is_marked_and_alone_is_said() -> None:
    drawn = picture("val/loss", series(1.0, 2.0, math.inf), 80)
    assert drawn[1].plain.endswith("×")
    assert picture("val/loss", series(math.nan), 80)[0].plain == "val/loss: no finite value"
