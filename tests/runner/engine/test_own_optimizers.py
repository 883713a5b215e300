"""Parameter groups with an optimizer of their own: torch optimizers side by side, fused and in the loop."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
import torch
from sections import OPTIMIZERS
from torch import nn

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.compiling import kernel_hindrance
from thalweg.runner.engine.executors import EXECUTORS as RUN
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.workload import initialised

CPU = torch.device("cpu")
STEPS = 20
EXECUTORS = ("loop", "vmap", "traced")
CLASSES = {
    "sgd": optim.SGDMomentum, "adamw": optim.AdamW, "adam_l2": optim.AdamL2, "lion": optim.Lion, "muon": optim.Muon,
}  # fmt: skip
TORCHS = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW, "adam_l2": torch.optim.Adam}
MORE: dict[str, dict[str, Any]] = {"muon": {"decay_on": "all"}, "adamw": {"amsgrad": True}}
CASES: dict[str, tuple[str, dict[str, tuple[str, dict[str, Any]]]]] = {
    "sgd beside adamw": ("adamw", {"layers.1.*": ("sgd", {"decay_on": "weights", "nesterov": True})}),
    "adamw beside sgd": ("sgd", {"layers.[02].weight": ("adamw", {"decay": "independent"})}),
    "adamw with amsgrad beside adamw": ("adamw", {"*.bias": ("adamw", {"amsgrad": True, "beta1": 0.5})}),
    "muon and lion beside adam": ("adam_l2", {"layers.1.weight": ("muon", MORE["muon"]), "*.bias": ("lion", {})}),
    "sgd beside muon": ("muon", {"layers.0.*": ("sgd", {"decay": "coupled", "decay_order": "after"})}),
}


def made(trial_of, case: str, lr: float, own: float, scale: float = 1.0, precision: str = "float64", **parts: Any):
    base, groups = CASES[case]
    named = [
        (f"g{place}", {
            "match": match, "lr": scale, "weight_decay": 0.5,
            "optimizer": {**OPTIMIZERS[name], "lr": own, "weight_decay": 0.1 * own, **more},
        })
        for place, (match, (name, more)) in enumerate(groups.items())
    ]  # fmt: skip
    rule = MORE["muon"] if base == "muon" else {}
    return trial_of(
        lr, 0.1, optimizer=base, rule=rule, precision=precision, steps=STEPS, groups={"named": named}, **parts
    )


def optimizer_of(parameters: list[nn.Parameter], of: Any, lr: float, decay: float, classes: Any) -> Any:
    kept = {"nesterov", "momentum", "dampening", "decay", "decay_order", "decay_on", "eps", "amsgrad", "adjust"}
    given = {name: getattr(of, name) for name in kept if hasattr(of, name)}
    if hasattr(of, "beta1"):
        given["betas"] = (of.beta1, of.beta2)
    if classes is TORCHS:
        given = {name: value for name, value in given.items() if not name.startswith("decay")}
    return classes[of.name](parameters, lr=lr, weight_decay=decay, **given)


def by_hand(trial, classes: Any = CLASSES) -> list[float]:
    """The losses of a plain script with an optimizer for each group, and one for the rest."""
    config, workload = trial.config, prepared(trial.config, CPU)
    model = initialised(config, workload.extent).double()
    left, rates = dict(model.named_parameters()), []
    for _, group in config.groups.named:
        mine = [left.pop(name) for name in [*left] if fnmatchcase(name, group.match)]
        of = group.optimizer
        rates.append(
            (optimizer_of(mine, of, of.lr * group.lr, of.weight_decay * group.weight_decay, classes), of.lr * group.lr)
        )
    of = config.optimizer
    rates.append((optimizer_of([*left.values()], of, of.lr, of.weight_decay, classes), of.lr))
    losses = []
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, 200)):
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        m = float(warmup_cosine(t, STEPS, 5, 0.0))
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        if config.clip.name == "norm":
            nn.utils.clip_grad_norm_(model.parameters(), config.clip.limit)
        for optimizer, rate in rates:
            for each in optimizer.param_groups:
                each["lr"], each["multiplier"] = rate * m, m
            optimizer.step()
    return losses


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def hashes_of(observations) -> list[str]:
    return [each.weight_hash for each in observations]


@pytest.mark.parametrize("case", CASES)
def test_every_executor_does_what_optimizers_side_by_side_do(trial_of, train_all, case) -> None:
    numbers = ((0.01, 0.003, 1.0), (0.02, 0.01, 2.0), (0.02, 0.003, 0.0))
    trials = [made(trial_of, case, *each, clip={"name": "norm", "limit": 0.5}) for each in numbers]
    assert len({trial.group_id for trial in trials}) == 1
    assert len({trial.id for trial in trials}) == 3
    expected = [by_hand(trial) for trial in trials]
    assert not np.allclose(expected[0], expected[1], rtol=1e-6)
    for executor in EXECUTORS:
        np.testing.assert_allclose(losses_of(train_all(trials, executor)), expected, rtol=1e-10)


def test_they_are_torchs_own_optimizers_side_by_side(trial_of, train_all) -> None:
    named = [("m", {"match": "layers.1.*", "optimizer": {**OPTIMIZERS["sgd"], "lr": 0.1, "weight_decay": 1e-3}})]
    trial = trial_of(
        0.01, 0.1, optimizer="adamw", rule={}, precision="float64", steps=STEPS, groups={"named": named}
    )  # fmt: skip
    np.testing.assert_allclose(losses_of(train_all([trial], "traced"))[0], by_hand(trial, TORCHS), rtol=1e-10)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_trials_bits_do_not_depend_on_its_company_and_it_goes_on_from_a_checkpoint(
    trial_of, train_all, executor
) -> None:
    case = "muon and lion beside adam"
    trials = [made(trial_of, case, 0.01, own, precision="float32") for own in (0.001, 0.01, 0.1)]
    together = hashes_of(train_all(trials, executor))
    assert hashes_of(train_all(trials[1:2], executor)) == together[1:2]
    kept: list[Checkpoint] = []
    cohort, workload = Cohort(tuple(trials), executor, "shared", 4), prepared(trials[0].config, CPU)
    ended = train(cohort, workload, keeping=Keeping(lambda: True, kept.append))
    assert hashes_of(ended) == together
    assert hashes_of(train(cohort, workload, resume=kept[0])) == together


def test_a_rule_sees_its_own_slots_alone_and_what_is_frozen_has_none(trial_of) -> None:
    trial = made(trial_of, "adamw with amsgrad beside adamw", 0.01, 0.01)
    workload = prepared(trial.config, CPU)
    state = workload.start([trial])
    RUN["vmap"](workload, state, Inputs([trial], "shared", workload).block(0, STEPS, np.arange(1)))
    for name, largest in workload.layout.views(state.slots["max_exp_avg_sq"]).items():
        assert bool(largest.any()) is name.endswith("bias"), name
    frozen = ("g0", {"match": "*.bias", "freeze": True, "optimizer": {**OPTIMIZERS["sgd"], "lr": 1, "weight_decay": 0}})
    trial = trial_of(optimizer="adamw", groups={"named": [frozen]})
    assert prepared(trial.config, CPU).recipe.slots == ("exp_avg", "exp_avg_sq")


def test_a_graph_has_no_kernel_for_several_rules(trial_of) -> None:
    recipe = prepared(made(trial_of, "sgd beside adamw", 0.01, 0.01).config, CPU).recipe
    assert kernel_hindrance(recipe, CPU) == "a parameter group has an optimizer of its own"


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("sgd beside adamw", "a parameter group has an optimizer of its own"),
        ("", "muon moves each parameter by itself"),
    ],
)
def test_a_compiled_step_is_traced_instead_and_it_is_said(trial_of, case: str, why: str) -> None:
    trials = tuple(
        made(trial_of, case, 0.01, own) if case else trial_of(own, optimizer="muon", rule={"decay_on": "all"})
        for own in (0.01, 0.1)
    )
    choice, _ = choose(prepared(trials[0].config, CPU), Question(trials, "shared", "compiled"))
    assert (choice.executor, choice.reason) == ("traced", f"compiled was asked for, but {why}")


def test_so_it_is_where_compiling_was_chosen_once(trial_of, train_all) -> None:
    trials = [trial_of(lr, optimizer="muon", rule={"decay_on": "all"}, steps=3, warmup=1) for lr in (0.01, 0.1)]
    compiled, traced = (train_all(trials, executor) for executor in ("compiled", "traced"))
    assert [each.weight_hash for each in compiled] == [each.weight_hash for each in traced]
