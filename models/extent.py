"""What a model is built for: the shape of its input and the number of its outputs. Knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thalweg.runner.base.errors import ConfigError


@dataclass(frozen=True)
class Extent:
    """inputs: the shape of one example without the batch, e.g. (1, 8, 8), (40,), or (context,) for tokens.

    outputs: classes, dimensions of the values, or tokens known. A model returns [B, outputs], or
    [B, context, outputs] where it reads tokens.
    """

    inputs: tuple[int, ...]
    outputs: int

    @property
    def features(self) -> int:
        """How many numbers an example is once flattened."""
        return math.prod(self.inputs)

    def image(self, model: str) -> tuple[int, int, int]:
        """Return (channels, height, width). Raises ConfigError if an example is no image."""
        if len(self.inputs) != 3:
            raise ConfigError(
                f"model={model} reads images, but an example of the dataset has the shape {list(self.inputs)}",
                "give it images of shape [channels, height, width], or choose model=mlp",
            )
        channels, height, width = self.inputs
        return channels, height, width
