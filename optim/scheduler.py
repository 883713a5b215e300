"""The schedules of optim/schedule.py as torch LR schedulers; they hold no formula of their own."""

from __future__ import annotations

import math
import warnings
from copy import deepcopy
from inspect import Parameter, signature
from numbers import Real
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from thalweg.optim.duration import in_steps, unit_of
from thalweg.optim.schedule import FORMS

DURATIONS = ("warmup", "cooldown")
SCHEDULE = ("total", "form", "shape", "min_lr")  # what a loaded state does not change


class ScheduledLR(LRScheduler):
    """Any schedule of optim/schedule.py by its name: ScheduledLR(optimizer, 1000, "wsd", warmup="5%", cooldown=200).

    `shape` are the arguments of the closed form. A warmup or cooldown is steps (30), a share of the run ("5%") or
    epochs ("2ep", with `steps_per_epoch`), rounded up to whole steps; floor and start are shares of the base rate.
    `min_lr`, in place of floor, is the rate itself, the same for groups of any base rate.

    Call `step()` after each optimizer step. The first step is taken at the schedule's first value, not at the base
    rate; from step `total` on the rate stays where the schedule ends. Writes each group's "lr" (its own base rate times
    m) and "multiplier" (m, which independent decay follows). A loaded state brings the step and the base rates; the
    schedule stays the one given here, with a warning where it was another. ValueError or TypeError, with the optimizer
    as it was, for a warmup longer than the run, a share outside [0, 1] and any other value that makes no schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: int,
        form: str,
        *,
        steps_per_epoch: float | None = None,
        last_epoch: int = -1,
        min_lr: float | None = None,
        **shape: Any,
    ) -> None:
        if not isinstance(form, str) or form not in FORMS:
            raise ValueError(f"there is no schedule {form!r}; known: {', '.join(FORMS)}")
        self.total, self.form, self.min_lr = _whole("total", total, 1), form, _rate_or_none(min_lr, shape)
        self.shape = {
            name: _steps(name, value, self.total, steps_per_epoch) if name in DURATIONS else _one(name, value)
            for name, value in shape.items()
        }
        _check_names(form, {"floor", *shape} if self.min_lr is not None else {*shape})
        for group in getattr(optimizer, "param_groups", []):  # raises before the optimizer is touched
            self._multiplier_at(0, group.get("initial_lr", group["lr"]))
        super().__init__(optimizer, _whole("last_epoch", last_epoch, -1))

    @property
    def multiplier(self) -> float:
        """The schedule's m at the coming step; with `min_lr`, of the first group."""
        return self._multipliers()[0]

    def _multipliers(self) -> list[float]:
        return [self._multiplier_at(self.last_epoch, base) for base in self.base_lrs]

    def _multiplier_at(self, step: int, base: float | Tensor) -> float:
        floor = {} if self.min_lr is None else {"floor": self._floor(float(base))}
        return float(FORMS[self.form](step, self.total, **self.shape | floor))

    def _floor(self, base: float) -> float:
        if self.min_lr and self.min_lr > base:
            raise ValueError(
                f"min_lr is {self.min_lr:g}; it should be at most the learning rate of every group, here {base:g}"
            )
        return self.min_lr / base if self.min_lr else 0.0

    def get_lr(self) -> list[float | Tensor]:
        """Return each group's rate at the coming step."""
        return [base * m for base, m in zip(self.base_lrs, self._multipliers(), strict=True)]

    def step(self, epoch: int | None = None) -> None:
        """Move to the next step and write every group's rate and multiplier; a group that joined has its own rate."""
        self._count_groups_in()
        super().step(epoch)
        self._write_multipliers()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved step, at its rates; a group that joined since has its own."""
        if not {"base_lrs", "last_epoch"} <= state_dict.keys():
            raise ValueError("the loaded state is not a schedule's; it should have base_lrs and last_epoch")
        groups, saved = self.optimizer.param_groups, len(state_dict["base_lrs"])
        if saved > len(groups):
            raise ValueError(f"the loaded schedule is of {saved} groups, and the optimizer has {len(groups)}")
        self._tell_of_another(state_dict)
        place = {name: value for name, value in state_dict.items() if name in self.__dict__.keys() - SCHEDULE}
        super().load_state_dict(deepcopy(place))  # or a group that joins would be counted into the list of the saved
        self._count_groups_in()
        for group, base, rate in zip(groups, self.base_lrs, self.get_lr(), strict=True):
            group["initial_lr"] = deepcopy(base)
            group["lr"] = group["lr"].fill_(float(rate)) if isinstance(group["lr"], Tensor) else rate
        self._last_lr = [deepcopy(group["lr"]) for group in groups]
        self._write_multipliers()

    def _tell_of_another(self, state: dict[str, Any]) -> None:
        pairs = {name: (state[name], getattr(self, name)) for name in SCHEDULE if name in state}
        changed = [
            f"{name} {there!r} there and {here!r} here" for name, (there, here) in pairs.items() if there != here
        ]
        if changed:
            name, seen = type(self).__name__, ", ".join(changed)
            warnings.warn(f"{name} keeps its schedule, and the loaded state had another: {seen}", stacklevel=3)

    def _count_groups_in(self) -> None:
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            self.base_lrs.append(group.setdefault("initial_lr", deepcopy(group["lr"])))

    def _write_multipliers(self) -> None:
        for group, m in zip(self.optimizer.param_groups, self._multipliers(), strict=True):
            group["multiplier"] = m


class WarmupCosine(ScheduledLR):
    """Linear warmup over `warmup` steps, then half a cosine from the base rate to `floor` times it.

    warmup: steps (30), a share of the run ("5%") or epochs ("2ep", with `steps_per_epoch`). start, offset: in step t
    the warmup is at start + (1−start)·(t+offset)/warmup times the base rate. The rest as `ScheduledLR`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: int,
        warmup: int | str,
        *,
        floor: float = 0.0,
        start: float = 0.0,
        offset: Literal[0, 1] = 1,
        steps_per_epoch: float | None = None,
        last_epoch: int = -1,
        min_lr: float | None = None,
    ) -> None:
        super().__init__(
            optimizer,
            total,
            "warmup_cosine",
            steps_per_epoch=steps_per_epoch,
            last_epoch=last_epoch,
            min_lr=min_lr,
            warmup=warmup,
            floor=floor,
            start=start,
            offset=offset,
        )


def _steps(name: str, duration: int | str, total: int, steps_per_epoch: float | None) -> int:
    """Return a duration in steps; ValueError for one that cannot be counted."""
    duration, steps_per_epoch = _plain(duration), _plain(steps_per_epoch)
    if isinstance(duration, int) and not isinstance(duration, bool):
        return duration
    unit = unit_of(duration) if isinstance(duration, str) else None
    if unit is None:
        raise ValueError(
            f'{name} is {duration!r}; it should be steps (30), a share of the run ("5%") or epochs ("2ep")'
        )
    per_unit = total if unit == "%" else steps_per_epoch
    if per_unit is None:
        raise ValueError(f"{name} is {duration!r}, and steps_per_epoch is not given; give it, or count in steps")
    if not (_is_number(per_unit) and 0 < per_unit < math.inf):
        raise ValueError(f"steps_per_epoch is {per_unit!r}; it should be a finite number above 0")
    return in_steps(str(duration), float(per_unit))


def _whole(name: str, value: Any, least: int) -> int:
    """Return a count as an int; ValueError for what is none, or too small."""
    value = _plain(value)
    if not (_is_number(value) and least <= value < math.inf and value == int(value)):
        raise ValueError(f"{name} is {value!r}; it should be a whole number of at least {least}")
    return int(value)


def _one(name: str, value: Any) -> Any:
    """Return the value of an argument, which the closed form checks; ValueError for several."""
    if np.ndim(value) != 0:
        raise ValueError(f"{name} is {value!r}; it should be one value")
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return Python's own number or bool for numpy's and torch's, so that a state can be saved with it."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _rate_or_none(min_lr: Any, shape: dict[str, Any]) -> float | None:
    """Return `min_lr` as a float; it takes the place of a floor of 0 in `shape`."""
    min_lr = _plain(min_lr)
    if min_lr is None:
        return None
    if not (_is_number(min_lr) and 0 <= min_lr < math.inf):
        raise ValueError(f"min_lr is {min_lr!r}; it should be a finite number of at least 0")
    floor = shape.pop("floor", 0.0)
    if floor != 0:
        raise ValueError(f"floor is {floor!r} and min_lr {min_lr!r}; give one of them")
    return float(min_lr)


def _check_names(form: str, given: set[str]) -> None:
    """TypeError for an argument that the closed form lacks or cannot do without."""
    known = list(signature(FORMS[form]).parameters.values())[2:]
    names = [item.name for item in known]
    if given - set(names):
        raise TypeError(f"{form} has no {', '.join(sorted(given - set(names)))}; it takes {', '.join(names)}")
    missing = [item.name for item in known if item.default is Parameter.empty and item.name not in given]
    if missing:
        raise TypeError(f"{form} needs {', '.join(missing)}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
