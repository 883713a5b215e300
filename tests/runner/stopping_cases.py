"""Studies that stop trials early, swept by workers that train nothing: losses are made up, from a trial's id."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from backends import Died, InProcess

from thalweg.runner import page
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Outcome, Reached, Series
from thalweg.runner.facts.row import Row
from thalweg.runner.planning.plan import Plan
from thalweg.runner.store import Store
from thalweg.runner.study.settings import evaluation_steps
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.driver import SweepResult
from thalweg.runner.train.messages import Ask, Chosen, Event, Progress, Train, Trained, Work

GRID = ("study.name=mine", "optimizer.lr=0.1..1.2:12lin", "seed=0..2", "budget.steps=100", "evaluation.points=4")
STEPS = (25, 50, 75)
RULES = [
    "{rule: halving, rungs: [25%, 50%]}",
    "{rule: halving, rungs: [25%, 50%, 75%], eta: 3}",
    "{rule: median, rungs: [50%]}",
    "{rule: median, rungs: [25%, 75%]}",
]


def draw(trial_id: str, *about: object) -> float:
    """A number from 0 to 1, a trial's own."""
    return int(hashlib.sha256(repr((trial_id, *about)).encode()).hexdigest()[:8], 16) / 2**32


def loss_at(trial_id: str, step: int) -> float:
    return round(1 + draw(trial_id) + 0.5 * draw(trial_id, step) - step / 200, 2)  # coarse, so that some are alike


def dies_at(trial_id: str) -> int | None:
    return int(100 * draw(trial_id, "step")) if draw(trial_id, "dies") < 0.1 else None


class Workers:
    """Do what workers would, and die now and then. fails: ids of trials that cannot be trained."""

    def __init__(self, source: random.Random | None = None, deaths: int = 0) -> None:
        self.source, self.deaths = source or random.Random(0), deaths
        self.fails: set[str] = set()
        self.trained: list[tuple[str, int]] = []

    def do(self, work: Work) -> Iterator[Event]:
        if self.deaths and self.source.random() < 0.3:
            self.deaths -= 1
            raise Died(None)
        if isinstance(work, Ask):
            yield Chosen(work.group_id, Choice("vmap", work.layout, 7, "pretended"))
            return
        yield Progress(3, 0)
        seen = [self._seen(trial, work) for trial in work.trials]
        ended = tuple(each for each in seen if isinstance(each, Observations))
        yield Trained(ended, peak_bytes=1, reached=tuple(each for each in seen if isinstance(each, Reached)))

    def _seen(self, trial: Trial, work: Train) -> Observations | Reached:
        until, died = (work.stage.until if work.stage else None) or 100, dies_at(trial.id)
        self.trained.append((trial.id, until))
        if trial.id in self.fails:
            return Observations(trial_id=trial.id, outcome=Outcome.FAILED, error="ValueError: no such layer")
        last = until if died is None or died >= until else died
        at = [0, *(step for step in evaluation_steps(100, 4) if step <= last)]
        series = {"val/loss": Series(np.array(at), np.array([loss_at(trial.id, step) for step in at]))}
        if died is not None and died < until:
            return Observations(trial_id=trial.id, outcome=Outcome.DIVERGED, diverged_step=died, series=series)
        if until < 100:
            return Reached(trial_id=trial.id, step=until, series=series)
        metrics = {"val/loss": loss_at(trial.id, 100)}
        digest = hashlib.sha256(trial.id.encode()).hexdigest()
        return Observations(
            trial_id=trial.id, outcome=Outcome.FINISHED, metrics=metrics, series=series, weight_hash=digest
        )


class Shuffled(InProcess):
    """Slots that speak in any order."""

    def __init__(self, workers: Workers, size: int, interrupt_after: int = 10**9) -> None:
        super().__init__(workers.do, size, before_round=self._round)
        self.workers, self.interrupt_after = workers, interrupt_after

    def _round(self, number: int) -> None:
        self.workers.source.shuffle(self.slots)
        if number > self.interrupt_after:
            raise KeyboardInterrupt


class Bench:
    """A store, and sweeps of a study until they are whole."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "s.sqlite", "write")
        self.workers = Workers()

    def plan(self, *words: str, retry: bool = True) -> Plan:
        self.declared = page.declare(*GRID, *words)
        return page.plan(self.declared.study, self.store, retry_failed=retry)

    def sweep(self, *words: str, size: int = 2, interrupt_after: int = 10**9) -> SweepResult:
        made, retry = self.plan(*words), True
        page.record(made, self.store)
        backend = Shuffled(self.workers, size, interrupt_after)
        result = page.train(made, self.store, self.declared.settings, backend=backend)
        while result.goes_on(made):
            retry = retry and not made.until
            made = self.plan(*words, retry=retry)
            page.record(made, self.store)
            if made.to_train:
                backend = Shuffled(self.workers, size, interrupt_after)
                result += page.train(made, self.store, self.declared.settings, backend=backend)
        return result

    def rows(self, study: str = "mine") -> dict[str, Row]:
        return {row.trial_id: row for row in self.store.study_rows(study) if not row.outside}
