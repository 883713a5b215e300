"""What a step does with a gradient: SAM's climb, clipping, where decay applies, the rule. Structure, not numbers.

The numbers of a trial arrive as coefficients `[K, 1]`: the rule's own names, "sam.rho", "clip.limit",
"average.weight", "scaling.interval" and "scaling.floor", and of a parameter group those that its multipliers change,
such as "head/rate".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from thalweg.optim.build import rule_for
from thalweg.optim.clip import clip_norm_, clip_value_
from thalweg.optim.decay import decays
from thalweg.optim.groups import assigned
from thalweg.optim.rule import Coefficients, Rule, Slots
from thalweg.optim.sam import ascend_, ascent_scale, normed_vector
from thalweg.runner.engine.parameters import ParameterLayout
from thalweg.runner.engine.state import AVERAGE
from thalweg.runner.study.trial import TrialConfig


@dataclass(frozen=True)
class Own:
    """The rule of a parameter group that has an optimizer of its own, and on what it decays."""

    rule: Rule
    decay_on: str


@dataclass(frozen=True)
class Recipe:
    """The steps of one structure. `loss_factor`: a loss above this many times max(first loss, 1) is divergence."""

    rule: Rule
    layout: ParameterLayout
    sam: str  # "none", "standard" or "adaptive"
    clip: str  # "none", "norm" or "value"
    average: str  # "none" or "ema"
    scaling: bool  # whether losses are scaled, and steps skipped whose gradient is not finite
    decays_P: Tensor | None  # 1 where a parameter decays, else 0; None where all do
    loss_factor: float
    unused: frozenset[str] = frozenset()  # parameters that get no gradient: they stay as they are, as in torch
    unused_U: Tensor | None = None  # their places in theta
    frozen: frozenset[str] = frozenset()  # of them, those that a parameter group or the model itself freezes
    whole: ParameterLayout | None = None  # of all parameters, where theta lacks those that are frozen
    group_of: Mapping[str, str] = field(default_factory=dict)  # parameter -> its group, of those that train in one
    group_P: Tensor | None = None  # the place of a number's group among `groups`, 0 for none; None without groups
    scalars: tuple[str, ...] = ()  # what a step tells of itself beside its loss, such as "gradient_norm"
    logged: tuple[str, ...] = ()  # what the model tells of a step, behind these
    flat: frozenset[str] = frozenset()  # parameters that a rule of matrices is given as vectors
    scaled: tuple[str, ...] = ()  # the coefficients that a group's multipliers change
    own: Mapping[str, Own] = field(default_factory=dict)  # group -> its optimizer, of those that have one

    @classmethod
    def of(
        cls, config: TrialConfig, layout: ParameterLayout, like: Tensor, still: frozenset[str] = frozenset()
    ) -> Recipe:
        """The recipe that `config` asks for; `like` has the dtype and device of the weights.

        still: parameters that the model itself freezes.
        """
        decay_on, rule = config.optimizer.decay_on, rule_for(config.optimizer)
        group_of = assigned(config.groups, list(layout.shapes), still)
        freezing = {name for name, group in config.groups.named if group.freeze}
        by_adamw = {name for name, group in config.groups.named if group.adamw}
        frozen = still | {name for name, group in group_of.items() if group in freezing}
        own = {
            name: Own(rule_for(group.optimizer), group.optimizer.decay_on)
            for name, group in config.groups.named
            if group.optimizer is not None and not group.freeze
        }
        made = cls(
            rule=rule,
            layout=layout,
            sam=config.sam.name,
            clip=config.clip.name,
            average=config.average.name,
            scaling=config.scaling.name != "none",
            decays_P=None if decay_on == "all" else layout.mask(partial(decays, decay_on=decay_on)).to(like),
            loss_factor=config.divergence.loss_factor,
            frozen=frozen,
            group_of={name: group for name, group in group_of.items() if name not in frozen},
            flat=frozenset(name for name, group in group_of.items() if group in by_adamw),
            scaled=_scaled(rule) if group_of else (),
            own=own,
        )
        return replace(made, group_P=made.places(like) if made.group_of else None).sparing(frozenset(), like)

    def sparing(self, unused: frozenset[str], like: Tensor) -> Recipe:
        """The recipe that leaves these parameters alone."""
        unused |= self.frozen
        if not unused:
            return self
        places = self.layout.spread(lambda name: name in unused).nonzero()[:, 0].to(like.device)
        return replace(self, unused=unused, unused_U=places if len(places) else None)

    def apart(self, like: Tensor) -> Recipe:
        """The recipe for weights without those that are frozen, which are held beside them."""
        trains_P = self.layout.spread(lambda name: name not in self.frozen).bool().to(like.device)
        decays_P, group_P = (None if each is None else each[trains_P] for each in (self.decays_P, self.group_P))
        layout = self.layout.without(self.frozen)
        return replace(self, layout=layout, whole=self.layout, decays_P=decays_P, group_P=group_P).sparing(
            self.unused, like
        )

    def trained(self, rows_KP: np.ndarray) -> np.ndarray:
        """Of rows of all parameters' numbers those of the parameters that train; others stay as they are."""
        if self.whole is None or rows_KP.shape[1] != self.whole.size:
            return rows_KP
        return rows_KP[:, self.whole.spread(lambda name: name in self.layout.shapes).bool().numpy()]

    def norm(self, vectors_KP: Tensor, fixed: Mapping[str, Tensor] | None = None) -> Tensor:
        """The norm of each trial's vector, `[K]`. fixed: what it has at frozen parameters, nothing unless given.

        In which order it is added up shows in its last bits. Where these decide anything, that is the order of all
        parameters, whether those that are frozen are held beside the others or not.
        """
        if self.whole is None or not (self.clip == "norm" or self.sam != "none" or self.scalars):
            return norm_of(vectors_KP)
        zero = vectors_KP.new_zeros(1)
        still = fixed or {name: zero.expand(1, *self.whole.shapes[name]) for name in self.frozen}
        norms = []
        for k in range(len(vectors_KP)):  # one row at a time: they are long
            own = {name: each[k % len(each)][None] for name, each in still.items()}
            norms.append(norm_of(self.whole.flatten(self.layout.views(vectors_KP[k : k + 1]) | own)))
        return torch.cat(norms)

    @property
    def told(self) -> tuple[str, ...]:
        """What a step tells beside its loss, in order."""
        return (*self.scalars, *self.logged)

    @property
    def groups(self) -> list[str]:
        """The parameter groups that train."""
        return sorted({*self.group_of.values()})

    def places(self, like: Tensor) -> Tensor:
        """Of each number of theta, the place of its group, counted from 1; 0 where it has none."""
        place = {group: number for number, group in enumerate(self.groups, start=1)}
        return self.layout.spread(lambda name: place.get(self.group_of.get(name, ""), 0)).long().to(like.device)

    @property
    def elementwise(self) -> bool:
        """Whether one rule takes all parameters at once."""
        return self.rule.elementwise and not self.own

    def rule_of(self, group: str) -> Rule:
        """The rule by which a parameter group trains."""
        return self.own[group].rule if group in self.own else self.rule

    @property
    def slots(self) -> tuple[str, ...]:
        """What a state holds beside the weights: the slots of all rules, and the average of the weights."""
        rules = (self.rule, *(each.rule for each in self.own.values()))
        slots = dict.fromkeys(slot for rule in rules for slot in rule.slots)
        return (*slots,) if self.average == "none" else (*slots, AVERAGE)

    def follow(self, theta_KP: Tensor, slots: Slots, c: Coefficients) -> None:
        """Move the average, if there is one, towards the weights: a ← a + weight·(θ − a), but for what never moves."""
        if self.average == "none":
            return
        slots[AVERAGE].lerp_(theta_KP, c["average.weight"])
        if self.unused_U is not None:
            slots[AVERAGE][:, self.unused_U] = theta_KP[:, self.unused_U]

    def climb(self, theta_KP: Tensor, grad_KP: Tensor, c: Coefficients) -> None:
        """Move theta to where SAM takes its gradient, in place; `grad_KP` is lost."""
        adaptive = self.sam == "adaptive"
        norm_K1 = self.norm(normed_vector(theta_KP, grad_KP, adaptive))[:, None]
        ascend_(theta_KP, grad_KP, ascent_scale(c["sam.rho"], norm_K1), adaptive)

    def shorten(self, grad_KP: Tensor, norm_K: Tensor, c: Coefficients) -> None:
        """Clip the gradients in place. norm_K: their norms."""
        if self.clip == "norm":
            clip_norm_(grad_KP, norm_K[:, None], c["clip.limit"])
        elif self.clip == "value":
            clip_value_(grad_KP, c["clip.limit"])

    def update(self, theta_KP: Tensor, grad_KP: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply the rule in place: to all parameters at once if it is elementwise, else to one after another."""
        if not self.elementwise:
            self._update_each(theta_KP, grad_KP, slots, lambda name: None if name in self.unused else c)
            return
        if self.group_P is not None:
            c = {**c, **{name: self._by_place(name, c) for name in self.scaled}}
        if self.decays_P is not None:
            c = {**c, "decay": c["decay"] * self.decays_P}
        if self.unused_U is None:
            self.rule.update(theta_KP, grad_KP, slots, c)
            return
        written = (theta_KP, *slots.values())
        before = [tensor[:, self.unused_U] for tensor in written]
        self.rule.update(theta_KP, grad_KP, slots, c)
        for tensor, kept_KU in zip(written, before, strict=True):
            tensor[:, self.unused_U] = kept_KU

    def _by_place(self, name: str, c: Coefficients) -> Tensor:
        """A coefficient that differs between groups, `[K, P]`."""
        assert self.group_P is not None
        of_groups = [c[name], *(c[f"{group}/{name}"] for group in self.groups)]
        return torch.cat(of_groups, dim=1).index_select(1, self.group_P)

    def update_some(self, theta_KP: Tensor, grad_KP: Tensor, slots: Slots, c: Mapping[str, Coefficients]) -> None:
        """Apply the rule in place to the parameters that have coefficients."""
        self._update_each(theta_KP, grad_KP, slots, c.get)

    def _update_each(
        self, theta_KP: Tensor, grad_KP: Tensor, slots: Slots, c_of: Callable[[str], Coefficients | None]
    ) -> None:
        thetas, grads = self.layout.views(theta_KP), self.layout.views(grad_KP)
        held = {slot: self.layout.views(flat) for slot, flat in slots.items()}
        for name, theta in thetas.items():
            c = c_of(name)
            if c is None:
                continue
            rule, masked, c = self._in_group(self.group_of.get(name), c)
            flat = name in self.flat
            own = {key: value.view(-1, *[1] * (1 if flat else theta.dim() - 1)) for key, value in c.items()}
            if masked and not decays(theta.shape[1:], "weights"):
                own["decay"] = torch.zeros_like(own["decay"])
            tensors = [theta, grads[name], *(held[slot][name] for slot in rule.slots)]
            theta, grad, *slots_of = [_rows_of(each) for each in tensors] if flat else tensors
            rule.update(theta, grad, dict(zip(rule.slots, slots_of, strict=True)), own)

    def _in_group(self, group: str | None, c: Coefficients) -> tuple[Rule, bool, Coefficients]:
        """The rule of parameters in a group, whether it spares vectors from decay, and its coefficients."""
        if group is not None and group in self.own:
            prefix = f"{group}/"
            own = {key.removeprefix(prefix): value for key, value in c.items() if key.startswith(prefix)}
            return self.own[group].rule, self.own[group].decay_on == "weights", own
        if group:
            c = {**c, **{key: c[f"{group}/{key}"] for key in self.scaled}}
        return self.rule, self.decays_P is not None, c


def _rows_of(tensor: Tensor) -> Tensor:
    """`[K, *shape]` as `[K, numbers]` that shares its memory."""
    return tensor.view(len(tensor), -1)


def _scaled(rule: Rule) -> tuple[str, ...]:
    """The coefficients that follow the rate or the decay: those that doubling one of them changes."""
    ones: dict[str, np.ndarray | float] = dict.fromkeys(rule.hyper, 0.5)
    first, *others = (rule.coefficients(ones | more, 1.0, 1) for more in ({}, {"lr": 1.0}, {"weight_decay": 1.0}))
    return tuple(name for name, value in first.items() if any(each[name] != value for each in others))


def norm_of(vectors_KP: Tensor) -> Tensor:
    """The Euclidean norm of each trial's vector, `[K]`."""
    norm_K: Tensor = torch.linalg.vector_norm(vectors_KP, dim=1)
    return norm_K
