"""Models as they are written for a GPU train there as in a plain torch loop, whoever executes the step."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from handed import handed_over
from torch.nn import functional

from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.generators import seed_all
from thalweg.runner.engine.loaded import loaded
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.streams import batch_indices, stream_key
from thalweg.runner.engine.workload import initialised
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial

pytestmark = [pytest.mark.gpu, pytest.mark.long]
STEPS = 12
WAITS = "Python waits there for the GPU"
DRAWS = "draws random numbers in its forward pass"
TABLE = {
    "MakesOnDevice": ("graphed", ""),
    "SendsTable": ("traced", WAITS),
    "SendsPinned": ("graphed", ""),
    "HoldsNumberOnHost": ("graphed", ""),
    "HoldsIndexOnHost": ("traced", WAITS),
    "MovesAtFirst": ("graphed", ""),
    "MakesMaskAtFirst": ("loop", "changes attributes of its own"),
    "CachesMask": ("graphed", ""),
    "BuiltThere": ("graphed", ""),
    "SeedsGenerator": ("traced", DRAWS),
    "DrawsThere": ("traced", DRAWS),
    "DrawsHere": ("traced", DRAWS),
    "AsksWhere": ("graphed", ""),
    "AsksWhetherCaptured": ("traced", "as a CUDA graph it would not be the same training"),
    "Waits": ("traced", WAITS),
    "ComputesOnHost": ("traced", WAITS),
    "WritesPinned": ("traced", "as a CUDA graph it would not be the same training"),
    "OwnStream": ("graphed", ""),
    "CountsOnHost": ("loop", "changes attributes of its own"),
    "BufferToHost": ("traced", WAITS),
    "BufferToHostByNumpy": ("loop", "acts on the numbers in its tensors"),
    "BufferStaysOnHost": ("graphed", ""),
}


@pytest.fixture(scope="module", autouse=True)
def _project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(Path(__file__).with_name("for_cuda.py"), folder)
    (folder / "thalweg.yaml").write_text("code: [for_cuda]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def trials_of(trial_of, name):
    target, more = ModelTarget(_target_=f"for_cuda.{name}", arguments=()), {"precision": "float64", "steps": STEPS}
    configs = [trial_of(lr, 0.05, optimizer="adamw", warmup=3, **more).config for lr in (0.003, 0.01, 0.03)]
    return tuple(Trial(replace(config, model=target)) for config in configs)


def plain(trial, workload) -> list[float]:
    """The losses of a training on the GPU as a script has it."""
    config, data = trial.config, workload.splits["train"]
    net = initialised(config, workload.extent).double().cuda()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.0, weight_decay=0.05)
    losses = []
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, data.rows)):
        optimizer.param_groups[0]["lr"] = config.optimizer.lr * float(warmup_cosine(t, STEPS, 3, 0.0))
        x, y = data.take(torch.as_tensor(rows, device="cuda"))
        seed_all(stream_key(config.seed, "forward", t))
        loss = functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", TABLE)
def test_it_trains_as_in_a_plain_loop_on_the_gpu(trial_of, name) -> None:
    trials = trials_of(trial_of, name)
    workload = prepared(trials[0].config, torch.device("cuda"))
    choice, _ = choose(workload, Question(trials, "shared", "graphed"))
    executor, reason = TABLE[name]
    assert choice.executor == executor
    assert reason in choice.reason
    for each in {"loop", executor}:
        observed = train(Cohort(trials, each, "shared", 3), workload)
        for trial, found in zip(trials, observed, strict=True):
            np.testing.assert_allclose(found.series["train/batch_loss"].values, plain(trial, workload), rtol=1e-10)


@pytest.mark.parametrize("name", ["MakesOnDevice", "BuiltThere", "AsksWhere", "DrawsThere"])
def test_its_weights_predict_there_if_they_do_not_on_the_cpu(trial_of, name) -> None:
    trial = trials_of(trial_of, name)[0]
    (observed,), (weights,) = handed_over([trial], prepared(trial.config, torch.device("cuda")), "traced")
    ready = loaded(trial.config, weights.state_dict, observed.metrics["val/loss"])
    assert ready.workload.device.type == ("cpu" if name == "MakesOnDevice" else "cuda")
    outputs, y = ready.outputs(ready.splits.validation.x), ready.splits.validation.y
    assert (outputs.argmax(1) == y).mean() == pytest.approx(observed.metrics["val/accuracy"])


@pytest.mark.parametrize(("name", "line"), [("MakesOnHost", 31), ("HoldsOnHost", 51)])
def test_what_lies_on_the_host_where_a_script_would_raise_is_the_models_error(trial_of, name, line) -> None:
    with pytest.raises(ConfigError, match=rf"for_cuda.py, line {line}: RuntimeError: Expected all tensors to be on"):
        prepared(trials_of(trial_of, name)[0].config, torch.device("cuda"))
