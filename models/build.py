"""From a model's configuration to its module: one row a model. Knows neither trials nor how modules are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from thalweg.models.cnn import CNN
from thalweg.models.extent import Extent
from thalweg.models.gpt import GPT
from thalweg.models.linear import Linear
from thalweg.models.mlp import MLP
from thalweg.models.mlp_scale_invariant import ScaleInvariantMLP
from thalweg.models.planted import Planted
from thalweg.models.resnet18 import ResNet18
from thalweg.models.schema import (
    CNNConfig,
    GPTConfig,
    LinearConfig,
    MLPConfig,
    ModelConfig,
    PlantedConfig,
    ResNet18Config,
    ScaleInvariantMLPConfig,
    ViTConfig,
)
from thalweg.models.vit import ViT
from thalweg.runner.base.errors import ConfigError

BUILDERS: dict[type, Callable[[Any, Extent], torch.nn.Module]] = {
    LinearConfig: Linear,
    MLPConfig: MLP,
    ScaleInvariantMLPConfig: ScaleInvariantMLP,
    CNNConfig: CNN,
    ResNet18Config: ResNet18,
    ViTConfig: ViT,
    GPTConfig: GPT,
    PlantedConfig: Planted,
}


def build_model(config: ModelConfig, extent: Extent) -> torch.nn.Module:
    """Return the module that `config` describes, for examples and outputs of `extent`.

    Initial weights come from torch's global CPU generator: seed it before, restore it after. `init_gain` scales
    them without changing what is drawn.
    """
    if extent.fields:
        seen = f"model={config.name} reads one array, but an example of the dataset is {extent.shown}"
        raise ConfigError(seen, "take a model of your own: model=target model._target_=package.Class")
    return BUILDERS[type(config)](config, extent)
