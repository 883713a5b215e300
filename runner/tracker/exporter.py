"""Brings W&B run folders into agreement with the store's trials: writes what is missing, uploads if asked.

A run is there when the ledger names its folder and its file is as large as was written; anything else in its place
is a leftover and is written anew. So a kill, a lost ledger or a removed folder is mended by the next export.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thalweg.runner.base.errors import ThalwegError
from thalweg.runner.study.settings import TrackerSettings
from thalweg.runner.tracker.analysis import (
    ExportAnalysis,
    analysis_answer,
    analysis_content,
    analysis_id,
    analysis_results,
)
from thalweg.runner.tracker.environment import Mode, Surroundings, has_account, surroundings
from thalweg.runner.tracker.events import event_writer
from thalweg.runner.tracker.history import (
    ExportTrial,
    Media,
    Row,
    RunContent,
    best,
    fingerprint,
    history,
    loaded,
    run_content,
    run_id,
)
from thalweg.runner.tracker.ledger import Entry, Ledger, LedgerBusy, ledger_path, read_ledger, writing
from thalweg.runner.tracker.runs import PARTIAL, RunWriter, run_writer
from thalweg.runner.tracker.upload import is_uploaded, upload

RUN_FOLDER = {
    "wandb": re.compile(rf"(?:offline-run-\d{{8}}_\d{{6}}-|{re.escape(PARTIAL)})([0-9a-f]{{16}})(?:-\d+)?"),
    "tensorboard": re.compile(rf"(?:.* |{re.escape(PARTIAL)})([0-9a-f]{{16}})", re.DOTALL),
}
WRITERS: dict[str, Callable[[Surroundings], AbstractContextManager[RunWriter]]] = {
    "wandb": run_writer,
    "tensorboard": event_writer,
}
HOLDS_RUN = re.compile(r"\.wandb$|\.tfevents\.")
SHOWN = {"wandb": "W&B", "tensorboard": "TensorBoard"}
SPACE_BYTES = 32 * 2**20  # wandb-core drops writes silently on a full disk, so stop before it is full

Report = Callable[[str, int, int], None]
"""Called with "written" or "uploaded", the number done, and the total."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What an export did. `written` counts runs on disk or at W&B, `new` those written by this call."""

    total: int
    written: int
    new: int
    uploaded: int
    mode: Mode
    folder: Path
    account: bool = False
    asked_to_upload: bool = False
    dry_run: bool = False
    problem: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def remaining(self) -> int:
        """Runs still to be written."""
        return self.total - self.written

    @property
    def worth_saying(self) -> bool:
        """Whether a sweep should print `line`: something was written, is left to write, or went wrong."""
        return self.mode != "disabled" and bool(self.new or self.remaining or self.problem)

    @property
    def line(self) -> str:
        """One line for the user."""
        if self.mode == "disabled":
            return "W&B: nothing written (WANDB_MODE=disabled)"
        tracker = SHOWN[self.folder.name]
        if self.dry_run:
            sent = f"{self.total - self.uploaded:,}" if self.account else "nothing (no account, or offline)"
            return (
                f"{tracker}: would write {self.remaining:,} of {self.total:,} runs in {self.folder}, and upload {sent}"
            )
        count = f"{tracker} {self.written:,}/{self.total:,} written"
        if self.problem:
            return f"{count}; {self.problem}; the results are in the store; go on: thalweg sync"
        if self.remaining:
            return f"{count}; go on: thalweg sync"
        if self.folder.name == "tensorboard":
            return f"{count}; look: tensorboard --logdir {shlex.quote(str(self.folder))} (pip install tensorboard)"
        if not self.asked_to_upload:
            return f"{count} in {self.folder}"
        if self.account:
            left = "" if self.uploaded == self.total else "; go on: thalweg sync"
            return f"{count} in {self.folder}, {self.uploaded:,} uploaded{left}"
        return f"{count} in {self.folder}, not uploaded (no account): wandb login, then thalweg sync"


@dataclass(frozen=True)
class _Wanted:
    """A run that there should be. `load` gives all of it that takes long to make: summary, history, files."""

    run: RunContent
    fingerprint: str
    load: Callable[[], tuple[dict[str, Any], list[Row], list[Media]]]


@dataclass
class _Export:
    """The state of one call: what is wanted, where it stands, and when to stop."""

    around: Surroundings
    wanted: dict[str, _Wanted]  # by the id of the trial, or of the analysis
    until: float | None  # of writing, a time.monotonic()
    upload_seconds: float | None
    report: Report
    entries: dict[str, Entry] = field(default_factory=dict)
    on_disk: dict[str, list[str]] = field(default_factory=dict)  # run id -> folder names
    new: int = 0

    def holds(self, trial_id: str) -> bool:
        """Whether the trial's run needs no writing.

        `wandb clean` removes uploaded runs, and they stay done; a wandb/ that is gone altogether is rebuilt.
        """
        entry = self.entries.get(trial_id)
        if entry is None or entry.fingerprint != self.wanted[trial_id].fingerprint:
            return False
        if entry.folder not in self.on_disk.get(run_id(trial_id), ()):
            return entry.uploaded and self.around.folder.is_dir()
        return 0 <= entry.size <= _size(self.around.folder / entry.folder)  # W&B's service may add to it yet

    def missing(self) -> list[str]:
        return [trial_id for trial_id in self.wanted if not self.holds(trial_id)]

    @property
    def written(self) -> int:
        return len(self.wanted) - len(self.missing())

    @property
    def uploaded(self) -> int:
        return sum(self.holds(trial_id) and self.entries[trial_id].uploaded for trial_id in self.wanted)


def export(
    trials: Iterable[ExportTrial],
    store: Path,
    settings: TrackerSettings,
    *,
    given: Collection[str] = (),
    write_seconds: float | None = None,
    upload_seconds: float | None = None,
    asked_to_upload: bool = False,
    dry_run: bool = False,
    report: Report = lambda what, done, total: None,
    analyses: Iterable[ExportAnalysis] = (),
) -> ExportResult:
    """Write a W&B run for every trial and analysis that has none yet, beside the store at `store`.

    given: tracker settings set on the command line, which beat WANDB_* variables. write_seconds, upload_seconds: how
    long files are written at most, and how long a server is waited for. asked_to_upload: upload too, if there is an
    account and WANDB_MODE allows it; WANDB_MODE=online asks for it as well. dry_run: only look. What W&B or the disk
    does raises nothing: see `problem`.
    """
    around = surroundings(os.environ, settings, given, store.parent)
    wanted = {trial.trial_id: _of_trial(trial, around, settings.history_points) for trial in trials}
    if around.name == "wandb":  # event files hold no tables
        wanted |= {analysis_id(each.study): _of_analysis(each, around) for each in analyses}
    until = None if write_seconds is None else time.monotonic() + write_seconds
    state = _Export(around, wanted, until, upload_seconds, report)
    asked_to_upload = (asked_to_upload or around.mode == "online") and not around.uploads_forbidden
    account = asked_to_upload and has_account(os.environ)
    ledger, disabled = ledger_path(store, around.name), around.mode == "disabled"
    problem = None if disabled else _bring_about(state, ledger, account, dry_run)
    return ExportResult(
        total=len(wanted),
        written=0 if disabled else state.written,
        new=state.new,
        uploaded=state.uploaded,
        mode=around.mode,
        folder=around.folder,
        account=account,
        asked_to_upload=asked_to_upload,
        dry_run=dry_run,
        problem=problem,
        warnings=around.warnings if state.new else (),
    )


def _of_trial(trial: ExportTrial, around: Surroundings, points: int | None) -> _Wanted:
    def load() -> tuple[dict[str, Any], list[Row], list[Media]]:
        series = loaded(trial)
        found = {} if trial.pruned else best(trial, series)  # how that would have ended is not known
        return found, history(series, points), []

    run = run_content(trial)
    return _Wanted(run, fingerprint(run, (around.project, around.entity), points), load)


def _of_analysis(analysis: ExportAnalysis, around: Surroundings) -> _Wanted:
    run = analysis_content(analysis)
    content = fingerprint(run, (around.project, around.entity), analysis_results(analysis))

    def load() -> tuple[dict[str, Any], list[Row], list[Media]]:
        summary, media = analysis_answer(analysis)
        return summary, [], media

    return _Wanted(run, content, load)


def _bring_about(state: _Export, path: Path, account: bool, dry_run: bool) -> str | None:
    try:
        state.entries, state.on_disk = read_ledger(path), _run_folders(state.around.folder)
        if dry_run:
            return None
        if not state.missing() and not (account and state.uploaded < len(state.wanted)):
            return None
        with writing(path) as ledger:
            state.entries = ledger.entries
            problem = _write_missing(state, ledger) if state.missing() else None
            if problem is None and account and not state.missing():
                state.report("written", len(state.wanted), len(state.wanted))  # from here on a server is waited for
                problem = _upload(state, ledger)
            return problem
    except LedgerBusy:
        return "another process is writing them"
    except OSError as error:
        return f"files cannot be written: {error}"


def _run_folders(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if folder.is_dir():
        for entry in os.scandir(folder):
            match = RUN_FOLDER[folder.name].fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False):
                found.setdefault(match[1], []).append(entry.name)
    return found


def _size(folder: Path) -> int:
    """Of the file that holds a run, beside which W&B's sync lays marks and logs; -1 where there is none."""
    try:
        with os.scandir(folder) as entries:
            return sum(each.stat().st_size for each in entries if HOLDS_RUN.search(each.name)) or -1
    except OSError:
        return -1


def _write_missing(state: _Export, ledger: Ledger) -> str | None:
    state.around.folder.mkdir(parents=True, exist_ok=True)
    try:
        with WRITERS[state.around.name](state.around) as writer:
            return _write_all(state, ledger, writer)
    except ImportError as error:
        return f"wandb cannot be imported ({error})"
    except ThalwegError:
        raise  # the store's own, met while loading a series
    except Exception as error:  # recorded: wandb raises kinds of its own when its service dies
        if _of_disk(error):
            raise
        return f"W&B stopped ({_brief(error)})"


def _of_disk(error: Exception) -> bool:
    """Whether a file is at fault, and not the connection to W&B's service, whose errors are of the same kind."""
    lost = isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) in LOST
    return isinstance(error, OSError) and error.errno is not None and not lost


LOST = (errno.ENOTCONN, errno.ESHUTDOWN, errno.EBADF)


def _write_all(state: _Export, ledger: Ledger, writer: RunWriter) -> str | None:
    missing = state.missing()
    before = len(state.wanted) - len(missing)
    for trial_id in missing:
        if state.until is not None and time.monotonic() > state.until:
            break
        if shutil.disk_usage(state.around.folder).free < SPACE_BYTES:
            return f"the disk of {state.around.folder} is full"
        _clear(state, trial_id)
        wanted = state.wanted[trial_id]
        summary, rows, media = wanted.load()
        folder = writer.write(replace(wanted.run, summary={**wanted.run.summary, **summary}), rows, media)
        ledger.add(Entry(trial_id, wanted.fingerprint, folder.name, _size(folder)))
        state.on_disk[run_id(trial_id)] = [folder.name]
        state.new += 1
        state.report("written", before + state.new, len(state.wanted))
    return None


def _clear(state: _Export, trial_id: str) -> None:
    """Remove what stands in the place of this trial's run: half-written, or of an earlier content."""
    for name in state.on_disk.pop(run_id(trial_id), ()):
        shutil.rmtree(state.around.folder / name, ignore_errors=True)


def _upload(state: _Export, ledger: Ledger) -> str | None:
    waiting = [e for t, e in state.entries.items() if t in state.wanted and not e.uploaded]
    folders = [state.around.folder.resolve() / entry.folder for entry in waiting]
    before = len(state.wanted) - len(waiting)
    until = None if state.upload_seconds is None else time.monotonic() + state.upload_seconds
    problem = upload(folders, until, lambda n: state.report("uploaded", before + n, len(state.wanted)))
    for entry, folder in zip(waiting, folders, strict=True):
        if is_uploaded(folder):
            ledger.add(replace(entry, uploaded=True))
    return None if problem is None else f"upload stopped ({problem})"


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
