"""A choice of how to train trials, asked for on the CPU; and what each executor takes, where tests say it."""

from __future__ import annotations

import torch

from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.facts.choice import Bar, Choice

MINUTE: dict[str | tuple[str, int], float] = {"loop": 1e-3, "traced": 4e-4, "vmap": 5e-4, "compiled": 2e-4}
"""Seconds of a step of one trial."""


def judged(sample, requested: str = "auto", layout: str = "shared", **more: int) -> tuple[Choice, Bar | None]:
    workload = prepared(sample[0].config, torch.device("cpu"))
    return choose(workload, Question(tuple(sample), layout, requested, **more))  # type: ignore[arg-type]


def ask(sample, requested: str = "auto", layout: str = "shared", **more: int) -> Choice:
    return judged(sample, requested, layout, **more)[0]
