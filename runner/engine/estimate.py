"""What trials of a group would take, by a few of their steps and one evaluation. Nothing of it is kept."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

from thalweg.runner.engine.probing import Question, Runner
from thalweg.runner.engine.timing import seconds_of
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Choice

STEPS, SECONDS = 24, 3.0
"""Steps that are timed, and the time after which no other is, once there are a few."""
FEWEST = 3


def estimated(workload: Workload, question: Question, choice: Choice) -> tuple[float, float, float]:
    """Seconds of one trial, whole, as its group is chosen to train: in the middle, and if all steps took as long as
    those near the fastest and near the slowest of the timed ones (first and last tenth)."""
    lanes = 1 if choice.executor == "loop" else choice.width
    runner = Runner(workload, replace(question, layout=choice.layout), choice.executor, lanes)
    for _ in range(runner.untimed + 1):
        runner.step()
    took: list[float] = []
    while len(took) < STEPS and (len(took) < FEWEST or sum(took) < SECONDS):
        took.append(seconds_of(workload.device, runner.step))
    runner.measure(math.inf)
    ranked = sorted(took)
    tenth = len(ranked) // 10
    ends = statistics.median(ranked), ranked[tenth], ranked[-1 - tenth]
    middle, fast, slow = (question.steps * seconds / lanes + runner.evaluation for seconds in ends)
    return middle, fast, slow
