"""Rows of a grid of learning rate, weight decay and beta1 that was never trained."""

from __future__ import annotations

import math

import planted_rows as planted

from thalweg.runner.cells.cells import fold
from thalweg.runner.study.study import Axis, Block

B1 = "optimizer.beta1"
LRS, WDS, B1S = tuple(4.0**k for k in range(-3, 3)), (0.01, 0.1, 1.0), (0.0, 0.5, 0.9)


def study_of(seeds=(0, 1, 2), lrs=LRS):
    axes = (Axis(planted.LR, lrs, ""), Axis(planted.WD, WDS, ""), Axis(B1, B1S, ""), Axis("seed", seeds, ""))
    return planted.study(Block("grid", axes), analyses=(), vars=())


def rows_of(loss, seeds=(0, 1, 2), lrs=LRS):
    points = [
        {planted.LR: lr, planted.WD: wd, B1: b1, "seed": s} for lr in lrs for wd in WDS for b1 in B1S for s in seeds
    ]
    return [planted.row("grid", at, loss(at[planted.LR], at[planted.WD], at[B1], at["seed"])) for at in points]


def cells_of(loss, seeds=(0, 1, 2), lrs=LRS):
    return fold(rows_of(loss, seeds, lrs), study_of(seeds, lrs))


def bowl(noise, rng, beta=0.0, shared=()):
    """A valley in the learning rate; beta1 adds `beta` times its own value; some noise is shared by a seed."""

    def loss(lr, wd, b1, seed):
        drift = shared[seed] if shared else 0.0
        return 0.5 * math.exp(0.1 * math.log2(lr) ** 2 / 4 + beta * b1 + drift + rng.gauss(0, noise))

    return loss
