"""A torch.optim.Optimizer that runs a rule: groups, state, closures and refusals, once for every rule.

It knows no arithmetic. A group's options are checked against the schema of the rule's configuration, so a
range is written once. Two keys tell a group where a schedule stands: "lr", the current rate (any scheduler of
torch may write it), and "multiplier", the schedule's m, which independent decay follows and which stays 1
unless `WarmupCosine` writes it. Neither is computed from the other, so a rate of 0 may have a decay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, overload

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.optim import Optimizer

from optim.schema import OPTIMIZERS

if TYPE_CHECKING:
    import numpy as np
    from torch.optim.optimizer import ParamsT

    from optim.rule import Rule

Group = dict[str, Any]


class RuleOptimizer(Optimizer):
    """The torch.optim.Optimizer of the rule that the configuration named `config_name` describes.

    State per parameter: "step" (int) and the rule's slots. Gradients are read, never written; parameters
    without one are left alone.
    """

    config_name: ClassVar[str]
    rule: ClassVar[type[Any]]  # the rule's class; its fields are structural options

    def __init__(self, params: ParamsT, defaults: Group) -> None:
        super().__init__(params, defaults | {"multiplier": 1.0})

    def add_param_group(self, param_group: Group) -> None:
        """Add a group. ValueError, and no group added, for a value out of range or a complex parameter."""
        super().add_param_group(param_group)
        fault = self._fault(self.param_groups[-1])
        if fault is not None:
            self.param_groups.pop()
            raise ValueError(f"{type(self).__name__}: {fault}")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; return the closure's loss. Sparse: RuntimeError."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._refuse_sparse()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: Group) -> None:
        rule, hyper = self._read(group)
        known: dict[tuple[int, torch.dtype, torch.device], dict[str, Tensor]] = {}
        for theta in group["params"]:
            if theta.grad is None:
                continue
            state = self.state[theta]
            if not state:
                state |= {"step": 0} | {name: torch.zeros_like(theta) for name in rule.slots}
            key = (state["step"], theta.dtype, theta.device)
            if key not in known:
                known[key] = _tensors(rule.coefficients(hyper, 1.0, state["step"]), theta)
            rule.update(theta, theta.grad.clone(), {name: state[name] for name in rule.slots}, known[key])
            state["step"] += 1

    def _read(self, group: Group) -> tuple[Rule, dict[str, float]]:
        """Return the group's rule, and its hyperparameters with the schedule already in them."""
        options = self._options(group)
        rule: Rule = self.rule(**{item.name: options[item.name] for item in fields(self.rule)})
        hyper = {name: options[name] for name in rule.hyper}
        if options.get("decay") == "independent":
            hyper["weight_decay"] *= group["multiplier"]
        return rule, hyper

    def _options(self, group: Group) -> dict[str, Any]:
        """Return the group's options under the names of the schema."""
        options = group | {"name": self.config_name}
        if "betas" in group:
            options["beta1"], options["beta2"] = group["betas"]
        return {item.name: options[item.name] for item in fields(OPTIMIZERS[self.config_name])}

    def _fault(self, group: Group) -> str | None:
        """Return what is wrong with a group, in one sentence, or None."""
        if any(theta.is_complex() for theta in group["params"]):
            return "a parameter is complex; view it as real numbers with torch.view_as_real"
        if "betas" in group and not (isinstance(group["betas"], tuple | list) and len(group["betas"]) == 2):
            return f"betas is {group['betas']!r}; it should be a pair of numbers"
        schema, options = OPTIMIZERS[self.config_name], self._options(group)
        for item in fields(schema):
            value = options[item.name]
            if item.metadata.get("per_trial") and not isinstance(value, Real):
                return f"{item.name} is a {type(value).__name__}; it should be a number"
        try:
            _adapter(schema).validate_python(options)
        except ValidationError as error:
            first = error.errors()[0]
            wanted = first["msg"].removeprefix("Input ")
            return f"{first['loc'][0]} is {first['input']!r}; it {wanted}"
        return None

    def _refuse_sparse(self) -> None:
        """Raise RuntimeError before anything is changed."""
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is not None and theta.grad.layout is not torch.strided:
                    raise RuntimeError(
                        f"{type(self).__name__}: a gradient of shape {tuple(theta.shape)} is sparse; it "
                        "should be dense, e.g. torch.nn.Embedding(…, sparse=False)"
                    )


def _tensors(coefficients: dict[str, np.ndarray], like: Tensor) -> dict[str, Tensor]:
    """Return 0-d tensors of `like`'s dtype on its device, rounded once and sent in one transfer."""
    values = [float(value) for value in coefficients.values()]
    packed = torch.tensor(values, dtype=like.dtype, device=like.device)
    return dict(zip(coefficients, packed.unbind(), strict=True))


@cache
def _adapter(schema: type) -> TypeAdapter[Any]:
    return TypeAdapter(schema)
