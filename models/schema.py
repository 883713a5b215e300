"""What a configuration may say about models: typed, range-checked, without torch.

Defaults live in conf/model/*.yaml, and only there. `per_trial` fields may differ inside one fused program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

Width = Annotated[int, Field(ge=1, le=65_536)]


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """A multilayer perceptron with ReLU; He-normal weights times `init_gain`, zero biases."""

    name: Literal["mlp"]
    hidden: tuple[Width, ...]
    init_gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] = field(metadata={"per_trial": True})


@dataclass(frozen=True, kw_only=True)
class ScaleInvariantMLPConfig:
    """A perceptron whose outputs do not change when any weight matrix is scaled: LayerNorm after every layer."""

    name: Literal["mlp_scale_invariant"]
    hidden: tuple[Width, ...]
    logit_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    init_gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] = field(metadata={"per_trial": True})


ModelConfig = Annotated[MLPConfig | ScaleInvariantMLPConfig, Field(discriminator="name")]
MODELS = {"mlp": MLPConfig, "mlp_scale_invariant": ScaleInvariantMLPConfig}
