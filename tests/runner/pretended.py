"""The command line on a backend that trains nothing: what is observed of a trial is made up, from its id."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from backends import InProcess

from thalweg.data.schema import DATASETS, MEASURES
from thalweg.runner.cli import main, verbs_train
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.messages import Ask, Chosen, Event, Progress, Trained, Work

Fate = Callable[[Trial], Observations]
"""What becomes of a trial."""


def mixed(trial: Trial) -> Observations:
    """Any end that there is, each now and then: told by the trial's id, so that the same trial ends alike."""
    random = Random(trial.id)
    return random.choices([finished, guessed, diverged, failed], [12, 1, 2, 1])[0](trial)


def finished(trial: Trial, loss: float | None = None) -> Observations:
    """A trial that ended well, with every metric of its kind of task and the series of a run."""
    random = Random(trial.id)
    loss = random.lognormvariate(-0.5, 0.2) if loss is None else loss
    metrics = {f"{split}/loss": loss * random.uniform(0.9, 1.1) for split in ("train", "val", "test")}
    for name in MEASURES[trial.config.dataset.kind]:
        if name != "loss":
            metrics |= {f"{split}/{name}": 1 - loss / 4 for split in ("train", "val", "test")}
    return Observations(
        trial_id=trial.id, outcome=Outcome.FINISHED, metrics=metrics, series=series(loss), weight_hash="ab" * 32
    )


def guessed(trial: Trial) -> Observations:
    """One that ended where it began."""
    classes = getattr(DATASETS.get(trial.config.dataset.name), "classes", None) or 10
    return finished(trial, float(np.log(classes)))


def diverged(trial: Trial) -> Observations:
    return Observations(trial_id=trial.id, outcome=Outcome.DIVERGED, diverged_step=3, series=series(9.0))


def failed(trial: Trial) -> Observations:
    return Observations(trial_id=trial.id, outcome=Outcome.FAILED, error="Traceback …\nValueError: no such layer\n")


def series(loss: float) -> dict[str, Series]:
    """Two points in training, of what is plotted."""
    steps = np.array([0, 5], np.int64)
    return {name: Series(steps, np.array([2.3, loss])) for name in ("train/batch_loss", "val/loss")}


def trains(fate: Fate) -> Callable[[Work], Iterator[Event]]:
    """What a worker says whose trials meet that fate."""

    def do(work: Work) -> Iterator[Event]:
        if isinstance(work, Ask):
            yield Chosen(work.group_id, Choice("vmap", work.layout, 64, "pretended"))
            return
        yield Progress(10, 0)
        yield Trained(tuple(fate(trial) for trial in work.trials), peak_bytes=1000)

    return do


class Desk:
    """A command line and a store of its own. `fate`: what becomes of the trials that it trains from now on."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, patch
        self.fate: Fate = mixed
        patch.chdir(folder)
        patch.setattr(verbs_train, "open_pool", lambda log: nullcontext(SimpleNamespace(ahead=lambda: None)))
        patch.setattr("thalweg.runner.train.driver.backend_of", self._backend)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of one command line."""
        self._patch.setattr(sys, "argv", ["thalweg", *words])
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = main()
        return code, out.getvalue(), err.getvalue()

    def _backend(self, settings: object, pool: object) -> InProcess:
        return InProcess(trains(lambda trial: self.fate(trial)))
