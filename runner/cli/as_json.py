"""What --json prints of studies, cells, panels and trials, as plain dicts. Keys are only ever added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.runner.cells.cells import Cell, NearOptimal, Panel
from thalweg.runner.cells.costs import Cost
from thalweg.runner.facts.epochs import said
from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.record import StudySummary, TrialRecord
from thalweg.runner.facts.remark import Remark
from thalweg.runner.facts.replayed import Audit, Replayed, Verdict
from thalweg.runner.facts.row import Row
from thalweg.runner.planning.plan import Plan

if TYPE_CHECKING:
    from thalweg.runner.analysis import Answer, Coupling, Finding, Place, RowFit
    from thalweg.runner.decide import Candidate, Move, Recommendation
    from thalweg.runner.view import Best, StudyView


def plan(made: Plan, path: Path, remarks: Sequence[Remark] = (), keeping: Sequence[str] = ()) -> dict[str, Any]:
    """A plan against the store at `path`, and what is to be said of its models and of the weights it would keep."""
    counts = ("wanted", "done", "to_train", "diverged", "retry", "repaired", "lacking", "outside", "others", "failed")
    keys = (*counts, "excluded", "unknown")
    groups = [{"id": each.group_id, "to_train": len(each.trials), "wanted": each.wanted} for each in made.groups]
    return {
        "store": str(path.absolute()),
        "study": made.study.name,
        "question": made.study.question,
        **{key: getattr(made, key) for key in keys},
        "again": {f"finished without {made.study.metric}": made.unmeasured} if made.unmeasured else {},
        "kept_points": {key: {"kept": kept, "declared": n} for key, (kept, n) in made.kept_points.items()},
        "changed": [{"files": list(files), "trials": number} for files, number in made.changed.items()],
        "measured_before": made.stale,
        "groups": groups,
        **_stages(made),
        "apart_by": made.apart_by,
        "cost": asdict(made.cost) if made.cost else None,
        "advice": made.advice,
        "models": [asdict(remark) for remark in remarks],
        "keep": list(keeping),
    }


def _stages(made: Plan) -> dict[str, Any]:
    """How far the trials of a study with a stopping rule train, and who stopped."""
    stop = made.study.stop
    if stop is None:
        return {"pruned": 0, "waiting": 0, "stop": None}
    to = {str(step): number for step, number in sorted(Counter(made.until.values()).items())}
    said = {**asdict(stop), "to_step": to, "hindsight": made.hindsight or None}
    return {"pruned": len(made.pruned), "waiting": made.waiting, "stop": said}


def summary(study: StudySummary) -> dict[str, Any]:
    """A study as a line of `ls`."""
    keys = ("name", "question", "metric", "direction", "wanted", "done", "finished", "diverged", "pruned", "failed")
    return {key: getattr(study, key) for key in (*keys, "outside", "declared", "tags", "note")}


def row(member: Row) -> dict[str, Any]:
    """A trial as one study sees it."""
    return {
        "id": member.trial_id,
        "block": member.block,
        "outcome": member.outcome,
        "diverged_step": member.diverged_step,
        "pruned": asdict(member.pruned) if member.pruned else None,
        "axes": said(member.axes),
        "metrics": dict(member.metrics),
        "outside": member.outside,
        "error": member.error,
    }


def trial(record: TrialRecord) -> dict[str, Any]:
    """All that is stored about one trial except its series."""
    places = [
        {
            "study": place.study,
            "block": place.block,
            "axes": said(place.axes),
            "outside": place.outside,
            "pruned": asdict(place.pruned) if place.pruned else None,
        }
        for place in record.memberships
    ]
    keys = ("outcome", "diverged_step", "weight_hash", "error", "seconds", "version", "declared", "ended")
    return {
        "id": record.trial_id,
        "group": record.group_id,
        **{key: getattr(record, key) for key in (*keys, "tags", "note")},
        "metrics": dict(record.metrics),
        "config": record.config,
        "studies": places,
    }


def replayed(found: Replayed) -> dict[str, Any]:
    """What training a trial again said of it."""
    return {
        "trial": found.trial_id,
        "verdict": found.verdict,
        "quantity": found.quantity,
        "step": found.step,
        "why": found.why or None,
    }


def verdicts(found: Sequence[Replayed]) -> dict[str, int]:
    """How many trials came out again, did not, and could not be verified."""
    counted = Counter(each.verdict for each in found)
    return {each.lower().replace(" ", "_"): counted[each] for each in Verdict}


def audit(found: Audit) -> dict[str, Any]:
    """What an audit says; `bound` is the share of trials that would not come out again, at most."""
    return {**found.document, "verified": found.verified, "bound": found.bound, "sentence": found.sentence}


def series(named: Mapping[str, Series]) -> dict[str, Any]:
    """Series by name, each as steps and values."""
    return {name: {"steps": one.steps.tolist(), "values": one.values.tolist()} for name, one in named.items()}


def study(view: StudyView, panels: Sequence[Panel] | None = None) -> dict[str, Any]:
    """A study's answer: its panels, each with its best cell and its rows' bests; and every finding.

    panels: those that are asked about.
    """
    slopes = {each.panel: each for each in view.answers if each.kind == "coupling"}
    record = view.study
    return {
        "study": record.name,
        "question": record.question,
        "metric": record.metric,
        "hypothesis": record.hypothesis,
        "refinements": record.refinements,
        "notes": view.notes,
        "panels": [_panel(panel, slopes.get(panel.name)) for panel in panels or view.panels],
        "findings": [answer(each) for each in view.answers],
        "costs": [_cost(space.name, each) for space in view.spaces for each in space.costs],
    }


def _cost(grid: str, cost: Cost) -> dict[str, Any]:
    """What one axis of a grid of three and more costs: a factor of a loss, a difference of anything else."""
    ends = {"cost": cost.cost, "low": cost.low, "high": cost.high}
    return {
        "grid": grid,
        "key": cost.key,
        "along": list(cost.along),
        **{name: None if score is None else cost.shown(score) for name, score in ends.items()},
        "factor": cost.by_factors,
        "values": cost.values,
        "without_result": cost.dead,
    }


def _panel(panel: Panel, found: Coupling | None) -> dict[str, Any]:
    return {
        "name": panel.name,
        "block": panel.block,
        "trained": panel.trained,
        "wanted": panel.wanted,
        "expect": {"slope": panel.expect.slope, "tolerance": panel.expect.tolerance} if panel.expect else None,
        "best": _cell(panel.best) if panel.best else None,
        "sentence": found.verdict if found else None,
        "rows": [_row_fit(each) for each in (found.rows if found else ())],
    }


def _row_fit(fit: RowFit) -> dict[str, Any]:
    why = fit.reason or "inside the grid"
    ends = {"low": fit.low, "high": fit.high, "loss": fit.loss}
    return {
        "at": fit.lr,
        "best": fit.wd,
        **ends,
        "used": fit.kept,
        "weight": fit.weight,
        "bound": fit.side or None,
        "why": why,
    }


def answer(found: Answer) -> dict[str, Any]:
    """An answer: verdict and numbers; of a coupling, slope, low, high and rows beside them."""
    said = {
        "kind": found.kind,
        "panel": found.panel,
        "verdict": found.verdict,
        "label": found.label,
        "undetermined": found.undetermined,
        "diverged": found.diverged,
        "best": _place(found.best) if found.best else None,
        "numbers": [_finding(each) for each in found.findings],
    }
    return {**_slope(found), **said} if found.kind == "coupling" else said


def _slope(found: Coupling) -> dict[str, Any]:
    expect = found.expect and {"slope": found.expect.slope, "tolerance": found.expect.tolerance}
    return {
        "slope": found.slope.estimate,
        "low": found.slope.low,
        "high": found.slope.high,
        "rows_used": len(found.kept),
        "rows_dropped": found.dropped,
        "consistent": found.consistent,
        "excluded": found.excluded,
        "expect": expect,
        "as_expected": found.as_expected,
        "edge": [asdict(each) for each in found.edge],
        "lr_x_wd_at_least_1": found.flips,
        "rows": [_row_fit(each) for each in found.rows],
        "method": found.slope.method,
        "caveats": found.slope.caveats,
    }


def _place(found: Place) -> dict[str, Any]:
    return {key: value for key, value in asdict(found).items() if value is not None}


def _finding(found: Finding) -> dict[str, Any]:
    return {**asdict(found), "side": found.side or None}


def best(view: StudyView, n: int | None = None) -> dict[str, Any]:
    """The near-optimal set overall and of each block; test metrics of the overall best alone.

    Results on different data are not compared: where there are several, none is best overall. n: as many of the best
    cells too, as good or not, data by data.
    """
    overall = view.best
    measured = {name: overall.best.measuring(name) for name in overall.best.test_metrics} if overall else {}
    return {
        "study": view.study.name,
        "metric": view.study.metric,
        "direction": view.study.direction,
        **_near(overall),
        "test": {name: _estimate(cell) for name, cell in measured.items()},
        "blocks": [{"block": each.block, "dataset": each.data, **_near(each.near)} for each in view.of_blocks],
        **({} if n is None else {"ranked": [_ranked(each, n) for each in view.of_data]}),
        "notes": view.notes,
    }


def _ranked(of: Best, n: int) -> dict[str, Any]:
    near = {id(each) for each in of.near.cells} if of.near else set()
    return {"dataset": of.data, "cells": [{**_cell(each), "as_good": id(each) in near} for each in of.ranked[:n]]}


def _near(found: NearOptimal | None) -> dict[str, Any]:
    if found is None:
        return {"best": None, "near_optimal": []}
    near = [_cell(cell) for cell in found.cells]
    return {"best": near[0], "near_optimal": near, "margin": found.margin, "pooled": found.pooled, "usable": found.of}


def _estimate(cell: Cell) -> dict[str, Any]:
    low, high = cell.interval or (None, None)
    return {"n": cell.n, "mean": cell.mean, "low": low, "high": high}


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "block": cell.rows[0].block,
        "health": cell.health,
        "axes": said(cell.axes),
        **_estimate(cell),
        "diverged": cell.diverged,
        "trials": [member.trial_id for member in cell.rows],
    }


def recommendations(view: StudyView) -> dict[str, Any]:
    """What to take from a study, of each panels that can be compared; test metrics of the chosen cells alone."""
    inside = [member for member in view.rows if not member.outside]
    return {
        "study": view.study.name,
        "metric": view.study.metric,
        "direction": view.study.direction,
        "refinements": view.study.refinements,
        "trained": sum(member.has_ended for member in inside),
        "pruned": sum(member.pruned is not None for member in inside),
        "untrained": sum(member.outcome is None for member in inside),
        "recommendations": [_recommendation(each) for each in view.recommendations],
        "stuck": [
            {"panel": each.panel.name, "why": each.why, "moves": [move.document for move in each.moves]}
            for each in view.stuck
        ],
        "notes": view.notes,
    }


def _recommendation(found: Recommendation) -> dict[str, Any]:
    return {
        "dataset": found.data,
        "apart": found.apart,
        **_candidate(found.chosen),
        "test": {name: _estimate(cell) for name, cell in found.test},
        "bounds": [asdict(bound) for bound in found.bounds],
        "others": [_candidate(each) for each in found.candidates[1:]],
        "rivals": found.rivals,
        "moves": [each.document for each in found.moves],
    }


def _candidate(each: Candidate) -> dict[str, Any]:
    spans = {key: {"low": low, "high": high} for key, low, high in each.spans}
    return {"panel": each.panel.name, "behind": each.behind, "spans": spans, **_near(each.near)}


def proposal(view: StudyView, moves: Sequence[Move], seconds_a_trial: float | None) -> dict[str, Any]:
    """What refine would add; `seconds` is of one core."""
    trials = sum(len(each.members) for each in moves)
    return {
        "study": view.study.name,
        "refinements": view.study.refinements,
        "trials": trials,
        "seconds": None if seconds_a_trial is None else trials * seconds_a_trial,
        "moves": [{**each.document, "points": _points(each)} for each in moves],
        "notes": view.notes,
    }


def _points(each: Move) -> list[dict[str, Any]]:
    return [{"id": m.trial.id, "block": m.block, "axes": said(m.axes)} for m in each.members]
