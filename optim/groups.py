"""Parameter groups: which parameters a pattern of names holds. Knows names alone, neither modules nor rates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from thalweg.optim.schema import Groups
from thalweg.runner.base.errors import ConfigError

SHOWN = 6
"""Names of parameters that a sentence lists."""


def matches(pattern: str, name: str) -> bool:
    """Whether a parameter's name is meant: `head.*`, or one of several as in `*norm*|*.bias`. `*` spans dots."""
    return any(fnmatchcase(name, part.strip()) for part in pattern.split("|"))


def assigned(groups: Groups, names: Sequence[str], still: Collection[str] = ()) -> dict[str, str]:
    """Return parameter -> its group, for those that have one. still: names of those that the model itself freezes.

    Raises ConfigError for a pattern that means no parameter, for two that mean the same one, for a group of nothing
    that trains, and if none is left to train.
    """
    group_of: dict[str, str] = {}
    for group, settings in groups.named:
        own = [name for name in names if matches(settings.match, name)]
        if not own:
            said = f"groups.{group}.match is {settings.match!r}, which matches no parameter of the model"
            raise ConfigError(said, f"its parameters: {_listed(names)}")
        if twice := [name for name in own if name in group_of]:
            said = f"groups.{group_of[twice[0]]} and groups.{group} both match {_listed(twice)}"
            raise ConfigError(said, "change a pattern: each parameter belongs to one group at most")
        if not settings.freeze and all(name in still for name in own):
            said = f"groups.{group} matches only parameters that the model itself freezes, {_listed(own)}"
            raise ConfigError(said, "take the group away, or let the model leave their requires_grad as it is")
        group_of |= dict.fromkeys(own, group)
    frozen = {group for group, settings in groups.named if settings.freeze}
    if names and all(name in still or group_of.get(name) in frozen for name in names):
        listed = " and ".join([*["the model itself"] * bool(still), *(f"groups.{group}" for group in sorted(frozen))])
        said = f"{listed} {'freeze' if frozen else 'freezes'} every parameter of the model"
        raise ConfigError(said, "leave one to train")
    return group_of


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
