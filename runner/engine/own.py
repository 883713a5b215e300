"""A model or a dataset of the user's own, from its target: called with what it wants, and looked at before use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset

from thalweg.data.arrays import split_arrays
from thalweg.data.schema import Kind, TaskConfig
from thalweg.data.splits import Splits
from thalweg.models.extent import Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.assembly import assembled, other_generators, refuse_more_inputs, thawed
from thalweg.runner.engine.fitting import fills_of
from thalweg.runner.engine.task import TASKS, Measure, Own, Task
from thalweg.runner.engine.user import called, resolved, users_error
from thalweg.runner.project.project import Role
from thalweg.runner.study.target import DatasetTarget, ModelTarget, refuse_changed


def own_model(target: ModelTarget, extent: Extent) -> nn.Module:
    """Return the module that a target builds for examples and outputs of `extent`.

    Initial weights come from torch's global generator: seed it before, restore it after. For those who ask numpy's
    or Python's instead, these are seeded alike, and put back. Raises ConfigError, naming key and fix.
    """
    fills = fills_of(target, extent)
    with other_generators(torch.initial_seed() % 2**31):
        module = assembled(target, fills)
    return _trainable(target.name, module)


@lru_cache(maxsize=4)
def own_splits(target: DatasetTarget) -> Splits:
    """Return the splits of the data that a target gives. If it draws random numbers, they are the same each time."""
    refuse_changed(target)
    build = resolved("dataset._target_", "dataset", target._target_)
    with torch.random.fork_rng(devices=[]), other_generators(0):
        torch.manual_seed(0)
        given = called("dataset._target_", build, {name: thawed(value) for name, value in target.arguments})
        with users_error(f"{target.name} failed"):
            x, y = _arrays(target.name, given)
    return split_arrays(
        x,
        y,
        kind=target.kind,
        shares=(target.validation, target.test),
        train_size=target.train_size,
        label_noise=target.label_noise,
        split_seed=target.split_seed,
    )


def own_task(config: TaskConfig, kind: Kind, metrics: tuple[str, ...]) -> Task:
    """Return the task on targets of this kind, with the user's loss and metrics if there are any."""
    usual = TASKS[kind]()
    named = {} if config.loss == "auto" else {"loss": _measure("task.loss", "loss", config.loss)}
    for path in metrics:
        named[path.rpartition(".")[2]] = _measure("evaluation.metrics", "metric", path)
    return Own(usual, named) if named else usual


def _measure(key: str, role: Role, path: str) -> Measure:
    """The function that a path names, made to say what is wrong with what it returns."""
    function = resolved(key, role, path)

    def measure(outputs: Tensor, y: Tensor) -> Tensor:
        value = function(outputs, y)
        if not isinstance(value, Tensor) or value.dim():
            got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            hint = "return the mean over the examples"
            raise ConfigError(f"{key}: {path} returns {got} for a batch; expected a tensor without dimensions", hint)
        return value

    return measure


def _trainable(name: str, module: nn.Module) -> nn.Module:
    if not module._forward_pre_hooks:  # one may bring what is missing
        refuse_more_inputs(name, module.forward)
    parameters = dict(module.named_parameters())
    if not parameters:
        raise ConfigError(f"{name} has no parameters, so there is nothing to train")
    if lazy := [each for each, tensor in [*parameters.items(), *module.named_buffers()] if is_lazy(tensor)]:
        raise ConfigError(f"{name} leaves the shape of {lazy[0]} open", "give the layer its sizes; no lazy modules")
    if made := [each for each, parameter in parameters.items() if parameter.is_complex()]:
        hint = "hold torch.view_as_real of it, and take torch.view_as_complex in forward"
        raise ConfigError(f"{name} has the complex parameter {made[0]}; optimizers here take real ones", hint)
    if frozen := [each for each, parameter in parameters.items() if not parameter.requires_grad]:
        hint = "register it as a buffer: every parameter is trained"
        raise ConfigError(f"{name} has {frozen[0]} with requires_grad=False", hint)
    return module


def _arrays(name: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(given, Dataset):
        if not hasattr(given, "__len__"):
            raise ConfigError(f"{name} has no __len__; expected a dataset with a known number of examples")
        pairs = [given[index] for index in range(len(given))]
        if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            raise ConfigError(f"{name} gives {'no examples' if not pairs else 'no pairs'}; expected pairs (x, y)")
        return np.stack([_features(x) for x, _ in pairs]), np.stack([_array(y) for _, y in pairs])
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ConfigError(f"{name} returns {type(given).__name__}; expected a pair (x, y) of arrays")
    return _array(given[0]), _array(given[1])


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _features(value: Any) -> np.ndarray:
    """One example; a picture, [H, W] or [H, W, C], becomes [C, H, W] as models read it."""
    array = _array(value)
    if isinstance(value, torch.Tensor | np.ndarray) or array.dtype != np.uint8:
        return array
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
