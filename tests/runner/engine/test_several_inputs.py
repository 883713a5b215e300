"""Batches of several inputs, by name or by place, and losses of more than one output: as in a plain torch loop."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import choose, compiler_found
from thalweg.runner.engine.cohort import Cohort, Handing, Keeping, train
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.loaded import loaded
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.rehearsal import remarks
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import initialised
from thalweg.runner.facts.weights import Weights
from thalweg.runner.study.target import DatasetTarget, ModelTarget
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
STEPS = 20
EXECUTORS = ("loop", "vmap", "traced")
TASK = {"loss": "auto", "label_smoothing": 0.0}


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory) -> Path:
    """A project whose code is several.py: one for all, since Python imports a name once."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(Path(__file__).with_name("several.py"), folder)
    (folder / "thalweg.yaml").write_text("code: [several]")
    return folder


@pytest.fixture(autouse=True)
def _inside(project, monkeypatch) -> None:
    monkeypatch.chdir(project)


@pytest.fixture
def trials(trial_of):
    """(data, model, …) -> trials of several rates and seeds."""

    def made(data: str, model: str, *, kind="classes", output=None, lrs=(0.003, 0.03), seeds=(0,), given=(), **more):
        base = trial_of(0.1, 0.05, optimizer="adamw", **{"steps": STEPS, "precision": "float64", **more}).config
        dataset = DatasetTarget(
            _target_=f"several.{data}", kind=kind, train_size=None, validation=0.2, test=0.2, label_noise=0.0,
            split_seed=0, augment=(), files=(), fingerprint=None, arguments=tuple(given),
        )  # fmt: skip
        target = ModelTarget(_target_=f"several.{model}", output=output, arguments=())
        return [
            Trial(replace(base, dataset=dataset, model=target, seed=seed, optimizer=replace(base.optimizer, lr=lr)))
            for seed in seeds
            for lr in lrs
        ]

    return made


def trained(trials, executor: str, layout="shared", metrics=(), **how):
    workload = prepared(trials[0].config, CPU, metrics)
    return train(Cohort(tuple(trials), executor, layout, 2), workload, **how)


def by_hand(trial, loss_of) -> tuple[list[float], torch.nn.Module]:
    """A plain loop: the model is called as a script would, and `loss_of` gets it and a batch."""
    config, of = trial.config, trial.config.optimizer
    workload = prepared(config, CPU)
    model = initialised(config, workload.extent).double()
    for key in [*model._forward_hooks]:
        del model._forward_hooks[key]
    weights = [*model.parameters()]
    optimizer = optim.AdamW(weights, lr=of.lr, betas=(of.beta1, of.beta2), eps=of.eps, weight_decay=of.weight_decay)
    train, found = workload.splits["train"], []
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, train.rows)):
        optimizer.param_groups[0]["lr"] = of.lr * float(warmup_cosine(t, STEPS, 5, 0.0))
        optimizer.zero_grad()
        loss = loss_of(model, *train.take(torch.as_tensor(rows)))
        loss.backward()
        found.append(loss.item())
        optimizer.step()
    return found, model.eval()


def of_names(model, x, y):
    return functional.cross_entropy(model(**x), y)


def of_places(model, x, y):
    return functional.cross_entropy(model(*x), y)


def penalised(model, x, y):
    logits = model(**x)["logits"]
    own = functional.cross_entropy(logits, y, reduction="none") * x["mask"].float().mean(1)
    return own.mean() + 0.01 * logits.square().mean(1).mean()


CASES: dict[str, Any] = {
    "by name": ("named", "Net", {}, of_names),
    "by place": ("placed", "Net", {}, of_places),
    "a list": ("listed", "Net", {}, of_places),
    "labels among them": ("labelled", "Net", {}, of_names),
    "a torch dataset": ("Items", "Net", {}, of_names),
    "a torch dataset with labels": ("Items", "Net", {"given": (("how", "labelled"),)}, of_names),
    "a torch dataset by place": ("Items", "Net", {"given": (("how", "placed"),)}, of_places),
    "one of several outputs": (
        "named", "Several", {"output": "logits"}, lambda m, x, y: functional.cross_entropy(m(**x)["logits"], y)),
    "the model's own loss": (
        "named", "Several", {"output": "logits", "task": {**TASK, "loss": "model"}},
        lambda m, x, y: m(**x, labels=y)["loss"]),
    "its loss beside the logits": (
        "placed", "Pair", {"output": 0, "task": {**TASK, "loss": "model"}}, lambda m, x, y: m(*x, targets=y)[1]),
    "a loss of all outputs and inputs": (
        "named", "Several", {"output": "logits", "task": {**TASK, "loss": "several.penalised"}}, penalised),
    "tokens": (
        "tokens", "Writer", {"kind": "tokens"},
        lambda m, x, y: functional.cross_entropy(m(**x).flatten(0, 1), y.flatten())),
    "values, BatchNorm": (
        "vectors", "Product", {"kind": "values"}, lambda m, x, y: functional.mse_loss(m(*x), y)),
    "values along two axes": (
        "forecasts", "Forecaster", {"kind": "values"},
        lambda m, x, y: functional.mse_loss(m(**x), y.view(-1, 3, 2))),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_several_inputs_train_as_in_a_plain_loop(trials, case) -> None:
    data, model, options, loss_of = CASES[case]
    made = [*trials(data, model, lrs=(0.003,), **options), *trials(data, model, seeds=(1,), lrs=(0.03,), **options)]
    hands = [by_hand(trial, loss_of) for trial in made]
    for executor in EXECUTORS:
        observed = trained(made, executor, "per_lane")
        for each, (losses, _) in zip(observed, hands, strict=True):
            np.testing.assert_allclose(each.series["train/batch_loss"].values, losses, rtol=1e-10)
    x, y = next(prepared(made[0].config, CPU).splits["val"].chunks(1000))
    with torch.no_grad():
        expected = loss_of(hands[0][1], x, y).item()
    np.testing.assert_allclose(observed[0].metrics["val/loss"], expected, rtol=1e-9)


def test_a_model_of_several_inputs_is_fused(trials) -> None:
    for case in ("by name", "by place", "the model's own loss", "a loss of all outputs and inputs"):
        data, model, options, _ = CASES[case]
        made = trials(data, model, **options)
        choice, *_ = choose(prepared(made[0].config, CPU), Question(tuple(made), "shared", "vmap"))
        assert choice.executor == "vmap", choice


@pytest.mark.long
def test_metrics_of_all_outputs_stand_beside_the_usual_ones(trials) -> None:
    made = trials("named", "Several", output="logits")
    found = [trained(made, executor, metrics=("several.energy", "several.margin"))[0].metrics for executor in EXECUTORS]
    for each in found:
        assert {"val/energy", "val/margin", "val/accuracy", "val/loss"} <= each.keys()
        for name in ("val/energy", "test/margin", "train/loss"):
            np.testing.assert_allclose(each[name], found[0][name], rtol=1e-10)
    _, model = by_hand(made[0], lambda m, x, y: functional.cross_entropy(m(**x)["logits"], y))
    x, _ = next(prepared(made[0].config, CPU).splits["val"].chunks(1000))
    with torch.no_grad():
        np.testing.assert_allclose(found[0]["val/energy"], model(**x)["energy"].mean().item(), rtol=1e-9)


@pytest.mark.long
def test_accumulation_takes_parts_of_each_input(trials) -> None:
    whole, parts = (
        trials("named", "Net", budget={"steps": STEPS, "batch_size": 16, "accumulate": accumulate})
        for accumulate in (1, 4)
    )
    for executor, layout in (("loop", "shared"), ("traced", "shared"), ("vmap", "per_lane")):
        one, other = trained(whole, executor, layout), trained(parts, executor, layout)
        for each, like in zip(one, other, strict=True):
            np.testing.assert_allclose(each.metrics["val/loss"], like.metrics["val/loss"], rtol=1e-10)


@pytest.mark.parametrize("executor", ["vmap", "auto"])
def test_what_is_measured_of_all_outputs_by_numpy_is_measured_trial_by_trial(grid_of, executor) -> None:
    """Of a model of ours, of which nothing else of the user's is compared."""
    metrics, made = ("several.hits",), tuple(grid_of(16, steps=60))
    workload = prepared(made[0].config, CPU, metrics)
    choice, _ = choose(workload, Question(made, "shared", executor))
    assert (choice.executor, "several.py, line" in choice.reason) == ("loop", True)
    (one,) = train(Cohort(made[:1], "loop", "shared", 2), workload)
    assert one.metrics["val/hits"] == pytest.approx(one.metrics["val/accuracy"])


@pytest.mark.long
@pytest.mark.gpu
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("loss", ["on_the_host", "all_on_the_host"])
def test_a_loss_of_the_users_may_be_computed_on_the_host(trials, loss, executor) -> None:
    made = trials("named", "Net", task={**TASK, "loss": f"several.{loss}"})
    there = Cohort(tuple(made), executor, "shared", 2), prepared(made[0].config, torch.device("cuda"))
    for one, other in zip(train(*there), trained(made, executor), strict=True):
        np.testing.assert_allclose(one.series["train/batch_loss"].values, other.series["train/batch_loss"].values)


@pytest.mark.parametrize("executor", ["loop", "traced"])
def test_a_cohort_goes_on_from_a_checkpoint_to_the_same_bits(trials, executor) -> None:
    made = trials("named", "Several", output="logits", task={**TASK, "loss": "model"}, steps=60)
    kept: list[Checkpoint] = []
    whole = trained(made, executor, keeping=Keeping(lambda: True, kept.append))
    assert kept
    again = trained(made, executor, resume=kept[0])
    assert [each.weight_hash for each in again] == [each.weight_hash for each in whole]


@pytest.mark.parametrize("case", ["by name", "by place", "the model's own loss"])
def test_kept_weights_give_the_stored_loss_and_predict(trials, tmp_path, case) -> None:
    data, model, options, _ = CASES[case]
    made, held = trials(data, model, **options), list[Weights]()
    observed = trained(made, "traced", handing=Handing(lambda trial: True, held.append))
    ready = loaded(made[0].config, held[0].state_dict, observed[0].metrics["val/loss"])
    inputs = ready.splits.validation.x
    file = tmp_path / "new.npz"
    if isinstance(inputs, dict):
        np.savez(file, allow_pickle=False, **inputs)
    else:
        np.savez(file, *inputs)
    outputs = ready.outputs(ready.unseen(file).x)
    accuracy = (outputs.argmax(1) == ready.splits.validation.y).mean()
    assert accuracy == pytest.approx(observed[0].metrics["val/accuracy"])
    assert isinstance(ready.module(*inputs_of(ready)), torch.Tensor)


def inputs_of(ready):
    """The first two examples, by place."""
    x, _ = ready.workload.splits["val"].take(torch.arange(2))
    return x.values() if isinstance(x, dict) else x


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
def test_the_compiled_step_takes_several_inputs(trials) -> None:
    made = trials("named", "Net")
    for one, other in zip(trained(made, "compiled"), trained(made, "loop"), strict=True):
        np.testing.assert_allclose(one.metrics["val/loss"], other.metrics["val/loss"], rtol=1e-8)


def test_a_tabled_step_takes_several_inputs(trials) -> None:
    """What a CUDA graph replays, called as it is."""
    made = trials("placed", "Net")
    workload = prepared(made[0].config, CPU)
    block, state = Inputs(made, "shared", workload).block(0, STEPS, np.arange(2)), workload.start(made)
    steps = TabledSteps(workload, state, block)
    found = steps.advance(state, block, steps.take)
    for place, each in enumerate(trained(made, "vmap")):
        np.testing.assert_allclose(found[:, place], each.series["train/batch_loss"].values, rtol=1e-10)


@pytest.mark.parametrize(
    ("data", "model", "options", "said"),
    [
        ("spoiled", "Net", {"given": (("how", "short"),)}, "has x['mask'] for 119 examples, but 120 targets y"),
        ("spoiled", "Net", {"given": (("how", "words"),)}, "x['ids'] is an array of <U21 of shape"),
        ("spoiled", "Net", {"given": (("how", "nan"),)}, "x['weight'] holds NaN or infinity in 1 rows, row 7 first"),
        ("spoiled", "Net", {"given": (("how", "nested"),)}, "x['weight'] is an array of object of shape []"),
        ("spoiled", "Net", {"given": (("how", "number"),)}, "x['weight'] is an array of float64 of shape []"),
        ("spoiled", "Net", {"given": (("how", "keys"),)}, "x has the key 0; expected names"),
        ("spoiled", "Net", {"given": (("how", "empty"),)}, "x is empty; expected an array for each input"),
        ("Items", "Net", {"given": (("how", "ragged"),)}, "gives 'ids' of shape [3], and of others in later examples"),
        ("Items", "Net", {"given": (("how", "unlike"),)}, "gives other inputs in example 5 than in the first"),
        ("named", "Renamed", {}, "an example has mask, which the forward of several.Renamed does not take"),
        ("named", "Needs", {}, "several.Needs needs positions, and an example has ids, mask, weight"),
        ("named", "One", {}, "an example has mask, which the forward of several.One does not take"),
        ("placed", "One", {}, "an example has 3 inputs, and the forward of several.One cannot be called so"),
        ("named", "Several", {}, "pick one: model.output=logits"),
        ("named", "Unlabelled", {"task": {**TASK, "loss": "model"}}, "takes no labels, targets, target or y"),
        ("named", "Lossless", {"output": "logits", "task": {**TASK, "loss": "model"}}, "there is no loss"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_sentence(trials, data, model, options, said) -> None:
    (trial, *_) = trials(data, model, **options)
    with pytest.raises(ConfigError) as caught:
        prepared(trial.config, CPU)
    assert said in f"{caught.value.message}; {caught.value.hint}"


@pytest.mark.parametrize("case", CASES)
def test_planning_has_nothing_against_what_trains(trials, case) -> None:
    data, model, options, _ = CASES[case]
    assert [each.text for each in remarks(trials(data, model, **options)[0].config) if each.wrong] == []


def test_our_own_models_and_augmentation_say_that_they_read_one_array(trials, trial_of) -> None:
    (trial, *_) = trials("named", "Net")
    ours = replace(trial.config, model=trial_of().config.model)
    with pytest.raises(ConfigError, match=r"model=mlp reads one array, but an example of the dataset is ids \[6\]"):
        prepared(ours, CPU)
    mixed = replace(trial.config, dataset=replace(trial.config.dataset, augment=("mixup",)))
    with pytest.raises(ConfigError, match=r"dataset\.augment changes one array, but an example of the dataset is ids"):
        prepared(mixed, CPU)
