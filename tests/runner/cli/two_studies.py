"""A store of two small studies, for the tests of tables. Not a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from thalweg.runner.config import Request, declare
from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.facts.record import CohortRecord
from thalweg.runner.store import Store
from thalweg.runner.study.study import Member, expand

WORDS = ("study=null", "optimizer=sgd", "budget.steps=4", "tracker=none")


def fill(path: Path) -> None:
    """wide: rates .1 .2 .3, seeds 0 1, of which (.3, 0) diverged at step 2; narrow: rates .1 and .4, seed 0."""
    with Store.open(path, "write") as store:
        for name, axes in (("wide", "0.1,0.2,0.3 seed=0,1"), ("narrow", "0.1,0.4 seed=0,")):
            rates, seeds = axes.rstrip(",").split(" ")
            study = declare(Request((*WORDS, f"optimizer.lr={rates}", seeds, f"study.name={name}"))).study
            members = expand(replace(study, name=name))
            store.declare(study, members)
            cohort = CohortRecord(
                study=name,
                group_id=members[0].trial.group_id,
                executor="loop",
                layout="shared",
                width=8,
                device="cpu",
                versions={"torch": "2.0"},
                trial_ids=tuple(member.trial.id for member in members),
            )
            store.commit(store.open_cohort(cohort), [_observed(member) for member in members])


def _observed(member: Member) -> Observations:
    config = member.trial.config
    rate = config.optimizer.lr
    diverged = rate == 0.3 and config.seed == 0
    losses = [1.0, 0.9, 2 * rate, rate]
    steps = np.arange(3 if diverged else 4)
    series = {
        "train/batch_loss": Series(steps, np.array(losses[: len(steps)])),
        "val/loss": Series(np.array([0]), np.ones(1)),
    }
    return Observations(
        trial_id=member.trial.id,
        outcome=Outcome.DIVERGED if diverged else Outcome.FINISHED,
        diverged_step=2 if diverged else None,
        metrics={} if diverged else {"val/loss": rate, "test/loss": rate + 0.5},
        series=series,
        weight_hash=f"{int(rate * 10)}" * 64,
    )
