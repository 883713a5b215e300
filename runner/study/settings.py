"""How trials are run, as opposed to what they are: engine, workers, tracker, evaluation cadence.

Nothing here changes a trial's weights or id. Defaults live in conf/, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from thalweg.runner.study.target import Path

Count = Annotated[int, Field(ge=1, le=65_536)]
MOST_WORKERS = 1024


def _listed(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _of_one_kind(devices: tuple[str, ...]) -> tuple[str, ...]:
    """Several devices are GPUs by number, or the CPU several times: a trial's bits depend on the kind."""
    if len(devices) > 1 and set(devices) != {"cpu"} and not all(":" in device for device in devices):
        raise ValueError
    return devices


Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")]
Devices = Annotated[
    tuple[Device, ...],
    Field(min_length=1, max_length=MOST_WORKERS),
    BeforeValidator(_listed),
    AfterValidator(_of_one_kind),
]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which executor trains a cohort (`auto` measures), how wide a cohort may be, and on what devices."""

    name: Literal["auto", "loop", "vmap", "traced", "compiled", "graphed", "graphed_compiled"]
    width: Count | None
    device: Devices


Workers = Annotated[int, Field(ge=1, le=MOST_WORKERS)] | None
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
Share = Annotated[float, Field(ge=0, le=1024, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class LocalLauncher:
    """Cohorts train on this machine. `workers` is the number of processes; null means one per CPU core or GPU.

    checkpoint_seconds: training time between a long cohort's checkpoints; null means none.
    """

    name: Literal["local"]
    workers: Workers
    checkpoint_seconds: Seconds


@dataclass(frozen=True, kw_only=True)
class RayLauncher:
    """Cohorts train on a Ray cluster, at `address`; null means one of this machine, made for the sweep.

    cpus, gpus, resources: what a worker takes of its node. gpus: null means 1 where the cluster has any.
    """

    name: Literal["ray"]
    workers: Workers
    checkpoint_seconds: Seconds
    address: Annotated[str, Field(min_length=1, max_length=256)] | None
    cpus: Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)]
    gpus: Share | None
    resources: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]


Line = Annotated[str, Field(max_length=1_000)]
SlurmName = Annotated[str, Field(pattern=r"^[\w.@-]{1,128}$")]


@dataclass(frozen=True, kw_only=True)
class SlurmLauncher:
    """Cohorts train in jobs of a Slurm: the trials are shared among `jobs` tasks of an array, each on one node.

    cpus, gpus, memory, minutes: of each task. It is put in the queue again before its time is over. setup: lines of
    shell that go before. workers: processes of a task; null means one per core or GPU of it.
    """

    name: Literal["slurm"]
    workers: Workers
    checkpoint_seconds: Seconds
    jobs: Annotated[int, Field(ge=1, le=10_000)]
    minutes: Annotated[int, Field(ge=1, le=1_000_000)]
    cpus: Annotated[int, Field(ge=1, le=MOST_WORKERS)]
    gpus: Annotated[int, Field(ge=0, le=64)]
    memory: Annotated[str, Field(pattern=r"^[0-9]{1,9}[KMGT]?B?$")] | None
    partition: SlurmName | None
    account: SlurmName | None
    setup: tuple[Line, ...]


LauncherSettings = Annotated[LocalLauncher | RayLauncher | SlurmLauncher, Field(discriminator="name")]
LAUNCHERS: dict[str, type] = {"local": LocalLauncher, "ray": RayLauncher, "slurm": SlurmLauncher}


WANDB_NAME = r"[^/\\#?%:\x00-\x1f\x7f]{1,128}"
WandbName = Annotated[str, Field(pattern=rf"^{WANDB_NAME}$")]
"""What W&B takes as the name of a project, found out before anything is trained."""


@dataclass(frozen=True, kw_only=True)
class TrackerSettings:
    """Whether and how results are written as runs of a tracker, Weights & Biases or TensorBoard."""

    name: Literal["auto", "wandb", "tensorboard", "none"]
    project: WandbName
    entity: WandbName | None
    history_points: Annotated[int, Field(ge=2)] | None  # None: every step
    tags: tuple[str, ...]


EachStep = Literal["gradient_norm", "update_norm", "weight_norm", "loss_scale"]
"""What can be stored of each step: the gradient's norm before clipping, how far weights moved, their norm after, and
what its loss was multiplied by, where trials have such a scale."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How many times trials are measured on the validation split during training (the end included).

    metrics: functions of the user's, by dotted path, measured beside the task's own: (outputs [B, …], y) -> mean.
    scalars: what is stored of each step, as series.
    """

    points: Count
    metrics: tuple[Path, ...]
    scalars: tuple[EachStep, ...] = ()


Keeps = Literal["none", "best", "all"]
"""Whose final weights stay as files beside the store: nobody's, those of the best cell's trials, or everybody's."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything about a sweep that is not identity."""

    engine: EngineSettings
    launcher: LauncherSettings
    tracker: TrackerSettings
    evaluation: Evaluation
    keep: Keeps = "none"


def evaluation_steps(steps: int, points: int) -> list[int]:
    """The numbers of optimizer steps after which the validation loss is measured, evenly spaced, `steps` last."""
    return sorted({max(1, round(steps * i / points)) for i in range(1, points + 1)})
