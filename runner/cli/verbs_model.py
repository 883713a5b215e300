"""The verbs that let models out: weights writes what a trial ended with, predict asks its model about a file."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import err, out, say, write_csv
from thalweg.runner.cli.verbs_check import refuse_studies, split
from thalweg.runner.show.numbers import count
from thalweg.runner.store import Store

if TYPE_CHECKING:
    from thalweg.runner.replay.predict import Predicted

Words = Annotated[
    list[str], typer.Argument(metavar="TRIAL [KEY=VALUE]", help="A trial's id; settings such as launcher.workers=1.")
]
Asked = Annotated[
    list[str],
    typer.Argument(metavar="TRIAL FILE [KEY=VALUE]", help="A trial's id, a file, settings such as launcher.workers=1."),
]
Unverified = Annotated[
    bool, typer.Option("--unverified", help="Write them even if it cannot be checked that they are the stored trial's.")
]

NAMES = "thalweg best STUDY names its best cells; thalweg ls --study STUDY its trials"


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg weights 3f2a -o model.safetensors")(weights)
    app.command(epilog="Example: thalweg predict 3f2a new.csv -o predicted.csv")(predict)


def weights(
    words: Words,
    file: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="model.safetensors, or model.pt.")],
    unverified: Unverified = False,
    store: given.StorePath = None,
) -> None:
    """Write the final weights of a trial, as torch loads them.

    Those that a sweep with keep=all or keep=best kept, if they have the stored hash. Else it is trained again, as it
    was, and written once weights, losses and metrics are the stored ones, to the bit. Exit code: 6 where they are not,
    3 where that cannot be known here; then nothing is written.
    """
    from thalweg.runner import page
    from thalweg.runner.terminal.progress import SweepProgress

    ids, settings = split(words)
    if len(ids) != 1:
        raise UsageError(f"{len(ids)} trials are named; expected one", "thalweg ls STUDY --csv has their ids")
    with Store.open(given.store_path(store)) as opened:
        refuse_studies(opened, ids, NAMES)
        with SweepProgress(err(), 1, "") as progress:
            made = page.weights(opened, ids[0], file, unverified=unverified, settings=settings, listener=progress)
    for line in made.said:
        say(line)
    if made.unverified:
        say(f"NOT VERIFIED: {made.unverified}")
    tensors = len(made.weights.names)
    out().print(f"{given.shown(file)}: {tensors:,} tensors of {made.record.trial_id[:8]}", markup=False, soft_wrap=True)


def predict(
    words: Asked,
    file: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="FILE.csv or FILE.npz, not standard output.")
    ] = None,
    unverified: Unverified = False,
    store: given.StorePath = None,
) -> None:
    """Predict what the examples of a file are, by a trial's model.

    The model's weights are the kept ones, or trained again, and checked, as by weights. The file is a table with the
    columns of the one that trained, .npz with an array x, or a text; it is made ready as that was. Classes come with
    their probabilities, values in the file's own units, a text's characters with their losses.
    """
    from thalweg.runner import page
    from thalweg.runner.terminal.progress import SweepProgress

    names, settings = split(words)
    if len(names) != 2:
        raise UsageError(
            f"{count(len(names), 'name')} given; expected a trial and a file", "thalweg predict 3f2a new.csv"
        )
    if file and file.suffix not in (".csv", ".npz"):
        raise UsageError(f"{file} has the ending {file.suffix!r}; expected .csv or .npz")
    with Store.open(given.store_path(store)) as opened:
        refuse_studies(opened, names[:1], NAMES)
        with SweepProgress(err(), 1, "") as progress:
            made = page.predict(opened, names[0], names[1], unverified=unverified, settings=settings, listener=progress)
    for line in made.note.splitlines():
        say(line)
    if file is None:
        write_csv(made.columns)
        return
    _put(made, file)
    out().print(f"{given.shown(file)}: {len(made.outputs):,} examples", markup=False, soft_wrap=True)


def _put(made: Predicted, file: Path) -> None:
    """Write predictions, whole or not at all."""
    from thalweg.runner.base.whole import write_whole

    try:
        write_whole(file, _npz(made) if file.suffix == ".npz" else _csv(made))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}", "name another file") from None


def _npz(made: Predicted) -> bytes:
    import numpy as np

    content = BytesIO()
    np.savez(content, **made.arrays)  # type: ignore[arg-type]
    return content.getvalue()


def _csv(made: Predicted) -> bytes:
    content = StringIO()
    write_csv(made.columns, content)
    return content.getvalue().encode()
