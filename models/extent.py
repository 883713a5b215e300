"""What a model is built for: the shape of its input, the number of its outputs, and what such sizes are called.

Knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thalweg.runner.base.errors import ConfigError

Size = int | tuple[int, ...]
Holds = Literal["fractions", "integers", "booleans"]


@dataclass(frozen=True)
class Field:
    """One of several inputs of an example: its name or place, its shape, and what it holds."""

    name: str | int
    shape: tuple[int, ...]
    holds: Holds


@dataclass(frozen=True)
class Extent:
    """inputs: the shape of one example without the batch, e.g. (1, 8, 8), (40,), or (context,) for tokens.

    outputs: classes, dimensions of the values, or tokens known. A model returns [B, outputs], or
    [B, context, outputs] where `tokens` are to be foretold. integers: whether examples hold them, as tokens do.
    fields: where an example is several arrays; then inputs are (), or the (context,) of the tokens to be foretold.
    axes: the shape of an example's values where they lie along several, in which a model may return them, too.
    """

    inputs: tuple[int, ...]
    outputs: int
    tokens: bool = False
    integers: bool = False
    fields: tuple[Field, ...] = ()
    axes: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """An example, as words that follow "examples of"."""
        if not self.fields:
            return f"shape {list(self.inputs)}"
        return ", ".join(f"{field.name} {list(field.shape)}" for field in self.fields)

    @property
    def features(self) -> int:
        """How many numbers an example is once flattened."""
        return math.prod(self.inputs)

    @property
    def is_row(self) -> bool:
        """Whether an example is numbers in a row."""
        return len(self.inputs) == 1

    @property
    def is_image(self) -> bool:
        """Whether an example is [channels, height, width]."""
        return len(self.inputs) == 3

    @property
    def maps(self) -> bool:
        """Whether an image is made of an image."""
        return self.is_image and len(self.axes) == 3

    @property
    def side(self) -> Size:
        """The height and width of an image, as one number where they are equal."""
        height, width = self.inputs[1:]
        return width if height == width else (height, width)

    def image(self, model: str) -> tuple[int, int, int]:
        """Return (channels, height, width). Raises ConfigError if an example is no image."""
        if len(self.inputs) != 3:
            raise ConfigError(
                f"model={model} reads images, but an example of the dataset has the shape {list(self.inputs)}",
                "give it images of shape [channels, height, width], or choose model=mlp",
            )
        channels, height, width = self.inputs
        return channels, height, width


@dataclass(frozen=True)
class Meaning:
    """A size of the data and the arguments that are called after it.

    sure: names that always mean it. usual: names that mean it in most packages, the surest first; the first of them
    that a constructor has means it, if none of `sure` is there. rare: like usual where it has a default; without one
    it means something else as often. through: names that are tried on a constructor which takes any argument. of: the
    size itself; None where such data have none. maps: names that mean channels where images are returned.
    """

    sure: tuple[str, ...]
    usual: tuple[str, ...]
    through: tuple[str, ...]
    of: Callable[[Extent], Size | None]
    rare: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()

    def size(self, name: str, extent: Extent) -> Size | None:
        """What is filled in under one of the names."""
        return extent.axes[0] if name in self.maps and extent.maps else self.of(extent)

    @property
    def names(self) -> tuple[str, ...]:
        """Those that one need not have a default for, the surest first."""
        return self.sure + self.usual


def _of_one(size: Callable[[Extent], Size | None]) -> Callable[[Extent], Size | None]:
    """A size of an example that is one array; of several it is not known which is meant."""
    return lambda extent: None if extent.fields else size(extent)


MEANINGS: tuple[Meaning, ...] = (
    Meaning(
        ("inputs", "in_features"),
        ("d_in", "in_dim", "input_dim", "dim_in", "n_inputs", "num_inputs", "n_features", "num_features", "in_feats"),
        (),
        _of_one(lambda extent: extent.features),
    ),
    Meaning((), ("input_size", "in_size"), (), _of_one(lambda extent: extent.features if extent.is_row else None)),
    Meaning(
        ("in_channels",),
        (
            "in_chans",
            "num_channels",
            "input_channels",
            "n_channels",
            "img_channels",
            "image_channels",
            "n_input_channels",
        ),
        ("in_chans", "in_channels", "n_input_channels"),
        _of_one(lambda extent: extent.inputs[0]),
        rare=("channels",),
    ),
    Meaning(("image_size",), (), (), _of_one(lambda extent: extent.inputs[-1])),
    Meaning((), ("img_size", "im_size"), ("img_size",), lambda extent: extent.side if extent.is_image else None),
    Meaning((), ("spatial_dims",), ("spatial_dims",), lambda extent: 2 if extent.is_image else None),
    Meaning(
        ("outputs", "out_features", "num_classes"),
        (
            *("num_labels", "n_classes", "num_class", "n_class", "nclass", "d_out", "out_dim", "output_dim", "dim_out"),
            *("n_outputs", "num_outputs", "out_feats", "output_size", "out_size", "out_channels"),
        ),
        ("num_classes", "num_labels"),
        lambda extent: extent.outputs,
        maps=("out_channels",),
    ),
    Meaning(
        (),
        ("vocab_size", "num_tokens", "n_vocab", "n_tokens", "ntoken"),
        ("vocab_size",),
        lambda extent: extent.outputs if extent.tokens else None,
    ),
    Meaning(
        (),
        ("max_seq_len", "seq_len", "block_size", "context_length", "n_positions", "max_position_embeddings", "max_len"),
        (),
        lambda extent: extent.inputs[0] if extent.tokens else None,
    ),
)
FILLED = tuple(name for meaning in MEANINGS for name in meaning.names)
"""Arguments that a model may be given from its data, where its signature has them and the YAML does not."""
