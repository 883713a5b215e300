"""The verbs that decide: recommend says what to take from a study, refine adds the few trials that tell most."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import as_json, verbs_train
from thalweg.runner.cli import options as given
from thalweg.runner.cli.afterwards import Afterwards, Following, follow
from thalweg.runner.cli.output import emit_json, out, say
from thalweg.runner.store import Store
from thalweg.runner.study.study import Study
from thalweg.runner.terminal.text import clean

if TYPE_CHECKING:
    from thalweg.runner.cells.cells import Panel
    from thalweg.runner.decide import Kind, Move, Recommendation, Stuck
    from thalweg.runner.study.settings import Settings
    from thalweg.runner.view import StudyView

RefineWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY|KEY=VALUE", help="A study's name, and settings such as launcher.workers=2."),
]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg recommend coupling")(recommend)
    app.command(epilog="Example: thalweg refine coupling --moves widen,seeds")(refine)


def recommend(
    study: given.StudyName = None,
    metric: given.Metric = None,
    store: given.StorePath = None,
    json: given.Json = False,
) -> None:
    """Say what to take from a study, and how sure that is.

    The cells that are as good as the best, the largest safe rate, the smallest sufficient warmup, and the few
    trials that would make the choice surer. Chosen on validation; test metrics once, for the chosen cell.
    """
    opened = given.open_to_read(store, study)
    with opened or nullcontext():
        record = given.study_of(opened, study) if opened else None
        if opened is None or record is None:
            if json:
                emit_json({"study": None, "recommendations": []})
            return
        from thalweg.runner import page

        view = page.view(opened, record.name, metric, ask=False, validation=True)
    if json:
        emit_json(as_json.recommendations(view))
        return
    from thalweg.runner.terminal.decision import show_recommendations

    _title(record)
    show_recommendations(out(), view)
    then = _next(record.name, view.recommendations, view.stuck) if view.ended else f"thalweg sweep {record.name}"
    say(f"next: {given.with_store(then, store)}")


def refine(
    words: RefineWords = None,
    moves: Annotated[
        str, typer.Option("--moves", metavar="KINDS", help="Only these, of widen,halve,seeds.")
    ] = "widen,halve,seeds",
    panel: given.OnlyPanels = None,
    store: given.StorePath = None,
    json: given.Json = False,
    config_dir: given.ConfigDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Train what is proposed, without asking.")] = False,
    log: given.Log = None,
) -> int:
    """Add the few trials that tell most.

    Three moves: widen an axis, add values between two that lie far apart, add seeds.

    Shows them as a plan first; trains them with --yes, or when asked on a terminal. Looking at results and adding
    trials makes later intervals adaptive: how often that was done is kept and shown.
    """
    asked, path = _Asked(_kinds(moves), tuple(panel or ())), given.store_path(store)
    name, settings_words = _sorted(words)
    opened = given.open_to_read(store, name)
    with opened or nullcontext():
        record = given.study_of(opened, name) if opened else None
        if opened is None or record is None:
            if json:
                emit_json({"study": name, "moves": []})
            return 0
        proposal = _propose(opened, record, asked)
    if json and not yes:
        emit_json(as_json.proposal(proposal.view, proposal.moves, proposal.seconds))
        return 0
    _show(proposal, json)
    if not proposal.moves or not (yes or _agreed()):
        if proposal.moves:
            say(f"train them: {given.as_typed()} --yes")
        return 0
    settings = _settings(record.name, settings_words, config_dir)
    return _train(path, proposal, asked, settings, settings_words, store, log, json)


@dataclass(frozen=True)
class _Asked:
    """Which moves, and of which panels; all of them where none is named."""

    kinds: Sequence[Kind]
    panels: Sequence[str]


@dataclass(frozen=True)
class _Proposal:
    """What would be added to a study as it is stored."""

    view: StudyView
    moves: Sequence[Move]
    lost: Sequence[Stuck]
    seconds: float | None
    why_none: str

    @property
    def adds(self) -> bool:
        """Whether trials are new, rather than declared before and not trained yet."""
        return any(move.kind != "finish" for move in self.moves)


def _propose(opened: Store, record: Study, asked: _Asked) -> _Proposal:
    from thalweg.runner import decide, page

    view = page.view(opened, record.name, ask=False, validation=True)
    if not view.ended:
        raise UsageError(f"nothing of {record.name} is trained yet", f"first: thalweg sweep {record.name}")
    _refuse_on_its_way(view)
    chosen = view.chosen(asked.panels)
    found = [view.unfinished] if view.unfinished else decide.moves(chosen, view.study, asked.kinds)
    lost = [each for each in view.stuck if each.panel in chosen]
    why_none = "" if found else _why_none(chosen, view.study, asked.kinds)
    return _Proposal(view, found, lost, opened.seconds_a_trial(record.name), why_none)


def _refuse_on_its_way(view: StudyView) -> None:
    """Raise UsageError where a study's rule does not know yet who of its trials stops.

    Not once it was refined: what a refinement that was killed had added is under no rule, and finished here.
    """
    name = view.study.name
    if view.study.stop and not view.study.refinements and view.unfinished:
        text = f"{name} stops trials early, and of {view.unfinished.what} it is not known yet who goes on"
        raise UsageError(text, f"first: thalweg sweep {name}")


def _why_none(chosen: Sequence[Panel], study: Study, kinds: Sequence[Kind]) -> str:
    """Why there is nothing to add: the moves that were asked for are not those that would tell more, or none would."""
    from thalweg.runner import decide

    others = dict.fromkeys(move.kind for move in decide.moves(chosen, study) if move.kind not in kinds)
    if others:
        return f"--moves leaves out {' and '.join(others)}, which would tell more"
    return decide.nothing_more(chosen, study)


def _show(proposal: _Proposal, json: bool) -> None:
    """Print the plan; on stderr, in one line, where stdout is for JSON."""
    from thalweg.runner.terminal.answer import show_notes
    from thalweg.runner.terminal.decision import cost, show_moves, show_stuck

    record, total = proposal.view.study, cost(proposal.moves, proposal.seconds)
    if json:
        say(f"refine {record.name}: {total}")
        return
    _title(record)
    if proposal.moves:
        show_moves(out(), proposal.moves)
        out().print(Text(f"{total} in all."))
    else:
        show_stuck(out(), proposal.lost)
        out().print(Text("Nothing to add" + (f": {proposal.why_none}." if proposal.why_none else ".")))
    show_notes(out(), proposal.view.notes)
    if proposal.adds and not record.refinements:
        out().print(Text("Trials added after a look at the results make intervals somewhat too narrow."))


def _train(
    path: Path,
    proposal: _Proposal,
    asked: _Asked,
    settings: Settings,
    words: Sequence[str],
    store: str | None,
    log: Path | None,
    json: bool,
) -> int:
    """Declare what was shown and train it, whole or not at all: a killed refinement is finished by the next."""
    from thalweg.runner import page
    from thalweg.runner.train.driver import backend_of

    with verbs_train.open_pool(log) as pool:
        backend = backend_of(settings, pool)
        with verbs_train.open_to_write(path) as opened:
            record = opened.study(proposal.view.study.name)
            now = _propose(opened, record, asked)
            if _ids(now.moves) != _ids(proposal.moves):
                raise UsageError(f"{record.name} changed while the plan was shown", "look again: thalweg refine")
            made = page.refine(record, now.moves, opened)
            result = verbs_train.train_missing(made, opened, settings, backend, verbs_train.Wanted(words=words))
            how = Following(settings.tracker, words, store, silent=json, keep=settings.keep)
            code = follow(made, result, opened, how)
            if not json:
                return code
            after = Afterwards()
            with after.part("proposal"):
                then = _propose(opened, opened.study(record.name), asked)
                emit_json(as_json.proposal(then.view, then.moves, then.seconds))
    return after.code(code)


def _ids(moves: Sequence[Move]) -> list[str]:
    return [member.trial.id for move in moves for member in move.members]


def _kinds(text: str) -> list[Kind]:
    from thalweg.runner.decide import KINDS

    asked = [word.strip() for word in text.split(",") if word.strip()]
    if wrong := [word for word in asked if word not in KINDS] or ([text] if not asked else []):
        raise UsageError(f"--moves {wrong[0]} is not known", f"expected some of {','.join(KINDS)}")
    return [kind for kind in KINDS if kind in asked]


def _sorted(words: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Split words into the study's name and settings; what would change a trial is refused."""
    from thalweg.runner.study.keys import is_setting

    names = [word for word in words or () if "=" not in word or word.startswith("study=")]
    settings = [word for word in words or () if word not in names]
    for word in settings:
        key = word.partition("=")[0].lstrip("+~")
        if not is_setting(key):
            hint = "refine adds to what a study declares; to add other trials: thalweg sweep STUDY KEY=VALUES"
            raise UsageError(f"{word} is not a setting of how trials are run", hint)
    if len(names) > 1:
        raise UsageError(f"two studies are named, {names[0]!r} and {names[1]!r}", "refine one at a time")
    return (given.plain_name(names[0]) if names else None), settings


def _settings(name: str, words: Sequence[str], config_dir: str | None) -> Settings:
    """How trials are run: as the study's file says where there is one, and as typed."""
    from thalweg.runner import config

    known = {option for option, _ in config.groups(config_dir).get("study", [])}
    request = config.Request((*([name] if name in known else []), *words), config_dir)
    return config.declare(request).settings


def _agreed() -> bool:
    """Ask on a terminal; elsewhere the answer is no."""
    return sys.stdin.isatty() and sys.stdout.isatty() and typer.confirm("Train them?", err=True)


def _next(name: str, found: Sequence[Recommendation], lost: Sequence[Stuck]) -> str:
    """The command that shows, and then trains, what was proposed."""
    wanted = [each.chosen.panel.name for each in found if each.moves]
    wanted += [each.panel.name for each in lost if each.moves]
    if not wanted:
        return f"thalweg show {name}"
    several = sum(len(each.candidates) for each in found) + len(lost) > 1
    panels = [word for panel in wanted for word in ("--panel", panel)] if several else []
    return shlex.join(["thalweg", "refine", name, *panels])


def _title(record: Study) -> None:
    out().print(Text(clean(f"{record.name}: {record.question}".rstrip(": ")), "bold"))
