"""A child process times what a plan would train, group by group, and stores nothing. Here is the parent's side.

The child imports torch, so that planning does not; whatever it does, the plan is shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import SimpleNamespace

from thalweg.runner.base.child import belong_to_parent, spawned
from thalweg.runner.base.errors import last_line
from thalweg.runner.planning.plan import Cost, Plan
from thalweg.runner.study.settings import Settings
from thalweg.runner.train.messages import Ask
from thalweg.runner.train.terms import Terms
from thalweg.runner.train.worker import Bench, _device, told

SECONDS = 120.0
"""How long the child may take, importing torch included; what it has not come to by then is not known."""


@dataclass(frozen=True)
class Timed:
    """Seconds of a trial of one group: in the middle, and at the ends of what was timed. peak_bytes: of the process."""

    seconds: float
    fastest: float
    slowest: float
    peak_bytes: int


def probed(plan: Plan, settings: Settings, seconds: float = SECONDS) -> tuple[Cost | None, list[str]]:
    """What training a plan is expected to take on one core, by steps timed now; and what could not be timed."""
    terms = Terms(settings.engine.name, 1, settings.evaluation.points, settings.evaluation.metrics)
    asks = [terms.probe(group.group_id, group.trials) for group in plan.groups]
    heard, said = _heard(asks, settings.engine.device[0], seconds) if asks else ([], [])
    found = [(len(group.trials), one) for group, one in zip(plan.groups, heard, strict=False) if one is not None]
    if not found:
        return None, said
    cost = Cost(
        seconds=sum(n * one.seconds for n, one in found),
        fastest=sum(n * one.fastest for n, one in found),
        slowest=sum(n * one.slowest for n, one in found),
        like=0,
        unknown=plan.to_train - sum(n for n, _ in found),
        peak_bytes=max(one.peak_bytes for _, one in found),
    )
    return cost, said


def _heard(asks: Sequence[Ask], device: str, seconds: float) -> tuple[list[Timed | None], list[str]]:
    """What a child says of one group after another, until it is done, ends, or has had its time."""
    child, ours = spawned(_child, list(asks), device)
    heard: list[Timed | None] = []
    said: list[str] = []
    deadline = time.monotonic() + seconds
    try:
        while len(heard) < len(asks):
            if not ours.poll(max(0.0, deadline - time.monotonic())):
                said.append(f"not timed: {len(asks) - len(heard)} of {len(asks)} groups, after {seconds:g} s")
                break
            one = ours.recv()
            heard.append(one if isinstance(one, Timed) else None)
            said += [f"not timed: {one}"] if isinstance(one, str) else []
    except (EOFError, OSError):
        child.join()
        said.append(f"not timed: the process that does ended with code {child.exitcode}")
    finally:
        child.kill()
        child.join()
    return heard, said


def _child(pipe: Connection, asks: Sequence[Ask], device: str) -> None:
    """Time one group after another. What the user's code prints goes nowhere."""
    belong_to_parent(silent=True)
    from thalweg.runner.engine.determinism import prepare

    prepare()
    where, hello = _device(device)
    unheard = SimpleNamespace(send=lambda message: None)
    bench = Bench(unheard, where, hello.device_name)  # type: ignore[arg-type]
    for ask in asks:
        pipe.send(_timed(bench, ask))


def _timed(bench: Bench, ask: Ask) -> Timed | str:
    try:
        return Timed(*bench.timed(ask))
    except BaseException as error:  # a model may call sys.exit; said, and the plan is shown
        return last_line(told(error))
