"""Initial weights from elsewhere: read without running what a file holds, and put into a module by name.

That a file is the one meant is known to `study.start`. Weights of other trials are handed in.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.start import InitConfig, content_of

Arrays = Mapping[str, np.ndarray]
SHOWN = 3
PARTLY = "init.partial=true takes what fits, and leaves the rest as the seed makes it"


@dataclass(frozen=True, eq=False)
class Beginning:
    """Tensors that a module's own of these names start as. note: what of the module and the file did not meet."""

    tensors: Mapping[str, Tensor]
    note: str = ""

    @torch.no_grad()
    def of(self, module: nn.Module) -> nn.Module:
        """Give a module these weights; those that are not among them stay."""
        module.load_state_dict(dict(self.tensors), strict=False)
        return module


def beginning(init: InitConfig, of_trial: Arrays | None, module: nn.Module) -> Beginning | None:
    """Return what modules such as this start as; None for fresh weights.

    of_trial: the state_dict of the trial that is named, if one is. Raises ConfigError for weights that are not there,
    are not those that were declared, or do not fit unless they may do so in part.
    """
    if init.weights is None:
        return None
    if init.trial and of_trial is None:
        raise ConfigError(f"it starts from the weights of {_short(init)}, which are not available here")
    given = _of_file(init) if of_trial is None else {n: torch.from_numpy(np.array(a)) for n, a in of_trial.items()}
    return _fitting(init, given, {n: t for n, t in module.state_dict().items() if isinstance(t, Tensor)})


def _fitting(init: InitConfig, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Beginning:
    unlike = [name for name in own if name in given and own[name].shape != given[name].shape]
    missing, more = [name for name in own if name not in given], [name for name in given if name not in own]
    shapes = [f"{name} {list(given[name].shape)} and not {list(own[name].shape)}" for name in unlike]
    parts = {"lacks": missing, "has of another shape": shapes, "has more": more}
    said = "; ".join(f"{what} {_some(names)}" for what, names in parts.items() if names)
    if said and not init.partial:
        raise ConfigError(f"init.weights={_short(init)} does not fit the model: it {said}", PARTLY)
    fits = {name: given[name] for name in own if name in given and name not in unlike}
    if not fits:
        raise ConfigError(f"init.weights={_short(init)} fits the model in nothing: it {said}", "name other weights")
    note = f"of {_short(init)} the model starts with {len(fits)} of its {len(own)} tensors; it {said}" if said else ""
    return Beginning(fits, note)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} others" if len(names) > SHOWN else "")


def _short(init: InitConfig) -> str:
    return str(init.weights)[:8] if init.trial else str(init.weights)


def _of_file(init: InitConfig) -> dict[str, Tensor]:
    content = content_of(init, Path(str(init.weights)))
    if str(init.weights).endswith(".safetensors"):
        return _safetensors(init, content)
    try:
        held = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = f"init.weights={init.weights} holds more than tensors, which would have to be run to be read"
        raise ConfigError(text, "write its state_dict alone: torch.save(model.state_dict(), FILE)") from error
    except Exception as error:  # whatever torch says of a file that is damaged, or none of its own
        raise ConfigError(f"init.weights={init.weights} is not a file of torch.save, or damaged") from error
    if not isinstance(held, Mapping) or not all(isinstance(each, Tensor) for each in held.values()):
        keys = f" with {_some([str(key) for key in held])}" if isinstance(held, Mapping) else ""
        text = f"init.weights={init.weights} holds a {type(held).__name__}{keys}; expected names and their tensors"
        raise ConfigError(text, "write the state_dict alone: torch.save(held['state_dict'], FILE)")
    return {str(name): _plain(init, str(name), tensor) for name, tensor in held.items()}


def _plain(init: InitConfig, name: str, tensor: Tensor) -> Tensor:
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise ConfigError(
            f"init.weights={init.weights} has {name}, which is sparse or quantized; expected plain tensors"
        )
    return tensor.detach()


def _safetensors(init: InitConfig, content: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ConfigError(f"init.weights={_short(init)} is not a safetensors file, or damaged") from error
