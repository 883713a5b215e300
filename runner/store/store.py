"""The store as the rest of the program sees it: opened, asked, written to, closed. Names no table."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from thalweg.runner.base.errors import StoreError, UsageError
from thalweg.runner.base.version import __version__
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Reached, Series
from thalweg.runner.facts.record import (
    CohortRecord,
    Command,
    Committed,
    History,
    Membership,
    Merged,
    Owner,
    Refused,
    Removal,
    StudySummary,
    TrialRecord,
)
from thalweg.runner.facts.replayed import Audit
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.machine.device import network_file_system
from thalweg.runner.store import claims, keeping, reading, writing
from thalweg.runner.store.configs import Configs
from thalweg.runner.store.connection import decoded, explained, is_store, open_reading, open_writing, version_of
from thalweg.runner.store.lock import Lock
from thalweg.runner.store.schema import MIGRATIONS, Migration
from thalweg.runner.study.stop import Pruned
from thalweg.runner.study.study import Member, Study

Clock = Callable[[], datetime]
NONE_PRUNED: Mapping[str, Pruned] = {}


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
        version: int = len(MIGRATIONS),
        warnings: Sequence[str] = (),
        clock: Clock = _utc,
    ) -> None:
        self.path = path
        self.warnings = tuple(warnings)
        self._db = db
        self._lock = lock
        self._clock = clock
        self._file = _identity(path) if lock else None
        self._version = version
        self._configs = Configs()

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

        Raises StoreError if it is missing (mode "read"), not a store, of a newer release, not accessible, or (mode
        "write") to be upgraded while another sweep writes to it. Many may write at once, and read meanwhile.
        """
        if mode == "write":
            return cls._open_writing(path, migrations, clock)
        store = cls.open_if_present(path, migrations=migrations, clock=clock)
        if store is None:
            said = f"there is no store at {Path(path).absolute()}"
            raise StoreError(said, "thalweg sweep STUDY makes one; --store PATH names one")
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
        if db is None:
            return None
        version = version_of(path)
        return cls(path, db, version=version, warnings=[stale] if stale else [], clock=clock)

    @classmethod
    def _open_writing(cls, path: str | Path, migrations: Sequence[Migration], clock: Clock) -> Store:
        path = _resolved(path)
        is_store(path)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
            try:
                db = open_writing(path, migrations, _text(clock), lock)
                if lock.alone:
                    claims.forget_all(db)
                    lock.share()
            except BaseException:
                lock.release()
                raise
        kind = network_file_system(path)
        warning = (
            f"{path} is on a network file system ({kind}), whose locks cannot be trusted;"
            " keep the store on a local disk with --store PATH"
        )
        return cls(path, db, lock=lock, warnings=[warning] if kind else [], clock=clock)

    @property
    def writes(self) -> bool:
        """Whether it is open to write."""
        return self._lock is not None

    def close(self) -> None:
        """Close the file, folding the write-ahead log into it if nobody else has it open."""
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

    def declare(
        self,
        study: Study,
        members: Sequence[Member],
        *,
        places: Sequence[int] = (),
        known: Collection[str] = (),
        pruned: Mapping[str, Pruned] = NONE_PRUNED,
    ) -> None:
        """Write what a study declares: itself, its members, and those of their trials that are new.

        places: of the members in the declaration, where it has more than these. known: ids that are not new. pruned:
        whom of them its rule has stopped early by now, in place of what was written of that before. Raises UsageError,
        and writes nothing, where a known one was removed meanwhile.

        | study.overridden | members declared now | other members                                     |
        |------------------|----------------------|---------------------------------------------------|
        | no (the YAML)    | in                   | outside, unless a command line once declared them |
        | yes              | in                   | as they were                                      |
        """
        with self._transaction() as db:
            if known:
                claims.refuse_if_removed(db, known)
            writing.declare(db, study, dict(zip(places or count(), members, strict=False)), _text(self._clock), pruned)

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

    def merge(self, other: Store) -> Merged:
        """Take in what another store holds, all of it or, where that is damaged, nothing; what is done stays."""
        if _identity(other.path) == self._file:
            raise UsageError(f"{other.path} is the store itself", "name another to merge into it")
        from thalweg.runner.store import merging  # numpy, which most verbs go without

        with other._snapshot() as theirs, self._transaction() as db:
            return merging.merge(db, theirs, other.path)

    def adopt_choices(self, other: Store, group_ids: Iterable[str]) -> None:
        """Train these groups as another store has it decided, unless that was decided here."""
        with other._snapshot() as theirs:
            found = reading.choices(theirs, group_ids)
        with self._transaction() as db:
            for group_id, key, choice in found:
                writing.record_choice(db, group_id, key, choice, __version__, _text(self._clock))

    def remove(self, wanted: Removal) -> None:
        """Remove what `removal` or `unneeded` named. Raises UsageError if that has changed, or is being swept."""
        with self._transaction() as db:
            keeping.remove(db, wanted)

    def rename(self, old: str, new: str) -> None:
        """Give a study another name. Raises UsageError for a name that is taken, or while it is swept."""
        with self._transaction() as db:
            reading.study(db, old)
            keeping.rename(db, old, new)

    def tag(self, kind: keeping.Kind, key: str, tags: Sequence[str], *, off: bool = False) -> list[str]:
        """Put tags on a study (its name) or a trial (its full id), or take them off; return all that it has then."""
        with self._transaction() as db:
            return keeping.tag(db, kind, key, tags, off=off)

    def note(self, kind: keeping.Kind, key: str, text: str) -> None:
        """Write a note on a study or a trial in place of the one before; an empty text is none."""
        with self._transaction() as db:
            keeping.note(db, kind, key, text)

    def claim(self, cohort: CohortRecord, owner: Owner, metric: str) -> int | Refused:
        """Open a cohort whose trials are its driver's alone to train until they are committed; return its number.

        If one of them may not be trained, for a study that asks for `metric`, say which; nothing is written then.
        """
        with self._transaction() as db:
            if (refused := claims.refused(db, cohort.trial_ids, owner, metric)).ids:
                return refused
            number = writing.open_cohort(db, cohort, _text(self._clock))
            claims.claim(db, number, owner)
            return number

    def release(self, owner: Owner, ids: Iterable[str]) -> int:
        """Give up a driver's claims to some trials, if it has any; return to how many it had."""
        with self._transaction() as db:
            return claims.release(db, owner, ids)

    def enter(self, study: str, since: int | None = None, ids: Iterable[str] = ()) -> Owner:
        """Begin to train a study, perhaps beside others; until `leave` the driver's beat is to be heard.

        since: the last commit that its plan knows of, if not the last one now. ids: the trials that it plans with; from
        now on nobody can remove them. Raises UsageError where somebody did.
        """
        with self._transaction() as db:
            if ids:
                claims.refuse_if_removed(db, ids, study)
            return claims.enter(db, study, os.getpid(), since)

    def beat(self, owner: Owner) -> dict[int, int]:
        """Show that a driver lives, and return how often each other has."""
        with self._transaction() as db:
            return claims.beat(db, owner, os.getpid())

    def take_over(self, silent: Mapping[int, int]) -> None:
        """Take away what drivers have claimed whose beats still stand at these numbers."""
        with self._transaction() as db:
            claims.take_over(db, silent)

    def leave(self, owner: Owner) -> None:
        """Give up what a driver has claimed."""
        with self._transaction() as db:
            claims.leave(db, owner)

    def commit(
        self, cohort_id: int, observations: Sequence[Observations | Reached], peak_bytes: int | None = None
    ) -> Committed:
        """Write what was observed of some or all trials of a cohort, in one transaction; return what was not taken.

        A trial that is done never changes. Only metrics and series that a finished trial lacks are added, if its weight
        hash is the same. Failed and pruned ones are overwritten. What its driver has no claim to any more is lost.
        Raises ValueError for a trial of another cohort.
        """
        with self._transaction() as db:
            if peak_bytes is not None:
                writing.note_peak(db, cohort_id, peak_bytes)
            return writing.commit(db, cohort_id, observations, __version__, _text(self._clock))

    # Reading

    @property
    def version(self) -> int:
        """The schema version of the file."""
        return self._version

    def contents(self) -> dict[str, Any]:
        """How much there is of what, by name; `bytes` of the file, `schema` its version."""
        with self._snapshot() as db:
            return {"bytes": self.path.stat().st_size, "schema": self.version, **reading.contents(db)}

    def faults(self) -> tuple[list[str], int]:
        """What is wrong with what is stored, a sentence each, and how many trials were checked."""
        from thalweg.runner.store import checking

        with self._snapshot() as db:
            return checking.faults(db), reading.contents(db)["trials"]

    def statuses(self, ids: Iterable[str]) -> dict[str, TrialStatus]:
        """Trial id -> status, for those of `ids` that the store knows."""
        with self._snapshot() as db:
            return reading.statuses(db, ids)

    def any_untrained(self, ids: Iterable[str]) -> bool:
        """Whether one of these trials is stored, and not done."""
        known = self.statuses(ids).values()
        return any(status.outcome is None or not status.outcome.is_done for status in known)

    def weight_hashes(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Trial id -> its weight hash, None while it is not done, for those of `ids` that are stored."""
        with self._snapshot() as db:
            return reading.weight_hashes(db, ids)

    def group_hashes(self, group_ids: Iterable[str]) -> dict[str, dict[str, str | None]]:
        """Group -> the weight hashes of its done trials, for those of `group_ids` that have any."""
        with self._snapshot() as db:
            return reading.group_hashes(db, group_ids)

    def budgets(self) -> list[int]:
        """The numbers of steps that stored trials have, the largest first."""
        with self._snapshot() as db:
            return reading.budgets(db)

    def ids_alone(self, name: str) -> set[str]:
        """Ids of the trials of a study that no other study declares."""
        with self._snapshot() as db:
            return reading.ids_alone(db, name)

    def last_commit(self) -> int:
        """The number of the last commit."""
        with self._snapshot() as db:
            return claims.last_commit(db)

    def removal(self, studies: Sequence[str], trials: Sequence[str]) -> Removal:
        """What would go with studies, by their names, and trials, by their full ids."""
        with self._snapshot() as db:
            return keeping.removal(db, studies, trials)

    def unneeded(self) -> Removal:
        """The trials that no study declares."""
        with self._snapshot() as db:
            return keeping.unneeded(db)

    def is_swept(self) -> bool:
        """Whether a sweep is at work on it, or was killed half a minute ago at most."""
        with self._snapshot() as db:
            return db.execute("SELECT 1 FROM drivers LIMIT 1").fetchone() is not None

    def compact(self) -> None:
        """Give the room of what was removed back to the disk."""
        with explained(self.path):
            self._db.execute("VACUUM")

    def refused(self, ids: Iterable[str], owner: Owner, metric: str) -> Refused:
        """Which of these trials a driver may not train, as `claim` has it."""
        with self._snapshot() as db:
            return claims.refused(db, ids, owner, metric)

    def trained_by(self, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Trial id -> the versions that its cohort recorded, for those of `ids` that are done."""
        with self._snapshot() as db:
            return reading.trained_by(db, ids)

    def measured_by(self, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Trial id -> the code of the user's metrics that its values are of."""
        with self._snapshot() as db:
            return reading.measured_by(db, ids)

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

    def commands(self, name: str) -> list[Command]:
        """What was typed to add trials to a study, the first one first."""
        with self._snapshot() as db:
            return reading.commands(db, name)

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

    def study_rows(self, name: str, *, metrics: bool = True) -> list[Row]:
        """A row a member: in declared order, then what command lines added, then what is outside.

        Empty if there is no such study. metrics: with these; plans of 20,000 trials go without.
        """
        with self._snapshot() as db:
            return reading.study_rows(db, name, metrics, self._configs)

    def trial(self, prefix: str) -> TrialRecord:
        """The trial whose id begins with `prefix`. Raises UsageError if none or several do."""
        with self._snapshot() as db:
            return reading.trial(db, prefix, self._configs)

    def membership(self, trial_id: str) -> list[Membership]:
        """The studies and blocks that a trial belongs to."""
        with self._snapshot() as db:
            return reading.membership(db, trial_id)

    def series(self, trial_id: str) -> dict[str, Series]:
        """Name -> series of one trial (its full id); empty if it has none."""
        with self._snapshot() as db:
            return reading.series(db, trial_id)

    def reached_series(self, trial_id: str) -> dict[str, Series]:
        """Name -> series of a trial (its full id) that came to a rung and is not done; empty for all others."""
        with self._snapshot() as db:
            return reading.reached_series(db, trial_id)

    def measured_at(self, ids: Iterable[str], metric: str, steps: Collection[int]) -> dict[str, dict[int, float]]:
        """Trial id -> step -> what a trial, done or on its way, measured of a metric after so many steps."""
        with self._snapshot() as db:
            return reading.measured_at(db, ids, metric, steps)

    def reached_steps(self, ids: Iterable[str]) -> dict[str, int]:
        """Trial id -> the steps that it took, for those of `ids` that came to a rung and are not done."""
        with self._snapshot() as db:
            return reading.reached_steps(db, ids)

    def export_rows(self, study: str | None = None) -> list[TrialRecord]:
        """Every finished or diverged trial, of one study or of all, in declared order."""
        with self._snapshot() as db:
            return reading.done_records(db, study, self._configs)

    def told_rows(self, study: str | None = None) -> list[TrialRecord]:
        """Every trial that is done, failed or was stopped early, of one study or of all, in declared order."""
        with self._snapshot() as db:
            return reading.told_records(db, study, self._configs)

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
