"""The verbs that hand data on: export writes trials or curves, diff what differs of two trials or studies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.tables import records, write
from thalweg.runner.store import Store

if TYPE_CHECKING:
    from thalweg.runner.facts.tidy import Columns


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg export coupling --parquet coupling.parquet")(export)
    app.command(epilog="Example: thalweg diff 3f2a 91c0, or of studies: thalweg diff coupling smoke")(diff)


@given.listing
def export(
    study: given.StudyName = None,
    curves: Annotated[
        str | None, typer.Option("--curves", metavar="NAMES", help="Curves, not trials: val/loss,… or all.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Metrics of the test split too. They never choose.")] = False,
    store: given.StorePath = None,
    *,
    output: given.Output,
) -> None:
    """Write trials or curves as a table.

    A line a trial: id, block, axes, outcome and final metrics. With --curves a line a point: trial, metric, step,
    value. The tables of thalweg.trials and thalweg.curves in Python. As CSV, unless --json or --parquet asks for more.
    """
    from thalweg.runner import page

    with Store.open(given.store_path(store)) as opened:
        record = given.study_of(opened, study)
        if record is None:
            raise UsageError("the store has no study yet", "begin with: thalweg sweep smoke")
        columns: Columns
        if curves is None:
            columns = page.trial_columns(opened, record.name, test=test)
        else:
            columns = page.curve_columns(opened, record.name, *_names(curves))
    content = {"study": record.name, "trials" if curves is None else "curves": records(columns)} if output.json else {}
    as_csv = given.Output(**{**vars(output), "csv": not (output.json or output.parquet)})
    write(columns, as_csv, content, noun="trial" if curves is None else "point", choosing=not test)


def _names(curves: str) -> list[str]:
    return [] if curves == "all" else [name.strip() for name in curves.split(",") if name.strip()]


@given.listing
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A trial's id, or a study.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    store: given.StorePath = None,
    *,
    output: given.Output,
) -> None:
    """Say what differs between two trials or studies.

    Of trials: configuration, how they were trained, outcome, metrics, and the first step where losses part. Of
    studies: trials, shared configuration, values of axes, outcomes, and the metric of the first at equal places.
    """
    from thalweg.runner import page

    with Store.open(given.store_path(store)) as opened:
        columns = page.difference(opened, given.plain_name(a), given.plain_name(b))
    content = {"a": a, "b": b, "differences": records(columns)}
    write(columns, output, content, noun="difference")
