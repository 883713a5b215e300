"""The whole of thalweg on one page: a study is declared, planned, swept, and read.

    declare   words                 -> a study, and how to run it
    plan      a study and a store   -> what is wanted, done and missing
    share     the same, of one machine among several
    sweep     a plan                -> the store agrees with it
    refine    moves                 -> a plan of what they add
    trials    the store             -> a table: axes, outcome and final metrics of each trial
    curves    the store             -> a table: what was observed while they trained
    findings  the store             -> what they say, with intervals
    replay    recorded trials       -> whether they come out again
    audit     a study               -> what a sample of its trials, trained again, bounds
    view      the store             -> a study as its readers see it, for whoever lays it out
    weights   a recorded trial      -> its model's weights as a file
    predict   a recorded trial      -> what its model says of a file
    trial     an id                 -> a recorded trial, to take its model from
    report    the store             -> all of it as one HTML file

The command line, the benchmarks and a notebook call these. What is said on the way, and how it looks, is its callers'
affair. No torch here: it is the workers who train.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.runner.analysis import Answer
    from thalweg.runner.config import Declaration
    from thalweg.runner.decide import Move
    from thalweg.runner.facts.record import TrialRecord
    from thalweg.runner.facts.replayed import Audit, Replayed
    from thalweg.runner.facts.row import Row
    from thalweg.runner.facts.tidy import Columns
    from thalweg.runner.planning.plan import Plan
    from thalweg.runner.planning.shard import Shard
    from thalweg.runner.replay.again import Again, Wish
    from thalweg.runner.replay.model import Model
    from thalweg.runner.replay.predict import Predicted
    from thalweg.runner.store import Store
    from thalweg.runner.study.settings import Settings
    from thalweg.runner.study.start import InitConfig
    from thalweg.runner.study.study import Study
    from thalweg.runner.train.driver import Backend, Listener, SweepResult
    from thalweg.runner.view import StudyView


def declare(*words: str, config_dir: str | None = None, config_name: str | None = None) -> Declaration:
    """Return the study that words declare, as they follow `thalweg sweep`: its file's name, overrides, ranges.

    Raises ConfigError, with what to type instead, for what cannot mean anything.
    """
    from thalweg.runner.config import Request
    from thalweg.runner.config import declare as declared

    return declared(Request(words, config_dir, config_name))


def plan(
    study: Study,
    store: Store | None = None,
    *,
    rerun_changed: bool = False,
    retry_failed: bool = True,
    metrics: Sequence[str] = (),
) -> Plan:
    """Return what of a study is done and what a sweep would train. Nothing is written.

    rerun_changed: trials that earlier code of the user's trained are wanted anew. retry_failed: and those that failed.
    metrics: those of the settings, whose code may be another than measured what is stored.
    """
    from thalweg.runner.planning.compare import compare
    from thalweg.runner.planning.plan import leave_failed
    from thalweg.runner.planning.stopping import staged

    made = staged(compare(study, store, rerun_changed, metrics), store, retry_failed)
    if made.study.stop and store is not None:
        from thalweg.runner.view.hindsight import hindsight  # numpy, which most plans go without

        made = replace(made, hindsight=hindsight(made, store.study_rows(study.name), store))
    return made if retry_failed or store is None else leave_failed(made, store.statuses(made.ids_to_train))


def share(
    study: Study,
    shard: Shard,
    store: Store | None,
    whole: Store | None = None,
    *,
    rerun_changed: bool = False,
    retry_failed: bool = True,
) -> Plan:
    """Return what of a study one of several machines would train.

    store: its own. whole: the one that all will be merged into, as far as it is there: what is done in it is done.
    """
    from thalweg.runner.planning.compare import compare
    from thalweg.runner.planning.plan import leave_failed
    from thalweg.runner.planning.shard import Both
    from thalweg.runner.planning.shard import share as of

    stored = Both(store, whole) if store and whole else store or whole
    made = of(compare(study, stored, rerun_changed), shard)
    return made if retry_failed or stored is None else leave_failed(made, stored.statuses(made.ids_to_train))


def sweep(
    made: Plan, store: Store, settings: Settings, listener: Listener | None = None, backend: Backend | None = None
) -> SweepResult:
    """Write down what a plan declares, and train what it lacks; what was stored stays, whenever this is stopped.

    store: open to write. listener: is told how it goes. backend: where it trains, else processes on this machine.
    """
    record(made, store)
    result = train(made, store, settings, listener, backend)
    while result.goes_on(made):
        made = plan(made.study, store, retry_failed=not made.until)
        record(made, store)
        result += train(made, store, settings, listener)
    if settings.keep == "best" and not result.interrupted:
        keep_best(store, made.study.name)
    return result


def keep_best(store: Store, study: str, seen: StudyView | None = None) -> int:
    """Remove the kept weights of a study's trials but for those of its best cell, of each data; return how many went.

    As `best` ranks them now; where no cell is usable, all stay, and so do those of trials that another study declares.
    seen: the study's view, where there is one already.
    """
    from thalweg.runner.train import kept

    folder = kept.folder_of(store.path)
    if not folder.exists():
        return 0
    found = [best.near.best for best in (seen or view(store, study, ask=False)).of_data if best.near]
    chosen = {row.trial_id for cell in found for row in cell.rows}
    return kept.only(folder, store.ids_alone(study), chosen, alone=not store.is_swept()) if chosen else 0


def record(made: Plan, store: Store) -> None:
    """Write down what a plan declares: the study and its members, each trial as untrained where it is new.

    Raises UsageError, and writes nothing, where a trial that the plan knows was removed since.
    """
    store.declare(made.study, made.members, places=made.places, known=made.known, pruned=made.pruned)
    if made.replaced:
        store.replace(made.study.name, made.replaced)
    _clear_rungs(made, store)


def _clear_rungs(made: Plan, store: Store) -> None:
    """Remove the files in which trials waited at a rung that are done by now, or stopped there."""
    if made.study.stop and not store.is_swept():
        from thalweg.runner.train import rungs

        rungs.clear(store.path, lambda ids: store.any_untrained(trial for trial in ids if trial not in made.pruned))


def refine(study: Study, moves: Sequence[Move], store: Store) -> Plan:
    """Add what moves propose to a stored study, and return the plan that trains it.

    That its results were looked at is kept with it, unless the moves only finish what was declared before.
    """
    from thalweg.runner.planning.plan import make_plan

    members = [member for move in moves for member in move.members]
    if any(move.kind != "finish" for move in moves):
        store.refine(study.name, members, [move.document for move in moves])
    commits = store.last_commit()
    statuses = store.statuses(member.trial.id for member in members)
    made = make_plan(replace(study, overridden=True), members, statuses, store.study_rows(study.name, metrics=False))
    return replace(made, commits=commits)


def train(
    made: Plan,
    store: Store,
    settings: Settings,
    listener: Listener | None = None,
    backend: Backend | None = None,
    *,
    max_failures: int | None = None,
) -> SweepResult:
    """Train what a recorded plan lacks; `sweep` is both. max_failures: failed trials after which it ends."""
    from thalweg.runner.planning.stopping import refuse_elsewhere, refuse_unmeasured
    from thalweg.runner.train import driver

    refuse_elsewhere(made.study, settings.launcher.name)
    if made.until:  # what is added to a study trains to its end, and may be measured as seldom as is liked
        refuse_unmeasured(made, settings.evaluation)
    _at_hand([trial.config.init for group in made.groups for trial in group.trials], store, settings, listener)
    result = driver.sweep(made, store, settings, listener or driver.Silent(), backend, max_failures=max_failures)
    _clear_rungs(made, store)
    return result


def _at_hand(inits: Iterable[InitConfig], store: Store, settings: Settings | None, listener: Listener | None) -> None:
    """See that the weights of trials from which others start are kept: where they were not, these are trained again."""
    from thalweg.runner.train import kept, weights

    folder = kept.folder_of(store.path)
    for trial in dict.fromkeys(init.trial for init in inits if init.trial):
        made = _model(store, trial, False, settings, listener)
        if not made.kept:
            if listener:
                listener.note(
                    made.note or f"the weights of {trial[:8]}, to start from, were not kept: it was trained again"
                )
            weights.write(folder, made.weights)


def trials(store: Store, study: str, *conditions: str, test: bool = False) -> Any:
    """Return a tidy table, a line a trial: its id, block, axes, outcome and final metrics. See `facts.tidy`.

    conditions: those alone of which all hold, such as "val/loss < 0.45". test: metrics of the test split too. They
    are for the cell that was chosen without them.
    """
    from thalweg.runner.facts import tidy

    return tidy.table(trial_columns(store, study, *conditions, test=test))


def trial_columns(store: Store, study: str, *conditions: str, test: bool = False) -> Columns:
    """Return `trials` as plain columns."""
    from thalweg.runner.facts import tidy

    return tidy.trials([row for _, row in select(store, study, *conditions)], test)


def select(store: Store, study: str | None, *conditions: str, since: datetime | None = None) -> list[tuple[str, Row]]:
    """Return the rows of a study, or of all, of which conditions such as "val/loss < 0.45" are true; those inside only.

    Each with its study's name. since: those that ended then or later.
    """
    from thalweg.runner.facts.chosen import chosen

    names = [each.name for each in store.studies()] if study is None else [store.study(study).name]
    placed = [(name, row) for name in names for row in store.study_rows(name) if not row.outside]
    return chosen(placed, conditions, since)


def curves(store: Store, study: str, *names: str) -> Any:
    """Return a long table, a line a point of the series called `names`, or of all: trial, metric, step, value.

    A value was observed before optimizer step `step`, counted from 0.
    """
    from thalweg.runner.facts import tidy

    return tidy.table(curve_columns(store, study, *names))


def curve_columns(store: Store, study: str, *names: str) -> Columns:
    """Return `curves` as plain columns."""
    from thalweg.runner.facts import tidy

    ids = (row.trial_id for row in _rows(store, study) if not row.outside)
    return tidy.curves(ids, store.series, names)


def diff(store: Store, a: str, b: str) -> Any:
    """Return a table of what differs between two trials, or two studies: kind, name, a, b. See `facts.differing`."""
    from thalweg.runner.facts import tidy

    return tidy.table(difference(store, a, b))


def difference(store: Store, a: str, b: str) -> Columns:
    """Return `diff` as plain columns. Raises UsageError for a study and a trial, and for what is not there."""
    from thalweg.runner.base.errors import UsageError
    from thalweg.runner.facts import differing

    studies = {each.name: each.metric for each in store.studies()}
    if (a in studies) is not (b in studies):
        study, other = (a, b) if a in studies else (b, a)
        raise UsageError(f"{study} is a study and {other} is none", "name two studies, or two trials by their ids")
    if a in studies:
        rows = [[row for row in _rows(store, name) if not row.outside] for name in (a, b)]
        return differing.table(differing.of_studies(rows[0], rows[1], studies[a]))
    first, second = store.trial(a), store.trial(b)
    series = store.series(first.trial_id), store.series(second.trial_id)
    return differing.table(differing.of_trials(first, second, series))


def findings(store: Store, study: str) -> list[Answer]:
    """Return an answer for each question of a study and each panel that it can be asked of."""
    return list(view(store, study).answers)


def replay(
    store: Store, *ids: str, settings: Settings | None = None, listener: Listener | None = None
) -> list[Replayed]:
    """Train recorded trials again, as they were trained, and say of each whether it came out. Nothing is written.

    ids: beginnings of trials' ids. settings: how many workers; their device is the one that each was trained on.
    """
    return _again([store.trial(each) for each in ids], store, settings, listener).replayed


def audit(
    store: Store,
    study: str,
    n: int = 60,
    seed: int = 0,
    *,
    settings: Settings | None = None,
    listener: Listener | None = None,
) -> Audit:
    """Train a random sample of a study's trials again, and say what that bounds. `Store.record_audit` keeps it."""
    from thalweg.runner.base.errors import UsageError
    from thalweg.runner.replay.audit import audit_of, population, sample

    name = store.study(study).name
    done = population(store.export_rows(name), name)
    if not done:
        raise UsageError(f"nothing of {name} is trained yet", f"first: thalweg sweep {name}")
    again = _again(sample(done, n, seed), store, settings, listener)
    return audit_of(again, name, seed, len(done), datetime.now(UTC))


def weights(
    store: Store,
    trial: str,
    path: str | Path,
    *,
    unverified: bool = False,
    settings: Settings | None = None,
    listener: Listener | None = None,
) -> Model:
    """Write the state_dict that a recorded trial ended with: its kept weights, or trained again, if they are its own.

    trial: the beginning of its id. path: .safetensors, or .pt. unverified: write it even where that cannot be known,
    as with another torch; the file says so. Raises MismatchError, or UnverifiedError, and writes nothing.
    """
    from thalweg.runner.replay.model import refuse_path, write

    refuse_path(Path(path), unverified)
    made = _model(store, trial, unverified, settings, listener)
    write(made, Path(path))
    return made


def predict(
    store: Store,
    trial: str,
    path: str | Path,
    *,
    unverified: bool = False,
    settings: Settings | None = None,
    listener: Listener | None = None,
) -> Predicted:
    """Predict what the examples of a file are by a recorded trial's model, whose weights come as for `weights`.

    path: a table with the columns of the one that trained, a .npz file with an array x, or a text. They are made ready
    as the trial's own examples were.
    """
    from thalweg.runner.replay.predict import predict as predicted

    return predicted(_model(store, trial, unverified, settings, listener), Path(path))


@dataclass(frozen=True)
class StoredTrial:
    """A recorded trial, by its store's path and its full id."""

    path: Path
    id: str

    def model(self, *, unverified: bool = False) -> Any:
        """Return its nn.Module with its final weights, on the CPU, in evaluating mode; they come as for `weights`.

        Raises MismatchError where it does not give the stored validation loss.
        """
        import warnings

        from thalweg.runner.replay.predict import load
        from thalweg.runner.store import Store

        with Store.open(self.path) as opened:
            made = _model(opened, self.id, unverified)
        if made.note:
            warnings.warn(made.note, stacklevel=2)
        return load(made).module

    def predict(self, path: str | Path, *, unverified: bool = False) -> Predicted:
        """Predict what the examples of a file are."""
        from thalweg.runner.store import Store

        with Store.open(self.path) as opened:
            return predict(opened, self.id, path, unverified=unverified)


def trial(trial: str, store: Store | str | Path | None = None) -> StoredTrial:
    """Return a recorded trial by the beginning of its id. store: open, or its path; else that of the commands."""
    from thalweg.runner.store import Store
    from thalweg.runner.store.place import place

    path = store.path if isinstance(store, Store) else place(store)
    with Store.open(path) as opened:
        return StoredTrial(path, opened.trial(trial).trial_id)


def _model(
    store: Store, trial: str, unverified: bool, settings: Settings | None = None, listener: Listener | None = None
) -> Model:
    from thalweg.runner.replay.model import model_of
    from thalweg.runner.train.kept import folder_of

    record = store.trial(trial)

    def again(wish: Wish) -> Again:
        return _again([record], store, settings, listener, wish)

    return model_of(record, again, unverified=unverified, folder=folder_of(store.path))


def _again(
    records: Sequence[TrialRecord],
    store: Store,
    settings: Settings | None,
    listener: Listener | None,
    wish: Wish | None = None,
) -> Again:
    from contextlib import suppress

    from thalweg.runner.base.errors import ThalwegError
    from thalweg.runner.replay.again import Source
    from thalweg.runner.replay.again import replay as trained_again
    from thalweg.runner.replay.recorded import trial_of
    from thalweg.runner.train import driver
    from thalweg.runner.train.crew import Crew
    from thalweg.runner.train.kept import folder_of
    from thalweg.runner.train.pool import Pool

    how = settings or declare().settings
    inits = [trial_of(record).config.init for record in records if (record.config.get("init") or {}).get("weights")]
    with suppress(ThalwegError):  # who starts from what is not there says so himself
        _at_hand(inits, store, settings, listener)
    with Pool() as pool:

        def crew_on(device: str) -> Backend:
            return Crew(replace(how, engine=replace(how.engine, device=(device,))), pool).require()

        source = Source(store.series, store.trial, str(folder_of(store.path)))
        return trained_again(records, source, crew_on, listener or driver.Silent(), wish=wish)


def view(
    store: Store, study: str, metric: str | None = None, *, ask: bool = True, validation: bool = False
) -> StudyView:
    """Return a study as its readers see it: panels, answers, bests, moves, notes.

    metric: what to judge by, in place of the study's own. ask: its questions are answered. validation: it is judged by
    the validation split, whatever its question is about, as deciding asks. Raises UsageError for a metric that no trial
    has.
    """
    from thalweg.runner.decide import on_validation
    from thalweg.runner.view import judged, view_of

    declared, rows = store.study(study), _rows(store, study)
    asked = judged(declared, rows, metric)
    own = declared.metric if asked.metric != declared.metric else None
    if validation:
        asked = replace(asked, metric=on_validation(asked.metric))
    return view_of(rows, asked, store.series, own, ask=ask)


def report(
    store: Store, study: str, path: Path | None = None, metric: str | None = None, *, seen: StudyView | None = None
) -> Path:
    """Write a study as one HTML file, beside the store unless `path`, a file or a folder, says otherwise; return it.

    metric: what to judge by, in place of the study's own. seen: its view, where there is one already. Raises
    UsageError where the file cannot be written or the store has no such study.
    """
    from thalweg.runner.report import Source, path_of, write

    found = seen or view(store, study, metric)
    out = path or store.path.parent
    out = path_of(study, out) if out.is_dir() else out
    write(Source(found, store.export_rows(study), store.audits(study), store.commands(study)), out, datetime.now(UTC))
    return out


def _rows(store: Store, study: str) -> list[Row]:
    return store.study_rows(store.study(study).name)  # a name that is not there is refused with the nearest
