"""A child process builds the models of a plan once, and says what is wrong with them. Here is the parent's side.

The child imports torch and the user's code, so that nobody else does; whatever it does, the plan is shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from thalweg.runner.base.child import belong_to_parent, spawned
from thalweg.runner.facts.remark import Remark
from thalweg.runner.facts.weights import Size
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial, TrialConfig

SECONDS = 60.0
"""How long the child may take, importing torch included."""

MODELS = 20
"""How many different models are built."""


def rehearsed(trials: Sequence[Trial], every: bool, seconds: float = SECONDS) -> list[Remark]:
    """Return what is to be said of the models of `trials`, one of each structure.

    Of the user's own, of those whose parameters are in groups, or of every one.
    """
    configs_of = [trial.config for trial in trials]
    wanted = [each for each in configs_of if every or isinstance(each.model, ModelTarget) or each.groups.named]
    configs = list({(each.model, each.dataset, each.groups): each for each in wanted}.values())
    remarks = _heard(configs[:MODELS], seconds) if configs else []
    if left := len(configs) - MODELS if len(configs) > MODELS else 0:
        remarks.append(Remark(configs[MODELS].model.name, f"and {left} more are not looked at", wrong=False))
    return list(dict.fromkeys(remarks))


def sizes(trials: Sequence[Trial], seconds: float = SECONDS) -> list[Size | None]:
    """What each of these trials takes that is kept, one of each structure; None where that is not found out in time."""
    configs = [trial.config for trial in trials[:MODELS]]
    child, ours = spawned(_counting, configs)
    found: list[Size | None] = []
    deadline = time.monotonic() + seconds
    try:
        while len(found) < len(configs) and ours.poll(max(0.0, deadline - time.monotonic())):
            found.append(ours.recv())
    except (EOFError, OSError):  # a model that ends the process, which is said elsewhere
        pass
    finally:
        child.kill()
        child.join()
    return [*found, *[None] * (len(trials) - len(found))]


def _counting(pipe: Connection, configs: Sequence[TrialConfig]) -> None:
    """Send the size of one configuration after another."""
    belong_to_parent(silent=True)
    from thalweg.runner.engine.rehearsal import size

    for config in configs:
        pipe.send(size(config))


def _heard(configs: Sequence[TrialConfig], seconds: float) -> list[Remark]:
    """Have a child look at them in order, until it is done, ends, or has had its time."""
    child, ours = spawned(_child, list(configs))
    remarks: list[Remark] = []
    deadline, looked_at = time.monotonic() + seconds, 0
    try:
        while looked_at < len(configs):
            name = configs[looked_at].model.name
            if not ours.poll(max(0.0, deadline - time.monotonic())):
                remarks.append(Remark(name, f"not looked at: building it took more than {seconds:g} s", wrong=False))
                break
            try:
                remarks += ours.recv()
            except (EOFError, OSError):
                child.join()
                ended = f"building it ends the process, with code {child.exitcode}"
                remarks.append(Remark(name, ended, wrong=True))
                break
            looked_at += 1
    finally:
        child.kill()
        child.join()
    return remarks


def _child(pipe: Connection, configs: Sequence[TrialConfig]) -> None:
    """Send the remarks on one configuration after another. What the user's code prints goes nowhere."""
    belong_to_parent(silent=True)
    from thalweg.runner.engine.rehearsal import remarks

    for config in configs:
        pipe.send(list(remarks(config)))
