"""Brings W&B run folders into agreement with the store's trials: writes what is missing, uploads if asked.

A run is finished when its folder holds our mark, written last; anything else in its place is a leftover and
is written anew. So a kill at any point, a lost ledger or a removed folder is mended by the next export.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from thalweg.runner.base.errors import ThalwegError
from thalweg.runner.study.settings import TrackerSettings
from thalweg.runner.tracker.environment import Mode, Surroundings, has_account, surroundings
from thalweg.runner.tracker.history import ExportTrial, fingerprint, run_content, run_id
from thalweg.runner.tracker.ledger import Entry, Ledger, LedgerBusy, ledger_path, read_ledger, writing
from thalweg.runner.tracker.runs import RunWriter, imported_within, run_writer
from thalweg.runner.tracker.upload import is_uploaded, upload

MARK = "thalweg.json"
RUN_FOLDER = re.compile(r"offline-run-\d{8}_\d{6}-([0-9a-f]{16})(?:-\d+)?")
AT_ONCE = 4  # runs open at a time; 46 -> 60 runs a second on two cores, 8 gains nothing more
RESERVE_SECONDS = 0.4  # kept of a deadline for the open runs and the service to end
START_SECONDS = 0.6  # from an imported wandb to its first finished run
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
        count = f"W&B {self.written:,}/{self.total:,} written"
        if self.problem:
            return f"{count}; {self.problem}; the results are in the store; go on: thalweg sync"
        if self.remaining:
            return f"{count}; go on: thalweg sync"
        if not self.asked_to_upload:
            return f"{count} in {self.folder}"
        if self.account:
            left = "" if self.uploaded == self.total else "; go on: thalweg sync"
            return f"{count} in {self.folder}, {self.uploaded:,} uploaded{left}"
        return f"{count} in {self.folder}, not uploaded (no account): wandb login, then thalweg sync"


@dataclass
class _Export:
    """The state of one call: what is wanted, where it stands, and when to stop."""

    around: Surroundings
    points: int
    wanted: dict[str, tuple[ExportTrial, str]]  # trial id -> trial, fingerprint
    until: float | None
    report: Report
    entries: dict[str, Entry] = field(default_factory=dict)
    on_disk: dict[str, list[str]] = field(default_factory=dict)  # run id -> folder names
    new: int = 0

    def holds(self, trial_id: str) -> bool:
        """Whether the trial's run needs no writing.

        `wandb clean` removes uploaded runs, and they stay done; a wandb/ that is gone altogether is rebuilt.
        """
        entry = self.entries.get(trial_id)
        if entry is None or entry.fingerprint != self.wanted[trial_id][1]:
            return False
        gone = entry.folder not in self.on_disk.get(run_id(trial_id), ())
        return not gone or (entry.uploaded and self.around.folder.is_dir())

    def missing(self) -> list[str]:
        return [trial_id for trial_id in self.wanted if not self.holds(trial_id)]

    @property
    def written(self) -> int:
        return len(self.wanted) - len(self.missing())

    @property
    def uploaded(self) -> int:
        return sum(self.holds(trial_id) and self.entries[trial_id].uploaded for trial_id in self.wanted)

    @property
    def seconds_left(self) -> float:
        return math.inf if self.until is None else self.until - time.monotonic() - RESERVE_SECONDS


def export(
    trials: Iterable[ExportTrial],
    store: Path,
    settings: TrackerSettings,
    *,
    given: Collection[str] = (),
    deadline_seconds: float | None = None,
    asked_to_upload: bool = False,
    report: Report = lambda what, done, total: None,
) -> ExportResult:
    """Write a W&B run for every trial that has none yet, beside the store at `store`.

    given: tracker settings set on the command line, which beat WANDB_* variables. deadline_seconds: return by
    then, with whatever is written. asked_to_upload: upload too, if there is an account and WANDB_MODE allows
    it; WANDB_MODE=online asks for it as well. What W&B or the disk does raises nothing: see `problem`.
    """
    until = None if deadline_seconds is None else time.monotonic() + deadline_seconds
    around = surroundings(os.environ, settings, given, store.parent)
    destination = (around.project, around.entity)
    wanted = {t.trial_id: (t, fingerprint(t, destination, settings.history_points)) for t in trials}
    state = _Export(around, settings.history_points, wanted, until, report)
    asked_to_upload = (asked_to_upload or around.mode == "online") and not around.uploads_forbidden
    account = asked_to_upload and has_account(os.environ)
    problem = None if around.mode == "disabled" else _bring_about(state, ledger_path(store), account)
    return ExportResult(
        total=len(wanted),
        written=state.written if around.mode != "disabled" else 0,
        new=state.new,
        uploaded=state.uploaded,
        mode=around.mode,
        folder=around.folder,
        account=account,
        asked_to_upload=asked_to_upload,
        problem=problem,
        warnings=around.warnings if state.new else (),
    )


def _bring_about(state: _Export, path: Path, account: bool) -> str | None:
    try:
        state.entries, state.on_disk = read_ledger(path), _run_folders(state.around.folder)
        if not state.missing() and not (account and state.uploaded < len(state.wanted)):
            return None
        with writing(path) as ledger:
            state.entries = ledger.entries
            _adopt(state, ledger)
            problem = _write_missing(state, ledger) if state.missing() else None
            if problem is None and account and not state.missing():
                problem = _upload(state, ledger)
            return problem
    except LedgerBusy:
        return "another process is writing them"
    except OSError as error:
        return f"W&B files cannot be written: {error}"


def _run_folders(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if folder.is_dir():
        for entry in os.scandir(folder):
            match = RUN_FOLDER.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False):
                found.setdefault(match[1], []).append(entry.name)
    return found


def _adopt(state: _Export, ledger: Ledger) -> None:
    """Take finished runs that the ledger does not know: it was lost, or another store wrote them."""
    for trial_id in state.missing():
        content = state.wanted[trial_id][1]
        for name in state.on_disk.get(run_id(trial_id), ()):
            folder = state.around.folder / name
            if _mark(folder) == {"trial": trial_id, "fingerprint": content}:
                ledger.add(Entry(trial_id, content, name, uploaded=is_uploaded(folder)))
                break


def _mark(folder: Path) -> object:
    try:
        return json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return None


def _write_missing(state: _Export, ledger: Ledger) -> str | None:
    state.around.folder.mkdir(parents=True, exist_ok=True)
    try:
        if not imported_within(state.seconds_left - START_SECONDS):
            return None
        with run_writer(state.around) as writer, ThreadPoolExecutor(AT_ONCE) as pool:
            return _write_all(state, ledger, writer, pool)
    except ImportError as error:
        return f"wandb cannot be imported ({error})"
    except ThalwegError:
        raise  # the store's own, met while loading a series
    except Exception as error:  # recorded: wandb raises kinds of its own when its service dies
        return f"W&B stopped ({_brief(error)})"


def _write_all(state: _Export, ledger: Ledger, writer: RunWriter, pool: ThreadPoolExecutor) -> str | None:
    """Series are loaded here, on the caller's thread: the store's connection belongs to it."""
    open_runs: deque[tuple[str, Future[Path]]] = deque()
    problem = None
    missing = state.missing()
    before = len(state.wanted) - len(missing)
    for trial_id in missing:
        if state.seconds_left < 0:
            break
        if shutil.disk_usage(state.around.folder).free < SPACE_BYTES:
            problem = f"the disk of {state.around.folder} is full"
            break
        _clear(state, trial_id)
        content = run_content(state.wanted[trial_id][0], state.points)
        open_runs.append((trial_id, pool.submit(writer.write, content)))
        if len(open_runs) >= AT_ONCE:
            _settle(state, ledger, *open_runs.popleft())
            state.report("written", before + state.new, len(state.wanted))
    while open_runs:
        _settle(state, ledger, *open_runs.popleft())
    return problem


def _clear(state: _Export, trial_id: str) -> None:
    """Remove what stands in the place of this trial's run: half-written, or of an earlier content."""
    for name in state.on_disk.pop(run_id(trial_id), ()):
        shutil.rmtree(state.around.folder / name, ignore_errors=True)


def _settle(state: _Export, ledger: Ledger, trial_id: str, run: Future[Path]) -> None:
    folder = run.result()
    mark = {"trial": trial_id, "fingerprint": state.wanted[trial_id][1]}
    (folder / MARK).write_text(json.dumps(mark))
    ledger.add(Entry(trial_id, mark["fingerprint"], folder.name))
    state.on_disk[run_id(trial_id)] = [folder.name]
    state.new += 1


def _upload(state: _Export, ledger: Ledger) -> str | None:
    waiting = [e for t, e in state.entries.items() if t in state.wanted and not e.uploaded]
    folders = [state.around.folder.resolve() / entry.folder for entry in waiting]
    before = len(state.wanted) - len(waiting)
    problem = upload(folders, state.until, lambda n: state.report("uploaded", before + n, len(state.wanted)))
    for entry, folder in zip(waiting, folders, strict=True):
        if is_uploaded(folder):
            ledger.add(replace(entry, uploaded=True))
    return None if problem is None else f"upload stopped ({problem})"


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
