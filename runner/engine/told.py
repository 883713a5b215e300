"""Numbers that a user's model or loss tells of a step: `thalweg.log`. Whoever takes a pass listens; else nobody hears.

Knows neither models nor steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from numbers import Real
from typing import get_args

import torch
from torch import Tensor

from thalweg.data.schema import MEASURES
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.settings import EachStep

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,63}")
TAKEN = {"batch_loss", *get_args(EachStep), *chain.from_iterable(MEASURES.values())}
"""Names of series and metrics that a trial has in any case, or may have."""


def log(name: str, value: Tensor | float) -> None:
    """Tell a number of this training step, from a model's forward pass or a loss; it is stored as series `train/NAME`.

    Of several of one name in a pass the last counts. In evaluation, and outside of thalweg, it does nothing.
    """
    if not _heard:
        return
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"log is given the name {name!r}; expected up to 64 letters, digits and _ . / -")
    if name in TAKEN:
        raise ConfigError(f"log is given the name {name}, which thalweg has for a number of its own", "choose another")
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ConfigError(f"log({name!r}, …) is given a tensor of shape {list(value.shape)}; expected one number")
    if not isinstance(value, Tensor | Real):
        raise ConfigError(f"log({name!r}, …) is given a {type(value).__name__}; expected one number")
    _heard[-1].said[name] = value.detach().reshape(()) if isinstance(value, Tensor) else float(value)


class Heard:
    """What was said in a pass. names: what is listened for, in order; None: anything, by who wants to know what."""

    def __init__(self, names: tuple[str, ...] | None) -> None:
        self.names = names
        self.said: dict[str, Tensor | float] = {}

    def numbers(self, like: Tensor) -> tuple[Tensor, ...]:
        """A number for each name, as a 0-d tensor; NaN for what was not said."""
        if unknown := [name for name in self.said if name not in (self.names or ())]:
            seen = f"log({unknown[0]!r}, …) was not called when the model took its first steps, and is now"
            raise ConfigError(seen, "call it at every step, with float('nan') where there is nothing to tell")
        return tuple(_as(self.said.get(name, torch.nan), like) for name in self.names or ())


_heard: list[Heard] = []


@contextmanager
def hearing(names: tuple[str, ...] | None) -> Iterator[Heard]:
    """Where what is said is heard."""
    heard = Heard(names)
    _heard.append(heard)
    try:
        yield heard
    finally:
        _heard.remove(heard)


def refuse_measured(names: Iterable[str], measured: Iterable[str]) -> None:
    """Raise ConfigError for a name that a metric of the user's has."""
    for name in {*names} & {*measured}:
        raise ConfigError(f"log is given the name {name}, which a metric of yours has", "rename one of them")


def beside(losses: Tensor, told: tuple[Tensor, ...]) -> Tensor:
    """Losses `[…]`, with what was told of each beside it, if anything: `[…, 1 + L]`."""
    return torch.stack([losses, *told], dim=-1) if told else losses


def _as(value: Tensor | float, like: Tensor) -> Tensor:
    return value.to(like) if isinstance(value, Tensor) else like.new_full((), value)
