"""The generated signals are those of the package mnist1d 0.0.2.post1, without the package."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from thalweg.data.mnist1d import mnist1d

# sha256 of the package's x and x_test in one float32 array, and of y and y_test as int64, little-endian.
PACKAGE_X = "0b2b548d14a498bf71ce4d5e7df61d47851b3e5dd7e7f581a1011383cb03467c"
PACKAGE_Y = "6feec4a017698c7fe237c8854cbd2e338c6dd5c16240f6fa79daefaaa129e169"
FIRST = [
    -0.33200566736939013,
    -0.4719103656557236,
    -0.778697076293495,
    -1.0097408265367045,
    -0.8823525654053073,
    0.10393481264623418,
    1.643284346437359,
    1.6525071095153063,
]


def test_the_signals_are_the_packages_to_the_last_bit_of_float32():
    x, _ = mnist1d()
    assert x.shape == (5000, 40)
    np.testing.assert_allclose(x[0, :8], FIRST, rtol=1e-12)
    assert hashlib.sha256(x.astype("<f4").tobytes()).hexdigest() == PACKAGE_X


def test_the_labels_are_the_packages():
    _, y = mnist1d()
    assert np.bincount(y).tolist() == [500] * 10
    assert hashlib.sha256(y.astype("<i8").tobytes()).hexdigest() == PACKAGE_Y


def test_generating_leaves_the_global_random_generators_alone():
    legacy, plain = np.random.get_state(legacy=False), random.getstate()
    mnist1d()
    after = np.random.get_state(legacy=False)
    assert np.array_equal(after["state"].pop("key"), legacy["state"].pop("key"))
    assert after == legacy
    assert random.getstate() == plain
