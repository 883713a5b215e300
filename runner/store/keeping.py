"""What people do to what is stored: remove, rename, tag, note. In SQL; each inside a transaction of its caller.

Nothing is taken from under a running sweep: what a study holds that is being swept is refused.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.record import Removal

Kind = Literal["studies", "trials"]
INSIDE = "(m.declared OR m.overridden)"


def removal(db: sqlite3.Connection, studies: Sequence[str], trials: Collection[str]) -> Removal:
    """What goes with studies, and with trials named by their ids.

    With a study go its trials that no other study declares. Trials that are named go whoever declares them.
    """
    mine = _column(
        db,
        "SELECT DISTINCT m.trial FROM members m JOIN studies s ON s.id = m.study"
        " WHERE s.name IN (SELECT value FROM json_each(?))",
        studies,
    )
    others = f"SELECT m.trial FROM members m JOIN studies s ON s.id = m.study WHERE {INSIDE} AND s.name NOT IN"
    needed = set(_column(db, f"{others} (SELECT value FROM json_each(?))", studies)) & set(mine)
    named = _column(db, "SELECT seq FROM trials WHERE id IN (SELECT value FROM json_each(?))", list(trials))
    gone = sorted({*mine, *named} - (needed - {*named}))
    return _said(db, studies, gone, kept=_needing(db, needed - {*named}, studies), wanted=_needing(db, named, studies))


def unneeded(db: sqlite3.Connection) -> Removal:
    """The trials that no study declares."""
    inside = f"SELECT m.trial FROM members m WHERE {INSIDE}"
    gone = [seq for (seq,) in db.execute(f"SELECT seq FROM trials WHERE seq NOT IN ({inside}) ORDER BY seq")]
    return _said(db, (), gone, kept={}, wanted={})


def _said(
    db: sqlite3.Connection, studies: Sequence[str], gone: Sequence[int], *, kept: dict[str, int], wanted: dict[str, int]
) -> Removal:
    chosen = json.dumps(list(gone))
    done, size = db.execute(
        "SELECT ifnull(sum(t.outcome IN ('finished', 'diverged')), 0), ifnull(sum(length(t.config) + (SELECT"
        " ifnull(sum(length(s.steps) + length(s.points)), 0) FROM series s WHERE s.trial = t.seq)), 0)"
        " FROM json_each(?) j JOIN trials t ON t.seq = j.value",
        (chosen,),
    ).fetchone()
    return Removal(tuple(studies), tuple(gone), int(done), int(size), kept, wanted)


def _needing(db: sqlite3.Connection, seqs: Iterable[int], but: Sequence[str]) -> dict[str, int]:
    """Study -> how many of these trials it declares."""
    found = db.execute(
        "SELECT s.name, count(DISTINCT m.trial) FROM json_each(?) j JOIN members m ON m.trial = j.value"
        f" JOIN studies s ON s.id = m.study WHERE {INSIDE} AND s.name NOT IN (SELECT value FROM json_each(?))"
        " GROUP BY s.name ORDER BY s.name",
        (json.dumps(list(seqs)), json.dumps(list(but))),
    )
    return dict(found.fetchall())


def remove(db: sqlite3.Connection, wanted: Removal) -> None:
    """Remove studies and trials. Raises UsageError where a sweep is at work on them."""
    for name in wanted.studies:
        refuse_if_swept(db, name)
    chosen = (json.dumps(list(wanted.trials)),)
    these = "(SELECT value FROM json_each(?))"
    busy = db.execute(
        "SELECT s.name FROM drivers d JOIN studies s ON s.name = d.study JOIN members m ON m.study = s.id"
        f" WHERE m.trial IN {these} LIMIT 1",
        chosen,
    ).fetchone()
    if busy:
        refuse_if_swept(db, busy[0])
    for table in ("metrics", "series", "reached", "reached_series", "stops", "members", "claims", "cohort_trials"):
        db.execute(f"DELETE FROM {table} WHERE trial IN {these}", chosen)
    db.execute(f"DELETE FROM trials WHERE seq IN {these}", chosen)
    db.execute("DELETE FROM cohorts WHERE id NOT IN (SELECT cohort FROM cohort_trials)")
    for name in wanted.studies:
        _remove_study(db, name)


def _remove_study(db: sqlite3.Connection, name: str) -> None:
    """Drop a study; cohorts that trained what others need become those of one that needs it."""
    (number,) = db.execute("SELECT id FROM studies WHERE name = ?", (name,)).fetchone()
    db.execute(
        "UPDATE cohorts SET study = (SELECT m.study FROM cohort_trials c JOIN members m ON m.trial = c.trial"
        " WHERE c.cohort = cohorts.id AND m.study != cohorts.study ORDER BY c.lane LIMIT 1) WHERE study = ?",
        (number,),
    )
    for table in ("members", "refinements", "audits", "commands", "stops"):
        db.execute(f"DELETE FROM {table} WHERE study = ?", (number,))
    db.execute("DELETE FROM studies WHERE id = ?", (number,))


def refuse_if_swept(db: sqlite3.Connection, name: str) -> None:
    """Raise UsageError if a sweep is at work on a study."""
    found = db.execute("SELECT pid FROM drivers WHERE study = ? LIMIT 1", (name,)).fetchone()
    if found:
        raise UsageError(
            f"the study {name} is being swept (pid {found[0]})", "stop that sweep, or wait until it has ended"
        )


def rename(db: sqlite3.Connection, old: str, new: str) -> None:
    """Give a study another name. Raises UsageError for a name that is taken, or while it is swept."""
    refuse_if_swept(db, old)
    if db.execute("SELECT 1 FROM studies WHERE name = ?", (new,)).fetchone():
        raise UsageError(f"there is a study {new} already", "choose another name, or remove that one: thalweg rm")
    db.execute("UPDATE studies SET name = ? WHERE name = ?", (new, old))


def tag(db: sqlite3.Connection, kind: Kind, key: str, tags: Collection[str], *, off: bool) -> list[str]:
    """Put tags on a study, by its name, or on a trial, by its id, or take them off; return all it has then."""
    column = "name" if kind == "studies" else "id"
    (before,) = db.execute(f"SELECT tags FROM {kind} WHERE {column} = ?", (key,)).fetchone()
    has = set(json.loads(before))
    now = sorted(has - set(tags) if off else has | set(tags))
    db.execute(f"UPDATE {kind} SET tags = ? WHERE {column} = ?", (json.dumps(now), key))
    return now


def note(db: sqlite3.Connection, kind: Kind, key: str, text: str) -> None:
    """Write a note on a study or a trial in place of the one before; an empty text is none."""
    column = "name" if kind == "studies" else "id"
    db.execute(f"UPDATE {kind} SET note = ? WHERE {column} = ?", (text, key))


def _column(db: sqlite3.Connection, query: str, values: Sequence[str]) -> list[int]:
    return [number for (number,) in db.execute(query, (json.dumps(list(values)),))]
