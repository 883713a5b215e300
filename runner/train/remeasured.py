"""Finished trials that lack a metric and whose weights were kept: these are measured, and not trained again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from thalweg.runner.facts.choice import Choice
from thalweg.runner.planning.plan import Plan
from thalweg.runner.store import Store
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.cutting import cut
from thalweg.runner.train.weights import file_of

LOSS = "val/loss"


class Remeasured:
    """Those of a plan's trials that only have to be measured."""

    def __init__(self, store: Store, folder: Path, plan: Plan) -> None:
        self.store, self.folder, self.plan = store, folder, plan

    @cached_property
    def known(self) -> dict[str, tuple[str, float]]:
        """Trial -> the hash of its kept weights, and the validation loss that they must give."""
        if not self.plan.unmeasured or not self.folder.exists():
            return {}
        hashes = self.store.weight_hashes(self.plan.ids_to_train)
        there = {i: known for i, known in hashes.items() if known and file_of(self.folder, i, known).exists()}
        losses = {trial_id: self.store.trial(trial_id).metrics.get(LOSS) for trial_id in there}
        return {trial_id: (there[trial_id], loss) for trial_id, loss in losses.items() if loss is not None}

    def cohorts(self, trials: Sequence[Trial], choice: Choice, workers: int) -> list[tuple[Trial, ...]]:
        """Cut those into cohorts of their own."""
        mine = [trial for trial in trials if trial.id in self.known]
        return cut(mine, choice, workers) if mine else []
