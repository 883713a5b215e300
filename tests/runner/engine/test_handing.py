"""Final weights as they leave: loaded by plain torch into a fresh module they give the stored loss, or one is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_constructs import CPU, FUSES, TABLE, trials_of
from torch import nn

from thalweg.runner.engine.cohort import Cohort, Handing, train
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.naming import state_names
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.facts.weights import Weights
from thalweg.runner.train import weights as files

UNLIKE = {
    "GrowingBuffer": "the model's buffer bank changed its shape in training",
    "LazyBuffer": "the model's state_dict has mean, which is none of its parameters and buffers",
    "SparseBuffer": "the model's state_dict has graph, which is none of its parameters and buffers",
    "ComplexBuffer": "the model's turn is complex128, which safetensors does not have",
}

SOME = (
    *UNLIKE, "Tied", "Normed", "Empty", "Gate", "Parametrized", "WeightNormHook", "CountingBuffer", "Counter",
    "InClass", "ActNorm", "MaxNorm", "Dropout", "PythonRandom", "OwnGenerator",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _project(constructs):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(constructs)
        yield


def handed(trials, executor="loop", wanted=lambda trial_id: True):
    workload = prepared(trials[0].config, CPU)
    got: list[Weights] = []
    cohort = Cohort(tuple(trials), executor, "shared", 1)
    return workload, train(cohort, workload, handing=Handing(wanted, got.append)), got


def loss_by_torch(workload, trial, weights: Weights) -> float:
    """Of a fresh module into which torch loads the state_dict, strictly."""
    lone = workload.lone(trial.config)
    lone.module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.state_dict.items()})
    state = workload.start_own((lone,))
    return float(evaluate(workload, state, "val", "loop", seeds=[trial.config.seed])["loss"])


def holds(trial_of, name, folder) -> None:
    trials = trials_of(trial_of, name, lrs=(0.003, 0.03))
    for executor in ("loop", "vmap") if TABLE[name] == FUSES else ("loop",):
        workload, observed, got = handed(trials, executor)
        for trial, one, weights in zip(trials, observed, got, strict=True):
            held = files.read(files.write(folder, weights), trial.id, one.weight_hash)
            assert held.unlike == UNLIKE.get(name, "")
            if not held.unlike and not held.more:
                loss, stored = loss_by_torch(workload, trial, held), one.metrics["val/loss"]
                assert loss == (stored if executor == "loop" else pytest.approx(stored, rel=1e-14, abs=0))


@pytest.mark.long
@pytest.mark.parametrize("name", SOME)
def test_a_fresh_module_with_the_weights_has_the_stored_loss_or_it_is_said(trial_of, name, tmp_path) -> None:
    holds(trial_of, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_whatever_a_model_does_its_weights_hold_it_or_it_is_said(trial_of, name, tmp_path) -> None:
    holds(trial_of, name, tmp_path)


@pytest.mark.parametrize(("name", "more"), [("Counter", True), ("InClass", True), ("Normed", False), ("Unused", False)])
def test_what_training_changed_besides_is_said(trial_of, name, more) -> None:
    assert {each.more for each in handed(trials_of(trial_of, name))[2]} == {more}


@pytest.mark.parametrize("executor", ["loop", "vmap", "traced"])
def test_each_trial_gets_its_own_and_the_diverged_theirs_before_it(trial_of, executor) -> None:
    trials = [trial_of(lr, warmup=0, steps=120) for lr in (0.1, 1e30, 0.2, 0.05)]
    _, observed, got = handed(trials, executor)
    assert [each.outcome for each in observed] == ["finished", "diverged", "finished", "finished"]
    assert {each.trial_id: each.hash for each in got} == {each.trial_id: each.weight_hash for each in observed}
    assert len({each.hash for each in got}) == len(got) == 4


def test_only_those_wanted_are_handed_over_and_training_is_the_same(trial_of) -> None:
    trials = [trial_of(lr) for lr in (0.1, 0.2)]
    _, observed, got = handed(trials, "vmap", wanted=lambda trial_id: trial_id == trials[1].id)
    assert [each.trial_id for each in got] == [trials[1].id]
    alone = train(Cohort(tuple(trials), "vmap", "shared", 1), prepared(trials[0].config, CPU))
    assert [each.weight_hash for each in observed] == [each.weight_hash for each in alone]


class Renaming(nn.Linear):
    """Its state_dict has other tensors than its own."""

    def __init__(self, kind: str) -> None:
        super().__init__(2, 2)
        self.kind = kind

    def state_dict(self, *args, **kwargs):
        held = super().state_dict(*args, **kwargs)
        if self.kind == "lacks":
            del held["bias"]
        elif self.kind == "swaps":
            held["weight"], held["bias"] = held["bias"], held["weight"]
        else:
            held["more"] = {"a copy": self.weight.clone(), "no tensor": 3}[self.kind]
        return held


@pytest.mark.parametrize(
    ("kind", "said"), [("lacks", "lacks bias"), ("a copy", "has more"), ("no tensor", "has more"), ("swaps", None)]
)
def test_a_state_dict_is_taken_by_its_tensors_never_by_its_names(kind, said) -> None:
    module, held = Renaming(kind), {"weight": np.zeros(1), "bias": np.zeros(1)}
    if said is None:
        assert state_names(module, held) == {"weight": "bias", "bias": "weight"}
    else:
        with pytest.raises(ValueError, match=said):
            state_names(module, held)
