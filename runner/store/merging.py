"""One store taken into another, in SQL: what the other holds is checked first, and nothing that is done changes.

Runs inside a transaction of the one and a snapshot of the other, which its caller owns. Twice is once.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from thalweg.runner.facts.record import LEFT, LOST, Merged
from thalweg.runner.store import claims
from thalweg.runner.store.checking import faults
from thalweg.runner.store.connection import damaged
from thalweg.runner.store.keeping import Kind

Rows = list[dict[str, Any]]
Numbers = Mapping[int, int]
"""The other store's number of a thing -> the number here."""

ANY_MEMBER = "SELECT 1 FROM members WHERE study = ? LIMIT 1"
ENDED = ("outcome", "diverged_step", "weight_hash")


def merge(db: sqlite3.Connection, other: sqlite3.Connection, path: Path) -> Merged:
    """Take in what another store, at `path`, holds.

    | here                  | there                          | effect                                |
    |-----------------------|--------------------------------|---------------------------------------|
    | no such trial         | anything                       | written                               |
    | untrained             | any outcome                    | written                               |
    | untrained             | came to a rung, farther        | written, as how far it came           |
    | failed, pruned        | finished, diverged             | written                               |
    | finished              | finished, the same weight hash | metrics and series it lacks are added |
    | diverged              | diverged, the same hash, step  | nothing                               |
    | finished, diverged    | done otherwise                 | left as it was, and said              |

    A study that is here keeps its declaration, unless only command lines made it and a file that of the other; members
    are in if they are in either.
    """
    known = _known(db, other)
    if found := faults(other, known.keys()):
        raise damaged(path, found[0])
    studies = _studies(db, other)
    trials = _trials(db, other, known)
    _members(db, other, studies, trials)
    _stops(db, other, studies, trials)
    taken, same, left = _compared(db, other, known.values())
    cohorts = _cohorts(db, other, studies, trials, taken)
    for seq in taken:
        _take_outcome(db, other, seq, trials[seq], cohorts)
    for seq in (*taken, *same):
        _take_values(db, other, seq, trials[seq])
    _take_reached(db, other, trials)
    for row in _rows(other, "SELECT * FROM choices"):
        _insert(db, "choices", row, "ON CONFLICT DO NOTHING")
    return Merged(trials=len(taken), same=len(same), left=tuple(left), studies=len(studies))


def _studies(db: sqlite3.Connection, other: sqlite3.Connection) -> Numbers:
    numbers = {}
    for row in _rows(other, "SELECT * FROM studies ORDER BY declaration"):
        there = row.pop("id")
        known = db.execute("SELECT id, overridden FROM studies WHERE name = ?", (row["name"],)).fetchone()
        if known is None:
            (row["declaration"],) = db.execute("SELECT ifnull(max(declaration), 0) + 1 FROM studies").fetchone()
            numbers[there] = _insert(db, "studies", row)
            for table in ("refinements", "audits", "commands"):
                for kept in _rows(other, f"SELECT * FROM {table} WHERE study = ?", there):
                    _insert(db, table, kept | {"study": numbers[there]})
            continue
        numbers[there], overridden = known
        _add_words(db, "studies", numbers[there], row)
        if overridden and not row["overridden"]:
            said = {name: row[name] for name in row if name not in ("name", "declaration", "tags", "note")}
            _update(db, "studies", said, "id", numbers[there])
    return numbers


def _known(db: sqlite3.Connection, other: sqlite3.Connection) -> dict[str, int]:
    """Id -> number here, of the other's trials. A thousand shares are looked up as one whole, not a thousand times."""
    ids = json.dumps([trial_id for (trial_id,) in other.execute("SELECT id FROM trials")])
    return dict(db.execute("SELECT t.id, t.seq FROM json_each(?) j JOIN trials t ON t.id = j.value", (ids,)).fetchall())


def _trials(db: sqlite3.Connection, other: sqlite3.Connection, known: Mapping[str, int]) -> Numbers:
    numbers = {}
    for row in _rows(other, "SELECT seq, id, group_id, config, declared, tags, note FROM trials ORDER BY seq"):
        there = row.pop("seq")
        if row["id"] in known:
            numbers[there] = known[row["id"]]
            _add_words(db, "trials", numbers[there], row)
        else:
            numbers[there] = _insert(db, "trials", row)
    return numbers


def _add_words(db: sqlite3.Connection, table: Kind, number: int, row: Mapping[str, Any]) -> None:
    """Add another store's tags to those here, and its note where there is none."""
    if row["tags"] == "[]" and not row["note"]:
        return
    key = "id" if table == "studies" else "seq"
    tags, note = db.execute(f"SELECT tags, note FROM {table} WHERE {key} = ?", (number,)).fetchone()
    both = json.dumps(sorted({*json.loads(tags), *json.loads(row["tags"])}))
    _update(db, table, {"tags": both, "note": note or row["note"]}, key, number)


def _members(db: sqlite3.Connection, other: sqlite3.Connection, studies: Numbers, trials: Numbers) -> None:
    theirs = json.dumps(list(trials.values()))
    there_before = [here for here in studies.values() if db.execute(ANY_MEMBER, (here,)).fetchone()]
    before = {here: _members_among(db, here, theirs) for here in there_before}
    either = ", ".join(f"{name} = max({name}, excluded.{name})" for name in ("declared", "overridden"))
    for row in _rows(other, "SELECT * FROM members"):
        here = row | {"study": studies[row["study"]], "trial": trials[row["trial"]]}
        _insert(db, "members", here, f"ON CONFLICT (study, trial, block) DO UPDATE SET {either}")
    for there, study in studies.items():
        brought = _members_among(db, study, theirs) - before[study] if study in before else 0  # else its commands came
        for row in _rows(other, "SELECT number, verb, words FROM commands WHERE study = ?", there) if brought else []:
            _count_in(db, study, row, brought)


def _members_among(db: sqlite3.Connection, study: int, trials: str) -> int:
    """How many of these trials, a JSON list of their numbers, are in a study."""
    chosen = "trial IN (SELECT value FROM json_each(?))"
    found = db.execute(f"SELECT count(DISTINCT trial) FROM members WHERE study = ? AND {chosen}", (study, trials))
    return int(found.fetchone()[0])


def _count_in(db: sqlite3.Connection, study: int, typed: Mapping[str, Any], brought: int) -> None:
    """Let members that a share brings count as its command's, which is here too if another share brought it."""
    db.execute(
        "UPDATE commands SET trials = trials + :brought"
        " WHERE study = :study AND number = :number AND verb = :verb AND words = :words"
        " AND number = (SELECT max(number) FROM commands WHERE study = :study)",
        {**typed, "study": study, "brought": brought},
    )


def _stops(db: sqlite3.Connection, other: sqlite3.Connection, studies: Numbers, trials: Numbers) -> None:
    """Bring over whom a study stopped early that stopped nobody here; where it did, the next sweep says by its rule."""
    known = {study for (study,) in db.execute("SELECT DISTINCT study FROM stops")}
    for row in _rows(other, "SELECT * FROM stops"):
        if studies[row["study"]] not in known:
            _insert(db, "stops", row | {"study": studies[row["study"]], "trial": trials[row["trial"]]})


def _take_reached(db: sqlite3.Connection, other: sqlite3.Connection, trials: Numbers) -> None:
    """Take how far trials came that are not done here, and came less far."""
    for row in _rows(other, "SELECT * FROM reached"):
        here = trials[row["trial"]]
        done = db.execute("SELECT outcome IN ('finished', 'diverged') FROM trials WHERE seq = ?", (here,)).fetchone()[0]
        if done or db.execute("SELECT 1 FROM reached WHERE trial = ? AND step >= ?", (here, row["step"])).fetchone():
            continue
        for table in ("reached_series", "reached"):
            db.execute(f"DELETE FROM {table} WHERE trial = ?", (here,))
            for each in _rows(other, f"SELECT * FROM {table} WHERE trial = ?", row["trial"]):
                _insert(db, table, each | {"trial": here})


def _compared(
    db: sqlite3.Connection, other: sqlite3.Connection, known: Collection[int]
) -> tuple[list[int], list[int], list[str]]:
    """The other's numbers of trials to take and of those that are the same, and ids of those that end otherwise.

    known: the numbers here of the other's trials that were here before.
    """
    taken, same, left = [], [], []
    query = f"SELECT id, seq, {', '.join(ENDED)} FROM trials WHERE outcome IS NOT NULL"
    among = f"{query} AND seq IN (SELECT value FROM json_each(?))"
    here = {trial_id: tuple(ended) for trial_id, _, *ended in db.execute(among, (json.dumps(list(known)),))}
    for trial_id, seq, *ended in other.execute(f"{query} ORDER BY seq"):
        before = here.get(trial_id)
        is_done = ended[0] in ("finished", "diverged")
        if before is None or (is_done and before[0] in ("failed", "pruned")):
            taken.append(seq)
        elif is_done and before == tuple(ended):
            same.append(seq)
        elif is_done:
            left.append(trial_id)
    return taken, same, left


def _cohorts(
    db: sqlite3.Connection, other: sqlite3.Connection, studies: Numbers, trials: Numbers, taken: list[int]
) -> Numbers:
    """Bring over the cohorts that trained what is taken, with all their lanes."""
    numbers, number = {}, claims.last_commit(db) + 1
    chosen = "SELECT cohort FROM trials WHERE seq IN (SELECT value FROM json_each(?))"
    for row in _rows(other, f"SELECT * FROM cohorts WHERE id IN ({chosen}) ORDER BY id", json.dumps(taken)):
        there = row.pop("id")
        numbers[there] = _insert(db, "cohorts", row | {"study": studies[row["study"]], "driver": None})
    lanes: dict[int, Rows] = defaultdict(list)
    for lane in _rows(other, f"SELECT * FROM cohort_trials WHERE cohort IN ({chosen})", json.dumps(taken)):
        lanes[lane["cohort"]].append(lane)
    for there, here in numbers.items():
        for lane in lanes[there]:
            ended = lane["outcome"] not in (None, LOST)
            seen = None if lane["outcome"] == LEFT else lane["outcome"]  # what was left there may be all there is here
            brought = {"cohort": here, "trial": trials[lane["trial"]], "committed": number if ended else None}
            _insert(db, "cohort_trials", lane | brought | {"outcome": seen})
    return numbers


def _take_outcome(db: sqlite3.Connection, other: sqlite3.Connection, there: int, here: int, cohorts: Numbers) -> None:
    names = (*ENDED, "error", "seconds", "cohort", "version", "ended")
    (row,) = _rows(other, f"SELECT {', '.join(names)} FROM trials WHERE seq = ?", there)
    _update(db, "trials", row | {"cohort": cohorts.get(row["cohort"])}, "seq", here)
    gone = ("metrics", "series", *(("reached", "reached_series") if row["outcome"] != "failed" else ()))
    for table in gone:
        db.execute(f"DELETE FROM {table} WHERE trial = ?", (here,))


def _take_values(db: sqlite3.Connection, other: sqlite3.Connection, there: int, here: int) -> None:
    for table in ("metrics", "series"):
        for row in _rows(other, f"SELECT * FROM {table} WHERE trial = ?", there):
            _insert(db, table, row | {"trial": here}, "ON CONFLICT (trial, name) DO NOTHING")


def _rows(db: sqlite3.Connection, query: str, *values: Any) -> Rows:
    found = db.execute(query, values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any], conflict: str = "") -> int:
    """Write a row, and return its number where it has one."""
    places = ", ".join("?" * len(row))
    done = db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) {conflict}", tuple(row.values()))
    return done.lastrowid or 0


def _update(db: sqlite3.Connection, table: str, row: Mapping[str, Any], key: str, number: int) -> None:
    db.execute(f"UPDATE {table} SET {', '.join(f'{n} = ?' for n in row)} WHERE {key} = ?", (*row.values(), number))
