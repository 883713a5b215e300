"""The verbs that read the store: ls lists, show explains, best chooses. They compose no YAML and write nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import as_json
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import emit_json, out, say
from thalweg.runner.show.numbers import count
from thalweg.runner.terminal.text import clean, clean_lines

if TYPE_CHECKING:
    from thalweg.runner.facts.record import StudySummary, TrialRecord
    from thalweg.runner.store import Store
    from thalweg.runner.study.study import Study
    from thalweg.runner.terminal.answer import How


STUDY_KEYS = ("name", "question", "metric", "wanted", "done", "diverged", "pruned", "failed", "outside", "declared")


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(
        "ls", epilog="Example: thalweg ls 'val/loss < 0.45 and optimizer.lr > 1e-3' --study coupling --since 7d"
    )(list_)
    app.command(epilog="Example: thalweg show coupling --maps, or by a trial's id: thalweg show 3f2a")(show)
    app.command(epilog="Example: thalweg best coupling")(best)


@given.listing
def list_(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STUDY] [CONDITION]", help="A study; a condition on trials."),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", metavar="STUDY", help="The study to list.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Trials that ended since 30m, 12h, 7d, a date.")
    ] = None,
    metric: given.Metric = None,
    store: given.StorePath = None,
    *,
    output: given.Output,
) -> None:
    """List studies, the cells of one, or trials.

    Of a study: a cell is a point of the grid, with number of seeds, mean and 95% interval of the study's metric. With a
    condition, --since, or a way to print tables: trials, such as 'val/loss < 0.45 and optimizer.lr > 1e-3'. A condition
    may name axes, metrics, keys of the configuration, study, block, trial, outcome, diverged_step and rung.
    """
    from thalweg.runner.cli.list_trials import Asked, list_trials

    asked = Asked.of(words or (), study, since, metric)
    with _reading(store, asked.study) as opened:
        if asked.conditions or asked.since or (asked.study and output.is_table):
            list_trials(opened, asked, output)
        elif asked.study is None:
            if metric is not None:
                raise UsageError("--metric judges trials, and studies are listed here", f"ls STUDY --metric {metric}")
            _list_studies(opened.studies() if opened else [], output)
        elif opened is not None:
            _list_cells(opened, asked.study, metric, output.json)


def show(
    what: Annotated[str | None, typer.Argument(metavar="STUDY|TRIAL", help="A study, or a trial's id.")] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Draw the map of every panel.")] = False,
    rows: Annotated[bool, typer.Option("--rows", help="List every learning rate: used, or why not.")] = False,
    panel: given.OnlyPanels = None,
    curve: Annotated[bool, typer.Option("--curve", help="Draw a trial's curves.")] = False,
    metric: given.Metric = None,
    store: given.StorePath = None,
    json: given.Json = False,
) -> None:
    """Show the answer of a study, or one trial.

    A trial is named by the beginning of its id.
    """
    with _reading(store, what) as opened:
        if opened is None:
            _nothing(json, {"study": None, "panels": []})
            return
        if what and names_trial(opened, what):
            for option, given_it in {"panel": panel, "maps": maps, "rows": rows, "metric": metric}.items():
                if given_it:
                    raise UsageError(f"--{option} is of a study, and {what} is a trial", "leave it out")
            _show_trial(opened, opened.trial(what), json, curve)
        elif curve:
            text = f"--curve draws a trial's curves, and {what or 'that'} is a study"
            raise UsageError(text, "name a trial by the beginning of its id; ls STUDY -n 5 lists some")
        else:
            from thalweg.runner.terminal.answer import How

            how = How(tuple(panel or ()), maps=maps, each_row=rows)
            _show_study(opened, given.study_of(opened, what), metric, json, how)


def best(
    study: given.StudyName = None,
    metric: given.Metric = None,
    n: Annotated[int | None, typer.Option("-n", min=1, metavar="N", help="The N best cells, as good or not.")] = None,
    store: given.StorePath = None,
    json: given.Json = False,
) -> None:
    """Name the best cells of a study.

    Chosen on the mean over seeds of the study's metric, with all cells that are as good within the noise; with -n, the
    N best ones, and which of them are as good. Test metrics are reported once, for the chosen cell.
    """
    with _reading(store, study) as opened:
        record = given.study_of(opened, study) if opened else None
        if opened is None or record is None:
            _nothing(json, {"study": None, "best": None, "blocks": []})
            return
        from thalweg.runner import page

        view = page.view(opened, record.name, metric, ask=False)
    if json:
        emit_json(as_json.best(view, n))
        return
    from thalweg.runner.terminal.listing import show_best

    _title(record)
    show_best(out(), view, n)


@contextmanager
def _reading(store: str | None, named: str | None) -> Iterator[Store | None]:
    opened = given.open_to_read(store, named)
    try:
        yield opened
    finally:
        if opened is not None:
            opened.close()


def _nothing(json: bool, content: dict[str, Any]) -> None:
    if json:
        emit_json(content)


def _title(record: Study) -> None:
    out().print(Text(clean(f"{record.name}: {record.question}".rstrip(": ")), "bold"))


def _list_studies(studies: Sequence[StudySummary], output: given.Output) -> None:
    if output.json or output.is_table:
        from thalweg.runner.cli.tables import columns_of, write

        listed = [as_json.summary(each) for each in studies]
        write(columns_of(listed, STUDY_KEYS), output, {"studies": listed}, noun="study")
    elif studies:
        from thalweg.runner.terminal.listing import show_studies

        show_studies(out(), studies)
    else:
        say("no studies yet; begin with: thalweg sweep smoke")


def _list_cells(opened: Store, name: str, metric: str | None, json: bool) -> None:
    from thalweg.runner import page

    view = page.view(opened, name, metric, ask=False)
    record = view.study
    if json:
        content = {"study": record.name, "metric": record.metric, "direction": record.direction}
        emit_json({**content, "trials": [as_json.row(row) for row in view.rows], "notes": view.notes})
        return
    from thalweg.runner.terminal.answer import show_cells

    _title(record)
    trials = f"{view.ended:,} of {count(view.wanted, 'trial')} trained"
    out().print(Text(f"{trials}; means over {record.replicate or 'trial'}s"))
    show_cells(out(), view)
    outside = sum(row.outside for row in view.rows)
    if outside:
        say(f"{count(outside, 'trial')} not shown: an edited YAML no longer declares them (--json has them)")


def names_trial(opened: Store, word: str) -> bool:
    """Whether a word is the beginning of an id, and no study's name."""
    is_prefix = re.fullmatch(r"[0-9a-fA-F]{3,64}", word) is not None
    return is_prefix and all(each.name != word for each in opened.studies())


def _show_trial(opened: Store, trial: TrialRecord, json: bool, curve: bool) -> None:
    series = opened.series(trial.trial_id) or opened.reached_series(trial.trial_id)
    if json:
        emit_json({"trial": as_json.trial(trial), "series": as_json.series(series)})
        return
    from thalweg.runner.study.trial import NOT_CONFIGURED
    from thalweg.runner.terminal.curve import show_curves
    from thalweg.runner.terminal.listing import config_lines, outcome_line, show_metrics, show_series

    screen = out()
    screen.print(Text(f"trial {trial.trial_id}"))
    screen.print(Text(outcome_line(trial.outcome, trial.diverged_step), "bold"))
    for place in trial.memberships:
        outside = " (outside)" if place.outside else ""
        axes = [f"{key}={value}" for key, value in place.axes.items()]
        if place.pruned:
            axes.append(f"stopped early at rung {place.pruned.rung}, after {count(place.pruned.step, 'step')}")
        screen.print(Text(clean(", ".join([f"in {place.study}{outside}, block {place.block}", *axes]))))
    if trial.cohort:
        cohort = trial.cohort
        screen.print(Text(clean(f"trained by {cohort.executor}, {cohort.width} at a time, on {cohort.device}")))
    for words in (" ".join(trial.tags), trial.note):
        if words:
            screen.print(Text(clean(words)))
    if trial.weight_hash:
        screen.print(Text(f"weights {trial.weight_hash}"))
    if trial.error:
        screen.print(Text(clean_lines(trial.error)))
    if curve:
        show_curves(screen, series)
        return
    config = {key: value for key, value in trial.config.items() if key not in NOT_CONFIGURED or value}
    for line in ("", *config_lines(config), ""):
        screen.print(Text(line))
    if trial.metrics:
        show_metrics(screen, trial.metrics)
    if series:
        show_series(screen, series)


def _show_study(opened: Store, record: Study | None, metric: str | None, json: bool, how: How) -> None:
    if record is None:
        _nothing(json, {"study": None, "panels": []})
        say("no studies yet; begin with: thalweg sweep smoke")
        return
    from thalweg.runner import page

    view = page.view(opened, record.name, metric)
    if json:
        emit_json(as_json.study(view, view.chosen(how.panels)))
        return
    from thalweg.runner.terminal.answer import show_answer

    _title(record)
    (said,) = (each for each in opened.studies() if each.name == record.name)
    for words in (" ".join(said.tags), said.note):
        if words:
            out().print(Text(clean(words)))
    show_answer(out(), view, how)
