"""Answers in plain text: a line a panel, the verdicts in sentences, rows with their reasons. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thalweg.runner.analysis import Answer, Coupling, Finding, RowFit, Sensitivity, Warmup
from thalweg.runner.analysis.sentences import signed
from thalweg.runner.show.numbers import figure, labels, short
from thalweg.runner.terminal.text import clean, row, table

ROOMY = 120
"""From this many columns on there is room for the best cell."""


def show_verdicts(out: Console, answers: Sequence[Answer]) -> None:
    """Print answers in full: numbers as tables, then each verdict as it can be quoted."""
    show_numbers(out, answers)
    for each in answers:
        named = f"{each.panel}: " if each.panel and len(answers) > 1 else ""
        out.print(Text(clean(f"{named}{each.verdict}")))


def show_numbers(out: Console, answers: Iterable[Answer]) -> None:
    """Print answers as tables: all couplings in one, the others one each."""
    answers = list(answers)
    slopes = [each for each in answers if isinstance(each, Coupling)]
    if slopes:
        out.print(_slopes(slopes, out.width))
    for each in answers:
        if isinstance(each, Warmup):
            show_warmup(out, each)
        elif isinstance(each, Sensitivity):
            out.print(_curves(each))


def show_rows(out: Console, answers: Iterable[Answer]) -> None:
    """Print every row of every coupling: its best decay, or why it is left out."""
    for found in answers:
        if isinstance(found, Coupling):
            slope = f"slope {interval(found.slope)}" if found.slope.estimate is not None else found.label
            out.print(Text.assemble((clean(found.panel or "the table"), "bold"), f"   {slope}"))
            out.print(_rows(found))
            out.print()


def interval(found: Finding) -> str:
    """A slope and its interval: -0.98 [-1.04, -0.92]; a dash where it is not known."""
    if found.estimate is None:
        return "—"
    ends = (
        f" [{signed(found.low).lstrip('+')}, {signed(found.high).lstrip('+')}]"
        if found.low is not None and found.high is not None
        else ""
    )
    return f"{signed(found.estimate)}{ends}"


def _slopes(answers: Sequence[Coupling], width: int) -> Table:
    expects, named = any(each.expect for each in answers), any(each.panel for each in answers)
    roomy = width >= ROOMY
    heads = ["slope of best wd against lr" if roomy else "slope [95%]", *["expect"] * expects, "lrs", "verdict"]
    made = table(*["panel"] * named, *heads, *["best loss", "at lr, wd"] * roomy, right={"best loss"})
    for column in made.columns[: 1 + named]:
        column.no_wrap = True
    for each in answers:
        slope = interval(each.slope) if each.slope.estimate is not None else "not identified"
        rows = f"{len(each.kept)}/{len(each.rows)}"
        expected = [f"{short(each.expect.slope)}±{short(each.expect.tolerance)}" if each.expect else None] * expects
        best = (
            [figure(each.best.loss), f"{short(each.best.lr)}, {short(each.best.wd or 0.0, 2)}"]
            if each.best
            else [None] * 2
        )
        label = each.label.removeprefix("not identified: ")
        row(made, *[each.panel] * named, slope, *expected, rows, label, *best * roomy)
    return made


def _rows(found: Coupling) -> Table:
    made = table("lr", "best wd", "95% interval", "loss", "", right={"lr", "best wd", "loss"})
    named = labels(each.lr for each in found.rows)
    for each in found.rows:
        style = None if each.kept else "dim"
        loss = None if each.loss is None else figure(each.loss)
        row(made, named[each.lr], decay(each), _span(each), loss, _counts(each), style=style)
    return made


def _counts(fit: RowFit) -> str:
    """What a row counts for, of one that counts in full, or why it does not."""
    if not fit.kept:
        return fit.reason
    return "used" if fit.weight > 0.995 else f"used, counts {max(round(100 * fit.weight), 1)}%"


def decay(fit: RowFit | None) -> str:
    """A row's best decay: bare where it counts, a bound with < or >, else with a question mark."""
    if fit is None or fit.wd is None:
        return ""
    return f"{fit.side or ('' if fit.kept else '?')}{short(fit.wd, 2)}"


def _span(fit: RowFit) -> str:
    return f"{short(fit.low, 2)} … {short(fit.high, 2)}" if fit.low is not None and fit.high is not None else ""


def show_warmup(out: Console, found: Warmup) -> None:
    """Print what each length of warmup allows, and what each rate needs."""
    allows = table("warmup", "spike-free lr", "trainable lr", "best loss", "LR sensitivity", right={"warmup"})
    for level in found.levels:
        numbers = [level.best, level.sensitivity]
        row(allows, short(level.warmup), bound(level.spike_free), bound(level.trainable), *map(_plain, numbers))
    spends = table("warmup", "best lr", "Σlr", "Σlr·wd", right={"warmup", "best lr", "Σlr", "Σlr·wd"})
    for level in found.levels:
        if level.spent:
            sums = (level.spent.rate, level.spent.decay)
            row(spends, short(level.warmup), short(level.spent.lr), *map(_plain, sums))
    needs = table("lr", "spike-free from warmup", "sufficient warmup", right={"lr"})
    named = labels(each.lr for each in found.needs)
    for need in found.needs:
        row(needs, named[need.lr], bound(need.spike_free), bound(need.sufficient))
    for each in (allows, needs, *([spends] if spends.row_count else [])):
        out.print(each)
        out.print()


def bound(found: Finding) -> str | None:
    """An estimate from a grid with its bracket: 0.707 (to 1); with < or > where it is a bound; None if not known."""
    if found.estimate is None:
        return None
    value = f"{found.side}{short(found.estimate)}"
    beyond = found.high if found.high is not None and found.high > found.estimate and not found.side else None
    return f"{value} (to {short(beyond)})" if beyond is not None else value


def _plain(found: Finding) -> str | None:
    if found.estimate is None:
        return None
    ends = f" [{figure(found.low)}, {figure(found.high)}]" if found.low is not None and found.high is not None else ""
    return f"{figure(found.estimate)}{ends}"


def _curves(found: Sensitivity) -> Table:
    made = table("curve", "LR sensitivity [95%]", "best loss", "at lr", "seeds", right={"best loss", "at lr", "seeds"})
    for each in found.curves:
        best = [figure(each.best.loss), short(each.best.lr)] if each.best else [None, None]
        row(made, each.name, _plain(each.sensitivity), *best, each.sensitivity.n)
    return made
