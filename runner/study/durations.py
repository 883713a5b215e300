"""Which configuration keys may be written as epochs (`10ep`) or a share of the run (`5%`), and the steps they become.

Works on plain dicts; knows no schema and checks no other value. Where all that is there trains, files are read to know
how long an epoch is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from thalweg.optim.duration import in_steps, unit_of
from thalweg.runner.base.errors import ConfigError

EPOCH = ("dataset.train_size", "budget.batch_size")
DURATIONS = {
    "budget.steps": EPOCH,
    "schedule.warmup": (*EPOCH, "budget.steps"),
    "schedule.cooldown": (*EPOCH, "budget.steps"),
}
"""Keys counted in steps that may be written as epochs (`10ep`) -> the keys the conversion reads.
Those of a schedule may also be a share of the run (`5%`). All are rounded up to whole steps."""


def is_duration(key: str, text: str) -> bool:
    """Whether `text` is a duration that `key` takes: `10ep`, and `5%` for the parts of a schedule."""
    unit = unit_of(text)
    return key in DURATIONS and (unit == "ep" or (unit == "%" and "budget.steps" in DURATIONS[key]))


def steps_from_durations(plain: dict[str, Any]) -> None:
    """Replace durations by whole steps, in place, rounded up; leave what is not a duration to the typed check."""
    for key in DURATIONS:
        section, name = key.split(".")
        value = plain.get(section, {}).get(name) if isinstance(plain.get(section), dict) else None
        if isinstance(value, str) and is_duration(key, value):
            dataset = plain.get("dataset", {})
            size = dataset.get("train_size")
            if unit_of(value) == "ep" and size is None and "train_size" in dataset:
                size = _trainable(dataset)
                if size is None:
                    hint = "write how many train, as dataset.train_size=1000"
                    said = f"{key} is {value}, but an epoch of dataset.train_size=null has no known length"
                    raise ConfigError(said, f"{hint}: too many are refused, with the number there is")
            steps = _steps(value.strip(), plain, size)
            if steps is not None:
                plain[section][name] = steps


def _trainable(dataset: Mapping[str, Any]) -> int | None:
    """How many examples train of all that are there, where files say so and no code of the user's has to run."""
    from thalweg.data.check import trainable  # here, as it imports numpy, which most plans go without

    return trainable(dataset)


def _steps(text: str, plain: Mapping[str, Any], size: Any) -> int | None:
    if unit_of(text) == "%":
        steps = plain.get("budget", {}).get("steps")
        return in_steps(text, steps) if _is_count(steps) else None
    batch = plain.get("budget", {}).get("batch_size")
    if not _is_count(size) or not _is_count(batch):
        return None
    return in_steps(text, Fraction(size) / Fraction(batch))


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < math.inf
