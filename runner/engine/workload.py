"""What trials of one structure train on: a model template, a rule, and the data on the device.

Everything here is shared by all lanes of a cohort; what differs between them is in State and in coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from data.load import load_splits
from models.build import build_model
from runner.engine.recipe import Recipe
from runner.engine.state import ParameterLayout, State
from runner.engine.streams import stream_key
from runner.trial import Trial, TrialConfig

DTYPES = {"float32": torch.float32, "float64": torch.float64, "tf32": torch.float32, "bf16": torch.float32}
"""What weights and data are held in. bf16 is autocast: the forward pass rounds, the weights do not."""


@dataclass(frozen=True)
class Examples:
    """One split on the device: x `[N, D]` in the trial's precision, y int64 `[N]`."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Workload:
    """A structure, ready to train: `module` is a template whose own weights are never used."""

    module: nn.Module
    layout: ParameterLayout
    recipe: Recipe
    splits: dict[str, Examples]
    device: torch.device
    dtype: torch.dtype
    extent: tuple[int, int]  # features in, classes out
    precision: str
    batch_size: int
    programs: dict[object, Any] = field(default_factory=dict)  # recorded and compiled steps, by what they are for

    @classmethod
    def of(cls, config: TrialConfig, device: torch.device) -> Workload:
        """Build the template, the rule and the data of `config` on `device`."""
        dtype = DTYPES[config.precision]
        arrays = load_splits(config.dataset)
        splits = {
            name: Examples(torch.tensor(split.x, device=device, dtype=dtype), torch.tensor(split.y, device=device))
            for name, split in (("train", arrays.train), ("val", arrays.validation), ("test", arrays.test))
        }
        extent = (arrays.train.x.shape[1], arrays.classes)
        module = initialised(config, extent)
        module = module.to(device=device, dtype=dtype)
        layout = ParameterLayout.of(module)
        return cls(
            module=module,
            layout=layout,
            recipe=Recipe.of(config, layout, torch.empty(0, device=device, dtype=dtype)),
            splits=splits,
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

    @cached_property
    def draws(self) -> bool:
        """Whether a forward pass in training draws random numbers: found out by making one."""
        train = self.splits["train"]
        rows = torch.arange(min(self.batch_size, train.y.shape[0]), device=self.device)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            before = _generators(self.device)
            self.forward(dict(self.module.named_parameters()), dict(self.module.named_buffers()), train.x[rows])
            return any(not torch.equal(a, b) for a, b in zip(before, _generators(self.device), strict=True))

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
        x: Tensor,
        y: Tensor,
        label_smoothing: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One trial's mean loss on a batch, and its buffers after the forward pass."""
        logits, after = self.forward(parameters, buffers, x)
        return cross_entropy(logits, y, label_smoothing), after

    def forward(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One trial's logits `[B, C]`, and its buffers after the pass. Those given stay as they are."""
        tensors = parameters | {name: buffer.clone() for name, buffer in buffers.items()}
        with self._autocast():
            # functional_call puts buffers that the module replaced back into `tensors`
            logits = functional_call(self.module, tensors, (x,))
        return logits.to(self.dtype), {name: tensors[name] for name in buffers}

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision != "bf16":
            return nullcontext()
        # Without its cache of rounded weights, which would outlive a step that changes them.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)


def cross_entropy(logits_BC: Tensor, y_B: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
    """The mean cross-entropy, as F.cross_entropy.

    That one goes through Python decompositions under vmap, which import sympy (1.3 s) at the first step. With the
    classes first the softmax runs along memory: together a quarter off the gradient of 54 small perceptrons.
    """
    logs_CB = logits_BC.t().log_softmax(0)
    loss = -logs_CB.gather(0, y_B[None]).mean()
    if label_smoothing is None:
        return loss
    return (1 - label_smoothing) * loss - label_smoothing * logs_CB.mean()


def _generators(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def initialised(config: TrialConfig, extent: tuple[int, int]) -> nn.Module:
    """Build a model on the host with the seed's own initial weights, leaving torch's generator untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(config.seed, "init"))
        return build_model(config.model, *extent)
