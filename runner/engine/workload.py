"""What trials of one structure train on: a model template, a rule, and the data on the device.

Everything here is shared by all lanes of a cohort; what differs between them is in State and in coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from data.load import load_splits
from models.build import build_model
from optim.build import rule_for
from optim.rule import Rule
from runner.engine.state import ParameterLayout, State
from runner.engine.streams import stream_key
from runner.trial import Trial, TrialConfig

DTYPES = {"float32": torch.float32, "float64": torch.float64}


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
    rule: Rule
    splits: dict[str, Examples]
    loss_factor: float  # a loss above this many times max(first loss, 1) is divergence
    device: torch.device
    dtype: torch.dtype
    extent: tuple[int, int]  # features in, classes out

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
        return cls(
            module=module,
            layout=ParameterLayout.of(module),
            rule=rule_for(config.optimizer),
            splits=splits,
            loss_factor=config.divergence.loss_factor,
            device=device,
            dtype=dtype,
            extent=extent,
        )

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
        return State.start(theta_KP, self.rule.slots, buffers)

    def loss(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One trial's mean loss on a batch, and its buffers after the forward pass."""
        logits, after = self.forward(parameters, buffers, x)
        return cross_entropy(logits, y), after

    def forward(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One trial's logits `[B, C]`, and its buffers after the pass. Those given stay as they are."""
        tensors = parameters | {name: buffer.clone() for name, buffer in buffers.items()}
        logits = functional_call(
            self.module, tensors, (x,)
        )  # puts buffers that the module replaced back into `tensors`
        return logits, {name: tensors[name] for name in buffers}


def cross_entropy(logits_BC: Tensor, y_B: Tensor) -> Tensor:
    """The mean cross-entropy, as F.cross_entropy.

    That one goes through Python decompositions under vmap, which import sympy (1.3 s) at the first step. With the
    classes first the softmax runs along memory: together a quarter off the gradient of 54 small perceptrons.
    """
    return -logits_BC.t().log_softmax(0).gather(0, y_B[None]).mean()


def initialised(config: TrialConfig, extent: tuple[int, int]) -> nn.Module:
    """Build a model on the host with the seed's own initial weights, leaving torch's generator untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(config.seed, "init"))
        return build_model(config.model, *extent)
