"""A saved state in the words of the class that loads it; torch's own optimizers write it a little differently.

It knows no rule. Each function changes what it is given in place, and returns in one sentence why the class cannot go
on from it, or None; the caller takes nothing over from a state that fits in part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from thalweg.optim.sharded import is_sharded

SWITCHES = ("foreach", "capturable", "differentiable", "fused")  # how torch takes a step, not which
NEEDED = ("lr", "weight_decay", "betas", "momentum")
TELLING = {"betas", "eps", "amsgrad", "momentum", "dampening", "nesterov", "adjust", "decay"}
TELLING |= {"adjust_lr_fn", "ns_coefficients", "ns_steps"}
"""Options that tell one optimizer's groups from another's; any other key is the user's own."""
OPTIONAL = "max_exp_avg_sq"  # begins at zero whenever it is wanted


def adopt_group(group: dict[str, Any], defaults: Mapping[str, Any]) -> str | None:
    """Bring a saved group into the words of a class with these defaults, and give it what it lacks of them."""
    for name in SWITCHES:
        group.pop(name, None)
    if group.pop("decoupled_weight_decay", False) and "decay" not in defaults and group.get("weight_decay"):
        return "the loaded weight decay is decoupled from the gradient, as torch.optim.AdamW's; load it into AdamW"
    foreign = sorted((TELLING - defaults.keys()) & group.keys())
    missing = [name for name in NEEDED if name in defaults and name not in group]
    if foreign or missing:
        seen = f"have {', '.join(foreign)}" if foreign else f"lack {', '.join(missing)}"
        return f"the loaded groups {seen}, so they are another optimizer's; load them into that, or start without them"
    for name, value in defaults.items():
        group.setdefault(name, value)
    return None


def adopt_state(state: Any, theta: Tensor, kept: Sequence[str]) -> str | None:
    """Bring the saved state of one parameter into the words of a class that keeps these slots; emptied if not begun."""
    if not isinstance(state, dict):
        return f"the loaded state of a parameter is {state!r}; it should be a dict, as state_dict() makes it"
    slots = {name: value for name, value in state.items() if name != "step" and value is not None}
    foreign = sorted(slots.keys() - set(kept))
    if foreign:
        return f"the loaded state has {', '.join(foreign)}; it should have {', '.join(kept)} or be of another class"
    for name, value in slots.items():
        fault = _slot_fault(name, value, theta)
        if fault is not None:
            return fault
    step: Any = state.get("step", None if "exp_avg_sq" in kept else 1)  # only Adam's bias corrections need it
    state.clear()
    if not slots:
        return None
    missing = [name for name in kept if name not in slots and name != OPTIONAL]
    if missing:
        return f"the loaded state lacks {', '.join(missing)}; it is another optimizer's"
    if not _is_count(step):
        return f"the loaded step is {step!r}; it should be a whole number of at least 0"
    state |= {"step": int(step)} | slots
    return None


def _slot_fault(name: str, value: object, theta: Tensor) -> str | None:
    if not isinstance(value, Tensor):
        return f"the loaded {name} is a {type(value).__name__}; it should be a tensor"
    if value.shape != theta.shape:
        return (
            f"the loaded {name} has shape {tuple(value.shape)} and its parameter {tuple(theta.shape)}; load the state "
            "that was saved with this model"
        )
    if is_sharded(value) != is_sharded(theta):
        return (
            f"the loaded {name} and its parameter are not both sharded; load with "
            "torch.distributed.checkpoint.state_dict.set_optimizer_state_dict"
        )
    return None


def _is_count(step: object) -> bool:
    """Whether it is a whole number, as a number or as torch's tensor of one element."""
    if isinstance(step, Tensor):
        return step.numel() == 1 and _is_count(step.item())
    return isinstance(step, Real) and float(step) >= 0 and float(step).is_integer()
