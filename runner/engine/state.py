"""The tensors of K trials in training.

Shapes: K trials, P parameters of a trial. Knows nothing of rules, data or steps taken elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from thalweg.runner.engine.lone import Lone
from thalweg.runner.engine.parameters import ParameterLayout
from thalweg.runner.engine.scale import Scale

AVERAGE = "average"
"""The slot of a running average of the weights, which begins as they do; no rule's."""


@dataclass
class State:
    """K trials in training. The tensors are updated in place.

    theta: `[K, P]`; slots, buffers: `[K, …]`; alive, limit, diverged_step: `[K]`. A lane whose loss exceeds its
    limit has diverged; diverged_step is −1 for the others. step is the next optimizer step to take. modules: each
    lane's own, for the loop; none for executors that share a template. fixed: parameters that are frozen, `[K, …]`, or
    `[1, …]` where they are the same in all lanes; no step writes into them. scale: of their losses, if scaled.
    """

    theta: Tensor
    slots: dict[str, Tensor]
    buffers: dict[str, Tensor]
    alive: Tensor
    limit: Tensor
    diverged_step: Tensor
    step: int = 0
    modules: tuple[Lone, ...] = ()
    fixed: dict[str, Tensor] = field(default_factory=dict)
    scale: Scale | None = None

    @classmethod
    def start(
        cls,
        theta_KP: Tensor,
        slots: tuple[str, ...],
        buffers: dict[str, Tensor],
        *,
        modules: tuple[Lone, ...] = (),
        fixed: dict[str, Tensor] | None = None,
    ) -> State:
        """The state before the first step: a rule's slots zero, every lane alive, no limit known yet."""
        lanes = theta_KP.shape[0]
        return cls(
            theta=theta_KP,
            slots={name: theta_KP.clone() if name == AVERAGE else torch.zeros_like(theta_KP) for name in slots},
            buffers=buffers,
            alive=torch.ones(lanes, dtype=torch.bool, device=theta_KP.device),
            limit=torch.full((lanes,), math.inf, dtype=theta_KP.dtype, device=theta_KP.device),
            diverged_step=torch.full((lanes,), -1, dtype=torch.int64, device=theta_KP.device),
            modules=modules,
            fixed=fixed or {},
        )

    @property
    def lanes(self) -> int:
        """K."""
        return self.theta.shape[0]

    @property
    def result(self) -> State:
        """The state as it is measured and handed out: with the average for weights, where there is one."""
        return replace(self, theta=self.slots[AVERAGE].clone()) if AVERAGE in self.slots else self

    def parameters(self, layout: ParameterLayout) -> dict[str, Tensor]:
        """Every parameter, `[K, …]`, which shares this state's memory. layout: theta's."""
        fixed = {name: tensor.expand(self.lanes, *tensor.shape[1:]) for name, tensor in self.fixed.items()}
        return layout.views(self.theta) | fixed

    def fixed_of(self, k: int) -> dict[str, Tensor]:
        """Lane k's frozen parameters."""
        return {name: tensor[k % len(tensor)] for name, tensor in self.fixed.items()}

    def inputs(self) -> dict[str, Tensor]:
        """Every tensor that a step reads: those that `tensors()` names, and "fixed/…"."""
        return self.tensors() | {f"fixed/{name}": tensor for name, tensor in self.fixed.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that steps write, by a name of its own: "theta", "slot/…", "buffer/…", "scale/…", "alive",
        "limit", "diverged_step"."""
        named = {"theta": self.theta, "alive": self.alive, "limit": self.limit, "diverged_step": self.diverged_step}
        slots = {f"slot/{name}": slot for name, slot in self.slots.items()}
        buffers = {f"buffer/{name}": buffer for name, buffer in self.buffers.items()}
        scale = {f"scale/{name}": tensor for name, tensor in self.scale.tensors().items()} if self.scale else {}
        return named | slots | buffers | scale

    def like(self, tensors: Mapping[str, Tensor], step: int) -> State:
        """A state of this one's make that holds `tensors`, named as `inputs()` does; fixed ones may be lacking."""
        return State(
            theta=tensors["theta"],
            slots={name: tensors[f"slot/{name}"] for name in self.slots},
            buffers={name: tensors[f"buffer/{name}"] for name in self.buffers},
            alive=tensors["alive"],
            limit=tensors["limit"],
            diverged_step=tensors["diverged_step"],
            step=step,
            fixed={name: tensors.get(f"fixed/{name}", held) for name, held in self.fixed.items()},
            scale=Scale.of(tensors) if self.scale else None,
        )

    def lane(self, k: int) -> State:
        """Lane k as a state of its own that shares this one's memory."""
        return self._map(lambda tensor: tensor[k : k + 1], self.modules[k : k + 1])

    def keep(self, index: Tensor) -> State:
        """A copy that holds only the lanes in `index`, in that order."""
        modules = tuple(self.modules[k] for k in index.tolist()) if self.modules else ()
        return self._map(lambda tensor: tensor.index_select(0, index), modules)

    def _map(self, of: Callable[[Tensor], Tensor], modules: tuple[Lone, ...]) -> State:
        return replace(
            self,
            theta=of(self.theta),
            slots={name: of(slot) for name, slot in self.slots.items()},
            buffers={name: of(buffer) for name, buffer in self.buffers.items()},
            alive=of(self.alive),
            limit=of(self.limit),
            diverged_step=of(self.diverged_step),
            modules=modules,
            fixed={name: held if len(held) == 1 else of(held) for name, held in self.fixed.items()},
            scale=self.scale.mapped(of) if self.scale else None,
        )


def host_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as numpy arrays on the host."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
