"""Parameter groups: as torch's param_groups in a plain script, fused and in the loop; what is frozen keeps its bits."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
import torch
from handed import handed_over
from test_constructs import built_anew, seed_all, trials_of
from torch import nn

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.optim.schema import LionConfig
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.executors import EXECUTORS as RUN
from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.seating import example
from thalweg.runner.engine.streams import batch_indices, stream_key
from thalweg.runner.engine.workload import initialised

STEPS = 20
CPU = torch.device("cpu")
RULES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sgd coupled": {"decay": "coupled", "nesterov": True},
    "sgd independent": {"decay": "independent", "decay_order": "after"},
    "adamw": {},
    "adamw independent": {"decay": "independent"},
    "adamw amsgrad": {"amsgrad": True},
    "adam_l2": {},
    "lion": {},
    "muon": {"decay_on": "all"},
    "sgd decay of weights": {"decay_on": "weights"},
}
CLASSES = {
    "sgd": optim.SGDMomentum, "adamw": optim.AdamW, "adam_l2": optim.AdamL2, "lion": optim.Lion, "muon": optim.Muon,
}  # fmt: skip
LION = {"name": "lion", "beta1": 0.9, "beta2": 0.99, "decay": "coupled", "decay_order": "before", "decay_on": "all"}


def groups(**named: dict[str, Any]) -> dict[str, Any]:
    return {"groups": {"named": sorted(named.items())}}


def layered(low: float, high: float, decay: float = 0.0, freeze: bool = False) -> dict[str, Any]:
    """A rate for the first layer, another for the last, no decay on biases of the middle one."""
    return groups(
        low={"match": "layers.0.*", "lr": low, "freeze": freeze},
        high={"match": "layers.2.*", "lr": high, "weight_decay": 0.5},
        biases={"match": "layers.1.bias", "weight_decay": decay},
    )


def made(trial_of, case: str, parts: dict[str, Any], lr: float = 0.02, **more: Any):
    name = case.split(" ")[0]
    rule = {**(LION if name == "lion" else {}), **RULES[case]}
    base = "adamw" if name == "lion" else name
    own = {"beta1": 0.9, "beta2": 0.99} if name in ("adamw", "adam_l2") else {}
    if name == "lion":
        return with_lion(trial_of(lr, 0.1, precision="float64", steps=STEPS, **parts, **more), rule)
    return trial_of(lr, 0.1, optimizer=base, rule=own | rule, precision="float64", steps=STEPS, **parts, **more)


def with_lion(trial, rule: dict[str, Any]):
    of = trial.config.optimizer
    lion = LionConfig(**{**rule, "lr": of.lr, "weight_decay": of.weight_decay})
    return replace(trial, config=replace(trial.config, optimizer=lion))


def arguments(config) -> dict[str, Any]:
    """The optimizer's own, as its torch class has them."""
    kept = {"nesterov", "momentum", "dampening", "decay", "decay_order", "eps", "amsgrad", "adjust"}
    given = {name: getattr(config, name) for name in kept if hasattr(config, name)}
    return given | ({"betas": (config.beta1, config.beta2)} if hasattr(config, "beta1") else {})


def by_hand(trial) -> tuple[list[float], nn.Module]:
    """The losses and the model of a plain script with torch's param_groups."""
    config = trial.config
    workload = prepared(config, CPU)
    model = initialised(config, workload.extent).double()
    scales = []
    for name, parameter in model.named_parameters():
        mine = [group for _, group in config.groups.named if fnmatchcase(name, group.match)]
        lr, decay = (mine[0].lr, mine[0].weight_decay) if mine else (1.0, 1.0)
        parameter.requires_grad_(not (mine and mine[0].freeze))
        spared = config.optimizer.decay_on == "weights" and parameter.dim() < 2
        wd = 0.0 if spared else config.optimizer.weight_decay * decay
        if parameter.requires_grad:
            scales.append({"params": [parameter], "initial": config.optimizer.lr * lr, "weight_decay": wd})
    optimizer = CLASSES[config.optimizer.name](scales, lr=1.0, **arguments(config.optimizer))
    training = [p for p in model.parameters() if p.requires_grad]
    losses = []
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, 200)):
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        m = float(warmup_cosine(t, STEPS, 5, 0.0))
        for group in optimizer.param_groups:
            group["lr"], group["multiplier"] = group["initial"] * m, m
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        if config.sam.name != "none":
            norm = sum((p.grad.square().sum() for p in training), torch.zeros(())).sqrt()
            before = [p.detach().clone() for p in training]
            with torch.no_grad():
                for p in training:
                    p.add_(config.sam.rho * p.grad / norm)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p, old in zip(training, before, strict=True):
                    p.copy_(old)
        if config.clip.name == "norm":
            nn.utils.clip_grad_norm_(training, config.clip.limit)
        optimizer.step()
    return losses, model


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def hashes_of(observations) -> list[str]:
    return [each.weight_hash for each in observations]


EXECUTORS = ("loop", "vmap", "traced")


@pytest.mark.long
@pytest.mark.parametrize("freeze", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize("case", RULES)
def test_every_executor_does_what_a_script_with_param_groups_does(trial_of, train_all, case, freeze) -> None:
    trials = [
        made(trial_of, case, layered(low, high, decay, freeze))
        for low, high, decay in ((0.1, 10.0, 0.0), (3.0, 0.5, 1.0), (0.0, 1.0, 2.0))
    ]
    assert len({trial.group_id for trial in trials}) == 1
    assert len({trial.id for trial in trials}) == 3
    expected = [by_hand(trial)[0] for trial in trials]
    assert not np.allclose(expected[0], expected[1], rtol=1e-6)
    for executor in EXECUTORS:
        np.testing.assert_allclose(losses_of(train_all(trials, executor)), expected, rtol=1e-10)


@pytest.mark.parametrize("decay_on", ["all", "weights"])
def test_muon_for_some_matrices_and_adamw_for_the_rest_are_two_optimizers_of_a_script(
    trial_of, train_all, decay_on
) -> None:
    """Each with a rate and a decay of its own; a tensor of four dimensions, such as a kernel, is a matrix too."""
    trials = [
        trial_of(
            0.02, 0.1, optimizer="muon", rule={"decay_on": decay_on}, precision="float64", steps=STEPS,
            **groups(outer={"match": "layers.[02].*", "adamw": True, "lr": lr, "weight_decay": 3.0}),
        )
        for lr in (0.1, 0.5)
    ]  # fmt: skip
    expected = []
    for trial in trials:
        of, (_, outer) = trial.config.optimizer, trial.config.groups.named[0]
        workload = prepared(trial.config, CPU)
        model = initialised(trial.config, workload.extent).double()
        named = dict(model.named_parameters())
        shared = {"betas": (of.beta1, of.beta2), "eps": of.eps, "decay_on": decay_on}
        inner = [p for name, p in named.items() if name.startswith("layers.1.")]
        rest = [p for name, p in named.items() if not name.startswith("layers.1.")]
        muon = optim.Muon(inner, lr=of.lr, momentum=of.momentum, weight_decay=of.weight_decay, **shared)
        adamw = optim.AdamW(rest, lr=of.lr * outer.lr, weight_decay=of.weight_decay * outer.weight_decay, **shared)
        losses = []
        for t, rows in enumerate(batch_indices(trial.config.seed, 0, STEPS, trial.config.budget.batch_size, 200)):
            m = float(warmup_cosine(t, STEPS, 5, 0.0))
            muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"] = of.lr * m, of.lr * outer.lr * m
            x, y = workload.splits["train"].take(torch.as_tensor(rows))
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            muon.step()
            adamw.step()
            losses.append(loss.item())
        expected.append(losses)
    for executor in EXECUTORS:
        np.testing.assert_allclose(losses_of(train_all(trials, executor)), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "more",
    [{"sam": {"name": "standard", "rho": 0.2}}, {"clip": {"name": "norm", "limit": 0.3}}],
    ids=["sam", "clip"],
)
@pytest.mark.parametrize("freeze", [False, True], ids=["", "frozen"])
def test_sam_and_clipping_take_the_norm_of_what_trains_whatever_its_rates(trial_of, train_all, more, freeze) -> None:
    trials = [made(trial_of, "sgd", layered(low, 2.0, freeze=freeze) | more) for low in (0.1, 3.0)]
    expected = [by_hand(trial)[0] for trial in trials]
    for executor in EXECUTORS:
        np.testing.assert_allclose(losses_of(train_all(trials, executor)), expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
def test_the_compiled_step_has_groups_too(trial_of, train_all) -> None:
    trials = [made(trial_of, "adamw", layered(low, 3.0, freeze=freeze)) for low, freeze in ((0.1, True), (2.0, True))]
    expected = [by_hand(trial)[0] for trial in trials]
    np.testing.assert_allclose(losses_of(train_all(trials, "compiled")), expected, rtol=1e-10)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_is_frozen_and_its_slots_keep_their_bits(trial_of, executor, optimizer, precision) -> None:
    """No step, no decay, no momentum: also while the others climb for SAM, and where a lane dies."""
    rule = {"decay_on": "all"} if optimizer == "muon" else {}
    parts = {"optimizer": optimizer, "rule": rule, "precision": precision, "steps": STEPS} | layered(1, 3, freeze=True)
    trials = [trial_of(0.1, 0.5, sam={"name": "adaptive", "rho": rho}, **parts) for rho in (0.1, 0.5)]
    workload = prepared(trials[0].config, CPU)
    state = workload.start(trials, executor)
    state.fixed["layers.0.bias"][0, :2] = torch.tensor([-0.0, 0.0]).to(state.theta)
    before, theta = {name: held.clone() for name, held in state.fixed.items()}, state.theta.clone()
    RUN[executor](workload, state, Inputs(trials, "shared", workload).block(0, STEPS, np.arange(2)))
    assert before.keys() == {"layers.0.weight", "layers.0.bias"}
    for name, held in before.items():
        assert torch.equal(held.view(torch.int8), state.fixed[name].view(torch.int8))
    assert not torch.equal(theta, state.theta)


def test_no_gradient_is_computed_for_what_is_frozen(trial_of) -> None:
    """Nothing before the first parameter that trains is differentiated."""

    def products(**parts: Any) -> int:
        workload = prepared(trial_of(**parts).config, CPU)
        state, feed = example(workload, 2)
        recorded = Recording(lambda theta: vmap_gradient(workload, shared=True)(state, feed), [state.theta])
        return sum(each.name in ("bmm", "baddbmm") for each in recorded.operations())

    frozen = groups(low={"match": "layers.[01].*", "freeze": True})
    assert products() == 3 + 3 + 2  # forwards, towards weights, towards inputs
    assert products(**frozen) == 3 + 1
    middle = groups(middle={"match": "layers.1.*", "freeze": True})
    assert products(**middle) == 3 + 2 + 2


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("case", ["sgd", "adamw", "muon"])
def test_a_trials_bits_do_not_depend_on_its_neighbours(trial_of, train_all, executor, case) -> None:
    trials = [
        trial_of(0.02, 0.1, optimizer=case, rule=RULES[case], steps=STEPS, hidden=(7, 5), **layered(low, 3.0))
        for low in (0.1, 1.0, 4.0)
    ]
    together = hashes_of(train_all(trials, executor))
    assert len({*together}) == 3
    assert [hashes_of(train_all([trial], executor))[0] for trial in trials] == together
    dying = trial_of(1e30, warmup=0, optimizer=case, rule=RULES[case], steps=STEPS, hidden=(7, 5), **layered(1.0, 3.0))
    assert hashes_of(train_all([trials[2], dying, trials[0]], executor))[::2] == [together[2], together[0]]


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("case", RULES)
def test_groups_that_multiply_by_one_change_no_number(trial_of, train_all, executor, case) -> None:
    plain, ones = made(trial_of, case, {}), made(trial_of, case, layered(1.0, 1.0, 1.0) | {})
    ones_too = [made(trial_of, case, groups(low={"match": "layers.0.*"}, rest={"match": "layers.[12].*"}))]
    assert plain.id not in (ones.id, ones_too[0].id)
    assert hashes_of(train_all([plain, plain], executor))[0] == hashes_of(train_all(ones_too * 2, executor))[0]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_cohort_with_groups_goes_on_from_a_checkpoint_to_the_same_bits(trial_of, executor) -> None:
    trials = tuple(
        trial_of(0.02, 0.1, optimizer="adamw", steps=150, **layered(low, 3.0, freeze=freeze))
        for low, freeze in ((0.1, True), (2.0, True))
    )
    kept: list[Checkpoint] = []
    workload = prepared(trials[0].config, CPU)
    cohort = Cohort(trials, executor, "shared", 3)
    ended = train(cohort, workload, keeping=Keeping(lambda: True, kept.append))
    assert kept
    fresh = prepared(trials[0].config, CPU)
    assert hashes_of(train(cohort, fresh, resume=kept[0])) == hashes_of(ended)


OWN = ("Normed", "Unused", "Tied", "Counter", "ForwardHook", "TorchRandom", "Alternates", "WakesLater", "Detached")


@pytest.fixture
def _project(constructs, monkeypatch):
    monkeypatch.chdir(constructs)


@pytest.mark.long
@pytest.mark.usefixtures("_project")
@pytest.mark.parametrize("name", OWN)
def test_a_users_own_model_has_groups_as_in_a_script_statistics_of_batchnorm_included(trial_of, name) -> None:
    """What is frozen stays in training mode: BatchNorm's statistics move on, as with requires_grad_(False) in torch."""
    parts = groups(first={"match": "a.*", "freeze": True}, last={"match": "z.*", "lr": 0.5, "weight_decay": 0.0})
    trials = trials_of(trial_of, name, **parts)
    workload = prepared(trials[0].config, CPU)
    for executor in ("loop",) if workload.habits.alone else EXECUTORS:
        for trial, one, handed in zip(trials, *handed_over(trials, workload, executor), strict=True):
            losses, model = own_script(trial, workload)
            np.testing.assert_allclose(one.series["train/batch_loss"].values, losses, rtol=1e-10)
            tensors = dict(model.named_parameters()) | dict(model.named_buffers())
            for key, array in handed.arrays.items():
                np.testing.assert_allclose(array, tensors[key].detach().numpy(), rtol=1e-9, atol=1e-12)
                if key.startswith("a."):
                    assert np.array_equal(array, tensors[key].detach().numpy())


def own_script(trial, workload) -> tuple[list[float], nn.Module]:
    """A plain loop over a user's model, whose first layer is frozen and whose last has a rate of its own."""
    config, model = trial.config, built_anew(trial, workload.extent)
    named = dict(model.named_parameters())
    for name, parameter in named.items():
        parameter.requires_grad_(not name.startswith("a."))
    rest = [p for name, p in named.items() if not name.startswith(("a.", "z."))]
    scales = [{"params": rest, "of": 1.0, "weight_decay": 0.05}] if rest else []
    last = [p for name, p in named.items() if name.startswith("z.")]
    scales.append({"params": last, "of": 0.5, "weight_decay": 0.0})
    optimizer = optim.AdamW(scales, **arguments(config.optimizer))
    losses = []
    for t, rows in enumerate(batch_indices(config.seed, 0, config.budget.steps, config.budget.batch_size, 200)):
        for group in optimizer.param_groups:
            group["lr"] = group["of"] * config.optimizer.lr * float(warmup_cosine(t, config.budget.steps, 3, 0.0))
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        seed_all(stream_key(config.seed, "forward", t))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"a": {"match": "nix"}}, "groups.a.match is 'nix', which matches no parameter of the model"),
        ({"a": {"match": "layers.0.*"}, "b": {"match": "*.bias"}}, "groups.a and groups.b both match layers.0.bias"),
        ({"a": {"match": "*", "freeze": True}}, "groups.a freeze every parameter of the model"),
    ],
)
def test_patterns_that_do_not_fit_the_model_are_refused_before_training(trial_of, wrong, said) -> None:
    with pytest.raises(ConfigError, match=said.replace("*", r"\*")):
        prepared(trial_of(**groups(**wrong)).config, CPU)
