"""How often a rule that stops trials early would have been wrong, by what a study has trained to its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from thalweg.runner.cells.cells import Cell, panels
from thalweg.runner.facts.row import Row
from thalweg.runner.planning.stopping import contests, values_of
from thalweg.runner.show.numbers import count
from thalweg.runner.study.stop import standing

if TYPE_CHECKING:
    from thalweg.runner.planning.plan import Plan
    from thalweg.runner.planning.stopping import Measured


def hindsight(made: Plan, rows: Sequence[Row], store: Measured) -> str:
    """Say of the panels that are trained whole whether the rule would have stopped what turned out best."""
    stop, study = made.study.stop, made.study
    assert stop is not None
    ended = {row.trial_id for row in rows if row.has_ended}
    judged, stopped = set[str](), set[str]()
    for contest in contests(study, made.members):
        cells = tuple(tuple(trial for trial in cell if trial in ended) for cell in contest.cells)
        whole = len(set(map(len, cells))) == 1 and len(cells[0]) > 0  # of as many seeds each
        contest, ids = replace(contest, cells=cells), {trial for cell in cells for trial in cell}
        values = values_of(study, stop, contest, store, retry=False) if whole else {}
        if values and not any(math.isnan(value) for at in values.values() for value in at.values()):
            judged |= ids
            stopped |= standing(stop, contest, values).pruned.keys()
    inside = [row for row in rows if row.trial_id in judged]
    found = [panel.near for panel in panels(inside, study) if panel.near is not None]
    if not found:
        return "how often this rule stops what would be best is not known: no panel is trained whole"
    best = sum(_stopped(near.best, stopped) for near in found)
    others = [cell for near in found for cell in near.cells[1:]]
    said = f"of {count(len(found), 'panel')} trained whole, this rule would have stopped the best cell of {best}"
    return f"{said}, and {sum(_stopped(c, stopped) for c in others)} of {len(others)} as good" if others else said


def _stopped(cell: Cell, stopped: set[str]) -> bool:
    return all(row.trial_id in stopped for row in cell.rows)
