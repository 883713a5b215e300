"""Every change to the store, in SQL. Each function runs inside a transaction that its caller owns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Outcome, Reached
from thalweg.runner.facts.record import LEFT, LOST, REACHED, CohortRecord, Committed
from thalweg.runner.store import claims
from thalweg.runner.study.stop import Pruned
from thalweg.runner.study.study import Member, Study

Made = tuple[int, str, str]
"""What trained a trial and when: cohort, version of thalweg, time."""
AMONG = "IN (SELECT value FROM json_each(?))"
DONE = {outcome.value for outcome in Outcome if outcome.is_done}


def declare(
    db: sqlite3.Connection, study: Study, members: Mapping[int, Member], now: str, pruned: Mapping[str, Pruned]
) -> None:
    """Write a study, the trials that are new, which trials are its members, and which of these it stopped early.

    members: by their places in the declaration.
    """
    study_id = _put_study(db, study, now)
    _add_trials(db, members.values(), now)
    if not study.overridden:
        db.execute("UPDATE members SET declared = 0 WHERE study = ?", (study_id,))
    before = _size(db, study_id)
    _add_members(db, study_id, members, overridden=study.overridden)
    typed = [word for part in ("overrides", "places") for word in study.document.get(part, ())]
    _put_command(db, study_id, "sweep", typed, before, now)
    _forget_renamed_blocks(db, study_id)
    _put_stops(db, study_id, [m.trial.id for m in members.values()] if study.overridden else None, pruned)


def _put_stops(
    db: sqlite3.Connection, study_id: int, asked: Sequence[str] | None, pruned: Mapping[str, Pruned]
) -> None:
    """Write who of the trials `asked`, or of all but a command line's own, a study stopped early by now."""
    listed = "IN (SELECT t.seq FROM json_each(:asked) j JOIN trials t ON t.id = j.value)"
    others = "NOT IN (SELECT trial FROM members WHERE study = :study AND overridden AND NOT declared)"
    db.execute(
        f"DELETE FROM stops WHERE study = :study AND trial {others if asked is None else listed}",
        {"study": study_id, "asked": json.dumps(asked)},
    )
    db.executemany(
        "INSERT OR REPLACE INTO stops (study, trial, rung, step) SELECT ?, seq, ?, ? FROM trials WHERE id = ?",
        ((study_id, where.rung, where.step, trial_id) for trial_id, where in pruned.items()),
    )


def _size(db: sqlite3.Connection, study_id: int) -> int:
    (size,) = db.execute("SELECT count(DISTINCT trial) FROM members WHERE study = ?", (study_id,)).fetchone()
    return int(size)


def _put_command(db: sqlite3.Connection, study_id: int, verb: str, words: Sequence[str], before: int, now: str) -> None:
    """Keep what was typed, if it made a study of `before` trials larger."""
    added = _size(db, study_id) - before
    if added:
        db.execute(
            "INSERT INTO commands SELECT ?, count(*) + 1, ?, ?, ?, ? FROM commands WHERE study = ?",
            (study_id, verb, _json(list(words)), added, now, study_id),
        )


def _add_members(db: sqlite3.Connection, study_id: int, members: Mapping[int, Member], *, overridden: bool) -> None:
    """Write memberships, by their places. Those of a command line leave alone what a file said of the same trial."""
    if overridden:
        on_conflict = "overridden = 1, axes = CASE WHEN declared THEN axes ELSE excluded.axes END"
    else:
        on_conflict = "declared = 1, axes = excluded.axes, position = excluded.position"
    db.executemany(
        "INSERT INTO members (study, trial, block, axes, position, declared, overridden)"
        " SELECT ?, seq, ?, ?, ?, ?, ? FROM trials WHERE id = ?"
        f" ON CONFLICT (study, trial, block) DO UPDATE SET {on_conflict}",
        (
            (study_id, m.block, _json(dict(m.axes)), place, not overridden, overridden, m.trial.id)
            for place, m in members.items()
        ),
    )


def refine(db: sqlite3.Connection, name: str, members: Sequence[Member], moves: Any, now: str) -> int:
    """Add members to a study that is there, and note that its results were looked at; return how often by now."""
    (study_id, number, last) = db.execute(
        "SELECT id, (SELECT count(*) FROM refinements WHERE study = id) + 1,"
        " (SELECT ifnull(max(position), -1) FROM members WHERE study = id) FROM studies WHERE name = ?",
        (name,),
    ).fetchone()
    _add_trials(db, members, now)
    before = _size(db, study_id)
    _add_members(db, study_id, dict(enumerate(members, last + 1)), overridden=True)
    kinds = ",".join(dict.fromkeys(move["kind"] for move in moves))
    _put_command(db, study_id, "refine", [name, "--moves", kinds, "--yes"], before, now)
    db.execute("INSERT INTO refinements VALUES (?, ?, ?, ?, ?)", (study_id, number, _json(moves), len(members), now))
    return int(number)


def _put_study(db: sqlite3.Connection, study: Study, now: str) -> int:
    """A declaration from the command line replaces only another such: it is a part, a file's is the whole."""
    said = {
        "question": study.question,
        "metric": study.metric,
        "direction": study.direction,
        "replicate": study.replicate,
        "outline": _json(_outline(study)),
        "document": _json(study.document),
        "overridden": study.overridden,
    }
    replaced = ", ".join(
        f"{name} = CASE WHEN studies.overridden >= excluded.overridden THEN excluded.{name} ELSE {name} END"
        for name in said
    )
    (study_id,) = db.execute(
        f"INSERT INTO studies (name, {', '.join(said)}, declaration, declared)"
        f" VALUES (?, {', '.join('?' * len(said))}, (SELECT ifnull(max(declaration), 0) + 1 FROM studies), ?)"
        f" ON CONFLICT (name) DO UPDATE SET {replaced},"
        " declaration = excluded.declaration, declared = excluded.declared RETURNING id",
        (study.name, *said.values(), now),
    ).fetchone()
    return int(study_id)


def _outline(study: Study) -> dict[str, Any]:
    return {
        "vars": study.vars,
        "hypothesis": study.hypothesis,
        "analyses": [asdict(analysis) for analysis in study.analyses],
        "blocks": [
            {
                "name": block.name,
                "axes": [asdict(axis) for axis in block.axes],
                "group_axes": [asdict(axis) for axis in block.group_axes],
                "derive": dict(block.derive),
                "bundles": [asdict(bundle) for bundle in block.bundles],
                "exclude": block.exclude,
                "sample": asdict(block.sample) if block.sample else None,
                "expect": asdict(block.expect) if block.expect else None,
            }
            for block in study.blocks
        ],
        **({"stop": asdict(study.stop)} if study.stop else {}),
    }


def _add_trials(db: sqlite3.Connection, members: Iterable[Member], now: str) -> None:
    trials = {member.trial.id: member.trial for member in members}
    known = db.execute("SELECT t.id FROM json_each(?) j JOIN trials t ON t.id = j.value", (json.dumps(list(trials)),))
    for (trial_id,) in known.fetchall():
        del trials[trial_id]
    db.executemany(
        "INSERT INTO trials (id, group_id, config, declared) VALUES (?, ?, ?, ?)",
        ((trial.id, trial.group_id, trial.config_json, now) for trial in trials.values()),
    )


def _forget_renamed_blocks(db: sqlite3.Connection, study_id: int) -> None:
    """Drop what an edit left behind of trials still declared: themselves, under a block's old name."""
    db.execute(
        "DELETE FROM members WHERE study = :study AND NOT declared AND NOT overridden"
        " AND trial IN (SELECT trial FROM members WHERE study = :study AND declared)",
        {"study": study_id},
    )


def replace(db: sqlite3.Connection, study: str, ids: Iterable[str]) -> None:
    """Put the trials of these ids outside a study."""
    db.execute(
        "UPDATE members SET declared = 0, overridden = 0 WHERE study = (SELECT id FROM studies WHERE name = ?)"
        " AND trial IN (SELECT t.seq FROM json_each(?) j JOIN trials t ON t.id = j.value)",
        (study, json.dumps(list(ids))),
    )


def record_audit(db: sqlite3.Connection, study: str, result: Mapping[str, Any]) -> None:
    """Keep what an audit of a study said, after those before it."""
    db.execute(
        "INSERT INTO audits (study, number, result) SELECT s.id, 1 + count(a.number), ?"
        " FROM studies s LEFT JOIN audits a ON a.study = s.id WHERE s.name = ? GROUP BY s.id",
        (_json(result), study),
    )


def record_choice(db: sqlite3.Connection, group_id: str, key: str, choice: Choice, version: str, now: str) -> None:
    """Write a choice unless there is one: the first stays, or a resumed sweep would end with other bits."""
    db.execute(
        "INSERT INTO choices (group_id, key, executor, layout, width, reason, version, decided)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (group_id, key, choice.executor, choice.layout, choice.width, choice.reason, version, now),
    )


def open_cohort(db: sqlite3.Connection, cohort: CohortRecord, now: str) -> int:
    """Write a cohort and its lanes; return its number."""
    (cohort_id,) = db.execute(
        "INSERT INTO cohorts (study, group_id, executor, layout, width, device, versions, started)"
        " VALUES ((SELECT id FROM studies WHERE name = ?), ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            *(cohort.study, cohort.group_id, cohort.executor, cohort.layout, cohort.width, cohort.device),
            _json(dict(cohort.versions)),
            now,
        ),
    ).fetchone()
    db.execute(  # a trial that is not there has no number, which the table refuses
        "INSERT INTO cohort_trials (cohort, lane, trial)"
        " SELECT ?, j.key, t.seq FROM json_each(?) j LEFT JOIN trials t ON t.id = j.value",
        (cohort_id, json.dumps(cohort.trial_ids)),
    )
    return int(cohort_id)


def narrow_choice(db: sqlite3.Connection, group_id: str, key: str, width: int) -> None:
    """Lower the width of a choice; one that was never written stays unwritten."""
    db.execute(
        "UPDATE choices SET width = min(width, ?) WHERE group_id = ? AND key = ?",
        (width, group_id, key),
    )


def commit(
    db: sqlite3.Connection, cohort_id: int, observations: Sequence[Observations | Reached], version: str, now: str
) -> Committed:
    """Write what was observed of some of a cohort's trials; return what was not taken.

    Of one that has reached a rung, what it measured on the way is kept apart, until it ends: it has no outcome.

    | stored                  | observed                       | effect                                |
    |-------------------------|--------------------------------|---------------------------------------|
    | claimed by another      | anything                       | lost: nothing is written              |
    | nothing, failed, pruned | anything                       | written                               |
    | finished                | finished, the same weight hash | metrics and series it lacks are added |
    | finished, diverged      | anything else                  | left as it was                        |
    """
    lanes = dict(
        db.execute(
            "SELECT t.id, t.seq FROM cohort_trials c JOIN trials t ON t.seq = c.trial WHERE c.cohort = ?",
            (cohort_id,),
        ).fetchall()
    )
    if strangers := [o.trial_id for o in observations if o.trial_id not in lanes]:
        raise ValueError(f"cohort {cohort_id} has no trial {strangers[0]}")
    number, owned = claims.last_commit(db) + 1, claims.owned(db, cohort_id)
    mine = {lanes[o.trial_id]: o for o in observations if lanes[o.trial_id] in owned}
    ended = {seq: o for seq, o in mine.items() if isinstance(o, Observations)}
    seen = keep(db, ended, (cohort_id, version, now))
    seen |= {seq: reached(db, seq, o) for seq, o in mine.items() if isinstance(o, Reached)}
    each = {o.trial_id: seen.get(lanes[o.trial_id], LOST) for o in observations}
    db.executemany(
        "UPDATE cohort_trials SET outcome = ?, committed = ? WHERE cohort = ? AND trial = ?",
        ((saw, None if saw == LOST else number, cohort_id, lanes[trial_id]) for trial_id, saw in each.items()),
    )
    db.execute(
        f"DELETE FROM claims WHERE cohort = ? AND trial {AMONG}", (cohort_id, json.dumps([lanes[i] for i in each]))
    )
    db.execute(
        "UPDATE cohorts SET finished = :now WHERE id = :cohort"
        " AND NOT EXISTS (SELECT 1 FROM cohort_trials WHERE cohort = :cohort AND outcome IS NULL)",
        {"cohort": cohort_id, "now": now},
    )
    left, lost = (tuple(trial_id for trial_id, saw in each.items() if saw == what) for what in (LEFT, LOST))
    return Committed(left, lost)


def keep(db: sqlite3.Connection, observed: Mapping[int, Observations], made: Made) -> dict[int, str]:
    """Write what was observed of trials as far as it changes nothing that is done; return their outcomes, or LEFT.

    One statement for them all: a statement each takes as long again as what it writes.
    """
    stored = db.execute(
        f"SELECT seq, outcome, weight_hash FROM trials WHERE seq {AMONG}", (json.dumps(list(observed)),)
    ).fetchall()
    fresh = {seq: observed[seq] for seq, outcome, _ in stored if outcome not in DONE}
    same = {seq: observed[seq] for seq, *was in stored if _completes(observed[seq], *was)}
    _write_outcomes(db, fresh, made)
    _add_values(db, fresh | same)
    return {seq: each.outcome.value if seq in fresh or seq in same else LEFT for seq, each in observed.items()}


def reached(db: sqlite3.Connection, seq: int, observed: Reached) -> str:
    """Write how far a trial came, unless it is done or had come farther; it has failed no more. Returns REACHED."""
    from thalweg.runner.store.series import pack

    farther = "outcome IN ('finished', 'diverged') OR EXISTS (SELECT 1 FROM reached WHERE trial = seq AND step > ?)"
    if db.execute(f"SELECT {farther} FROM trials WHERE seq = ?", (observed.step, seq)).fetchone()[0]:
        return REACHED
    db.execute(
        "UPDATE trials SET outcome = NULL, error = NULL, seconds = NULL, cohort = NULL, version = NULL, ended = NULL"
        " WHERE seq = ?",
        (seq,),
    )
    db.execute(
        "INSERT INTO reached (trial, step, seconds) VALUES (?, ?, ?) ON CONFLICT (trial) DO UPDATE"
        " SET step = excluded.step, seconds = seconds + excluded.seconds",
        (seq, observed.step, observed.seconds),
    )
    db.executemany(
        "INSERT OR REPLACE INTO reached_series (trial, name, dtype, steps, points) VALUES (?, ?, ?, ?, ?)",
        ((seq, name, *pack(series)) for name, series in observed.series.items()),
    )
    return REACHED


def note_peak(db: sqlite3.Connection, cohort_id: int, peak_bytes: int) -> None:
    """Write the memory that a cohort's worker held at most."""
    db.execute("UPDATE cohorts SET peak_bytes = max(ifnull(peak_bytes, 0), ?) WHERE id = ?", (peak_bytes, cohort_id))


def _write_outcomes(db: sqlite3.Connection, observed: Mapping[int, Observations], made: Made) -> None:
    """Write how trials ended that were not done, and drop what earlier attempts left."""
    db.executemany(
        "UPDATE trials SET outcome = ?, diverged_step = ?, weight_hash = ?, error = ?,"
        " seconds = ? + ifnull((SELECT seconds FROM reached WHERE trial = seq), 0),"
        " cohort = ?, version = ?, ended = ? WHERE seq = ?",
        (
            (each.outcome.value, each.diverged_step, each.weight_hash, _unicode(each.error), each.seconds, *made, seq)
            for seq, each in observed.items()
        ),
    )
    done = [seq for seq, each in observed.items() if each.outcome.is_done]
    for table, seqs in {"metrics": [*observed], "series": [*observed], "reached": done, "reached_series": done}.items():
        db.execute(f"DELETE FROM {table} WHERE trial {AMONG}", (json.dumps(seqs),))


def _unicode(error: str | None) -> str | None:
    return error and error.encode("utf-8", "backslashreplace").decode()


def _completes(observed: Observations, outcome: str | None, weight_hash: str | None) -> bool:
    """Whether a finished trial was measured again on the very same weights."""
    finished = observed.outcome is Outcome.FINISHED and outcome == Outcome.FINISHED
    return finished and observed.weight_hash is not None and observed.weight_hash == weight_hash


def _add_values(db: sqlite3.Connection, observed: Mapping[int, Observations]) -> None:
    from thalweg.runner.store.series import pack  # numpy, which reading verbs go without

    db.executemany(
        "INSERT INTO metrics (trial, name, value) VALUES (?, ?, ?) ON CONFLICT (trial, name) DO NOTHING",
        ((seq, name, float(value)) for seq, each in observed.items() for name, value in each.metrics.items()),
    )
    db.executemany(
        "INSERT INTO series (trial, name, dtype, steps, points) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (trial, name) DO NOTHING",
        ((seq, name, *pack(series)) for seq, each in observed.items() for name, series in each.series.items()),
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
