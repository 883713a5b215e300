"""Learning-rate schedules as closed forms of the step, in float64 numpy. It knows no torch and no rate.

A schedule emits a multiplier m of the peak rate. All arguments broadcast: `[T, 1]` steps with `[K]` shapes give
`[T, K]`, and a step costs the same wherever it lies, so that a resumed run needs no history.

Of t the 0-based step, T the steps in all and W those of the warmup, each begins with (Goyal et al. 2017,
arXiv:1706.02677, gradual warmup)

    m = start + (1−start)·(t+offset)/W      for t < W

offset 1, the default, ends at the peak and wastes no step; offset 0 takes its first step at `start` itself.
From step T on each stays where it ended.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike


def warmup_cosine(
    step: ArrayLike,
    total: ArrayLike,
    warmup: ArrayLike,
    floor: ArrayLike = 0.0,
    start: ArrayLike = 0.0,
    offset: ArrayLike = 1,
) -> np.ndarray:
    """Return m, after the warmup floor + (1−floor)·½(1+cos π(t−W)/(T−W)), then floor.

    Loshchilov & Hutter (2017, arXiv:1608.03983), without restarts. floor, start: in [0, 1]. Raises ValueError
    for one out of range and for a warmup longer than the run.
    """
    t, T, W, low = _checked(step, total, warmup, floor=floor)
    fall = low + (1 - low) * 0.5 * (1 + np.cos(np.pi * _share(t - W, T - W)))
    return _warmed(t, W, start, offset, np.where(t < T, fall, low))


def linear(
    step: ArrayLike,
    total: ArrayLike,
    warmup: ArrayLike,
    floor: ArrayLike = 0.0,
    start: ArrayLike = 0.0,
    offset: ArrayLike = 1,
) -> np.ndarray:
    """Return m, after the warmup floor + (1−floor)·(T−t)/(T−W), then floor.

    With floor 0 linear-to-zero, the schedule that Defazio et al. (2023, arXiv:2310.07831) found best of those they
    compared. Raises as `warmup_cosine`.
    """
    t, T, W, low = _checked(step, total, warmup, floor=floor)
    fall = low + (1 - low) * (1 - _share(t - W, T - W))
    return _warmed(t, W, start, offset, np.where(t < T, fall, low))


def constant(
    step: ArrayLike, total: ArrayLike, warmup: ArrayLike, start: ArrayLike = 0.0, offset: ArrayLike = 1
) -> np.ndarray:
    """Return m, 1 after the warmup, in step T and beyond too. Raises as `warmup_cosine`."""
    t, T, W = _checked(step, total, warmup)
    return _warmed(t, W, start, offset, np.ones(np.broadcast_shapes(t.shape, T.shape, W.shape)))


def inverse_sqrt(
    step: ArrayLike, total: ArrayLike, warmup: ArrayLike, start: ArrayLike = 0.0, offset: ArrayLike = 1
) -> np.ndarray:
    """Return m, after the warmup √(W/(t+offset)), at its value in step T from there on.

    Vaswani et al. (2017, arXiv:1706.03762, section 5.3), scaled to a peak of 1. W = 0 counts as 1. Raises as
    `warmup_cosine`.
    """
    t, T, W = _checked(step, total, warmup)
    peak = np.maximum(W, 1)
    return _warmed(t, W, start, offset, np.sqrt(peak / np.maximum(np.minimum(t, T) + _digit("offset", offset), peak)))


def wsd(
    step: ArrayLike,
    total: ArrayLike,
    warmup: ArrayLike,
    cooldown: ArrayLike,
    floor: ArrayLike = 0.0,
    root: ArrayLike = False,
    start: ArrayLike = 0.0,
    offset: ArrayLike = 1,
) -> np.ndarray:
    """Return m, 1 until the last D = `cooldown` steps, there floor + (1−floor)·(1−q) of q = (t−T+D)/D, then floor.

    Warmup, stable, decay: Hu et al. (2024, arXiv:2404.06395). With `root` the decay is 1−√q, which Hägele et al.
    (2024, arXiv:2405.18392) prefer. Raises as `warmup_cosine`, and where warmup and cooldown together are longer
    than the run.
    """
    t, T, W, D, low = _checked(step, total, warmup, cooldown, floor=floor)
    by_root = _flag("root", root)
    q = np.where(t < T, _share(t - (T - D), D), 1.0)
    return _warmed(t, W, start, offset, low + (1 - low) * (1 - np.where(by_root, np.sqrt(q), q)))


def one_cycle(step: ArrayLike, total: ArrayLike, warmup: ArrayLike, start: ArrayLike, floor: ArrayLike) -> np.ndarray:
    """Return m: half a cosine from `start` up to 1 in step W−1, half a cosine down to `floor` in step T−1.

    Smith & Topin (2018, arXiv:1708.07120), as torch.optim.lr_scheduler.OneCycleLR without the cycle of the
    momentum. Raises as `warmup_cosine`.
    """
    t, T, W, low = _checked(step, total, warmup, floor=floor)
    first = _fraction("start", start)
    top = np.maximum(W - 1, 0)
    up = 1 + (first - 1) * 0.5 * (1 + np.cos(np.pi * _share(t, top)))
    down = low + (1 - low) * 0.5 * (1 + np.cos(np.pi * _share(t - top, T - 1 - top)))
    return np.where(t < top, up, np.where(t < T, down, low))


FORMS: dict[str, Callable[..., np.ndarray]] = {
    "warmup_cosine": warmup_cosine,
    "linear": linear,
    "constant": constant,
    "inverse_sqrt": inverse_sqrt,
    "wsd": wsd,
    "one_cycle": one_cycle,
}
"""Name -> schedule; a configuration of that name has the arguments of the same names."""


def _warmed(t: np.ndarray, W: np.ndarray, start: ArrayLike, offset: ArrayLike, then: np.ndarray) -> np.ndarray:
    """Return the warmup while t < W, then what follows it."""
    first = _fraction("start", start)
    rise = (t + _digit("offset", offset)) / np.maximum(W, 1)
    return np.where(t < W, first + (1 - first) * rise, then)


def _share(done: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return done/whole within [0, 1]."""
    return np.asarray(np.clip(done / np.maximum(whole, 1), 0, 1))


def _checked(step: ArrayLike, total: ArrayLike, *spans: ArrayLike, **fractions: ArrayLike) -> list[np.ndarray]:
    """Return all in float64; ValueError unless each span is ≥ 0, all fit into the run, and fractions are in [0, 1]."""
    t, T = _numbers("step", step), _numbers("total", total)
    _refuse("step", t, ~((t >= 0) & np.isfinite(t)), "at least 0")
    _refuse("total", T, ~((T >= 1) & np.isfinite(T)), "a number of steps, at least 1")
    parts = [_numbers(name, span) for name, span in zip(("warmup", "cooldown"), spans, strict=False)]
    for count, name in enumerate(("warmup", "warmup + cooldown")[: len(parts)], start=1):
        used = np.broadcast_arrays(*parts[:count])
        whole, long, least = np.broadcast_arrays(T, np.add.reduce(used), np.minimum.reduce(used))
        bad = ~((least >= 0) & (long <= whole))
        if bad.any():
            raise ValueError(
                f"{name} is {long[bad][0]:g} of {whole[bad][0]:g} steps; it should be between 0 and all of them"
            )
    return [t, T, *parts, *(_fraction(name, value) for name, value in fractions.items())]


def _fraction(name: str, value: ArrayLike) -> np.ndarray:
    fraction = _numbers(name, value)
    _refuse(name, fraction, ~((fraction >= 0) & (fraction <= 1)), "between 0 and 1")
    return fraction


def _digit(name: str, value: ArrayLike) -> np.ndarray:
    digits = _numbers(name, value)
    _refuse(name, digits, (digits != 0) & (digits != 1), "0 or 1")
    return digits


def _flag(name: str, value: ArrayLike) -> np.ndarray:
    flags = np.asarray(value)
    if flags.dtype.kind != "b":
        raise ValueError(f"{name} is {value!r}; it should be True or False")
    return flags


def _numbers(name: str, value: ArrayLike) -> np.ndarray:
    """Return real numbers as float64; ValueError for text, bools and whatever else numpy would convert."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {value!r}; it should be a number")
    return array.astype(np.float64)


def _refuse(name: str, values: np.ndarray, bad: np.ndarray, wanted: str) -> None:
    if bad.any():
        raise ValueError(f"{name} is {np.atleast_1d(values)[np.atleast_1d(bad)][0]:g}; it should be {wanted}")
