"""What trials of one structure train on: a model template, a rule, and the data on the device.

Everything here is shared by all lanes of a cohort; what differs between them is in State and in coefficients.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from thalweg.data.augment import Augment
from thalweg.data.load import load_splits
from thalweg.data.splits import Splits
from thalweg.models.build import build_model
from thalweg.models.extent import Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.examples import Examples, on_device, settled
from thalweg.runner.engine.outputs import refuse_parts, refuse_unlike
from thalweg.runner.engine.own import own_model, own_splits, own_task
from thalweg.runner.engine.recipe import Recipe
from thalweg.runner.engine.state import ParameterLayout, State
from thalweg.runner.engine.streams import stream_key
from thalweg.runner.engine.task import Task
from thalweg.runner.engine.user import users_error
from thalweg.runner.study.target import DatasetTarget, ModelTarget
from thalweg.runner.study.trial import Trial, TrialConfig

DTYPES = {"float32": torch.float32, "float64": torch.float64, "tf32": torch.float32, "bf16": torch.float32}
"""What weights and data are held in. bf16 is autocast: the forward pass rounds, the weights do not."""


@dataclass(frozen=True)
class Workload:
    """A structure, ready to train: `module` is a template whose own weights are never used."""

    module: nn.Module
    layout: ParameterLayout
    recipe: Recipe
    splits: dict[str, Examples]
    task: Task
    augment: Augment | None
    device: torch.device
    dtype: torch.dtype
    extent: Extent
    precision: str
    batch_size: int
    programs: dict[object, Any] = field(default_factory=dict)  # recorded and compiled steps, by what they are for

    @classmethod
    def of(cls, config: TrialConfig, device: torch.device, metrics: tuple[str, ...] = ()) -> Workload:
        """Build the template, the rule and the data of `config` on `device`. metrics: those of the user's own."""
        device, dtype = settled(device), DTYPES[config.precision]
        data = config.dataset
        arrays = own_splits(data) if isinstance(data, DatasetTarget) else load_splits(data)
        task, splits = own_task(config.task, arrays.kind, metrics), on_device(arrays, device, dtype)
        extent = extent_of(arrays)
        module = initialised(config, extent).to(device=device, dtype=dtype)
        with users_error(f"model={config.model.name} fails on examples of shape {list(extent.inputs)}"):
            refuse_misfit(module, task, splits["train"], extent)
        if config.budget.batch_size == 1:
            _refuse_lone_row(module, splits["train"])
        layout = ParameterLayout.of(module)
        return cls(
            module=module,
            layout=layout,
            recipe=Recipe.of(config, layout, torch.empty(0, device=device, dtype=dtype)),
            splits=splits,
            task=task,
            augment=Augment(config.dataset.augment, arrays.outputs) if config.dataset.augment else None,
            device=device,
            dtype=dtype,
            extent=extent,
            precision=config.precision,
            batch_size=config.budget.batch_size,
        )

    def template_state(self, lanes: int) -> State:
        """A state of `lanes` equal lanes with the template's weights, for trying things out."""
        named = {name: parameter.detach()[None] for name, parameter in self.module.named_parameters()}
        theta_KP = self.layout.flatten(named).repeat(lanes, 1)
        buffers = {name: torch.stack([buffer] * lanes) for name, buffer in self.module.named_buffers()}
        return State.start(theta_KP, self.recipe.rule.slots, buffers)

    @property
    def widths(self) -> list[tuple[str, int]]:
        """(executor, K) of the whole-step programs made so far."""
        return [key[:2] for key in self.programs if isinstance(key, tuple) and key[0] in ("compiled", "graphed")]

    @property
    def draws(self) -> bool:
        """Whether a forward pass in training draws random numbers."""
        return self._habits[0]

    @property
    def steady(self) -> bool:
        """Whether a forward pass leaves the module's Python attributes as they were; if not, no recording holds."""
        return self._habits[1]

    @cached_property
    def _habits(self) -> tuple[bool, bool]:
        """(draws, steady), found out by making a forward pass."""
        train = self.splits["train"]
        x, _ = train.take(torch.arange(min(self.batch_size, train.rows), device=train.home))
        with self._fork(), torch.no_grad():
            generators, attributes = _generators(self.device), _attributes(self.module)
            self.forward(dict(self.module.named_parameters()), dict(self.module.named_buffers()), x)
            after = _generators(self.device)
        draws = any(not torch.equal(a, b) for a, b in zip(generators, after, strict=True))
        return draws, attributes == _attributes(self.module)

    def apart(self) -> AbstractContextManager[None]:
        """Where torch's generators may be seeded at will: they are put back as they were."""
        return self._fork() if self.draws else nullcontext()

    def _fork(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    @contextmanager
    def numerics(self) -> Iterator[None]:
        """Matrix products in this structure's precision: TF32 where it asks for it, whatever was set before."""
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        fast = self.precision == "tf32" and self.device.type == "cuda"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]

    def start(self, trials: Sequence[Trial]) -> State:
        """The state of `trials` before their first step, one lane each, in order."""
        rows: dict[object, tuple[Tensor, dict[str, Tensor]]] = {}
        for trial in trials:
            key = (trial.config.model, trial.config.seed)
            if key not in rows:
                module = initialised(trial.config, self.extent).to(dtype=self.dtype)
                named = {name: p.detach()[None] for name, p in module.named_parameters()}
                rows[key] = (self.layout.flatten(named), dict(module.named_buffers()))
        chosen = [rows[(trial.config.model, trial.config.seed)] for trial in trials]
        theta_KP = torch.cat([theta for theta, _ in chosen]).to(self.device)
        buffers = {name: torch.stack([held[name] for _, held in chosen]).to(self.device) for name in chosen[0][1]}
        return State.start(theta_KP, self.recipe.rule.slots, buffers)

    def loss(
        self,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        batch: tuple[Tensor, Tensor],
        label_smoothing: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One trial's mean loss on a batch (x, y), and its buffers after the forward pass."""
        x, y = batch
        outputs, after = self.forward(parameters, buffers, x)
        return self.task.loss(outputs, y, label_smoothing), after

    def forward(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One trial's outputs `[B, …]`, and its buffers after the pass. Those given stay as they are."""
        tensors = parameters | {name: buffer.clone() for name, buffer in buffers.items()}
        with self._autocast():
            # functional_call puts buffers that the module replaced back into `tensors`
            outputs = functional_call(self.module, tensors, (x,))
        refuse_parts(outputs)
        if self.precision == "bf16":
            outputs = outputs.to(self.dtype)
        return outputs, {name: tensors[name] for name in buffers}

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision != "bf16":
            return nullcontext()
        # Without its cache of rounded weights, which would outlive a step that changes them.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)


INTERNAL = frozenset(vars(nn.Module()))
"""What every module holds: its parameters, buffers, parts and hooks."""


def _attributes(module: nn.Module) -> dict[tuple[str, str], str]:
    """What a module and its parts hold besides tensors and parts, as text."""
    return {
        (name, key): repr(value)
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if key not in INTERNAL and not any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
    }


def _generators(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def initialised(config: TrialConfig, extent: Extent) -> nn.Module:
    """Build a model on the host with the seed's own initial weights, leaving torch's generator untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(config.seed, "init"))
        if isinstance(config.model, ModelTarget):
            return own_model(config.model, extent)
        return build_model(config.model, extent)


def extent_of(arrays: Splits) -> Extent:
    """What a model is to be built for on these data."""
    integers = arrays.pixels is None and arrays.train.x.dtype.kind in "iub"
    return Extent(arrays.features, arrays.outputs, tokens=arrays.kind == "tokens", integers=integers)


@torch.no_grad()
def refuse_misfit(module: nn.Module, task: Task, train: Examples, extent: Extent) -> None:
    """Raise ConfigError where a model's outputs for two examples are not what the task reads."""
    x, _ = train.take(torch.arange(min(2, train.rows), device=train.home))
    was_training = module.training
    outputs = module.eval()(x)
    module.train(was_training)
    expected = task.expected(len(x), extent.outputs, extent.inputs)
    refuse_unlike(outputs, expected, f"{len(x)} examples of shape {list(extent.inputs)}")


@torch.no_grad()
def _refuse_lone_row(module: nn.Module, train: Examples) -> None:
    """Raise ConfigError where BatchNorm would meet a single value, of which there is no deviation."""
    x, _ = train.take(torch.zeros(1, dtype=torch.int64, device=train.home))
    with torch.random.fork_rng(devices=[]):
        try:
            copy.deepcopy(module).train()(x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                "budget.batch_size is 1, but the model has BatchNorm, which needs two examples or more in a batch",
                "raise budget.batch_size, or take another normalisation",
            ) from None
