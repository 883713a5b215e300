"""Listings: studies, one trial, the near-optimal set, groups of options, checks. Draws, decides nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from thalweg.runner.cells.cells import Cell
from thalweg.runner.decide import on_validation
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.replayed import Replayed
from thalweg.runner.show.numbers import as_good, count, figure, spoken
from thalweg.runner.terminal.answer import interval, place, show_notes
from thalweg.runner.terminal.text import clean, row, table
from thalweg.runner.view import Best, StudyView

SHOWN_CELLS = 12
ROOMY = 100
"""Columns from which a date has its time."""
BARS, CURVE = "▁▂▃▄▅▆▇█", 16
"""The bars of a curve, from low to high, and how many it has at most."""


class Summary(Protocol):
    """What is read of a study's summary; the store's StudySummary fits."""

    @property
    def name(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def note(self) -> str: ...
    @property
    def wanted(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def diverged(self) -> int: ...
    @property
    def pruned(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def declared(self) -> str: ...


def show_studies(out: Console, studies: Sequence[Summary]) -> None:
    """Print the studies of a store, the last declared one first."""
    tagged = ["tags"] if any(study.tags for study in studies) else []
    noted = ["note"] if any(study.note for study in studies) else []
    stopped = ["stopped"] if any(study.pruned for study in studies) else []
    ended = ["diverged"] * any(study.diverged for study in studies) + ["failed"] * any(
        study.failed for study in studies
    )
    columns = ["study", "done", *stopped, *ended, "declared", "question", *tagged, *noted]
    made = table(*columns, right={"done", "stopped", "diverged", "failed"})
    for study in studies:
        words = [" ".join(study.tags)] * len(tagged) + [study.note] * len(noted)
        done = f"{study.done:,}/{study.wanted:,}"
        counts = [f"{study.pruned:,}" if study.pruned else ""] * len(stopped)
        there = {"diverged": study.diverged, "failed": study.failed}
        counts += [f"{there[name]:,}" if there[name] else "" for name in ended]
        when = study.declared.replace("T", " ").removesuffix("Z")[: 16 if out.width >= ROOMY else 10]
        row(made, study.name, done, *counts, when, study.question, *words)
    out.print(made)


def show_best(out: Console, view: StudyView, n: int | None = None) -> None:
    """Print the near-optimal set: of each block, and overall with the test metrics of the chosen cell alone.

    n: that many of the best cells in its place, as good or not.
    """
    study = view.study
    if not any(best.near for best in view.of_data):
        out.print(Text("no usable cell yet"))
        return
    out.print(Text(clean(f"Chosen on the mean of {study.metric} over {study.replicate or 'trial'}s.")))
    if len({panel.block for panel in view.panels}) > 1:
        made = table("block", study.metric, "95% interval", "as good", "at", right={study.metric, "as good"})
        for best in view.of_blocks:
            _add_best(made, best, view)
        out.print(made)
        out.print()
    if on_validation(study.metric) != study.metric:
        out.print(Text(clean(f"recommend decides by {on_validation(study.metric)} and may take another cell.")))
    for best in view.of_data:
        if best.near is not None:
            _show_overall(out, best, view, n)
    show_notes(out, view.notes)


def _add_best(made: Any, of: Best, view: StudyView) -> None:
    block = f"{of.block}, on {of.data}" if len(view.of_data) > 1 else of.block
    if of.near is None or of.near.best.mean is None:
        row(made, block, None, None, None, "no usable cell yet")
        return
    best = of.near.best
    as_good = f"{len(of.near.cells)} of {of.near.of}" if of.near.margin is not None else None
    row(made, block, figure(best.mean or math.nan), interval(best), as_good, _place(best, view))


def _place(cell: Cell, view: StudyView) -> str:
    return place(cell, view.owners[id(cell)], view.study)


def _show_overall(out: Console, of: Best, view: StudyView, n: int | None) -> None:
    found, study = of.near, view.study
    assert found is not None
    best, several = found.best, len({panel.block for panel in view.panels}) > 1
    on = f", on {of.data}" if len(view.of_data) > 1 else ""
    name = f" in {view.owners[id(best)].name}" if several else ""
    out.print(Text(clean(f"Best{on}: {place(best, view.owners[id(best)], view.study, spoken)}{name}"), "bold"))
    out.print(Text(f"{study.metric} {_estimate(best, study.metric)}"))
    for metric in best.test_metrics:
        out.print(Text(clean(f"{metric} {_estimate(best, metric)}  (this cell alone)")))
    if found.margin is None:
        out.print(Text("How near the others are is not known: cells have one seed each; add some, e.g. seed=0..2."))
    if n is not None:
        _show_ranked(out, of, view, n)
        return
    if found.margin is None:
        return
    pooled = f" (95%, variance pooled over {count(found.pooled, 'cell')})" if found.of > 1 else ""
    known = as_good(len(found.cells) - 1, found.of - 1)
    out.print(Text(f"{known[0].upper()}{known[1:]}{pooled}:"))
    made = table(study.metric, "95% interval", "at", *["in"] * several, right={study.metric})
    for cell in found.cells[:SHOWN_CELLS]:
        mean = figure(cell.mean, 4) if cell.mean is not None else None
        row(made, mean, interval(cell), _place(cell, view), *[view.owners[id(cell)].name] * several)
    out.print(made)
    if len(found.cells) > SHOWN_CELLS:
        out.print(Text(f"and {len(found.cells) - SHOWN_CELLS} more: --json has them all"))


def _show_ranked(out: Console, of: Best, view: StudyView, n: int) -> None:
    """Print the best cells of some panels, as good or not."""
    metric, several = view.study.metric, len({panel.block for panel in view.panels}) > 1
    near = of.near.cells if of.near and of.near.margin is not None else ()
    knows = ["as good"] if near else []
    made = table(metric, "95% interval", *knows, "at", *["in"] * several, right={metric})
    for cell in of.ranked[:n]:
        mean = figure(cell.mean, 4) if cell.mean is not None else None
        good = ["yes" if any(cell is each for each in near) else "no"] * len(knows)
        row(made, mean, interval(cell), *good, _place(cell, view), *[view.owners[id(cell)].name] * several)
    out.print(made)


def _estimate(cell: Cell, metric: str) -> str:
    """Mean and 95% t-interval of a metric over a cell's replicates."""
    measured = cell.measuring(metric)
    spread = interval(measured)
    mean = figure(measured.mean, 4) if measured.mean is not None else "—"
    return f"{mean} (95% {spread}, n={measured.n})" if spread else f"{mean} (n={measured.n})"


def outcome_line(outcome: Outcome | None, diverged_step: int | None) -> str:
    """How a trial ended, with the step at which it diverged."""
    at = "" if diverged_step is None else f" at step {diverged_step:,}"
    return f"{outcome or 'not trained yet'}{at}"


def show_metrics(out: Console, metrics: Mapping[str, float]) -> None:
    """Print final metrics, a line each."""
    made = table("metric", "final", right={"final"})
    for name, value in sorted(metrics.items()):
        row(made, name, figure(value, 5))
    out.print(made)


def show_series(out: Console, series: Mapping[str, Any]) -> None:
    """Print each series' length, ends and extremes; `series` maps names to thalweg.runner.facts.observation.Series."""
    made = table(
        "series", "points", "first", "", "last", "lowest", "highest", right={"points", "first", "lowest", "highest"}
    )
    for name, one in sorted(series.items()):
        values = [float(value) for value in one.values]
        finite = [value for value in values if math.isfinite(value)]
        ends = [figure(value) for value in (values[0], values[-1])] if values else [None, None]
        extremes = [figure(min(finite)), figure(max(finite))] if finite else [None, None]
        row(made, name, len(values), ends[0], curve(values), ends[1], *extremes)
    out.print(made)


def curve(values: Sequence[float]) -> str:
    """A series as bars: means of equal parts, by their logarithm where all are positive; × where not finite."""
    parts = min(len(values), CURVE)
    cuts = [values[i * len(values) // parts : (i + 1) * len(values) // parts] for i in range(parts)]
    means = [sum(value / len(cut) for value in cut) for cut in cuts]
    finite = [mean for mean in means if math.isfinite(mean)]
    if not finite:
        return ""
    scale = max(map(abs, finite)) or 1.0  # so that no difference is beyond a float
    heights = [math.log(mean) if min(finite) > 0 else mean / scale for mean in finite]
    low, span = min(heights), max(heights) - min(heights)
    bars = (BARS[round((len(BARS) - 1) * (each - low) / span)] if span else BARS[0] for each in heights)
    return "".join(next(bars) if math.isfinite(mean) else "×" for mean in means)


def show_replayed(out: Console, found: Sequence[Replayed]) -> None:
    """Print each trial's verdict, and why, a line each; then how many there are of each."""
    for each in found:
        why = f": {each.why}" if each.why else ""
        out.print(Text(clean(f"{each.trial_id[:8]}  {each.verdict}{why}")), soft_wrap=True)
    counts = Counter(each.verdict for each in found)
    if len(found) > 1:
        out.print(
            Text(", ".join(f"{number:,} {verdict}" for verdict, number in sorted(counts.items()))), soft_wrap=True
        )


def config_lines(config: Mapping[str, Any], indent: int = 0) -> list[str]:
    """A configuration as YAML-like lines, a key each."""
    lines = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            lines += [f"{'  ' * indent}{key}:", *config_lines(value, indent + 1)]
        else:
            said = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
            lines.append(f"{'  ' * indent}{key}: {said}")
    return [clean(line) for line in lines]
