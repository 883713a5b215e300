"""What a tracked run says of a trial: its labels, history rows and summary. Pure: no wandb, no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from thalweg.optim.schedule import FORMS
from thalweg.runner.base.canonical import Scalar, tagged_hash
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.facts.row import lookup
from thalweg.runner.tracker.configuration import configuration, option, readable

TAG_LIMIT = 64  # W&B refuses longer tags
LABEL_LIMIT = 128  # and longer group, job type and project names
RUN_ID_DIGITS = 16
BATCH_LOSS = "train/batch_loss"
RATE = "schedule/lr"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # of a trial that an early store kept no time of


@dataclass(frozen=True, kw_only=True)
class ExportTrial:
    """One trained trial, as plain data. `series` loads its series and is called only when the run is written.

    study, block, axes: its place in the study that trained it. telling: the axes that tell its trials apart. metric and
    direction: what the study is judged by. chosen: it is of the cell that was chosen without its test metrics, which
    are left out of all others. pruned: the rung at which its study stopped it, and after how many steps. error: the
    last line of one that failed. commit: of the user's repository. tags: the user's own. ended: ISO 8601.
    """

    trial_id: str
    config: Mapping[str, Any]
    outcome: Outcome
    diverged_step: int | None
    metrics: Mapping[str, float]
    series: Callable[[], Mapping[str, Series]]
    weight_hash: str | None
    seconds: float
    study: str = ""
    block: str = ""
    axes: Mapping[str, Scalar]
    telling: tuple[str, ...] = ()
    replicate: str | None = "seed"
    metric: str = "val/loss"
    direction: Literal["min", "max"] = "min"
    chosen: bool = False
    pruned: tuple[int, int] | None = None
    error: str | None = None
    command: str = ""
    commit: str | None = None
    tags: tuple[str, ...] = ()
    ended: str | None = None


@dataclass(frozen=True)
class RunContent:
    """All that is sent of one trial but its history. config: nested, its leaves scalars. started: in UTC."""

    run_id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    notes: str
    config: dict[str, Any]
    summary: dict[str, Any]
    started: datetime
    seconds: float
    exit_code: int


@dataclass(frozen=True)
class Media:
    """A file of a run, and how it is referred to: a table, or a page."""

    key: str
    path: str  # under the run's files
    content: bytes
    shown: Mapping[str, Any]


Row = tuple[int, dict[str, float]]
"""An optimizer step, and metric -> finite value."""


def run_id(trial_id: str) -> str:
    """The run id of a trial: always the same, so that a second upload meets the first."""
    return trial_id[:RUN_ID_DIGITS]


def fingerprint(run: RunContent, destination: tuple[str, str | None], beside: int | str | None) -> str:
    """A hash of what a written run holds and where it belongs.

    Covers config, summary (and with it the results, and the weights that the history led to), the W&B project and
    entity, and what stands for all else in `beside`. Does not cover labels: a run is not written again for a tag or a
    better name.
    """
    held = {"run": run.run_id, "config": run.config, "summary": run.summary}
    return tagged_hash("thalweg.wandb.v2", {**held, "destination": list(destination), "beside": beside})


def run_content(trial: ExportTrial) -> RunContent:
    """Lay out a trial's run. Needs no series."""
    names = (str(trial.outcome), option(trial.config, "optimizer"), option(trial.config, "dataset"))
    tags = (*names, *([f"git {trial.commit}"] if trial.commit else []), *trial.tags)
    ended = datetime.fromisoformat(trial.ended).astimezone(UTC) if trial.ended else LONG_AGO
    return RunContent(
        run_id=run_id(trial.trial_id),
        name=label(readable(trial.config, {key: trial.axes.get(key) for key in trial.telling}), LABEL_LIMIT),
        group=label(trial.study, LABEL_LIMIT),
        job_type=label(trial.block, LABEL_LIMIT),
        tags=tuple(dict.fromkeys(label(tag, TAG_LIMIT) for tag in tags if tag)),
        notes=trial.command,
        config=configuration(trial.trial_id, trial.config, trial.axes, trial.replicate),
        summary=_summary(trial),
        started=ended - timedelta(seconds=trial.seconds),
        seconds=trial.seconds,
        exit_code=1 if trial.outcome is Outcome.FAILED else 0,
    )


def loaded(trial: ExportTrial) -> dict[str, Series]:
    """Load what was observed of a trial, where it is finite, and the rate of each step that was trained.

    The rate is that of the schedule's closed form, in float64. W&B's aggregates never recover from one NaN. A dot in a
    name, which a model's own number may have, is a slash: W&B reads it as a step into a section.
    """
    stored = trial.series()
    series = {_shown_as(name, stored): _finite_part(one) for name, one in sorted(stored.items())}
    rates = _rates(trial.config, series.get(BATCH_LOSS))
    return series if rates is None else {**series, RATE: rates}


def history(series: Mapping[str, Series], points: int | None) -> list[Row]:
    """Return a row a step at which anything was observed, or `points` of them, ascending."""
    rows: dict[int, dict[str, float]] = {}
    for name, one in series.items():
        for step, value in zip(one.steps.tolist(), one.values.tolist(), strict=True):
            if step in rows:
                rows[step][name] = value
            else:
                rows[step] = {name: value}
    kept = sorted(rows) if points is None else chosen_steps(series, points)
    return [(step, rows[step]) for step in kept]


def best(trial: ExportTrial, series: Mapping[str, Series]) -> dict[str, float | int]:
    """Return the best value of what the study is judged by and of the validation loss, each with its first step."""
    found: dict[str, float | int] = {}
    for metric, direction in {"val/loss": "min", trial.metric: trial.direction}.items():
        one = series.get(metric)
        if one is not None and len(one.values):
            place = int(np.argmin(one.values) if direction == "min" else np.argmax(one.values))
            found |= {f"best/{metric}": float(one.values[place]), f"best/{metric}/step": int(one.steps[place])}
    return found


def chosen_steps(series: Mapping[str, Series], points: int) -> list[int]:
    """At most `points` steps, ascending: those of the evaluations (`val/*`) and evenly spread other ones.

    The first and the last step of both kinds are among them, if there is room. Evaluations take more than
    half of what is left only where the other series have too few steps to fill it.
    """
    evaluated = _steps(one for name, one in series.items() if name.startswith("val/"))
    regular = _steps(one for name, one in series.items() if not name.startswith("val/"))
    every = np.union1d(evaluated, regular)
    if len(every) <= points:
        return [int(step) for step in every]
    ends = np.unique([steps[end] for steps in (evaluated, regular) if len(steps) for end in (0, -1)])
    if len(ends) > points:
        ends = every[[0, -1]]
    others = np.setdiff1d(regular, np.union1d(evaluated, ends))
    room = points - len(ends)
    kept = _spread(np.setdiff1d(evaluated, ends), max(room // 2, room - len(others)))
    chosen = np.concatenate([ends, kept, _spread(others, room - len(kept))])
    return [int(step) for step in np.sort(chosen)]


def label(text: str, limit: int) -> str:
    """`text` as a W&B label: printable characters only, at least one, at most `limit`."""
    shown = "".join(c if c.isprintable() else " " for c in text).strip()
    return shown[:limit].rstrip() or "unnamed"


def _summary(trial: ExportTrial) -> dict[str, Any]:
    """Final metrics as stored, and how it ended. Those of the test split only where the trial's cell was chosen."""
    shown = {name: value for name, value in trial.metrics.items() if trial.chosen or not name.startswith("test/")}
    about: dict[str, Any] = {
        "outcome": str(trial.outcome),
        "diverged_step": trial.diverged_step,
        **dict(zip(("pruned_rung", "pruned_step"), trial.pruned or (), strict=False)),
        "error": trial.error,
        "weight_hash": trial.weight_hash,
        "seconds": trial.seconds,
    }
    return {**_finite(shown), **{key: value for key, value in about.items() if value is not None}}


def _rates(config: Mapping[str, Any], trained: Series | None) -> Series | None:
    peak, schedule, total = lookup(config, "optimizer.lr"), config.get("schedule"), lookup(config, "budget.steps")
    if trained is None or not isinstance(schedule, Mapping) or not isinstance(peak, int | float):
        return None
    shape = {key: value for key, value in schedule.items() if key != "name"}
    return Series(trained.steps, float(peak) * FORMS[schedule["name"]](trained.steps, total, **shape))


def _shown_as(name: str, beside: Iterable[str]) -> str:
    """A name without dots, and not that of another."""
    plain = name.replace(".", "/")
    return plain if plain == name or plain not in beside else name.replace(".", "_")


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _finite_part(series: Series) -> Series:
    finite = np.isfinite(series.values)
    return Series(np.asarray(series.steps)[finite], np.asarray(series.values)[finite])


def _steps(series: Iterable[Series]) -> np.ndarray:
    parts = [one.steps for one in series]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def _spread(steps: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the ascending steps, evenly by position, away from both ends."""
    if len(steps) <= count:
        return steps
    return steps[np.unique(np.linspace(-1, len(steps), count + 2)[1:-1].round().astype(np.int64))]
