"""The store's schema as ordered, named migrations. Knows nothing of files, locks or records.

A released migration never changes: a store made by it exists somewhere. What a reader may rely on is the view
`trial_results` (docs/store.md); the tables may change with a migration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

APPLICATION_ID = 0x7468616C
"""The bytes "thal" in the SQLite header: how a store is told from any other SQLite file."""


@dataclass(frozen=True)
class Migration:
    """One step from schema version n-1 to n, n being its place in the list, counted from 1."""

    name: str
    statements: tuple[str, ...]


FOUNDATION = Migration(
    "foundation",
    (
        """
        CREATE TABLE studies (
            id          INTEGER PRIMARY KEY,
            name        TEXT NOT NULL UNIQUE,
            question    TEXT NOT NULL,
            metric      TEXT NOT NULL,
            direction   TEXT NOT NULL CHECK (direction IN ('min', 'max')),
            replicate   TEXT,
            outline     TEXT NOT NULL,              -- JSON: vars, analysis, blocks with axes and expectations
            document    TEXT NOT NULL,              -- JSON: the declaration as the caller wrote it down
            overridden  INTEGER NOT NULL,           -- 1 while only command-line declarations were seen
            declaration INTEGER NOT NULL UNIQUE,    -- order of the last declaration; clocks can be set back
            declared    TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE cohorts (
            id       INTEGER PRIMARY KEY,
            study    INTEGER NOT NULL REFERENCES studies (id),
            group_id TEXT NOT NULL,
            executor TEXT NOT NULL,
            layout   TEXT NOT NULL CHECK (layout IN ('shared', 'per_lane')),
            width    INTEGER NOT NULL,
            device   TEXT NOT NULL,
            worker   INTEGER,
            versions TEXT NOT NULL,                 -- JSON
            started  TEXT NOT NULL,
            finished TEXT
        ) STRICT
        """,
        """
        CREATE TABLE trials (
            seq           INTEGER PRIMARY KEY,
            id            TEXT NOT NULL UNIQUE CHECK (length(id) = 64 AND id NOT GLOB '*[^0-9a-f]*'),
            group_id      TEXT NOT NULL,
            config        TEXT NOT NULL,            -- canonical JSON
            outcome       TEXT CHECK (outcome IN ('finished', 'diverged', 'pruned', 'failed')),
            diverged_step INTEGER,
            weight_hash   TEXT,
            error         TEXT,
            seconds       REAL,
            cohort        INTEGER REFERENCES cohorts (id),
            version       TEXT,                     -- of thalweg, when trained
            declared      TEXT NOT NULL,
            ended         TEXT,
            CHECK ((outcome IS 'diverged') = (diverged_step IS NOT NULL)),
            CHECK ((outcome IS NULL) = (ended IS NULL))
        ) STRICT
        """,
        """
        CREATE TABLE metrics (
            trial INTEGER NOT NULL REFERENCES trials (seq),
            name  TEXT NOT NULL,
            value REAL NOT NULL CHECK (abs(value) <= 1.7976931348623157e308),
            PRIMARY KEY (trial, name)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE series (
            trial  INTEGER NOT NULL REFERENCES trials (seq),
            name   TEXT NOT NULL,
            dtype  TEXT NOT NULL CHECK (dtype IN ('<f4', '<f8')),
            steps  BLOB NOT NULL,                   -- zlib of little-endian int64 differences, first from 0
            points BLOB NOT NULL,                   -- zlib of little-endian floats of that dtype
            PRIMARY KEY (trial, name)
        ) STRICT
        """,
        """
        CREATE TABLE members (
            study      INTEGER NOT NULL REFERENCES studies (id),
            trial      INTEGER NOT NULL REFERENCES trials (seq),
            block      TEXT NOT NULL,
            axes       TEXT NOT NULL,               -- JSON, in declared order
            position   INTEGER NOT NULL,            -- in the declaration that brought it
            declared   INTEGER NOT NULL,            -- 1: in the last YAML declaration
            overridden INTEGER NOT NULL,            -- 1: in some declaration from the command line
            PRIMARY KEY (study, trial, block)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX members_by_trial ON members (trial)",
        """
        CREATE TABLE cohort_trials (
            cohort  INTEGER NOT NULL REFERENCES cohorts (id),
            lane    INTEGER NOT NULL,
            trial   INTEGER NOT NULL REFERENCES trials (seq),
            outcome TEXT,                           -- what this cohort saw; NULL if it was killed
            PRIMARY KEY (cohort, lane),
            UNIQUE (cohort, trial)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE choices (
            group_id TEXT NOT NULL,
            key      TEXT NOT NULL,                 -- what the choice depends on besides the group
            executor TEXT NOT NULL,
            layout   TEXT NOT NULL CHECK (layout IN ('shared', 'per_lane')),
            width    INTEGER NOT NULL,
            reason   TEXT NOT NULL,
            version  TEXT NOT NULL,
            decided  TEXT NOT NULL,
            PRIMARY KEY (group_id, key)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE VIEW trial_results AS
        SELECT s.name AS study, m.block AS block, t.id AS trial, t.outcome AS outcome,
            t.diverged_step AS diverged_step, s.metric AS metric, v.value AS value,
            (SELECT json_group_object(o.name, o.value) FROM metrics o WHERE o.trial = t.seq) AS metrics,
            t.weight_hash AS weight_hash, t.seconds AS seconds, m.axes AS axes, t.config AS config,
            NOT (m.declared OR m.overridden) AS outside, t.error AS error, t.ended AS ended
        FROM members m
        JOIN studies s ON s.id = m.study
        JOIN trials t ON t.seq = m.trial
        LEFT JOIN metrics v ON v.trial = t.seq AND v.name = s.metric
        """,
    ),
)

PEAK_MEMORY = Migration("peak memory", ("ALTER TABLE cohorts ADD COLUMN peak_bytes INTEGER",))

REFINEMENTS = Migration(
    "refinements",
    (
        """
        CREATE TABLE refinements (
            study    INTEGER NOT NULL REFERENCES studies (id),
            number   INTEGER NOT NULL,              -- 1, 2, ...: how often trials were added after a look at results
            moves    TEXT NOT NULL,                 -- JSON: what was added, and why
            trials   INTEGER NOT NULL,
            declared TEXT NOT NULL,
            PRIMARY KEY (study, number)
        ) STRICT, WITHOUT ROWID
        """,
    ),
)

AUDITS = Migration(
    "audits",
    (
        """
        CREATE TABLE audits (
            study    INTEGER NOT NULL REFERENCES studies (id),
            number   INTEGER NOT NULL,              -- 1, 2, ...: how often a sample of its trials was trained again
            result   TEXT NOT NULL,                 -- JSON: what came out again, of how many, by which versions
            PRIMARY KEY (study, number)
        ) STRICT, WITHOUT ROWID
        """,
    ),
)

CLAIMS = Migration(
    "claims",
    (
        """
        CREATE TABLE drivers (                      -- sweeps that are at work now, or were killed
            id    INTEGER PRIMARY KEY AUTOINCREMENT,-- never given twice: one that was stopped for long comes back
            study TEXT NOT NULL,
            pid   INTEGER NOT NULL,
            beats INTEGER NOT NULL                  -- counted up while it lives; no clock is compared
        ) STRICT
        """,
        "ALTER TABLE cohorts ADD COLUMN driver INTEGER",
        """
        CREATE TABLE claims (                       -- trials that train now, each for one cohort
            trial  INTEGER PRIMARY KEY REFERENCES trials (seq),
            cohort INTEGER NOT NULL REFERENCES cohorts (id)
        ) STRICT
        """,
        "ALTER TABLE cohort_trials ADD COLUMN committed INTEGER",  # order of commits; clocks can be set back
        "CREATE INDEX cohort_trials_by_trial ON cohort_trials (trial)",
        "CREATE INDEX cohort_trials_by_commit ON cohort_trials (committed)",
    ),
)

NOTES = Migration(
    "notes",
    tuple(
        f"ALTER TABLE {table} ADD COLUMN {column}"
        for table in ("studies", "trials")
        for column in ("tags TEXT NOT NULL DEFAULT '[]'", "note TEXT NOT NULL DEFAULT ''")
    ),
)

COMMANDS = Migration(
    "commands",
    (
        """
        CREATE TABLE commands (                     -- what was typed, where it added trials to a study
            study    INTEGER NOT NULL REFERENCES studies (id),
            number   INTEGER NOT NULL,              -- 1, 2, ...
            verb     TEXT NOT NULL,
            words    TEXT NOT NULL,                 -- JSON: what followed the verb
            trials   INTEGER NOT NULL,              -- how many it added
            declared TEXT NOT NULL,
            PRIMARY KEY (study, number)
        ) STRICT, WITHOUT ROWID
        """,
        # Of a study that is there already only the last declaration is known.
        "INSERT INTO commands SELECT id, 1, 'sweep', ifnull(json_extract(document, '$.overrides'), '[]'),"
        " (SELECT count(DISTINCT trial) FROM members WHERE study = studies.id), declared FROM studies",
    ),
)

STOPS = Migration(
    "stops",
    (
        """
        CREATE TABLE reached (                      -- trials that came to a rung, and are not done
            trial   INTEGER PRIMARY KEY REFERENCES trials (seq),
            step    INTEGER NOT NULL,
            seconds REAL NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE reached_series (               -- what they measured on the way; as in series
            trial  INTEGER NOT NULL REFERENCES trials (seq),
            name   TEXT NOT NULL,
            dtype  TEXT NOT NULL CHECK (dtype IN ('<f4', '<f8')),
            steps  BLOB NOT NULL,
            points BLOB NOT NULL,
            PRIMARY KEY (trial, name)
        ) STRICT
        """,
        """
        CREATE TABLE stops (                        -- trials that a study's rule stopped early
            study INTEGER NOT NULL REFERENCES studies (id),
            trial INTEGER NOT NULL REFERENCES trials (seq),
            rung  INTEGER NOT NULL,                 -- 1, 2, ...: at which
            step  INTEGER NOT NULL,                 -- steps that it had taken
            PRIMARY KEY (study, trial)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX stops_by_trial ON stops (trial)",
        "DROP VIEW trial_results",
        """
        CREATE VIEW trial_results AS
        SELECT s.name AS study, m.block AS block, t.id AS trial,
            CASE WHEN t.outcome IS NULL AND p.rung IS NOT NULL THEN 'pruned' ELSE t.outcome END AS outcome,
            t.diverged_step AS diverged_step, s.metric AS metric, v.value AS value,
            (SELECT json_group_object(o.name, o.value) FROM metrics o WHERE o.trial = t.seq) AS metrics,
            t.weight_hash AS weight_hash, t.seconds AS seconds, m.axes AS axes, t.config AS config,
            NOT (m.declared OR m.overridden) AS outside, t.error AS error, t.ended AS ended,
            CASE WHEN t.outcome IS NULL THEN p.rung END AS rung
        FROM members m
        JOIN studies s ON s.id = m.study
        JOIN trials t ON t.seq = m.trial
        LEFT JOIN metrics v ON v.trial = t.seq AND v.name = s.metric
        LEFT JOIN stops p ON p.study = m.study AND p.trial = m.trial
        """,
    ),
)

MIGRATIONS: tuple[Migration, ...] = (FOUNDATION, PEAK_MEMORY, REFINEMENTS, AUDITS, CLAIMS, NOTES, COMMANDS, STOPS)


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration], now: str) -> None:
    """Bring the schema to version len(migrations), in the transaction that `db` is in."""
    db.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (version INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied TEXT NOT NULL) STRICT"
    )
    (present,) = db.execute("PRAGMA user_version").fetchone()
    for version, migration in enumerate(migrations[present:], present + 1):
        for statement in migration.statements:
            db.execute(statement)
        db.execute("INSERT INTO migrations VALUES (?, ?, ?)", (version, migration.name, now))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {len(migrations)}")
