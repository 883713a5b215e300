"""The answers of a whole study: its panels as tables, each asked what the study's file asks. Knows no store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from thalweg.runner.analysis.answers import Answer, Expected
from thalweg.runner.analysis.coupling_slope import coupling
from thalweg.runner.analysis.lr_sensitivity import sensitivity
from thalweg.runner.analysis.results import Floats, Results, Scale
from thalweg.runner.analysis.spent import spent
from thalweg.runner.analysis.warmup_need import SPIKE, warmup
from thalweg.runner.cells.cells import Cell, Panel, panels
from thalweg.runner.cells.health import UNTRAINED, guess_of, is_loss
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.show.numbers import is_number, labels, rate, short
from thalweg.runner.study.study import Analysis, Study

GetSeries = Callable[[str], Mapping[str, Series]]
"""Trial id -> its series by name."""
BATCH_LOSS = "train/batch_loss"
SMALLER = 4.0
"""A control that is none is asked for again at a rate so many times smaller."""
MOVED = 0.1
"""Share of its first loss by which a control's may change if it ends no better than guessing."""
SMALL = 0.1
"""A control's loss counts as at least this share of its first ones: of losses near 0, ratios are noise."""


def findings(
    rows: Iterable[Row], study: Study, series: GetSeries | None = None, known: Sequence[Panel] | None = None
) -> list[Answer]:
    """Return an answer for each question of the study and each panel that it can be asked of, in the study's order.

    `series` is asked for the losses of training where a question is about spikes or the loss at initialisation.
    known: the study's panels, where they are known already.
    """
    rows = list(rows)
    found: list[Answer] = []
    for asked in study.analyses:
        judged = study if asked.kind == "coupling" else _by_loss(study)
        cut = panels(rows, judged) if known is None or judged is not study else known
        if asked.kind == "sensitivity":
            data = _by_data(cut)
            for of in data:
                name = study.name if len(data) == 1 else ", ".join(panel.name for panel in of)
                found += [_sensitivity(asked, name, of, judged, series)] if any(map(_ended, of)) else []
        else:
            found += [answer for panel in cut if (answer := of_panel(panel, asked, judged, series))]
    return found


def _by_data(cut: Sequence[Panel]) -> list[list[Panel]]:
    """The panels, data by data: a loss on one is no reference for another."""
    together: dict[str, list[Panel]] = {}
    for panel in cut:
        together.setdefault(panel.data, []).append(panel)
    return list(together.values())


def _by_loss(study: Study) -> Study:
    """The study judged by the loss of its metric's split: what warmup buys and a rate costs are questions about it."""
    if is_loss(study.metric):
        return study
    return replace(study, metric=f"{study.metric.rpartition('/')[0]}/loss", direction="min")


def of_panel(panel: Panel, asked: Analysis, study: Study, series: GetSeries | None = None) -> Answer | None:
    """The answer to one question about one panel; None if none of its trials has what is asked about."""
    trials = [row for row in _ended(panel) if all(is_number(lookup(row.config, key)) for key in asked.keys.values())]
    if not trials:
        return None
    if asked.kind == "coupling":
        expect = Expected(panel.expect.slope, panel.expect.tolerance) if panel.expect else None
        turns = np.array([_turns(row, asked) for row in trials])
        results = replace(_results(trials, [panel], asked, study), stopped=panel.pruned)
        return coupling(results, panel=panel.name, expect=expect, turns=turns)
    results = _results(trials, [panel], asked, study)
    known = {row.trial_id: dict(series(row.trial_id)) for row in trials} if series else {}
    batch = [known.get(row.trial_id, {}).get(BATCH_LOSS) for row in trials]
    initial = np.array([_first(known.get(row.trial_id, {}), study.metric) for row in trials])
    spike, control = _spikes(results, trials, batch)
    sums = np.array([spent(row.config) for row in trials]).T
    known_sums = {"rate_sum": sums[0], "decay_sum": sums[1]}
    return warmup(replace(results, spike=spike, control=control, initial=initial, **known_sums), panel=panel.name)


def _turns(row: Row, asked: Analysis) -> bool:
    """Whether decay alone takes a weight past 0 in one step at the peak rate. Adam divides L2's share by its size."""
    lr, wd = (float(lookup(row.config, key)) for key in (asked.lr, asked.wd or ""))
    name, decay = (lookup(row.config, f"optimizer.{key}") for key in ("name", "decay"))
    if decay == "l2" and name != "sgd":
        return False
    return wd >= 1 if decay == "independent" else lr * wd >= 1


def _sensitivity(asked: Analysis, name: str, cut: Sequence[Panel], study: Study, series: GetSeries | None) -> Answer:
    named = _curves(cut, asked)
    placed = [(row, named[id(cell)]) for panel in cut for cell in panel.cells for row in _counted(cell)]
    trials = [row for row, _ in placed]
    start: dict[tuple[str, object], float] = {}  # trials of one block and seed begin with the same weights
    for row in trials if series else ():
        key = row.block, row.config.get("seed")
        if series and key not in start:
            start[key] = _first(series(row.trial_id), study.metric)
    initial = np.array([start.get((row.block, row.config.get("seed")), math.nan) for row in trials])
    results = replace(_results(trials, cut, asked, study), initial=initial)
    return sensitivity(results, [curve for _, curve in placed], panel=name)


def _curves(cut: Sequence[Panel], asked: Analysis) -> dict[int, str]:
    """Curve by id of its cells: the block and the values of all axes but the rate's, no two of them by one name."""
    cells = [cell for panel in cut for cell in panel.cells]
    keys = {key for cell in cells for key in cell.axes}
    named = {key: labels(dict.fromkeys(cell.axes[key] for cell in cells if key in cell.axes)) for key in keys}
    return {id(cell): _curve(panel, cell, asked, named) for panel in cut for cell in panel.cells}


def _curve(panel: Panel, cell: Cell, asked: Analysis, named: Mapping[str, Mapping[Any, str]]) -> str:
    others = [key for key in panel.axes if key != asked.lr and key in cell.axes]
    return ", ".join([panel.block, *(f"{key.rpartition('.')[2]} {named[key][cell.axes[key]]}" for key in others)])


def _ended(panel: Panel) -> list[Row]:
    return [row for cell in panel.cells for row in _counted(cell)]


def _counted(cell: Cell) -> list[Row]:
    """The trials of a cell that are a result: diverged, or finished with the metric measured."""
    return [row for row in cell.rows if row.outcome is Outcome.DIVERGED or _measured(row, cell.metric)]


def _measured(row: Row, metric: str) -> bool:
    return row.outcome is Outcome.FINISHED and metric in row.metrics


def _results(trials: Sequence[Row], cut: Sequence[Panel], asked: Analysis, study: Study) -> Results:
    columns: dict[str, Any] = {
        role: np.array([float(lookup(row.config, key)) for row in trials]) for role, key in asked.keys.items()
    }
    replicates = [_replicate(row, study.replicate) for row in trials]
    number = {value: at for at, value in enumerate(sorted(set(replicates), key=repr))}
    losses = [row.metrics[study.metric] if _measured(row, study.metric) else math.nan for row in trials]
    cells = [cell for panel in cut for cell in panel.cells]
    limit = {id(row): cell.limit for cell in cells for row in cell.rows}
    by_factors = all(cell.by_factors for cell in cells)
    scale: Scale = "log" if by_factors else "linear" if study.direction == "min" else "negated"
    return Results(
        **columns,
        loss=np.array(losses),
        seed=np.array([number[value] for value in replicates], np.int64),
        chance=guess_of(trials, study.metric),
        scale=scale,
        limit=np.array([limit[id(row)] for row in trials]),
        whole=True,
    )


def _replicate(row: Row, key: str | None) -> object:
    return None if key is None else row.axes.get(key, lookup(row.config, key))


def _first(named: Mapping[str, Series], metric: str) -> float:
    """The loss before the first step: of the metric if it was measured then, else of the first batch."""
    for name in (metric, BATCH_LOSS):
        one = named.get(name)
        if one is not None and len(one.steps) and one.steps[0] == 0:
            return float(one.values[0])
    return math.nan


def _spikes(results: Results, trials: Sequence[Row], batch: Sequence[Series | None]) -> tuple[Floats, str]:
    """Largest ratio over the first half of each trial's loss to its control's; inf if it diverged there.

    And what the controls are, or why none is one: then nothing is known of spikes, rather than that all spike or none.
    """
    assert results.warmup is not None
    spikes, wrong, rates = np.full(len(batch), math.nan), [], []
    for seed in np.unique(results.seed):
        members = np.flatnonzero(results.seed == seed)
        shortest = members[results.warmup[members] == results.warmup[members].min()]
        at = int(shortest[np.argmin(results.lr[shortest])])
        control = batch[at]
        if control is None:
            continue
        rates.append(f"learning rate {rate(float(results.lr[at]))}, warmup {short(float(results.warmup[at]))}")
        if why := _no_control(trials[at], control, dead=_dead(results, at)):
            wanted = rate(float(f"{float(results.lr[at]) / _times_smaller(control):.1g}"))
            wrong.append(
                f"{rates[-1]} {why}, so it is not a control of spikes: add a smaller learning rate, such as {wanted}"
            )
            continue
        for member in members:
            spikes[member] = _ratio(batch[int(member)], control)
    if not rates:
        return spikes, ""
    return spikes, wrong[0] if wrong else f"Spikes are measured against the control, {rates[0]}"


def _dead(results: Results, at: int) -> bool:
    """Whether a trial ended where a guess is, and not above it on its way."""
    loss, chance = float(results.loss[at]), results.chance
    return chance is not None and UNTRAINED * chance <= loss <= chance / UNTRAINED**5


def _no_control(row: Row, series: Series, *, dead: bool) -> str:
    """Why a trial is no control: it diverged, or its own loss, smoothed over a twentieth of the steps, rises.

    Or it came to lie where a guess is: it was driven there. Or it trains: beside a loss that falls, one that has not
    moved yet, as in a warmup, looks like a spike. One that hardly moves is a control, wherever it begins.
    """
    if row.outcome is not Outcome.FINISHED:
        return "diverged itself"
    smooth = _smooth(series)
    early = smooth[: len(series.values) // 2 - _width(series) + 1]
    if not len(early):
        return ""
    if early.max() >= SPIKE * smooth[0]:
        return "spikes itself"
    moved = abs(smooth[-1] - smooth[0]) > MOVED * smooth[0]
    if dead and moved:
        return "ends no better than guessing, though it moved"
    return "trains by itself, faster than one that warms up" if early.min() * SPIKE <= smooth[0] else ""


def _times_smaller(series: Series) -> float:
    """How many times smaller a control's rate has to be: so that in half of the steps it moves by a tenth at most.

    What a small rate moves in n steps, a rate n times smaller moves in one.
    """
    smooth, half = _smooth(series), len(series.values) // 2
    moved = np.flatnonzero(np.abs(smooth / smooth[:1] - 1) > MOVED)
    return max(SMALLER, half / max(1, int(moved[0])) if len(moved) else 0.0)


def _width(series: Series) -> int:
    return max(1, len(series.values) // 20)


def _smooth(series: Series) -> Floats:
    """The losses, each the mean of a twentieth of all."""
    width = _width(series)
    smooth: Floats = np.convolve(series.values, np.ones(width) / width, "valid")
    return smooth


def _ratio(one: Series | None, control: Series) -> float:
    if one is None:
        return math.nan
    half = len(control.values) // 2
    values, beside = one.values[:half], control.values[:half]
    if len(values) < half or not np.isfinite(values).all():
        return math.inf
    least = SMALL * float(beside[: max(1, half // 10)].mean()) if half else 0.0
    return float((values / np.maximum(beside, least)).max(initial=0.0))
