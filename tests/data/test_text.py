"""Characters in, the same characters out; what a text may not be is said in one sentence."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from thalweg.data.files import forget, seen_at
from thalweg.data.load import load_splits
from thalweg.data.schema import DATASETS
from thalweg.runner.base.errors import ConfigError

SIZES = {"train_size": 20, "validation_size": 3, "test_size": 2}


def config(path, name="text", **options):
    where = {"path": str(path)} if name == "text" else {}
    fixed = {"context": 8, "characters": 40, "label_noise": 0.0, "split_seed": 0, "fingerprint": None}
    return DATASETS[name](name=name, **{**fixed, **SIZES, **where, **options})


@pytest.fixture
def folder(tmp_path):
    forget()
    for name, line in (("a", "the quick brown fox "), ("b", "jumps over it "), ("c", "ABCDEFGH ")):
        (tmp_path / f"{name}.txt").write_text(line * 30, encoding="utf-8")
    (tmp_path / ".hidden").write_text("~" * 10_000)
    return tmp_path


def test_each_character_is_followed_by_its_target(folder):
    splits = load_splits(config(folder))
    assert (splits.kind, splits.outputs, splits.features) == ("tokens", 40, (8,))
    parts = (splits.validation, splits.test, splits.train)
    assert [len(part.y) for part in parts] == [3, 2, 20]
    x, y = (np.concatenate([getattr(part, axis) for part in parts]).ravel() for axis in "xy")
    assert np.array_equal(x[1:], y[:-1])


def test_windows_hold_the_text_itself(tmp_path):
    text = "".join(chr(97 + (n * n) % 19) for n in range(300))
    (tmp_path / "one.txt").write_text(text)
    splits = load_splits(config(tmp_path / "one.txt"))
    x = np.concatenate([part.x for part in (splits.validation, splits.test, splits.train)]).ravel()
    pairs = set(zip(x.tolist(), text[: len(x)], strict=True))
    assert len(pairs) == len(set(text[: len(x)])) == len({number for number, _ in pairs})


def test_rare_characters_are_one(folder):
    (folder / "d.txt").write_text("ÄÖÜ")
    few = load_splits(config(folder, characters=5))
    used = np.unique(np.concatenate([few.train.x, few.train.y]))
    assert used.max() == 4
    assert few.train.x.dtype == np.uint8


@pytest.mark.parametrize("change", [{"train_size": 5}, {"label_noise": 0.5}])
def test_validation_and_test_depend_on_neither_size_nor_noise(folder, change):
    full, other = load_splits(config(folder)), load_splits(config(folder, **change))
    for part in ("validation", "test"):
        assert np.array_equal(getattr(full, part).y, getattr(other, part).y)
    count = len(other.train.y)
    assert np.array_equal(full.train.x[:count], other.train.x)
    if "label_noise" in change:
        assert 0.2 < (full.train.y != other.train.y).mean() < 0.8


def test_another_split_seed_is_another_order_of_files(folder):
    assert any(
        not np.array_equal(load_splits(config(folder, split_seed=seed)).train.x, load_splits(config(folder)).train.x)
        for seed in range(1, 9)
    )


def test_a_text_shorter_than_the_context_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("12345678")
    with pytest.raises(ConfigError, match=r"has 8 characters, no window of dataset.context=8 and one to predict"):
        load_splits(config(tmp_path / "short.txt"))


def test_a_text_with_too_few_windows_is_refused_with_both_numbers(folder):
    with pytest.raises(ConfigError, match=r"has \d+ windows of 8 characters; .* ask for 10,005"):
        load_splits(config(folder, train_size=10_000))


@pytest.mark.parametrize("content", ["a text".encode("utf-16"), "a text".encode("utf-32"), b"PK\x03\x04\x00\x00"])
def test_what_is_no_text_is_refused_by_name(folder, content):
    (folder / "b.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"b\.txt is not text in UTF-8: it holds a NUL"):
        load_splits(config(folder))


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.path is 'nowhere.txt'; nothing is there from"):
        load_splits(config("nowhere.txt"))


def test_a_fingerprint_is_of_names_and_bytes_and_nothing_else(folder):
    before = seen_at(str(folder)).fingerprint
    (folder / "a.txt").touch()
    (folder / ".hidden").write_text("other")
    forget()
    assert seen_at(str(folder)).fingerprint == before
    (folder / "a.txt").rename(folder / "aa.txt")  # still the first
    forget()
    renamed = seen_at(str(folder)).fingerprint
    (folder / "aa.txt").write_text("changed")
    forget()
    assert len({before, renamed, seen_at(str(folder)).fingerprint}) == 3


def test_files_that_changed_after_the_trial_was_declared_are_refused(folder):
    declared = config(folder, fingerprint=seen_at(str(folder)).fingerprint, train_size=7)
    assert len(load_splits(declared).train.y) == 7
    (folder / "a.txt").write_text("changed " * 100)  # between two cohorts of one worker
    load_splits.cache_clear()
    with pytest.raises(ConfigError, match="the files of dataset=text have changed"):
        load_splits(declared)


def test_the_standard_library_is_read_where_it_is_installed():
    splits = load_splits(config(None, "stdlib", context=64, characters=128, train_size=200))
    assert splits.train.x.shape == (200, 64)
    assert (splits.train.x > 0).mean() > 0.99  # nearly all of it is among the 127 most frequent characters
    assert "site-packages" not in str(sys.modules["thalweg.data.files"].stdlib_files()[1])
