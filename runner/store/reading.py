"""Every question asked of the store, in SQL. Each function runs inside a snapshot that its caller owns."""

from __future__ import annotations

import difflib
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.coordinates import placed
from thalweg.runner.facts.epochs import Given, given_in, in_epochs, seen
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.facts.record import LEFT, CohortRecord, Command, History, Membership, StudySummary, TrialRecord
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.project.code import METRIC
from thalweg.runner.store.configs import Configs
from thalweg.runner.study.sampling import Sample
from thalweg.runner.study.stop import Pruned, Stop
from thalweg.runner.study.study import REPLICATE, Analysis, Axis, Block, Bundle, Expectation, Study
from thalweg.runner.study.trial import SHOWN

OUTSIDE = "NOT (m.declared OR m.overridden)"
OF_STUDY = "SELECT m.trial FROM members m JOIN studies s ON s.id = m.study WHERE s.name = :study"
Values = Mapping[str, Any]
IN_EPOCHS = re.compile(r"\dep\b")


def statuses(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, TrialStatus]:
    """Trial id -> status, for those of `ids` that the store knows."""
    found = db.execute(
        "SELECT t.id, t.outcome, (SELECT group_concat(name, char(10)) FROM metrics WHERE trial = t.seq),"
        " EXISTS (SELECT 1 FROM cohort_trials WHERE trial = t.seq AND outcome = ?)"
        " FROM json_each(?) j JOIN trials t ON t.id = j.value",
        (LEFT, json.dumps(list(ids))),
    ).fetchall()
    each = {
        (outcome, names, left): TrialStatus(
            _outcome(outcome), frozenset(names.split("\n") if names else ()), left=bool(left)
        )
        for _, outcome, names, left in found
    }
    return {trial_id: each[outcome, names, left] for trial_id, outcome, names, left in found}


def trained_by(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """Trial id -> the versions that its cohort recorded, for those of `ids` that are done."""
    found = db.execute(
        "SELECT t.id, c.versions FROM json_each(?) j JOIN trials t ON t.id = j.value"
        " JOIN cohorts c ON c.id = t.cohort WHERE t.outcome IN ('finished', 'diverged')",
        (json.dumps(list(ids)),),
    ).fetchall()
    each = {versions: json.loads(versions) for _, versions in found}
    return {trial_id: each[versions] for trial_id, versions in found}


def weight_hashes(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, str | None]:
    """Trial id -> its weight hash, None while it is not done, for those of `ids` that are stored."""
    found = db.execute(
        "SELECT t.id, iif(t.outcome IN ('finished', 'diverged'), t.weight_hash, NULL)"
        " FROM json_each(?) j JOIN trials t ON t.id = j.value",
        (json.dumps(list(ids)),),
    )
    return dict(found.fetchall())


def group_hashes(db: sqlite3.Connection, group_ids: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """Group -> the weight hashes of its done trials."""
    found = db.execute(
        "SELECT t.group_id, t.id, t.weight_hash FROM json_each(?) j JOIN trials t ON t.group_id = j.value"
        " WHERE t.outcome IN ('finished', 'diverged')",
        (json.dumps(list(group_ids)),),
    )
    hashes: dict[str, dict[str, str | None]] = defaultdict(dict)
    for group_id, trial_id, weight_hash in found:
        hashes[group_id][trial_id] = weight_hash
    return dict(hashes)


def budgets(db: sqlite3.Connection) -> list[int]:
    """The numbers of steps that trials have, the largest first."""
    found = db.execute("SELECT DISTINCT json_extract(config, '$.budget.steps') FROM trials ORDER BY 1 DESC")
    return [int(steps) for (steps,) in found]


def ids_alone(db: sqlite3.Connection, name: str) -> set[str]:
    """Ids of the trials of a study, those outside it too, that no other study declares."""
    found = db.execute(
        f"SELECT id FROM trials WHERE seq IN ({OF_STUDY}) AND seq NOT IN (SELECT m.trial FROM members m"
        f" JOIN studies s ON s.id = m.study WHERE s.name != :study AND NOT ({OUTSIDE}))",
        {"study": name},
    )
    return {trial_id for (trial_id,) in found}


def measured_by(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """Trial id -> the code of the user's metrics that its values are of: the first that measured each."""
    cohorts = db.execute("SELECT id, versions FROM cohorts WHERE versions LIKE ?", (f'%"{METRIC}%',)).fetchall()
    wanted = set(ids) if cohorts else set()
    measured: dict[str, dict[str, str]] = defaultdict(dict)
    for cohort_id, versions in sorted(cohorts, reverse=True):
        code = {name: digest for name, digest in json.loads(versions).items() if name.startswith(METRIC)}
        found = db.execute(
            "SELECT t.id FROM cohort_trials l JOIN trials t ON t.seq = l.trial"
            " WHERE l.cohort = ? AND l.outcome = 'finished'",
            (cohort_id,),
        )
        for (trial_id,) in found:
            if trial_id in wanted:
                measured[trial_id] |= code
    return dict(measured)


def choice(db: sqlite3.Connection, group_id: str, key: str) -> Choice | None:
    """The choice in force for a group, if one was made."""
    found = db.execute(
        "SELECT executor, layout, width, reason FROM choices WHERE group_id = ? AND key = ?", (group_id, key)
    ).fetchone()
    return Choice(*found) if found else None


def contents(db: sqlite3.Connection) -> dict[str, int]:
    """How many there are of each thing."""
    said = {
        "studies": "SELECT count(*) FROM studies",
        "trials": "SELECT count(*) FROM trials",
        **{each.value: f"SELECT count(*) FROM trials WHERE outcome = '{each.value}'" for each in Outcome},
        "untrained": "SELECT count(*) FROM trials WHERE outcome IS NULL",
        "claimed": "SELECT count(*) FROM claims",
        "cohorts": "SELECT count(*) FROM cohorts",
        "series": "SELECT count(*) FROM series",
        "series_bytes": "SELECT ifnull(sum(length(steps) + length(points)), 0) FROM series",
    }
    return {name: int(db.execute(query).fetchone()[0]) for name, query in said.items()}


def choices(db: sqlite3.Connection, group_ids: Iterable[str]) -> list[tuple[str, str, Choice]]:
    """(group, key, choice) of all choices that were made for groups."""
    found = db.execute(
        "SELECT group_id, key, executor, layout, width, reason FROM choices"
        " WHERE group_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(group_ids)),),
    )
    return [(group_id, key, Choice(*how)) for group_id, key, *how in found]


def studies(db: sqlite3.Connection) -> list[StudySummary]:
    """Every study, the last declared one first."""
    found = db.execute(
        f"""
        WITH part AS (
            SELECT m.study, m.trial, t.outcome, min({OUTSIDE}) AS outside, p.rung
            FROM members m JOIN trials t ON t.seq = m.trial
            LEFT JOIN stops p ON p.study = m.study AND p.trial = m.trial GROUP BY m.study, m.trial
        )
        SELECT s.name, s.question, s.metric, s.direction, s.declared, s.tags, s.note,
            ifnull(sum(NOT outside), 0) AS wanted,
            ifnull(sum(NOT outside AND outcome IS 'finished'), 0) AS finished,
            ifnull(sum(NOT outside AND outcome IS 'diverged'), 0) AS diverged,
            ifnull(sum(NOT outside AND outcome IS NULL AND rung IS NOT NULL), 0) AS pruned,
            ifnull(sum(NOT outside AND outcome IS 'failed'), 0) AS failed,
            ifnull(sum(outside AND outcome IN ('finished', 'diverged')), 0) AS outside
        FROM studies s LEFT JOIN part ON part.study = s.id
        GROUP BY s.id ORDER BY s.declaration DESC
        """
    )
    names = [column[0] for column in found.description]
    rows = (dict(zip(names, row, strict=True)) for row in found)
    return [StudySummary(**row | {"tags": tuple(json.loads(row["tags"]))}) for row in rows]


def study(db: sqlite3.Connection, name: str) -> Study:
    """One study as declared. Raises UsageError, naming the nearest, if there is none of that name."""
    found = db.execute(
        "SELECT question, metric, direction, replicate, outline, document, declared,"
        " (SELECT count(*) FROM refinements WHERE study = id) FROM studies WHERE name = ?",
        (name,),
    ).fetchone()
    if found is None:
        raise _no_study(db, name)
    question, metric, direction, replicate, outline, document, declared, refinements = found
    said = json.loads(outline)
    blocks = tuple(_block(block) for block in said["blocks"])
    return Study(
        name=name,
        question=question,
        metric=metric,
        direction=direction,
        replicate=replicate or REPLICATE,  # the first stores knew studies without
        vars=tuple(said["vars"]),
        analyses=_analyses(said),
        blocks=blocks,
        document=json.loads(document),
        declared=declared,
        refinements=refinements,
        hypothesis=said.get("hypothesis", ""),
        stop=Stop(**said["stop"] | {"rungs": tuple(said["stop"]["rungs"])}) if said.get("stop") else None,
    )


def commands(db: sqlite3.Connection, name: str) -> list[Command]:
    """What was typed to add trials to a study, the first one first."""
    found = db.execute(
        "SELECT c.verb, c.words, c.trials, c.declared FROM commands c JOIN studies s ON s.id = c.study"
        " WHERE s.name = ? ORDER BY c.number",
        (name,),
    )
    return [Command(verb, tuple(json.loads(words)), trials, declared) for verb, words, trials, declared in found]


def audits(db: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    """What audits of a study said, the last one first."""
    found = db.execute(
        "SELECT a.result FROM audits a JOIN studies s ON s.id = a.study WHERE s.name = ? ORDER BY a.number DESC",
        (name,),
    )
    return [json.loads(result) for (result,) in found]


def seconds_a_trial(db: sqlite3.Connection, name: str) -> float | None:
    """Mean time that a trial of a study took to train; None before any ended."""
    found = db.execute(
        f"SELECT avg(seconds) FROM trials WHERE seq IN ({OF_STUDY}) AND outcome = 'finished'", {"study": name}
    ).fetchone()
    return None if found[0] is None else float(found[0])


def histories(db: sqlite3.Connection, group_ids: Iterable[str]) -> dict[str, History]:
    """Group -> what its trials took to train, for those of which any finished."""
    found = db.execute(
        "WITH cohort AS (SELECT t.group_id, t.cohort, count(*) AS n, avg(t.seconds) AS mean"
        " FROM trials t JOIN json_each(?) j ON t.group_id = j.value"
        " WHERE t.outcome = 'finished' AND t.seconds > 0 GROUP BY t.group_id, t.cohort)"
        " SELECT h.group_id, sum(h.n), sum(h.n * h.mean) / sum(h.n), min(h.mean), max(h.mean), max(c.peak_bytes)"
        " FROM cohort h LEFT JOIN cohorts c ON c.id = h.cohort GROUP BY h.group_id",
        (json.dumps(list(group_ids)),),
    )
    return {group_id: History(*told) for group_id, *told in found}


def _analyses(said: Mapping[str, Any]) -> tuple[Analysis, ...]:
    """The questions of an outline. The first stores knew one or none of them, under `analysis`."""
    found = said["analyses"] if "analyses" in said else [said["analysis"]] if said["analysis"] else []
    return tuple(Analysis(**analysis) for analysis in found)


def _block(said: Mapping[str, Any]) -> Block:
    axes, group_axes = (
        tuple(Axis(axis["key"], tuple(axis["values"]), axis["text"]) for axis in said[kind])
        for kind in ("axes", "group_axes")
    )
    expect = Expectation(**said["expect"]) if said["expect"] else None
    bundles = tuple(
        Bundle(each["name"], tuple(each["keys"]), tuple(map(tuple, each["points"]))) for each in said.get("bundles", ())
    )
    return Block(
        said["name"],
        axes=axes,
        group_axes=group_axes,
        derive=said["derive"],
        expect=expect,
        bundles=bundles,
        exclude=said.get("exclude"),
        sample=Sample(**said["sample"]) if said.get("sample") else None,
    )


def _no_study(db: sqlite3.Connection, name: str) -> UsageError:
    names = [found for (found,) in db.execute("SELECT name FROM studies ORDER BY declaration DESC")]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(names[:8]) or 'no study yet'}"
    return UsageError(f"the store has no study {name!r}", hint)


def study_rows(db: sqlite3.Connection, name: str, metrics: bool, configs: Configs) -> list[Row]:
    """A row a member, in declared order, then what command lines added, then what is outside.

    Each has a coordinate on every axis of its block. Empty if there is no such study.
    """
    measured = _metrics(db, OF_STUDY, {"study": name}) if metrics else {}
    found = db.execute(
        f"SELECT t.seq, t.id, m.block, m.axes, t.outcome, t.diverged_step, t.config, {OUTSIDE}, m.overridden,"
        " t.error, t.ended, p.rung, p.step"
        " FROM members m JOIN studies s ON s.id = m.study JOIN trials t ON t.seq = m.trial"
        " LEFT JOIN stops p ON p.study = m.study AND p.trial = m.trial AND t.outcome IS NULL"
        " WHERE s.name = ? ORDER BY m.declared DESC, m.overridden DESC, m.position, t.seq",
        (name,),
    )
    rows = []
    for *told, rung, step in found:
        seq, trial_id, block, axes, outcome, diverged_step, config, outside, overridden, error, ended = told
        pruned = None if rung is None else Pruned(rung, step)
        row = Row(
            trial_id=trial_id,
            block=block,
            axes=json.loads(axes),
            outcome=Outcome.PRUNED if pruned else _outcome(outcome),
            diverged_step=diverged_step,
            metrics=measured.get(seq, {}),
            config=configs.of(trial_id, config),
            outside=bool(outside),
            overridden=bool(overridden),
            error=error,
            ended=ended,
            pruned=pruned,
        )
        rows.append(row)
    return in_epochs(placed(rows), _blocks_in_epochs(db, name))


def _blocks_in_epochs(db: sqlite3.Connection, name: str) -> list[Block]:
    """The blocks of a study, where any value of an axis was given in epochs."""
    found = db.execute("SELECT outline FROM studies WHERE name = ?", (name,)).fetchone()
    return [_block(block) for block in json.loads(found[0])["blocks"]] if found and IN_EPOCHS.search(found[0]) else []


def series(db: sqlite3.Connection, trial_id: str) -> dict[str, Series]:
    """Name -> series of one trial; empty if it has none."""
    from thalweg.runner.store.series import Packed, unpack  # numpy, which most reading verbs go without

    found = db.execute(
        "SELECT s.name, s.dtype, s.steps, s.points FROM series s JOIN trials t ON t.seq = s.trial"
        " WHERE t.id = ? ORDER BY s.name",
        (trial_id,),
    )
    return {name: unpack(Packed(*packed)) for name, *packed in found}


def reached_series(db: sqlite3.Connection, trial_id: str) -> dict[str, Series]:
    """Name -> series of a trial that came to a rung and is not done, up to there."""
    from thalweg.runner.store.series import Packed, unpack

    found = db.execute(
        "SELECT s.name, s.dtype, s.steps, s.points FROM reached_series s JOIN trials t ON t.seq = s.trial"
        " WHERE t.id = ? ORDER BY s.name",
        (trial_id,),
    )
    return {name: unpack(Packed(*packed)) for name, *packed in found}


def measured_at(
    db: sqlite3.Connection, ids: Iterable[str], metric: str, steps: Collection[int]
) -> dict[str, dict[int, float]]:
    """Trial id -> step -> what a trial, done or on its way, measured of a metric after so many steps."""
    from thalweg.runner.store.series import Packed, unpack

    found = db.execute(
        "SELECT t.id, s.dtype, s.steps, s.points FROM json_each(?) j JOIN trials t ON t.id = j.value"
        " JOIN (SELECT * FROM series UNION ALL SELECT * FROM reached_series) s ON s.trial = t.seq AND s.name = ?",
        (json.dumps(list(ids)), metric),
    )
    values: dict[str, dict[int, float]] = {}
    for trial_id, *packed in found:
        series = unpack(Packed(*packed))
        at = zip(series.steps.tolist(), series.values.tolist(), strict=True)
        values[trial_id] = {step: value for step, value in at if step in steps}
    return values


def reached_steps(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, int]:
    """Trial id -> the steps that it took, for those of `ids` that came to a rung and are not done."""
    found = db.execute(
        "SELECT t.id, r.step FROM json_each(?) j JOIN trials t ON t.id = j.value JOIN reached r ON r.trial = t.seq",
        (json.dumps(list(ids)),),
    )
    return dict(found.fetchall())


def trial(db: sqlite3.Connection, prefix: str, configs: Configs) -> TrialRecord:
    """The trial whose id begins with `prefix`. Raises UsageError if none or several do."""
    if not re.fullmatch("[0-9a-f]{1,64}", prefix):
        raise UsageError(f"{prefix!r} is not a trial id, which is made of the digits 0-9 and a-f")
    span = (prefix, prefix + "g")
    first = db.execute("SELECT id FROM trials WHERE id >= ? AND id < ? ORDER BY id LIMIT 3", span)
    found = [trial_id for (trial_id,) in first]
    if not found:
        raise UsageError(f"no trial id in the store begins with {prefix}", "thalweg ls STUDY lists them")
    if len(found) > 1:
        (count,) = db.execute("SELECT count(*) FROM trials WHERE id >= ? AND id < ?", span).fetchone()
        shown = [trial_id[: max(SHOWN, len(prefix) + 1)] for trial_id in found] + ["…"] * (count > len(found))
        raise UsageError(f"{count} trial ids begin with {prefix}: {', '.join(shown)}", "give more digits")
    return trial_records(db, "SELECT seq FROM trials WHERE id = :id", {"id": found[0]}, configs)[0]


def membership(db: sqlite3.Connection, trial_id: str) -> list[Membership]:
    """The studies and blocks that a trial belongs to."""
    chosen = "SELECT seq FROM trials WHERE id = :id"
    return [m for each in _memberships(db, chosen, {"id": trial_id}).values() for m in each]


def done_records(db: sqlite3.Connection, study_name: str | None, configs: Configs) -> list[TrialRecord]:
    """Every finished or diverged trial, of one study or of all, in the order in which they were declared."""
    chosen = "SELECT seq FROM trials WHERE outcome IN ('finished', 'diverged')"
    if study_name is not None:
        chosen += f" AND seq IN ({OF_STUDY})"
    return trial_records(db, chosen, {"study": study_name}, configs)


def told_records(db: sqlite3.Connection, study_name: str | None, configs: Configs) -> list[TrialRecord]:
    """Every trial that has something to tell: done, failed, or stopped early by a study's rule; in declared order."""
    chosen = "SELECT seq FROM trials WHERE (outcome IS NOT NULL OR seq IN (SELECT trial FROM stops))"
    if study_name is not None:
        chosen += f" AND seq IN ({OF_STUDY})"
    return trial_records(db, chosen, {"study": study_name}, configs)


def trial_records(db: sqlite3.Connection, chosen: str, values: Values, configs: Configs) -> list[TrialRecord]:
    """Records of the trials whose seq the query `chosen` gives."""
    metrics = _metrics(db, chosen, values)
    memberships = _memberships(db, chosen, values)
    cohorts = _cohorts(db, f"SELECT cohort FROM trials WHERE seq IN ({chosen})", values)
    found = db.execute(
        "SELECT seq, id, group_id, config, outcome, diverged_step, weight_hash, error, seconds, cohort,"
        f" version, declared, ended, tags, note FROM trials WHERE seq IN ({chosen}) ORDER BY seq",
        values,
    )
    names = [column[0] for column in found.description]
    records = []
    given: dict[str, dict[str, Given]] = {}
    for row in found:
        one = dict(zip(names, row, strict=True))
        seq = one.pop("seq")
        one["trial_id"] = one.pop("id")
        one["config"] = configs.of(one["trial_id"], one["config"])
        one["tags"] = tuple(json.loads(one["tags"]))
        one["outcome"] = _outcome(one["outcome"])
        one["metrics"] = metrics.get(seq, {})
        one["memberships"] = tuple(_seen(db, each, one["config"], given) for each in memberships.get(seq, ()))
        one["cohort"] = cohorts.get(one["cohort"])
        records.append(TrialRecord(**one))
    return records


def _seen(
    db: sqlite3.Connection, place: Membership, config: Mapping[str, Any], known: dict[str, dict[str, Given]]
) -> Membership:
    """A trial's place in a study with the epochs that its axes were given in. known: by study and block, so far."""
    if place.study not in known:
        blocks = _blocks_in_epochs(db, place.study)
        known[place.study] = {block.name: each for block in blocks if (each := given_in(block))}
    given = known[place.study].get(place.block)
    return replace(place, axes=seen(place.axes, config, given)) if given else place


def _metrics(db: sqlite3.Connection, chosen: str, values: Values) -> dict[int, dict[str, float]]:
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    found = db.execute(f"SELECT trial, name, value FROM metrics WHERE trial IN ({chosen})", values)
    for seq, name, value in found:
        metrics[seq][name] = value
    return metrics


def _memberships(db: sqlite3.Connection, chosen: str, values: Values) -> dict[int, list[Membership]]:
    found: dict[int, list[Membership]] = defaultdict(list)
    for seq, name, block, axes, outside, rung, step in db.execute(
        f"SELECT m.trial, s.name, m.block, m.axes, {OUTSIDE}, p.rung, p.step FROM members m"
        " JOIN studies s ON s.id = m.study JOIN trials t ON t.seq = m.trial"
        " LEFT JOIN stops p ON p.study = m.study AND p.trial = m.trial AND t.outcome IS NULL"
        f" WHERE m.trial IN ({chosen}) ORDER BY s.name, m.declared DESC, m.position",
        values,
    ):
        pruned = None if rung is None else Pruned(rung, step)
        found[seq].append(Membership(name, block, json.loads(axes), bool(outside), pruned))
    return found


def unfinished_cohorts(db: sqlite3.Connection, group_id: str) -> list[CohortRecord]:
    """Cohorts of a group of which nothing was observed, the last opened first: a kill ended them."""
    open_ones = (
        "SELECT id FROM cohorts c WHERE c.group_id = :group AND c.finished IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM cohort_trials l WHERE l.cohort = c.id AND l.outcome IS NOT NULL)"
    )
    found = _cohorts(db, open_ones, {"group": group_id})
    return [found[cohort_id] for cohort_id in sorted(found, reverse=True)]


def _cohorts(db: sqlite3.Connection, of_chosen: str, values: Values) -> dict[int, CohortRecord]:
    """Number -> record of the cohorts whose number the query `of_chosen` gives."""
    lanes: dict[int, list[str]] = defaultdict(list)
    for cohort_id, trial_id in db.execute(
        "SELECT c.cohort, t.id FROM cohort_trials c JOIN trials t ON t.seq = c.trial"
        f" WHERE c.cohort IN ({of_chosen}) ORDER BY c.cohort, c.lane",
        values,
    ):
        lanes[cohort_id].append(trial_id)
    found = db.execute(
        "SELECT c.id, s.name AS study, c.group_id, c.executor, c.layout, c.width, c.device,"
        f" c.peak_bytes, c.versions FROM cohorts c JOIN studies s ON s.id = c.study WHERE c.id IN ({of_chosen})",
        values,
    )
    names = [column[0] for column in found.description]
    cohorts = {}
    for row in found:
        one = dict(zip(names, row, strict=True))
        cohort_id, versions = one.pop("id"), json.loads(one.pop("versions"))
        cohorts[cohort_id] = CohortRecord(**one, versions=versions, trial_ids=tuple(lanes[cohort_id]))
    return cohorts


def _outcome(text: str | None) -> Outcome | None:
    return None if text is None else Outcome(text)
