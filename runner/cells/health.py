"""How a cell of a grid ended, and from which loss on it cannot be used: asked here by whoever judges results. Pure.

| health    | when                                                      | mean | may be chosen |
|-----------|-----------------------------------------------------------|------|---------------|
| untrained | no replicate has the metric                               | no   | no            |
| failed    | none has it, and some failed                              | no   | no            |
| pruned    | none has it or failed, and some were stopped early        | no   | no            |
| diverged  | a replicate diverged: survivors are never averaged        | no   | no            |
| unhealthy | a loss is finite, but beyond the ceiling                  | yes  | no            |
| guess     | the mean is no better than that of the same answer to all | yes  | no            |
| usable    | else                                                      | yes  | yes           |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum

from thalweg.data.schema import DATASETS
from thalweg.runner.cells.noise import mean_of
from thalweg.runner.facts.observation import GUESS, Outcome
from thalweg.runner.facts.row import Row, lookup

DEAD = 4.0
"""A final loss of this many times a guess's or more is finite but not healthy."""
UNTRAINED = 0.98
"""What leaves this share of a guess's loss, or of its errors, has learned nothing that could be told from noise."""
RISING = ("accuracy", "r2")
"""Metrics with a guess that are best large; 1 is the best they can be."""
HUGE, WORST = 20.0, 1000.0
"""Where a guess's loss is not known: this many times the lower quartile of the losses, and at most this many times
the least loss, is not healthy. The quartile holds for a table with up to three diverged cells in four."""


class Health(StrEnum):
    """What became of a cell, or of a panel's cells together."""

    UNTRAINED = "not trained"
    FAILED = "failed"
    PRUNED = "stopped early"
    DIVERGED = "diverged"
    UNHEALTHY = "unhealthy loss"
    GUESS = "no better than guessing"
    USABLE = "usable"


def guess_of(rows: Iterable[Row], metric: str) -> float | None:
    """Return what a guess scores on a metric: as it was recorded with a trial, else of equally frequent classes.

    None where neither is known: trials of before it was recorded have the classes of our own datasets alone, and what a
    guess scores on a metric of the user's, whatever its name ends in, nobody knows.
    """
    leaf, classes, own_loss = metric.rpartition("/")[2], None, False
    for row in rows:
        if (found := row.metrics.get(f"{GUESS}/{leaf}")) is not None:
            return found
        classes = getattr(DATASETS.get(str(lookup(row.config, "dataset.name"))), "classes", None)
        own_loss = own_loss or lookup(row.config, "task.loss") not in (None, "auto")
    known = {"accuracy": 1 / classes, "loss": None if own_loss else math.log(classes)} if classes else {}
    return known.get(leaf)


def is_loss(metric: str) -> bool:
    """Whether a metric is a loss, which differences are a share of; others are compared as they are."""
    return metric.endswith("loss")


def is_guess(rows: Sequence[Row], metric: str) -> bool:
    """Whether the mean of a metric is no better than that of the same answer to every example.

    A metric of which no guess is known, such as a loss of the user's, or the calibration error, which a guess does
    well at, is judged by the accuracy or r2 of the same split, or else by its bits or its loss. Accuracies come in
    steps: one that is above a guess's by less than 2% of its errors counts as a guess where the loss does too.
    """
    split, _, leaf = metric.rpartition("/")
    for name in (leaf, "accuracy", "r2", "bits_per_character", "loss"):
        guess, values = guess_of(rows, f"{split}/{name}"), measured(rows, f"{split}/{name}")
        if guess is None or not values:
            continue
        if name not in RISING:
            return _lost(mean_of(values), guess)
        guess_loss, losses = guess_of(rows, f"{split}/loss"), measured(rows, f"{split}/loss")
        little = 1 - mean_of(values) >= UNTRAINED * (1 - guess)
        by_loss = guess_loss is None or not losses or _lost(mean_of(losses), guess_loss)
        return mean_of(values) <= guess or (little and by_loss)
    return False


def _lost(loss: float, guess: float) -> bool:
    return loss >= (UNTRAINED * guess if guess > 0 else guess)


def measured(rows: Iterable[Row], metric: str) -> tuple[float, ...]:
    """Return a metric of each trial that finished and has it."""
    return tuple(row.metrics[metric] for row in rows if row.outcome is Outcome.FINISHED and metric in row.metrics)


def ceiling(losses: Iterable[float], guess: float | None) -> float:
    """Return the loss from which a trial is not healthy although it is finite; inf where there is none."""
    if guess is not None:
        return DEAD * guess if guess > 0 else math.inf
    finite = sorted(value for value in losses if math.isfinite(value))
    if not finite or finite[0] <= 0:
        return math.inf
    place = (len(finite) - 1) / 4
    low = math.floor(place)
    quartile = finite[low] + (place - low) * (finite[math.ceil(place)] - finite[low])
    return min(HUGE * quartile, WORST * finite[0])


def health(rows: Sequence[Row], metric: str, limit: float) -> Health:
    """Return what became of the replicates of a cell. limit: the loss from which a replicate is not healthy."""
    values = measured(rows, metric)
    if any(row.outcome is Outcome.DIVERGED for row in rows):
        return Health.DIVERGED
    if not values:
        ended = {row.outcome for row in rows}
        ways = {Outcome.FAILED: Health.FAILED, Outcome.PRUNED: Health.PRUNED}
        return next((health for outcome, health in ways.items() if outcome in ended), Health.UNTRAINED)
    if max(values) >= limit:
        return Health.UNHEALTHY
    return Health.GUESS if is_guess(rows, metric) else Health.USABLE
