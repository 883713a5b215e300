"""What a model was seen to do besides computing. How it is seen is known to `examine`."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.runner.engine.copying import Aside


@dataclass(frozen=True)
class Habits:
    """What a model was seen to do.

    draws: it draws random numbers. steady: it leaves its Python attributes as they are, so that a recording holds.
    unused: parameters that get no gradient. apart: how it is measured, where evaluation would change it. alone: why
    each trial needs a module of its own, in words that follow "the model"; None where they may share one. writes: it
    writes what depends on its weights into tensors that it makes. mixes: in evaluation too, its answer for an example
    depends on the others beside it. tells: the names under which it logs numbers of a step, None before it was seen.
    as_compiled: it reads numbers of the data, and where torch compiles it none, with the same result: it is told so.
    undetermined: an operation of its step that rounds otherwise each time on this device; None where none is known.
    """

    draws: bool = False
    steady: bool = True
    unused: frozenset[str] = frozenset()
    apart: Aside | None = None
    alone: str | None = None
    writes: bool = False
    mixes: bool = False
    tells: tuple[str, ...] | None = None
    as_compiled: bool = False
    undetermined: str | None = None
