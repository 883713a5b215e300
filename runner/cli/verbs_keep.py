"""The verbs that tend what is stored: rm and gc remove, rename, tag and note describe. All are safe beside a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import say
from thalweg.runner.show.numbers import count, size
from thalweg.runner.store import Store

if TYPE_CHECKING:
    from thalweg.runner.facts.record import Removal

What = Annotated[str, typer.Argument(metavar="STUDY|TRIAL", help="A study's name, or the beginning of a trial's id.")]
Whats = Annotated[list[str], typer.Argument(metavar="STUDY|TRIAL...", help="Studies' names, or beginnings of ids.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Kind = Literal["studies", "trials"]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg rm old-grid, or by ids: thalweg rm 3f2a 91bc")(rm)
    app.command(epilog="Example: thalweg gc")(gc)
    app.command(epilog="Example: thalweg rename adhoc-3f2a19 wide-grid")(rename)
    app.command(epilog="Example: thalweg tag coupling paper figure-2")(tag)
    app.command(epilog='Example: thalweg note coupling "the grid of figure 2"')(note)


def rm(whats: Whats, store: given.StorePath = None, yes: Yes = False) -> int:
    """Remove studies or trials from the store.

    With a study go its trials that no other study declares, and their kept weights; the others stay. It says what it
    would do, and asks.
    Reports and W&B runs that were written stay where they are.
    """
    with _opened(store) as opened:
        found = [_named(opened, what) for what in whats]
        studies = [name for kind, name in found if kind == "studies"]
        wanted = opened.removal(studies, [trial_id for kind, trial_id in found if kind == "trials"])
        return _removed(opened, wanted, yes)


def gc(store: given.StorePath = None, yes: Yes = False) -> int:
    """Remove what no study needs any more.

    That is trials that none declares, checkpoints that no sweep can use, and kept weights of no stored trial. Says how
    many and how large, and asks.
    What was removed is given back to the disk where no sweep is at work.
    """
    from thalweg.runner.train.checkpoints import folder_of, tidy

    with _opened(store) as opened:
        wanted = opened.unneeded()
        code = 0
        if wanted.trials:
            code = _removed(opened, wanted, yes)
        else:
            say("every trial is declared by a study")
        folder = folder_of(opened.path)
        if opened.is_swept():
            say("checkpoints are left alone: a sweep is at work on this store")
        elif code == 0 and folder.exists():
            before = _bytes(folder)
            tidy(folder, opened.any_untrained)
            say(f"checkpoints: {(before - _bytes(folder)) / 1e6:,.1f} of {before / 1e6:,.1f} MB removed")
        if code == 0:
            _tidy_weights(opened)
    return code


def rename(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name now.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    store: given.StorePath = None,
) -> None:
    """Give a study another name. Its trials stay what they are; a study file of the old name declares it anew."""
    from thalweg.runner.config import as_study_name

    as_study_name(name)
    with _opened(store) as opened:
        opened.rename(study, name)
    say(f"{study} is {name} now")


def tag(
    what: What,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words without spaces.")],
    off: Annotated[bool, typer.Option("--off", help="Take them off.")] = False,
    store: given.StorePath = None,
) -> None:
    """Put tags on a study or a trial, or take them off. ls and show have them."""
    for word in tags:
        if not word or any(each.isspace() or not each.isprintable() for each in word):
            raise UsageError(f"{word!r} is not a tag; expected a word without spaces", "for sentences: thalweg note")
    with _opened(store) as opened:
        kind, key = _named(opened, what)
        now = opened.tag(kind, key, tags, off=off)
    say(f"{what}: {' '.join(now) or 'no tags'}")


def note(
    what: What,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; an empty one removes it.")],
    store: given.StorePath = None,
) -> None:
    """Write a note on a study or a trial.

    It takes the place of the one before. ls and show have it.
    """
    with _opened(store) as opened:
        opened.note(*_named(opened, what), text)


def _opened(store: str | None) -> Store:
    """The store, open to write; one that is not there is not made."""
    path = given.store_path(store)
    Store.open(path).close()
    return Store.open(path, "write")


def _named(opened: Store, what: str) -> tuple[Kind, str]:
    """What a word names: a study, else a trial by the beginning of its id."""
    from thalweg.runner.cli.verbs_read import names_trial

    if names_trial(opened, what):
        return "trials", opened.trial(what.lower()).trial_id
    return "studies", opened.study(given.plain_name(what)).name


def _removed(opened: Store, wanted: Removal, yes: bool) -> int:
    """Say what would be removed, ask, and do it; 0 if it was done."""
    from thalweg.runner.terminal.removal import sentences

    for line in sentences(wanted):
        say(line)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing was removed: there is no terminal to ask on", "add --yes if that is meant")
        if not typer.confirm("Remove them?", err=True):
            say("nothing was removed")
            return 1
    opened.remove(wanted)
    _tidy_weights(opened)
    if not opened.is_swept():
        opened.compact()
    say(f"removed: {count(len(wanted.trials), 'trial')}{_and(wanted.studies)}")
    return 0


def _tidy_weights(opened: Store) -> None:
    """Remove kept weights of trials that are gone or are stored with other ones."""
    from thalweg.runner.train import kept

    if removed := kept.tidy(kept.folder_of(opened.path), opened.weight_hashes, alone=not opened.is_swept()):
        say(f"kept weights: {size(removed)} removed")


def _and(studies: Sequence[str]) -> str:
    return f" and {', '.join(studies)}" if studies else ""


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.exists() else 0
