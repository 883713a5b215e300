"""What follows training: answer, report, how it ended, the next step, export.

What is trained is stored. So each of these may fail alone: it is said in a line, and in an exit code of its own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from thalweg.runner.base.errors import StoreError, last_line, sentence_of
from thalweg.runner.cli import options as given
from thalweg.runner.cli.output import err, out, say
from thalweg.runner.facts.epochs import known_by
from thalweg.runner.show.numbers import count, duration
from thalweg.runner.study.trial import SHOWN

if TYPE_CHECKING:
    from pathlib import Path

    from thalweg.runner.planning.plan import Plan
    from thalweg.runner.store import Store
    from thalweg.runner.study.settings import Keeps, TrackerSettings
    from thalweg.runner.train.driver import SweepResult
    from thalweg.runner.view import StudyView

FAILED, UNSAID, INTERRUPTED = 3, 4, 130
"""Exit codes: trials failed; all is stored, but part of what was to be said or written of it is missing; Ctrl-C."""


class Afterwards:
    """The parts that follow one training."""

    def __init__(self) -> None:
        self.failed = False

    @contextmanager
    def part(self, what: str, *passing: type[Exception]) -> Iterator[None]:
        """Do one part; say in a line if it fails. Errors of the store, and those named, are not of the part alone."""
        try:
            yield
        except Exception as error:  # recorded: said, and in the exit code
            if isinstance(error, (StoreError, *passing)):
                raise
            self.failed = True
            if os.environ.get("THALWEG_TRACEBACK"):
                import traceback

                traceback.print_exception(error)
            say(f"no {what}: {sentence_of(error)}")

    def code(self, of_training: int) -> int:
        """The exit code: that of the training, if it says that something is wrong."""
        return of_training or (UNSAID if self.failed else 0)


@dataclass(frozen=True)
class Following:
    """How what follows training is done: where runs are exported to, the words and the store as they were typed.

    silent: nothing is printed but what happens. keep: whose weights stay.
    """

    tracker: TrackerSettings
    words: Sequence[str]
    store: str | None
    silent: bool = False
    keep: Keeps = "none"


def follow(made: Plan, result: SweepResult | None, opened: Store, how: Following) -> int:
    """Show what a study says by now, write its report, say how the sweep ended, export; return the exit code.

    What is trained is stored. So none of these ends the others: what fails is said in a line, and in the exit code.
    """
    from thalweg.runner import page

    after, name = Afterwards(), made.study.name
    view: StudyView | None = None
    with after.part("answer", OSError):  # of the terminal or file that it is printed to
        view = page.view(opened, name, ask=not how.silent)
        if not how.silent:
            _show_answer(view)
    if not how.silent:
        with after.part("report"):
            _report(opened, name, result, view)
    interrupted = result is not None and result.interrupted
    if how.keep == "best" and not interrupted:
        with after.part("pruning of kept weights"):
            _keep_best(opened, name, view)
    code = close(made, result)
    if not interrupted:
        with after.part("next step"):
            _say_next(made, result, how.store, view)
    if result and result.failed and not interrupted:
        _say_failed(made, result)
    if result and not interrupted:
        with after.part("export"):
            export(name, how.tracker, opened, how.words)
    return after.code(code)


def _show_answer(view: StudyView) -> None:
    """Print what a study says so far."""
    from thalweg.runner.terminal import answer

    answer.show_answer(out(), view)


def _report(opened: Store, name: str, result: SweepResult | None, view: StudyView | None) -> None:
    """Write the study's report if anything was trained or there is none yet, and say where it is."""
    from thalweg.runner import page
    from thalweg.runner.report import path_of

    path = path_of(name, opened.path.parent)
    if result and result.interrupted:
        return
    if result or not path.exists():
        page.report(opened, name, seen=view)
    say(f"report: {given.shown(path)}")


def _keep_best(opened: Store, name: str, view: StudyView | None) -> None:
    from thalweg.runner import page

    if gone := page.keep_best(opened, name, view):
        say(f"keep=best: weights of {count(gone, 'trial')} removed, those of the best cell stay")


def close(made: Plan, result: SweepResult | None) -> int:
    """Say how the sweep ended; return its exit code."""
    if result is None:
        return 0
    if result.interrupted:
        stored = made.done + result.finished + result.diverged + result.elsewhere
        say(f"stopped: {stored:,} of {count(made.wanted, 'trial')} are stored")
        say(f"go on: {given.as_typed()}")
        return INTERRUPTED
    ended = [f"{result.finished:,} finished", f"{result.diverged:,} diverged"]
    ended += [f"{len(made.pruned):,} stopped early"] if made.pruned else []
    ended += [f"{result.failed:,} failed"] if result.failed else []
    ended += [f"{result.untried:,} not tried"] if result.untried else []
    ended += [f"{result.left:,} left as they were"] if result.left else []
    ended += [f"{result.elsewhere:,} trained by another sweep"] if result.elsewhere else []
    memory = f", {result.peak_bytes / 2**20:,.0f} MiB a worker at most" if result.peak_bytes else ""
    say(f"{', '.join(ended)}; {duration(result.seconds)} on {result.device}{memory}")
    return FAILED if result.failed else 0


def close_shard(made: Plan, result: SweepResult | None, path: Path, store: str | None) -> int:
    """Say how the sweep of one share ended, and how it comes to the others."""
    code = close(made, result)
    if result and result.failed and not result.interrupted:
        _say_failed(made, result)
    if code != INTERRUPTED and not made.settling:
        say(f"next: {given.with_store(f'thalweg store merge {shlex.quote(given.shown(path))}', store)}")
    return code


def _say_next(made: Plan, result: SweepResult | None, store: str | None, view: StudyView | None) -> None:
    """Say what to type next."""
    from thalweg.runner.terminal.answer import A_LINE_EACH

    name = shlex.quote(made.study.name)
    rows = view.rows if view else ()
    many = view is not None and len(view.panels) >= A_LINE_EACH
    asks = any(each.kind == "coupling" for each in made.study.analyses)
    looks = [f"show {name} --rows"] * asks + [f"show {name} --maps"] * many
    verbs = [*looks, f"recommend {name}", f"refine {name}"]
    if not any(row.outcome is not None and row.outcome.is_done for row in rows):
        verbs = []  # nothing was measured
    if result and result.first_failed:
        verbs.append(f"show {result.first_failed[:SHOWN]}")
    for verb in verbs:
        say(f"next: {given.with_store(f'thalweg {verb}', store)}")


def _say_failed(made: Plan, result: SweepResult) -> None:
    message = last_line(result.first_error or "no message")
    if result.first_failed:
        first = f"the first, {_named(made, result.first_failed)}, with: {message}"
    else:
        first = f"the first with: {message}" if result.first_error else "in another sweep"
    say(f"{count(result.failed, 'trial')} failed, {first}")
    say(f"tried again by: {given.as_typed()}")


def _named(made: Plan, trial_id: str) -> str:
    """A trial by its id and its place in the study."""
    found = next((member for member in made.members if member.trial.id == trial_id), None)
    axes = known_by(found, made.study.blocks) if found else {}
    place = ", ".join(f"{key}={value}" for key, value in axes.items())
    return f"trial {trial_id[:SHOWN]} ({place})" if place else f"trial {trial_id[:SHOWN]}"


def export(name: str, settings: TrackerSettings, opened: Store, words: Sequence[str]) -> None:
    """Write W&B runs of a study, if anybody wants them, in a process that holds the command up for seconds at most."""
    if settings.name == "none":
        return
    from thalweg.runner.cli import mirror

    job = mirror.job_of(opened, name, settings, words)
    if job is None:
        say("W&B: no account here, so no runs are written; thalweg sync makes them at any time")
        return
    with err().status(Text("W&B …")) as status:
        lines = mirror.after(job, lambda what, done, total: status.update(Text(f"W&B {done:,}/{total:,} {what}")))
    for line in lines:
        say(line)
