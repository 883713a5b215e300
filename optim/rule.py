"""The vocabulary of an optimizer: a rule updates weights in place from a gradient, slots and coefficients.

One rule serves two callers. A `torch.optim.Optimizer` class hands it one parameter at a time and 0-d
coefficient tensors; the engine hands it the weights of K trials at once, `theta_KP`, and `[K, 1]`
coefficients. The rule cannot tell which: it only broadcasts. It knows nothing of schedules beyond the
multiplier it is given, of trials, or of devices.

K is the trial axis, P the flattened parameters of a trial, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Hyper = Mapping[str, "np.ndarray | float"]
"""Hyperparameter name -> float64 values, `[K]` or scalars, under the names of the rule's schema."""
Coefficients = Mapping[str, "Tensor"]
"""Coefficient name -> tensor that broadcasts against theta, in theta's dtype and on its device."""
Slots = Mapping[str, "Tensor"]
"""Slot name -> tensor shaped like theta, zero before the first step."""


class Rule(Protocol):
    """An optimizer's update, frozen in its structural options (nesterov, decay convention, order)."""

    @property
    def elementwise(self) -> bool:
        """Whether `update` may be handed all parameters of K trials flat, `[K, P]`, with `[K, 1]` coefficients.

        If not it is handed one parameter of K trials at a time, `[K, *shape]`, with `[K, 1, …]` coefficients.
        The coefficient named "decay" may then be, per element or per parameter, 0 where `decay_on` says so.
        """
        ...

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state tensors, each shaped like theta and zero at the start."""
        ...

    @property
    def hyper(self) -> tuple[str, ...]:
        """Names of the hyperparameters that `coefficients` reads."""
        ...

    def coefficients(
        self, hyper: Hyper, multiplier: np.ndarray | float, step: np.ndarray | int
    ) -> dict[str, np.ndarray]:
        """Turn hyperparameters into what `update` multiplies by, in float64 on the host.

        multiplier: the schedule's, `[T, K]` or scalar (learning rate = hyper["lr"]·multiplier); step:
        0-based, `[T, 1]` or scalar. Returns name -> float64 array that broadcasts to `[T, K]` (or scalar).
        Computed once and cast once, so nothing is baked into a trace and bias corrections keep their digits.
        """
        ...

    def update(self, theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply one step in place to `theta` and `slots`. `grad` may be used as scratch and is lost."""
        ...
