"""`thalweg.log`: numbers that a user's model or loss tells of each step, per trial, fused or not; no bit is changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import thalweg
from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import choose, compiler_found
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import initialised
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
STEPS = 20
EXECUTORS = ("loop", "vmap", "traced")
SOURCE = """\
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from thalweg import log

class Net(nn.Module):
    def __init__(self, inputs, outputs, tells=True):
        super().__init__()
        self.a, self.b, self.tells = nn.Linear(inputs, 12), nn.Linear(12, outputs), tells
    def forward(self, x):
        h = torch.relu(self.a(x.flatten(1)))
        if self.tells:
            log("activation", h.mean())
            log("first/weights", self.a.weight.norm())
            log("constant", np.float32(3))
        return self.b(h)

class Gradients(Net):
    '''Tells of its backward pass, by a hook: in the loop.'''
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, tells=False)
        self.a.weight.register_hook(lambda grad: log("first_gradient", grad.norm()))

class Recomputes(Net):
    def forward(self, x):
        h = checkpoint(self.a, x.flatten(1), use_reentrant=False)
        return checkpoint(self.half, h, use_reentrant=False)
    def half(self, h):
        log("activation", torch.relu(h).mean())
        return self.b(torch.relu(h))

class Sometimes(Net):
    '''Counts its steps: in the loop. Tells from the fifth on.'''
    def __init__(self, inputs, outputs, at=5, before=True):
        super().__init__(inputs, outputs, tells=False)
        self.steps, self.at, self.before = 0, at, before
    def forward(self, x):
        if self.training:
            self.steps += 1
        late = self.steps > self.at
        if late or self.before:
            log("late", self.a.weight.norm() if late else float("nan"))
        return super().forward(x)

class Wrong(Net):
    def __init__(self, inputs, outputs, name="x", what="number"):
        super().__init__(inputs, outputs, tells=False)
        self.called, self.what = name, what
    def forward(self, x):
        log(self.called, {"number": 1.0, "row": x.flatten(1)[0], "text": "1"}[self.what])
        return super().forward(x)

def loss(outputs, y):
    log("entropy", -(outputs.softmax(1) * outputs.log_softmax(1)).sum(1).mean())
    return functional.cross_entropy(outputs, y)

def top(outputs, y):
    log("in_evaluation", outputs.amax())
    return outputs.amax(1).mean()
"""


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory) -> Path:
    """One for all, since Python imports a name once."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tellers.py").write_text(SOURCE)
    (folder / "thalweg.yaml").write_text("code: [tellers]")
    return folder


@pytest.fixture(autouse=True)
def _inside(project, monkeypatch) -> None:
    monkeypatch.chdir(project)


def trials_of(trial_of, name: str, lrs=(0.003, 0.03), arguments=(), **more):
    base = [trial_of(lr, 0.05, optimizer="adamw", **{"steps": STEPS, "precision": "float64", **more}) for lr in lrs]
    model = ModelTarget(_target_=f"tellers.{name}", arguments=arguments)
    return [Trial(replace(trial.config, model=model)) for trial in base]


def trained(trials, executor: str, layout="shared", scalars=(), metrics=(), **how):
    workload = prepared(trials[0].config, CPU, metrics).telling(scalars)
    return train(Cohort(tuple(trials), executor, layout, 2), workload, **how)


def told(observed, name: str) -> np.ndarray:
    return observed.series[f"train/{name}"].values


def by_hand(trial) -> dict[str, list[float]]:
    config, of = trial.config, trial.config.optimizer
    workload = prepared(config, CPU)
    model: Any = initialised(config, workload.extent).double()
    weights = [*model.parameters()]
    optimizer = optim.AdamW(weights, lr=of.lr, betas=(of.beta1, of.beta2), eps=of.eps, weight_decay=of.weight_decay)
    found: dict[str, list[float]] = {"activation": [], "first/weights": []}
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, 200)):
        optimizer.param_groups[0]["lr"] = of.lr * float(warmup_cosine(t, STEPS, 5, 0.0))
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        found["activation"].append(torch.relu(model.a(x.flatten(1))).mean().item())
        found["first/weights"].append(model.a.weight.norm().item())
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return found


@pytest.mark.long
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_model_logs_is_what_a_script_would_see(trial_of, executor, layout) -> None:
    trials = trials_of(trial_of, "Net")
    for each, trial in zip(trained(trials, executor, layout), trials, strict=True):
        for name, values in by_hand(trial).items():
            np.testing.assert_allclose(told(each, name), values, rtol=1e-10)
        assert told(each, "constant").tolist() == [3.0] * STEPS


@pytest.mark.long
def test_it_is_fused_and_changes_no_bit_and_no_id(trial_of) -> None:
    loud, silent = (trials_of(trial_of, "Net", arguments=(("tells", tells),)) for tells in (True, False))
    choice, *_ = choose(prepared(loud[0].config, CPU), Question(tuple(loud), "shared", "vmap"))
    assert choice.executor == "vmap"
    for executor in EXECUTORS:
        for one, other in zip(trained(loud, executor), trained(silent, executor), strict=True):
            assert one.weight_hash == other.weight_hash
            assert one.metrics == other.metrics
            assert one.series.keys() - other.series.keys() == {
                "train/activation", "train/first/weights", "train/constant",
            }  # fmt: skip


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_loss_tells_beside_the_norms_and_evaluation_tells_nothing(trial_of, executor) -> None:
    task = {"loss": "tellers.loss", "label_smoothing": 0.0}
    ours = [trial_of(lr, 0.05, optimizer="adamw", steps=STEPS, task=task) for lr in (0.003, 0.03)]
    for trials in (ours, trials_of(trial_of, "Net", task=task)):
        for each in trained(trials, executor, scalars=("weight_norm",), metrics=("tellers.top",)):
            assert len(told(each, "entropy")) == len(told(each, "weight_norm")) == STEPS
            assert (told(each, "entropy") > 0).all()
            assert "train/in_evaluation" not in each.series
            assert "val/top" in each.metrics


@pytest.mark.long
def test_a_mean_over_the_parts_of_a_batch_is_told(trial_of) -> None:
    budgets = [{"steps": STEPS, "batch_size": 16, "accumulate": parts} for parts in (1, 4)]
    for executor in EXECUTORS:
        whole, parts = (trained(trials_of(trial_of, "Net", budget=budget), executor)[1] for budget in budgets)
        for name in ("activation", "first/weights", "constant"):
            np.testing.assert_allclose(told(whole, name), told(parts, name), rtol=1e-10)


def test_hooks_and_recomputing_passes_tell_in_the_loop(trial_of) -> None:
    (hooked,) = trained(trials_of(trial_of, "Gradients", lrs=(0.03,)), "traced", scalars=("gradient_norm",))
    assert (told(hooked, "first_gradient") < told(hooked, "gradient_norm")).all()
    trials = trials_of(trial_of, "Recomputes", lrs=(0.03,))
    np.testing.assert_allclose(
        told(trained(trials, "loop")[0], "activation"), by_hand(trials[0])["activation"], rtol=1e-10
    )


def test_nothing_is_stored_of_steps_that_tell_nothing(trial_of) -> None:
    (each,) = trained(trials_of(trial_of, "Sometimes", lrs=(0.03,)), "loop")
    assert each.series["train/late"].steps.tolist() == [*range(5, STEPS)]


@pytest.mark.parametrize("executor", ["loop", "traced"])
def test_a_cohort_that_goes_on_tells_what_it_would_have_told(trial_of, executor) -> None:
    trials, kept = trials_of(trial_of, "Net", steps=60), list[Checkpoint]()
    whole = trained(trials, executor, keeping=Keeping(lambda: True, kept.append))
    again = trained(trials, executor, resume=kept[0])
    for one, other in zip(whole, again, strict=True):
        assert np.array_equal(told(one, "activation"), told(other, "activation"))


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
def test_the_compiled_step_tells_too(trial_of) -> None:
    trials = trials_of(trial_of, "Net")
    for one, other in zip(trained(trials, "compiled"), trained(trials, "loop"), strict=True):
        np.testing.assert_allclose(told(one, "activation"), told(other, "activation"), rtol=1e-8)


def test_a_tabled_step_tells_too(trial_of) -> None:
    """What a CUDA graph replays, called as it is."""
    trials = trials_of(trial_of, "Net")
    workload = prepared(trials[0].config, CPU).telling(("weight_norm",))
    block, state = Inputs(trials, "shared", workload).block(0, STEPS, np.arange(2)), workload.start(trials)
    steps = TabledSteps(workload, state, block)
    found = steps.advance(state, block, steps.take).view(STEPS, 2, 5).numpy()
    for place, each in enumerate(trained(trials, "vmap", scalars=("weight_norm",))):
        for column, name in enumerate(("batch_loss", "weight_norm", "activation", "first/weights", "constant")):
            np.testing.assert_allclose(found[:, place, column], told(each, name), rtol=1e-10)


@pytest.mark.parametrize(
    ("model", "arguments", "metrics", "said"),
    [
        ("Wrong", {"name": "batch_loss"}, (), "the name batch_loss, which thalweg has for a number of its own"),
        ("Wrong", {"name": "accuracy"}, (), "the name accuracy, which thalweg has"),
        ("Wrong", {"name": "a b"}, (), "the name 'a b'; expected up to 64 letters, digits and _ . / -"),
        ("Wrong", {"name": ""}, (), "the name ''; expected"),
        ("Wrong", {"name": "top"}, ("tellers.top",), "the name top, which a metric of yours has"),
        ("Wrong", {"what": "row"}, (), "is given a tensor of shape [64]; expected one number"),
        ("Wrong", {"what": "text"}, (), "is given a str; expected one number"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(trial_of, model, arguments, metrics, said) -> None:
    (trial, _) = trials_of(trial_of, model, arguments=tuple(arguments.items()))
    with pytest.raises(ConfigError) as caught:
        prepared(trial.config, CPU, metrics)
    assert said in caught.value.message


def test_a_name_that_comes_late_is_one_sentence(trial_of) -> None:
    trials = trials_of(trial_of, "Sometimes", lrs=(0.03,), arguments=(("before", False),))
    with pytest.raises(ConfigError, match=r"log\('late', …\) was not called when the model took its first steps"):
        trained(trials, "loop")


def test_nobody_hears_outside_of_training() -> None:
    thalweg.log("anything at all", torch.zeros(3))
