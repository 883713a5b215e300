"""Packed curves keep what a picture shows: values to 0.3%, steps, gaps, and where a trial ended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.facts.observation import Series
from thalweg.runner.report.curves import (
    LETTERS,
    LEVELS,
    MISSING,
    MOST_TOLD,
    chosen_series,
    pack,
    points_for,
    told_series,
)


def unpacked(curves, trial):
    """What the page's script makes of it: NaN for a gap."""
    coded = curves.coded[trial]
    levels = [LETTERS.index(a) * 64 + LETTERS.index(b) for a, b in zip(coded[::2], coded[1::2], strict=True)]
    low, high = curves.ends[trial] if trial < len(curves.ends) else curves.ends[0]
    values = [np.nan if level == MISSING else low + (high - low) * level / LEVELS for level in levels]
    return [10**value if curves.log else value for value in values]


def series(values, first=0):
    return Series(np.arange(first, first + len(values), dtype=np.int64), np.asarray(values, dtype=np.float64))


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=40))
def test_values_come_back_to_a_third_of_a_percent(values):
    curves = pack("val/loss", [series(values)], 64)
    assert curves.steps == tuple(range(len(values)))
    assert unpacked(curves, 0) == pytest.approx(values, rel=3e-3)


def test_long_series_are_averaged_over_equal_spans():
    curves = pack("train/loss", [series(np.linspace(1, 2, 600))], 60)
    assert len(curves.steps) == 60
    assert curves.span == 11 or curves.span == 10
    assert unpacked(curves, 0)[0] == pytest.approx(np.linspace(1, 2, 600)[: curves.span].mean(), rel=1e-3)


def test_peaks_survive_where_they_are_asked_for():
    values = np.ones(600)
    values[301] = 50.0
    mean, peaks = (pack("train/loss", [series(values)], 60, peaks=peaks) for peaks in (False, True))
    assert max(unpacked(mean, 0)) < 10
    assert max(unpacked(peaks, 0)) == pytest.approx(50, rel=3e-3)
    assert sorted(unpacked(peaks, 0))[-2] == pytest.approx(1)


def test_a_trial_that_ended_early_ends_early_and_one_without_series_is_empty():
    curves = pack("val/loss", [series(np.ones(20)), series(np.ones(5)), None], 64)
    assert [len(coded) for coded in curves.coded] == [40, 10, 0]


def test_what_is_not_finite_or_missing_is_a_gap():
    some = Series(np.array([0, 10], dtype=np.int64), np.array([1.0, np.inf]))
    curves = pack("val/loss", [some, series(np.ones(3))], 64)
    assert np.isnan(unpacked(curves, 0)).tolist() == [False, True, True, True]


def test_no_series_at_all_is_none():
    assert pack("val/loss", [None, None], 64) is None


def test_the_training_loss_and_the_metric_are_chosen():
    names = ["train/batch_loss", "val/accuracy", "val/loss"]
    assert chosen_series(names, "val/loss") == ["train/batch_loss", "val/loss"]
    assert chosen_series(names, "val/accuracy") == ["train/batch_loss", "val/accuracy"]
    told = ["train/a_loss", "train/gradient_norm", *names, "train/z"]  # what a model logs
    assert chosen_series(told, "val/loss") == ["train/batch_loss", "val/loss"]
    assert chosen_series(["other"], "val/loss") == ["other"]
    assert chosen_series([], "val/loss") == []


def test_what_was_told_is_all_of_training_but_the_losses_drawn_already():
    names = ["train/batch_loss", "train/gradient_norm", "train/sparsity", "val/loss", "val/accuracy"]
    assert told_series(names, ["train/batch_loss", "val/loss"]) == ["train/gradient_norm", "train/sparsity"]
    assert told_series([f"train/{i}" for i in range(40)], []) == sorted(f"train/{i}" for i in range(40))[:MOST_TOLD]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40))
def test_what_may_be_negative_keeps_its_digits_trial_by_trial(values):
    huge = [-1e300, 1e300]
    curves = pack("train/told", [series(values), series(huge)], 64, log=None)
    assert curves.log is False
    room = max(values) - min(values) + 1e-6 * max(map(abs, values))
    assert unpacked(curves, 0) == pytest.approx(values, abs=room / LEVELS + 1e-6)


def test_what_is_positive_and_spans_a_decade_is_drawn_by_its_logarithm():
    for values, log in (([0.1, 1.0], True), ([0.5, 1.0], False), ([0.0, 1.0], False), ([-1.0, 100.0], False)):
        assert pack("train/told", [series(values)], 64, log=None).log is log


def test_more_trials_have_fewer_points_each():
    assert points_for(100, 2) == 64
    assert 2 * 2 * 3000 * points_for(3000, 2) <= 600_000
    assert points_for(10**6, 2) == 6
