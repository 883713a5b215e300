"""The verb analyze: a question put to a stored study, or to a table of the user's own. It writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.base.regular import open_regular
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import emit_json, out

if TYPE_CHECKING:
    from thalweg.runner.analysis import Answer
    from thalweg.runner.view import StudyView

NEEDS = {"coupling": ("lr", "wd", "loss"), "warmup": ("lr", "warmup", "loss"), "sensitivity": ("lr", "loss")}
"""Question -> the columns it cannot do without."""
MAY = {
    "coupling": ("seed", "panel"),
    "warmup": ("seed", "panel", "spike", "initial"),
    "sensitivity": ("seed", "panel", "curve", "initial"),
}


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command(epilog="Example: thalweg analyze coupling --table runs.csv --lr lr --wd weight_decay --loss val_loss")(
        analyze
    )


def column(name: str, help: str) -> object:
    """An option that names a column of the table."""
    return typer.Option(f"--{name}", metavar="COL", help=help)


def analyze(
    what: Annotated[
        str, typer.Argument(metavar="QUESTION|STUDY", help="coupling, warmup or sensitivity; or a stored study.")
    ],
    table: Annotated[Path | None, typer.Option("--table", metavar="FILE", help="A CSV file, one line a trial.")] = None,
    lr: Annotated[str, column("lr", "Column of the learning rate.")] = "lr",
    wd: Annotated[str, column("wd", "Column of the weight decay (coupling).")] = "wd",
    warmup: Annotated[str, column("warmup", "Column of the warmup in steps (warmup).")] = "warmup",
    loss: Annotated[str, column("loss", "Column of the final loss; nan, inf or empty: diverged.")] = "loss",
    seed: Annotated[str | None, column("seed", "Column of the seed; else repeated settings are replicates.")] = None,
    panel: Annotated[str | None, column("panel", "Column that tells grids apart.")] = None,
    curve: Annotated[str | None, column("curve", "Column that tells curves apart (sensitivity).")] = None,
    initial: Annotated[str | None, column("initial", "Column of the loss before the first step.")] = None,
    spike: Annotated[str | None, column("spike", "Column of the largest loss over the control's (warmup).")] = None,
    classes: Annotated[
        int | None,
        typer.Option("--classes", min=2, metavar="N", help="Classes: a loss of 4·ln N or more is unhealthy."),
    ] = None,
    maximize: Annotated[
        bool, typer.Option("--maximize", help="Larger values of the loss column are better (coupling).")
    ] = False,
    store: given.StorePath = None,
    json: given.Json = False,
) -> None:
    """Answer a question from a table of yours.

    Or the questions of a stored study. How the best weight decay moves with the rate (coupling), what warmup buys
    (warmup), how much the choice of the rate matters (sensitivity): estimates with intervals, a verdict in words,
    what was left out and why.
    """
    notes: Sequence[str] = ()
    answers: Sequence[Answer]
    if table is None:
        view = _of_study(what, store)
        answers, notes = view.answers, view.notes
    else:
        names = {"lr": lr, "wd": wd, "warmup": warmup, "loss": loss, "seed": seed, "panel": panel, "curve": curve}
        answers = _of_table(what, table, {**names, "initial": initial, "spike": spike}, classes, maximize)
    if json:
        from thalweg.runner.cli.as_json import answer as as_dict

        emit_json({"question": what, "findings": [as_dict(each) for each in answers], "notes": notes})
        return
    from thalweg.runner.terminal.answer import show_notes
    from thalweg.runner.terminal.verdict import show_verdicts

    show_verdicts(out(), answers)
    show_notes(out(), notes)


def _of_study(name: str, store: str | None) -> StudyView:
    from thalweg.runner import page

    opened = given.open_to_read(store)
    if opened is None:
        raise UsageError(f"there is no store, so no study {name!r}", "for a table of yours: --table FILE")
    try:
        record = opened.study(given.plain_name(name))
        if not record.analyses:
            raise UsageError(
                f"the study {record.name!r} has no analysis to show", "add analysis: {coupling: …} to its file"
            )
        return page.view(opened, record.name)
    finally:
        opened.close()


def _of_table(
    question: str, path: Path, names: dict[str, str | None], classes: int | None, maximize: bool
) -> Sequence[Answer]:
    from thalweg.runner.analysis import coupling, sensitivity, warmup
    from thalweg.runner.analysis.csv_table import read

    if question not in NEEDS:
        raise UsageError(f"{question!r} is not a question; expected {', '.join(NEEDS)}", "see: thalweg analyze --help")
    if maximize and question != "coupling":
        raise UsageError(
            f"--maximize is for coupling: {question} asks about a loss", "name a column of losses: --loss COL"
        )
    wanted = {role: names[role] for role in (*NEEDS[question], *MAY[question])}
    columns = {role: name for role, name in wanted.items() if name is not None}
    parts = read(_text(path), columns, classes=classes, maximize=maximize)
    if question == "coupling":
        return [coupling(part.results, panel=part.name) for part in parts]
    if question == "warmup":
        return [warmup(part.results, panel=part.name) for part in parts]
    return [sensitivity(part.results, part.curve, panel=part.name) for part in parts]


def _text(path: Path) -> str:
    try:
        with open_regular(path) as opened:
            return opened.read().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8", "save it as CSV UTF-8") from None
