"""What the axes of a grid of three and more cost, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thalweg.runner.cells.costs import Cost
from thalweg.runner.show.numbers import count


def costs_said(costs: Sequence[Cost], metric: str, called: Callable[[str], str]) -> str:
    """Return what costs say of a metric. called: how an axis is named."""
    told = [each for each in costs if each.told]
    unsure = [each for each in costs if each.low is not None and not each.told]
    dead = [f"{each.dead} of {count(each.values, 'value')} of {_named(each, called)}" for each in costs if each.dead]
    found = []
    if told:
        found.append(_most(told[0], metric, called))
        found += [f"Then {_listed(told[1:], called)}."] if told[1:] else []
    if unsure:
        verb = "matters" if len(unsure) == 1 else "matter"
        found.append(f"The seeds cannot tell whether {_listed(unsure, called)} {verb}.")
    if any(each.cost is not None and each.low is None for each in costs):
        found.append("What each axis costs has no interval with one seed: noise alone looks like a cost then.")
    if max((each.seeds for each in costs), default=0) == 2:
        found.append("Two seeds leave these intervals very wide; a third seed would help most.")
    if dead:
        found.append(f"No cell is usable at {_list(dead)}: these are not part of the average.")
    return " ".join(found)


def _most(first: Cost, metric: str, called: Callable[[str], str]) -> str:
    becomes = f"multiplied by {first.worse.removeprefix('×')}" if first.by_factors else first.worse
    return (
        f"What matters most is {_named(first, called)}: with one of its {first.values} values taken at random, and the"
        f" best values of all other axes for it, {metric} is {becomes} on average."
    )


def _named(cost: Cost, called: Callable[[str], str]) -> str:
    """An axis, with those that a zip moves with it."""
    axis, *others = map(called, (cost.key, *cost.along))
    return f"{axis} with {_list(others)}" if others else axis


def _listed(costs: Sequence[Cost], called: Callable[[str], str]) -> str:
    return _list([f"{_named(each, called)} ({each.worse})" for each in costs])


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
