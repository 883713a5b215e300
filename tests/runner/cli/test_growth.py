"""The runs that grow while a study trains: those of its own trials that have a checkpoint and are not done."""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from thalweg.runner import page
from thalweg.runner.cli import growth
from thalweg.runner.cli.growth import Growth
from thalweg.runner.store import Store
from thalweg.runner.study.settings import TrackerSettings
from thalweg.runner.tracker.live import FOLDER, Growing
from thalweg.runner.train.checkpoints import Shelf, folder_of

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="NOT RUN: wandb is not installed")
SETTINGS = TrackerSettings(name="wandb", project="thalweg", entity=None, history_points=None, tags=())


def declared(store: Store, name: str, lr: str) -> list[str]:
    made = page.plan(page.declare(f"study.name={name}", f"optimizer.lr={lr}").study, store)
    page.record(made, store)
    return [member.trial.id for member in made.members]


def checkpoint(store: Path, trials: list[str], step: int) -> None:
    arrays = {
        "lane_of": np.arange(len(trials)),
        "batch_loss": np.ones((step, len(trials))),
        "val/loss": np.ones((1, len(trials))),
    }
    facts = {"trials": trials, "step": step, "evaluated": [0]}
    Shelf(folder_of(store), {"trials": trials}, {}).save(arrays, facts)


def shown(folder: Path) -> dict[str, int]:
    """Run id -> the size of its file."""
    files = (folder / "wandb" / FOLDER).glob("*/*.wandb")
    return {file.stem.removeprefix("run-"): file.stat().st_size for file in files}


def test_only_its_own_trials_that_are_not_done_grow_with_each_checkpoint(tmp_path, monkeypatch):
    for name, value in {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Growing, "_follow", lambda self, ids: None)
    path = tmp_path / "a.sqlite"
    with Store.open(path, mode="write") as store:
        mine, other = declared(store, "mine", "0.1,0.2"), declared(store, "other", "0.3")
    growing = Growth(path, "mine", SETTINGS, ())
    growing.look()
    assert shown(tmp_path) == {}
    checkpoint(path, [mine[0], *other], 5)
    growing.look()
    first = shown(tmp_path)
    assert set(first) == {mine[0][:16]}
    checkpoint(path, [mine[0], *other], 9)
    growing.look()
    assert shown(tmp_path)[mine[0][:16]] > first[mine[0][:16]]
    for file in folder_of(path).iterdir():  # its cohort is done
        file.unlink()
    growing.look()
    assert shown(tmp_path) == {}
    checkpoint(path, mine, 3)
    growing.look()
    assert set(shown(tmp_path)) == {trial[:16] for trial in mine}
    with sqlite3.connect(path) as db:  # done, and its checkpoint is not yet removed
        db.execute("UPDATE trials SET outcome = 'failed', ended = declared WHERE id = ?", (mine[1],))
    growing.look()
    assert set(shown(tmp_path)) == {mine[0][:16]}
    growth.clear(path, SETTINGS, ())
    assert not (tmp_path / "wandb" / FOLDER).exists()


def test_a_store_that_is_gone_is_no_matter(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    Growth(tmp_path / "nowhere" / "a.sqlite", "mine", SETTINGS, ()).look()
