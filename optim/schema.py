"""What a configuration may say about optimizers and schedules: typed, range-checked, without torch.

Fields marked `per_trial` may differ between the trials of one fused program; the others are structure.
Defaults live in conf/optimizer/*.yaml and conf/schedule/*.yaml, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Decay = Literal["l2", "coupled", "independent"]
"""l2: by the gradient. coupled: p ← p − lr·wd·p. independent: p ← p − m·wd·p, m the schedule's multiplier."""
PER_TRIAL = {"per_trial": True}


@dataclass(frozen=True, kw_only=True)
class SGDConfig:
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    momentum: Fraction = field(metadata=PER_TRIAL)
    nesterov: bool
    decay: Decay
    decay_order: Literal["before", "after"]


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), in either of its two conventions."""

    name: Literal["adamw"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    beta1: Fraction = field(metadata=PER_TRIAL)
    beta2: Fraction = field(metadata=PER_TRIAL)
    eps: Positive = field(metadata=PER_TRIAL)
    decay: Literal["coupled", "independent"]
    decay_order: Literal["before", "after"]


@dataclass(frozen=True, kw_only=True)
class AdamL2Config:
    """Adam (Kingma & Ba 2015) with the decay added to the gradient."""

    name: Literal["adam_l2"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    beta1: Fraction = field(metadata=PER_TRIAL)
    beta2: Fraction = field(metadata=PER_TRIAL)
    eps: Positive = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class WarmupCosineConfig:
    """Linear warmup over `warmup` steps into half a cosine that ends at `floor` times the peak rate."""

    name: Literal["warmup_cosine"]
    warmup: Annotated[int, Field(ge=0)]
    floor: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


OptimizerConfig = Annotated[SGDConfig | AdamWConfig | AdamL2Config, Field(discriminator="name")]
ScheduleConfig = WarmupCosineConfig
OPTIMIZERS = {"sgd": SGDConfig, "adamw": AdamWConfig, "adam_l2": AdamL2Config}
SCHEDULES = {"warmup_cosine": WarmupCosineConfig}
