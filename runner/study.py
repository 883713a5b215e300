"""A study: the set of trials that should exist, declared as blocks of axes. Pure: no hydra, no torch, no store.

`runner.config` builds a Study from YAML and the command line; `expand` turns it into Members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.canonical import Scalar
from runner.trial import Trial


@dataclass(frozen=True)
class Axis:
    """One varied key (`optimizer.lr`), var (`lr_x_wd`) or group (`model`), and its values in declared order.

    `text` is the declaration as typed (`1/256..8:x2`), for people; values are what counts.
    """

    key: str
    values: tuple[Scalar, ...]
    text: str


@dataclass(frozen=True)
class Expectation:
    """What a block was expected to show, written down before it was run."""

    slope: float
    tolerance: float


@dataclass(frozen=True)
class Base:
    """A composed configuration for one combination of group choices.

    `at(updates)` returns the resolved nested dict with dotted `updates` applied; it must not share state
    between calls.
    """

    choices: Mapping[str, str]
    at: Callable[[Mapping[str, Scalar]], dict[str, Any]]


@dataclass(frozen=True)
class Block:
    """A grid: every base × the product of `axes`, with derived keys computed from them."""

    name: str
    bases: tuple[Base, ...]
    axes: tuple[Axis, ...]  # value axes and vars, the replicate axis last
    group_axes: tuple[Axis, ...] = ()  # their product gives `bases`, in order
    derive: Mapping[str, str] = field(default_factory=dict)
    expect: Expectation | None = None

    @property
    def size(self) -> int:
        """Number of trials the block declares, counted without building them."""
        size = len(self.bases)
        for axis in self.axes:
            size *= len(axis.values)
        return size


@dataclass(frozen=True)
class Analysis:
    """A question the study asks of its trials. `lr` and `wd` name configuration keys."""

    kind: Literal["coupling"]
    lr: str
    wd: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """A declared set of trials and the question it answers.

    `overridden` says that the command line changed axes or base: such a declaration only adds members.
    """

    name: str
    question: str
    metric: str
    direction: Literal["min", "max"]
    replicate: str | None  # the axis whose values are replicates, normally "seed"
    vars: tuple[str, ...]
    blocks: tuple[Block, ...]
    analysis: Analysis | None = None
    overridden: bool = False

    @property
    def size(self) -> int:
        """Number of declared cells; equal trials in several blocks are counted in each."""
        return sum(block.size for block in self.blocks)


@dataclass(frozen=True)
class Member:
    """A trial as a study sees it: the block that declares it and its coordinates there.

    `axes` maps every axis of the block (groups, values, vars, replicate) and every derived key to its value.
    """

    trial: Trial
    block: str
    axes: Mapping[str, Scalar]
