"""Series made small: every trial's on one grid of steps, values in two characters each. Pure; needs numpy.

3,000 trials of 600 steps are 14 MB as numbers and 0.4 MB here. A value keeps 12 bits over the decades that occur:
with six decades .3% a step, finer than a picture shows. Losses are drawn by their logarithm; so is what a model told
where it is positive and spans a decade, and anything else as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thalweg.runner.facts.observation import Series

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LEVELS = 64 * 64 - 2
MISSING = 64 * 64 - 1
BUDGET = 600_000
"""Characters that all losses of a report may take together, and all that was told beside them."""
MOST, FEWEST = 64, 6
"""Points of one curve."""
MOST_TOLD = 12
"""So many of the series that were told can be shown; W&B and `show ID` have all."""
DECADE = 10.0


@dataclass(frozen=True)
class Curves:
    """One series of many trials. `coded[i]` has two letters a step of `steps`, as far as trial i went.

    ends: what the lowest and highest level stand for, as log10 and for all trials if `log`, else trial by trial, so
    that one that diverged leaves the others their digits. span: steps that a point is the mean of, or, if `peaks`, the
    highest value of.
    """

    name: str
    steps: tuple[int, ...]
    ends: tuple[tuple[float, float], ...]
    span: int
    peaks: bool
    log: bool
    coded: tuple[str, ...]

    def packed(self) -> Mapping[str, object]:
        """As JSON."""
        return {
            "name": self.name,
            "steps": list(self.steps),
            "ends": [[float(f"{end:.6g}") for end in each] for each in self.ends],
            "span": self.span,
            "peaks": self.peaks,
            "log": self.log,
            "coded": list(self.coded),
        }


def chosen_series(names: Iterable[str], metric: str) -> list[str]:
    """Return which series a reader wants to see: the training loss and the study's metric, or what there is."""
    names = sorted(set(names))
    losses = [name for name in names if name.startswith("train/") and name.endswith("loss")]
    training = sorted(losses, key=lambda name: name != "train/batch_loss")  # others are a model's own
    wanted = training[:1] + [name for name in names if name == metric and name not in training[:1]]
    if len(wanted) < 2:
        wanted += [name for name in names if name.endswith("loss") and name not in wanted]
    return (wanted or names)[:2]


def told_series(names: Iterable[str], chosen: Sequence[str]) -> list[str]:
    """Return the series that a model, or `evaluation.scalars`, told of its steps, beside those that are chosen."""
    told = sorted({name for name in names if name.startswith("train/")} - {*chosen, "train/batch_loss"})
    return told[:MOST_TOLD]


def pack(
    name: str, trials: Sequence[Series | None], most: int, *, peaks: bool = False, log: bool | None = True
) -> Curves | None:
    """Return one series of every trial in at most `most` points each, spikes kept if `peaks`; None if none has it.

    log: by the logarithm, which leaves out what is not positive. None: where all is positive and spans a decade.
    """
    there = [one for one in trials if one is not None and len(one.steps)]
    if not there:
        return None
    seen: dict[bytes, np.ndarray] = {one.steps.tobytes(): one.steps for one in there}
    every = np.unique(np.concatenate(list(seen.values())))
    width = 1 if len(every) <= most else -(-(int(every[-1]) + 1) // most)
    grid = every if width == 1 else np.unique(every // width)
    thinned = [_thinned(one, grid, width, peaks) if one is not None else np.empty(0) for one in trials]
    every_value = np.concatenate(thinned)
    by_log = _spans_decades(every_value) if log is None else log
    ends = tuple(_ends(values, by_log) for values in ([every_value] if by_log else thinned))
    steps = grid if width == 1 else grid * width + width // 2
    lengths = [*map(len, thinned)]
    low, high = np.repeat(np.array(ends).T, [sum(lengths)] if by_log else lengths, axis=1)
    letters = _coded(every_value, low, high, by_log)
    cuts = 2 * np.cumsum([0, *lengths])
    coded = tuple(letters[start:end] for start, end in pairwise(cuts.tolist()))
    return Curves(name, tuple(int(step) for step in steps), ends, width, peaks, by_log, coded)


def _spans_decades(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() >= DECADE * finite.min())


def _ends(values: np.ndarray, log: bool) -> tuple[float, float]:
    """The least and the largest that can be drawn, as they are coded; never the same."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(finite):
        return 0.0, 1.0
    low, high = (float(np.log10(end)) if log else float(end) for end in (finite.min(), finite.max()))
    return low, max(high, low + 1e-6 * max(1.0, abs(low)))


def points_for(trials: int, series: int) -> int:
    """Return how many points a curve may have for all of them to stay within BUDGET."""
    return max(FEWEST, min(MOST, BUDGET // max(1, 2 * trials * series)))


def _thinned(one: Series, grid: np.ndarray, width: int, peaks: bool) -> np.ndarray:
    """Mean or maximum over each point of `grid`, NaN where there is no value; as long as the series goes."""
    place = np.searchsorted(grid, one.steps // width)
    if peaks:
        highest = np.full(place[-1] + 1 if len(place) else 0, np.nan)
        np.fmax.at(highest, place, one.values)
        return highest
    counts = np.bincount(place)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.bincount(place, weights=one.values) / np.where(counts, counts, np.nan)


def _coded(values: np.ndarray, low: np.ndarray, high: np.ndarray, log: bool) -> str:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        span = high / 2 - low / 2  # halves: both ends of floats are a float apart
        scaled = np.rint(((np.log10(values) if log else values) / 2 - low / 2) / span * LEVELS)
    level = np.where(np.isfinite(scaled), np.clip(np.nan_to_num(scaled), 0, LEVELS), MISSING).astype(np.int64)
    level = np.where((values == 0) & log, 0, level)
    letters = np.frombuffer(LETTERS.encode(), dtype=np.uint8)
    return np.stack([letters[level // 64], letters[level % 64]], axis=1).tobytes().decode()
