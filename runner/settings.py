"""How trials are run, as opposed to what they are: engine, workers, tracker, evaluation cadence.

Nothing here changes a trial's weights or id. Defaults live in conf/, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which executor trains a cohort (`auto` measures), how wide a cohort may be, and on what device."""

    name: Literal["auto", "loop", "vmap"]
    width: Count | None
    device: Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class LauncherSettings:
    """Where cohorts are trained. `workers` is the number of processes; null means one per CPU core or GPU."""

    name: Literal["local"]
    workers: Count | None


@dataclass(frozen=True, kw_only=True)
class TrackerSettings:
    """Whether and how results are written as Weights & Biases runs."""

    name: Literal["wandb", "none"]
    project: str
    entity: str | None
    history_points: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How many times the validation loss is measured during training (the end included)."""

    points: Count


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything about a sweep that is not identity."""

    engine: EngineSettings
    launcher: LauncherSettings
    tracker: TrackerSettings
    evaluation: Evaluation
