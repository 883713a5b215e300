"""Blocks: what the `study:` section of a file and the command line declare together.

Works on plain values and words; composing is left to a function that it is given.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import product
from typing import Any

from thalweg.data.schema import MEASURES
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.section import GRID, AnalysisSection, BlockSection, StudySection
from thalweg.runner.config.words import Word, axis_word, flattened, override_text, parse_word
from thalweg.runner.study.derive import parse_expression
from thalweg.runner.study.durations import DURATIONS, steps_from_durations
from thalweg.runner.study.keys import (
    beside_numbers,
    check_types,
    coerced,
    flatten,
    is_setting,
    leaf_of,
    nearest,
    refuse_unknown_keys,
    shown,
    trial_config,
    unknown_key,
    wrong_value,
)
from thalweg.runner.study.ranges import Points, as_number, check_count, looks_like_range, numeric_values
from thalweg.runner.study.study import REPLICATE, Analysis, Axis, Base, Block, Expectation, Study, updates_at
from thalweg.runner.study.target import fitted, is_argument, may_be_argument, no_argument
from thalweg.runner.study.trial import TrialConfig


@dataclass(frozen=True)
class Overrides:
    """What the command line says about trials. `axes`: key -> axis word, one value or several; groups included.

    choices and values are single ones: the option word of a group, the value word of a key.
    """

    choices: Mapping[str, Word]
    values: Mapping[str, Word]
    axes: Mapping[str, Word]

    @property
    def keys(self) -> list[str]:
        """Every key and group that was typed."""
        return [*self.choices, *self.values, *self.axes]


Compose = Callable[[Sequence[str], Sequence[str]], tuple[Base, Mapping[str, Any]]]
"""Group choice words and value words -> a base and its unresolved configuration."""


def build(name: str, section: StudySection, groups: Mapping[str, Any], overrides: Overrides, compose: Compose) -> Study:
    """Return the study that a section and the command line declare together.

    An override of a key that is an axis, var or replicate replaces it in every block that has it; any other value
    sets the base; any other sweep is an axis of every block. One that a block's `use` or `derive` would overwrite
    is refused.
    """
    declared = {key for block in section.grids for key in block.axes} | set(section.replicate)
    replicate = next(iter(section.replicate), REPLICATE)
    builder = _Builder(section, groups, overrides, compose, replicate, declared)
    for key in section.vars:
        if key in overrides.axes and key not in declared:
            raise ConfigError(f"{key} is a var that no block has as an axis", "leave it out")
    blocks = tuple(builder.block(block) for block in section.grids)
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
            words = self._axis_words(declared)
            for key in words:
                if key in declared.derive or key in {word.key for word in used}:
                    raise ConfigError(f"{key} is an axis and set by use or derive as well", "keep one of them")
            group_axes = tuple(self._group_axis(word) for key, word in words.items() if key in self.groups)
            free = [word for key, word in words.items() if key not in self.groups]
            free.sort(key=lambda word: word.key == self.replicate)
            bases, measured = self._bases(used, group_axes, free)
            expect = declared.expect
            block = Block(
                name=declared.name,
                bases=bases,
                axes=tuple(self._axis(word, bases[0].at({})) for word in free),
                group_axes=group_axes,
                derive={key: str(text) for key, text in declared.derive.items()},
                expect=Expectation(expect.slope, expect.tolerance) if expect else None,
            )
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


def axis_values(key: str, items: Sequence[Any]) -> list[Scalar]:
    """Return the values of an axis in the type of its key, equal ones once; a var holds finite numbers."""
    leaf = leaf_of(key)
    if leaf is None:
        numbers = [float(value) for value in numeric_values(key, items)]
        if any(value - value != 0 for value in numbers):
            raise ConfigError(f"{key} holds a value that is not finite", "leave it out")
        return list(dict.fromkeys(numbers))
    values: Sequence[Any] = items
    if leaf.is_number:
        values = numeric_values(key, items, also=partial(beside_numbers, key))
    check_count(key, len(values))
    return list(dict.fromkeys(coerced(key, value) for value in values))


def argument_values(word: Word, config: Mapping[str, Any]) -> list[Scalar]:
    """Return the values of an axis over a target's argument, in the type that its YAML has in `config`.

    A text is a number or a range where it looks so, is not in quotes, and the YAML has no text.
    """
    key, values, all_written = word.key, [], dict(flatten(config))
    if key not in all_written:
        raise no_argument(key, config)
    written = all_written[key]
    for place, item in enumerate(word.items or ()):
        may_be_number = place not in word.quoted and not isinstance(written, str)
        if isinstance(item, Points) or (may_be_number and isinstance(item, str) and looks_like_range(item)):
            values += numeric_values(key, [item])
        elif isinstance(item, Mapping):
            raise ConfigError(f"axis {key} holds {shown(item)}; expected numbers, texts, true, false or lists")
        else:
            values.append(as_number(item) if may_be_number else item)
    check_count(key, len(values))
    if {type(value) for value in values} - {type(None)} == {int, float}:
        values = [value if value is None else float(value) for value in values]
    return list(dict.fromkeys(coerced(key, fitted(key, value, written)) for value in values))


def read_number(word: Word) -> Word:
    """Return a word for a number with that number as its text; a range makes it a sweep. Others stay as they are."""
    leaf, value = leaf_of(word.key), word.value
    if may_be_argument(word.key) and isinstance(value, bool | list | None):
        return word  # for a target; if it is not for one, the check of types says so
    if may_be_argument(word.key) and isinstance(value, str) and not word.is_sweep and "${" not in value:
        if looks_like_range(value) and 0 not in word.quoted:
            return replace(word, items=(value,), value=None)
        return word  # what the YAML has says whether a text is a number
    if leaf is None or not leaf.is_number or word.is_sweep or word.prefix == "~":
        return word
    if value == "" or value == []:
        check_count(word.key, 0)
    if value is None or isinstance(value, bool | list):
        if value is None and beside_numbers(word.key, None):
            return word
        raise wrong_value(leaf, value)
    if isinstance(value, str) and "${" in value:
        return word
    if isinstance(value, str) and ".." in value:
        return replace(word, items=(value,), value=None)
    number = coerced(word.key, numeric_values(word.key, [value], also=partial(beside_numbers, word.key))[0])
    return replace(word, value=number, text=override_text(word.prefix, word.key, number))


def check_option(group: str, option: Any, groups: Mapping[str, Any]) -> None:
    """Refuse an option that a group does not have, naming the nearest."""
    nested = {
        f"{name}/{o}".removeprefix(f"{group}/")
        for name in groups
        for o in groups[name]
        if f"{name}/".startswith(f"{group}/")
    }
    if not isinstance(option, str) or option not in nested:
        close = difflib.get_close_matches(str(option), nested, n=1)
        listed = f"it has {', '.join(sorted(nested))}"
        raise ConfigError(
            f"{group} has no option {shown(option)}; {listed}",
            f"did you mean {group}={close[0]}?" if close else None,
        )


def _checked_block(block: Block, metric: str, measured: Sequence[str]) -> Block:
    """Check keys and types of every axis value and derived key against every base, and settle durations.

    Trials that do not measure the study's metric are refused as well.
    """
    for base in block.bases:
        first = {axis.key: axis.values[0] for axis in block.axes}
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
                        f"derive {key} reads {name!r}, which is no axis, key, or key derived above it",
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
