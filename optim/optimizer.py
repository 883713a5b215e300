"""A torch.optim.Optimizer that runs a rule: groups, state, closures and refusals, once for every rule.

It knows no arithmetic. A group's options are checked against the schema of the rule's configuration, so a
range is written once. Two keys tell a group where a schedule stands: "lr", the current rate, which anybody may write,
and "multiplier", the schedule's m, which independent decay follows. A scheduler of optim/scheduler.py writes both, so
that a base rate of 0 may have a decay; where only the rate is written, m is its share of the peak.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.optim import Optimizer

from thalweg.optim.decay import decay_lists, decays
from thalweg.optim.loading import adopt_group, adopt_state
from thalweg.optim.schema import OPTIMIZERS
from thalweg.optim.sharded import FLAT_SHARD, is_flat_shard, is_sharded, keep_shards_, locals_of, whole

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

    from thalweg.optim.rule import Rule

Group = dict[str, Any]
FLAGS = {"maximize", "nesterov", "amsgrad"}
BLOCK = 1 << 16
"""Elements that an elementwise rule is handed at a time on a CPU: its operations then find their operands in the
second-level cache. scripts/bench --optim measures what that gains."""


class RuleOptimizer(Optimizer):
    """The torch.optim.Optimizer of the rule that the configuration named `config_name` describes.

    State per parameter: "step" (int) and the rule's slots. Gradients are read, never written; parameters
    without one are left alone.
    """

    config_name: ClassVar[str]
    rule: ClassVar[type[Any]]  # the rule's class; its fields are structural options
    keeps: ClassVar[tuple[str, ...]]  # all slots that a parameter may have

    def __init__(self, params: ParamsT, defaults: Group) -> None:
        super().__init__(params, defaults | {"multiplier": None, "peak": 0.0})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a saved state, of torch's like optimizer too; groups that lack an option get its default.

        ValueError, and nothing taken over, for a state that this class cannot go on from.
        """
        defaults = state.get("defaults") or self.defaults
        for group in state["param_groups"]:
            for fault in filter(None, self._faults_of_saved(group, state["state"], defaults)):
                raise ValueError(f"{type(self).__name__}: {fault}")
        super().__setstate__(state)
        self.defaults.pop("differentiable", None)  # torch's, and no option of ours

    def _faults_of_saved(self, group: Group, state: dict[Tensor, Any], defaults: Group) -> Iterator[str | None]:
        """Bring a saved group and its parameters' state into our words, and yield what is wrong with them."""
        yield self._adopt_group(group, defaults)
        _make_flags_plain(group)
        yield self._fault(group)
        for theta in group["params"]:
            if theta in state:
                yield self._adopt_state(state[theta], theta)

    def _adopt_group(self, group: Group, defaults: Group) -> str | None:
        return adopt_group(group, defaults)

    def _adopt_state(self, state: dict[str, Any], theta: Tensor) -> str | None:
        return adopt_state(state, theta, self.keeps)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group. ValueError, and no group added, for a value out of range or a complex parameter."""
        super().add_param_group(param_group)
        _make_flags_plain(self.param_groups[-1])
        fault = self._fault(self.param_groups[-1])
        if fault is not None:
            self.param_groups.pop()
            raise ValueError(f"{type(self).__name__}: {fault}")
        self.param_groups[-1]["peak"] = float(self.param_groups[-1]["lr"])

    def decay_lists(self) -> tuple[list[str], list[str]]:
        """Return the names of the parameters that decay, and of those that `decay_on` spares, over all groups.

        A parameter has the name it was given in (name, parameter) pairs, else "GROUP.PLACE".
        """
        lists: tuple[list[str], list[str]] = ([], [])
        for number, group in enumerate(self.param_groups):
            names = group.get("param_names") or [f"{number}.{place}" for place in range(len(group["params"]))]
            named = zip(names, group["params"], strict=True)
            for names_so_far, found in zip(lists, decay_lists(named, group["decay_on"]), strict=True):
                names_so_far += found
        return lists

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
        refuse_sparse(self)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: Group) -> None:
        rule, hyper = self._read(group)
        names = self._slots(rule, hyper)
        known: dict[tuple[int, bool, torch.dtype, torch.device], dict[str, Tensor]] = {}
        for theta in group["params"]:
            if theta.grad is None:
                continue
            state = self._state_of(theta, names)
            decaying = decays(theta.shape, group["decay_on"])
            key = (state["step"], decaying, theta.dtype, theta.device)
            if key not in known:
                known[key] = _tensors(rule.coefficients(hyper, 1.0, state["step"]), decaying, theta)
            slots = {name: state[name] for name in names}
            update = _update_sharded if is_sharded(theta) else _update
            update(rule, (theta, theta.grad), slots, known[key], torch.neg if group["maximize"] else _copy)
            state["step"] += 1

    def _slots(self, rule: Rule, hyper: dict[str, float]) -> tuple[str, ...]:
        """Return the slots that a step needs."""
        return rule.slots

    def _state_of(self, theta: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
        """Return a parameter's state with these slots, zero where it lacks one; without any of them it begins anew."""
        state: dict[str, Any] = self.state[theta]
        missing = [name for name in names if name not in state]
        if not state or missing:
            if len(missing) == len(names):
                state["step"] = 0
            state |= {name: torch.zeros_like(theta) for name in missing}
        return state

    def _read(self, group: Group) -> tuple[Rule, dict[str, float]]:
        """Return the group's rule, and its hyperparameters with the schedule already in them."""
        options = self._options(group)
        rule: Rule = self.rule(**{item.name: options[item.name] for item in fields(self.rule)})
        hyper = {name: float(options[name]) for name in rule.hyper}
        if options.get("decay") == "independent":
            hyper["weight_decay"] *= _multiplier(group, hyper["lr"])
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
        by_shape = not self.rule.elementwise or group["decay_on"] == "weights"
        if by_shape and any(is_flat_shard(theta) for theta in group["params"]):
            return f"a parameter is {FLAT_SHARD}"
        if "betas" in group and not (isinstance(group["betas"], tuple | list) and len(group["betas"]) == 2):
            return f"betas is {group['betas']!r}; it should be a pair of numbers"
        for flag in FLAGS & group.keys():
            if not isinstance(group[flag], bool):
                return f"{flag} is {group[flag]!r}; it should be True or False"
        schema, options = OPTIMIZERS[self.config_name], self._options(group)
        for item in fields(schema):
            if item.metadata.get("per_trial"):
                value = options[item.name]
                if not _is_number(value):
                    return f"{item.name} is a {_described(value)}; it should be a number"
                options[item.name] = float(value) if isinstance(value, Tensor) else value
        if options.get("eps") == 0:  # as in torch; a study's is above 0
            options["eps"] = 1.0
        try:
            _adapter(schema).validate_python(options)
        except ValidationError as error:
            first = error.errors()[0]
            wanted = first["msg"].removeprefix("Input ")
            return f"{first['loc'][0]} is {first['input']!r}; it {wanted}"
        return None


def _multiplier(group: Group, rate: float) -> float:
    """Return the schedule's m: what was written beside this rate, else the rate as a share of the peak.

    A "multiplier" that a schedule of ours left behind belongs to its own rate, base·m: once another writes the rate it
    no longer holds. The peak is the largest of the rates that the group was made with, has stepped with, and that
    torch's schedulers note in it ("initial_lr"; for OneCycleLR "max_lr", whatever it was made with).
    """
    m, base = group["multiplier"], float(group.get("initial_lr", math.nan))
    if m is not None and (math.isnan(base) or math.isclose(rate, base * m, rel_tol=1e-6)):
        return float(m)
    reached = float(group["max_lr"] if "max_lr" in group else group["peak"])
    peak = group["peak"] = max(rate, reached, base)  # a base of NaN is never larger
    return rate / peak if peak else 1.0


def refuse_sparse(optimizer: Optimizer) -> None:
    """Raise RuntimeError if a gradient is sparse, before anything is changed."""
    for group in optimizer.param_groups:
        for theta in group["params"]:
            if theta.grad is not None and theta.grad.layout is not torch.strided:
                raise RuntimeError(
                    f"{type(optimizer).__name__}: a gradient of shape {tuple(theta.shape)} is sparse; it "
                    "should be dense, e.g. torch.nn.Embedding(…, sparse=False)"
                )


def _update(
    rule: Rule, pair: tuple[Tensor, Tensor], slots: dict[str, Tensor], c: dict[str, Tensor], fill: Callable[..., Tensor]
) -> None:
    """Hand the rule one parameter and what `fill` makes of its gradient: as a cohort of one trial, or in blocks."""
    theta, grad = pair
    if not rule.elementwise:
        filled = fill(grad, out=torch.empty_like(theta))
        rule.update(theta[None], filled[None], {name: slot[None] for name, slot in slots.items()}, c)
        return
    scratch: Tensor | None = None
    for part, part_grad, *parts in _blocks(theta, grad, *slots.values()):
        scratch = torch.empty_like(part) if scratch is None or scratch.shape != part.shape else scratch
        rule.update(part, fill(part_grad, out=scratch), dict(zip(slots, parts, strict=True)), c)


def _update_sharded(
    rule: Rule, pair: tuple[Tensor, Tensor], slots: dict[str, Tensor], c: dict[str, Tensor], fill: Callable[..., Tensor]
) -> None:
    """As `_update`: on the shard of this process, or, where a rule needs it whole, on the gathered parameter."""
    parts = locals_of(*pair, *slots.values()) if rule.elementwise else [whole(t) for t in (*pair, *slots.values())]
    theta, grad, *held = parts
    _update(rule, (theta, grad), dict(zip(slots, held, strict=True)), c, fill)
    if not rule.elementwise:
        keep_shards_((pair[0], *slots.values()), (theta, *held))


def _copy(source: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(source)


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield matching pieces of tensors of one shape: the whole, or BLOCK elements at a time where memory allows."""
    if tensors[0].numel() <= BLOCK or tensors[0].device.type != "cpu" or not all(t.is_contiguous() for t in tensors):
        return iter([tensors])
    return zip(*(torch.split(t.view(-1), BLOCK) for t in tensors), strict=True)


def _tensors(coefficients: dict[str, np.ndarray], decaying: bool, like: Tensor) -> dict[str, Tensor]:
    """Return 0-d tensors on the device of `like`, rounded once and sent in one transfer; no decay if not decaying.

    In the dtype of `like`, or float32 where that is narrower: 1−β2 = .001 is off by a fifth of a percent in bfloat16.
    """
    values = [float(value) * (decaying or name != "decay") for name, value in coefficients.items()]
    dtype = torch.promote_types(like.dtype, torch.float32)
    packed = torch.tensor(values, dtype=dtype, device=like.device)
    return dict(zip(coefficients, packed.unbind(), strict=True))


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, Real) and not isinstance(value, bool)


def _make_flags_plain(group: Group) -> None:
    """Write bools for numpy's and, as torch takes it, for None; `_fault` sees to the others."""
    for flag in FLAGS & group.keys():
        if group[flag] is None or isinstance(group[flag], np.bool_):
            group[flag] = bool(group[flag])


def _described(value: object) -> str:
    return f"Tensor of {value.numel()} elements" if isinstance(value, Tensor) else type(value).__name__


@cache
def _adapter(schema: type) -> TypeAdapter[Any]:
    return TypeAdapter(schema)
