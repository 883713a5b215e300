"""The verbs that keep the store: store says what it holds, checks, upgrades and merges it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.runner.base.errors import StoreError, UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import emit_json, say
from thalweg.runner.show.numbers import count
from thalweg.runner.store import Store
from thalweg.runner.study.trial import SHOWN

WHAT = ("info", "check", "merge", "upgrade")


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg store merge results/thalweg.*-of-4.sqlite")(store)


def store(
    what: Annotated[str, typer.Argument(metavar="|".join(WHAT), help="What to do.")] = "info",
    others: Annotated[list[str] | None, typer.Argument(metavar="[OTHER]...", help="Stores to merge.")] = None,
    path: given.StorePath = None,
    json: given.Json = False,
) -> int:
    """Look into the store, check, merge or upgrade it.

    merge takes in trials, curves and studies of other stores, such as those of shards: each is checked first and taken
    whole or not at all; a trial that ended with other bits here is left as it is, and said. Merging twice is merging
    once. check reads everything; its exit code is 5 if something is damaged. upgrade brings an older store to this
    release's schema, keeping a copy; the next sweep would do it too.
    """
    if what not in WHAT:
        raise UsageError(f"store {what} is not known; there are {', '.join(WHAT)}", "see: thalweg store --help")
    if others and what != "merge":
        raise UsageError(f"store {what} takes no other store; got {others[0]!r}", "name it with --store PATH")
    place = given.store_path(path)
    if what == "merge":
        return _merge(place, others or [], json)
    return {"info": _info, "check": _check, "upgrade": _upgrade}[what](place, json)


def _info(path: Path, json: bool) -> int:
    from thalweg.runner.train import kept

    with Store.open(path) as opened:
        found = opened.contents()
    held, shared = (of(kept.folder_of(opened.path)) for of in (kept.files, kept.frozen))
    found |= {"kept_weights": len(held), "kept_bytes": sum(file.bytes for file in (*held, *shared))}
    if json:
        emit_json({"store": str(path.absolute()), **found})
        return 0
    for name, value in found.items():
        print(f"{name.replace('_', ' '):16}{value:,}" if isinstance(value, int) else f"{name:16}{value}")  # noqa: T201
    return 0


def _check(path: Path, json: bool) -> int:
    from thalweg.runner.train import kept

    with Store.open(path) as opened:
        faults, trials = opened.faults()
        faults += kept.faults(kept.folder_of(opened.path), opened.weight_hashes)
    if json:
        emit_json({"store": str(path.absolute()), "trials": trials, "faults": faults})
    elif not faults:
        print(f"{given.shown(path)}: sound, {count(trials, 'trial')} checked")  # noqa: T201
    for fault in [] if json else faults:
        say(fault)
    return StoreError.exit_code if faults else 0


def _upgrade(path: Path, json: bool) -> int:
    with Store.open(path) as before:
        version = before.version
    with Store.open(path, "write") as opened:
        now = opened.version
    if json:
        emit_json({"store": str(path.absolute()), "from": version, "to": now})
    elif version == now:
        print(f"{given.shown(path)}: schema version {now} is this release's")  # noqa: T201
    else:
        print(f"{given.shown(path)}: upgraded from schema version {version} to {now}; {path.name}.v{version} is a copy")  # noqa: T201
    return 0


def _merge(path: Path, others: list[str], json: bool) -> int:
    if not others:
        raise UsageError(
            "store merge needs the stores to take in", "e.g. thalweg store merge results/thalweg.1-of-4.sqlite"
        )
    from thalweg.runner.train.keeper import taken_in

    for other in others:  # one that is not there makes no store here
        Store.open(Path(other).expanduser()).close()
    said = []
    with Store.open(path, "write") as opened:
        for other in others:
            with Store.open(Path(other).expanduser()) as taken:
                merged = opened.merge(taken)
                brought = taken_in(opened, taken)
            said.append({"from": other, "trials": merged.trials, "same": merged.same, "left": list(merged.left)})
            if not json:
                print(f"{other}: {count(merged.trials, 'trial')} taken, {merged.same:,} were here")  # noqa: T201
                _say_left(other, merged.left)
            for line in brought:
                say(f"{other}: {line}")
    if json:
        emit_json({"store": str(path.absolute()), "merged": said})
    return 0


def _say_left(other: str, left: tuple[str, ...]) -> None:
    if left:
        shown = ", ".join(trial_id[:SHOWN] for trial_id in left[:4]) + (", …" if len(left) > 4 else "")
        say(f"{other}: {count(len(left), 'trial')} ended with other bits here and are left as they were: {shown}")
