"""How a group of trials is cut into cohorts, and a cohort that does not fit into smaller ones. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from thalweg.runner.facts.choice import LOOP_WIDTH, Choice, Layout, pieces
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.messages import Train


def cut(trials: Sequence[Trial], choice: Choice, workers: int) -> list[tuple[Trial, ...]]:
    """Cut a group into cohorts: none wider than the choice allows, at least two a worker while they stay wide.

    Under the shared layout each cohort has one seed. Study order is kept.
    """
    width = min(choice.width, LOOP_WIDTH) if choice.executor == "loop" else choice.width
    cohorts = []
    for pool in _pools(trials, choice.layout):
        share = math.ceil(2 * workers * len(pool) / len(trials))
        cohorts += _even(pool, pieces(len(pool), width, share))
    return cohorts


def narrowed(work: Train, width: int) -> list[Train]:
    """The same trials in cohorts of at most `width`; the work itself if it is no wider."""
    if len(work.trials) <= width:
        return [work]
    pieces = _even(work.trials, math.ceil(len(work.trials) / width))
    return [replace(work, trials=trials, attempt=1) for trials in pieces]


def _pools(trials: Sequence[Trial], layout: Layout) -> list[list[Trial]]:
    if layout == "per_lane":
        return [list(trials)]
    in_seeds = sorted(trials, key=lambda trial: trial.config.seed)
    return [list(pool) for _, pool in groupby(in_seeds, key=lambda trial: trial.config.seed)]


def _even(trials: Sequence[Trial], parts: int) -> list[tuple[Trial, ...]]:
    edges = [round(len(trials) * i / parts) for i in range(parts + 1)]
    return [tuple(trials[a:b]) for a, b in pairwise(edges)]
