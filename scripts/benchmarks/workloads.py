"""What is trained, in the words of the command line, and the same as trials. A missing model is said, not skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.runner.study.trial import Trial


@dataclass(frozen=True)
class Workload:
    """One structure. `words` are those of `thalweg sweep`; widths are the K that its steps are timed at."""

    name: str
    title: str
    words: tuple[str, ...]
    widths: tuple[int, ...]


COMMON = ("optimizer=adamw", "schedule.warmup=0", "optimizer.weight_decay=0.01", "seed=0")
WORKLOADS = (
    Workload(
        "mlp",
        "digits, MLP 64-64-64-10, B=64",
        ("model=mlp", "model.hidden=[64,64]", "dataset=digits", "budget.batch_size=64"),
        (1, 2, 4, 8, 16, 32, 64, 128, 256),
    ),
    Workload(
        "cnn_groupnorm",
        "8×8 digits, CNN with GroupNorm, B=64",
        ("model=cnn", "model.norm=group", "dataset=digits", "budget.batch_size=64"),
        (4, 8, 16, 32),
    ),
    Workload(
        "cnn_batchnorm",
        "8×8 digits, CNN with BatchNorm, B=64",
        ("model=cnn", "model.norm=batch", "dataset=digits", "budget.batch_size=64"),
        (4, 8, 16, 32),
    ),
    Workload(
        "transformer",
        "characters, transformer of 2 layers, d=64, T=64, B=16",
        ("model=gpt", "model.width=64", "model.depth=2", "dataset=stdlib", "budget.batch_size=16"),
        (8,),
    ),
)


def trials_of(words: Sequence[str]) -> list[Trial]:
    """The distinct trials that some words declare. Raises ConfigError for words that mean nothing here."""
    from thalweg.runner.config import Request, declare
    from thalweg.runner.study.study import expand

    members = expand(declare(Request(tuple(words))).study)
    return list({member.trial.id: member.trial for member in members}.values())


def grid(workload: Workload, count: int, steps: int) -> tuple[str, ...]:
    """The words of `count` trials of a workload that differ in their learning rate."""
    rates = "optimizer.lr=0.001" if count == 1 else f"optimizer.lr=0.0005..0.005:{count}log"
    return (*workload.words, *COMMON, f"budget.steps={steps}", rates)
