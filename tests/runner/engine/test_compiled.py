"""The compiled step is the loop's to rounding, and a trial's bits in it are its own.

Compiling takes 6 to 20 s, so what is not slow shares one program of six lanes.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.seating import seats
from thalweg.runner.engine.workload import Workload

pytestmark = pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
CPU = torch.device("cpu")
MADE = {"optimizer": "adamw", "steps": 60}


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def hashes_of(observations) -> list[str]:
    return [each.weight_hash for each in observations]


@pytest.fixture(scope="module")
def workload(grid_of) -> Workload:
    return prepared(grid_of(1, **MADE)[0].config, CPU)


@pytest.fixture(scope="module")
def compiled(workload):
    def run(trials, **more):
        return train(Cohort(tuple(trials), "compiled", "shared", 2), workload, **more)

    return run


@pytest.fixture(scope="module")
def six(grid_of, compiled):
    return compiled(grid_of(6, **MADE))


@pytest.mark.long
def test_compiled_losses_are_the_loops(six, grid_of, train_all) -> None:
    np.testing.assert_allclose(losses_of(six)[:, :50], losses_of(train_all(grid_of(6, **MADE), "loop"))[:, :50], 1e-4)


@pytest.mark.long
def test_no_bit_depends_on_place_or_neighbours_and_nothing_is_compiled_twice(
    six, grid_of, compiled, workload, trial_of
) -> None:
    trials = grid_of(6, **MADE)
    assert hashes_of(compiled(trials[::-1])) == hashes_of(six)[::-1]
    assert hashes_of(compiled(trials[1:5])) == hashes_of(six)[1:5]
    dying = trial_of(1e30, warmup=0, **MADE)
    mixed = compiled([dying, *trials[:4], dying])
    assert [each.outcome for each in mixed] == ["diverged", *["finished"] * 4, "diverged"]
    assert hashes_of(mixed)[1:5] == hashes_of(six)[:4]
    assert workload.widths == [("compiled", 6)]


def test_a_lane_that_diverges_keeps_the_state_before(six, trial_of, compiled, train_all) -> None:
    dying = trial_of(30.0, warmup=0, rule={"beta1": 0.0}, **MADE)
    (fused,), (solo,) = compiled([dying] * 4)[:1], train_all([dying], "loop")
    assert (fused.outcome, fused.diverged_step) == (solo.outcome, solo.diverged_step)


def test_a_checkpoint_goes_on_to_the_same_bits(six, grid_of, compiled) -> None:
    taken: list[Checkpoint] = []
    compiled(grid_of(6, **MADE), keeping=Keeping(lambda: True, taken.append))
    assert hashes_of(compiled(grid_of(6, **MADE), resume=taken[0])) == hashes_of(six)


def test_a_program_is_kept_until_half_its_lanes_are_dead(workload, six) -> None:
    assert six
    assert [seats(workload, "compiled", living, 6) for living in (6, 5, 4, 3)] == [6, 6, 6, 3]
    assert seats(workload, "compiled", 7, 0) == 7


@pytest.mark.slow
def test_compiled_in_float64_is_the_loop_and_free_of_the_width(grid_of, train_all) -> None:
    trials = grid_of(5, precision="float64", optimizer="adamw", steps=20)
    together = train_all(trials, "compiled")
    np.testing.assert_allclose(losses_of(together), losses_of(train_all(trials, "loop")), rtol=1e-10)
    for few in (trials[:2], trials[4:]):
        alone = train_all(few, "compiled")
        assert set(hashes_of(alone)) <= set(hashes_of(together))


@pytest.mark.slow
def test_compiled_sam_with_clipping_and_smoothing_is_the_loop(trial_of, train_all) -> None:
    parts = {"sam": {"name": "standard", "rho": 0.1}, "clip": {"name": "norm", "limit": 0.5}}
    trials = [
        trial_of(precision="float64", steps=20, task={"loss": "auto", "label_smoothing": by}, **parts)
        for by in (0.0, 0.2)
    ]
    np.testing.assert_allclose(
        losses_of(train_all(trials, "compiled")), losses_of(train_all(trials, "loop")), rtol=1e-10
    )
