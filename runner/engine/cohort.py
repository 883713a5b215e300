"""A cohort: trials of one structure trained as one program, from their configurations to their observations.

Losses are read out, dead lanes dropped and the validation loss measured at fixed step numbers, never by the
clock. Knows neither store nor tracker; who trains which cohort is decided elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from runner.choice import Layout
from runner.engine.evaluate import evaluate
from runner.engine.executors import EXECUTORS
from runner.engine.inputs import Inputs
from runner.engine.state import State, weight_hash
from runner.engine.workload import Workload
from runner.observation import Observations, Outcome, Series
from runner.trial import Trial

BLOCK = 50
"""Steps between read-outs: long enough to keep a GPU busy, short enough to drop dead lanes and show progress."""

BATCH_LOSS = "train/batch_loss"
Tick = Callable[[int, int], None]
"""(trial-steps done since the last call, trials diverged since the last call)."""


@dataclass(frozen=True)
class Cohort:
    """Trials of one structure, and how to train them.

    layout "shared" needs one seed for all trials: each batch is drawn once for all of them. `evaluations` is how
    often the validation loss is measured after the first step; it is also measured before it.
    """

    trials: tuple[Trial, ...]
    executor: str
    layout: Layout
    evaluations: int


@dataclass
class _Record:
    """What is collected while a cohort trains. lane_of maps a lane to a trial's place in the cohort."""

    lane_of: np.ndarray
    batch_loss_TN: np.ndarray
    evaluated: list[int] = field(default_factory=list)
    val: dict[str, list[np.ndarray]] = field(default_factory=dict)
    final: dict[str, np.ndarray] = field(default_factory=dict)
    diverged_step: dict[int, int] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)


def train(cohort: Cohort, workload: Workload, tick: Tick = lambda steps, diverged: None) -> list[Observations]:
    """Train a cohort to its end and return the observations of its trials, in order."""
    started = time.monotonic()
    config = cohort.trials[0].config
    state = workload.start(cohort.trials)
    inputs = Inputs(cohort.trials, cohort.layout, workload)
    record = _Record(np.arange(state.lanes), np.full((config.budget.steps, state.lanes), np.nan))
    measured = evaluation_steps(config.budget.steps, cohort.evaluations)
    _measure(record, workload, state, cohort)
    for start, stop in _spans(config.budget.steps, measured):
        losses_TK = EXECUTORS[cohort.executor](workload, state, inputs.block(start, stop, record.lane_of))
        record.batch_loss_TN[start:stop, record.lane_of] = losses_TK.cpu().double().numpy()
        steps_done = (stop - start) * state.lanes
        dead = len(record.diverged_step)
        state = _drop_diverged(record, workload, state)
        dead = len(record.diverged_step) - dead
        tick(steps_done + dead * (config.budget.steps - stop), dead)
        if not state.lanes:
            break
        if stop in measured:
            _measure(record, workload, state, cohort)
    _finish(record, workload, state, cohort)
    seconds = (time.monotonic() - started) / len(cohort.trials)
    return [_observations(record, place, trial, seconds) for place, trial in enumerate(cohort.trials)]


def evaluation_steps(steps: int, points: int) -> list[int]:
    """The numbers of optimizer steps after which the validation loss is measured, evenly spaced, `steps` last."""
    return sorted({max(1, round(steps * i / points)) for i in range(1, points + 1)})


def _spans(steps: int, measured: Sequence[int]) -> list[tuple[int, int]]:
    edges = sorted({*range(0, steps, BLOCK), *measured, steps})
    return list(pairwise(edges))


def _measure(record: _Record, workload: Workload, state: State, cohort: Cohort) -> None:
    """Append the validation metrics of the living lanes to the record."""
    record.evaluated.append(state.step)
    for name, values_K in evaluate(workload, state, "val", cohort.executor).items():
        row = np.full(len(cohort.trials), np.nan)
        row[record.lane_of] = values_K.numpy()
        record.val.setdefault(name, []).append(row)


def _drop_diverged(record: _Record, workload: Workload, state: State) -> State:
    """Take the lanes that died out of the state, keeping their weights' hash and the step they died at."""
    alive = state.alive.cpu().numpy()
    if alive.all():
        return state
    for k in np.flatnonzero(~alive):
        place = int(record.lane_of[k])
        record.diverged_step[place] = int(state.diverged_step[k])
        record.hashes[place] = _hash_of(workload, state, int(k))
    record.lane_of = record.lane_of[alive]
    return state.keep(torch.as_tensor(np.flatnonzero(alive), device=workload.device))


def _finish(record: _Record, workload: Workload, state: State, cohort: Cohort) -> None:
    """Measure the living lanes on all splits at the end; one whose final validation loss is not finite diverged."""
    if not state.lanes:
        return
    for k, place in enumerate(record.lane_of):
        record.hashes[int(place)] = _hash_of(workload, state, k)
    for split in ("train", "val", "test"):
        for name, values_K in evaluate(workload, state, split, cohort.executor).items():
            row = np.full(len(cohort.trials), np.nan)
            row[record.lane_of] = values_K.numpy()
            record.final[f"{split}/{name}"] = row
    for place in record.lane_of:
        if not np.isfinite(record.final["val/loss"][place]):
            record.diverged_step[int(place)] = state.step


def _hash_of(workload: Workload, state: State, k: int) -> str:
    persistent = workload.module.state_dict().keys()
    buffers = {name: buffer[k] for name, buffer in state.buffers.items() if name in persistent}
    return weight_hash({n: v[0] for n, v in workload.layout.views(state.theta[k : k + 1]).items()} | buffers)


def _observations(record: _Record, place: int, trial: Trial, seconds: float) -> Observations:
    diverged_step = record.diverged_step.get(place)
    steps = len(record.batch_loss_TN)
    trained = steps if diverged_step is None else min(diverged_step + 1, steps)
    series = {BATCH_LOSS: Series(np.arange(trained), record.batch_loss_TN[:trained, place].copy())}
    evaluated = [i for i, step in enumerate(record.evaluated) if diverged_step is None or step <= diverged_step]
    for name, rows in record.val.items():
        at = np.array([record.evaluated[i] for i in evaluated])
        series[f"val/{name}"] = Series(at, np.array([rows[i][place] for i in evaluated]))
    finished = diverged_step is None
    return Observations(
        trial_id=trial.id,
        outcome=Outcome.FINISHED if finished else Outcome.DIVERGED,
        diverged_step=diverged_step,
        metrics=_finite(record.final, place) if finished else {},
        series=series,
        weight_hash=record.hashes[place],
        seconds=seconds,
    )


def _finite(final: dict[str, np.ndarray], place: int) -> dict[str, float]:
    return {name: float(row[place]) for name, row in final.items() if np.isfinite(row[place])}
