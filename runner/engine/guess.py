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
and of what functions of the user's measure, a guess may be the best there is, or not what they take."""


@torch.no_grad()
def guess(task: Task, train: Examples, held_out: Examples, extent: Extent) -> dict[str, float]:
    """Return the better of two guesses on a split, metric by metric: no answer at all, and the training targets'.

    Of classes the second are the labels' frequencies, of a text's tokens too, of values their mean.
    """
    usual = task.usual if isinstance(task, Own) else task
    constants = usual.constants(train.y, extent.outputs).to(held_out.dtype).to(held_out.device)
    totals = None
    for x, y in held_out.chunks(rows_at_once(held_out)):
        shape = usual.expected(len(x), extent.outputs, extent.inputs)
        outputs = constants.reshape(2, *[1] * (len(shape) - 1), -1).expand(2, *shape)
        sums = usual.sums(outputs, y)
        totals = sums if totals is None else totals + sums
    assert totals is not None
    own = task.functions if isinstance(task, Own) else {}
    measured = {name: values.tolist() for name, values in usual.finish(totals).items() if name not in own}
    return {name: best(measured[name]) for name, best in BEST.items() if name in measured}
