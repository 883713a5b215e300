"""A study: the set of trials that should exist, declared as blocks of axes. Pure: no hydra, no torch, no store.

`thalweg.runner.config` builds a Study from YAML and the command line; `expand` turns it into Members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, product
from math import prod
from typing import Any, Literal

from thalweg.data import files
from thalweg.optim.duration import unit_of
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study import fingerprint
from thalweg.runner.study.arithmetic import stamped
from thalweg.runner.study.condition import parse_condition
from thalweg.runner.study.derive import parse_expression
from thalweg.runner.study.durations import DURATIONS, steps_from_durations
from thalweg.runner.study.keys import READ_APART, checked_section, coerced, leaf_of, trial_config
from thalweg.runner.study.sampling import Sample, Spread
from thalweg.runner.study.stop import Stop
from thalweg.runner.study.trial import Trial, TrialConfig

REPLICATE = "seed"
"""The replicate axis of a study that names none, before there are several seeds too: a seed is nothing to choose."""

SAMPLE = "sample"
"""The bundle of the axes that a sample draws."""

CONFIRM_ABOVE = 10_000
"""A declaration of more trials than this is built only after `--yes`."""

MOST = 5_000_000
"""A declaration of more trials than this is not built at all: at 3.2 KB each these take 16 GB, and 10 minutes."""
FEW_ENOUGH, FEWER = f"expected {MOST:,} at most", "take fewer values, or make several studies of it, with a store each"


@dataclass(frozen=True)
class Axis:
    """One varied key (`optimizer.lr`), var (`lr_x_wd`) or group (`model`), and its values in declared order.

    `text` is the declaration as typed (`1/256..8:x2`), for people; values are what counts.
    """

    key: str
    values: tuple[Scalar, ...]
    text: str


@dataclass(frozen=True)
class Bundle:
    """Axes that take their values together: `points[i]` holds the i-th value of each of `keys`."""

    name: str
    keys: tuple[str, ...]
    points: tuple[tuple[Scalar, ...], ...]


@dataclass(frozen=True)
class Expectation:
    """What a block was expected to show, written down before it was run."""

    slope: float
    tolerance: float


@dataclass(frozen=True)
class Base:
    """A composed configuration for one combination of group choices.

    `at(updates)` returns the resolved nested dict with dotted `updates` applied; it must not share state
    between calls. `part(section, updates)` returns one section with updates of its own; None where a key of one
    section may change another.
    """

    choices: Mapping[str, str]
    at: Callable[[Mapping[str, Scalar]], dict[str, Any]]
    part: Callable[[str, Mapping[str, Scalar]], Any] | None = None


@dataclass(frozen=True)
class Block:
    """A grid: every base × the product of `axes`, with derived keys computed from them.

    Axes of one bundle count as one, whose values are the bundle's points. `exclude` is a condition over axes and
    derived keys: cells of which it is true are not wanted. A block that was read from a store has no bases: what it
    held is its members.
    """

    name: str
    axes: tuple[Axis, ...]  # value axes and vars, the replicate axis last
    bases: tuple[Base, ...] = ()
    group_axes: tuple[Axis, ...] = ()  # their product gives `bases`, in order
    derive: Mapping[str, str] = field(default_factory=dict)
    expect: Expectation | None = None
    bundles: tuple[Bundle, ...] = ()
    exclude: str | None = None
    sample: Sample | None = None  # what made the bundle called SAMPLE
    ranges: Mapping[str, tuple[Spread, bool]] = field(default_factory=dict)  # of its keys, and which are whole numbers

    @property
    def size(self) -> int:
        """Number of cells of the block, those that `exclude` takes away too, counted without building them."""
        chosen = [options for _, options in zip(self.bases, self._choices(), strict=False)]  # a stored block has none
        return sum(prod(_length(each, options) for each in self._factors(options)) for options in chosen)

    def grids(self) -> Iterator[tuple[Base, Iterator[dict[str, Scalar]]]]:
        """Each base, and the coordinates of its cells, derived keys aside; the last axis fastest."""
        for base, options in zip(self.bases, self._choices(), strict=True):
            points = product(*(_points(each, options) for each in self._factors(options)))
            yield base, ({**options, **dict(chain.from_iterable(point))} for point in points)

    @property
    def names(self) -> list[str]:
        """What `exclude` may speak of."""
        return [*(axis.key for axis in (*self.group_axes, *self.axes)), *self.derive]

    def _choices(self) -> Iterator[dict[str, Scalar]]:
        """The options of the group axes, a base each."""
        for options in product(*(axis.values for axis in self.group_axes)):
            yield dict(zip((axis.key for axis in self.group_axes), options, strict=True))

    def _factors(self, options: Mapping[str, Scalar]) -> list[Axis | Bundle]:
        """What is multiplied at some options of groups: the values of each axis, and the points of each bundle."""
        bundle_of = {key: bundle for bundle in self.bundles for key in bundle.keys}
        rest: dict[str, Axis | Bundle] = {}
        for axis in (*self.group_axes, *self.axes):
            bundle = bundle_of.get(axis.key)
            if bundle:
                rest[bundle.keys[0]] = bundle
            elif axis.key not in options:
                rest[axis.key] = axis
        return list(rest.values())


def _length(of: Axis | Bundle, options: Mapping[str, Scalar]) -> int:
    return len(of.values) if isinstance(of, Axis) else len(_points(of, options))


def _points(of: Axis | Bundle, options: Mapping[str, Scalar]) -> list[tuple[tuple[str, Scalar], ...]]:
    """The coordinates that an axis or a bundle gives a cell, those that agree with the options of groups."""
    if isinstance(of, Axis):
        return [((of.key, value),) for value in of.values]
    points = (tuple(zip(of.keys, point, strict=True)) for point in of.points)
    return [point for point in points if all(options.get(key, value) == value for key, value in point)]


@dataclass(frozen=True)
class Analysis:
    """A question the study asks of its trials, and the configuration keys it is about.

    | kind        | asks                                                                | keys       |
    |-------------|---------------------------------------------------------------------|------------|
    | coupling    | how the best weight decay moves with the rate                       | lr, wd     |
    | warmup      | which rates train without a spike, and how much warmup is enough    | lr, warmup |
    | sensitivity | how much is lost, on average over the rates, by a rate not the best | lr         |
    """

    kind: Literal["coupling", "warmup", "sensitivity"]
    lr: str
    wd: str | None = None
    warmup: str | None = None

    @property
    def against(self) -> str | None:
        """The key that is traded against the rate; None where the question is about the rate alone."""
        return self.wd or self.warmup

    @property
    def keys(self) -> dict[str, str]:
        """Role -> configuration key, as the study file has it."""
        roles = {"lr": self.lr, "wd": self.wd, "warmup": self.warmup}
        return {role: key for role, key in roles.items() if key is not None}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A declared set of trials and the question it answers.

    `overridden` says that the command line changed axes or base: such a declaration only adds members. `hypothesis`
    is what its author expects, in a sentence, where a block's slope and tolerance cannot say it. `stop` is the rule
    that stops trials early; None trains all to their end. `document` is the declaration as JSON values, for people.
    What only a store knows: `declared`, the time (ISO 8601, UTC), and `refinements`, how often trials were added after
    a look at results.
    """

    name: str
    question: str
    metric: str
    direction: Literal["min", "max"]
    replicate: str | None  # the axis whose values are replicates, normally "seed"
    vars: tuple[str, ...]
    blocks: tuple[Block, ...]
    analyses: tuple[Analysis, ...] = ()
    overridden: bool = False
    hypothesis: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    declared: str = ""
    refinements: int = 0
    stop: Stop | None = None

    @property
    def size(self) -> int:
        """Number of declared cells, excluded ones too; equal trials in several blocks are counted in each."""
        return sum(block.size for block in self.blocks)

    @property
    def analysis(self) -> Analysis | None:
        """The first question, whose keys name the axes of maps and tables."""
        return self.analyses[0] if self.analyses else None


@dataclass(frozen=True)
class Member:
    """A trial as a study sees it: the block that declares it and its coordinates there.

    `axes` maps every axis of the block (groups, values, vars, replicate) and every derived key to its value.
    """

    trial: Trial
    block: str
    axes: Mapping[str, Scalar]


def expand(study: Study) -> list[Member]:
    """Return the members of a study, block by block, the last axis fastest. Pure; 10,000 take about a second.

    The user's files are walked once. Raises ConfigError for more than MOST, before any is made, and for a combination
    of values that no trial can have, naming the block.
    """
    if study.size > MOST:
        raise ConfigError(f"this declares {study.size:,} trials; {FEW_ENOUGH}", FEWER)
    files.forget()
    fingerprint.forget()
    members: list[Member] = []
    for block in study.blocks:
        try:
            members += _members(block)
        except ConfigError as error:
            where = f"block {block.name!r}: " if len(study.blocks) > 1 else ""
            raise ConfigError(f"{where}{error.message}", error.hint) from None
    return members


def updates_at(
    block: Block, base: Base, coordinates: Mapping[str, Scalar]
) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Return what to set in `base` at a point of the block, derived keys included; and the derived ones alone."""
    updates = {key: value for key, value in coordinates.items() if leaf_of(key)}
    derived: dict[str, Scalar] = {}
    for key, text in block.derive.items():
        value = parse_expression(text).value(partial(_number, base, coordinates, derived, updates))
        updates[key] = derived[key] = coerced(key, value)
    return updates, derived


def _members(block: Block) -> Iterator[Member]:
    for base, cells in grids(block):
        configs = _Configs(base)
        for coordinates in cells:
            updates, derived = updates_at(block, base, coordinates)
            config = configs.at(updates)
            for key in DURATIONS:  # a share of a run is a coordinate in steps; epochs are what a reader knows them by
                if isinstance(value := coordinates.get(key), str) and unit_of(value) != "ep":
                    section, _, name = key.partition(".")
                    coordinates[key] = getattr(getattr(config, section), name)
            yield Member(Trial(stamped(config)), block.name, {**coordinates, **derived})


@dataclass(frozen=True)
class _Configs:
    """The configurations of a base's cells. Sections that are read by themselves are made once for their values.

    Made whole for each cell, those of 100,000 took half of a plan and most of its memory.
    """

    base: Base
    _wholes: dict[Any, TrialConfig] = field(default_factory=dict)
    _parts: dict[Any, Any] = field(default_factory=dict)

    def at(self, updates: Mapping[str, Scalar]) -> TrialConfig:
        """Return `trial_config` of the base with these updates."""
        apart: dict[str, dict[str, Scalar]] = {}
        rest = []
        for key, value in updates.items():
            section = key.partition(".")[0]
            if self.base.part and section in READ_APART:
                apart.setdefault(section, {})[key] = value
            else:
                rest.append((key, type(value), value))
        whole = self._wholes.get(tuple(rest))
        if whole is None:
            whole = self._wholes[tuple(rest)] = trial_config(self.base.at(updates))
            return whole
        try:
            parts = {section: self._part(section, own) for section, own in apart.items()}
        except ConfigError:  # said of the whole configuration
            return trial_config(self.base.at(updates))
        return replace(whole, **parts) if parts else whole

    def _part(self, section: str, updates: Mapping[str, Scalar]) -> Any:
        key = section, tuple((type(value), value) for value in updates.values())
        if key not in self._parts:
            assert self.base.part
            self._parts[key] = checked_section(section, self.base.part(section, updates))
        return self._parts[key]


def grids(block: Block) -> Iterator[tuple[Base, Iterator[dict[str, Scalar]]]]:
    """Each base of a block, and the coordinates of the cells that `exclude` leaves it."""
    if block.exclude is None:
        return block.grids()
    condition = parse_condition(block.exclude, block.names)

    def kept(base: Base, cells: Iterator[dict[str, Scalar]]) -> Iterator[dict[str, Scalar]]:
        return (each for each in cells if not condition.holds(partial(_value, block, base, each)))

    return ((base, kept(base, cells)) for base, cells in block.grids())


def _value(block: Block, base: Base, coordinates: Mapping[str, Scalar], name: str) -> Scalar:
    """The value of an axis or a derived key at a cell; a duration counts in steps."""
    if name in block.derive:
        return updates_at(block, base, coordinates)[1][name]
    value = coordinates[name]
    if name in DURATIONS and isinstance(value, str):
        plain = base.at(updates_at(block, base, coordinates)[0])
        steps_from_durations(plain)
        value = _at(plain, name)
    return value


def _number(
    base: Base,
    coordinates: Mapping[str, Scalar],
    derived: Mapping[str, Scalar],
    updates: Mapping[str, Scalar],
    name: str,
) -> int | float:
    value: Any = derived.get(name, coordinates.get(name))
    if not isinstance(value, int | float):
        plain = base.at(updates)
        steps_from_durations(plain)
        value = _at(plain, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        raise ConfigError(f"{name} is {value!r}; expected a finite number to derive from")
    return value


def _at(plain: Any, key: str) -> Any:
    for name in key.split("."):
        plain = plain.get(name) if isinstance(plain, Mapping) else None
    return plain
