"""Data of a user's function: the same arrays each time, or its trials fail with a sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_kept import as_in_a_worker, swept

from thalweg.runner.engine.own import _hash_of, own_data

__all__ = ["as_in_a_worker"]  # a fixture
CODE = """\
import numpy as np
from pathlib import Path

def rows(n=60, version=1):
    x = np.random.rand(n, 3)
    x[0] += float(Path(__file__).with_name("outside").read_text())  # a file that nothing names
    return x, (x.sum(1) > 1.5).astype(int)
"""
WORDS = ("dataset=target", "dataset._target_=givendata.rows", "dataset.kind=classes", "optimizer.lr=0.1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "givendata.py").write_text(CODE)
    (tmp_path / "thalweg.yaml").write_text("code: [givendata]")
    (tmp_path / "outside").write_text("0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outcomes(path: Path) -> list[tuple[str, str | None]]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT outcome, error FROM trials ORDER BY seq").fetchall()
    db.close()
    return found


def test_other_arrays_are_refused_and_the_same_are_not(folder: Path) -> None:
    path = folder / "s.sqlite"
    swept(path, *WORDS)
    own_data.cache_clear()  # as in another process
    swept(path, *WORDS, "seed=1")
    swept(path, *WORDS, "seed=1", "dataset.split_seed=5")
    assert [outcome for outcome, _ in outcomes(path)] == ["finished"] * 3
    (folder / "outside").write_text("1")
    own_data.cache_clear()
    swept(path, *WORDS, "seed=2..3")
    *_, (outcome, error) = outcomes(path)
    assert outcome == "failed"
    assert error
    assert "givendata.rows gives other arrays than when trials here trained" in error
    swept(path, *WORDS, "+dataset.version=2")  # which says that it is other data
    assert outcomes(path)[-1][0] == "finished"
    assert len([*(folder / "s.given").iterdir()]) == 2


def test_a_folder_that_cannot_be_written_refuses_nothing(folder: Path) -> None:
    (folder / "s.given").write_text("in the way")
    swept(folder / "s.sqlite", *WORDS)
    assert outcomes(folder / "s.sqlite")[-1][0] == "finished"


def test_the_hash_is_of_kinds_shapes_and_numbers() -> None:
    arrays: list[Any] = [
        np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((2, 3), np.float32), np.ones((2, 3)), np.zeros(()),
        np.zeros((0, 3)), np.array(["a", "b"]), np.array(["a", None], dtype=object), np.zeros((2, 3), bool),
        np.zeros(2, "M8[s]"),
    ]  # fmt: skip
    assert len({_hash_of([each]) for each in arrays}) == len(arrays)
    assert _hash_of([np.arange(6).reshape(2, 3).T]) == _hash_of([np.ascontiguousarray(np.arange(6).reshape(2, 3).T)])
