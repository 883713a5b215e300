"""A sweep beside which runs are written and sent: a server that is as much of W&B as that needs counts them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_tracker import KEY, Server, history, loaded, read_run, run_files, server  # noqa: F401

from thalweg.runner.cli.export import export_trials
from thalweg.runner.store import Store
from thalweg.runner.study.settings import TrackerSettings
from thalweg.runner.tracker.analysis import analysis_id

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="NOT RUN: wandb is not installed")
ROOT = Path(__file__).parents[3]
WORDS = ("optimizer=sgd", "optimizer.lr=1/64..1:x4", "seed=0,1", "study.name=mine", "budget.steps=60")
SETTINGS = TrackerSettings(name="wandb", project="thalweg", entity=None, history_points=None, tags=())


def thalweg(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT / "src"), **variables}
    command = [sys.executable, "-P", "-m", "thalweg", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out + err


def trained(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "results" / "thalweg.sqlite") as db:
        return [found for (found,) in db.execute("SELECT id FROM trials WHERE outcome IS NOT NULL")]


@pytest.mark.long
def test_online_each_trial_is_one_run_there_after_the_sweep_and_two_syncs(tmp_path, server):  # noqa: F811
    said(thalweg(tmp_path, "sweep", *WORDS, WANDB_MODE="online"))
    assert "9 uploaded" in said(thalweg(tmp_path, "sync", WANDB_MODE="online"))
    begun = len(server.uploads)  # what the sweep's last seconds cut off was begun again, under its id
    assert "9 uploaded" in said(thalweg(tmp_path, "sync", WANDB_MODE="online"))
    assert len(server.uploads) == begun
    ids = {trial[:16] for trial in trained(tmp_path)}
    assert len(ids) == 8
    assert set(server.uploads) == {*ids, analysis_id("mine")[:16]}
    assert {len(server.streams[each]) for each in ids} == {61}


@pytest.mark.long
def test_a_sweep_killed_in_training_leaves_what_sync_makes_whole(tmp_path):
    process = thalweg(tmp_path, "sweep", *WORDS, "budget.steps=2000", "engine=loop", "engine.width=1", "tracker=wandb")
    store = tmp_path / "results" / "thalweg.sqlite"
    end = time.monotonic() + 100
    while not (store.exists() and len(trained(tmp_path)) >= 1):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said(thalweg(tmp_path, "sync"))
    runs = {run["run"]["run_id"]: run for run in map(read_run, run_files(tmp_path / "results"))}
    with Store.open(store) as opened:
        trials = export_trials(opened, None, SETTINGS)
        assert {trial.trial_id for trial in trials} == set(trained(tmp_path))
        assert set(runs) - {analysis_id("mine")[:16]} == {trial.trial_id[:16] for trial in trials}
        for trial in trials:
            assert runs[trial.trial_id[:16]]["history"] == history(loaded(trial), None)
