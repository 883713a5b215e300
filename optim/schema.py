"""What a configuration may say about optimizers and schedules: typed, range-checked, without torch.

Fields marked `per_trial` may differ between the trials of one fused program; the others are structure.
Defaults live in conf/optimizer/*.yaml and conf/schedule/*.yaml, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=1e-30, le=1e30)]
Decoupled = Literal["coupled", "independent"]
DecayOrder = Literal["before", "after"]
Decay = Literal["l2", "coupled", "independent"]
"""l2: by the gradient. coupled: p ← p − lr·wd·p. independent: p ← p − m·wd·p, m the schedule's multiplier."""
DecayOn = Literal["all", "weights"]
"""all: every parameter decays. weights: those of two or more dimensions; biases and normalisation gains do not."""
PER_TRIAL = {"per_trial": True}


def introduced(value: Any, **metadata: Any) -> Any:
    """Return the field of a key that a later release added: `value` means "as before it existed".

    While it has that value it stays out of a trial's id, and a configuration without the key means it.
    """
    return field(default=value, metadata={"introduced_as": value, **metadata})


@dataclass(frozen=True, kw_only=True)
class SGDConfig:
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    momentum: Fraction = field(metadata=PER_TRIAL)
    nesterov: bool
    decay: Decay
    decay_order: DecayOrder
    decay_on: DecayOn = introduced("all")
    dampening: Share = introduced(0.0, **PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), in either of its two conventions."""

    name: Literal["adamw"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    beta1: Fraction = field(metadata=PER_TRIAL)
    beta2: Fraction = field(metadata=PER_TRIAL)
    eps: Positive = field(metadata=PER_TRIAL)
    decay: Decoupled
    decay_order: DecayOrder
    decay_on: DecayOn = introduced("all")
    amsgrad: bool = introduced(False)


@dataclass(frozen=True, kw_only=True)
class AdamL2Config:
    """Adam (Kingma & Ba 2015) with the decay added to the gradient."""

    name: Literal["adam_l2"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    beta1: Fraction = field(metadata=PER_TRIAL)
    beta2: Fraction = field(metadata=PER_TRIAL)
    eps: Positive = field(metadata=PER_TRIAL)
    decay_on: DecayOn = introduced("all")
    amsgrad: bool = introduced(False)


@dataclass(frozen=True, kw_only=True)
class LionConfig:
    """The sign of a momentum (Chen et al. 2023), with decoupled weight decay."""

    name: Literal["lion"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    beta1: Fraction = field(metadata=PER_TRIAL)
    beta2: Fraction = field(metadata=PER_TRIAL)
    decay: Decoupled
    decay_order: DecayOrder
    decay_on: DecayOn


@dataclass(frozen=True, kw_only=True)
class MuonConfig:
    """Orthogonalised momentum for matrices (Jordan et al. 2024), AdamW for the other parameters."""

    name: Literal["muon"]
    lr: NonNegative = field(metadata=PER_TRIAL)
    weight_decay: NonNegative = field(metadata=PER_TRIAL)
    momentum: Fraction = field(metadata=PER_TRIAL)
    beta1: Fraction = field(metadata=PER_TRIAL)
    beta2: Fraction = field(metadata=PER_TRIAL)
    eps: Positive = field(metadata=PER_TRIAL)
    nesterov: bool
    adjust: Literal["original", "match_rms_adamw"]
    decay: Decoupled
    decay_order: DecayOrder
    decay_on: DecayOn


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters whose names a pattern matches, and what is other for them than for the rest.

    lr and weight_decay multiply the optimizer's. freeze: they stay as they are, whatever the others say. adamw: of
    Muon, its matrices take AdamW's step too. optimizer: one of their own, with its own values.
    """

    match: Annotated[str, Field(min_length=1)]
    lr: NonNegative = introduced(1.0, **PER_TRIAL)
    weight_decay: NonNegative = introduced(1.0, **PER_TRIAL)
    freeze: bool = introduced(False)
    adamw: bool = introduced(False)
    optimizer: OptimizerConfig | None = introduced(None)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Parameter groups by their names, sorted."""

    named: tuple[tuple[str, ParameterGroup], ...] = field(default=(), metadata={"spread": True})


@dataclass(frozen=True, kw_only=True)
class NoSAMConfig:
    """The optimizer's own step, at the gradient of the weights as they are."""

    name: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class StandardSAMConfig:
    """Sharpness-aware minimisation (Foret et al. 2021) around the optimizer: the gradient is taken at θ + ρ·g/‖g‖."""

    name: Literal["standard"]
    rho: NonNegative = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class AdaptiveSAMConfig:
    """Adaptive SAM (Kwon et al. 2021): the gradient is taken at θ + ρ·θ²g/‖θg‖."""

    name: Literal["adaptive"]
    rho: NonNegative = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class NoClipConfig:
    """Gradients as they are."""

    name: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class ClipNormConfig:
    """A trial's whole gradient is scaled down to the norm `limit` where it is longer."""

    name: Literal["norm"]
    limit: Positive = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class ClipValueConfig:
    """Each element of the gradient is clamped to [−limit, limit]."""

    name: Literal["value"]
    limit: Positive = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class NoAverageConfig:
    """A trial's weights are those of its last step."""

    name: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class EMAConfig:
    """The weights that are measured, hashed, kept and handed out are a running average: a ← decay·a + (1−decay)·θ."""

    name: Literal["ema"]
    decay: Fraction = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class NoScalingConfig:
    """The gradient is that of the loss itself."""

    name: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class DynamicScalingConfig:
    """The gradient is taken of the loss times a scale that a trial finds for itself, and divided by it again."""

    name: Literal["dynamic"]
    start: Factor = field(metadata=PER_TRIAL)
    interval: Annotated[int, Field(ge=1, le=10_000_000)] = field(metadata=PER_TRIAL)
    floor: Factor = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """How a schedule begins: from `start` times the peak in a straight line to the peak, over `warmup` steps."""

    warmup: Annotated[int, Field(ge=0)]
    start: Fraction = introduced(0.0)
    offset: Annotated[int, Field(ge=0, le=1)] = introduced(1)


@dataclass(frozen=True, kw_only=True)
class WarmupCosineConfig(Warmup):
    """Linear warmup over `warmup` steps into half a cosine that ends at `floor` times the peak rate."""

    name: Literal["warmup_cosine"]
    floor: Share


@dataclass(frozen=True, kw_only=True)
class LinearConfig(Warmup):
    """Linear warmup, then a straight line down to `floor` times the peak rate."""

    name: Literal["linear"]
    floor: Share


@dataclass(frozen=True, kw_only=True)
class ConstantConfig(Warmup):
    """Linear warmup, then the peak rate to the end."""

    name: Literal["constant"]


@dataclass(frozen=True, kw_only=True)
class InverseSqrtConfig(Warmup):
    """Linear warmup, then the peak rate times √(warmup/step) (Vaswani et al. 2017)."""

    name: Literal["inverse_sqrt"]


@dataclass(frozen=True, kw_only=True)
class WSDConfig(Warmup):
    """Warmup, stable, decay (Hu et al. 2024): the peak rate until the last `cooldown` steps, then down to `floor`."""

    name: Literal["wsd"]
    cooldown: Annotated[int, Field(ge=0)]
    root: bool
    floor: Share


@dataclass(frozen=True, kw_only=True)
class OneCycleConfig:
    """Half a cosine up over `warmup` steps, half a cosine down to the end (Smith & Topin 2018)."""

    name: Literal["one_cycle"]
    warmup: Annotated[int, Field(ge=0)]
    start: Share
    floor: Share


OptimizerConfig = Annotated[
    SGDConfig | AdamWConfig | AdamL2Config | LionConfig | MuonConfig, Field(discriminator="name")
]
ScheduleConfig = Annotated[
    WarmupCosineConfig | LinearConfig | ConstantConfig | InverseSqrtConfig | WSDConfig | OneCycleConfig,
    Field(discriminator="name"),
]
SAMConfig = Annotated[NoSAMConfig | StandardSAMConfig | AdaptiveSAMConfig, Field(discriminator="name")]
AverageConfig = Annotated[NoAverageConfig | EMAConfig, Field(discriminator="name")]
ScalingConfig = Annotated[NoScalingConfig | DynamicScalingConfig, Field(discriminator="name")]
ClipConfig = Annotated[NoClipConfig | ClipNormConfig | ClipValueConfig, Field(discriminator="name")]
OPTIMIZERS = {
    "sgd": SGDConfig,
    "adamw": AdamWConfig,
    "adam_l2": AdamL2Config,
    "lion": LionConfig,
    "muon": MuonConfig,
}
SCHEDULES = {
    "warmup_cosine": WarmupCosineConfig,
    "linear": LinearConfig,
    "constant": ConstantConfig,
    "inverse_sqrt": InverseSqrtConfig,
    "wsd": WSDConfig,
    "one_cycle": OneCycleConfig,
}
