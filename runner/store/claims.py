"""Which driver trains what, in SQL: several sweeps share a store, and none trains what another is training.

A driver claims the trials of a cohort before their first step, and commits only what it still has a claim to. It shows
that it lives by counting up its beats. Whoever sees them stand still for long takes its claims away; what it commits
then, should it come back, is not taken. No clock is compared with another, so none of this depends on what they say.
Each function runs inside a transaction that its caller owns.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.record import Owner, Refused
from thalweg.runner.show.numbers import count
from thalweg.runner.store.reading import reached_steps, statuses


def enter(db: sqlite3.Connection, study: str, pid: int, since: int | None) -> Owner:
    """Take in a driver of a study, whose plan knows of the commits up to `since`, or of all."""
    (driver,) = db.execute(
        "INSERT INTO drivers (study, pid, beats) VALUES (?, ?, 0) RETURNING id", (study, pid)
    ).fetchone()
    return Owner(int(driver), study, last_commit(db) if since is None else since)


def refuse_if_removed(db: sqlite3.Connection, ids: Iterable[str], study: str | None = None) -> None:
    """Raise UsageError if some of these trials, or a study, are not there: somebody took them away meanwhile."""
    wanted = set(ids)
    (there,) = db.execute(
        "SELECT count(*) FROM json_each(?) j JOIN trials t ON t.id = j.value", (json.dumps(list(wanted)),)
    ).fetchone()
    if there < len(wanted):
        gone = count(len(wanted) - there, "trial")
        raise UsageError(f"another command removed {gone} of this study just now", "type this one again")
    if study is not None and not db.execute("SELECT 1 FROM studies WHERE name = ?", (study,)).fetchone():
        raise UsageError(f"another command removed or renamed the study {study} just now", "type this one again")


def leave(db: sqlite3.Connection, owner: Owner) -> None:
    """Let a driver go, and what it had claimed."""
    _drop_claims(db, owner.driver)
    db.execute("DELETE FROM drivers WHERE id = ?", (owner.driver,))


def forget_all(db: sqlite3.Connection) -> None:
    """Drop what drivers that are all dead have left."""
    db.execute("DELETE FROM claims")
    db.execute("DELETE FROM drivers")


def beat(db: sqlite3.Connection, owner: Owner, pid: int) -> dict[int, int]:
    """Count a driver's beats up, taking it in again if it was taken for dead; return those of all others."""
    db.execute(
        "INSERT INTO drivers (id, study, pid, beats) VALUES (?, ?, ?, 0)"
        " ON CONFLICT (id) DO UPDATE SET beats = beats + 1",
        (owner.driver, owner.study, pid),
    )
    return dict(db.execute("SELECT id, beats FROM drivers WHERE id != ?", (owner.driver,)).fetchall())


def take_over(db: sqlite3.Connection, silent: Mapping[int, int]) -> None:
    """Drop the claims of drivers that have not moved on from these beats."""
    for driver, beats in silent.items():
        if db.execute("DELETE FROM drivers WHERE id = ? AND beats = ?", (driver, beats)).rowcount:
            _drop_claims(db, driver)


def _drop_claims(db: sqlite3.Connection, driver: int) -> None:
    db.execute("DELETE FROM claims WHERE cohort IN (SELECT id FROM cohorts WHERE driver = ?)", (driver,))


def refused(db: sqlite3.Connection, ids: Iterable[str], owner: Owner, metric: str) -> Refused:
    """Which of these trials a driver may not train.

    | stored                                                | effect  |
    |-------------------------------------------------------|---------|
    | done, for a study that asks for `metric`              | settled |
    | failed or pruned by a commit since the driver planned | settled |
    | came to the rung that the driver would train it to    | settled |
    | claimed for a cohort of another driver                | held    |
    """
    asked = list(ids)
    among = "SELECT t.id FROM json_each(:ids) j JOIN trials t ON t.id = j.value WHERE t.outcome IS NOT NULL"
    ended = _trial_ids(db, among, {"ids": json.dumps(asked)})  # of most cohorts none: what follows costs them nothing
    known = statuses(db, ended) if ended else {}
    tried = _trial_ids(
        db,
        f"{among} AND EXISTS (SELECT 1 FROM cohort_trials c WHERE c.trial = t.seq AND c.committed > :since)",
        {"ids": json.dumps(list(ended)), "since": owner.since},
    )
    settled = {
        trial_id: status.outcome
        for trial_id, status in known.items()
        if status.outcome is not None
        and (status.is_done(metric) or (trial_id in tried and status.outcome is not Outcome.FINISHED))
    }
    if owner.until:
        come = reached_steps(db, asked)
        settled |= {trial: Outcome.PRUNED for trial, step in come.items() if step >= owner.until.get(trial, math.inf)}
    held = _trial_ids(
        db,
        "SELECT t.id FROM json_each(:ids) j JOIN trials t ON t.id = j.value JOIN claims l ON l.trial = t.seq"
        " JOIN cohorts c ON c.id = l.cohort WHERE c.driver IS NOT :driver",
        {"ids": json.dumps(asked), "driver": owner.driver},
    )
    return Refused(held - settled.keys(), settled)


def claim(db: sqlite3.Connection, cohort_id: int, owner: Owner) -> None:
    """Claim the trials of a cohort that was just opened, for that cohort alone."""
    db.execute("UPDATE cohorts SET driver = ? WHERE id = ?", (owner.driver, cohort_id))
    db.execute(
        "INSERT INTO claims (trial, cohort) SELECT trial, cohort FROM cohort_trials WHERE cohort = ?"
        " ON CONFLICT (trial) DO UPDATE SET cohort = excluded.cohort",
        (cohort_id,),
    )


def release(db: sqlite3.Connection, owner: Owner, ids: Iterable[str]) -> int:
    """Drop a driver's claims to some trials; return to how many of them it had one."""
    return db.execute(
        "DELETE FROM claims WHERE cohort IN (SELECT id FROM cohorts WHERE driver = ?)"
        " AND trial IN (SELECT t.seq FROM json_each(?) j JOIN trials t ON t.id = j.value)",
        (owner.driver, json.dumps(list(ids))),
    ).rowcount


def owned(db: sqlite3.Connection, cohort_id: int) -> frozenset[int]:
    """The trials that a cohort may commit: those claimed for it, or all of one that no driver ever opened."""
    found = db.execute(
        "SELECT l.trial FROM cohort_trials l JOIN cohorts c ON c.id = l.cohort WHERE c.id = :cohort"
        " AND (c.driver IS NULL OR EXISTS (SELECT 1 FROM claims WHERE trial = l.trial AND cohort = :cohort))",
        {"cohort": cohort_id},
    )
    return frozenset(seq for (seq,) in found)


def last_commit(db: sqlite3.Connection) -> int:
    """The number of the last commit."""
    (number,) = db.execute("SELECT ifnull(max(committed), 0) FROM cohort_trials").fetchone()
    return int(number)


def _trial_ids(db: sqlite3.Connection, query: str, values: Mapping[str, object]) -> frozenset[str]:
    return frozenset(trial_id for (trial_id,) in db.execute(query, dict(values)))
