"""What of torch's errors a function stops, read from its bytecode: that of CPython 3.11 to 3.14, which the tests know.
What cannot be read counts as stopping them. Knows neither torch's operations nor who calls whom."""

from __future__ import annotations

import dis
import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import torch

RAISED = (RuntimeError, torch.linalg.LinAlgError, IndexError)  # type: ignore[attr-defined]
"""What torch raises where numbers are such that it cannot compute: of a matrix that is not positive, of a row that is
not there."""
JUMPS = {*dis.hasjrel, *dis.hasjabs}
ALWAYS = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
"""Jumps that are taken whatever is there."""
RETURNING = {"RETURN_VALUE", "RETURN_CONST"}
LEFT, RAISED_ANEW = "POP_EXCEPT", "RAISE_VARARGS"
ENDING = {LEFT, RAISED_ANEW, "RERAISE", "WITH_EXCEPT_START", *RETURNING}
"""Where a way through a handler ends; a `with` is looked at by what it calls."""
LONG = "EXTENDED_ARG"
"""What stands before an instruction whose argument is above 255, as before a jump over a long handler."""
NAMING = {"LOAD_GLOBAL", "LOAD_ATTR", "BUILD_TUPLE", LONG}
"""What an `except` names classes by that are the same whenever it is reached."""


class Handling(NamedTuple):
    """What a function may do with an error that is raised within it, of many trials maybe for one.

    stops: it goes on where torch raised, by an `except` for it or for all, or by leaving a `finally`. turns: it raises
    something else in its place. others: it goes on where something else was raised.
    """

    stops: bool = False
    turns: bool = False
    others: bool = False

    @classmethod
    def of(cls, code: CodeType, names: Mapping[str, Any]) -> Handling:
        """What a function of this code may do, whose globals and builtins have these names."""
        steps = [*dis.get_instructions(code)]
        starts = [place for place, each in enumerate(steps) if each.opname == "PUSH_EXC_INFO"]
        torchs = {end for place in starts for end in _ends(steps, place, names)}
        others = {end for place in starts for end in _ends(steps, place, None)}
        return cls(LEFT in torchs, RAISED_ANEW in torchs, LEFT in others)

    @classmethod
    def by(cls, leave: FunctionType) -> Handling:
        """What a `with` may do that is left by this `__exit__`: where it may return more than None and False, go on."""
        steps = [each for each in dis.get_instructions(leave) if each.opname != LONG]
        ends = [(before, step) for before, step in itertools.pairwise(steps) if step.opname in RETURNING]
        goes_on = any(_may_be_true(before, step) for before, step in ends)
        return cls(goes_on, any(map(_raises_anew, steps)), goes_on)


def stopped(classes: Any) -> bool:
    """Whether an `except` of a class, or of a tuple of them, stops what torch raises. None: nobody knows of which."""
    if isinstance(classes, tuple):
        return any(map(stopped, classes))
    known = isinstance(classes, type) and issubclass(classes, BaseException)
    return not known or any(issubclass(each, classes) for each in RAISED)


def _raises_anew(step: dis.Instruction) -> bool:
    """Whether that raises another error than the one in hand."""
    return step.opname == RAISED_ANEW and bool(step.arg)


def _may_be_true(before: dis.Instruction, step: dis.Instruction) -> bool:
    """Whether that may be true which an instruction returns, be it a constant of its own or what one before it left."""
    if step.opname == "RETURN_CONST":
        return bool(step.argval)
    return before.opname != "LOAD_CONST" or bool(before.argval) or step.is_jump_target


def _ends(steps: Sequence[dis.Instruction], start: int, names: Mapping[str, Any] | None) -> Iterator[str]:
    """How the ways through a handler end that an error of torch's may take; without names: any error."""
    at = {each.offset: place for place, each in enumerate(steps)}
    ways, seen, clauses = [start], set[int](), {start + 1}
    while ways:
        place = ways.pop()
        if place in seen:
            continue
        seen.add(place)
        step = steps[place]
        if step.opname == LEFT or _raises_anew(step):
            yield step.opname
        if step.opname in ENDING:
            continue
        if step.opname == "CHECK_EXC_MATCH":  # what follows jumps where the error is another
            jump = next(after for after in range(place + 1, len(steps)) if steps[after].opname != LONG)
            clauses.add(at[steps[jump].argval])
            ways.append(at[steps[jump].argval])
            if names is None or stopped(_named(steps, place, clauses, names)):
                ways.append(jump + 1)
            continue
        if step.opcode in JUMPS:
            ways.append(at[step.argval])
        if step.opname not in ALWAYS:
            ways.append(place + 1)


def _named(steps: Sequence[dis.Instruction], end: int, clauses: set[int], names: Mapping[str, Any]) -> Any:
    """What the `except` names whose classes are looked for at `end`; None where that cannot be read from the code."""
    start = end
    while steps[start - 1].opname in NAMING:
        start -= 1
    if start not in clauses:
        return None
    held: list[Any] = []
    for step in steps[start:end]:
        if step.opname == "LOAD_ATTR":
            held.append(_attribute(held.pop(), step.argval))
        elif step.opname == "BUILD_TUPLE":
            held[-step.argval :] = [tuple(held[-step.argval :])]
        elif step.opname != LONG:
            held.append(names.get(step.argval))
    return held.pop()


def _attribute(holder: Any, name: str) -> Any:
    """What a module or class has by a name, none of its code being called: that might import half a package."""
    scopes = [holder] if isinstance(holder, ModuleType) else holder.__mro__ if isinstance(holder, type) else []
    return next((vars(each)[name] for each in scopes if name in vars(each)), None)
