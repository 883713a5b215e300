"""What a W&B run says of a trial: its labels, config, history rows and summary. Pure: no wandb, no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.runner.base.canonical import Scalar, tagged_hash
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.study.trial import SHOWN

TAG_LIMIT = 64  # W&B refuses longer tags
LABEL_LIMIT = 128  # and longer group, job type and project names
RUN_ID_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class ExportTrial:
    """One trained trial, as plain data. `series` loads its series and is called only when the run is written.

    studies: the studies it belongs to, the one that trained it first. block and axes: its place in that one.
    """

    trial_id: str
    config: Mapping[str, Any]
    outcome: Outcome
    diverged_step: int | None
    metrics: Mapping[str, float]
    series: Callable[[], Mapping[str, Series]]
    weight_hash: str | None
    seconds: float
    studies: tuple[str, ...]
    block: str
    axes: Mapping[str, Scalar]


@dataclass(frozen=True)
class RunContent:
    """All that is sent to W&B for one trial. history: (optimizer step, metric -> finite value), ascending."""

    run_id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    history: list[tuple[int, dict[str, float]]]
    summary: dict[str, Any]
    exit_code: int


def run_id(trial_id: str) -> str:
    """The W&B run id of a trial: always the same, so that a second upload meets the first."""
    return trial_id[:RUN_ID_DIGITS]


def fingerprint(trial: ExportTrial, destination: tuple[str, str | None], points: int) -> str:
    """A hash of what a written run holds and where it belongs.

    Covers the trial (by its id), its results, the W&B project and entity, and the history's length. Does not
    cover membership: a trial that joins a further study is not written again for a tag.
    """
    content = {
        "trial": trial.trial_id,
        "outcome": str(trial.outcome),
        "diverged_step": trial.diverged_step,
        "metrics": _finite(trial.metrics),
        "weight_hash": trial.weight_hash,
        "destination": list(destination),
        "points": points,
    }
    return tagged_hash("thalweg.wandb.v1", content)


def run_content(trial: ExportTrial, points: int) -> RunContent:
    """Load the trial's series and lay out its run, with at most `points` history rows."""
    series = {name: _finite_part(one) for name, one in trial.series().items()}
    tags = (*trial.studies, str(trial.outcome))
    return RunContent(
        run_id=run_id(trial.trial_id),
        name=trial.trial_id[:SHOWN],
        group=label(trial.studies[0] if trial.studies else "", LABEL_LIMIT),
        job_type=label(trial.block, LABEL_LIMIT),
        tags=tuple(dict.fromkeys(label(tag, TAG_LIMIT) for tag in tags)),
        config={**trial.config, "axes": dict(trial.axes)},
        history=history(series, points),
        summary=_summary(trial, series),
        exit_code=1 if trial.outcome is Outcome.FAILED else 0,
    )


def history(series: Mapping[str, Series], points: int) -> list[tuple[int, dict[str, float]]]:
    """Rows at chosen steps, each with every metric observed there."""
    rows: dict[int, dict[str, float]] = {step: {} for step in chosen_steps(series, points)}
    for name, one in sorted(series.items()):
        for step, value in zip(one.steps.tolist(), one.values.tolist(), strict=True):
            if step in rows:
                rows[step][name] = value
    return list(rows.items())


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


def _summary(trial: ExportTrial, series: Mapping[str, Series]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        **_finite(trial.metrics),
        "outcome": str(trial.outcome),
        "diverged_step": trial.diverged_step,
        "weight_hash": trial.weight_hash,
        "seconds": trial.seconds,
        "trial_id": trial.trial_id,
    }
    seen = [float(x) for x in series["val/loss"].values] if "val/loss" in series else []
    seen += [x for name, x in _finite(trial.metrics).items() if name == "val/loss"]
    if seen:
        summary["best/val/loss"] = min(seen)
    return {key: value for key, value in summary.items() if value is not None}


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _finite_part(series: Series) -> Series:
    """Without a diverged trial's last, non-finite values: W&B's aggregates never recover from one NaN."""
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
