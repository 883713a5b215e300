"""Repairs after which some configurations train, read or evaluate to other numbers, and which configurations these are.

A trial that a repair touches is another trial than before: its configuration carries the number of the last such
repair. So it has an id of its own and is missing until it is trained; the old one stays stored, outside the study. A
trial that none touches carries 0, which ids leave out: they hold.

To add one: a row at the end of `REPAIRS`, with the next number, and a test with a store of before. Where a
configuration does not say whether it is touched (it knows not what a user's model does), touch too many, not too few.
Where a file's content says it, the fingerprint of a dataset carries a mark (`thalweg.data.files.MENDED`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from thalweg.data.files import MENDED, marked, marks_of
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial, TrialConfig


@dataclass(frozen=True)
class Repair:
    """number: from 1, rising. what: what went wrong before, in words that follow "this mistake was corrected:".

    was: a configuration that it touches as it was declared before; for repairs that a fingerprint tells.
    """

    number: int
    what: str
    touches: Callable[[TrialConfig], bool]
    was: Callable[[TrialConfig], TrialConfig] = lambda config: config


def _misread(number: int, mark: str) -> Repair:
    """The repair of how files of a kind were read, which their fingerprint says, as no other key can."""

    def touches(config: TrialConfig) -> bool:
        return mark in marks_of(config.dataset.fingerprint if hasattr(config.dataset, "fingerprint") else None)

    def was(config: TrialConfig) -> TrialConfig:
        dataset: Any = config.dataset
        others = [each for each in marks_of(dataset.fingerprint) if each != mark]
        return replace(
            config, dataset=replace(dataset, fingerprint=marked(dataset.fingerprint.partition("+")[0], others))
        )

    return Repair(number, MENDED[mark], touches, was)


def _trained_as_a_template(config: TrialConfig) -> bool:
    """Whether the model is a user's, which may do more than compute.

    Those of torchvision do not, but for densenets that are asked to recompute.
    """
    if not isinstance(config.model, ModelTarget):
        return False
    return not config.model.name.startswith("torchvision.models.") or "memory_efficient" in dict(config.model.arguments)


def _kept_the_second_buffers(config: TrialConfig) -> bool:
    """Whether SAM trained a module of a trial's own that may have buffers: a model, or under a loss, of a user's.

    By the loop alone, which no configuration says; nor whether a user's model has any.
    """
    if config.sam.name == "none":
        return False
    if isinstance(config.model, ModelTarget):
        return True
    return config.task.loss != "auto" and (
        config.model.name == "resnet18" or getattr(config.model, "norm", "none") == "batch"
    )


def _took_parts(config: TrialConfig) -> bool:
    """Whether a user's model or loss, which may hook gradients, was given batches in parts."""
    return config.budget.accumulate > 1 and (isinstance(config.model, ModelTarget) or config.task.loss != "auto")


REPAIRS: tuple[Repair, ...] = (
    _misread(1, "hidden"),
    _misread(2, "pictures"),
    _misread(3, "index"),
    _misread(4, "onehot"),
    _misread(5, "scale"),
    Repair(
        6,
        "what a model of your own does besides computing (activation checkpoints, state in attributes, hooks, "
        "parameters without a gradient) was not done as in plain torch",
        _trained_as_a_template,
    ),
    Repair(
        7,
        "with SAM and a model or a loss of your own, BatchNorm's statistics were those of the weights uphill",
        _kept_the_second_buffers,
    ),
    Repair(
        8,
        "with budget.accumulate and a model or a loss of your own, hooks on gradients saw other ones than in a script",
        _took_parts,
    ),
)


def stamped(config: TrialConfig) -> TrialConfig:
    """Return a configuration as it trains today: with the number of the last repair that touches it."""
    number = max((repair.number for repair in REPAIRS if repair.touches(config)), default=0)
    return config if config.arithmetic == number else replace(config, arithmetic=number)


def earlier(trial: Trial) -> list[tuple[Trial, Repair]]:
    """Return a trial as it was before each repair that touches it, and that repair; the oldest first."""
    touching = [
        repair for repair in REPAIRS if repair.number <= trial.config.arithmetic and repair.touches(trial.config)
    ]
    found, config = [], trial.config
    for place in reversed(range(len(touching))):
        config = replace(touching[place].was(config), arithmetic=touching[place - 1].number if place else 0)
        found.append((Trial(config), touching[place]))
    return found[::-1]
