"""What a configuration may say about datasets and tasks: typed, range-checked, without torch or scikit-learn.

Defaults live in conf/dataset/*.yaml, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from thalweg.optim.schema import introduced

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
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Path = Annotated[str, Field(min_length=1)]
"""A file or folder of the user's; a relative one starts from the current folder."""
Context = Annotated[int, Field(ge=1, le=65_536)]
Characters = Annotated[int, Field(ge=2, le=65_536)]
Channels = Literal[1, 3]
"""Of grey pictures: 3 has the grey one thrice, for models that read colours."""


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
    channels: Channels = introduced(1)


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
class MNISTConfig:
    """MNIST: 28×28 grey digits; up to 55,000 to train, 5,000 to validate, the official 10,000 to test."""

    form: ClassVar[Form] = "image"
    kind: ClassVar[Kind] = "classes"
    classes: ClassVar[int] = 10
    name: Literal["mnist"]
    train_size: Annotated[int, Field(ge=1, le=55_000)]
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]
    channels: Channels = introduced(1)


@dataclass(frozen=True, kw_only=True)
class FashionMNISTConfig:
    """Fashion-MNIST: 28×28 grey pictures of clothes; sizes as MNIST."""

    form: ClassVar[Form] = "image"
    kind: ClassVar[Kind] = "classes"
    classes: ClassVar[int] = 10
    name: Literal["fashion_mnist"]
    train_size: Annotated[int, Field(ge=1, le=55_000)]
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]
    channels: Channels = introduced(1)


@dataclass(frozen=True, kw_only=True)
class CIFAR10Config:
    """CIFAR-10: 32×32 colour photographs; up to 45,000 to train, 5,000 to validate, the official 10,000 to test."""

    form: ClassVar[Form] = "image"
    kind: ClassVar[Kind] = "classes"
    classes: ClassVar[int] = 10
    name: Literal["cifar10"]
    train_size: Annotated[int, Field(ge=1, le=45_000)]
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]


@dataclass(frozen=True, kw_only=True)
class CIFAR100Config:
    """CIFAR-100: as CIFAR-10, in a hundred classes."""

    form: ClassVar[Form] = "image"
    kind: ClassVar[Kind] = "classes"
    classes: ClassVar[int] = 100
    name: Literal["cifar100"]
    train_size: Annotated[int, Field(ge=1, le=45_000)]
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]


@dataclass(frozen=True, kw_only=True)
class ImageFolderConfig:
    """The user's images, one folder a class, scaled to squares of `side` pixels.

    train_size: None takes all that neither validates nor tests. fingerprint: of the files' content.
    """

    form: ClassVar[Form] = "image"
    kind: ClassVar[Kind] = "classes"
    name: Literal["image_folder"]
    path: Path
    side: Annotated[int, Field(ge=1, le=1024)]
    train_size: Count | None
    validation: Share
    test: Share
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """The user's table: CSV, Parquet, or arrays x and `target` in a .npz file.

    target: the column to predict. labels: the words of a column of words, in the order of their classes. ignore:
    columns that are neither. train_size: None takes all that neither validates nor tests. fingerprint: of the file.
    classes: how many there are; None, as many as the largest says. delimiter: None is found out.
    """

    name: Literal["table"]
    path: Path
    target: Annotated[str, Field(min_length=1)]
    kind: Literal["classes", "values"]
    labels: tuple[str, ...]
    ignore: tuple[str, ...]
    train_size: Count | None
    validation: Share
    test: Share
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Literal["mixup"], ...]
    fingerprint: str | None
    classes: Annotated[int, Field(ge=2)] | None = introduced(None)
    delimiter: Literal["comma", "semicolon", "tab", "pipe", "space"] | None = introduced(None)
    decimal: Literal["point", "comma"] = introduced("point")
    encoding: Annotated[str, Field(min_length=1)] = introduced("utf-8")

    @property
    def form(self) -> Form | None:
        """What one example is; in a .npz file, that is seen when it is read."""
        return None if self.path.lower().endswith(".npz") else "vector"


@dataclass(frozen=True, kw_only=True)
class ArraysConfig:
    """The user's arrays in .npy files, which may be larger than memory: examples stay in them until they are wanted.

    x, y: a file each, or a folder of shards. train_size: None takes all that neither validates nor tests.
    """

    form: ClassVar[Form | None] = None  # seen when it is read
    name: Literal["arrays"]
    x: Path
    y: Path
    kind: Literal["classes", "values"]
    train_size: Count | None
    validation: Share
    test: Share
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Augmentation, ...]
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True)
class StdlibConfig:
    """The source files of the running Python's standard library, as characters; another Python is another text.

    context: characters of a window, which is one example. characters: how many are told apart; rarer ones are one.
    fingerprint: of the files' content.
    """

    form: ClassVar[Form] = "tokens"
    kind: ClassVar[Kind] = "tokens"
    augment: ClassVar[tuple[Augmentation, ...]] = ()
    name: Literal["stdlib"]
    context: Context
    characters: Characters
    train_size: Count
    validation_size: Count
    test_size: Count
    label_noise: Noise
    split_seed: Seed
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The user's text, a file or a folder of them, as characters; otherwise as `StdlibConfig`."""

    form: ClassVar[Form] = "tokens"
    kind: ClassVar[Kind] = "tokens"
    augment: ClassVar[tuple[Augmentation, ...]] = ()
    name: Literal["text"]
    path: Path
    context: Context
    characters: Characters
    train_size: Count
    validation_size: Count
    test_size: Count
    label_noise: Noise
    split_seed: Seed
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Normal features, labelled by a random perceptron of one hidden layer: 2,000 to validate, 2,000 to test."""

    form: ClassVar[Form] = "vector"
    kind: ClassVar[Kind] = "classes"
    name: Literal["teacher"]
    features: Annotated[int, Field(ge=1, le=65_536)]
    hidden: Annotated[int, Field(ge=1, le=65_536)]
    classes: Annotated[int, Field(ge=2, le=65_536)]
    train_size: Count
    label_noise: Noise
    split_seed: Seed
    augment: tuple[Literal["mixup"], ...]


@dataclass(frozen=True, kw_only=True)
class NoisyRegressionConfig:
    """Normal features, a random linear target of variance 1, noise in training: 2,000 to validate, 2,000 to test.

    label_noise: standard deviation of what is added to the targets that train.
    """

    form: ClassVar[Form] = "vector"
    kind: ClassVar[Kind] = "values"
    name: Literal["noisy_regression"]
    features: Annotated[int, Field(ge=1, le=65_536)]
    train_size: Count
    label_noise: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    split_seed: Seed
    augment: tuple[Literal["mixup"], ...]


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


MODELS_LOSS = "model"
"""The task.loss that is what the model itself returns as its loss."""
UNNAMED_LOSSES = ("auto", MODELS_LOSS)
"""Those that are no path of a function."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What a trial is asked to do with its data: the loss it minimises.

    loss: "auto" takes the one of the dataset's targets (classes, values or tokens), "model" the one that the model
    returns when it is given the targets; else a dotted path to a function of the user's. label_smoothing: for targets
    that are classes or tokens.
    """

    loss: Annotated[str, Field(min_length=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = field(metadata={"per_trial": True})


DATASETS: dict[str, type[Any]] = {
    "digits": DigitsConfig,
    "mnist1d": MNIST1DConfig,
    "mnist": MNISTConfig,
    "fashion_mnist": FashionMNISTConfig,
    "cifar10": CIFAR10Config,
    "cifar100": CIFAR100Config,
    "image_folder": ImageFolderConfig,
    "table": TableConfig,
    "arrays": ArraysConfig,
    "stdlib": StdlibConfig,
    "text": TextConfig,
    "teacher": TeacherConfig,
    "noisy_regression": NoisyRegressionConfig,
    "planted": PlantedConfig,
}
DatasetConfig = Annotated[
    DigitsConfig
    | MNIST1DConfig
    | MNISTConfig
    | FashionMNISTConfig
    | CIFAR10Config
    | CIFAR100Config
    | ImageFolderConfig
    | TableConfig
    | ArraysConfig
    | StdlibConfig
    | TextConfig
    | TeacherConfig
    | NoisyRegressionConfig
    | PlantedConfig,
    Field(discriminator="name"),
]
