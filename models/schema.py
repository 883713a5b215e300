"""What a configuration may say about models: typed, range-checked, without torch.

Defaults live in conf/model/*.yaml, and only there. `per_trial` fields may differ inside one fused program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

Width = Annotated[int, Field(ge=1, le=65_536)]
Gain = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PER_TRIAL = {"per_trial": True}
ANY_FEATURES = ("vector", "image")
"""The forms of data (`data.schema.Form`) that a model reads which flattens its input. `reads` is what a model takes."""


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """A multilayer perceptron with ReLU; He-normal weights times `init_gain`, zero biases."""

    reads: ClassVar[tuple[str, ...]] = ANY_FEATURES
    name: Literal["mlp"]
    hidden: tuple[Width, ...]
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class ScaleInvariantMLPConfig:
    """A perceptron whose outputs do not change when any weight matrix is scaled: LayerNorm after every layer."""

    reads: ClassVar[tuple[str, ...]] = ANY_FEATURES
    name: Literal["mlp_scale_invariant"]
    hidden: tuple[Width, ...]
    logit_scale: Gain
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """Two parameters for the dataset `planted`: one is fitted, the other only decays."""

    reads: ClassVar[tuple[str, ...]] = ("planted",)
    name: Literal["planted"]


ModelConfig = Annotated[MLPConfig | ScaleInvariantMLPConfig | PlantedConfig, Field(discriminator="name")]
MODELS: dict[str, type[Any]] = {
    "mlp": MLPConfig,
    "mlp_scale_invariant": ScaleInvariantMLPConfig,
    "planted": PlantedConfig,
}
