"""A trial's configuration as a tracker takes it: scalar leaves, one type a key, names without dots. Pure.

W&B's tables, scatter plots and parallel coordinates take a number or a text from each run, and read a dot as a step
into a section. So lists are texts, nothing is null, and what a study varies is under `axes/` with slashes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from thalweg.runner.base.canonical import Scalar, canonical_json, tagged_hash
from thalweg.runner.facts.row import lookup
from thalweg.runner.show.numbers import brief, is_number, rate
from thalweg.runner.study.keys import leaves
from thalweg.runner.study.target import KEY

LR, WD = "optimizer.lr", "optimizer.weight_decay"
CELL_DIGITS = 8


def configuration(
    trial_id: str, config: Mapping[str, Any], axes: Mapping[str, Scalar], replicate: str | None
) -> dict[str, Any]:
    """Return the sections of a configuration, its place on its study's axes, and the key that its replicates share."""
    return {
        **_section("", config),
        **_axes(config, axes),
        "cell": cell(config, replicate),
        "trial/id": trial_id,
    }


def cell(config: Mapping[str, Any], replicate: str | None) -> str:
    """Return a text that is equal for trials that differ in nothing but their replicate, and for no others."""
    shared = _without(config, replicate.split(".")) if replicate else dict(config)
    digits = tagged_hash("thalweg.cell.v1", shared)[:CELL_DIGITS]
    return f"{readable(config, {key: value for key in (LR, WD) if is_number(value := lookup(config, key))})} {digits}"


def readable(config: Mapping[str, Any], point: Mapping[str, Scalar]) -> str:
    """Return a name such as `adamw lr 1/64 wd 0.08 seed 0`: the optimizer, then each axis that tells trials apart."""
    point = point or {LR: lookup(config, LR), "seed": lookup(config, "seed")}
    parts = [
        f"{brief(key)} {_shown(value)}" for key, value in point.items() if key != "optimizer" and value is not None
    ]
    return " ".join((option(config, "optimizer"), *parts))


def option(config: Mapping[str, Any], section: str) -> str:
    """Return the name of the option that a section is of; of a target, that of its class."""
    found = config.get(section)
    if not isinstance(found, Mapping):
        return ""
    return str(found.get("name") or str(found.get(KEY, "")).rpartition(".")[2])


def _section(prefix: str, config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= {key: inner} if (inner := _section(f"{prefix}{key}.", value)) else {}
        elif value is not None:
            found[key] = _leaf(f"{prefix}{key}", value)
    return found


def _leaf(key: str, value: Any) -> Scalar:
    """Return a value as the type that its key has in every option; null is no value, and left out by the caller.

    Arguments of the user's own models and data have no declared type: theirs is that of the value.
    """
    plain = str if _is_mixed(key) else (bool, int, float, str)
    return value if isinstance(value, plain) else canonical_json(value)


@cache
def _is_mixed(key: str) -> bool:
    """Whether options of one group have a key of different types."""
    return len({"number" if leaf.is_number else leaf.kind for leaf in leaves().get(key, ())}) > 1


def _axes(config: Mapping[str, Any], axes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Each coordinate, and what maps are drawn over: the logarithms of rate and decay, and their product."""
    lr, wd = lookup(config, LR), lookup(config, WD)
    drawn: dict[str, Scalar] = {"lr_x_wd": float(lr) * float(wd)} if is_number(lr) and is_number(wd) else {}
    for name, value in (("log10_lr", lr), ("log10_wd", wd)):
        if is_number(value) and value > 0:
            drawn[name] = math.log10(value)
    drawn |= {key.replace(".", "/"): _leaf(key, value) for key, value in axes.items() if value is not None}
    return {f"axes/{key}": value for key, value in drawn.items()}


def _without(config: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
    first, rest = path[0], path[1:]
    kept = {key: value for key, value in config.items() if key != first}
    if rest and isinstance(config.get(first), Mapping):
        kept[first] = _without(config[first], rest)
    return kept


def _shown(value: Scalar) -> str:
    """A value in few characters: 1/64, 0.08, 4, mlp."""
    if isinstance(value, float):
        text = rate(value)
        return f"0{text}" if text.startswith(".") else text
    return str(value).lower() if isinstance(value, bool) else str(value)
