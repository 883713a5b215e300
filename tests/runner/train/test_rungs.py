"""Trials that wait at a rung in files: survivors go on from them, and what is lost of them is trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from store_cases import make_trial

from thalweg.runner.facts.observation import Observations
from thalweg.runner.study.trial import Trial
from thalweg.runner.train import worker
from thalweg.runner.train.messages import Note, Stage, Train, Trained
from thalweg.runner.train.rungs import RUNG, Rungs, clear, rungs_of, waiting

STEPS = 40


def short(lr: float, seed: int = 0) -> Trial:
    config = make_trial(lr=lr, seed=seed).config
    budget, schedule = replace(config.budget, steps=STEPS), replace(config.schedule, warmup=4)
    return Trial(replace(config, budget=budget, schedule=schedule))


class Cohorts:
    """Cohorts of one worker, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        pipe = SimpleNamespace(send=lambda said: self.said.append(said.text) if isinstance(said, Note) else None)
        self.bench = worker.Bench(pipe, torch.device("cpu"))  # type: ignore[arg-type]

    def train(self, trials: tuple[Trial, ...], until: int | None) -> Trained:
        rungs = rungs_of(self.folder, dict.fromkeys((t.id for t in trials), until) if until else {}, ids(trials))
        work = Train("g", trials, "vmap", "per_lane", 4, stage=rungs.stage(trials))
        trained = self.bench.do(work)
        assert isinstance(trained, Trained)
        return trained


def ids(trials: Sequence[Trial]) -> list[str]:
    return [trial.id for trial in trials]


def bits(observations: tuple[Observations, ...]) -> list[tuple[str, str | None, list[float]]]:
    return [(each.trial_id, each.weight_hash, each.series["val/loss"].values.tolist()) for each in observations]


@pytest.fixture
def cohorts(tmp_path: Path) -> Cohorts:
    return Cohorts(tmp_path / "s.checkpoints")


@pytest.fixture
def trials() -> tuple[Trial, ...]:
    return tuple(short(0.01 * (n + 1)) for n in range(6))


def test_survivors_of_two_cohorts_go_on_together_to_the_bits_of_a_training_at_once(cohorts, trials) -> None:
    (whole,) = [cohorts.bench.do(Train("g", trials, "vmap", "per_lane", 4))]
    rung = STEPS // 4
    first, second = cohorts.train(trials[:3], rung), cohorts.train(trials[3:], rung)
    assert [each.trial_id for each in (*first.reached, *second.reached)] == ids(trials)
    assert first.observations == ()
    assert {step for step, _ in waiting(cohorts.folder).values()} == {rung}
    left = (trials[5], trials[0], trials[4])
    later = cohorts.train(left, 2 * rung)
    assert {each.step for each in later.reached} == {2 * rung}
    ended = cohorts.train(left[:2], None).observations
    assert bits(ended) == bits((whole.observations[5], whole.observations[0]))
    assert not cohorts.said


@pytest.mark.parametrize("harm", ["flip", "remove", "cut", "other torch"])
def test_who_was_in_a_file_that_is_not_what_it_was_begins_again_and_the_others_go_on(
    cohorts, trials, harm, monkeypatch
) -> None:
    whole = cohorts.bench.do(Train("g", trials, "vmap", "per_lane", 4))
    cohorts.train(trials[:3], STEPS // 4)
    cohorts.train(trials[3:], STEPS // 4)
    files = {trial: cohorts.folder / name for trial, (_, name) in waiting(cohorts.folder).items()}
    rungs = rungs_of(cohorts.folder, {}, ids(trials))
    path = files[trials[0].id]
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "remove":
        path.unlink()
    else:
        now = worker._versions() | {"torch": "9.9"}
        monkeypatch.setattr(worker, "_versions", lambda: now)
    stage = rungs.stage(trials)
    assert len(stage.files) == 2
    trained = cohorts.bench.do(Train("g", trials, "vmap", "per_lane", 4, stage=stage))
    found = {each[0]: each for each in bits(trained.observations)}
    assert found == {each[0]: each for each in bits(whole.observations)}
    assert len(cohorts.said) == (2 if harm == "other torch" else 1)


def test_a_damaged_file_leaves_every_other_trial_its_rung(cohorts, trials) -> None:
    cohorts.train(trials[:3], STEPS // 4)
    cohorts.train(trials[3:], STEPS // 4)
    steps = []
    cohorts.bench._ticker = lambda: lambda done, dead: steps.append(done)
    (path,) = {cohorts.folder / waiting(cohorts.folder)[trials[0].id][1]}
    stage = rungs_of(cohorts.folder, {}, ids(trials)).stage(trials)
    path.write_bytes(b"")
    cohorts.bench.do(Train("g", trials, "vmap", "per_lane", 4, stage=stage))
    assert sum(steps) == 3 * STEPS + 3 * (STEPS - STEPS // 4)


def test_a_cohort_out_of_its_files_pauses_at_once_where_it_is(cohorts, trials) -> None:
    cohorts.train(trials, STEPS // 2)
    trained = cohorts.train(trials[:2], STEPS // 4)
    assert {each.step for each in trained.reached} == {STEPS // 2}


def test_pools_hold_trials_of_the_same_way_alone(trials) -> None:
    a, b, c, d, *_ = trials
    rungs = Rungs("f", {a.id: 50, b.id: 50, d.id: 50}, {b.id: (25, "x"), d.id: (25, "y")})
    assert [ids(pool) for pool in rungs.pools(trials[:4])] == [[a.id], [b.id, d.id], [c.id]]
    assert rungs.stage((b, d)) == Stage("f", 50, ("x", "y"))
    assert [rungs.steps(each) for each in (a, b, c)] == [50, 25, STEPS]


def test_files_go_once_nobody_needs_them_and_a_cohorts_own_checkpoints_stay(cohorts, trials) -> None:
    cohorts.train(trials[:3], STEPS // 4)
    cohorts.train(trials[3:], STEPS // 4)
    cohorts.train(trials[:2], STEPS // 2)
    store = cohorts.folder.with_name("s.sqlite")
    own = next(cohorts.folder.iterdir()).read_bytes()
    assert own
    needed = {trials[0].id, trials[4].id}
    clear(store, lambda asked: bool(needed & set(asked)))
    assert {step for step, _ in waiting(cohorts.folder).values()} == {STEPS // 4, STEPS // 2}
    assert waiting(cohorts.folder).keys() == {*ids(trials[:2]), *ids(trials[3:])}
    clear(store, lambda asked: False)
    assert not cohorts.folder.exists()


@pytest.mark.parametrize("order", [1, -1])
def test_a_trial_waits_where_it_came_farthest_in_whatever_order_files_are(tmp_path, monkeypatch, order) -> None:
    files = [(Path(name), {"trials": ["one"], RUNG: step, "step": step}) for name, step in (("a", 8), ("b", 16))]
    monkeypatch.setattr("thalweg.runner.train.rungs.held", lambda folder: files[::order])
    assert waiting(tmp_path) == {"one": (16, "b")}


def test_a_folder_that_is_not_there_holds_nobody(tmp_path) -> None:
    assert waiting(tmp_path / "none") == {}
    clear(tmp_path / "none.sqlite", lambda asked: False)


def test_models_that_keep_more_than_tensors_say_so_and_begin_again(cohorts, trials, monkeypatch) -> None:
    whole = cohorts.bench.do(Train("g", trials[:2], "vmap", "per_lane", 4))
    monkeypatch.setattr("thalweg.runner.engine.cohort._Course._complete", False)
    reached = cohorts.train(trials[:2], STEPS // 4).reached
    assert len(reached) == 2
    assert any("keep more than tensors" in said for said in cohorts.said)
    monkeypatch.undo()
    assert bits(cohorts.train(trials[:2], None).observations) == bits(whole.observations)


def test_a_disk_that_takes_no_file_costs_time_and_no_bits(cohorts, trials, monkeypatch) -> None:
    def full(*of: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thalweg.runner.train.checkpoints.write_whole", full)
    assert len(cohorts.train(trials[:2], STEPS // 4).reached) == 2
    assert any("No space left" in said for said in cohorts.said)
