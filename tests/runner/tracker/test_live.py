"""Runs that are watched while they train: a server sees them grow, and then the whole run in the same place."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_tracker import (  # noqa: F401
    EVERY_STEP,
    export,
    history,
    loaded,
    make_trial,
    make_trials,
    no_wandb_variables,
    public,
    read_run,
    server,
    wait_until,
)

from thalweg.runner.facts.observation import Series
from thalweg.runner.tracker import live, surroundings
from thalweg.runner.tracker.history import BATCH_LOSS
from thalweg.runner.tracker.live import FOLDER, MOST, Growing, can_grow
from thalweg.runner.train.checkpoints import Shelf
from thalweg.runner.train.so_far import so_far

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="NOT RUN: wandb is not installed")
ONLINE = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40}


def until(trial, steps: int):
    """A trial as it is known after so many steps; measured after the last, whose loss is not known yet."""
    whole = trial.series()
    return replace(trial, series=lambda: {n: _cut(one, steps, n != BATCH_LOSS) for n, one in whole.items()})


def _cut(one: Series, steps: int, measured: bool) -> Series:
    kept = one.steps <= steps if measured else one.steps < steps
    return Series(one.steps[kept], one.values[kept])


def grown(folder: Path) -> list[tuple[int, dict[str, float]]]:
    (file,) = (folder / "wandb" / FOLDER).glob("*/*.wandb")
    return read_run(file)["history"]


def test_a_file_grows_by_the_steps_that_are_known_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_followed", lambda files: None)
    monkeypatch.setattr(Growing, "_follow", lambda self, ids: None)
    trial = make_trial(1, command="x" * 62_000)  # so that the file's second block ends among the steps
    growing = Growing(surroundings({}, EVERY_STEP, (), tmp_path))
    for steps in (0, 7, 15, 15, 31, 60):
        growing.tend([until(trial, steps)])
        expected = [row for row in history(loaded(until(trial, 60)), None) if row[0] < steps]
        assert grown(tmp_path) == expected
    about = read_run(next(tmp_path.rglob("*.wandb")))
    assert (about["run"]["tags"][0], about["exit"]) == ("training", None)
    growing.tend([])
    assert list(tmp_path.rglob("*.wandb")) == []


@pytest.mark.slow  # W&B sends what is added every 15 s
def test_a_server_sees_a_run_grow_and_then_the_whole_of_it_under_the_same_id(tmp_path, server):  # noqa: F811
    trial, other = make_trials(2)
    growing = Growing(surroundings(ONLINE, EVERY_STEP, (), tmp_path))
    seen = server.streams
    try:
        growing.tend([until(trial, 20)])
        wait_until(lambda: len(seen.get(trial.trial_id[:16], ())) == 20)
        growing.tend([until(trial, 40), until(other, 10)])
        wait_until(lambda: [len(seen.get(each.trial_id[:16], ())) for each in (trial, other)] == [40, 10])
    finally:
        growing.tend([])
    assert export([trial, other], tmp_path / "a.sqlite", EVERY_STEP, asked_to_upload=True).uploaded == 2
    assert set(server.uploads) == {trial.trial_id[:16], other.trial_id[:16]}
    assert {name: len(lines) for name, lines in seen.items()} == dict.fromkeys(server.uploads, 61)


@pytest.mark.parametrize(
    ("environ", "grows"),
    [
        (ONLINE, True),
        ({**ONLINE, "WANDB_MODE": "offline"}, False),
        ({"WANDB_MODE": "online"}, False),
        ({"WANDB_API_KEY": "0" * 40}, False),
    ],
)
def test_only_who_is_online_with_an_account_is_shown_anything(tmp_path, environ, grows):
    assert can_grow(surroundings(environ, EVERY_STEP, (), tmp_path), environ) is grows


def test_who_is_shown_stays_and_no_more_than_a_few_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Growing, "_follow", lambda self, ids: None)
    growing = Growing(surroundings({}, EVERY_STEP, (), tmp_path))
    many = [f"{number:064x}" for number in range(40)]
    assert growing.wanted(many) == many[:MOST]
    growing.tend([until(replace(make_trial(1), trial_id=many[-1]), 5)])
    assert growing.wanted(many)[0] == many[-1]
    assert len(growing.wanted(many)) == MOST


def test_what_is_known_so_far_is_that_of_the_newest_checkpoint(tmp_path):
    def saved(trials, step, lanes):
        count = len(trials)
        arrays = {
            "state/theta": np.zeros((count, 3)),
            "lane_of": np.array(lanes),
            "diverged_step": np.full(count, -1),
            "batch_loss": np.arange(step * count, dtype=float).reshape(step, count),
            "step/grad_norm": np.ones((step, count)),
            "val/loss": np.array([[9.0] * count, [8.0] * count]),
        }
        facts = {"trials": trials, "step": step, "evaluated": [0, step]}
        Shelf(tmp_path, {"trials": trials}, {}).save(arrays, facts)

    saved(["a", "b"], 4, [0, 1])
    saved(["a", "b"], 6, [1])  # the first died
    found = so_far(tmp_path, ["b", "unknown"])
    assert set(found) == {"b"}
    assert {name: (one.steps.tolist(), one.values.tolist()) for name, one in found["b"].items()} == {
        BATCH_LOSS: ([0, 1, 2, 3, 4, 5], [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]),
        "train/grad_norm": ([0, 1, 2, 3, 4, 5], [1.0] * 6),
        "val/loss": ([0, 6], [9.0, 8.0]),
    }
    assert so_far(tmp_path, ["a"]) == {}
    next(iter(tmp_path.glob("*-6-*"))).write_bytes(b"torn")
    assert so_far(tmp_path, ["b"])["b"]["val/loss"].steps.tolist() == [0, 4]
    assert so_far(tmp_path / "none", ["b"]) == {}
