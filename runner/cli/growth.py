"""Lets the W&B runs of trials that still train grow, from the checkpoints that training leaves beside the store.

Asks the store in transactions of its own, and only when a checkpoint is new. A sweep that leaves none shows its runs
when their trials are done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.runner.base.errors import ThalwegError

if TYPE_CHECKING:
    from thalweg.runner.store import Store
    from thalweg.runner.study.settings import TrackerSettings
    from thalweg.runner.tracker.live import Growing


class Growth:
    """The growing runs of a study that is trained now."""

    def __init__(self, store: Path, study: str, settings: TrackerSettings, given: Sequence[str]) -> None:
        from thalweg.runner.tracker import surroundings
        from thalweg.runner.tracker.live import Growing, can_grow
        from thalweg.runner.train.checkpoints import folder_of

        self._store, self._study, self._settings = store, study, settings
        self._folder = folder_of(store)
        self._seen: tuple[frozenset[Path], frozenset[str]] | None = None  # files, and trials that are not done
        around = surroundings(os.environ, settings, given, store.parent)
        self._growing = Growing(around) if can_grow(around, os.environ) else None

    def look(self) -> None:
        """Add what checkpoints say by now; follow nobody whose trial is done, whose whole run may now be sent."""
        if self._growing is None:
            return
        from thalweg.runner.store import Store

        with suppress(ThalwegError, OSError), Store.open(self._store) as opened:
            self._tend(opened, self._growing)

    def _tend(self, opened: Store, growing: Growing) -> None:
        from thalweg.runner.cli.export import growing_trials
        from thalweg.runner.train.checkpoints import held
        from thalweg.runner.train.so_far import so_far

        files = {path: facts["trials"] for path, facts in held(self._folder)}
        statuses = opened.statuses(dict.fromkeys(trial for trials in files.values() for trial in trials))
        unfinished = [trial for trial, status in statuses.items() if status.outcome is None]
        seen = (frozenset(files), frozenset(unfinished))
        if seen == self._seen:
            return
        self._seen = seen
        own = [trial for trial in unfinished if self._is_own(opened, trial)]
        series = so_far(self._folder, growing.wanted(own))
        growing.tend(growing_trials(opened, self._study, self._settings, series))

    def _is_own(self, opened: Store, trial: str) -> bool:
        """Whether the study trains a trial: in the same folder are those of other sweeps, and those that it stopped."""
        return any(place.study == self._study and not place.pruned for place in opened.membership(trial))


def clear(store: Path, settings: TrackerSettings, given: Sequence[str]) -> None:
    """Remove what grew beside a training that is over. Raises SetupError for a name that W&B would refuse."""
    from thalweg.runner.tracker import surroundings
    from thalweg.runner.tracker.live import FOLDER

    shutil.rmtree(surroundings(os.environ, settings, given, store.parent).folder / FOLDER, ignore_errors=True)
