"""A cohort goes on from a checkpoint to the bits of one that was never interrupted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from thalweg.runner.engine import cohort as module
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.workload import Workload


def kept(cohort: Cohort, workload: Workload) -> tuple[list, list[Checkpoint]]:
    """What a training observes that hands out every checkpoint it can, and the checkpoints."""
    taken: list[Checkpoint] = []
    return train(cohort, workload, keeping=Keeping(lambda: True, taken.append)), taken


def through_a_file(checkpoint: Checkpoint) -> Checkpoint:
    """What is left of a checkpoint after JSON and plain bytes."""
    arrays = {
        name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
        for name, array in checkpoint.arrays.items()
    }
    return Checkpoint(arrays, json.loads(json.dumps(checkpoint.facts)))


def same(one, other) -> bool:
    def plain(each):
        series = {name: (s.steps.tolist(), s.values.tolist()) for name, s in each.series.items()}
        return replace(each, seconds=0.0, series={}), str(series)  # as text: NaN equals NaN

    return [plain(each) for each in one] == [plain(each) for each in other]


@pytest.mark.long
@pytest.mark.parametrize(
    ("executor", "layout", "lag"),
    [  # each pair of two of them
        ("loop", "shared", 0),
        ("loop", "per_lane", 1),
        ("vmap", "shared", 1),
        ("vmap", "per_lane", 0),
        ("traced", "shared", 0),
        ("traced", "per_lane", 1),
    ],
)
def test_going_on_from_any_checkpoint_ends_with_the_same_observations(
    trial_of, grid_of, executor, layout, lag, monkeypatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 10)
    monkeypatch.setattr(module, "HALT", 3)
    monkeypatch.setattr(module, "LAG", {"cpu": lag})
    dying = [trial_of(rate, warmup=0, steps=100, optimizer="adamw") for rate in (1e30, 1e29)]
    trials = [dying[0], *grid_of(3, steps=100, optimizer="adamw"), dying[1]]
    workload, cohort = prepared(trials[0].config, torch.device("cpu")), Cohort(tuple(trials), executor, layout, 3)
    undisturbed = train(cohort, workload)
    assert undisturbed[0].outcome == "diverged"
    observed, taken = kept(cohort, workload)
    assert same(observed, undisturbed)
    assert len(taken) >= 4
    for checkpoint in taken:
        fresh = prepared(trials[0].config, torch.device("cpu"))
        assert same(train(cohort, fresh, resume=through_a_file(checkpoint)), undisturbed)


@pytest.mark.long
def test_work_is_ticked_once_before_and_once_after_a_checkpoint(grid_of, monkeypatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 10)
    trials = tuple(grid_of(3, steps=60))
    workload, cohort, before, after = prepared(trials[0].config, torch.device("cpu")), None, [], []
    cohort = Cohort(trials, "vmap", "shared", 2)
    _, taken = kept(cohort, workload)
    train(cohort, workload, lambda steps, dead: before.append(steps))
    train(cohort, workload, lambda steps, dead: after.append(steps), resume=taken[2])
    assert (sum(before), sum(after)) == (180, 180 - 3 * taken[2].facts["step"])


@pytest.mark.parametrize("change", ["trials", "executor", "layout", "format"])
def test_the_checkpoint_of_another_cohort_is_refused(grid_of, change) -> None:
    trials = tuple(grid_of(3, steps=60))
    workload, cohort = prepared(trials[0].config, torch.device("cpu")), Cohort(trials, "vmap", "shared", 2)
    _, taken = kept(cohort, workload)
    other = {
        "trials": Cohort(trials[::-1], "vmap", "shared", 2),
        "executor": Cohort(trials, "loop", "shared", 2),
        "layout": Cohort(trials, "vmap", "per_lane", 2),
        "format": cohort,
    }[change]
    facts = {**taken[0].facts, "format": 2 if change == "format" else taken[0].facts["format"]}
    with pytest.raises(ValueError, match=f"the checkpoint's {change} is"):
        train(other, workload, resume=Checkpoint(taken[0].arrays, facts))


def test_a_checkpoint_is_offered_only_when_it_is_due_and_holds_copies(grid_of, monkeypatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 10)
    trials = tuple(grid_of(2, steps=60))
    workload, cohort = prepared(trials[0].config, torch.device("cpu")), Cohort(trials, "vmap", "shared", 1)
    asked = iter([False, True, False, False, False])
    taken: list[tuple[Checkpoint, np.ndarray]] = []
    keeping = Keeping(lambda: next(asked), lambda one: taken.append((one, one.arrays["state/theta"].copy())))
    train(cohort, workload, keeping=keeping)
    ((checkpoint, theta),) = taken
    assert checkpoint.facts["step"] == 20
    assert np.array_equal(checkpoint.arrays["state/theta"], theta)
