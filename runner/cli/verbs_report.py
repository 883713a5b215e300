"""The verb that writes a study down as one file for people: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import say
from thalweg.runner.store import Store


def register(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command(epilog="Example: thalweg report coupling --open")(report)


def report(
    study: given.StudyName = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="The file to write [STUDY.html beside the store].")
    ] = None,
    metric: given.Metric = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    store: given.StorePath = None,
) -> None:
    """Write a study as one HTML file.

    The answer, maps, loss curves, trials and how to reproduce them. It needs no network and opens in any browser.
    """
    from thalweg.runner import page

    with Store.open(given.store_path(store)) as opened:
        for warning in opened.warnings:
            say(warning)
        record = given.study_of(opened, study)
        if record is None:
            raise UsageError("the store has no study yet", "begin with: thalweg sweep smoke")
        path = page.report(opened, record.name, Path(out).expanduser() if out else None, metric)
    print(given.shown(path))  # noqa: T201
    if open_:
        import webbrowser

        if not webbrowser.open(path.absolute().as_uri()):
            say("no browser was found; open the file yourself")
