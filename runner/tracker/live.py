"""Runs that grow on W&B's site while their trials train: files that get longer, which W&B's own live sync follows.

They have the ids that their trials' runs will have, which take their place there. Here they are in a hidden folder
beside the runs, and gone when training is over. Whatever goes wrong is no more than not being seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from thalweg.runner.tracker.environment import Surroundings, has_account, upload_environment
from thalweg.runner.tracker.history import BATCH_LOSS, ExportTrial, Row, RunContent, history, loaded, run_content
from thalweg.runner.tracker.processes import end
from thalweg.runner.tracker.records import beginning, framed, rows_added, understood

FOLDER = ".growing"
MOST = 16
"""Runs that grow at a time: they take a service of W&B's, and nobody watches hundreds."""


@dataclass
class _Grown:
    """A file as far as it is written."""

    path: Path
    size: int
    records: int
    step: int  # the last one written


class Growing:
    """The runs that grow now. `tend` is told what is known by now; who is no longer named is no longer followed."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._folder = around.folder / FOLDER
        self._files: dict[str, _Grown] = {}
        self._followed: list[tuple[frozenset[str], subprocess.Popen[bytes]]] = []
        shutil.rmtree(self._folder, ignore_errors=True)

    def wanted(self, ids: Iterable[str]) -> list[str]:
        """Return which of the trials that may train are shown: those that are already, then the first of the others."""
        ids = list(ids)
        return sorted(ids, key=lambda trial: trial not in self._files)[:MOST]

    def tend(self, trials: Sequence[ExportTrial]) -> None:
        """Let the runs of these trials grow to what their series hold, and end following any other."""
        self._drop({trial.trial_id for trial in trials})
        for trial in trials:
            self._grow(trial)
        self._follow([trial.trial_id for trial in trials])

    def _drop(self, kept: set[str]) -> None:
        """End the services that follow one of the others; whoever they followed besides gets another."""
        for followed, process in self._followed:
            if not followed <= kept:
                end(process)
        self._followed = [each for each in self._followed if each[0] <= kept]
        for trial in self._files.keys() - kept:
            shutil.rmtree(self._files.pop(trial).path.parent, ignore_errors=True)

    def _grow(self, trial: ExportTrial) -> None:
        """Add the steps that are known in full: what is measured after the last one waits for the next."""
        rows, file = history(loaded(trial), None), self._files.get(trial.trial_id)
        if file is None:
            file = self._files[trial.trial_id] = self._begin(growing_content(trial), rows)
        trained = max((step for step, row in rows if BATCH_LOSS in row), default=-1)
        _append(file, [row for row in rows if file.step < row[0] <= trained])

    def _begin(self, run: RunContent, rows: Sequence[Row]) -> _Grown:
        names = dict.fromkeys(name for _, row in rows for name in row)
        path = self._folder / f"offline-run-{run.started:%Y%m%d_%H%M%S}-{run.run_id}" / f"run-{run.run_id}.wandb"
        path.parent.mkdir(parents=True)
        head = beginning(run, names, (self._around.project, self._around.entity))
        content = framed(head)
        path.write_bytes(content)
        return _Grown(path, len(content), len(head), -1)

    def _follow(self, ids: Sequence[str]) -> None:
        followed = frozenset[str]().union(*(each for each, process in self._followed if process.poll() is None))
        if new := [trial for trial in ids if trial not in followed]:
            self._followed.append((frozenset(new), _followed([self._files[trial].path for trial in new])))


def can_grow(around: Surroundings, environ: Mapping[str, str]) -> bool:
    """Whether runs are to be seen while they train, and this version of W&B follows a file."""
    if around.name != "wandb" or around.mode != "online" or not has_account(environ):
        return False
    with suppress(Exception):  # no wandb, or one without a version: then there is nothing to follow
        return understood()
    return False


def growing_content(trial: ExportTrial) -> RunContent:
    """Lay out the run of a trial that trains: without results, begun now."""
    run = run_content(trial)
    return replace(run, tags=("training", *run.tags[1:]), summary={}, started=datetime.now(UTC), seconds=0.0)


def _append(file: _Grown, rows: Sequence[Row]) -> None:
    if not rows:
        return
    added = framed(rows_added(rows, file.records + 1), file.size)
    with file.path.open("ab") as log:
        log.write(added)
    file.size, file.records, file.step = file.size + len(added), file.records + len(rows), rows[-1][0]


def _followed(files: Sequence[Path]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "wandb", "beta", "sync", "--live", "-n", str(len(files)), *map(str, files)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=upload_environment(os.environ))
