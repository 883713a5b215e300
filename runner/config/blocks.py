"""Blocks: what the `study:` section of a file and the command line declare together.

Works on plain values and words; composing is left to a function that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from typing import Any

from thalweg.data.schema import MEASURES
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.samples import sampled
from thalweg.runner.config.section import GRID, AnalysisSection, BlockSection, StudySection
from thalweg.runner.config.stops import stop_of
from thalweg.runner.config.values import argument_values, axis_values, check_option, read_number
from thalweg.runner.config.words import ZIP_EXAMPLE, Word, axis_word, flattened, override_text, parse_word
from thalweg.runner.show.numbers import count
from thalweg.runner.study.derive import parse_expression
from thalweg.runner.study.durations import DURATIONS, steps_from_durations
from thalweg.runner.study.keys import (
    check_types,
    flatten,
    is_setting,
    leaf_of,
    nearest,
    refuse_unknown_keys,
    trial_config,
    unknown_key,
)
from thalweg.runner.study.ranges import check_count
from thalweg.runner.study.study import (
    REPLICATE,
    Analysis,
    Axis,
    Base,
    Block,
    Bundle,
    Expectation,
    Study,
    grids,
    updates_at,
)
from thalweg.runner.study.target import is_argument, may_be_argument
from thalweg.runner.study.trial import TrialConfig


@dataclass(frozen=True)
class Overrides:
    """What the command line says about trials. `axes`: key -> axis word, one value or several; groups included.

    choices and values are single ones: the option word of a group, the value word of a key.
    """

    choices: Mapping[str, Word]
    values: Mapping[str, Word]
    axes: Mapping[str, Word]
    zips: Mapping[str, Word] = field(default_factory=dict)  # by name
    exclude: str | None = None

    @property
    def keys(self) -> list[str]:
        """Every key and group that was typed."""
        return [*self.choices, *self.values, *self.axes, *self.zipped]

    @property
    def zipped(self) -> list[str]:
        """Every key and group that was typed within a zip."""
        return [word.key for zip_ in self.zips.values() for word in zip_.zipped]


Compose = Callable[[Sequence[str], Sequence[str]], tuple[Base, Mapping[str, Any]]]
"""Group choice words and value words -> a base and its unresolved configuration."""


def build(name: str, section: StudySection, groups: Mapping[str, Any], overrides: Overrides, compose: Compose) -> Study:
    """Return the study that a section and the command line declare together.

    An override of a key that is an axis, var or replicate replaces it in every block that has it; any other value
    sets the base; any other sweep is an axis of every block. One that a block's `use` or `derive` would overwrite
    is refused.
    """
    declared = {key for block in section.grids for key in block.axes} | set(section.replicate)
    declared |= {key for block in section.grids for axes in block.zip.values() for key in axes}
    replicate = next(iter(section.replicate), REPLICATE)
    builder = _Builder(section, groups, overrides, compose, replicate, declared)
    for key in section.vars:
        if key in overrides.axes and key not in declared:
            raise ConfigError(f"{key} is a var that no block has as an axis", "leave it out")
    blocks = tuple(builder.block(block) for block in section.grids)
    stop = stop_of(section)
    return Study(
        name=name,
        question=section.question,
        hypothesis=section.hypothesis,
        metric=section.metric,
        direction=section.best_is,
        replicate=replicate,
        vars=section.vars,
        blocks=blocks,
        analyses=_analyses(section.analysis),
        stop=stop,
    )


def _analyses(section: AnalysisSection | None) -> tuple[Analysis, ...]:
    if section is None:
        return ()
    said = {each.name: getattr(section, each.name) for each in fields(section)}
    made = [Analysis(**{"kind": kind, **asdict(keys)}) for kind, keys in said.items() if keys is not None]
    for analysis in made:
        for key in analysis.keys.values():
            leaf = leaf_of(key)
            if leaf is None or not leaf.is_number:
                raise ConfigError(
                    f"study.analysis.{analysis.kind} names {key!r}; expected a configuration key that holds a number"
                )
    return tuple(made)


@dataclass(frozen=True)
class _Builder:
    section: StudySection
    groups: Mapping[str, Any]
    overrides: Overrides
    compose: Compose
    replicate: str | None
    declared: set[str]

    def block(self, declared: BlockSection) -> Block:
        with _in_block(declared.name):
            used = [read_number(word) for text in declared.use for word in flattened(parse_word(text))]
            self._refuse_overwritten(used, declared.derive)
            zips = self._zips(declared)
            zipped = {word.key: word for words in zips.values() for word in words}
            words = {key: word for key, word in self._axis_words(declared).items() if key not in zipped} | zipped
            for key in words:
                if key in declared.derive or key in {word.key for word in used}:
                    raise ConfigError(f"{key} is an axis and set by use or derive as well", "keep one of them")
            group_axes = tuple(self._group_axis(word) for key, word in words.items() if key in self.groups)
            free = [word for key, word in words.items() if key not in self.groups]
            free.sort(key=lambda word: word.key == self.replicate)
            bases, measured = self._bases(used, group_axes, free)
            expect = declared.expect
            config = bases[0].at({})
            apart = [word for word in free if word.key not in zipped]
            draws = sampled(declared.sample, apart, config, self.replicate)
            drawn = draws.axes if draws else {}
            bundles = [self._bundle(name, words, config) for name, words in zips.items()]
            block = Block(
                name=declared.name,
                bases=bases,
                axes=tuple(drawn.get(word.key) or self._axis(word, config) for word in free),
                group_axes=group_axes,
                derive={key: str(text) for key, text in declared.derive.items()},
                expect=Expectation(expect.slope, expect.tolerance) if expect else None,
                bundles=tuple([*bundles, draws.bundle] if draws else bundles),
                sample=draws.sample if draws else None,
                ranges=draws.ranges if draws else {},
                exclude=(declared.exclude if self.overrides.exclude is None else self.overrides.exclude) or None,
            )
            if block.sample and block.sample.method == "tpe" and (zips or group_axes or block.exclude):
                what = "a zip" if zips else "exclude" if block.exclude else group_axes[0].key
                raise ConfigError(f"tpe looks for one best point, and takes no {what} beside it", "leave it out")
            return _checked_block(block, self.section.metric, measured)

    def _axis_words(self, declared: BlockSection) -> dict[str, Word]:
        yaml = {**declared.axes, **self.section.replicate}
        if self.replicate in declared.axes and self.section.replicate:
            raise ConfigError(f"{self.replicate} is the replicate axis and an axis of the block", "keep one of them")
        if self.replicate != REPLICATE and (REPLICATE in declared.axes or REPLICATE in self.overrides.axes):
            raise ConfigError(
                f"{REPLICATE} varies beside the replicate axis {self.replicate}, and no seed can be chosen as best",
                f"keep one of them as replicate: {{{REPLICATE}: 0..2}}",
            )
        words = {}
        for key, values in yaml.items():
            self._known(key)
            words[key] = self.overrides.axes.get(key) or self._single(key) or axis_word(key, values)
        return words | {key: word for key, word in self.overrides.axes.items() if key not in self.declared}

    def _zips(self, declared: BlockSection) -> dict[str, list[Word]]:
        """The axes of each zip. One from the command line takes the place of its name, and of axes that it has."""
        known = {name for block in self.section.grids for name in block.zip}
        said = {name: [axis_word(key, values) for key, values in axes.items()] for name, axes in declared.zip.items()}
        typed = {name: list(word.zipped) for name, word in self.overrides.zips.items()}
        zips = said | {name: words for name, words in typed.items() if name in declared.zip or name not in known}
        for name, words in zips.items():
            keys = [word.key for word in words]
            if not keys:
                raise ConfigError(f"zip {name} has no axes", f"write {name}={ZIP_EXAMPLE}")
            for key in keys:
                self._known(key)
                self._refuse_twice(name, key, [k for words in zips.values() for k in (w.key for w in words)], declared)
        return zips

    def _refuse_twice(self, name: str, key: str, zipped: Sequence[str], declared: BlockSection) -> None:
        """Refuse a key of a zip that something else sets as well."""
        typed = name in self.overrides.zips
        if key == self.replicate:
            raise ConfigError(f"{key} repeats every cell, and cannot be zipped with others", f"take it out of {name}")
        if zipped.count(key) > 1:
            raise ConfigError(f"{key} is zipped twice", "keep it in one zip")
        if key in declared.axes and not typed:
            raise ConfigError(f"{key} is an axis and in the zip {name} as well", "keep one of them")
        if key in {*self.overrides.choices, *self.overrides.values, *self.overrides.axes}:
            if typed:
                raise ConfigError(f"{key} is given by itself and in the zip {name} as well", "keep one of them")
            keys = ",".join(f"{other}=choice(…)" for other in declared.zip[name])
            hint = f"give the whole zip: {name}=zip({keys})"
            raise ConfigError(f"{key} takes its values together with others, in the zip {name}", hint)

    def _bundle(self, name: str, words: Sequence[Word], config: Mapping[str, Any]) -> Bundle:
        columns = [self._sequence(word, config) for word in words]
        if len({len(column) for column in columns}) > 1:
            each = ", ".join(f"{word.key} {len(column)}" for word, column in zip(words, columns, strict=True))
            raise ConfigError(f"the axes of zip {name} have different numbers of values: {each}", "give each as many")
        points = dict.fromkeys(zip(*columns, strict=True))
        return Bundle(name, tuple(word.key for word in words), tuple(points))

    def _sequence(self, word: Word, config: Mapping[str, Any]) -> list[Scalar]:
        """The values of a zipped axis, place by place: equal ones as often as they were given."""

        def values(of: Word) -> tuple[Scalar, ...]:
            return (self._group_axis(of) if word.key in self.groups else self._axis(of, config)).values

        if word.glob:
            return list(values(word))
        same = {value: value for value in values(word)}  # all in one type, where each by itself might be of its own
        ones = [
            replace(word, items=(item,), quoted=frozenset({0} if place in word.quoted else ()), shuffled=False)
            for place, item in enumerate(word.items or ())
        ]
        return word.in_order([same[value] for one in ones for value in values(one)])

    def _single(self, key: str) -> Word | None:
        word = self.overrides.values.get(key) or self.overrides.choices.get(key)
        return replace(word, items=(word.value,)) if word else None

    def _known(self, key: str) -> None:
        if is_setting(key):
            raise ConfigError(f"{key} says how trials are run, so it cannot be an axis", "leave it to the command line")
        if key not in self.groups and key not in self.section.vars and (leaf_of(key) is None or key.endswith(".name")):
            error = unknown_key(key, [*self.groups, *self.section.vars])
            if key.isidentifier() and "did you mean" not in (error.hint or ""):
                error.hint = f"a free axis is declared: vars: [{key}]"
            raise error

    def _refuse_overwritten(self, used: Sequence[Word], derive: Mapping[str, Any]) -> None:
        for word in used:
            if word.is_sweep or is_setting(word.key) or word.key.partition(".")[0] in ("study", *self.section.vars):
                raise ConfigError(f"use holds {word.text!r}; expected a group choice or a value of a trial")
            if word.key in self.groups:
                check_option(word.key, word.value, self.groups)
            elif word.prefix == "" and leaf_of(word.key) is None:
                raise unknown_key(word.key, self.groups)
        by = {**{word.key: "use" for word in used}, **dict.fromkeys(derive, "derive")}
        for key in self.overrides.keys:
            if key in by:
                raise ConfigError(
                    f"{key} cannot be set here, because the block's {by[key]} sets it", "edit the study file"
                )

    def _group_axis(self, word: Word) -> Axis:
        names = list(self.groups[word.key])
        items = word.glob(names) if word.glob else list(word.items or ())
        check_count(word.key, len(items))
        for item in items:
            check_option(word.key, item, self.groups)
        return Axis(word.key, tuple(dict.fromkeys(word.in_order(items))), word.typed)

    def _axis(self, word: Word, config: Mapping[str, Any]) -> Axis:
        if word.glob or word.items is None:
            raise ConfigError(f"{word.text} is a glob, but {word.key} is not a group", "list the values")
        own = is_argument(word.key, config)
        values = argument_values(word, config) if own else axis_values(word.key, word.items)
        return Axis(word.key, tuple(word.in_order(values)), word.typed)

    def _bases(
        self, used: Sequence[Word], group_axes: Sequence[Axis], free: Sequence[Word]
    ) -> tuple[tuple[Base, ...], list[str]]:
        """The bases of a block, and the names of what functions of the user's measure on its trials."""
        choices = [word.text for key, word in self.overrides.choices.items() if key not in self.declared]
        values = [word.text for key, word in self.overrides.values.items() if key not in self.declared]
        choices += [word.text for word in used if word.key in self.groups]
        values += [word.text for word in used if word.key not in self.groups]
        values += [  # an argument that the target's YAML does not have, and so is added
            override_text("+", word.key, None) for word in free if may_be_argument(word.key) and word.prefix == "+"
        ]
        bases = []
        for point in product(*(axis.values for axis in group_axes)):
            chosen = [f"{axis.key}={option}" for axis, option in zip(group_axes, point, strict=True)]
            base, config = self.compose([*choices, *chosen], values)
            refuse_unknown_keys(config)
            bases.append(base)
        return tuple(bases), [str(path).rpartition(".")[2] for path in config["evaluation"]["metrics"]]


def _checked_block(block: Block, metric: str, measured: Sequence[str]) -> Block:
    """Check keys and types of every axis value and derived key against every base, and settle durations.

    Trials that do not measure the study's metric are refused as well.
    """
    if all(next(cells, None) is None for _, cells in grids(block)):
        left = f"exclude leaves none of {count(block.size, 'cell')}: {block.exclude} is true of all"
        raise ConfigError(left, "change the condition, or leave it out")
    for base, cells in grids(block):
        first = next(cells, None)
        if first is None:
            continue
        present = dict(flatten(base.at({})))
        for key in [*(axis.key for axis in block.axes), *block.derive]:
            if leaf_of(key) is None and key in block.derive:
                raise unknown_key(key)
            if leaf_of(key) is not None and key not in present:
                raise unknown_key(key)
        known = {*present, *first}
        for key, text in block.derive.items():
            for name in parse_expression(text).names:
                if name not in known or (
                    name in block.derive and name not in list(block.derive)[: list(block.derive).index(key)]
                ):
                    raise ConfigError(
                        f"derive {key} reads {name!r}, which is not an axis, a key or a key derived above it",
                        f"did you mean {nearest(name, known)}?" if nearest(name, known) else None,
                    )
        updates, _ = updates_at(block, base, first)
        settled = not DURATIONS.keys() & {*updates}
        _refuse_unmeasured(metric, (trial_config if settled else check_types)(base.at(updates)), measured)
        for axis in block.axes:
            for value in _extremes(axis) if leaf_of(axis.key) else ():
                check_types(base.at({**updates, axis.key: value}))
    return replace(block, axes=tuple(_settled(axis, block) for axis in block.axes))


def _refuse_unmeasured(metric: str, config: TrialConfig, measured: Sequence[str]) -> None:
    dataset = config.dataset
    known = [f"{split}/{name}" for split in ("val", "train") for name in (*MEASURES[dataset.kind], *measured)]
    if metric not in known:
        raise ConfigError(
            f"study.metric is {metric!r}, which trials on dataset={dataset.name} cannot be judged by; "
            f"expected one of {', '.join(known)}"
        )


def _extremes(axis: Axis) -> list[Scalar]:
    """Return values that are right only if all are: bounds are intervals, so the ends and the odd ones will do."""
    numbers = [value for value in axis.values if isinstance(value, int | float)]
    odd = [value for value in axis.values if not isinstance(value, int | float) or value != value]
    fractions = [value for value in numbers if isinstance(value, float) and not value.is_integer()][:1]
    return odd + fractions + ([min(numbers), max(numbers)] if numbers else [])


def _settled(axis: Axis, block: Block) -> Axis:
    """Turn durations into steps where no axis or derived key moves what they are counted by."""
    reads = DURATIONS.get(axis.key, ())
    moved = {*(a.key for a in block.axes), *block.derive}
    if not any(isinstance(value, str) for value in axis.values) or not reads or moved & set(reads):
        return axis
    sizes = set()
    for base in block.bases:
        steps = []
        for value in axis.values:
            config = base.at({axis.key: value})
            steps_from_durations(config)
            steps.append(dict(flatten(config))[axis.key])
        sizes.add(tuple(dict.fromkeys(steps)))
    return replace(axis, values=sizes.pop()) if len(sizes) == 1 else axis


@contextmanager
def _in_block(name: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        if name == GRID:
            raise
        raise ConfigError(f"block {name!r}: {error.message}", error.hint) from None
