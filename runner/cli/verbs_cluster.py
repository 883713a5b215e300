"""The verbs of jobs that train elsewhere: sweep --submit leaves, collect takes in what is done."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.runner.base.errors import StoreError, UsageError
from thalweg.runner.cli import options as given
from thalweg.runner.cli.afterwards import Following, follow
from thalweg.runner.cli.output import say
from thalweg.runner.show.numbers import count
from thalweg.runner.store import Store

if TYPE_CHECKING:
    from thalweg.runner.config import Declaration, Request
    from thalweg.runner.planning.plan import Plan
    from thalweg.runner.train.slurm import Submission

WORK_LEFT = 3
LOOK_SECONDS = 10.0
MOST_NAMED = 10
Seen = dict[int, tuple[int, int]]
"""Share -> when its store was written last, and its size."""


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg collect coupling --wait")(collect)


def submitted(request: Request, declaration: Declaration, store: str | None) -> int:
    """Take in what earlier jobs did, and submit what is missing unless jobs are still at it."""
    from thalweg.runner import page
    from thalweg.runner.planning.stopping import refuse_elsewhere
    from thalweg.runner.study.settings import SlurmLauncher
    from thalweg.runner.train import slurm

    launcher, study, path = declaration.settings.launcher, declaration.study, given.store_path(store)
    if not isinstance(launcher, SlurmLauncher):
        raise UsageError(f"--submit is for launcher=slurm; this is launcher={launcher.name}", "add launcher=slurm")
    refuse_elsewhere(study, launcher.name)
    slurm.require()
    before = slurm.remembered(path, study.name)
    if before and (states := before.states(slurm.queue())):
        say(f"{study.name}: {slurm.counted(states)} of the jobs submitted before; nothing more was submitted")
        say(f"next: {given.with_store(f'thalweg collect {shlex.quote(study.name)}', store)}")
        return WORK_LEFT
    with Store.open(path, "write") as opened:
        if before:
            _taken_in(before, path, opened, {}, {})
        made = page.plan(study, opened)
        page.record(made, opened)
    if not made.to_train:
        say(f"nothing to submit: {made.done:,} of {count(made.wanted, 'trial')} are done")
        return 0
    shares = min(launcher.jobs, made.to_train)
    flags = [*_flag("--config-dir", request.config_dir), *_flag("--config-name", request.config_name), "--yes"]
    jobs, logs = slurm.submit(launcher, shares, study.name, request.words, flags, path)
    slurm.remember(
        slurm.Submission(
            study=study.name,
            words=request.words,
            config_dir=request.config_dir,
            config_name=request.config_name,
            jobs=jobs,
            logs=str(logs),
        ),
        path,
    )
    tasks = f"job {jobs[0]}, then {jobs[1]}{f' to {jobs[-1]}' if shares > 1 else ''}"
    say(f"submitted {count(made.to_train, 'trial')} in {count(shares, 'task')}: {tasks}")
    say(f"logs: {given.shown(logs)}")
    say(f"next: {given.with_store(f'thalweg collect {shlex.quote(study.name)}', store)}")
    return 0


def collect(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="A study that was submitted.")] = None,
    store: given.StorePath = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until every job has ended.")] = False,
) -> int:
    """Take in what submitted jobs have trained.

    Those are the jobs of sweep --submit. It says what is queued, running or missing. A share is merged once its job has
    ended, whole or not; twice is once. With all of it here, the answer is shown. Leaves with 3 while something is
    missing.
    """
    from thalweg.runner.train import slurm

    slurm.require()
    path = given.store_path(store)
    found = slurm.remembered(path, study or _only(path))
    if found is None:
        known = ", ".join(slurm.studies(path)) or "none"
        raise UsageError(f"no jobs were submitted for {study}; there are: {known}", "thalweg sweep ... --submit")
    said, seen = None, Seen()
    while True:
        states = found.states(slurm.queue())
        with Store.open(path, "write") as opened:
            _taken_in(found, path, opened, states, seen)
            now = f"{found.study}: {slurm.counted(states)}{_here(opened, found.study)}"
        if states and now != said:
            say(now)
            said = now
        if not (wait and states):
            return _told(found, path, store, states)
        time.sleep(LOOK_SECONDS)


def _here(opened: Store, study: str) -> str:
    """How much of a study is there by now."""
    mine = [each for each in opened.studies() if each.name == study]
    return f"; {mine[0].done:,} of {count(mine[0].wanted, 'trial')} are here" if mine else ""


def _only(path: Path) -> str:
    """The one study that was submitted."""
    from thalweg.runner.train import slurm

    known = slurm.studies(path)
    if len(known) != 1:
        listed = f"{len(known)} studies were submitted: {', '.join(known)}" if known else "no study was submitted"
        raise UsageError(f"{listed}; collect takes one", "thalweg collect STUDY")
    return known[0]


def _taken_in(found: Submission, path: Path, opened: Store, states: dict[int, str], seen: Seen) -> None:
    """Merge the shares whose jobs have ended; one that is damaged is said, and costs the others nothing.

    seen: the shares as they were when this was done before, which have not changed since.
    """
    from thalweg.runner.train.keeper import taken_in

    for shard in found.shares:
        place = shard.store(path)
        if shard.number in states or not place.exists():
            continue
        stand = (place.stat().st_mtime_ns, place.stat().st_size)
        if seen.get(shard.number) == stand:
            continue
        seen[shard.number] = stand
        try:
            with Store.open(place) as share:
                merged = opened.merge(share)
                for line in taken_in(opened, share):
                    say(f"share {shard.number}: {line}")
        except StoreError as error:
            say(f"share {shard.number} is not merged: {error.message}; if it stays so, move that file away")
            continue
        if merged.trials:
            say(f"share {shard.number} of {shard.of}: {count(merged.trials, 'trial')} taken in")
        if merged.left:
            say(f"share {shard.number} of {shard.of}: {count(len(merged.left), 'trial')} left as they were: other bits")


def _told(found: Submission, path: Path, store: str | None, states: dict[int, str]) -> int:
    """Say what is missing, and where to look; show the answer where nothing is."""
    from thalweg.runner import page

    declaration = page.declare(*found.words, config_dir=found.config_dir, config_name=found.config_name)
    with Store.open_if_present(path) or nullcontext() as opened:
        made = page.plan(declaration.study, opened)
        if opened and not made.to_train:
            tracker, keep = declaration.settings.tracker, declaration.settings.keep
            return follow(made, None, opened, Following(tracker, found.words, store, keep=keep))
    say(f"{made.done:,} of {count(made.wanted, 'trial')} are done, {made.to_train:,} missing")
    _say_missing(found, made, states)
    if not states:
        say(f"next: {given.with_store(shlex.join(['thalweg', 'sweep', *found.words, '--submit']), store)}")
    return WORK_LEFT


def _say_missing(found: Submission, made: Plan, states: dict[int, str]) -> None:
    """Name the logs of the shares that lack trials and whose jobs have ended."""
    from thalweg.runner.planning.shard import Shard

    of = found.shares[0].of
    lacking = Counter(Shard.of_trial(trial_id, of).number for trial_id in made.ids_to_train)
    ended = [number for number in sorted(lacking) if number not in states]
    for number in ended[:MOST_NAMED]:
        say(f"share {number}: {lacking[number]:,} missing; its job has ended: {given.shown(found.log(number))}")
    if len(ended) > MOST_NAMED:
        say(f"and {len(ended) - MOST_NAMED:,} more shares like that; logs: {given.shown(Path(found.logs))}")


def _flag(name: str, value: str | None) -> list[str]:
    return [name, value] if value else []
