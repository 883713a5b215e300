"""A worker process: chooses executors and trains cohorts on one device, and reports over a pipe.

Has no connection to the store. It trains with one thread, ignores Ctrl-C (its driver decides), and ends when its
driver does, however the driver ends.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.runner.base import stacks
from thalweg.runner.base.child import belong_to_parent
from thalweg.runner.base.errors import ConfigError, ThalwegError, last_line
from thalweg.runner.facts.choice import LOOP_WIDTH, Choice
from thalweg.runner.facts.observation import Observations, Outcome, Reached
from thalweg.runner.project.code import code_of, measuring, to_record
from thalweg.runner.show.numbers import count
from thalweg.runner.study.longer import common_steps
from thalweg.runner.study.trial import Trial
from thalweg.runner.train import given, lasting
from thalweg.runner.train.checkpoints import Shelf, facts_of
from thalweg.runner.train.cutting import narrowed
from thalweg.runner.train.kept import kept
from thalweg.runner.train.messages import (
    Ask,
    Chosen,
    Held,
    Hello,
    Keep,
    Note,
    OutOfMemory,
    Progress,
    Slower,
    Train,
    Trained,
    Work,
)
from thalweg.runner.train.pausing import Rung, begun
from thalweg.runner.train.weights import write

if TYPE_CHECKING:
    import numpy as np
    import torch

    from thalweg.runner.engine.checkpoint import Checkpoint
    from thalweg.runner.engine.cohort import Cohort, Handing, Keeping
    from thalweg.runner.engine.lasting import Lasting
    from thalweg.runner.engine.probing import Question
    from thalweg.runner.engine.workload import Workload
    from thalweg.runner.facts.weights import Weights

PROGRESS_SECONDS = 0.2
MIXED = (
    "its answer for an example depends on the others of the batch, in evaluation too; if that is not meant, look at "
    "what it takes for the batch (nn.LSTM reads [batch, numbers] as one sequence; batch_first=True)"
)
UNDETERMINED = (
    "torch has no deterministic {} here: it rounds otherwise each time, so that the last bits of its trials are not "
    "their own, and a replay that gives others proves nothing"
)
SEEDS_TRIED = 4
"""Seeds with which a model may fail to be built before its whole cohort fails."""


def main(pipe: Connection) -> None:
    """Do what `pipe` asks until it says None or closes. The first it says is the device, as `Pool.start` has it."""
    belong_to_parent()
    stacks.shown_on_signal()
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "99"
    )  # or torch's profiler, in a probe, writes to stderr: no GPU, it says
    gc.disable()  # what importing makes, stays: looking for garbage in it took 0.2 of 1.5 s
    from thalweg.runner.engine.determinism import prepare

    prepare()
    gc.freeze()
    gc.enable()
    try:
        wanted = pipe.recv()
        device, hello = _device(wanted)
        pipe.send(hello)
        if hello.complaint and wanted != "auto":
            return  # another device would give other bits: the driver decides
        bench = Bench(pipe, device, hello.device_name)
        while (work := pipe.recv()) is not None:
            pipe.send(bench.do(work))
    except (EOFError, BrokenPipeError):
        return


class Bench:
    """Does pieces of work, keeping the last group's workload: its data stays on the device between cohorts."""

    def __init__(self, pipe: Connection, device: torch.device, device_name: str = "") -> None:
        self.pipe = pipe
        self.device = device
        self.device_name = device_name
        self.group_id: str | None = None
        self.workload: Workload | None = None

    def do(self, work: Work) -> Chosen | Trained | Slower | OutOfMemory:
        if isinstance(work, Train):
            return self._train(work)
        return self._chosen(work)

    def _chosen(self, ask: Ask, width: int | None = None) -> Chosen:
        """What is best. width: the widest to try, narrower than what did not fit; None at first."""
        from thalweg.runner.engine.choose import choose, narrower

        question = _question(ask, width)
        try:
            workload = self._workload_of(ask, ask.sample[0])
            if workload.habits.mixes and width is None:
                self.pipe.send(Note(f"{workload.config.model.name}: {MIXED}"))
            if (operation := workload.habits.undetermined) and width is None:
                self.pipe.send(Note(f"{workload.config.model.name}: {UNDETERMINED.format(operation)}"))
            if workload.beginning and workload.beginning.note and width is None:
                self.pipe.send(Note(workload.beginning.note))
            choice, bar = choose(workload, question)
            return Chosen(ask.group_id, choice, bar)
        except BaseException as error:  # training will meet the same error and record it with each trial
            from thalweg.runner.engine.memory import is_out_of_memory

            half = narrower(self.device, width) if is_out_of_memory(error) and len(ask.sample) > 1 else None
            reason = f"probing failed: {last_line(told(error))}"
        if half:  # not in the block above: as long as it lasts, the error's frames hold what was too much
            self._forget()
            return self._chosen(ask, half)
        return Chosen(ask.group_id, Choice("loop", ask.layout, width or LOOP_WIDTH, reason))

    def timed(self, ask: Ask) -> tuple[float, float, float, int]:
        """Seconds of one trial of a group, as `estimated` has them, and the most memory that this process held."""
        from thalweg.runner.engine.estimate import estimated

        chosen = self._chosen(ask)
        seconds = estimated(self._workload_of(ask, ask.sample[0]), _question(ask), chosen.choice)
        return (*seconds, self._peak_bytes())

    def _train(self, work: Train) -> Trained | Slower | OutOfMemory:
        from thalweg.runner.engine.cohort import Cohort, train
        from thalweg.runner.engine.jury import Jury, TooSlow

        cohort = Cohort(work.trials, work.executor, work.layout, work.evaluations)
        try:
            workload = self._workload_of_any(work)
            self._refuse_other_data(work)
            if measured := self._measured(work, cohort, workload):
                return Trained(tuple(measured), self._peak_bytes())
            resume, keeping = self._checkpoints(work)
            if work.stage and resume is None:
                parts = begun(work, self._made_by(work), self._say)
                if len(parts) > 1:
                    return self._train_in_parts([part for part, _ in parts])
                resume = parts[0][1]
            rung = Rung(work, self._made_by(work), self._say)
            jury = Jury(work.bar, self.device, lambda: self.pipe.send(Held())) if work.bar else None
            observations = train(
                cohort,
                workload,
                self._ticker(),
                resume=resume or self._onward(work, cohort),
                keeping=keeping,
                jury=jury,
                handing=self._handing(work.weights),
                pausing=rung.pausing,
                lasting=self._lasting(work),
            )
            undetermined = workload.habits.undetermined
            return Trained(tuple(observations), self._peak_bytes(), tuple(rung.reached), undetermined)
        except TooSlow as slow:
            return Slower(slow.speed)
        except BaseException as error:  # a model may call sys.exit; recorded with each trial, and the sweep goes on
            from thalweg.runner.engine.memory import is_out_of_memory

            reason, too_large = told(error), is_out_of_memory(error)
        if too_large:  # not in the block above, as in `_chosen`
            self._forget()
            return OutOfMemory(reason)
        if self.workload is not None and len(work.trials) > 1:
            return self._train_in_halves(work)
        failed = (Observations(trial_id=trial.id, outcome=Outcome.FAILED, error=reason) for trial in work.trials)
        return Trained(tuple(failed), self._peak_bytes())

    def _train_in_halves(self, work: Train) -> Trained | Slower | OutOfMemory:
        """Train a cohort that raised in parts, so that who raised fails alone. Bits do not depend on company."""
        return self._train_in_parts(narrowed(replace(work, checkpoints=None, bar=None), (len(work.trials) + 1) // 2))

    def _train_in_parts(self, parts: Sequence[Train]) -> Trained | Slower | OutOfMemory:
        observations: list[Observations] = []
        reached: list[Reached] = []
        undetermined = None
        for part in parts:
            trained = self._train(part)
            if not isinstance(trained, Trained):
                return trained
            observations += trained.observations
            reached += trained.reached
            undetermined = undetermined or trained.undetermined
        return Trained(tuple(observations), self._peak_bytes(), tuple(reached), undetermined)

    def _measured(self, work: Train, cohort: Cohort, workload: Workload) -> list[Observations]:
        """What is measured of kept weights, if that is all that is to be done; nothing where it cannot be."""
        from thalweg.runner.engine.cohort import remeasured

        if not work.measured or not work.starts:
            return []
        try:
            held = [kept(Path(work.starts), trial.id, work.measured[trial.id][0]) for trial in work.trials]
            weights = [each for each in held if each and not each.unlike and not each.more]
            if len(weights) < len(held):
                raise ValueError("kept weights are not all that they are")
            made = remeasured(cohort, workload, weights)
            for each in made:
                if (each.weight_hash, each.metrics.get("val/loss")) != work.measured[each.trial_id]:
                    raise ValueError("by kept weights their validation losses are not, to the bit, those of training")
        except (OSError, ValueError) as error:
            self._say(f"{count(len(work.trials), 'trial')} are trained again to be measured: {error}")
            return []
        self._say(f"{count(len(work.trials), 'trial')} are measured by their kept weights, without training")
        return made

    def _onward(self, work: Train, cohort: Cohort) -> Checkpoint | None:
        """Where a cohort goes on from that is the same as shorter trials were up to there."""
        from thalweg.runner.engine.checkpoint import Checkpoint
        from thalweg.runner.engine.lasting import together
        from thalweg.runner.study.settings import evaluation_steps

        if not work.onward or not work.starts:
            return None
        by, folder = self._made_by(work) | {"executor": work.executor, "layout": work.layout}, Path(work.starts)
        measured, trials = evaluation_steps(work.trials[0].config.budget.steps, work.evaluations), work.trials
        try:
            parts = [Checkpoint(*lasting.read(folder, work.onward[trial.id], by)) for trial in trials]
            found = together(parts, trials, cohort.facts, measured)
        except (OSError, ValueError) as error:
            self.pipe.send(Note(f"{count(len(trials), 'trial')} cannot go on from shorter ones: {error}"))
            return None
        self.pipe.send(Note(f"{count(len(trials), 'trial')} go on from step {found.facts['step']:,} of shorter ones"))
        return found

    def _lasting(self, work: Train) -> Lasting | None:
        """Where states go from which longer trials may go on: into files beside the weights."""
        from thalweg.runner.engine.lasting import Lasting

        keep = work.weights
        if keep is None or keep.ids is not None:
            return None
        by = self._made_by(work) | {"executor": work.executor, "layout": work.layout}

        def take(trial_id: str, checkpoint: Checkpoint) -> None:
            with suppress(OSError):  # the weights, which go the same way, say so
                lasting.write(Path(keep.folder), trial_id, (checkpoint.arrays, checkpoint.facts), by)

        return Lasting(lambda trial: common_steps(trial.config), take)

    def _checkpoints(self, work: Train) -> tuple[Checkpoint | None, Keeping | None]:
        """Where a cohort goes on from, and how its further checkpoints are kept."""
        from thalweg.runner.engine.checkpoint import Checkpoint
        from thalweg.runner.engine.cohort import Keeping

        if work.checkpoints is None:
            return None, None
        folder, seconds = work.checkpoints
        shelf = Shelf(Path(folder), facts_of(work), self._made_by(work))
        found = shelf.newest(self._say)
        if found:
            self.pipe.send(Note(f"{len(work.trials)} trials go on from a checkpoint at step {found[1]['step']:,}"))
        last = time.monotonic()

        def due() -> bool:
            return time.monotonic() - last >= seconds

        def save(checkpoint: Checkpoint) -> None:
            nonlocal last
            try:
                shelf.save(checkpoint.arrays, checkpoint.facts)
            except OSError as error:  # training goes on: a checkpoint only spares work
                self.pipe.send(Note(f"a checkpoint could not be written to {folder}: {error.strerror}"))
            last = time.monotonic()

        return (None if found is None else Checkpoint(*found)), Keeping(due, save)

    def _made_by(self, work: Train) -> dict[str, str]:
        """What decides the bits of a checkpoint, as the cohort does."""
        from thalweg.runner.engine.checkpoint import FORMAT

        made_by = {"device": self.device_name, "checkpoint format": str(FORMAT), **_versions()}
        made_by |= {"metrics": ", ".join(work.metrics), **measuring(work.metrics)}
        return made_by | to_record(code_of(work.trials[0].config))

    def _say(self, text: str) -> None:
        self.pipe.send(Note(text))

    def _refuse_other_data(self, work: Train) -> None:
        """Raise ConfigError where a function of the user's gives other data than those that trials here trained on."""
        from thalweg.runner.engine.own import own_data

        if work.starts:
            folder = given.folder_of(Path(work.starts))
            given.refuse_others(folder, work.trials[0].config, lambda data: own_data(data)[1])

    def _handing(self, keep: Keep | None) -> Handing | None:
        """Where a cohort's final weights go: into files."""
        from thalweg.runner.engine.cohort import Handing

        if keep is None:
            return None

        said: set[str] = set()

        def take(weights: Weights) -> None:
            try:
                write(Path(keep.folder), weights)
            except OSError as error:  # the trial is trained, and can be again
                why = f"could not be written to {keep.folder}: {error.strerror}"
                if why not in said:  # a full disk is said once a cohort
                    self.pipe.send(Note(f"the weights of {weights.trial_id[:8]} {why}"))
                said.add(why)

        return Handing(lambda trial_id: keep.ids is None or trial_id in keep.ids, take)

    def _workload_of_any(self, work: Train) -> Workload:
        """The workload, looked at with the first trial's seed, or where that raises with one of the next."""
        *first, last = list({trial.config.seed: trial for trial in work.trials}.values())[:SEEDS_TRIED]
        for trial in first:
            with suppress(Exception):  # the trial itself will say so
                return self._workload_of(work, trial)
        return self._workload_of(work, last)

    def _workload_of(self, work: Work, trial: Trial) -> Workload:
        from thalweg.runner.engine.prepare import prepared

        if self.workload is None or self.group_id != work.group_id:
            self.workload = None  # as long as none could be made
            made = prepared(trial.config, self.device, work.metrics, _start_of(work, trial))
            self.workload = made.telling(work.scalars)
            self.group_id = work.group_id
        return self.workload

    def _forget(self) -> None:
        """Let go of the data and of what the failed attempt left behind."""
        import torch

        self.workload = self.group_id = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _ticker(self) -> Callable[[int, int], None]:
        """A tick that sends at most a few messages a second."""
        steps_held, diverged_held, last = 0, 0, time.monotonic()

        def tick(steps: int, diverged: int) -> None:
            nonlocal steps_held, diverged_held, last
            steps_held, diverged_held = steps_held + steps, diverged_held + diverged
            if time.monotonic() - last >= PROGRESS_SECONDS:
                self.pipe.send(Progress(steps_held, diverged_held))
                steps_held, diverged_held, last = 0, 0, time.monotonic()

        return tick

    def _peak_bytes(self) -> int:
        if self.device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self.device)
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _start_of(work: Work, trial: Trial) -> Mapping[str, np.ndarray] | None:
    """The weights of another trial that a trial starts from, if it does. Raises ConfigError where they are not here."""
    init = trial.config.init
    if init.trial is None:
        return None
    try:
        found = kept(Path(work.starts), init.trial, init.fingerprint) if work.starts else None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the kept weights of {init.trial[:8]}, from which it starts, are of no use: {error}"
        ) from error
    if found is None:
        where = work.starts or "any folder"
        raise ConfigError(f"it starts from the weights of {init.trial[:8]}, which are not in {where}")
    if found.unlike:
        raise ConfigError(f"it cannot start from {init.trial[:8]}: {found.unlike}")
    return found.state_dict


def _question(ask: Ask, width: int | None = None) -> Question:
    from thalweg.runner.engine.probing import Question

    return Question(
        ask.sample, ask.layout, ask.requested, width, ask.trials, ask.workers, ask.sharing, ask.evaluations,
        ask.seeds, ask.idle,
    )  # fmt: skip


def told(error: BaseException) -> str:
    """What is recorded of an error: a sentence of ours, or else the traceback, which is somebody's to read.

    Its last line, which is shown first, has the file and line of the user's code that it came through, if it did.
    """
    if isinstance(error, ThalwegError) and not os.environ.get("THALWEG_TRACEBACK"):
        return f"{error.message}; {error.hint}" if error.hint else error.message
    from thalweg.runner.engine.user import place_of, said_by

    whole = "".join(traceback.format_exception(error))
    return f"{whole}{said_by(error)}" if place_of(error) else whole


def _device(wanted: str) -> tuple[torch.device, Hello]:
    """The device to train on. Where the wanted one cannot be used: the CPU, and a complaint.

    Looks at no other GPU than its own: each one touched would hold a context of some 500 MB there.
    """
    import torch

    from thalweg.runner.machine.doctor import cuda

    complaint = None
    if wanted == "mps":
        if torch.backends.mps.is_available():
            return torch.device("mps"), Hello("mps", platform.processor(), _versions())
        complaint = "this machine has no MPS device that torch can use"
    elif wanted != "cpu":
        device = torch.device(wanted if ":" in wanted else "cuda:0")
        check = cuda([device.index or 0])
        if check.ok:
            name, devices = torch.cuda.get_device_name(device), torch.cuda.device_count()
            return device, Hello(str(device), name, _versions(), devices=devices)
        complaint = check.detail if check.remedy is None else f"{check.detail}; {check.remedy}"
    return torch.device("cpu"), Hello("cpu", platform.machine(), _versions(), complaint)


def _versions() -> dict[str, str]:
    """What a trial's bits depend on besides itself. The names are stored, and compared by `replay`."""
    import numpy
    import torch

    from thalweg.runner.base.version import __version__
    from thalweg.runner.machine.device import processor

    return {
        "thalweg": __version__,
        "torch": str(torch.__version__),  # a class of torch's own, which the driver would import torch to unpickle
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "instructions": " ".join([torch.backends.cpu.get_cpu_capability(), *_held_to()]),
    }


def _held_to() -> list[str]:
    """Instruction sets that the libraries below torch were told to keep to."""
    return [
        f"{name}={os.environ[name]}" for name in ("MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA") if name in os.environ
    ]
