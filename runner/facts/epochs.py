"""Axes that were given in epochs, as their readers see them: `8ep`, and not the steps that these are.

Where an epoch has as many steps in every trial, a coordinate stays that number of steps, to be ordered, widened and
compared by, and only looks like the epochs it was given in. Where a batch size beside it makes it another number of
steps here and there, the coordinate is the text. Steps are what a trial's configuration has in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from thalweg.optim.duration import in_steps, unit_of
from thalweg.runner.base.canonical import Scalar, as_dict
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.show.numbers import Epochs
from thalweg.runner.study.durations import DURATIONS, EPOCH
from thalweg.runner.study.study import Axis, Block, Member


def said(axes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Coordinates with texts in place of epochs, for what is written down."""
    return {key: str(value) if isinstance(value, Epochs) else value for key, value in axes.items()}


Given = Mapping[str, tuple[list[str], bool]]
"""Key -> the epochs that its axis was given in, and whether its coordinates are texts."""


def in_epochs(rows: Sequence[Row], blocks: Iterable[Block]) -> list[Row]:
    """Return the rows of a study as its readers see them."""
    given = {block.name: each for block in blocks if (each := given_in(block))}
    return [
        replace(row, axes=seen(row.axes, row.config, given[row.block])) if row.block in given else row for row in rows
    ]


def given_in(block: Block) -> Given:
    """Return which axes of a block were given in epochs."""
    found = {}
    for axis in block.axes:
        epochs = _epochs(axis) if axis.key in DURATIONS else []
        if epochs:
            found[axis.key] = epochs, any(isinstance(value, str) and unit_of(value) for value in axis.values)
    return found


def _epochs(axis: Axis) -> list[str]:
    items = (item.strip(" '\"[]") for item in axis.text.split(","))
    return [item for item in items if unit_of(item) == "ep"]


def known_by(member: Member, blocks: Iterable[Block]) -> dict[str, Scalar]:
    """Return the coordinates of a member as they will be read."""
    given = next((given_in(block) for block in blocks if block.name == member.block), {})
    return seen(member.axes, as_dict(member.trial.config), given) if given else dict(member.axes)


def seen(axes: Mapping[str, Scalar], config: Mapping[str, Any], given: Given) -> dict[str, Scalar]:
    """Return the coordinates of a trial with the epochs that their steps were given in."""
    made = dict(axes)
    size, batch = (lookup(config, key) for key in EPOCH)
    for key, (epochs, is_text) in given.items():
        value: Any = axes.get(key)
        if isinstance(value, int) and isinstance(size, int) and isinstance(batch, int):
            steps = {in_steps(each, Fraction(size, batch)): each for each in reversed(epochs)}
            if value in steps:
                made[key] = steps[value] if is_text else Epochs(value, steps[value])
    return made
