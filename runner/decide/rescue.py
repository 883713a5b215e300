"""Where no cell of a panel is usable: which rates to try instead, as the direction can be read off the results.

| what the rates ended as                               | then                                        |
|-------------------------------------------------------|---------------------------------------------|
| even the smallest diverged                            | smaller ones                                |
| the loss stands still                                 | larger ones: nothing has moved yet          |
| it does at rates very far apart, up to large ones     | none: it is not the rate                    |
| the loss falls from rate to rate, up to the largest   | larger ones: nothing has moved far yet      |
| it falls up to a rate beyond which trials diverged    | between these two                           |
| it is least at the smallest rate, or alike at all     | smaller ones                                |
| it is alike at rates that lie very far apart          | none: it is not the rate                    |
| it is least in between                                | none: it is not the rate                    |
| the training split is learned, the other one is not   | none either                                 |
| a rate of 0 diverged, or no other was tried           | none either                                 |

Pure: knows which rates, not which trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from thalweg.runner.cells.cells import Cell
from thalweg.runner.cells.health import Health, is_guess, measured
from thalweg.runner.cells.noise import mean_of
from thalweg.runner.decide.ladder import Side, between, further
from thalweg.runner.show.numbers import is_number

FAR_OUT = 8.0
"""Points are at least this factor apart: rates that all fail are seldom off by one step of a fine grid."""
POINTS = 2
FALLING = 0.8
"""Share of the steps from one rate to the next, seed by seed, at which the loss must fall to be called falling."""
VERY_FAR, SMALL = 1e4, 1e-3
"""Rates are not to blame where the loss is alike over such a factor, and from so small a one on: a network that dies of
its first step at large rates is alike there."""
MOVING = 0.1
"""A rate at which a network that is alive moves; one whose loss stands still at smaller ones may need larger ones."""
ALIKE, STILL = 0.01, 1e-6
"""Losses that differ by less than this share are alike; and if by no more than rounding does, nothing has moved."""


@dataclass(frozen=True)
class Rescue:
    """Rates to try, and the rate whose cells they are made from; why says what was seen. points: none if no rate is
    to blame."""

    side: Side | Literal["between"] | None
    like: float
    points: tuple[float, ...]
    why: str


def rescue(cells: Sequence[Cell], key: str) -> Rescue | None:
    """Return the rates to try where no cell is usable; None where one is, or nothing was trained."""
    ended = [cell for cell in cells if cell.health not in (Health.UNTRAINED, Health.FAILED, Health.PRUNED)]
    if not ended or any(cell.usable for cell in cells) or not all(is_number(cell.coordinate(key)) for cell in ended):
        return None
    rates: dict[float, list[Cell]] = {}
    for cell in sorted(ended, key=lambda cell: float(cell.coordinate(key))):
        rates.setdefault(float(cell.coordinate(key)), []).append(cell)
    at_zero = rates.pop(0.0, [])  # at which nothing moves: it is compared with, and no step leads from it
    if at_zero and not _whole(at_zero):
        return Rescue(None, 0.0, (), "even a learning rate of 0 diverged: the learning rate is not the cause")
    if not rates:
        return Rescue(None, 0.0, (), "no learning rate above 0 was tried")
    whole = {rate: at for rate, at in rates.items() if _whole(at)}
    smallest, largest, tried = min(rates), max(rates), tuple(rates)
    if any(_learned(cell) for cell in ended):
        why = f"the training split is learned, but validation is {Health.GUESS}: the learning rate is not the cause"
        return Rescue(None, smallest, (), why)
    if smallest not in whole:
        where = "the smallest learning rate" if whole else f"every learning rate{' above 0' if at_zero else ''}"
        lost = not any(cell.n for at in ([rates[smallest]] if whole else rates.values()) for cell in at)
        why = f"{where} diverged" if lost else f"some trials diverged at {where}"
        return Rescue("below", smallest, _out(tried, "below"), why)
    seen = (
        Health.UNHEALTHY
        if {cell.health for at in whole.values() for cell in at} == {Health.UNHEALTHY}
        else Health.GUESS
    )
    losses = [_losses(at) for at in ([at_zero] if at_zero else []) + list(whole.values())]
    still = _stands_still(losses)
    if still and smallest <= SMALL and largest >= max(VERY_FAR * smallest, MOVING):
        return Rescue(None, smallest, (), f"{seen}, and nothing moved: the learning rate is not the cause")
    if still or _falls(losses):
        last = max(whole)
        if last == largest:
            why = "nothing moved" if still else "the loss still falls towards larger learning rates"
            return Rescue("above", largest, _out(tried, "above"), f"{seen}, and {why}")
        lost_at = min(rate for rate in rates if rate > last)
        why = f"{seen} up to one learning rate, diverged at the next"
        return Rescue("between", last, (between(last, lost_at, True),), why)
    means = [mean_of(_losses(at)) for at in whole.values()]
    alike = min(means) + ALIKE * abs(min(means))
    if max(means) <= alike and smallest <= SMALL and max(whole) >= VERY_FAR * smallest:
        why = f"{seen}, and no different at learning rates far apart: the learning rate is not the cause"
        return Rescue(None, smallest, (), why)
    if means[0] <= alike:
        why = f"{seen}, and the loss does not fall towards larger learning rates"
        return Rescue("below", smallest, _out(tried, "below"), why)
    if means[-1] <= alike and max(whole) == largest:
        why = f"{seen}, and the loss is least at the largest learning rates"
        return Rescue("above", largest, _out(tried, "above"), why)
    why = f"{seen} at any learning rate, and worst at both ends: the learning rate is not the cause"
    return Rescue(None, smallest, (), why)


def _whole(cells: Sequence[Cell]) -> bool:
    """Whether there is a cell none of whose trials diverged."""
    return any(cell.n and not cell.diverged for cell in cells)


def _learned(cell: Cell) -> bool:
    """Whether a cell that only guesses on the validation split does better on what it was trained on."""
    training = f"train/{cell.metric.rpartition('/')[2]}"
    return cell.health is Health.GUESS and bool(measured(cell.rows, training)) and not is_guess(cell.rows, training)


def _losses(cells: Sequence[Cell]) -> list[float]:
    """The losses of one rate's trials, in declared order: of training, which has less noise, where it is known."""
    found: list[float] = []
    for cell in cells:
        sign = 1.0 if cell.direction == "min" else -1.0
        for row in cell.rows:
            found += measured([row], "train/loss") or [sign * value for value in measured([row], cell.metric)]
    return found


def _steps(losses: Sequence[Sequence[float]]) -> list[float]:
    """What the loss does from one rate to the next, trial by trial."""
    return [b - a for one, other in pairwise(losses) for a, b in zip(one, other, strict=False)]


def _stands_still(losses: Sequence[Sequence[float]]) -> bool:
    steps = _steps(losses)
    return bool(steps) and all(abs(step) <= STILL * abs(losses[0][0]) for step in steps)


def _falls(losses: Sequence[Sequence[float]]) -> bool:
    """Whether the loss falls with the rate, trial by trial."""
    steps = _steps(losses)
    return bool(steps) and sum(step < 0 for step in steps) >= FALLING * len(steps) and sum(steps) < 0


def _out(rates: Sequence[float], side: Side) -> tuple[float, ...]:
    """Points beyond the rates tried, in their own steps, as many at a time as make a factor of `FAR_OUT`."""
    ends = sorted(rates)[-2:] if side == "above" else sorted(rates, reverse=True)[-2:]
    if len(ends) < 2:
        ends = [ends[0] * (0.1 if side == "above" else 10), ends[0]]
    step = abs(math.log(ends[1] / ends[0]))
    skip = max(1, math.ceil(math.log(FAR_OUT) / step - 1e-9))
    return tuple(further(ends, True, skip * POINTS)[skip - 1 :: skip])
