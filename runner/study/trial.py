"""A trial: the resolved configuration that determines a set of weights and their evaluation, and its id.

Device, engine, tracker, store, names and evaluation cadence are deliberately not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from thalweg.data.schema import DatasetConfig, TaskConfig
from thalweg.models.schema import ModelConfig
from thalweg.optim.schema import (
    AverageConfig,
    ClipConfig,
    Groups,
    NoAverageConfig,
    NoClipConfig,
    NoSAMConfig,
    NoScalingConfig,
    OptimizerConfig,
    SAMConfig,
    ScalingConfig,
    ScheduleConfig,
    introduced,
)
from thalweg.runner.base.canonical import canonical_json, identity_hash, structure_hash
from thalweg.runner.study.start import FRESH, InitConfig
from thalweg.runner.study.target import KEY, DatasetTarget, ModelTarget, is_target

SHOWN = 8
"""Hex digits of an id that are shown; any unique prefix is accepted."""


OPTION = "option"
"""The tag of a section that is one of our options, as opposed to a target."""


def _tag(section: Any) -> str:
    return KEY if is_target(section) else OPTION


Model = Annotated[
    Annotated[ModelConfig, Tag(OPTION)] | Annotated[ModelTarget, Tag(KEY)],
    Discriminator(_tag),
]
Dataset = Annotated[
    Annotated[DatasetConfig, Tag(OPTION)] | Annotated[DatasetTarget, Tag(KEY)],
    Discriminator(_tag),
]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a trial trains: optimizer steps, and examples a step, taken in `accumulate` parts."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)]  # a cohort holds a loss for each step of each trial
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    accumulate: Annotated[int, Field(ge=1, le=1_000_000)] = introduced(1)

    @property
    def at_once(self) -> int:
        """Examples that are passed through the model at once."""
        return self.batch_size // self.accumulate


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """When a trial counts as diverged: loss or gradient norm not finite, or loss > loss_factor·max(first loss, 1)."""

    loss_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)]


NOT_CONFIGURED = ("revision", "arithmetic")
"""Fields of a TrialConfig that say by which code it trains. Sweeps set them; no configuration does."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that determines the weights of one trial and their evaluation."""

    model: Model
    dataset: Dataset
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = field(metadata={"per_trial": True})
    budget: Budget
    precision: Literal["float32", "float64", "tf32", "bf16", "fp16"]
    divergence: Divergence
    seed: Annotated[int, Field(ge=0, lt=2**63)] = field(metadata={"per_trial": True})
    sam: SAMConfig = introduced(NoSAMConfig(name="none"))
    clip: ClipConfig = introduced(NoClipConfig(name="none"))
    task: TaskConfig = introduced(TaskConfig(loss="auto", label_smoothing=0.0))
    init: InitConfig = introduced(FRESH)
    groups: Groups = introduced(Groups())
    average: AverageConfig = introduced(NoAverageConfig(name="none"))
    scaling: ScalingConfig = introduced(NoScalingConfig(name="none"))
    revision: str | None = introduced(None)  # of the user's code, in trials that changed code was to train anew
    arithmetic: int = introduced(0)  # the last repair of ours that touches the trial


@dataclass(frozen=True)
class Trial:
    """A resolved configuration and what follows from it. Equal configurations are equal trials."""

    config: TrialConfig

    @cached_property
    def id(self) -> str:
        """64 hex digits: the tagged hash of what determines the weights and their evaluation."""
        return identity_hash("thalweg.trial.v1", self.config)

    @cached_property
    def group_id(self) -> str:
        """64 hex digits, equal for trials that can train as one program."""
        return structure_hash("thalweg.group.v1", self.config)

    @cached_property
    def config_json(self) -> str:
        """The canonical JSON that the store keeps, every field present."""
        from thalweg.runner.base.canonical import as_dict

        return canonical_json(as_dict(self.config))

    @property
    def short(self) -> str:
        """The id as it is shown."""
        return self.id[:SHOWN]
