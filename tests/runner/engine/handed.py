"""Trains a cohort and keeps the weights that it hands out, for tests that hold both against a script."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.runner.engine.cohort import Cohort, Handing, train
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Layout
from thalweg.runner.facts.observation import Observations
from thalweg.runner.facts.weights import Weights
from thalweg.runner.study.trial import Trial


def handed_over(
    trials: Sequence[Trial], workload: Workload, executor: str, layout: Layout = "shared", evaluations: int = 1
) -> tuple[list[Observations], list[Weights]]:
    """What is observed of trials, and the weights that each ends with, both in their order."""
    taken: list[Weights] = []
    handing = Handing(lambda _: True, taken.append)
    observed = train(Cohort(tuple(trials), executor, layout, evaluations), workload, handing=handing)
    found = {weights.trial_id: weights for weights in taken}
    return observed, [found[trial.id] for trial in trials]
