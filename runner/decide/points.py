"""New points of a block: members made from the configuration of a trial that is stored beside them.

No YAML is composed: what a block holds besides its axes is already in its trials, so a study can be refined when
its file is gone. Knows no store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError, StoreError
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.study.arithmetic import stamped
from thalweg.runner.study.keys import coerced, trial_config
from thalweg.runner.study.study import Base, Block, Member, updates_at
from thalweg.runner.study.trial import SHOWN, Trial


def member_at(like: Row, block: Block | None, moved: Mapping[str, Scalar]) -> Member | None:
    """Return the member that differs from `like` in the coordinates `moved`; None where no trial can be there.

    Derived keys are computed anew, as `expand` would.
    """
    derive = dict(block.derive) if block else {}
    groups = {axis.key for axis in block.group_axes} if block else set()
    kept = {key: value for key, value in like.axes.items() if key not in derive}
    coordinates = {key: value for key, value in kept.items() if key not in groups}
    coordinates |= {key: coerced(key, value) for key, value in moved.items()}
    listed = {key for key in coordinates if isinstance(lookup(like.config, key), list)} - {*moved}

    def at(updates: Mapping[str, Scalar]) -> dict[str, Any]:  # a list, an axis' value as text, is in the trial already
        return _updated(like.config, {key: value for key, value in updates.items() if key not in listed})

    base = Base({}, at)
    grid = Block(like.block, (), (base,), derive=derive)
    try:
        updates, derived = updates_at(grid, base, coordinates)
        trial = Trial(stamped(trial_config(base.at(updates))))
    except KeyError:
        text = f"the configuration of trial {like.trial_id[:SHOWN]} is damaged"
        raise StoreError(text, "see what else is: thalweg store check") from None
    except ConfigError:  # a warmup longer than the run, a negative rate: nothing is there to be measured
        return None
    return Member(trial, like.block, {**kept, **coordinates, **derived})


def members_of(rows: Iterable[Row]) -> list[Member]:
    """Return stored rows as the members that they are."""
    return [Member(Trial(trial_config(_updated(row.config, {}))), row.block, row.axes) for row in rows]


def _updated(config: Mapping[str, Any], updates: Mapping[str, Scalar]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(config))
    for key, value in updates.items():
        *path, last = key.split(".")
        place = plain
        for name in path:
            place = place[name]
        place[last] = value
    return plain
