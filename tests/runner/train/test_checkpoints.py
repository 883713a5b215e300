"""Checkpoint files: what is written is read back to the bit; what cannot be trusted is found before it is loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as save_file

from thalweg.runner.train.checkpoints import Shelf, held, tidy
from thalweg.runner.train.rungs import waiting

FACTS = {"trials": ["a" * 64, "b" * 64], "executor": "vmap", "layout": "shared", "evaluations": 3}
MADE_BY = {"thalweg": "0.1.0", "torch": "2.15.0", "device": "cpu x86_64"}
ARRAYS = {
    "state/theta": np.array([[1.5, np.nan], [-0.0, np.inf]], dtype=np.float32),
    "state/alive": np.array([True, False]),
    "batch_loss": np.full((3, 2), 0.1),
    "lane_of": np.arange(2),
}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "s.checkpoints", FACTS, MADE_BY)


def saved(shelf: Shelf, step: int, **arrays: np.ndarray) -> Path:
    return shelf.save(ARRAYS | arrays, {**FACTS, "step": step})


def read(shelf: Shelf) -> tuple[int | None, list[str]]:
    """The step of the newest checkpoint that is trusted, and what was said about others."""
    said: list[str] = []
    found = shelf.newest(said.append)
    return (None if found is None else found[1]["step"]), said


def test_what_was_saved_is_read_back_to_the_bit(shelf: Shelf) -> None:
    saved(shelf, 50)
    arrays, facts = shelf.newest(pytest.fail)
    assert facts == {**FACTS, "step": 50}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tobytes() == array.tobytes()


def test_the_newest_counts_and_the_one_before_is_kept(shelf: Shelf) -> None:
    for step in (50, 100, 1000):
        saved(shelf, step)
    assert read(shelf) == (1000, [])
    assert [path.name.split("-")[1] for path in shelf.files()] == ["1000", "100"]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [truncated, flipped, emptied])
def test_a_damaged_one_is_said_aloud_and_the_one_before_it_used(shelf: Shelf, spoil) -> None:
    saved(shelf, 50)
    spoil(saved(shelf, 100))
    step, said = read(shelf)
    assert step == 50
    assert len(said) == 1
    assert "do not have the hash in its name" in said[0]
    assert read(shelf) == (50, [])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A cohort's checkpoints at steps 50 and 100."""
    shelf = Shelf(tmp_path_factory.mktemp("two") / "s.checkpoints", FACTS, MADE_BY)
    saved(shelf, 50)
    saved(shelf, 100)
    return shelf


@settings(deadline=None)
@given(st.data())
def test_whatever_becomes_of_a_file_nobody_stumbles_over_it(two: Shelf, data: st.DataObject) -> None:
    """Bytes flipped, cut off, written over or put in, the header among them."""
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder) / "s.checkpoints", FACTS, MADE_BY)
        shutil.copytree(two.folder, shelf.folder)
        path = shelf.files()[0]
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole)) | st.integers(8, 400))
        put = data.draw(st.binary(max_size=4) | st.sampled_from([b"\xff" * 9, b'"', b"}", b"null", b"[" * 9]))
        spoilt = whole[:at] + put + whole[at + data.draw(st.sampled_from([0, 1, 4, len(whole)])) :]
        path.write_bytes(spoilt)
        for _, facts in held(shelf.folder):
            assert (type(facts["trials"]), type(facts["step"])) == (list, int)
        waiting(shelf.folder)
        assert read(shelf)[0] == (100 if spoilt == whole else 50)
        path.write_bytes(spoilt)
        tidy(shelf.folder, lambda trials: True)
        tidy(shelf.folder, lambda trials: False)
        assert not shelf.folder.exists()


@pytest.mark.parametrize("said", ["{}", "[]", "null", '{"trials": null, "step": 1}', '{"trials": [7], "step": 1}', "7"])
def test_a_foreign_file_under_a_checkpoints_name_is_none(shelf: Shelf, said: str) -> None:
    content = save_file(dict(ARRAYS), metadata={"facts": said, "made_by": "{}"})
    saved(shelf, 50)
    path = shelf.folder / f"{shelf.cohort}-100-{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    assert [facts["step"] for _, facts in held(shelf.folder)] == [50]
    assert read(shelf)[0] == 50


def test_a_folder_under_a_checkpoints_name_is_in_nobodys_way(shelf: Shelf) -> None:
    path = saved(shelf, 100)
    path.unlink()
    path.mkdir()
    saved(shelf, 50)
    assert read(shelf)[0] == 50
    assert [*held(shelf.folder)] != []
    shelf.clear()
    tidy(shelf.folder, lambda trials: False)
    assert [*shelf.folder.iterdir()] == [path]


@pytest.mark.parametrize("spoil", [truncated, flipped, emptied])
def test_when_all_are_damaged_training_starts_afresh(shelf: Shelf, spoil) -> None:
    spoil(saved(shelf, 50))
    assert read(shelf)[0] is None


def test_the_hash_is_compared_before_anything_is_parsed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped(saved(shelf, 50))
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("parsed"))
    assert read(shelf)[0] is None


def test_another_cohorts_checkpoint_under_this_ones_name_is_refused(shelf: Shelf) -> None:
    other = Shelf(shelf.folder, {**FACTS, "trials": ["c" * 64]}, MADE_BY)
    theirs = other.save(ARRAYS, {**other.facts, "step": 50})
    assert read(shelf) == (None, [])
    theirs.rename(theirs.with_name(theirs.name.replace(other.cohort, shelf.cohort)))
    step, said = read(shelf)
    assert step is None
    assert "its trials are another cohort's" in said[0]


@pytest.mark.parametrize("name", list(MADE_BY))
def test_one_made_by_other_versions_is_refused_naming_both(shelf: Shelf, name: str) -> None:
    Shelf(shelf.folder, FACTS, {**MADE_BY, name: "older"}).save(ARRAYS, {**FACTS, "step": 50})
    step, said = read(shelf)
    assert step is None
    assert f"{name} older, this is {MADE_BY[name]}" in said[0]


@pytest.mark.parametrize("name", list(FACTS))
def test_whatever_makes_the_cohort_makes_the_name(shelf: Shelf, name: str) -> None:
    assert Shelf(shelf.folder, {**FACTS, name: "other"}, MADE_BY).cohort != shelf.cohort


def test_a_disk_that_is_full_leaves_the_one_before(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(shelf, 50)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("thalweg.runner.base.whole.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            saved(shelf, 100)
    assert read(shelf) == (50, [])
    assert list(shelf.folder.glob("*.partial")) == []


def test_tidying_removes_what_is_done_and_what_is_half_written_and_nothing_else(shelf: Shelf) -> None:
    saved(shelf, 50)
    (shelf.folder / "x.partial").write_bytes(b"half")
    tidy(shelf.folder, lambda trials: "b" * 64 in trials)
    assert [path.suffix for path in shelf.folder.iterdir()] == [".safetensors"]
    tidy(shelf.folder, lambda trials: False)
    assert not shelf.folder.exists()


def test_tidying_leaves_a_folder_with_files_of_others(shelf: Shelf) -> None:
    emptied(saved(shelf, 50))
    (shelf.folder / "mine.txt").write_text("keep me")
    tidy(shelf.folder, lambda trials: True)
    assert [path.name for path in shelf.folder.iterdir()] == ["mine.txt"]
