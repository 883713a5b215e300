"""What a configuration may say about datasets and tasks: typed, range-checked, without torch or scikit-learn.

Defaults live in conf/dataset/*.yaml, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from optim.schema import introduced

Kind = Literal["classes", "values", "tokens"]
"""What the targets are: one of so many classes, numbers, or at each place the next token of a text."""
Form = Literal["vector", "image", "tokens", "planted"]
"""What one example is: numbers in a row, an image [C, H, W], a window of a text, or the two of `planted`."""
FORMS: dict[Form, str] = {
    "vector": "rows of numbers",
    "image": "images",
    "tokens": "windows of a text",
    "planted": "made for model=planted",
}
Augmentation = Literal["crop", "flip", "cutout", "mixup"]
"""Changes of a training batch at random, by the seed. mixup takes any features, the others images."""

MEASURES: dict[Kind, tuple[str, ...]] = {
    "classes": ("loss", "accuracy", "calibration_error"),
    "values": ("loss", "r2"),
    "tokens": ("loss", "bits_per_character"),
}
"""What is measured on each split, by the kind of its targets."""

Noise = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class DigitsConfig:
    """scikit-learn's 1,797 handwritten 8×8 digits: up to 1,000 to train, 400 to validate, 397 to test."""

    form: ClassVar[Form] = "image"
    kind: ClassVar[Kind] = "classes"
    classes: ClassVar[int] = 10
    name: Literal["digits"]
    train_size: Annotated[int, Field(ge=1, le=1000)]
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...] = introduced(())


@dataclass(frozen=True, kw_only=True)
class MNIST1DConfig:
    """Greydanus & Kobak's procedural 40-point signals: up to 1,000 to train, 2,000 to validate, 2,000 to test."""

    form: ClassVar[Form] = "vector"
    kind: ClassVar[Kind] = "classes"
    classes: ClassVar[int] = 10
    name: Literal["mnist1d"]
    train_size: Annotated[int, Field(ge=1, le=1000)]
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Literal["mixup"], ...] = introduced(())


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """Targets for the model `planted`, whose best weight decay is known exactly; to validate, two rows.

    curvature: h of the training loss ½h(u − noise)². noise: standard deviation. target: the v that validates best.
    """

    form: ClassVar[Form] = "planted"
    kind: ClassVar[Kind] = "values"
    augment: ClassVar[tuple[Augmentation, ...]] = ()
    name: Literal["planted"]
    train_size: Count
    curvature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    target: Annotated[float, Field(allow_inf_nan=False)]
    split_seed: Seed


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What a trial is asked to do with its data: the loss it minimises.

    loss: "auto" takes the one of the dataset's targets (classes, values or tokens); else a dotted path to a
    function of the user's. label_smoothing: for targets that are classes or tokens.
    """

    loss: Annotated[str, Field(min_length=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = field(metadata={"per_trial": True})


DatasetConfig = Annotated[DigitsConfig | MNIST1DConfig | PlantedConfig, Field(discriminator="name")]
DATASETS = {"digits": DigitsConfig, "mnist1d": MNIST1DConfig, "planted": PlantedConfig}
