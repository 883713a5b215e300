"""What a process finds out once, when it first takes a step of a user's model: by its imports, by its torch.

Compares no module with another: `examine` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from thalweg.runner.engine.digest import tensor_digest
from thalweg.runner.engine.generators import others_state, torch_state
from thalweg.runner.engine.gradient import own_gradient
from thalweg.runner.engine.passes import feed_of, outputs_of
from thalweg.runner.engine.world import Look, World

if TYPE_CHECKING:
    from thalweg.runner.engine.workload import Workload


def differs_by_cache(workload: Workload, world: World, first: object) -> bool:
    """Whether passes with what is cached are alike, and unlike the first, which found nothing."""
    later = []
    for _ in range(2):
        world.restore()
        later.append(_first_pass(workload, 0))
        if later[0] == first:
            return False
    return later[0] == later[1]


def changed_by(workload: Workload, step: int, look: Look, packages: Sequence[str]) -> tuple[object, Look, World]:
    """What a first pass gives, the look once that is settled which it found out, and what it changed since: evaluation
    may undo what training did."""
    seen = list[World]()
    given = _first_pass(workload, step, lambda: seen.append(look.settled(packages).changed(packages)))
    look = look.settled(packages)
    return given, look, seen[0].joined(look.changed(packages))


def _first_pass(workload: Workload, step: int, then: Callable[[], None] = lambda: None) -> object:
    """Build a module, and take that step of a seed of its own as its first one; then evaluate. Returns the loss, and
    what generators are at."""
    seed = workload.config.seed + step
    lone = workload.lone(replace(workload.config, seed=seed))
    loss, _, _ = own_gradient(workload)(workload.start_own((lone,)), feed_of(workload, step))
    drawn = torch_state(workload.device), others_state()
    then()
    outputs_of(workload, lone)
    return tensor_digest(loss), drawn


def undetermined_by(workload: Workload) -> str | None:
    """The first operation of a step of which torch has no deterministic kernel on this GPU; None if it has all."""
    if workload.device.type != "cuda":
        return None
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        _first_pass(workload, 0)
    except Exception as error:  # any other will be met again
        found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        return found and found[1]
    finally:
        torch.set_deterministic_debug_mode(mode)
    return None


def set_once(workload: Workload, world: World, packages: Sequence[str]) -> frozenset[str]:
    """Places that the first module of a process sets, whatever its seed and its data, and no later one: no state.

    As registers of classes, and what a package finds out when it is first used.
    """
    first, look = world.texts(), Look.at(packages)
    try:
        _, _, changed = changed_by(workload, 1, look, packages)
        again, later = {str(part.place) for part in changed.parts}, world.texts()
        imported = _set_by_imports(workload, world) - again
        world = world.without(imported)
        world.restore()
        _first_pass(workload, 1)
    except Exception:  # what cannot be built or taken from there, a trial of it will say
        return frozenset()
    kept = {name for name, text in world.texts().items() if text == first[name] == later[name]}
    return imported | (kept - again)


def _set_by_imports(workload: Workload, world: World) -> frozenset[str]:
    """Places that the first pass of a process sets, and the same from the same state no more: what it imported did.

    Where such a place is as it was, the pass misses a name, which its error says, or leaves the place so.
    """
    after, missed = world.values(), set[str]()
    while True:
        world.without(frozenset(missed)).restore()
        before = world.texts()
        try:
            _first_pass(workload, 0)
            break
        except Exception as error:
            name = _missing_name(error)
            found = {place for place in after if place.rpartition(".")[2] == name and place not in missed}
            if not found:
                raise
            missed |= found
            world.put(after, found)
    left = {name for name, text in world.texts().items() if text == before[name]} | missed
    world.put(after, left)
    return frozenset(left)


def _missing_name(error: BaseException) -> str | None:
    """The name that was not there, of an error of a user's code."""
    cause = error if isinstance(error, NameError | AttributeError) else error.__cause__
    return cause.name if isinstance(cause, NameError | AttributeError) else None
