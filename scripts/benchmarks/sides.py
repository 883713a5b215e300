"""The sides of a comparison, each as a function that trains a grid and says what it took."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.files import losses_in
from benchmarks.measure import COMPARED_STEPS, Losses, Run, Timing, timed
from benchmarks.workloads import trials_of

if TYPE_CHECKING:
    from thalweg.runner.study.trial import Trial

HERE = Path(__file__).parent
PYTHON = (sys.executable, "-P")


@contextmanager
def fresh() -> Iterator[Path]:
    """A folder that is there while a side runs."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def through_the_command_line(words: Sequence[str], sample: Sequence[Trial] | None = None) -> tuple[Run, float]:
    """`thalweg sweep` from typing to answer into a new store, and the seconds that its workers trained, added up.

    Ends the benchmark if the store does not hold every trial with all its losses.
    """
    from thalweg.runner.store import Store

    trials = trials_of(words)
    with fresh() as folder:
        store = folder / "results" / "thalweg.sqlite"
        timing, _ = timed([*PYTHON, "-m", "thalweg", "sweep", *words, "--yes", "--store", str(store)], folder)
        with Store.open(store) as opened:
            records = {record.trial_id: record for record in opened.export_rows()}
            missing = [trial for trial in trials if trial.id not in records]
            if missing:
                sys.exit(f"the store lacks {len(missing)} of {len(trials)} trials: this round does not count")
            losses = {}
            for trial in trials if sample is None else sample:
                series = opened.series(trial.id)["train/batch_loss"].values
                if records[trial.id].diverged_step is None and len(series) != trial.config.budget.steps:
                    sys.exit("the store lacks losses: this round does not count")
                losses[name_of(trial)] = series[:COMPARED_STEPS].tolist()
            trained = sum(record.seconds or 0 for record in records.values())
    return Run(timing, losses), trained


def name_of(trial: Trial) -> str:
    """What a trial is called on every side."""
    return f"{trial.config.model.name} {trial.config.optimizer.lr!r} {trial.id[:8]}"


def by_rate(losses: Mapping[str, Sequence[float]], trials: Sequence[Trial]) -> Losses:
    """Losses by learning rate, as sides without our ids have them, under the trials' names."""
    return {
        name_of(trial): losses[repr(trial.config.optimizer.lr)][:COMPARED_STEPS]
        for trial in trials
        if repr(trial.config.optimizer.lr) in losses
    }


def plain(trials: Sequence[Trial], files: Path, share: int, *, one_process: bool) -> Run:
    """The user's script over the first `share` trials, scaled to all: with `-m`, or a process a trial.

    Under `-m` only the time after the first trial began is scaled: starting up is paid once.
    """
    rates = [repr(trial.config.optimizer.lr) for trial in trials[:share]]
    steps = trials[0].config.budget.steps
    script, given = [*PYTHON, str(HERE / "plain" / "train.py")], [f"steps={steps}", f"files={files}"]
    commands = [[*script, *given, f"lr={rate}"] for rate in rates]
    if one_process:
        commands = [[*script, "-m", *given, f"lr={','.join(rates)}"]]
    with fresh() as folder:
        parts, began = [], time.time()
        for command in commands:
            parts.append(timed(command, folder, HERE / "plain")[0])
        found = losses_in(folder)
        if len(found) != share or any(len(losses) != steps for losses, _ in found.values()):
            sys.exit("the plain script lacks losses: this round does not count")
        if len(list(folder.rglob("run-*.wandb"))) != share:
            sys.exit("the plain script lacks W&B runs: this round does not count")
    start = min(at for _, at in found.values()) - began if one_process else 0.0
    wall, cpu = sum(part.wall for part in parts), sum(part.cpu for part in parts)
    whole = start + (wall - start) * len(trials) / share
    return Run(
        Timing(whole, cpu * whole / wall), by_rate({rate: losses for rate, (losses, _) in found.items()}, trials)
    )


def ray_lacks() -> str | None:
    """Why Ray Tune cannot be measured here, in Python's words, or None."""
    with fresh() as folder:
        try:
            timed([*PYTHON, "-c", "import ray.tune"], folder)
        except SystemExit as error:
            return str(error).splitlines()[-1]
    return None


def under_ray(trials: Sequence[Trial], files: Path) -> Run:
    """The plain script's training function under Ray Tune, which records what each step reports.

    Ray keeps its workers' processor time from us: that of those that trained is added as they tell it at their end.
    """
    rates = [repr(trial.config.optimizer.lr) for trial in trials]
    steps = trials[0].config.budget.steps
    with fresh() as folder:
        command = [*PYTHON, str(HERE / "ray_tune.py"), str(files), str(steps), *rates]
        timing, _ = timed(command, folder, HERE / "plain")
        found = losses_in(folder)
        spent = sum(json.loads(path.read_text())["cpu"] for path in folder.rglob("losses.json"))
        reports = [len(path.read_text().splitlines()) for path in folder.rglob("result.json")]
    if len(found) != len(trials) or any(len(losses) != steps for losses, _ in found.values()):
        sys.exit("Ray's side lacks losses: this round does not count")
    if len(reports) != len(trials) or min(reports) < steps:
        sys.exit("Ray's side lacks results: this round does not count")
    timing = Timing(timing.wall, timing.cpu + spent)
    return Run(timing, by_rate({rate: losses for rate, (losses, _) in found.items()}, trials))


def child(module: str, *words: str) -> tuple[Timing, dict[str, Any]]:
    """One of our modules in a process of its own, and what it printed."""
    with fresh() as folder:
        timing, said = timed([*PYTHON, "-m", f"benchmarks.{module}", *words], folder, HERE.parent)
    return timing, json.loads(said.splitlines()[-1])


def solo_loops(words: Sequence[str], sample: int, whole: int, cores: int) -> Run:
    """A sample of the trials in tuned solo loops, one process a core, scaled to all; start-up is not counted."""
    with ThreadPoolExecutor(cores) as pool:
        shares = list(pool.map(lambda core: child("solo", str(core), str(cores), str(sample), *words)[1], range(cores)))
    wall = max(share["timing"][0] for share in shares)
    timing = Timing(wall, sum(share["timing"][1] for share in shares)).times(whole / sample)
    names = {trial.id: name_of(trial) for trial in trials_of(words)}
    return Run(timing, {names[t]: losses for share in shares for t, losses in share["losses"].items()})


def through_python(words: Sequence[str]) -> dict[str, Any]:
    """A sweep whose training is timed from its beginning; every trial must have ended."""
    with fresh() as folder:
        _, said = child("through", str(folder / "s.sqlite"), *words)
    if said["failed"] or not said["finished"] + said["diverged"]:
        sys.exit(f"a sweep failed: {said}")
    return said
