"""What a guess scores: one answer to every example, whatever it is, measured as a model's answers are.

A model that does no better has learned nothing, however healthy its loss looks. Draws no random numbers.
"""

from __future__ import annotations

import torch

from thalweg.models.extent import Extent
from thalweg.runner.engine.evaluate import rows_at_once
from thalweg.runner.engine.examples import Examples
from thalweg.runner.engine.task import Own, Task

BEST = {"loss": min, "bits_per_character": min, "accuracy": max, "r2": max}
"""Which of several guesses is the better one, by the metrics that a guess is measured by. Of the calibration error,
and of what a user's function measures, a guess may well be the best there is."""


@torch.no_grad()
def guess(task: Task, train: Examples, held_out: Examples, extent: Extent) -> dict[str, float]:
    """Return the better of two guesses on a split, metric by metric: no answer at all, and the training targets'.

    Of classes the second are the labels' frequencies, of a text's tokens too, of values their mean. A loss of the
    user's stands in the usual one's place, where it takes answers that are all alike.
    """
    own = task.names if isinstance(task, Own) else ()
    usual = task.usual if isinstance(task, Own) else task
    found = _measured(usual, usual, train, held_out, extent)
    if "loss" not in own:
        return {name: value for name, value in found.items() if name not in own}
    try:
        assert isinstance(task, Own)
        by_loss = _measured(Own(usual, {"loss": task.functions["loss"]}), usual, train, held_out, extent)
    except Exception:  # such as a correlation's, of what does not vary; then it is not known, and none is recorded
        by_loss = {}
    return {name: value for name, value in (found | by_loss).items() if name not in own or name in by_loss}


def _measured(task: Task, usual: Task, train: Examples, held_out: Examples, extent: Extent) -> dict[str, float]:
    constants = usual.constants(train.y, extent.outputs).to(held_out.dtype).to(held_out.device)
    totals = None
    for _, y in held_out.chunks(rows_at_once(held_out)):
        shape = usual.expected(len(y), extent.outputs, extent.inputs)
        outputs = constants.reshape(2, *[1] * (len(shape) - 1), -1).expand(2, *shape).contiguous()
        sums = task.sums(outputs, y)
        totals = sums if totals is None else totals + sums
    assert totals is not None
    measured = task.finish(totals)
    return {name: best(measured[name].tolist()) for name, best in BEST.items() if name in measured}
