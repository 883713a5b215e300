"""How a module's state_dict names what a trial's weights hold, so that torch alone can load them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn


def state_names(module: nn.Module, held: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Each name of a module's state_dict -> the name in `held` of the same tensor; tied ones have several.

    held: parameters and buffers, tied ones once. Raises ValueError, in words, where a state_dict is not these, or no
    file takes them.
    """
    own = {id(tensor): name for name, tensor in [*module.named_buffers(), *module.named_parameters()]}
    names = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if (known := own.get(id(value))) not in held:
            raise ValueError(f"the model's state_dict has {name}, which is none of its parameters and buffers")
        names[name] = str(known)
    if missing := sorted(set(held) - set(names.values())):
        raise ValueError(f"the model's state_dict lacks {missing[0]}")
    if odd := sorted(name for name, array in held.items() if array.dtype == np.complex128):
        raise ValueError(f"the model's {odd[0]} is complex128, which safetensors does not have")
    return names
