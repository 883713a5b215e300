"""Sampled axes: the words of a block that give a range to draw from (`1e-4..1:log`), and the points that are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.section import SampleSection
from thalweg.runner.config.words import Word
from thalweg.runner.study.keys import coerced, flatten, leaf_of
from thalweg.runner.study.sampling import FORMS, Sample, Spread, drawn, parse_spread
from thalweg.runner.study.study import SAMPLE, Axis, Bundle
from thalweg.runner.study.target import is_argument

TPE_BATCH = 16
Ranges = Mapping[str, tuple[Spread, bool]]


def _sample_of(section: SampleSection) -> Sample:
    if section.method == "tpe":
        return Sample(section.n, section.method, section.seed, section.batch or TPE_BATCH)
    if section.batch:
        why = f"{section.method} asks for all at once"
        raise ConfigError(f"study.sample.batch is {section.batch}, but {why}", "leave it out, or write method: tpe")
    return Sample(section.n, section.method, section.seed)


@dataclass(frozen=True)
class Drawn:
    """What a block draws: its points, the axes that they are of by key, and the ranges."""

    sample: Sample
    bundle: Bundle
    axes: Mapping[str, Axis]
    ranges: Ranges


def sampled(
    section: SampleSection | None, words: Sequence[Word], config: Mapping[str, Any], replicate: str | None
) -> Drawn | None:
    """Return what a block draws; None where it draws nothing. Of tpe, the first batch."""
    spreads = {word.key: (word, spread) for word in words if (spread := _spread_of(word, config))}
    if not spreads and section is None:
        return None
    if section is None:
        word = next(iter(spreads.values()))[0]
        raise ConfigError(f"{word.text} draws points, and nothing says how many", "write study.sample.n=60")
    if not spreads:
        raise ConfigError("sample draws points, but no axis gives a range to draw from", f"write an axis as {FORMS}")
    if replicate in spreads:
        raise ConfigError(f"{replicate} repeats every cell, so it is not drawn", f"list its values: {replicate}=0..2")
    ranges = {key: (spread, _is_whole(key, config)) for key, (_, spread) in spreads.items()}
    _refuse_below_one(ranges, spreads)
    sample = _sample_of(section)
    if sample.method == "tpe":
        _refuse_beside([word.key for word in words if word.key not in {*spreads, replicate}])
    first = replace(sample, n=min(sample.n, sample.batch), method="sobol") if sample.method == "tpe" else sample
    points = [tuple(map(coerced, ranges, point)) for point in drawn(first, ranges)]
    columns = dict(zip(ranges, zip(*points, strict=True), strict=True))
    axes = {key: Axis(key, tuple(dict.fromkeys(columns[key])), spreads[key][0].typed) for key in columns}
    return Drawn(sample, Bundle(SAMPLE, tuple(ranges), tuple(points)), axes, ranges)


def _refuse_below_one(ranges: Ranges, spreads: Mapping[str, tuple[Word, Spread]]) -> None:
    """Refuse whole numbers that are drawn evenly in the logarithm from below 1, where there is no end to begin with."""
    for key, (spread, whole) in ranges.items():
        if whole and spread.log and spread.low < 1:
            typed = spreads[key][0].text
            raise ConfigError(f"{typed} draws whole numbers evenly in the logarithm", "start at 1, or write :lin")


def _refuse_beside(keys: Sequence[str]) -> None:
    if keys:
        hint = f"give {keys[0]} one value, or make a block for each"
        raise ConfigError(f"tpe looks for one best point, but {keys[0]} has values beside it", hint)


def _spread_of(word: Word, config: Mapping[str, Any]) -> Spread | None:
    """The range that a word gives to draw from; None for values. Raises ConfigError for both at once."""
    leaf, items = leaf_of(word.key), word.items or ()
    is_text = (
        isinstance(_written(word.key, config), str) if is_argument(word.key, config) else leaf and not leaf.is_number
    )
    if is_text:
        return None
    unquoted = [item for place, item in enumerate(items) if isinstance(item, str) and place not in word.quoted]
    found = [spread for item in unquoted if (spread := parse_spread(item))]
    if found and len(items) > 1:
        raise ConfigError(f"{word.text} mixes a range to draw from with other values", "write one or the other")
    return found[0] if found else None


def _is_whole(key: str, config: Mapping[str, Any]) -> bool:
    leaf = leaf_of(key)
    if is_argument(key, config):
        return isinstance(_written(key, config), int)
    return leaf is not None and leaf.kind == "int"


def _written(key: str, config: Mapping[str, Any]) -> Any:
    return dict(flatten(config)).get(key)
