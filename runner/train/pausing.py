"""What a worker does at a rung: it keeps a cohort's living trials in a file, and goes on with some of several files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.runner.facts.observation import Reached
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.checkpoints import Shelf, facts_of
from thalweg.runner.train.messages import Train
from thalweg.runner.train.rungs import RUNG, facts_at

if TYPE_CHECKING:
    from thalweg.runner.engine.checkpoint import Checkpoint
    from thalweg.runner.engine.cohort import Pausing

MadeBy = Mapping[str, str]
Say = Callable[[str], None]


def begun(work: Train, made_by: MadeBy, say: Say) -> list[tuple[Train, Checkpoint | None]]:
    """A cohort in parts of trials that are equally far, each with what it goes on from; None from its first step.

    It is one part, unless a file is not what it should be: whoever it had begins again.
    """
    from thalweg.runner.engine.checkpoint import Checkpoint, regrouped

    assert work.stage is not None
    alike = {name: value for name, value in facts_of(work).items() if name != "trials"}
    shelf = Shelf(Path(work.stage.folder), alike, made_by)
    found = {name: Checkpoint(*file) for name in work.stage.files if (file := shelf.read(name, say))}
    at = {trial: name for name in sorted(found, key=lambda name: _step(found[name])) for trial in _living(found[name])}
    parts: dict[int, list[Trial]] = {}
    for trial in work.trials:
        parts.setdefault(_step(found[at[trial.id]]) if trial.id in at else 0, []).append(trial)
    made: list[tuple[Train, Checkpoint | None]] = []
    for trials in parts.values():
        names = tuple(dict.fromkeys(at[trial.id] for trial in trials if trial.id in at))
        part = replace(work, trials=tuple(trials), stage=replace(work.stage, files=names))
        part = part if len(parts) == 1 else replace(part, checkpoints=None, bar=None)
        made.append((part, regrouped(facts_of(part), [found[name] for name in names]) if names else None))
    return made


def _step(file: Checkpoint) -> int:
    return int(file.facts["step"])


def _living(file: Checkpoint) -> list[str]:
    return [file.facts["trials"][place] for place in file.arrays["lane_of"]]


class Rung:
    """Where a cohort stops on its way, if it does; `reached` is what its living trials had observed there."""

    def __init__(self, work: Train, made_by: MadeBy, say: Say) -> None:
        self.work, self.made_by, self.say = work, made_by, say
        self.reached: list[Reached] = []

    @property
    def pausing(self) -> Pausing | None:
        """Where the engine is to stop; None for nowhere."""
        from thalweg.runner.engine.cohort import Pausing

        stage = self.work.stage
        return None if stage is None or stage.until is None else Pausing(stage.until, self._take)

    def _take(self, reached: list[Reached], checkpoint: Checkpoint | None) -> None:
        stage = self.work.stage
        assert stage is not None
        assert stage.until is not None
        self.reached = reached
        if checkpoint is None:
            self.say(
                f"{len(reached)} trials keep more than tensors: those that go on begin again with their first step"
            )
            return
        try:
            shelf = Shelf(Path(stage.folder), facts_at(self.work, stage.until), self.made_by)
            shelf.save(checkpoint.arrays, {**checkpoint.facts, RUNG: stage.until})
        except OSError as error:  # those that go on are trained again from their first step
            self.say(f"a checkpoint could not be written to {stage.folder}: {error.strerror}")
