"""The verbs that declare trials: plan says what a sweep would train, sweep trains it, run trains one trial."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from thalweg.runner.base.errors import UsageError, last_line
from thalweg.runner.base.version import __version__
from thalweg.runner.cli import as_json
from thalweg.runner.cli import options as given
from thalweg.runner.cli.afterwards import FAILED, Afterwards, Following, close, close_shard, export, follow
from thalweg.runner.cli.output import emit_json, err, out, say
from thalweg.runner.project.project import here
from thalweg.runner.show.numbers import count
from thalweg.runner.store import Store
from thalweg.runner.terminal.text import clean

if TYPE_CHECKING:
    from thalweg.runner.config import Declaration, Request
    from thalweg.runner.facts.remark import Remark
    from thalweg.runner.planning.plan import Cost, Plan
    from thalweg.runner.study.settings import Keeps, Settings
    from thalweg.runner.study.study import Block
    from thalweg.runner.train.driver import Backend, SweepResult
    from thalweg.runner.train.pool import Pool

Ready = tuple["Declaration", "Backend", "Store"]
WORK_LEFT = 3


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command(epilog="Example: thalweg plan coupling optimizer.lr=1/256..16:x2")(plan)
    app.command(epilog="Example: thalweg sweep optimizer=sgd optimizer.lr=1/64..1:x4 seed=0..2")(sweep)
    app.command(epilog="Example: thalweg run optimizer=sgd optimizer.lr=0.1")(run)


def plan(
    words: given.Words = None,
    store: given.StorePath = None,
    json: given.Json = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with code 3 if there is work left.")] = False,
    config_dir: given.ConfigDir = None,
    config_name: given.ConfigName = None,
    cfg: given.Cfg = None,
    resolve: given.Resolve = False,
    info: given.Info = None,
    multirun: given.Multirun = False,
    yes: given.Yes = False,
    probe: given.Probe = None,
    shard: given.Shard = None,
    retry_failed: given.RetryFailed = True,
    init_from: given.InitFrom = None,
) -> int:
    """Say what a sweep would train.

    What is wanted, what is done and what is missing, and what is wrong with models of your own. Nothing is trained or
    written.
    """
    from thalweg.runner.terminal.plan import probed_lines

    request = _request(_begun(_about_a_study(words or ()), init_from), config_dir, config_name)
    if _shown(request, cfg, resolve, info):
        return 0
    path = _place(store, shard)
    declaration = _declared(request, path, yes)
    with Store.open_if_present(path) or nullcontext() as opened:
        made = _planned(declaration, opened, Wanted(shard, store, retry=retry_failed))
        keeping = _keeping(made, opened, declaration.settings.keep, count=probe is not False)
    remarks = _rehearsed(made, probe)
    cost, said = _timed(made, declaration, remarks) if probe else (None, [])
    if json:
        timed = {"probe": {"cost": asdict(cost) if cost else None, "said": said}} if probe else {}
        emit_json({**as_json.plan(made, path, remarks, keeping), **timed})
    else:
        _show_plan(made, remarks, keeping)
        for line in probed_lines(made, cost, said):
            say(line)
    if any(remark.wrong for remark in remarks):
        return UsageError.exit_code
    return WORK_LEFT if exit_code and made.to_train else 0


def sweep(
    words: given.Words = None,
    store: given.StorePath = None,
    config_dir: given.ConfigDir = None,
    config_name: given.ConfigName = None,
    cfg: given.Cfg = None,
    resolve: given.Resolve = False,
    info: given.Info = None,
    multirun: given.Multirun = False,
    yes: given.Yes = False,
    rerun_changed: given.RerunChanged = False,
    log: given.Log = None,
    shard: given.Shard = None,
    retry_failed: given.RetryFailed = True,
    fail_fast: given.FailFast = False,
    max_failures: given.MaxFailures = None,
    dry_run: given.DryRun = False,
    init_from: given.InitFrom = None,
    submit: Annotated[bool, typer.Option("--submit", help="With launcher=slurm: submit jobs, and exit.")] = False,
) -> int:
    """Train what is missing and show the answer.

    Stop it at any time; the same command goes on where it stopped. With --shard 2/4 it trains the second of four shares
    into a store of its own, on a machine of its own perhaps; thalweg store merge brings them together. With --shard 0/4
    it only settles how each group of trials trains, which the four then keep to. Trials that fail do not end it, unless
    --fail-fast or --max-failures is given; the same command tries them again.
    """
    if dry_run:
        return plan(
            words,
            store,
            config_dir=config_dir,
            config_name=config_name,
            cfg=cfg,
            resolve=resolve,
            info=info,
            yes=yes,
            shard=shard,
            retry_failed=retry_failed,
            init_from=init_from,
        )
    request = _request(_begun(_about_a_study(words or ()), init_from), config_dir, config_name)
    if _shown(request, cfg, resolve, info):
        return 0
    if submit:
        from thalweg.runner.cli.verbs_cluster import submitted

        declaration = _declared(request, given.store_path(store), yes)
        return submitted(request, declaration, store)
    with _ready(request, _place(store, shard), log, yes) as (declared, backend, opened):
        most = 1 if fail_fast else max_failures
        wanted = Wanted(shard, store, rerun_changed, retry_failed, most, None if shard else request.words)
        made, result = _train(declared, opened, backend, wanted)
        if shard is not None:
            return close_shard(made, result, opened.path, store)
        while result and result.goes_on(made):
            wanted = replace(wanted, retry=wanted.retry and not made.until)
            made, more = _train(declared, opened, None, wanted)
            if more is None:
                break
            result += more
        how = Following(declared.settings.tracker, request.words, store, keep=declared.settings.keep)
        return follow(made, result, opened, how)


def run(
    words: given.Words = None,
    store: given.StorePath = None,
    config_dir: given.ConfigDir = None,
    config_name: given.ConfigName = None,
    cfg: given.Cfg = None,
    resolve: given.Resolve = False,
    info: given.Info = None,
    rerun_changed: given.RerunChanged = False,
    log: given.Log = None,
    init_from: given.InitFrom = None,
) -> int:
    """Train one trial and print its metrics."""
    request = _request(_begun(words or (), init_from), config_dir, config_name)
    if _shown(request, cfg, resolve, info):
        return 0
    with _ready(request, given.store_path(store), log, one=True) as (declared, backend, opened):
        made, result = _train(declared, opened, backend, Wanted(rerun=rerun_changed, words=request.words))
        if result and result.interrupted:
            return close(made, result)
        _show_trial(opened, made.members[0].trial.id)
        after = Afterwards()
        if result:
            with after.part("export"):
                export(declared.study.name, declared.settings.tracker, opened, request.words)
    return after.code(FAILED if result and result.failed else 0)


def _request(words: Sequence[str] | None, config_dir: str | None, config_name: str | None) -> Request:
    from thalweg.runner.config import Request

    return Request(tuple(words or ()), config_dir, config_name)


def _about_a_study(words: Sequence[str]) -> list[str]:
    """The words of `plan` or `sweep`; the study of thalweg.yaml first, where they name none.

    `study.name=NAME` names a sweep without a study file, and `study=null` an unnamed one.
    """
    project = here()
    names_one = any("=" not in word and not word.startswith(("-", "~")) for word in words)
    if project is None or project.study is None or names_one or any(w.startswith("study") for w in words):
        return list(words)
    return [project.study, *words]


def _begun(words: Sequence[str], init_from: str | None) -> list[str]:
    """The words with the weights that --init-from names, quoted: an id may be digits alone."""
    escaped = (init_from or "").replace("'", "\\'")
    return [*words, *([f"init.weights='{escaped}'"] if init_from else [])]


def _shown(request: Request, cfg: str | None, resolve: bool, info: str | None) -> bool:
    """Print what --cfg or --info ask for; False if neither is given."""
    from thalweg.runner import config

    if cfg is not None:
        if cfg != "job":
            raise UsageError(f"--cfg {cfg} is not known; only --cfg job is", "Hydra's own configuration is not used")
        out().file.write(config.job(request, resolve))
    elif info is not None:
        out().file.write(config.info(request))
    return cfg is not None or info is not None


@dataclass(frozen=True)
class Wanted:
    """What of a study is wanted: the share `i/n` of it that is missing in `store` too, or all.

    rerun: those that other code trained, too. retry: those that failed. failures: how many end the sweep. words: as W&B
    runs are to quote them, which are written beside it; None for no runs.
    """

    typed: str | None = None
    store: str | None = None
    rerun: bool = False
    retry: bool = True
    failures: int | None = None
    words: Sequence[str] | None = None


def _place(store: str | None, shard: str | None) -> Path:
    """Where the store is; that of a shard is beside the store of the whole."""
    path = given.store_path(store)
    if shard is None:
        return path
    from thalweg.runner.planning.shard import Shard

    return Shard.typed(shard).store(path)


def _planned(declared: Declaration, opened: Store | None, wanted: Wanted) -> Plan:
    """What is missing. A shard plans, and is trained, as the whole does, where that is there."""
    from thalweg.runner import page
    from thalweg.runner.planning.stopping import refuse_elsewhere, refuse_unmeasured

    study, metrics = declared.study, declared.settings.evaluation.metrics
    refuse_elsewhere(study, declared.settings.launcher.name)
    if wanted.typed is None:
        made = page.plan(study, opened, rerun_changed=wanted.rerun, retry_failed=wanted.retry, metrics=metrics)
        refuse_unmeasured(made, declared.settings.evaluation)
        return made
    from thalweg.runner.planning.shard import Shard

    shard, place = Shard.typed(wanted.typed), given.store_path(wanted.store)
    with Store.open_if_present(place) or nullcontext() as whole:
        made = page.share(study, shard, opened, whole, rerun_changed=wanted.rerun, retry_failed=wanted.retry)
        if opened and opened.writes:
            groups = [group.group_id for group in made.groups]
            if whole:
                opened.adopt_choices(whole, groups)
            with Store.open_if_present(replace(shard, number=0).store(place)) or nullcontext() as first:
                if first and shard.number:
                    opened.adopt_choices(first, groups)
    return made


def _declared(request: Request, path: Path, yes: bool, one: bool = False) -> Declaration:
    """Declare, check the size before anything is built, and say where the store is."""
    from thalweg.runner import page
    from thalweg.runner.study.study import CONFIRM_ABOVE, FEW_ENOUGH, FEWER, MOST

    declaration = page.declare(*request.words, config_dir=request.config_dir, config_name=request.config_name)
    size = declaration.study.size
    if one and size != 1:
        raise UsageError(f"run trains one trial; this declares {size:,}", "use thalweg sweep")
    if size > MOST or (size > CONFIRM_ABOVE and not yes):
        blocks = " + ".join(_product(block) for block in declaration.study.blocks[:4])
        more = " + …" if len(declaration.study.blocks) > 4 else ""
        declared = f"this declares {size:,} trials ({blocks}{more})"
        if size > MOST:
            raise UsageError(f"{declared}; {FEW_ENOUGH}", FEWER)
        raise UsageError(f"{declared}; more than {CONFIRM_ABOVE:,} need --yes", "add --yes if that is meant")
    say(f"store: {path.absolute()}{'' if path.exists() else ' (not made yet)'}")
    return declaration


def _product(block: Block) -> str:
    counts = {axis.key: len(axis.values) for axis in (*block.group_axes, *block.axes)}
    for bundle in block.bundles:
        counts = {key: n for key, n in counts.items() if key not in bundle.keys}
        counts[" with ".join(bundle.keys)] = len(bundle.points)
    return " × ".join(f"{n:,} {key}" for key, n in counts.items()) or "1"


@contextmanager
def _ready(request: Request, path: Path, log: Path | None, yes: bool = False, one: bool = False) -> Iterator[Ready]:
    """What is declared, the workers, and the store open to write.

    Where no store is yet something will train: the first worker starts while the words are read.
    """
    from thalweg.runner.cli.export import check_names
    from thalweg.runner.train.driver import backend_of

    with open_pool(log) as pool:
        if not path.exists():
            pool.ahead()
        declaration = _declared(request, path, yes, one)
        check_names(declaration.settings.tracker, request.words, path)
        backend = backend_of(declaration.settings, pool)
        with open_to_write(path) as opened:
            yield declaration, backend, opened


@contextmanager
def open_pool(log_file: Path | None) -> Iterator[Pool]:
    """A pool whose processes show where they are on a signal; what happens is logged to a file, if there is one."""
    from thalweg.runner.base import log, stacks
    from thalweg.runner.train.pool import Pool

    with log.to_file(log_file), stacks.shown_and_passed_on(), Pool() as pool:
        log.write("command", words=sys.argv[1:], folder=os.getcwd(), version=__version__)
        yield pool
        log.write("done")


def open_to_write(path: Path) -> Store:
    """Open the store to write, saying what is to be known about its place."""
    opened = Store.open(path, "write")
    for warning in opened.warnings:
        say(warning)
    return opened


def _timed(made: Plan, declared: Declaration, remarks: Sequence[Remark]) -> tuple[Cost | None, list[str]]:
    """What a plan would take, by steps that a process of its own times; nothing where a model would fail."""
    from thalweg.runner.train.probe import probed

    if any(remark.wrong for remark in remarks):
        return None, ["not timed: a model would fail"]
    return probed(made, declared.settings)


def _keeping(made: Plan, opened: Store | None, keep: Keeps, *, count: bool = False) -> list[str]:
    """What is to be said of weights that are kept. count: of models that were never kept, too, which a child builds."""
    if keep == "none":  # before it is imported: a plan goes without what trains
        return []
    from thalweg.runner.train.keeper import foretold
    from thalweg.runner.train.rehearsal import sizes

    return foretold(made, opened, keep, sizes if count else None)


def _rehearsed(made: Plan, probe: bool | None) -> list[Remark]:
    """What is to be said of the models that a sweep would train. probe: of all, of none, or None: of the user's own."""
    from thalweg.runner.train.rehearsal import rehearsed

    if probe is False:
        return []
    return rehearsed([group.trials[0] for group in made.groups], every=probe is True)


def _show_plan(made: Plan, remarks: Sequence[Remark], keeping: Sequence[str]) -> None:
    from thalweg.runner.terminal.plan import plan_details, plan_line, show_groups

    screen = out()
    screen.print(Text(clean(f"{made.study.name}: {made.study.question}".rstrip(": ")), "bold"))
    for line in (plan_line(made), *plan_details(made), *keeping):
        screen.print(Text(clean(line)))
    if made.groups:
        show_groups(screen, made)
    for remark in remarks:
        about = "" if remark.model in remark.text else f"{remark.model}: "
        say(f"{'would fail: ' if remark.wrong else ''}{about}{remark.text}")


def _train(
    declared: Declaration, opened: Store, backend: Backend | None, wanted: Wanted
) -> tuple[Plan, SweepResult | None]:
    """Plan, say what is missing and train it; None where nothing is. Without a backend, one is made for it."""
    from thalweg.runner import page

    study = declared.study
    made = _planned(declared, opened, wanted)
    if made.to_train and backend:
        backend.ahead()
    page.record(made, opened)
    from thalweg.runner.terminal.plan import changed_lines, plan_details, plan_line  # 0.1 s, while a worker starts

    if study.question:
        say(f"{study.name}: {study.question}")
    if made.to_train:
        lines = [plan_line(made), *plan_details(made)]
    else:
        are = "is" if made.wanted == 1 else "are"
        lines = [f"nothing to train: {made.done:,} of {count(made.wanted, 'trial')} {are} done", *changed_lines(made)]
        lines += [f"{count(made.failed, 'trial')} failed before, left alone"] if made.failed else []
    lines += _keeping(made, opened, declared.settings.keep)
    for line in lines:
        say(line)
    if not made.to_train:
        return made, None
    return made, train_missing(made, opened, declared.settings, backend, wanted)


def train_missing(
    made: Plan, opened: Store, settings: Settings, backend: Backend | None, wanted: Wanted
) -> SweepResult:
    """Train what a recorded plan lacks, showing how far it is. W&B runs are written beside it, if they are wanted."""
    from thalweg.runner import page
    from thalweg.runner.cli import mirror
    from thalweg.runner.terminal.progress import SweepProgress

    job = None if wanted.words is None else mirror.job_of(opened, made.study.name, settings.tracker, wanted.words)
    panels = {member.trial.id: member.block for member in made.members}
    with mirror.beside(job), SweepProgress(err(), made.to_train, made.study.metric, panels) as progress:
        return page.train(made, opened, settings, progress, backend, max_failures=wanted.failures)


def _show_trial(opened: Store, trial_id: str) -> None:
    from thalweg.runner.terminal.listing import outcome_line, show_metrics

    trial = opened.trial(trial_id)
    out().print(Text(f"trial {trial_id[:8]}: {outcome_line(trial.outcome, trial.diverged_step)}"))
    if trial.metrics:
        show_metrics(out(), trial.metrics)
    if trial.error:
        say(f"error: {last_line(trial.error)}")
