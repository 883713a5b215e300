"""Rows of studies that were never trained: a valley planted in log wd with a known slope, as the studies see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row
from thalweg.runner.study.study import Analysis, Axis, Block, Expectation, Study

LR, WD, PRODUCT = "optimizer.lr", "optimizer.weight_decay", "lr_x_wd"
LRS = tuple(2.0**k for k in range(-8, 4))
PRODUCTS = (0.0, *(5e-3 * 4.0**k for k in range(-4, 4)))
SEEDS = (0, 1, 2)

Surface = Callable[[float, float, int], float | None]
"""(lr, wd, seed) -> final loss; None where the trial diverges."""


def valley_of(slope: float, at: float = 5e-3, base: float = 0.64, width: float = 0.12) -> Surface:
    """A valley along wd = at · lr^slope, lowest around lr = 1/8, with a little noise that differs by seed."""

    def loss(lr: float, wd: float, seed: int) -> float:
        away = math.log10(wd) - math.log10(at) - slope * math.log10(lr) if wd > 0 else 2.0
        tilt = 0.02 * (math.log10(lr) + 0.9) ** 2
        noise = 0.004 * math.sin(97 * seed + 13 * math.log(lr) + 7 * away)
        return base * math.exp(min(width * away**2 + tilt, 1.2) + noise)

    return loss


def block(
    name: str,
    expect: Expectation | None = None,
    lrs: Sequence[float] = LRS,
    products: Sequence[float] = PRODUCTS,
    seeds: Sequence[int] = SEEDS,
) -> Block:
    axes = (Axis(LR, tuple(lrs), ""), Axis(PRODUCT, tuple(products), ""), Axis("seed", tuple(seeds), ""))
    return Block(name, axes, derive={WD: f"{PRODUCT} / {LR}"}, expect=expect)


def study(*blocks: Block, name: str = "planted", **changed: Any) -> Study:
    fields: dict[str, Any] = {
        "name": name,
        "question": "does the program find the valley that was planted?",
        "metric": "val/loss",
        "direction": "min",
        "replicate": "seed",
        "vars": (PRODUCT,),
        "blocks": blocks,
        "analyses": (Analysis("coupling", LR, WD),),
    }
    return Study(**{**fields, **changed})


def config(lr: float, wd: float, seed: int) -> dict[str, Any]:
    return {
        "model": {"name": "mlp"},
        "dataset": {"name": "digits"},
        "optimizer": {"name": "adamw", "lr": lr, "weight_decay": wd},
        "seed": seed,
    }


def row(block_name: str, axes: Mapping[str, Any], loss: float | None, **changed: Any) -> Row:
    """One trial; `loss` None means diverged at step 40."""
    seed = int(axes.get("seed", 0))
    lr, wd = float(axes.get(LR, 0.1)), float(axes.get(WD, 0.0))
    fields: dict[str, Any] = {
        "trial_id": f"{abs(hash((block_name, *sorted(axes.items())))):064x}"[-64:],
        "block": block_name,
        "axes": dict(axes),
        "outcome": Outcome.DIVERGED if loss is None else Outcome.FINISHED,
        "diverged_step": 40 if loss is None else None,
        "metrics": {}
        if loss is None
        else {"val/loss": loss, "test/loss": loss + 0.01, "val/accuracy": 0.9 - loss / 10},
        "config": config(lr, wd, seed),
    }
    return Row(**{**fields, **changed})


def rows(declared: Block, surface: Surface) -> list[Row]:
    """Every trial of a block of lr × product × seed, as the surface has it."""
    lrs, products, seeds = (axis.values for axis in declared.axes)
    made = []
    for lr in map(float, lrs):
        for product in map(float, products):
            for seed in map(int, seeds):
                axes = {LR: lr, PRODUCT: product, "seed": seed, WD: product / lr}
                made.append(row(declared.name, axes, surface(lr, product / lr, seed)))
    return made


def untrained(one: Row) -> Row:
    """The same member before anything was trained."""
    return Row(
        trial_id=one.trial_id,
        block=one.block,
        axes=one.axes,
        outcome=None,
        diverged_step=None,
        metrics={},
        config=one.config,
    )
