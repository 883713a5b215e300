"""Trials, studies and observations to fill a store with, and a child process to kill. Not a test."""

import os
import sys
import traceback
from collections.abc import Callable

import numpy as np

from thalweg.data.schema import DigitsConfig
from thalweg.models.schema import MLPConfig
from thalweg.optim.schema import SGDConfig, WarmupCosineConfig
from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.facts.record import CohortRecord
from thalweg.runner.study.study import Analysis, Axis, Block, Expectation, Member, Study
from thalweg.runner.study.trial import Budget, Divergence, Trial, TrialConfig


def make_trial(seed=0, lr=0.1, hidden=(8,)):
    return Trial(
        TrialConfig(
            model=MLPConfig(name="mlp", hidden=hidden, init_gain=1.0),
            dataset=DigitsConfig(name="digits", train_size=1000, label_noise=0.4, split_seed=0),
            optimizer=SGDConfig(
                name="sgd",
                lr=lr,
                weight_decay=0.0,
                momentum=0.9,
                nesterov=False,
                decay="coupled",
                decay_order="before",
            ),
            schedule=WarmupCosineConfig(name="warmup_cosine", warmup=30, floor=0.0),
            budget=Budget(steps=600, batch_size=32),
            precision="float32",
            divergence=Divergence(loss_factor=1e4),
            seed=seed,
        )
    )


def make_study(name="coupling", lrs=(0.1,), seeds=(0,), block="plain", overridden=False, metric="val/loss"):
    return Study(
        name=name,
        question="Where is the valley?",
        metric=metric,
        direction="min",
        replicate="seed",
        vars=(),
        blocks=(
            Block(
                name=block,
                bases=(),
                axes=(Axis("optimizer.lr", tuple(lrs), "typed"), Axis("seed", tuple(seeds), "0..2")),
                group_axes=(Axis("model", ("mlp",), "mlp"),),
                derive={"optimizer.weight_decay": "lr_x_wd / optimizer.lr"},
                expect=Expectation(-1.0, 0.3),
            ),
        ),
        analyses=(Analysis("coupling", "optimizer.lr", "optimizer.weight_decay"),),
        overridden=overridden,
    )


def make_members(lrs=(0.1,), seeds=(0,), block="plain", hidden=(8,)):
    return [
        Member(make_trial(seed, lr, hidden), block, {"optimizer.lr": lr, "model": "mlp", "seed": seed})
        for lr in lrs
        for seed in seeds
    ]


def make_observations(trial_id, outcome=Outcome.FINISHED, loss=0.5, weight_hash="ab" * 32, points=600):
    steps = np.arange(points, dtype=np.int64)
    noise = np.random.default_rng(int(trial_id[:8], 16)).standard_normal(points)
    train = (2.3 * np.exp(-steps / 200) + 0.15 * noise).astype(np.float32).astype(np.float64)
    done = outcome in (Outcome.FINISHED, Outcome.PRUNED)
    return Observations(
        trial_id=trial_id,
        outcome=outcome,
        diverged_step=points if outcome is Outcome.DIVERGED else None,
        metrics={"val/loss": loss, "val/accuracy": 0.9} if done else {},
        series={
            "train/loss": Series(steps, train),
            "val/loss": Series(steps[:: max(1, points // 10)], noise[:: max(1, points // 10)]),
        },
        weight_hash=weight_hash,
        error="Traceback: boom" if outcome is Outcome.FAILED else None,
        seconds=0.25,
    )


def cohort_of(members, study="coupling", **changes):
    fields = {
        "study": study,
        "group_id": members[0].trial.group_id,
        "executor": "vmap",
        "layout": "shared",
        "width": len(members),
        "device": "cpu",
        "versions": {"torch": "2.15.0"},
        "trial_ids": tuple(dict.fromkeys(m.trial.id for m in members)),
    }
    return CohortRecord(**fields | changes)


def train(store, members, study="coupling", **how):
    """Open a cohort of `members` and commit the same kind of observations for each; return who was left as it was."""
    cohort = cohort_of(members, study)
    number = store.open_cohort(cohort)
    return list(store.commit(number, [make_observations(trial_id, **how) for trial_id in cohort.trial_ids]).left)


def in_child(work: Callable[[], object]) -> int:
    """Start a process that does `work` and ends, with 0 or, after a traceback, 1; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Exit code of a child; negative: the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
