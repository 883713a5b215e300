"""Rules of thumb as code: how long to warm up, and when weight decay is too strong to mean anything. Pure Python.

Advice, not truth: thalweg's own warmup study did not find the need for warmup to follow 2/(1−β2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

from thalweg.optim.schema import AdamL2Config, OptimizerConfig

LARGE_BATCH_SHARE = Fraction(5, 90)
"""5 of 90 epochs: Goyal et al. (2017), arXiv:1706.02677, for SGD with large batches."""
FINE_TUNING_SHARE = Fraction(6, 100)
"""6% of all steps: RoBERTa's fine-tuning, Liu et al. (2019), arXiv:1907.11692, table 10."""


@dataclass(frozen=True)
class Suggestion:
    """A warmup in steps, and the rule it follows with its source."""

    steps: int
    because: str


def suggest_warmup(total_steps: int, *, optimizer: str = "adamw", beta2: float = 0.999) -> Suggestion:
    """Return a warmup for a run of `total_steps` that has none of its own; rounded up, at most the whole run.

    | optimizer             | rule                                                                           |
    |-----------------------|--------------------------------------------------------------------------------|
    | sgd                   | 5/90 of the run (Goyal et al. 2017)                                             |
    | adamw, adam_l2, muon  | 2/(1−β2) steps (Ma & Yarats 2021, arXiv:1910.04209), but at most 6% of the run  |
    | lion                  | 6% of the run (Liu et al. 2019)                                                 |

    Raises ValueError for another optimizer, for total_steps < 1 and for β2 outside [0, 1).
    """
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in (total_steps, beta2))
    if not (numbers and 1 <= total_steps < math.inf and 0 <= beta2 < 1):
        raise ValueError(
            f"total_steps is {total_steps!r} and beta2 {beta2!r}; they should be at least 1, and in [0, 1)"
        )
    if optimizer == "sgd":
        return Suggestion(math.ceil(total_steps * LARGE_BATCH_SHARE), "5 of 90 epochs, Goyal et al. 2017")
    if optimizer not in ("adamw", "adam_l2", "muon", "lion"):
        raise ValueError(f"there is no rule for the optimizer {optimizer!r}; known: sgd, adamw, adam_l2, muon, lion")
    share = math.ceil(total_steps * FINE_TUNING_SHARE)
    if optimizer == "lion":
        return Suggestion(share, "6% of all steps, Liu et al. 2019")
    memory = math.ceil(round(2 / (1 - beta2), 6))
    if memory <= share:
        return Suggestion(memory, "2/(1−β2), Ma & Yarats 2021")
    return Suggestion(share, f"6% of all steps, Liu et al. 2019; 2/(1−β2), Ma & Yarats 2021, would be {memory:,}")


def decay_strength(config: OptimizerConfig) -> float | None:
    """Return the share of a weight that decay takes off in a step at the peak rate; None if it acts by the gradient."""
    if isinstance(config, AdamL2Config) or config.decay == "l2":
        return None
    return config.weight_decay * (config.lr if config.decay == "coupled" else 1)


def decay_warning(configs: Iterable[OptimizerConfig]) -> str | None:
    """Return a sentence on those of `configs` whose decoupled decay takes a whole weight or more a step, or None."""
    known = [(config, strength) for config in configs if (strength := decay_strength(config)) is not None]
    strong = [(config, strength) for config, strength in known if strength >= 1]
    if not strong:
        return None
    many, runaway = len(strong), sum(strength > 2 for _, strength in strong)
    independent = sum(getattr(config, "decay", None) == "independent" for config, _ in strong)
    mixed = "lr·wd ≥ 1 (wd ≥ 1 where decay is independent)"
    what = "lr·wd ≥ 1" if not independent else "wd ≥ 1" if independent == many else mixed
    grow = f"; in {runaway:,}, where it is above 2, it makes them grow" if runaway else ""
    have = "trials have" if many > 1 else "trial has"
    return f"{many:,} {have} {what}: weight decay alone brings weights to 0 or changes their signs{grow}"
