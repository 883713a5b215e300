"""What every dataset's splits promise."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.data.digits import digits
from thalweg.data.load import SOURCES, load_splits
from thalweg.data.mnist1d import mnist1d
from thalweg.data.schema import DATASETS

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"digits": (1000, 400, 397), "mnist1d": (1000, 2000, 2000)}
FEATURES = {"digits": (1, 8, 8), "mnist1d": (40,)}
WHOLE = {"digits": digits, "mnist1d": mnist1d}
every_dataset = pytest.mark.parametrize("name", WHOLE)


def config(name, *, train_size=1000, label_noise=0.0, split_seed=0):
    return DATASETS[name](name=name, train_size=train_size, label_noise=label_noise, split_seed=split_seed)


def splits_of(name, **options):
    return load_splits(config(name, **options))


def parts(splits):
    return (splits.train, splits.validation, splits.test)


def everything(splits):
    """All examples, flat, each feature centred over all of them, float64."""
    x = np.concatenate([part.x.reshape(len(part.y), -1) for part in parts(splits)]).astype(np.float64)
    return x - x.mean(0)


def whole(name):
    """All examples of a dataset, flat, as they were before they were scaled, and their labels."""
    x, y = WHOLE[name]()
    return x.reshape(len(y), -1), y


def scale(splits, raw):
    """What the features were divided by, read off the widest of them."""
    widest = raw.std(0).argmax()
    return raw.std(0)[widest] / everything(splits).std(0)[widest]


def digest(splits):
    seen = hashlib.sha256()
    for part in parts(splits):
        seen.update(part.x.astype("<f4").tobytes() + part.y.astype("<i8").tobytes())
    return seen.hexdigest()


def test_grey_pictures_may_have_their_channel_thrice_for_models_that_read_colours():
    grey = config("digits", train_size=20)
    for one, three in zip(parts(load_splits(grey)), parts(load_splits(replace(grey, channels=3))), strict=True):
        assert three.x.shape[1:] == (3, 8, 8)
        assert np.array_equal(three.x, np.concatenate([one.x] * 3, axis=1))
        assert np.array_equal(three.y, one.y)
        assert not three.x.flags.writeable


def test_every_schema_has_a_source():
    assert set(SOURCES) == set(DATASETS)


@every_dataset
def test_splits_have_their_sizes_and_types(name):
    splits = splits_of(name)
    assert tuple(len(part.y) for part in parts(splits)) == SIZES[name]
    for part in parts(splits):
        assert part.x.shape == (len(part.y), *FEATURES[name])
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int64)
        assert part.x.flags.c_contiguous
    assert (splits.kind, splits.outputs) == ("classes", 10)
    assert set(np.unique(splits.validation.y)) == set(range(splits.outputs))


@every_dataset
def test_no_example_is_in_two_splits_and_none_is_lost(name):
    rows = np.concatenate([part.x for part in parts(splits_of(name))])
    raw, _ = whole(name)
    assert len(np.unique(rows, axis=0)) == len(np.unique(raw, axis=0)) == len(raw) == len(rows)


@every_dataset
def test_an_example_keeps_its_own_label(name):
    splits = splits_of(name)
    raw, labels = whole(name)
    unscaled = everything(splits) * scale(splits, raw) + raw.mean(0)
    y = np.concatenate([part.y for part in parts(splits)])
    some = np.arange(0, len(y), 17)
    distance = np.linalg.norm(unscaled[some, None] - raw[None], axis=2)
    assert distance.min(1).max() < 1e-3
    assert np.array_equal(labels[distance.argmin(1)], y[some])


@every_dataset
@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 1000), noise=st.floats(0, 1))
def test_validation_and_test_depend_on_neither_size_nor_noise(name, size, noise):
    full, other = splits_of(name), splits_of(name, train_size=size, label_noise=noise)
    for part in ("validation", "test"):
        assert np.array_equal(getattr(full, part).x, getattr(other, part).x)
        assert np.array_equal(getattr(full, part).y, getattr(other, part).y)


@every_dataset
@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 1000), noise=st.floats(0, 1))
def test_a_smaller_training_set_is_the_beginning_of_a_larger_one(name, size, noise):
    full, fewer = splits_of(name, label_noise=noise), splits_of(name, train_size=size, label_noise=noise)
    assert len(fewer.train.y) == size
    assert np.array_equal(fewer.train.x, full.train.x[:size])
    assert np.array_equal(fewer.train.y, full.train.y[:size])


@every_dataset
@pytest.mark.parametrize("noise", [0.0, 0.001, 0.2, 0.4, 1.0])
def test_exactly_the_asked_share_of_training_labels_is_wrong(name, noise):
    clean, noisy = splits_of(name).train, splits_of(name, label_noise=noise).train
    assert (clean.y != noisy.y).sum() == round(1000 * noise)
    assert np.array_equal(clean.x, noisy.x)


@every_dataset
def test_more_noise_keeps_the_wrong_labels_of_less(name):
    clean, some, more = (splits_of(name, label_noise=noise).train.y for noise in (0, 0.2, 0.4))
    wrong = some != clean
    assert np.array_equal(more[wrong], some[wrong])


@every_dataset
def test_wrong_labels_are_spread_over_all_other_classes(name):
    clean, wrong = splits_of(name).train.y, splits_of(name, label_noise=1).train.y
    ahead = np.bincount((wrong - clean) % 10, minlength=10)
    assert ahead[0] == 0
    # 1,000 draws over nine classes: 111 ± 10 each; five deviations either side.
    assert (np.abs(ahead[1:] - 1000 / 9) < 50).all()


@every_dataset
def test_features_are_centred_and_share_one_scale(name):
    x = splits_of(name).train.x.astype(np.float64)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.sqrt((x**2).mean()), 1, atol=1e-6)
    raw, _ = whole(name)
    varying = raw.std(0) > 0
    np.testing.assert_allclose(
        (raw.std(0) / scale(splits_of(name), raw))[varying], everything(splits_of(name)).std(0)[varying], rtol=1e-5
    )


@every_dataset
def test_another_split_seed_is_another_split(name):
    assert digest(splits_of(name)) != digest(splits_of(name, split_seed=1))
    # Streams stay apart above 32 bits, where naive seeding would let (seed, stream) pairs meet.
    assert digest(splits_of(name, split_seed=5)) != digest(splits_of(name, split_seed=2**32 + 5))


@every_dataset
def test_loaded_arrays_cannot_be_written(name):
    for part in parts(splits_of(name)):
        with pytest.raises(ValueError, match="read-only"):
            part.x[0, 0] = 1
        with pytest.raises(ValueError, match="read-only"):
            part.y[0] = 1


@every_dataset
def test_loading_leaves_the_global_random_generators_alone(name):
    legacy, plain = np.random.get_state(legacy=False), random.getstate()
    splits_of(name, split_seed=77, label_noise=0.3)
    after = np.random.get_state(legacy=False)
    assert np.array_equal(after["state"].pop("key"), legacy["state"].pop("key"))
    assert after == legacy
    assert random.getstate() == plain


GOLDEN = {
    "digits": "aeb1a695c9be40372fa51f4d97fee6a48d3200cd7ce7af0668c55a46ea6d9b02",
    "mnist1d": "49de3a26aafbfcdc6cfbaf98e2de44b54d84713c9b07a5c6ecc12a0fbd46f4f1",
}


@every_dataset
def test_equal_configurations_give_equal_bits_for_ever(name):
    assert digest(splits_of(name, label_noise=0.4, split_seed=3)) == GOLDEN[name]


PRINT_BITS = """
import hashlib, sys
from thalweg.data import load_splits
from thalweg.data.mnist1d import mnist1d
from thalweg.data.schema import DATASETS
for name in ("digits", "mnist1d"):
    splits = load_splits(DATASETS[name](name=name, train_size=321, label_noise=0.4, split_seed=9))
    for part in (splits.train, splits.validation, splits.test):
        print(hashlib.sha256(part.x.tobytes() + part.y.tobytes()).hexdigest())
heavy = sorted({"torch", "sklearn", "scipy", "matplotlib"} & set(sys.modules))
assert not heavy, heavy
"""


def test_another_process_loads_the_same_bits_without_heavy_imports():
    here = [
        hashlib.sha256(part.x.tobytes() + part.y.tobytes()).hexdigest()
        for name in WHOLE
        for part in parts(splits_of(name, train_size=321, label_noise=0.4, split_seed=9))
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PRINT_BITS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == here
