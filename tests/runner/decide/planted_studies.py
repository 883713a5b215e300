"""Rows of declared studies that were never trained: every member ends as a surface says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from thalweg.runner.cells.cells import panels
from thalweg.runner.config import Request, declare
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row
from thalweg.runner.study.study import Member, Study, expand

GRID = ("optimizer=sgd", "optimizer.lr=1/64..4:x4", "optimizer.weight_decay=0,1e-5..1e-1:1/dec", "seed=0..2")
LR, WD = "optimizer.lr", "optimizer.weight_decay"

Surface = Callable[[dict], float | None]


def bowl(lr: float = 0.25, wd: float = 1e-3, noise: float = 0.003, width: float = 0.3) -> Surface:
    """A loss with its least at (lr, wd), whatever the order of the axes; wd = 0 is worse than any."""

    def loss(axes: dict) -> float:
        away = math.log10(axes.get(LR, lr) / lr) ** 2
        away += (math.log10(axes[WD] / wd) ** 2 if axes[WD] else 9.0) if WD in axes else 0.0
        return 0.5 * math.exp(width * away + noise * math.sin(97 * axes.get("seed", 0) + 5 * away))

    return loss


def declared(*words: str) -> Study:
    study = declare(Request((*words, "study.name=mine", "tracker=none"))).study
    return replace(study, replicate="seed")


def row_of(member: Member, surface: Surface) -> Row:
    import json

    loss = surface(dict(member.axes))
    return Row(
        trial_id=member.trial.id,
        block=member.block,
        axes=member.axes,
        outcome=Outcome.DIVERGED if loss is None else Outcome.FINISHED,
        diverged_step=3 if loss is None else None,
        metrics={} if loss is None else {"val/loss": loss, "test/loss": loss + 0.01, "test/accuracy": 0.9},
        config=json.loads(member.trial.config_json),
    )


def rows_of(study: Study, surface: Surface) -> list[Row]:
    return [row_of(member, surface) for member in expand(study)]


def panels_of(study: Study, surface: Surface):
    return panels(rows_of(study, surface), study)
