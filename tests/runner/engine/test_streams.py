"""Batches are a function of (seed, step), reachable anywhere, and each epoch is a permutation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.runner.engine.streams import batch_indices, stream_key


@pytest.mark.long
@settings(deadline=None)
@given(seed=st.integers(0, 2**62), start=st.integers(0, 500), batch=st.integers(1, 40), rows=st.integers(1, 60))
def test_any_step_is_reached_without_the_ones_before(seed: int, start: int, batch: int, rows: int) -> None:
    whole = batch_indices(seed, 0, start + 3, batch, rows)
    assert np.array_equal(whole[start:], batch_indices(seed, start, start + 3, batch, rows))


@settings(deadline=None)
@given(seed=st.integers(0, 2**62), rows=st.integers(1, 60))
def test_every_epoch_visits_every_row_once(seed: int, rows: int) -> None:
    walked = batch_indices(seed, 0, rows * 3, 1, rows).reshape(3, rows)
    assert all(sorted(epoch) == list(range(rows)) for epoch in walked.tolist())


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    walked = batch_indices(1, 0, 2, 50, 50)
    assert not np.array_equal(walked[0], walked[1])
    assert not np.array_equal(walked[0], batch_indices(2, 0, 1, 50, 50)[0])


def test_streams_of_one_seed_are_unrelated_and_pinned() -> None:
    assert stream_key(0, "init") != stream_key(0, "batch")
    assert stream_key(0, "init") == 7720630012266435949
    assert batch_indices(0, 0, 1, 4, 10).tolist() == [[1, 3, 0, 7]]
