"""The verbs that let models out: weights writes what a trial ended with, once it is seen to be that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import err, out, say
from thalweg.runner.cli.verbs_check import refuse_studies, split
from thalweg.runner.store import Store

Words = Annotated[
    list[str], typer.Argument(metavar="TRIAL [KEY=VALUE]", help="A trial's id; settings such as launcher.workers=1.")
]
Unverified = Annotated[
    bool, typer.Option("--unverified", help="Even where nobody can know whether they are the stored trial's.")
]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg weights 3f2a -o model.safetensors")(weights)


def weights(
    words: Words,
    file: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="model.safetensors, or model.pt.")],
    unverified: Unverified = False,
    store: given.StorePath = None,
) -> None:
    """Write the final weights of a trial, as torch loads them.

    It is trained again, as it was, and written once weights, losses and metrics are the stored ones, to the bit. Exit
    code: 6 where they are not, 3 where that cannot be known here; then nothing is written.
    """
    from thalweg.runner import page
    from thalweg.runner.terminal.progress import SweepProgress

    ids, settings = split(words)
    if len(ids) != 1:
        raise UsageError(f"{len(ids)} trials are named; expected one", "thalweg ls STUDY --csv has their ids")
    with Store.open(given.store_path(store)) as opened:
        refuse_studies(opened, ids, "thalweg best STUDY names its best cells; thalweg ls --study STUDY its trials")
        with SweepProgress(err(), 1, "") as progress:
            made = page.weights(opened, ids[0], file, unverified=unverified, settings=settings, listener=progress)
    if made.unverified:
        say(f"NOT VERIFIED: {made.unverified}")
    tensors = len(made.weights.names)
    out().print(f"{given.shown(file)}: {tensors:,} tensors of {made.record.trial_id[:8]}", markup=False, soft_wrap=True)
