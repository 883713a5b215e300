"""What trials of one structure train on: a model template, a rule, and the data on the device.

Everything here is shared by all lanes of a cohort; what differs between them is in State and in coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from data.augment import Augment
from data.load import load_splits
from models.build import build_model
from models.extent import Extent
from optim.build import rule_for
from optim.rule import Rule
from runner.engine.examples import Examples, on_device
from runner.engine.state import ParameterLayout, State
from runner.engine.streams import stream_key
from runner.engine.task import Task, task_of
from runner.errors import ConfigError
from runner.trial import Trial, TrialConfig

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Workload:
    """A structure, ready to train: `module` is a template whose own weights are never used."""

    module: nn.Module
    layout: ParameterLayout
    rule: Rule
    splits: dict[str, Examples]
    task: Task
    augment: Augment | None
    loss_factor: float  # a loss above this many times max(first loss, 1) is divergence
    device: torch.device
    dtype: torch.dtype
    extent: Extent

    @classmethod
    def of(cls, config: TrialConfig, device: torch.device) -> Workload:
        """Build the template, the rule and the data of `config` on `device`."""
        dtype = DTYPES[config.precision]
        arrays = load_splits(config.dataset)
        extent = Extent(arrays.features, arrays.outputs)
        task, splits = task_of(config.task, arrays.kind), on_device(arrays, device, dtype)
        module = initialised(config, extent).to(device=device, dtype=dtype)
        refuse_misfit(module, task, splits["train"], extent)
        return cls(
            module=module,
            layout=ParameterLayout.of(module),
            rule=rule_for(config.optimizer),
            splits=splits,
            task=task,
            augment=Augment(config.dataset.augment, arrays.outputs) if config.dataset.augment else None,
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
        # functional_call puts buffers that the module replaced back into `tensors`
        outputs = functional_call(self.module, tensors, (x,))
        return outputs, {name: tensors[name] for name in buffers}


def initialised(config: TrialConfig, extent: Extent) -> nn.Module:
    """Build a model on the host with the seed's own initial weights, leaving torch's generator untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(config.seed, "init"))
        return build_model(config.model, extent)


@torch.no_grad()
def refuse_misfit(module: nn.Module, task: Task, train: Examples, extent: Extent) -> None:
    """Raise ConfigError where a model's outputs for two examples are not what the task reads."""
    x, _ = train.take(torch.arange(min(2, train.rows), device=train.home))
    was_training = module.training
    outputs = module.eval()(x)
    module.train(was_training)
    expected = task.expected(len(x), extent.outputs, extent.inputs)
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
        got = f"outputs of shape {list(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ConfigError(
            f"the model returns {got} for {len(x)} examples of shape {list(extent.inputs)}; "
            f"expected one tensor of shape {list(expected)}",
            "build it for `extent.outputs`, the number of classes, values or tokens of the dataset",
        )
