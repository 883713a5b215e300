"""Whether a store holds what it should, as far as it can tell by itself: SQLite's own checks, and ids. In SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.store import reading
from thalweg.runner.store.series import Packed, unpack
from thalweg.runner.study.keys import trial_config
from thalweg.runner.study.trial import SHOWN, Trial

UNREADABLE = {
    "the axes of": "SELECT DISTINCT t.id FROM members m JOIN trials t ON t.seq = m.trial"
    " WHERE NOT CASE WHEN json_valid(m.axes) THEN json_type(m.axes) = 'object' ELSE 0 END",
    "when training ended of": "SELECT id FROM trials WHERE ended IS NOT NULL AND datetime(ended) IS NULL",
}
"""What of a trial, and the query that finds those of which it is nothing that can be read."""


def faults(db: sqlite3.Connection, known: Collection[str] = ()) -> list[str]:
    """Return what is wrong, a sentence each. known: ids that need no look, since they are stored elsewhere too."""
    found = [str(line).replace("\n", " ") for (line,) in db.execute("PRAGMA integrity_check(8)") if line != "ok"]
    if found:
        return found
    found += [f"a row of {table} refers to what is not there" for table, *_ in db.execute("PRAGMA foreign_key_check")]
    for trial_id, config in db.execute("SELECT id, config FROM trials ORDER BY seq"):
        if trial_id not in known and not _is_named(trial_id, config):
            found.append(f"trial {trial_id[:SHOWN]} has an id that does not belong to its configuration")
    for (name,) in db.execute("SELECT name FROM studies ORDER BY declaration").fetchall():
        if not _is_declared(db, name):
            found.append(f"the declaration of study {name} cannot be read")
    for said, query in UNREADABLE.items():
        found += [f"{said} trial {trial_id[:SHOWN]} cannot be read" for (trial_id,) in db.execute(query)]
    both = "(SELECT * FROM series UNION ALL SELECT * FROM reached_series)"
    query = f"SELECT t.id, s.name, s.dtype, s.steps, s.points FROM {both} s JOIN trials t ON t.seq = s.trial"
    for trial_id, name, *packed in db.execute(query):
        if not _is_whole(packed):
            found.append(f"series {name} of trial {trial_id[:SHOWN]} cannot be read")
    return found


def _is_declared(db: sqlite3.Connection, name: str) -> bool:
    try:
        reading.study(db, name)
    except (ValueError, TypeError, KeyError):
        return False
    return True


def _is_named(trial_id: str, config: str) -> bool:
    try:
        return Trial(trial_config(json.loads(config))).id == trial_id
    except (ConfigError, ValueError, TypeError):
        return False


def _is_whole(packed: list[Any]) -> bool:
    import zlib

    try:
        series = unpack(Packed(*packed))
    except (ValueError, TypeError, zlib.error):
        return False
    return len(series.steps) == len(series.values)
