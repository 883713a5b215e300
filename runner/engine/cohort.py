"""A cohort: trials of one structure trained as one program, from their configurations to their observations.

Losses are read out, dead lanes dropped and the validation loss measured at fixed step numbers, never by the
clock. Knows neither store nor tracker; who trains which cohort is decided elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.runner.base.errors import first_line
from thalweg.runner.engine.checkpoint import Checkpoint, pack, unpack
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.guess import guess
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.jury import Jury
from thalweg.runner.engine.lasting import Lasting, alone
from thalweg.runner.engine.naming import state_names
from thalweg.runner.engine.record import Record
from thalweg.runner.engine.seating import seats
from thalweg.runner.engine.state import AVERAGE, State, host_arrays
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Layout
from thalweg.runner.facts.observation import GUESS, Observations, Reached
from thalweg.runner.facts.weights import Weights, weight_hash
from thalweg.runner.study.settings import evaluation_steps
from thalweg.runner.study.trial import Trial

BLOCK = 50
"""Steps between read-outs: long enough to keep a GPU busy, short enough to drop dead lanes and show progress."""
LAG = {"cuda": 1}
"""Blocks that are under way while an earlier one is read out, by device. None elsewhere: the CPU is the host."""
HALT = 20
"""Blocks after which all that is under way is read out, so that a checkpoint can be taken."""

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

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint of this cohort must say."""
        trials = [trial.id for trial in self.trials]
        return {"trials": trials, "executor": self.executor, "layout": self.layout, "evaluations": self.evaluations}


@dataclass(frozen=True)
class Keeping:
    """Where checkpoints go: `due` is asked at the fixed steps where one can be taken, `save` is handed it."""

    due: Callable[[], bool]
    save: Callable[[Checkpoint], None]


@dataclass(frozen=True)
class Pausing:
    """Where a cohort stops on its way: after `step` steps, a measured one. `take` is handed what was observed of the
    living by then, and a checkpoint of them, or None where none can be taken."""

    step: int
    take: Callable[[list[Reached], Checkpoint | None], None]


@dataclass(frozen=True)
class Handing:
    """Where weights go: `wanted` is asked for a trial's id, `take` is handed them as they stood when it ended."""

    wanted: Callable[[str], bool]
    take: Callable[[Weights], None]


def train(
    cohort: Cohort,
    workload: Workload,
    tick: Tick = lambda steps, diverged: None,
    *,
    resume: Checkpoint | None = None,
    keeping: Keeping | None = None,
    jury: Jury | None = None,
    handing: Handing | None = None,
    pausing: Pausing | None = None,
    lasting: Lasting | None = None,
) -> list[Observations]:
    """Train a cohort to its end and return the observations of its trials, in order; with `pausing` of those that end.

    With `resume`, a checkpoint of this very cohort, it goes on from there and ends with the same bits as without
    interruption (ValueError if the checkpoint is another's); the work before it is not ticked again. `keeping` is
    asked between blocks whether a checkpoint is due. Whether one is taken changes nothing in the training. None is
    taken of a model that keeps more than tensors: such a cohort starts again. `jury` watches the first steps, and ends
    it all by raising where they are too slow. `handing` gets the weights of those that end from here on, `lasting` the
    states from which longer trials can go on.
    """
    started = time.monotonic()
    cohort = _possible(cohort, workload)
    with workload.numerics(), workload.apart():
        course = _Course(cohort, workload, tick, resume, jury)
        course.handing, course.lasting = handing, lasting
        course.run(keeping, pausing.step if pausing else None)
        workload.late()
        if jury:
            jury.end()
    seconds = (time.monotonic() - started) / len(cohort.trials)
    record, step = course.record, course.state.step
    if pausing and record.living and step < course.steps:
        reached = [record.reached(place, cohort.trials[place], step, seconds) for place in record.lane_of.tolist()]
        pausing.take(reached, course.checkpoint())
    return record.observations(cohort.trials, seconds)


def remeasured(cohort: Cohort, workload: Workload, weights: Sequence[Weights]) -> list[Observations]:
    """Measure trials that finished, by their final weights, one each; no series come of it.

    Hashes are taken of what was measured: they are the weights' own where these hold all that a trial is.
    """
    cohort = _possible(cohort, workload)
    with workload.numerics(), workload.apart():
        course = _Course(cohort, workload, lambda steps, diverged: None, None, None)
        course.end_with(weights)
    return [replace(each, series={}) for each in course.record.observations(cohort.trials, 0.0)]


def _possible(cohort: Cohort, workload: Workload) -> Cohort:
    """The cohort by an executor that can train it, whatever was chosen once: choices are kept for good."""
    if workload.habits.alone:  # for code that was another then
        return replace(cohort, executor="loop")
    if cohort.executor == "compiled" and not workload.recipe.elementwise:  # when it was not known to fail
        return replace(cohort, executor="traced")
    return cohort


def _spans(steps: int, measured: Sequence[int]) -> list[tuple[int, int]]:
    edges = sorted({*range(0, steps, BLOCK), *measured, steps})
    return list(pairwise(edges))


@dataclass(frozen=True)
class _Readout:
    """A block's losses and deaths on their way to the host."""

    start: int
    stop: int
    lane_of: np.ndarray
    losses_TK: Tensor
    alive_K: Tensor
    diverged_step_K: Tensor
    arrived: torch.cuda.Event | None

    @classmethod
    def begin(cls, start: int, stop: int, lane_of: np.ndarray, losses_TK: Tensor, state: State) -> _Readout:
        """Start copying; on a GPU nobody waits, and the state may be written meanwhile."""
        on_gpu = losses_TK.device.type == "cuda"
        losses, alive, diverged_step = (
            torch.empty(part.shape, dtype=part.dtype, pin_memory=on_gpu).copy_(part, non_blocking=True)
            for part in (losses_TK, state.alive, state.diverged_step)
        )
        event = None
        if on_gpu:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(losses_TK.device))
        return cls(start, stop, lane_of, losses, alive, diverged_step, event)


class _Course:
    """A cohort's way from its first step, or a checkpoint, to its last."""

    def __init__(
        self, cohort: Cohort, workload: Workload, tick: Tick, resume: Checkpoint | None, jury: Jury | None
    ) -> None:
        self.cohort, self.workload, self.tick, self.jury = cohort, workload, tick, jury
        self.steps = cohort.trials[0].config.budget.steps
        self.inputs = Inputs(cohort.trials, cohort.layout, workload)
        self.measured = evaluation_steps(self.steps, cohort.evaluations)
        self.lag = LAG.get(workload.device.type, 0)
        self.under_way: deque[_Readout] = deque()
        self.handing: Handing | None = None
        self.lasting: Lasting | None = None
        if resume is not None:
            like = workload.start(cohort.trials[:1])
            state, self.record = unpack(resume, cohort.facts, like, workload.recipe.trained)
            living = [cohort.trials[place] for place in self.record.lane_of]
            begun = workload.start(living, cohort.executor)
            self.state = replace(state, modules=begun.modules, fixed=begun.fixed)
            if self.state.lanes == self.record.living:  # spare ones that others had are not among those regrouped
                self._sit(np.arange(self.state.lanes), present=0)
        else:
            self.record = Record.start(self.steps, len(cohort.trials))
            self.state = workload.start(cohort.trials, cohort.executor)
            self._sit(np.arange(self.state.lanes), present=0)
            self._measure()
        self.record.take_scalars(workload.recipe.told)

    def run(self, keeping: Keeping | None, until: int | None = None) -> None:
        """Train to the end, or until so many steps are taken."""
        lasting = {self.lasting.at(trial) for trial in self.cohort.trials} if self.lasting else set()
        edges = [*self.measured, *lasting, self.state.step]
        for number, (start, stop) in enumerate(_spans(self.steps, edges)):
            if start < self.state.step:
                continue
            if until is not None and start >= until:
                return
            self._advance(start, stop)
            halt = stop in self.measured or stop in lasting or number % HALT == HALT - 1
            while len(self.under_way) > (0 if halt else self.lag):
                self._read(self.under_way.popleft())
            if not self.record.living:
                return
            if stop in self.measured:
                self._measure()
            if stop in lasting:
                self._hand_states(stop)
            due = keeping and not self.under_way and stop < self.steps and keeping.due()
            if keeping and due and (checkpoint := self.checkpoint()):
                keeping.save(checkpoint)
        self._finish()

    def end_with(self, weights: Sequence[Weights]) -> None:
        """Be at the end of the training, with these weights."""
        count, state = len(weights), self.state
        arrays = {name: np.stack([each.arrays[name] for each in weights]) for name in weights[0].arrays}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        theta = self.workload.layout.flatten(tensors)
        for held in (state.theta, *(slot for name, slot in state.slots.items() if name == AVERAGE)):
            held[:count].copy_(theta)
        for name in state.buffers.keys() & tensors.keys():
            state.buffers[name][:count].copy_(tensors[name])
        state.step = self.steps
        self._finish()

    def checkpoint(self) -> Checkpoint | None:
        """What it can go on from; None where that cannot be told in tensors."""
        return pack(self.cohort.facts, self.state, self.record) if self._complete else None

    @property
    def _complete(self) -> bool:
        """Whether a checkpoint, which holds tensors only, would hold all that the trials' modules act on."""
        return all(module.as_built for module in self.state.modules)

    def _advance(self, start: int, stop: int) -> None:
        spare = np.repeat(self.record.lane_of[-1:], self.state.lanes - self.record.living)
        lane_of, execute = np.concatenate([self.record.lane_of, spare]), EXECUTORS[self.cohort.executor]

        def run(start: int, stop: int) -> Tensor:
            scale = self.state.scale
            block = self.inputs.block(start, stop, lane_of, scale.missed.tolist() if scale else ())
            return execute(self.workload, self.state, block)

        jury = self.jury
        losses_TK = jury.advance(run, start, stop, self.record.living) if jury else run(start, stop)
        self.under_way.append(_Readout.begin(start, stop, self.record.lane_of, losses_TK, self.state))

    def _read(self, readout: _Readout) -> None:
        """Take a block's losses into the record, and the lanes that died out of the state."""
        if readout.arrived is not None:
            readout.arrived.synchronize()
        places, start, stop = readout.lane_of, readout.start, readout.stop
        counted = int((self.record.diverged_step_N[places] < 0).sum())
        told = readout.losses_TK.double().view(stop - start, len(readout.alive_K), -1).numpy()[:, : len(places)]
        for into, values in zip(self.record.of_steps, np.moveaxis(told, 2, 0), strict=True):
            into[start:stop, places] = values
        dead = 0
        if not bool(readout.alive_K.all()):
            dead = self._bury(places, readout)
        self.tick(counted * (stop - start) + dead * (self.steps - stop), dead)

    def _bury(self, places: np.ndarray, readout: _Readout) -> int:
        """Keep the weights' hash and the last step of those who died, and drop their lanes. Returns how many."""
        record = self.record
        dead = [
            (int(place), int(readout.diverged_step_K[k]))
            for k, place in enumerate(places)
            if not readout.alive_K[k] and record.diverged_step_N[place] < 0
        ]
        for place, step in dead:
            record.diverged_step_N[place] = step
        ended = np.flatnonzero(record.diverged_step_N[record.lane_of] >= 0)
        self._keep_hashes(ended)
        self._hand_over(ended)
        kept = np.flatnonzero(record.diverged_step_N[record.lane_of] < 0)
        record.lane_of = record.lane_of[kept]
        self._sit(kept, present=self.state.lanes)
        return len(dead)

    def _sit(self, kept: np.ndarray, present: int) -> None:
        """Make the state one of the lanes `kept` and as many spare ones as the executor wants."""
        if not len(kept):
            return
        width = seats(self.workload, self.cohort.executor, len(kept), present)
        index = np.concatenate([kept, np.repeat(kept[-1:], width - len(kept))])
        self.state = self.state.keep(torch.as_tensor(index, device=self.workload.device))

    def _measure(self) -> None:
        self.record.measured(self.state.step, self._evaluated("val"))

    def _evaluated(self, split: str) -> dict[str, np.ndarray]:
        seeds = [self.cohort.trials[place].config.seed for place in self.record.lane_of]
        values = evaluate(self.workload, self.state.result, split, self.cohort.executor, seeds=seeds)
        return {name: values_K.numpy()[: self.record.living] for name, values_K in values.items()}

    def _finish(self) -> None:
        """Measure the living on all splits; one whose last validation loss is not finite diverged at the end."""
        record = self.record
        self._keep_hashes(np.arange(record.living))
        for split in ("train", "val", "test"):
            record.finished(split, self._evaluated(split))
        if self.cohort.trials[0].config.dataset.name != "planted":  # its model cannot answer as it likes
            splits = self.workload.splits
            known = guess(self.workload.task, splits["train"], splits["val"], self.workload.extent)
            record.finished(GUESS, {name: np.full(record.living, value) for name, value in known.items()})
        for place in record.lane_of:
            if not np.isfinite(record.final["val/loss"][place]):
                record.diverged_step_N[place] = self.state.step
        self._hand_over(np.arange(record.living))

    def _arrays(self, lanes: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Parameters and persistent buffers of these lanes, tied ones once, which come to the host as one tensor."""
        index = torch.as_tensor(lanes, device=self.workload.device)
        persistent = self.workload.module.state_dict().keys()
        views = self.workload.layout.views(self.state.result.theta.index_select(0, index).cpu())
        held = {n: b.index_select(0, index).cpu() for n, b in self.state.buffers.items() if n in persistent}
        tensors = views | held
        return [
            host_arrays({name: tensor[i] for name, tensor in tensors.items()} | self.state.fixed_of(int(k)))
            for i, k in enumerate(lanes)
        ]

    def _keep_hashes(self, lanes: np.ndarray) -> None:
        """Record the hash of the weights in these lanes."""
        for place, arrays in zip(self.record.lane_of[lanes], self._arrays(lanes), strict=True):
            self.record.hashes[int(place)] = weight_hash(arrays)

    def _hand_over(self, lanes: np.ndarray) -> None:
        """Hand over the weights in these lanes, as far as they are wanted."""
        if self.handing is None:
            return
        for k in lanes.tolist():
            trial = self.cohort.trials[self.record.lane_of[k]]
            if self.handing.wanted(trial.id):
                self.handing.take(self._weights(k, trial.id))

    def _hand_states(self, step: int) -> None:
        """Hand over the states of trials from which longer ones go on from here, but for what no tensors hold."""
        assert self.lasting is not None
        for k, place in enumerate(self.record.lane_of):
            trial = self.cohort.trials[place]
            if self.lasting.at(trial) == step and (not self.state.modules or self.state.modules[k].as_built):
                self.lasting.take(trial.id, alone(trial, self.state, self.record, k))

    def _weights(self, k: int, trial_id: str) -> Weights:
        (arrays,), names, unlike = self._arrays(np.array([k])), {}, ""
        try:
            names = self._names(k, arrays)
        except Exception as error:  # a user's state_dict may raise anything; kept with the weights
            unlike = first_line(error)
        more = bool(self.state.modules) and self.state.modules[k].holds_more
        return Weights(trial_id, arrays, names, unlike, more, frozenset(self.state.fixed))

    def _names(self, k: int, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        """The names of lane k's state_dict. Raises ValueError where the module has tensors that the arrays lack."""
        if not self.state.modules:
            return state_names(self.workload.module, arrays)
        lone = self.state.modules[k]
        if grown := sorted(lone.buffers.keys() - lone.buffers_now().keys()):
            raise ValueError(f"the model's buffer {grown[0]} changed its shape in training")
        return state_names(lone.module, arrays)
