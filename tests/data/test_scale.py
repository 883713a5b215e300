"""Scaling: as before to the bit where that was right, and right where it was not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.data.scale import scaled, scaled_each


def plain(x: np.ndarray, fitted: int) -> np.ndarray:
    """The deviation of each column as the textbook has it, which was ours in 0.1.0."""
    centred = x - np.array([math.fsum(feature) / fitted for feature in x[:fitted].T])
    deviation = np.sqrt([math.fsum(feature**2) / fitted for feature in centred[:fitted].T])
    return (centred / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def columns(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(40, 3))


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(-60, 60), st.floats(-1e3, 1e3))
def test_ordinary_columns_keep_every_bit(seed: int, exponent: int, shift: float) -> None:
    x = columns(seed) * 10.0**exponent + shift
    made = scaled_each(x, 30)
    if not made.mended:
        assert np.array_equal(made.x, plain(x, 30))
    assert made.mended == bool(((x[:30] == x[0]).all(0) & (plain(x, 30)[0] != 0)).any())


@settings(max_examples=60)
@given(st.integers(0, 9), st.sampled_from([-320, -308, -200, -160, -150, 150, 160, 200, 300, 307]))
def test_huge_and_tiny_columns_are_scaled_as_their_ordinary_twins(seed: int, exponent: int) -> None:
    x, unit = columns(seed), math.ldexp(1.0, int(exponent * math.log2(10)))
    beside = np.column_stack([x[:, 0] * unit, x[:, 1:]])
    rough: dict[str, Any] = {"rtol": 0.5, "atol": 0.5}  # what is left below 1e-308
    close = {"rtol": 1e-5, "atol": 1e-6} if exponent > -300 else rough
    np.testing.assert_allclose(scaled_each(beside, 30).x, scaled_each(x, 30).x, **close)
    assert scaled_each(beside, 30).mended
    pictures = (x * unit).reshape(40, 1, 3)
    np.testing.assert_allclose(scaled(pictures, 30).x, scaled(x.reshape(40, 1, 3), 30).x, **close)
    assert scaled(pictures, 30).mended


def test_the_rows_that_train_say_what_is_tiny() -> None:
    x = np.random.default_rng(0).normal(size=(40, 1)) * 1e-160
    beside = x.copy()
    beside[35] = 1e-135
    np.testing.assert_array_equal(scaled_each(beside, 30).x[:30], scaled_each(x, 30).x[:30])


def test_the_largest_numbers_there_are_do_not_overflow() -> None:
    x = np.where(np.arange(40) % 2, 1.7e308, -1.7e308)[:, None]
    np.testing.assert_allclose(np.abs(scaled_each(x, 30).x), 1, rtol=1e-6)


@pytest.mark.parametrize("fitted", range(2, 30))
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e200, 1e-200, -7.7])
def test_a_column_that_never_changes_is_nought_whatever_its_sum(value: float, fitted: int) -> None:
    x = np.full((40, 1), value)
    x[35] = value + abs(value)
    made = scaled_each(x, fitted).x
    assert not made[:30].any()
    assert math.isfinite(made[35, 0])
