"""The store as the rest of the program sees it: opened, asked, written to, closed. Names no table."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from thalweg.runner.base.errors import StoreError
from thalweg.runner.base.version import __version__
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Series
from thalweg.runner.facts.record import CohortRecord, History, Membership, StudySummary, TrialRecord
from thalweg.runner.facts.replayed import Audit
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.machine.device import network_file_system
from thalweg.runner.store import reading, writing
from thalweg.runner.store.connection import decoded, explained, is_store, open_reading, open_writing
from thalweg.runner.store.lock import Lock
from thalweg.runner.store.schema import MIGRATIONS, Migration
from thalweg.runner.study.study import Member, Study

Clock = Callable[[], datetime]


def _utc() -> datetime:
    return datetime.now(UTC)


class Store:
    """One SQLite file, open. A context manager; use it from the thread that opened it.

    `warnings` are lines to show once: a network file system, commits that cannot be read. Every method that
    writes is one transaction, whole or not at all, even across SIGKILL. All raise StoreError when the file
    fails them. Times come from `clock`; nothing is ordered by them.
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        *,
        lock: Lock | None = None,
        warnings: Sequence[str] = (),
        clock: Clock = _utc,
    ) -> None:
        self.path = path
        self.warnings = tuple(warnings)
        self._db = db
        self._lock = lock
        self._clock = clock
        self._file = _identity(path) if lock else None

    @classmethod
    def open(
        cls,
        path: str | Path,
        mode: Literal["read", "write"] = "read",
        *,
        migrations: Sequence[Migration] = MIGRATIONS,
        clock: Clock = _utc,
    ) -> Store:
        """Open the store at `path`; mode "write" creates it, and its folders, where there is none.

        Raises StoreError if it is missing (mode "read"), not a store, of a newer release, not accessible,
        or (mode "write") being written by another sweep. Reading goes on while another process writes.
        """
        if mode == "write":
            return cls._open_writing(path, migrations, clock)
        store = cls.open_if_present(path, migrations=migrations, clock=clock)
        if store is None:
            raise StoreError(f"there is no store at {path}", "thalweg sweep STUDY makes one; --store PATH names one")
        return store

    @classmethod
    def open_if_present(
        cls, path: str | Path, *, migrations: Sequence[Migration] = MIGRATIONS, clock: Clock = _utc
    ) -> Store | None:
        """Open the store at `path` to read, or return None if there is none. Creates nothing."""
        path = _resolved(path)
        if not is_store(path):
            return None
        with explained(path):
            db, stale = open_reading(path, migrations, _text(clock))
        return None if db is None else cls(path, db, warnings=[stale] if stale else [], clock=clock)

    @classmethod
    def _open_writing(cls, path: str | Path, migrations: Sequence[Migration], clock: Clock) -> Store:
        path = _resolved(path)
        is_store(path)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
            try:
                db = open_writing(path, migrations, _text(clock))
            except BaseException:
                lock.release()
                raise
        kind = network_file_system(path)
        warning = (
            f"{path} is on a network file system ({kind}), whose locks cannot be trusted;"
            " keep the store on a local disk with --store PATH"
        )
        return cls(path, db, lock=lock, warnings=[warning] if kind else [], clock=clock)

    def close(self) -> None:
        """Close the file, folding the write-ahead log into it, and let the next writer in."""
        with explained(self.path):
            self._db.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._refuse_if_gone()
        finally:
            self.close()

    # Writing

    def declare(self, study: Study, members: Sequence[Member]) -> None:
        """Write what a study declares: itself, its members, and those of their trials that are new.

        | study.overridden | members declared now | other members                                     |
        |------------------|----------------------|---------------------------------------------------|
        | no (the YAML)    | in                   | outside, unless a command line once declared them |
        | yes              | in                   | as they were                                      |
        """
        with self._transaction() as db:
            writing.declare(db, study, members, _text(self._clock))

    def refine(self, name: str, members: Sequence[Member], moves: Sequence[Mapping[str, Any]]) -> int:
        """Add members to a stored study, keep why (JSON values), and return how often it was refined by now.

        Raises UsageError if there is no such study. As with `declare`, a trial that is stored stays as it is.
        """
        with self._transaction() as db:
            reading.study(db, name)
            return writing.refine(db, name, members, moves, _text(self._clock))

    def replace(self, study: str, ids: Iterable[str]) -> None:
        """Put trials outside a study, in which others take their place. They stay stored."""
        with self._transaction() as db:
            writing.replace(db, study, ids)

    def record_audit(self, audit: Audit) -> None:
        """Keep what an audit of a study said."""
        with self._transaction() as db:
            writing.record_audit(db, audit.study, audit.document)

    def record_choice(self, group_id: str, key: str, choice: Choice) -> Choice:
        """Keep how a group is trained, unless that was decided before; return what is in force."""
        with self._transaction() as db:
            writing.record_choice(db, group_id, key, choice, __version__, _text(self._clock))
            return reading.choice(db, group_id, key) or choice

    def narrow_choice(self, group_id: str, key: str, width: int) -> None:
        """Remember that no cohort of a group should be wider than this, where its choice is kept."""
        with self._transaction() as db:
            writing.narrow_choice(db, group_id, key, width)

    def open_cohort(self, cohort: CohortRecord) -> int:
        """Write a cohort of declared trials before its first step; return its number."""
        with self._transaction() as db:
            return writing.open_cohort(db, cohort, _text(self._clock))

    def commit(self, cohort_id: int, observations: Sequence[Observations], peak_bytes: int | None = None) -> list[str]:
        """Write what was observed of some or all trials of a cohort, in one transaction.

        A trial that is done never changes: return the ids of those that were and so were left as they were.
        Only metrics and series that a finished trial lacks are added, if its weight hash is the same. Failed
        and pruned ones are overwritten. Raises ValueError for a trial of another cohort.
        """
        with self._transaction() as db:
            if peak_bytes is not None:
                writing.note_peak(db, cohort_id, peak_bytes)
            return writing.commit(db, cohort_id, observations, __version__, _text(self._clock))

    # Reading

    def statuses(self, ids: Iterable[str]) -> dict[str, TrialStatus]:
        """Trial id -> status, for those of `ids` that the store knows."""
        with self._snapshot() as db:
            return reading.statuses(db, ids)

    def trained_by(self, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Trial id -> the versions that its cohort recorded, for those of `ids` that are done."""
        with self._snapshot() as db:
            return reading.trained_by(db, ids)

    def choice(self, group_id: str, key: str) -> Choice | None:
        """How a group is trained, if that was decided."""
        with self._snapshot() as db:
            return reading.choice(db, group_id, key)

    def unfinished_cohorts(self, group_id: str) -> list[CohortRecord]:
        """Cohorts of a group that a kill ended before anything was observed, the last opened first."""
        with self._snapshot() as db:
            return reading.unfinished_cohorts(db, group_id)

    def studies(self) -> list[StudySummary]:
        """Every study with its counts, the last declared one first."""
        with self._snapshot() as db:
            return reading.studies(db)

    def study(self, name: str) -> Study:
        """One study as last declared by its file, or, if only command lines ever declared it, by those.

        Its blocks have no bases: it can be read, not expanded. Raises UsageError, naming the nearest, if there is
        none of that name.
        """
        with self._snapshot() as db:
            return reading.study(db, name)

    def audits(self, name: str) -> list[Audit]:
        """What audits of a study said, the last one first."""
        with self._snapshot() as db:
            return [Audit.of(document) for document in reading.audits(db, name)]

    def seconds_a_trial(self, name: str) -> float | None:
        """Mean time that a trial of a study took to train; None before any finished."""
        with self._snapshot() as db:
            return reading.seconds_a_trial(db, name)

    def histories(self, group_ids: Iterable[str]) -> dict[str, History]:
        """Group -> what its trials took to train, for those of `group_ids` of which any finished."""
        with self._snapshot() as db:
            return reading.histories(db, group_ids)

    def study_rows(self, name: str) -> list[Row]:
        """A row a member: in declared order, then what command lines added, then what is outside.

        Empty if there is no such study.
        """
        with self._snapshot() as db:
            return reading.study_rows(db, name)

    def trial(self, prefix: str) -> TrialRecord:
        """The trial whose id begins with `prefix`. Raises UsageError if none or several do."""
        with self._snapshot() as db:
            return reading.trial(db, prefix)

    def membership(self, trial_id: str) -> list[Membership]:
        """The studies and blocks that a trial belongs to."""
        with self._snapshot() as db:
            return reading.membership(db, trial_id)

    def series(self, trial_id: str) -> dict[str, Series]:
        """Name -> series of one trial (its full id); empty if it has none."""
        with self._snapshot() as db:
            return reading.series(db, trial_id)

    def export_rows(self, study: str | None = None) -> list[TrialRecord]:
        """Every finished or diverged trial, of one study or of all, in declared order."""
        with self._snapshot() as db:
            return reading.done_records(db, study)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._refuse_if_gone()
        with explained(self.path), self._between("BEGIN IMMEDIATE") as db:
            yield db
        self._refuse_if_gone()

    def _refuse_if_gone(self) -> None:
        """Raise StoreError if the file was deleted or moved meanwhile: SQLite goes on writing what nobody will find."""
        if self._lock and _identity(self.path) != self._file:
            raise StoreError(
                f"{self.path} was deleted or moved while it was written to",
                "what it held is lost unless it was moved; run the same command again",
            )

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several questions, one state of the store, whatever is committed meanwhile."""
        with explained(self.path), self._between("BEGIN") as db, decoded(self.path):
            yield db

    @contextmanager
    def _between(self, begin: str) -> Iterator[sqlite3.Connection]:
        self._db.execute(begin)
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk makes SQLite roll back by itself
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise


def _resolved(path: str | Path) -> Path:
    """Absolute and without links, so that one file has one lock."""
    with explained(Path(path)):
        return Path(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path names, whatever it is called; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _text(clock: Clock) -> str:
    return clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
