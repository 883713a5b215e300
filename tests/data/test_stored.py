"""Examples that stay in files are those that an array in memory would have, and a file that fails is named."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg.data import files
from thalweg.data.arrays import split_arrays
from thalweg.data.check import declared
from thalweg.data.files import fingerprint_of
from thalweg.data.rows import ahead
from thalweg.data.schema import ArraysConfig
from thalweg.data.shards import shards_at
from thalweg.data.stored import stored
from thalweg.runner.base.errors import ConfigError

N = 60
rng = np.random.default_rng(0)
Y = rng.integers(0, 4, N)
FEATURES: dict[str, np.ndarray] = {
    "pictures": rng.integers(0, 256, (N, 3, 2, 2)).astype(np.uint8),
    "floats": rng.normal(size=(N, 5)).astype(np.float32),
    "doubles of another order": rng.normal(size=(N, 5)).astype(">f8"),
    "halves": rng.normal(size=(N, 2, 2)).astype(np.float16),
    "integers": rng.integers(-9, 9, (N, 5)).astype(np.int16),
}


def config(x: Path, y: Path, **more: object) -> ArraysConfig:
    shares: dict[str, Any] = {"validation": 0.2, "test": 0.2, "train_size": None, "label_noise": 0.0, "split_seed": 0}
    said: dict[str, Any] = {
        "name": "arrays",
        "x": str(x),
        "y": str(y),
        "kind": "classes",
        "augment": (),
        "fingerprint": None,
    }
    return ArraysConfig(**{**said, **shares, **more})


def written(folder: Path, x: np.ndarray, shards: int = 0) -> ArraysConfig:
    np.save(folder / "y.npy", Y)
    if not shards:
        np.save(folder / "x.npy", x)
        return config(folder / "x.npy", folder / "y.npy")
    (folder / "xs").mkdir()
    for number, part in enumerate(np.array_split(x, shards)):
        np.save(folder / "xs" / f"part{number}.npy", part)
    return config(folder / "xs", folder / "y.npy")


@pytest.mark.parametrize("shards", [0, 12])
@pytest.mark.parametrize("case", FEATURES)
def test_splits_are_those_of_arrays_in_memory_to_the_bit(tmp_path, case, shards) -> None:
    found = stored(written(tmp_path, FEATURES[case], shards))
    wanted = split_arrays(
        FEATURES[case], Y, kind="classes", shares=(0.2, 0.2), train_size=None, label_noise=0.0, split_seed=0
    )
    assert (found.features, found.outputs) == (wanted.features, wanted.outputs)
    for name in ("train", "validation", "test"):
        one, other = getattr(found, name), getattr(wanted, name)
        rows = np.arange(len(one.x))[::-1]
        assert one.x.shape == other.x.shape
        assert one.x.read(rows).dtype == one.x.dtype == np.float32
        assert np.array_equal(one.x.read(rows), other.x[rows])
        assert np.array_equal(one.y, other.y)


def test_rows_of_any_shape_are_read(tmp_path) -> None:
    rows = stored(written(tmp_path, FEATURES["floats"], 7)).train.x
    asked = np.array([[3, 3, 0], [9, 1, 30]])
    assert np.array_equal(rows.read(asked), np.stack([rows.read(each) for each in asked]))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no shards": (lambda at: list(map(Path.unlink, (at / "xs").iterdir())), "xs has no .npy files"),
    "a gap": (lambda at: (at / "xs" / "part3.npy").unlink(), "part3.npy is missing: .* has shards 2 and 4"),
    "the last is gone": (lambda at: (at / "xs" / "part5.npy").unlink(), "xs has 50 rows in 5 shards, .*y.npy 60 in 1"),
    "torn": (lambda at: os.truncate(at / "xs" / "part1.npy", 200), r"part1.npy is not whole: its head says \[10, 5\]"),
    "too long": (lambda at: (at / "xs" / "part1.npy").open("ab").write(b"a"), "part1.npy is not whole"),
    "no array": (lambda at: (at / "xs" / "part2.npy").write_bytes(b"hello"), "part2.npy is not a .npy file"),
    "empty": (lambda at: (at / "xs" / "part2.npy").write_bytes(b""), "part2.npy is not a .npy file"),
    "objects": (lambda at: np.save(at / "xs" / "part2.npy", np.array([{}, {}])), "part2.npy holds object"),
    "other rows": (lambda at: np.save(at / "xs" / "part2.npy", np.ones((10, 6), "f4")), "part2.npy has rows of"),
    "other numbers": (lambda at: np.save(at / "xs" / "part2.npy", np.ones((10, 5))), "part2.npy has rows of float64"),
    "columns first": (lambda at: np.save(at / "xs" / "part2.npy", np.ones((5, 10), "f4").T), "in Fortran's order"),
    "targets cut": (lambda at: np.save(at / "y.npy", Y[:-1]), "xs has 60 rows in 6 shards, .*y.npy 59 in 1"),
    "half a target": (lambda at: np.save(at / "y.npy", Y + 0.5), "y holds .* expected classes"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_file_that_cannot_be_trained_on_is_named_when_it_is_declared(tmp_path, case) -> None:
    spoil, said = FAULTS[case]
    asked = written(tmp_path, FEATURES["floats"], 6)
    spoil(tmp_path)
    with pytest.raises(ConfigError, match=said):
        declared(asked)


def test_as_many_shards_of_other_sizes_are_refused(tmp_path) -> None:
    asked = written(tmp_path, FEATURES["floats"], 2)
    (tmp_path / "ys").mkdir()
    for number, part in enumerate((Y[:20], Y[20:])):
        np.save(tmp_path / "ys" / f"{number}.npy", part)
    with pytest.raises(ConfigError, match=r"part0.npy has 30 rows, .*0.npy has 20"):
        stored(config(Path(asked.x), tmp_path / "ys"))


LATER: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda file: file.unlink(), "x.npy cannot be read any more: No such file"),
    "cut off": (lambda file: os.truncate(file, 300), "x.npy has changed"),
    "written over": (lambda file: np.save(file, FEATURES["floats"]), "x.npy has changed"),
    "another in its place": (lambda file: replaced(file), "x.npy has changed"),
    "a folder": (lambda file: os.mkdir(file.rename(file.with_name("z")).with_name("x.npy")), "it is a folder"),
}


def replaced(file: Path) -> None:
    other = file.with_name("z.npy")
    np.save(other, np.ones((N, 5), "f4"))
    other.replace(file)


@pytest.mark.parametrize("case", LATER)
def test_a_file_that_changes_in_mid_training_is_named(tmp_path, case) -> None:
    spoil, said = LATER[case]
    rows = stored(written(tmp_path, FEATURES["floats"])).train.x
    file = tmp_path / "x.npy"
    os.utime(file, ns=(1, file.stat().st_mtime_ns))
    rows.read(np.arange(4))
    spoil(file)
    with pytest.raises(ConfigError, match=said):
        rows.read(np.arange(20))


def test_a_backup_that_links_a_file_does_not_change_it(tmp_path) -> None:
    rows = stored(written(tmp_path, FEATURES["floats"])).train.x
    os.link(tmp_path / "x.npy", tmp_path / "backup.npy")
    (tmp_path / "x.npy").chmod(0o444)
    rows.read(np.arange(4))


@pytest.mark.parametrize("shards", [0, 12])
def test_a_number_that_is_none_is_named_with_its_file_and_row(tmp_path, shards) -> None:
    x = FEATURES["floats"].copy()
    x[37, 2] = np.nan
    place = r"part7.npy, row 2," if shards else r"x.npy, row 37,"
    splits = stored(written(tmp_path, x, shards))
    with pytest.raises(ConfigError, match=place + " counted from 0, holds NaN or infinity"):
        _ = [part.x.read(np.arange(len(part.x))) for part in (splits.train, splits.validation, splits.test)]


def test_shards_follow_each_other_by_number(tmp_path) -> None:
    written(tmp_path, FEATURES["floats"], 12)
    assert [each.path.stem for each in shards_at(tmp_path / "xs").shards] == [f"part{n}" for n in range(12)]


@pytest.fixture
def reads(tmp_path, monkeypatch) -> list[Path]:
    """The files whose content is hashed; all are large and old enough to be remembered."""
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(files, "SETTLED", -(10**12))
    read: list[Path] = []

    def content(file: Path, version: tuple[int, ...]) -> str:
        read.append(file)
        return str(hashed(file, version))

    hashed = files.content.__wrapped__
    monkeypatch.setattr(files, "content", content)
    return read


def test_a_file_is_hashed_once_for_all_processes_until_it_changes(tmp_path, reads) -> None:
    asked = written(tmp_path, FEATURES["floats"], 3)
    first = fingerprint_of(asked)
    assert len(reads) == 4
    assert [fingerprint_of(asked) for _ in range(2)] == [first, first]
    assert len(reads) == 4
    shard, times = tmp_path / "xs" / "part1.npy", (tmp_path / "xs" / "part1.npy").stat()
    x = np.load(shard)
    x[0, 0] += 1
    np.save(shard, x)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time: the time of change is other
    assert fingerprint_of(asked) != first
    assert len(reads) == 7


def test_a_file_that_was_just_written_is_hashed_each_time(tmp_path, reads, monkeypatch) -> None:
    monkeypatch.setattr(files, "SETTLED", 3600 * 10**9)
    asked = written(tmp_path, FEATURES["floats"])
    fingerprint_of(asked), fingerprint_of(asked)
    assert len(reads) == 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("spoil", [lambda place: place.write_text("ab"), lambda place: place.write_bytes(b"\xff\xfe")])
def test_what_is_remembered_and_cut_off_is_found_out_again(tmp_path, reads, spoil) -> None:
    asked = written(tmp_path, FEATURES["floats"])
    first = fingerprint_of(asked)
    for place in (tmp_path / "cache" / "remembered").iterdir():
        spoil(place)
    assert fingerprint_of(asked) == first
    assert len(reads) == 4


def test_names_of_single_files_do_not_count_and_which_is_which_does(tmp_path) -> None:
    asked = written(tmp_path, FEATURES["floats"])
    (tmp_path / "x.npy").rename(tmp_path / "z.npy")
    moved = config(tmp_path / "z.npy", tmp_path / "y.npy")
    turned = config(tmp_path / "y.npy", tmp_path / "z.npy")
    assert fingerprint_of(moved) != fingerprint_of(turned)
    (tmp_path / "z.npy").rename(tmp_path / "x.npy")
    assert fingerprint_of(moved.__class__(**{**vars(moved), "x": asked.x})) == fingerprint_of(asked)


def test_reading_ahead_keeps_order_and_does_not_run_away() -> None:
    begun, lock = [], threading.Lock()

    def read(n: int) -> int:
        with lock:
            begun.append(n)
        return n * n

    found = ahead(read, range(100), at_once=3)
    assert [next(found) for _ in range(10)] == [n * n for n in range(10)]
    assert max(begun) <= 9 + 4
    found.close()


@pytest.mark.long
def test_one_thread_reads_while_it_is_in_time_and_others_help_where_it_is_late() -> None:
    by = dict[int, int]()

    def read(n: int) -> int:
        by[n] = threading.get_ident()
        if n >= 40:  # slower than whoever trains
            time.sleep(0.02)
        return n

    found = ahead(read, range(60), at_once=3)
    for n in range(20):
        assert next(found) == n
        while n + 3 not in by:  # whoever trains is slower
            time.sleep(0.001)
        time.sleep(0.005)
    assert len({by[n] for n in range(10, 20)}) == 1
    assert list(found) == list(range(20, 60))
    assert len({by[n] for n in range(40, 60)}) > 1


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_numbers_whose_sum_is_too_large_are_numbers(tmp_path, value) -> None:
    x = np.full((N, 5), value, np.float32)
    assert (stored(written(tmp_path, x)).train.x.read(np.arange(4)) == np.float32(value)).all()


def test_what_a_reader_raises_reaches_who_asks() -> None:
    def read(n: int) -> int:
        if n == 5:
            raise ConfigError("file 5 is torn")
        return n

    found = ahead(read, range(10))
    assert [next(found) for _ in range(5)] == list(range(5))
    with pytest.raises(ConfigError, match="file 5 is torn"):
        next(found)
