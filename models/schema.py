"""What a configuration may say about models: typed, range-checked, without torch.

Defaults live in conf/model/*.yaml, and only there. `per_trial` fields may differ inside one fused program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from thalweg.optim.schema import PER_TRIAL, introduced

Width = Annotated[int, Field(ge=1, le=65_536)]
Depth = Annotated[int, Field(ge=1, le=1024)]
Gain = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dropout = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
ANY_FEATURES = ("vector", "image")
"""The forms of data (a `Form`) that a model reads which flattens its input. `reads` is what a model takes."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """One linear layer: linear regression on values, logistic regression on classes. Normal weights, zero biases."""

    reads: ClassVar[tuple[str, ...]] = ANY_FEATURES
    name: Literal["linear"]
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """A multilayer perceptron with ReLU; He-normal weights times `init_gain`, zero biases."""

    reads: ClassVar[tuple[str, ...]] = ANY_FEATURES
    name: Literal["mlp"]
    hidden: tuple[Width, ...]
    init_gain: Gain = field(metadata=PER_TRIAL)
    norm: Literal["none", "batch", "layer"] = introduced("none")
    dropout: Dropout = introduced(0.0)


@dataclass(frozen=True, kw_only=True)
class ScaleInvariantMLPConfig:
    """A perceptron whose outputs do not change when any weight matrix is scaled: LayerNorm after every layer."""

    reads: ClassVar[tuple[str, ...]] = ANY_FEATURES
    name: Literal["mlp_scale_invariant"]
    hidden: tuple[Width, ...]
    logit_scale: Gain
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class CNNConfig:
    """3×3 convolutions with ReLU, halving the image from the second on, then one linear layer."""

    reads: ClassVar[tuple[str, ...]] = ("image",)
    name: Literal["cnn"]
    widths: Annotated[tuple[Width, ...], Field(min_length=1)]
    norm: Literal["none", "batch", "group"]
    dropout: Dropout
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class ResNet18Config:
    """ResNet-18 for small images: a 3×3 stem, four stages of two blocks, BatchNorm; 64 channels at first."""

    reads: ClassVar[tuple[str, ...]] = ("image",)
    norm: ClassVar[str] = "batch"
    name: Literal["resnet18"]
    width: Width
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """A vision transformer over square patches, with the mean over patches before the last layer."""

    reads: ClassVar[tuple[str, ...]] = ("image",)
    name: Literal["vit"]
    patch: Width
    width: Width
    depth: Depth
    heads: Depth
    dropout: Dropout
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """A pre-norm transformer that predicts each next token; its input and output embeddings are one matrix."""

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    name: Literal["gpt"]
    width: Width
    depth: Depth
    heads: Depth
    dropout: Dropout
    init_gain: Gain = field(metadata=PER_TRIAL)


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """Two parameters for the dataset `planted`: one is fitted, the other only decays."""

    reads: ClassVar[tuple[str, ...]] = ("planted",)
    name: Literal["planted"]


ModelConfig = Annotated[
    LinearConfig
    | MLPConfig
    | ScaleInvariantMLPConfig
    | CNNConfig
    | ResNet18Config
    | ViTConfig
    | GPTConfig
    | PlantedConfig,
    Field(discriminator="name"),
]
MODELS: dict[str, type[Any]] = {
    "linear": LinearConfig,
    "mlp": MLPConfig,
    "mlp_scale_invariant": ScaleInvariantMLPConfig,
    "cnn": CNNConfig,
    "resnet18": ResNet18Config,
    "vit": ViTConfig,
    "gpt": GPTConfig,
    "planted": PlantedConfig,
}
