"""What every verb's words and options have in common: their types, the store's path, the command as typed."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli.output import say
from thalweg.runner.store import Store
from thalweg.runner.store.place import place
from thalweg.runner.study.study import Study

Result = TypeVar("Result")

INFO_KINDS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY|KEY=VALUE", help="A study's name, and overrides in Hydra's grammar."),
]
StudyName = Annotated[str | None, typer.Argument(metavar="STUDY", help="A study's name; else the last one swept.")]
StorePath = Annotated[
    str | None,
    typer.Option("--store", metavar="PATH", help="The store [THALWEG_STORE; thalweg.yaml; results/thalweg.sqlite]."),
]
Metric = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME", help="Judge by another metric than the study's, such as val/accuracy."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ConfigDir = Annotated[
    str | None, typer.Option("--config-dir", "-cd", metavar="DIR", help="A folder with more groups and options.")
]
ConfigName = Annotated[
    str | None, typer.Option("--config-name", "-cn", metavar="NAME", help="Another top-level config.")
]
Cfg = Annotated[
    str | None, typer.Option("--cfg", "-c", metavar="job", help="Print the composed configuration and exit.")
]
Resolve = Annotated[bool, typer.Option("--resolve", help="With --cfg: resolve interpolations.")]
OnlyPanels = Annotated[
    list[str] | None, typer.Option("--panel", metavar="NAME", help="Only this panel; may be given several times.")
]
Info = Annotated[
    str | None, typer.Option("--info", metavar="[KIND]", help="Print where the configuration comes from and exit.")
]
Multirun = Annotated[bool, typer.Option("--multirun", "-m", hidden=True, help="Accepted and ignored.")]
RerunChanged = Annotated[
    bool,
    typer.Option("--rerun-changed", help="Train again, beside the old ones, trials that your earlier code trained."),
]
InitFrom = Annotated[
    str | None,
    typer.Option("--init-from", metavar="TRIAL|FILE", help="Start from these weights; the same as init.weights=."),
]
Log = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="Append what happens to a file, a JSON object a line.")
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed/--no-retry-failed",
        help="Whether trials that failed before are tried again [yes].",
        show_default=False,
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="End at the first trial that fails.")]
MaxFailures = Annotated[
    int | None, typer.Option("--max-failures", metavar="N", min=1, help="End once N trials have failed.")
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="i/n", help="One of n shares of what is missing, in a store of its own."),
]
Probe = Annotated[
    bool | None,
    typer.Option(
        "--probe/--no-probe",
        help="Build each model in a separate process, say what is wrong, and time it [default: yours, not timed].",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be trained, as thalweg plan does.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to more than 10,000 trials.")]


@dataclass(frozen=True)
class Output:
    """How a listing is to be printed: as what, which lines and columns of it, and in which order."""

    csv: bool = False
    json: bool = False
    parquet: Path | None = None
    n: int | None = None
    sort: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether lines and columns are asked for, not what a verb shows by itself."""
        return self != Output(json=self.json)


_OUTPUT = {
    "csv": Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")],
    "json": Annotated[bool, typer.Option("--json", help="Print one JSON object.")],
    "parquet": Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write the table to a Parquet file.")
    ],
    "n": Annotated[int | None, typer.Option("-n", min=1, metavar="N", help="At most N lines.", show_default=False)],
    "sort": Annotated[
        str | None, typer.Option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN: the largest first.")
    ],
    "columns": Annotated[str | None, typer.Option("--columns", metavar="A,B,…", help="Only these columns.")],
}


def listing(verb: Callable[..., Result]) -> Callable[..., Result]:
    """Give a verb whose last parameter is `output` the options that all listings have in its place."""
    signature = inspect.signature(verb, eval_str=True)
    kept = [each for name, each in signature.parameters.items() if name != "output"]
    where = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [
        inspect.Parameter(name, where, default=False if name in ("csv", "json") else None, annotation=annotation)
        for name, annotation in _OUTPUT.items()
    ]

    @wraps(verb)
    def taken(**words: Any) -> Result:
        return verb(**{key: value for key, value in words.items() if key not in _OUTPUT}, output=_output(words))

    taken.__signature__ = signature.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
    taken.__annotations__ = {each.name: each.annotation for each in (*kept, *options)}
    return taken


def _output(words: Mapping[str, Any]) -> Output:
    asked = {name: words[name] for name in _OUTPUT}
    forms = [f"--{name}" for name in ("csv", "json", "parquet") if asked[name]]
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(forms)} are two forms of output", "ask for one")
    names = tuple(name for word in (asked["columns"] or "").split(",") if (name := word.strip()))
    if asked["columns"] is not None and not names:
        raise UsageError("--columns names no column", "such as: --columns trial,val/loss")
    return Output(**{**asked, "columns": names})


def store_path(given: str | None) -> Path:
    """Return where the store is: as given, else THALWEG_STORE, else thalweg.yaml, else under the current folder."""
    return place(given)


def open_to_read(given: str | None, named: object = None) -> Store | None:
    """Open the store to read; where there is none, say on stderr where it was looked for and return None.

    named: what was asked for by name; without a store there is no such thing, which is an error.
    """
    path = store_path(given)
    store = Store.open(path) if named else Store.open_if_present(path)
    if store is None:
        say(f"no store at {path.absolute()}")
        return None
    for warning in store.warnings:
        say(warning)
    return store


def study_of(store: Store, name: str | None) -> Study | None:
    """Return a study of the store, the last declared one if no name is given; None if there are none at all.

    Raises UsageError, naming the nearest, for a name that the store does not know.
    """
    if name is None:
        studies = store.studies()
        return store.study(studies[0].name) if studies else None
    return store.study(plain_name(name))


def plain_name(word: str) -> str:
    """Return NAME of NAME or study=NAME. Raises UsageError for an override, which reading verbs do not take."""
    key, equals, value = word.partition("=")
    if not equals:
        return word
    if key == "study":
        return value
    raise UsageError(f"{word} is an override; this verb reads the store and takes a study's name", "see: thalweg ls")


def take_info(arguments: Sequence[str]) -> list[str]:
    """Give a bare --info its value, as Hydra has it: `--info` means all, `--info defaults` the defaults."""
    taken: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--info":
            word = f"--info={rest.pop(0) if rest and rest[0] in INFO_KINDS else 'all'}"
        taken.append(word)
    return taken


def shown(path: Path) -> str:
    """Return a path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def as_typed() -> str:
    """The command as it was typed, to be typed again."""
    return shlex.join(["thalweg", *sys.argv[1:]])


def with_store(command: str, given: str | None) -> str:
    """A command to type next, with the store that this one was given."""
    return f"{command} --store {shlex.quote(given)}" if given else command
