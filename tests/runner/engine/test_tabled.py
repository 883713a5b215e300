"""Steps that read tables by a counter on the device are the steps of `vmap`, to the bit. A CUDA graph repeats them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from thalweg.models.schema import CNNConfig
from thalweg.runner.engine.executors import run_vmap
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.tabled import LONGEST, TabledSteps
from thalweg.runner.study.trial import Trial

AUGMENTED = {"name": "digits", "train_size": 200, "label_noise": 0.0, "split_seed": 0, "augment": ("crop", "mixup")}
CASES: dict[str, dict] = {
    "adamw": {"optimizer": "adamw"},
    "sgd": {"optimizer": "sgd", "warmup": 0},
    "muon": {"optimizer": "muon", "rule": {"decay_on": "all"}},
    "sam, clip, smoothing": {
        "sam": {"name": "standard", "rho": 0.1},
        "clip": {"name": "norm", "limit": 0.5},
        "task": {"loss": "auto", "label_smoothing": 0.1},
    },
    "augmented": {"dataset": AUGMENTED},
}


@pytest.fixture
def case(grid_of, trial_of):
    def made(steps: int = 12, lanes: int = 3, **parts):
        dying = trial_of(1e30, warmup=0, steps=steps, **{k: v for k, v in parts.items() if k != "warmup"})
        trials = [*grid_of(lanes, steps=steps, **parts), dying]
        return prepared(trials[0].config, torch.device("cpu")), trials

    return made


def both(cohort, spans, layout="shared"):
    """(losses, tensors) after the spans, by vmap and by one set of tables. cohort: a workload, and its trials."""
    workload, trials = cohort
    lanes, inputs = np.arange(len(trials)), Inputs(trials, layout, workload)
    blocks = [inputs.block(start, stop, lanes) for start, stop in spans]
    plain, state = workload.start(trials), workload.start(trials)
    tabled = TabledSteps(workload, state, blocks[0])
    tabled.take()  # as before a capture: what it leaves must not matter
    expected = torch.cat([run_vmap(workload, plain, block) for block in blocks])
    found = torch.cat([tabled.advance(state, block, tabled.take) for block in blocks])
    assert int(tabled.at[1]) == spans[-1][1]  # which step a death is noted at
    return (expected, plain.tensors()), (found, state.tensors())


def assert_same(one, other) -> None:
    for tensor, like in zip((one[0], *one[1].values()), (other[0], *other[1].values()), strict=True):
        assert torch.equal(tensor.nan_to_num(7), like.nan_to_num(7))


@pytest.mark.long
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
@pytest.mark.parametrize("name", CASES)
def test_tabled_steps_are_those_of_vmap(case, name, layout) -> None:
    assert_same(*both(case(**CASES[name]), [(0, 5), (5, 12)], layout))


def test_buffers_of_tabled_steps_are_those_of_vmap(grid_of) -> None:
    model = CNNConfig(name="cnn", widths=(4, 4), norm="batch", dropout=0.0, init_gain=1.0)
    trials = [Trial(replace(each.config, model=model)) for each in grid_of(3, steps=12, optimizer="adamw")]
    workload = prepared(trials[0].config, torch.device("cpu"))
    assert "buffer/" in str([*workload.start(trials).tensors()])
    assert_same(*both((workload, trials), [(0, 5), (5, 12)]))


@pytest.mark.long
@pytest.mark.parametrize("steps", [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST + 3])
def test_a_block_longer_than_the_tables_is_taken_in_parts(case, steps) -> None:
    assert_same(*both(case(steps=steps, optimizer="adamw"), [(0, steps)]))


def test_blocks_of_other_lengths_go_on_where_the_last_one_ended(case) -> None:
    spans = [(0, 7), (7, 8), (8, 40), (40, 41), (41, 60)]
    assert_same(*both(case(steps=60, optimizer="adamw"), spans))


def test_another_cohort_finds_nothing_of_the_one_before(case) -> None:
    workload, trials = case(optimizer="adamw", lanes=2)
    inputs = Inputs(trials, "shared", workload)
    block = inputs.block(0, 12, np.arange(3))
    tabled = TabledSteps(workload, workload.start(trials), block)
    runs = []
    for _ in range(2):
        state = workload.start(trials)
        runs.append((tabled.advance(state, block, tabled.take), state.tensors()))
    assert_same(*runs)
