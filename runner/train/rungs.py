"""How far the trials of a sweep train that may stop early, and the files in which they wait at a rung. No torch.

A cohort that comes to a rung leaves one checkpoint of all its living trials. Whoever of them goes on does so in another
cohort, whose trials come from several such files: lanes are full at each rung, though half of the trials stopped. What
is lost of the files is trained again, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.runner.study.trial import Trial
from thalweg.runner.train.checkpoints import facts_of, folder_of, held, remove
from thalweg.runner.train.messages import Stage, Train

RUNG = "rung"
"""What the facts of a file say that holds trials at a rung; a cohort's other checkpoints have no such fact."""


@dataclass(frozen=True)
class Rungs:
    """Where the files are, the rung that each trial is trained to, if not to its end, and the file it waits in.

    kept: trial id -> the steps that it has taken, and the name of the file.
    """

    folder: str
    until: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def stage(self, trials: Sequence[Trial]) -> Stage:
        """How far a cohort trains, and what it goes on from. Its trials are of one pool."""
        files = dict.fromkeys(self.kept[trial.id][1] for trial in trials if trial.id in self.kept)
        return Stage(self.folder, self.until.get(trials[0].id), tuple(files))

    def pools(self, trials: Iterable[Trial]) -> list[list[Trial]]:
        """Trials that go on from the same step to the same step."""
        found: dict[tuple[int, int], list[Trial]] = {}
        for trial in trials:
            found.setdefault((self.until.get(trial.id, -1), self._from(trial)), []).append(trial)
        return list(found.values())

    def steps(self, trial: Trial) -> int:
        """How many steps a trial takes of its way."""
        return max(0, self.until.get(trial.id, trial.config.budget.steps) - self._from(trial))

    def _from(self, trial: Trial) -> int:
        return self.kept.get(trial.id, (0, ""))[0]


def rungs_of(folder: Path, until: Mapping[str, int], wanted: Iterable[str]) -> Rungs:
    """How far trials train, going on from the files that a folder has of them."""
    found = waiting(folder)
    return Rungs(str(folder), until, {trial: found[trial] for trial in wanted if trial in found})


def waiting(folder: Path) -> dict[str, tuple[int, str]]:
    """Trial id -> how far it came, and the name of the file that has it there. Files that cannot be read have none."""
    found: dict[str, tuple[int, str]] = {}
    for path, facts in held(folder):
        for trial in facts["trials"] if RUNG in facts else ():
            found[trial] = max(found.get(trial, (0, "")), (int(facts["step"]), path.name))
    return found


def facts_at(work: Train, step: int) -> dict[str, object]:
    """What makes the file of a cohort at a rung."""
    return {**facts_of(work), RUNG: step}


def clear(store: Path, needed: Callable[[Iterable[str]], bool]) -> None:
    """Remove the files that hold nobody who goes on from there. needed: whether any of these trials may go on."""
    folder = folder_of(store)
    found = waiting(folder)
    newest: dict[str, list[str]] = {}
    for trial, (_, name) in found.items():
        newest.setdefault(name, []).append(trial)
    for path, facts in list(held(folder)):
        if RUNG in facts and not needed(newest.get(path.name, ())):
            remove(path)
    with suppress(OSError):
        folder.rmdir()
