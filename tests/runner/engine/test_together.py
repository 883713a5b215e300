"""Several of a trial's options at once: what a plain script does that has them all, in the loop and fused."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handed import handed_over
from safetensors.torch import load_file, save_file
from test_constructs import built_anew, seed_all
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from thalweg import optim
from thalweg.models.extent import Extent
from thalweg.models.schema import MLPConfig
from thalweg.optim.schedule import warmup_cosine
from thalweg.optim.schema import EMAConfig
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices, stream_key
from thalweg.runner.engine.workload import Workload, initialised
from thalweg.runner.study.start import InitConfig, declared
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial, TrialConfig

CPU = torch.device("cpu")
STEPS = 12
CLASSES = {
    "sgd": optim.SGDMomentum, "adamw": optim.AdamW, "adam_l2": optim.AdamL2, "lion": optim.Lion, "muon": optim.Muon,
}  # fmt: skip
Factors = dict[str, tuple[str, ...]]
FACTORS: Factors = {
    "rule": ("sgd", "sgd independent", "adamw", "adamw independent", "adamw amsgrad", "adam_l2", "lion", "muon"),
    "model": ("mlp", "batch", "dropout", "Normed", "Dropout", "Unused", "Tied", "Detached"),
    "sam": ("none", "standard", "adaptive"),
    "clip": ("none", "norm", "value"),
    "average": ("none", "ema"),
    "groups": ("none", "rates", "freeze"),
    "parts": ("1", "4"),
    "smoothing": ("0", "0.1"),
    "init": ("none", "file"),
    "decay_on": ("all", "weights"),
    "layout": ("shared", "per_lane"),
}
QUICK: Factors = FACTORS | {"rule": ("sgd", "adamw", "muon", "lion"), "model": ("batch", "Normed", "Dropout")}
RULES: dict[str, dict[str, Any]] = {
    "sgd": {"nesterov": True},
    "sgd independent": {"decay": "independent", "decay_order": "after"},
    "adamw independent": {"decay": "independent"},
    "adamw amsgrad": {"amsgrad": True},
}
PATTERNS = {False: ("layers.0.weight", "*.bias"), True: ("a.*", "z.bias|norm.*")}
LIMITS: dict[str, dict[str, float]] = {"none": {}, "norm": {"limit": 0.3}, "value": {"limit": 0.02}}


def pairwise(factors: Factors) -> list[dict[str, str]]:
    """Cases in which each pair of values of two factors is met at least once."""
    source, names = random.Random(0), list(factors)
    left = {((a, x), (b, y)) for a, b in combinations(names, 2) for x, y in product(factors[a], factors[b])}
    cases = []
    while left:
        tried, first = [], min(left)
        for _ in range(40):
            case = {name: source.choice(values) for name, values in factors.items()} | dict(first)
            pairs = {((a, case[a]), (b, case[b])) for a, b in combinations(names, 2)}
            tried.append((len(left & pairs), sorted(case.items()), pairs))
        _, found, pairs = max(tried)
        left -= pairs
        cases.append(dict(found))
        if {("model", "batch"), ("rule", "lion")} <= {*found}:
            cases[-1]["model"] = "mlp"  # before BatchNorm a bias's gradient is rounding, whose sign is all Lion sees
    return cases


@dataclass(frozen=True)
class Case:
    """Trials that have what a case says, and differ in rate and in what decay their average has."""

    of: dict[str, str]
    trial_of: Any
    folder: Path

    @property
    def own(self) -> bool:
        return self.of["model"][0].isupper()

    def trials(self) -> list[Trial]:
        return [Trial(self.config(lr, decay)) for lr, decay in ((0.01, 0.8), (0.02, 0.95), (0.04, 0.5))]

    def config(self, lr: float, decay: float) -> TrialConfig:
        of, name = self.of, self.of["rule"].split(" ")[0]
        rule = {"decay_on": of["decay_on"]} | RULES.get(of["rule"], {})
        rule |= {"beta1": 0.9, "beta2": 0.99} if name in ("adamw", "adam_l2") else {}
        config = self.trial_of(
            lr, 0.1, optimizer=name, steps=STEPS, warmup=3, precision="float64", rule=rule, **self.parts()
        ).config
        config = replace(config, model=self.model(), budget=replace(config.budget, accumulate=int(of["parts"])))
        if of["average"] == "ema":
            config = replace(config, average=EMAConfig(name="ema", decay=decay))
        return replace(config, init=self.start(config)) if of["init"] == "file" else config

    def parts(self) -> dict[str, Any]:
        of, (low, other) = self.of, PATTERNS[self.own]
        frozen = of["groups"] == "freeze"
        named = [
            ("low", {"match": low, "freeze": True} if frozen else {"match": low, "lr": 0.5, "weight_decay": 2.0}),
            ("other", {"match": other, "lr": 3.0, "weight_decay": 0.0}),
        ]
        return {
            "sam": {"name": of["sam"]} | ({} if of["sam"] == "none" else {"rho": 0.1}),
            "clip": {"name": of["clip"]} | LIMITS[of["clip"]],
            "task": {"loss": "auto", "label_smoothing": float(of["smoothing"])},
            "groups": {"named": [] if of["groups"] == "none" else named},
        }

    def model(self) -> ModelTarget | MLPConfig:
        if self.own:
            return ModelTarget(_target_=f"constructs.{self.of['model']}", arguments=())
        kinds: dict[str, dict[str, Any]] = {"batch": {"norm": "batch"}, "dropout": {"dropout": 0.3}}
        more = kinds.get(self.of["model"], {})
        return MLPConfig(name="mlp", hidden=(8, 8), init_gain=1.0, **more)

    def start(self, config: TrialConfig) -> InitConfig:
        """Weights and statistics of a file, which are no seed's."""
        path = self.folder / "start.safetensors"
        if not path.exists():
            model = fresh(Trial(replace(config, seed=77)), prepared(config, CPU).extent)
            held = {n: t * 1.1 if t.is_floating_point() else t + 3 for n, t in model.state_dict().items()}
            save_file({name: tensor.clone() for name, tensor in held.items()}, path)
        return declared(InitConfig(weights=str(path), partial=False))


@dataclass(frozen=True)
class Script:
    """What a plain script of a trial came to."""

    losses: list[float]
    tensors: dict[str, np.ndarray]
    val: float


def fresh(trial: Trial, extent: Extent) -> nn.Module:
    own = isinstance(trial.config.model, ModelTarget)
    return built_anew(trial, extent) if own else initialised(trial.config, extent).double()


def optimizer_of(config: TrialConfig, model: nn.Module) -> torch.optim.Optimizer:
    """One of ours with a group a parameter, whose rate at its peak is `initial`; what is frozen has none."""
    of, scales = config.optimizer, []
    for name, parameter in model.named_parameters():
        mine = [group for _, group in config.groups.named if any(fnmatchcase(name, m) for m in group.match.split("|"))]
        lr, decay = (mine[0].lr, mine[0].weight_decay) if mine else (1.0, 1.0)
        parameter.requires_grad_(not (mine and mine[0].freeze))
        if parameter.requires_grad:
            wd = 0.0 if of.decay_on == "weights" and parameter.dim() < 2 else of.weight_decay * decay
            scales.append({"params": [parameter], "initial": of.lr * lr, "weight_decay": wd})
    kept = ("nesterov", "momentum", "dampening", "decay", "decay_order", "eps", "amsgrad", "adjust")
    given = {name: getattr(of, name) for name in kept if hasattr(of, name)}
    given |= {"betas": (of.beta1, of.beta2)} if hasattr(of, "beta1") else {}
    return CLASSES[of.name](scales, lr=1.0, **given)


def by_hand(trial: Trial, workload: Workload) -> Script:
    config, losses = trial.config, []
    model = fresh(trial, workload.extent)
    if config.init.weights:
        model.load_state_dict(load_file(config.init.weights))
    optimizer = optimizer_of(config, model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(getattr(config.average, "decay", 0.0)))

    def passes(rows: np.ndarray, t: int) -> float:
        """The gradient of a batch in parts, and its loss."""
        model.zero_grad()
        key, total, parts = stream_key(config.seed, "forward", t), 0.0, config.budget.accumulate
        for number, part in enumerate(np.split(rows, parts)):
            x, y = workload.splits["train"].take(torch.as_tensor(part))
            seed_all(stream_key(key, "part", number) if number else key)
            loss = nn.functional.cross_entropy(model(x), y, label_smoothing=config.task.label_smoothing) / parts
            loss.backward()
            total += loss.item()
        return total

    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, 200)):
        m = float(warmup_cosine(t, STEPS, config.schedule.warmup, 0.0))
        for group in optimizer.param_groups:
            group["lr"], group["multiplier"] = group["initial"] * m, m
        losses.append(passes(rows, t))
        if config.sam.name != "none":
            uphill(config.sam, model, partial(passes, rows, t))
        limit = getattr(config.clip, "limit", 0.0)
        if config.clip.name == "norm":
            clip_grad_norm_(model.parameters(), limit)
        elif config.clip.name == "value":
            clip_grad_value_(model.parameters(), limit)
        optimizer.step()
        average.update_parameters(model)
    with torch.no_grad():
        for parameter, mean in zip(model.parameters(), average.module.parameters(), strict=True):
            parameter.copy_(mean if config.average.name == "ema" else parameter)
        val = workload.splits["val"]
        loss = nn.functional.cross_entropy(model.eval()(val.x), val.y).item()
    held = dict(model.named_parameters()) | dict(model.named_buffers())
    return Script(losses, {name: tensor.detach().numpy() for name, tensor in held.items()}, loss)


@torch.no_grad()
def uphill(sam: Any, model: nn.Module, again: Callable[[], float]) -> None:
    """SAM's second gradient in place of the first; weights and buffers are those of before it."""
    adaptive = sam.name == "adaptive"
    moving = [parameter for parameter in model.parameters() if parameter.grad is not None]
    before, held = [p.clone() for p in moving], {name: buffer.clone() for name, buffer in model.named_buffers()}
    grads = [p.grad.clone() for p in moving]
    norm = torch.cat([(p.abs() * g if adaptive else g).flatten() for p, g in zip(moving, grads, strict=True)]).norm()
    for p, g in zip(moving, grads, strict=True):
        p.add_(sam.rho * (p.square() * g if adaptive else g) / norm)
    with torch.enable_grad():
        again()
    for p, old in zip(moving, before, strict=True):
        p.copy_(old)
    for name, buffer in model.named_buffers():
        buffer.copy_(held[name])


@pytest.fixture(autouse=True)
def _project(constructs, monkeypatch):
    monkeypatch.chdir(constructs)


def told(case: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in case.items())


@pytest.mark.long
@pytest.mark.parametrize("case", pairwise(QUICK), ids=told)
def test_all_that_a_trial_asks_for_is_what_a_script_does(trial_of, tmp_path, case) -> None:
    agrees(Case(case, trial_of, tmp_path).trials(), case["layout"])


@pytest.mark.slow
@pytest.mark.parametrize("case", pairwise(FACTORS), ids=told)
def test_whatever_a_trial_asks_for_is_what_a_script_does(trial_of, tmp_path, case) -> None:
    agrees(Case(case, trial_of, tmp_path).trials(), case["layout"])


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
@pytest.mark.parametrize("groups", FACTORS["groups"])
def test_a_compiled_step_does_all_of_it_too(trial_of, tmp_path, groups) -> None:
    case = {name: values[-1] for name, values in FACTORS.items()}
    case |= {"model": "mlp", "rule": "adamw independent", "groups": groups}
    agrees(Case(case, trial_of, tmp_path).trials(), case["layout"], ("compiled",))


FUSED = ("loop", "vmap", "traced")


def agrees(trials: list[Trial], layout: Any, executors: tuple[str, ...] = FUSED) -> None:
    """Hold a cohort of each executor against scripts, and a trial alone against itself in company."""
    assert len({trial.group_id for trial in trials}) == 1
    workload = prepared(trials[0].config, CPU)
    expected = [by_hand(trial, workload) for trial in trials]
    for executor in ("loop",) if workload.habits.alone else executors:
        observed, weights = handed_over(trials, workload, executor, layout, 3)
        for one, handed, script in zip(observed, weights, expected, strict=True):
            np.testing.assert_allclose(one.series["train/batch_loss"].values, script.losses, rtol=1e-9)
            np.testing.assert_allclose(one.metrics["val/loss"], script.val, rtol=1e-9)
            assert handed.hash == one.weight_hash
            for key, array in handed.arrays.items():
                said = f"{executor} {key}"
                np.testing.assert_allclose(array, script.tensors[key], rtol=1e-7, atol=1e-7, err_msg=said)
        if executor == "compiled":  # half a minute for another width
            continue
        (alone,) = train(Cohort((trials[1],), executor, layout, 7), workload)
        assert alone.weight_hash == observed[1].weight_hash
