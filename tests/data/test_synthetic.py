"""Drawn data follow their rule, and do not move when more of them are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.data.load import load_splits
from thalweg.data.schema import DATASETS

OPTIONS = {"teacher": {"features": 12, "hidden": 9, "classes": 5}, "noisy_regression": {"features": 12}}
every_rule = pytest.mark.parametrize("name", OPTIONS)


def splits_of(name, **options):
    fixed = {"train_size": 500, "label_noise": 0.0, "split_seed": 0, "augment": ()}
    return load_splits(DATASETS[name](name=name, **{**fixed, **OPTIONS[name], **options}))


@every_rule
def test_held_out_examples_depend_on_neither_size_nor_noise(name):
    full, other = splits_of(name), splits_of(name, train_size=100, label_noise=0.5)
    for part in ("validation", "test"):
        assert np.array_equal(getattr(full, part).x, getattr(other, part).x)
        assert np.array_equal(getattr(full, part).y, getattr(other, part).y)
    assert np.array_equal(full.train.x[:100], other.train.x)
    assert not np.array_equal(full.train.y[:100], other.train.y)
    assert not np.array_equal(full.validation.x, splits_of(name, split_seed=1).validation.x)


def test_a_teacher_uses_all_its_classes():
    splits = splits_of("teacher")
    shares = np.bincount(splits.validation.y, minlength=5) / 2000
    assert (splits.kind, splits.outputs, len(shares)) == ("classes", 5, 5)
    assert shares.min() > 0.05
    assert (splits_of("teacher", label_noise=0.3).train.y != splits.train.y).mean() == pytest.approx(0.3)


def test_a_linear_rule_explains_all_but_the_noise():
    clean, noisy = splits_of("noisy_regression"), splits_of("noisy_regression", label_noise=0.5)
    w, *_ = np.linalg.lstsq(clean.train.x, clean.train.y, rcond=None)
    np.testing.assert_allclose(clean.test.x @ w, clean.test.y, atol=1e-5)
    assert np.linalg.norm(w) == pytest.approx(1, abs=1e-5)
    residual = noisy.train.y - noisy.train.x @ w
    assert residual.std() == pytest.approx(0.5, rel=0.16)  # 500 draws: ±3.2%; five deviations
