"""Examples in files train to the bits of those in memory, in little memory, and a file that fails is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.data import stored
from thalweg.data.arrays import features_of
from thalweg.data.load import load_splits
from thalweg.data.rows import Rows
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.tabled import TabledSteps

N = 300


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, object]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, N)
    np.save(tmp_path / "x.npy", (rng.integers(0, 200, (N, 6)) + 10 * y[:, None]).astype(np.uint8))
    np.save(tmp_path / "y.npy", y)
    load_splits.cache_clear()
    shares = {"validation": 0.2, "test": 0.2, "train_size": None, "label_noise": 0.1, "split_seed": 0}
    files = {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy"), "fingerprint": None}
    return {"name": "arrays", "kind": "classes", "augment": (), **files, **shares}


@pytest.fixture
def in_memory(monkeypatch):
    """Call to have the same examples in an array from now on."""

    def held() -> None:
        load_splits.cache_clear()
        monkeypatch.setattr(stored, "rows_of", lambda shards: features_of(shards.whole(), "classes"))

    return held


@pytest.mark.long
@pytest.mark.parametrize(("executor", "layout"), [("loop", "shared"), ("vmap", "each"), ("traced", "shared")])
@pytest.mark.parametrize("augment", [(), ("mixup",)])
def test_weights_and_metrics_are_those_of_examples_in_memory(
    grid_of, train_all, arrays, in_memory, executor, layout, augment
) -> None:
    trials = grid_of(3, steps=60, dataset=arrays | {"augment": augment})
    assert isinstance(prepared(trials[0].config, torch.device("cpu")).splits["train"].x, Rows)
    streamed = train_all(trials, executor, layout)
    in_memory()
    assert isinstance(prepared(trials[0].config, torch.device("cpu")).splits["train"].x, torch.Tensor)
    for one, other in zip(streamed, train_all(trials, executor, layout), strict=True):
        assert (one.weight_hash, one.metrics) == (other.weight_hash, other.metrics)
        assert np.array_equal(one.series["train/batch_loss"].values, other.series["train/batch_loss"].values)


def test_a_step_that_finds_its_inputs_is_given_them_from_files(grid_of, arrays, in_memory) -> None:
    trials = grid_of(2, steps=60, dataset=arrays)

    def losses() -> torch.Tensor:
        workload = prepared(trials[0].config, torch.device("cpu"))
        state, block = workload.start(trials), Inputs(trials, "shared", workload).block(0, 60, np.arange(2))
        steps = TabledSteps(workload, state, block)
        return steps.advance(state, block, steps.take)

    streamed = losses()
    in_memory()
    assert torch.equal(streamed, losses())


def test_batches_that_all_lanes_share_are_read_once(grid_of, train_all, arrays, monkeypatch) -> None:
    read: list[int] = []
    plain = Rows.read

    def counted(self: Rows, rows: np.ndarray) -> np.ndarray:
        read.append(rows.size)
        return plain(self, rows)

    monkeypatch.setattr(Rows, "read", counted)
    train_all(grid_of(1, steps=50, dataset=arrays), "vmap", "shared", 1)
    alone = sum(read)
    read.clear()
    train_all(grid_of(5, steps=50, dataset=arrays), "vmap", "shared", 1)
    assert sum(read) == alone


def test_a_file_that_is_cut_off_in_mid_training_is_one_sentence(trial_of, arrays) -> None:
    trial = trial_of(steps=200, dataset=arrays)
    workload = prepared(trial.config, torch.device("cpu"))
    ticks = []

    def tick(steps: int, diverged: int) -> None:
        ticks.append(steps)
        if len(ticks) == 2:
            os.truncate(str(arrays["x"]), 500)

    with pytest.raises(ConfigError, match=r"x.npy has changed since the trial began to read it"):
        train(Cohort((trial,), "loop", "shared", 1), workload, tick)


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from conftest import grid, prepare, run
from thalweg.data import stored
from thalweg.data.arrays import features_of
from thalweg.data.load import load_splits

prepare()
folder, spare = sys.argv[2], 2**20 * int(sys.argv[3])
arrays = dict(name="arrays", x=folder + "/x.npy", y=folder + "/y.npy", kind="classes", train_size=9000, augment=(),
              validation=0.02, test=0.02, label_noise=0.0, split_seed=0, fingerprint=None)
run(grid(2, steps=6, batch_size=8))  # what torch takes by itself
taken = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData")][0]
resource.setrlimit(resource.RLIMIT_DATA, (taken + spare, taken + spare))
trials = grid(2, steps=40, batch_size=8, dataset=arrays)
print([each.outcome.value for each in run(trials)])
stored.rows_of = lambda shards: features_of(shards.whole(), "classes")
load_splits.cache_clear()
try:
    run(trials)
except MemoryError as error:
    print(type(error).__mro__[1].__name__)
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of this kind are Linux's")
def test_examples_ten_times_the_memory_allowed_are_trained_on(tmp_path) -> None:
    """And the limit holds: the same examples in memory break it."""
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (200_000, 4096))  # 820 MB that take no disk
    x[::200, :8] = 200
    x.flush()
    np.save(tmp_path / "y.npy", np.arange(200_000) % 4)
    words = [str(Path(__file__).parent), str(tmp_path), "78"]
    environ = {**os.environ, "THALWEG_DATA": str(tmp_path / "cache")}
    ended = subprocess.run(
        [sys.executable, "-P", "-c", LIMITED, *words], capture_output=True, text=True, timeout=300, env=environ
    )
    assert ended.stdout == "['finished', 'finished']\nMemoryError\n", ended.stderr
