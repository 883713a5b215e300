"""Synthetic tables for the analysis: those of scripts/calibrate, and the workload whose answer is known exactly."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np

from thalweg.runner.analysis import Results

ROOT = Path(__file__).resolve().parents[3]
calibrate = runpy.run_path(str(ROOT / "scripts" / "calibrate.py"))
Case, table = calibrate["Case"], calibrate["table"]


def planted(slope=-1.0, seed=0, **case):
    """A table with a ridge of that slope."""
    return table(Case(name="one", **case), np.random.default_rng(seed), slope)


def with_losses(results, change):
    """The same trials with loss change(lr, wd, seed, loss)."""
    return replace(results, loss=change(results.lr, results.wd, results.seed, results.loss))


def shrinking_weight(rule, steps=200, warmup=10):
    """Validation loss 0.1 + (v_T - 0.3)²/2 of a weight v that begins at 1 and has no gradient, so that only decay acts.

    rule: "coupled" (AdamW as torch has it, and SGD + L2), "momentum" (SGD + L2, 0.9), "independent", "adam_l2".
    """
    lr, wd = np.meshgrid(2.0 ** np.arange(-8, 0), 4.0 ** np.arange(-12, 3), indexing="ij")
    step = np.arange(steps)
    rate = np.where(step < warmup, (step + 1) / warmup, 0.5 * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))))
    v, first, second = np.ones_like(lr), np.zeros_like(lr), np.zeros_like(lr)
    for t, m in enumerate(rate, start=1):
        if rule == "coupled":
            v = v - lr * m * wd * v
        elif rule == "independent":
            v = v - m * wd * v
        elif rule == "momentum":
            first = 0.9 * first + wd * v
            v = v - lr * m * first
        else:
            first, second = 0.9 * first + 0.1 * wd * v, 0.999 * second + 0.001 * (wd * v) ** 2
            v = v - lr * m * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-12)
    with np.errstate(over="ignore"):
        loss = 0.1 + 0.5 * (v - 0.3) ** 2
    return Results(
        lr=lr.ravel(), wd=wd.ravel(), loss=loss.ravel(), seed=np.zeros(lr.size, np.int64), chance=float(np.log(10))
    )
