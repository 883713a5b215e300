"""The digits are scikit-learn's, whichever way they are read."""

from __future__ import annotations

import numpy as np
import pytest

import thalweg.data.digits as module


@pytest.mark.parametrize("found", [True, False])
def test_the_digits_are_scikit_learns(monkeypatch, found):
    from sklearn.datasets import load_digits

    if not found:
        monkeypatch.setattr(module, "_embedded", lambda: None)
    assert (module._embedded() is not None) == found
    x, y = module.digits()
    bunch = load_digits()
    assert x.shape == (1797, 1, 8, 8)
    assert np.array_equal(x[:, 0], bunch.images)
    assert np.array_equal(y, bunch.target)
    assert y.dtype == np.int64
