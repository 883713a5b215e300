"""A model or a dataset of the user's own, from its target: called with what it wants, and looked at before use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset

from thalweg.data.arrays import rows_of, split_arrays
from thalweg.data.fields import Inputs, fields, mapped, remade
from thalweg.data.rows import Held
from thalweg.data.schema import MODELS_LOSS, UNNAMED_LOSSES, Kind, TaskConfig
from thalweg.data.splits import Splits
from thalweg.models.extent import Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.assembly import assembled, other_generators, thawed
from thalweg.runner.engine.calling import loss_in, refuse_inputs
from thalweg.runner.engine.fitting import fills_of
from thalweg.runner.engine.task import TASKS, Measure, OfAll, Own, Task
from thalweg.runner.engine.user import called, resolved, takes, users_error
from thalweg.runner.study.target import DatasetTarget, ModelTarget, refuse_changed

ENDS = 16
"""Rows at each end of an array in a file that its hash is of: a file that an argument names has a fingerprint."""
INPUTS = "inputs"
"""The third argument of a loss or metric of the user's that is given the inputs, and all that the model returns."""


def own_model(target: ModelTarget, extent: Extent) -> nn.Module:
    """Return the module that a target builds for examples and outputs of `extent`.

    Initial weights come from torch's global generator: seed it before, restore it after. For those who ask numpy's
    or Python's instead, these are seeded alike, and put back. Raises ConfigError, naming key and fix.
    """
    fills = fills_of(target, extent)
    with other_generators(torch.initial_seed() % 2**31):
        module = assembled(target, fills)
    return _trainable(target.name, module, extent)


def own_splits(target: DatasetTarget) -> Splits:
    """Return the splits of the data that a target gives. If it draws random numbers, they are the same each time."""
    return own_data(target)[0]


@lru_cache(maxsize=4)
def own_data(target: DatasetTarget) -> tuple[Splits, str]:
    """Return the splits of the data that a target gives, and a hash of its arrays as it gave them."""
    refuse_changed(target)
    build = resolved("dataset._target_", "dataset", target._target_)
    with torch.random.fork_rng(devices=[]), other_generators(0):
        torch.manual_seed(0)
        given = called("dataset._target_", build, {name: thawed(value) for name, value in target.arguments})
        with users_error(f"{target.name} failed"):
            x, y = _arrays(target.name, given)
    given_hash = _hash_of([*fields(x).values(), y])
    in_a_file = isinstance(given, tuple | list) and isinstance(given[0], np.memmap) and target.kind != "tokens"
    splits = split_arrays(
        rows_of(Held(x, f"the array that {target.name} maps")) if in_a_file and isinstance(x, np.ndarray) else x,
        y,
        kind=target.kind,
        shares=(target.validation, target.test),
        train_size=target.train_size,
        label_noise=target.label_noise,
        split_seed=target.split_seed,
    )
    return splits, given_hash


def _hash_of(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of arrays: kinds, shapes and numbers; of one that a file holds, its ends."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.dtype.str} {array.shape}".encode())
        ends = [array[:ENDS], array[-ENDS:]] if isinstance(array, np.memmap) and array.ndim else [array]
        for part in ends:
            if part.dtype.hasobject:
                made.update(repr(part.tolist()).encode("utf-8", "surrogateescape"))
            else:
                made.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return made.hexdigest()


def own_task(config: TaskConfig, kind: Kind, metrics: tuple[str, ...]) -> Task:
    """Return the task on targets of this kind, with the user's loss and metrics if there are any."""
    usual, functions, of_all = TASKS[kind](), dict[str, Measure](), dict[str, OfAll]()
    if config.loss == MODELS_LOSS:
        of_all["loss"] = lambda answer, y, inputs: loss_in(answer)
    named = [("task.loss", "loss", config.loss)] if config.loss not in UNNAMED_LOSSES else []
    named += [("evaluation.metrics", path.rpartition(".")[2], path) for path in metrics]
    for key, name, path in named:
        function = resolved(key, "loss" if key == "task.loss" else "metric", path)
        if takes(function).names[2:3] == (INPUTS,):
            of_all[name] = _measure(key, path, function)
        else:
            functions[name] = _measure(key, path, function)
    return Own(usual, functions, of_all) if functions or of_all else usual


def _measure(key: str, path: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    """The function that a path names, made to say what is wrong with what it returns."""

    def measure(*given: Any) -> Tensor:
        value = function(*given)
        if not isinstance(value, Tensor) or value.dim():
            got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            hint = "return the mean over the examples"
            raise ConfigError(f"{key}: {path} returns {got} for a batch; expected a tensor without dimensions", hint)
        return value

    return measure


def _trainable(name: str, module: nn.Module, extent: Extent) -> nn.Module:
    if not module._forward_pre_hooks:  # one may bring what is missing
        refuse_inputs(name, module.forward, extent)
    parameters = dict(module.named_parameters())
    if {id(each) for each in module.parameters()} != {id(each) for each in parameters.values()}:
        hint = "override neither of them, or both in the same way"
        raise ConfigError(f"{name} has other parameters() than named_parameters(), so which to train is open", hint)
    if not parameters:
        raise ConfigError(f"{name} has no parameters, so there is nothing to train")
    if lazy := [each for each, tensor in [*parameters.items(), *module.named_buffers()] if is_lazy(tensor)]:
        raise ConfigError(f"{name} leaves the shape of {lazy[0]} open", "give the layer its sizes; no lazy modules")
    blank = [each for each, parameter in parameters.items() if parameter.is_meta]
    if 0 < len(blank) < len(parameters):  # of a model that is built to be looked at, all are
        seen = f"{name} has the parameter {blank[0]} on the meta device, where it has no numbers"
        raise ConfigError(seen, "keep such a template in a list, or build it in the forward pass")
    if made := [each for each, parameter in parameters.items() if parameter.is_complex()]:
        hint = "hold torch.view_as_real of it, and take torch.view_as_complex in forward"
        raise ConfigError(f"{name} has the complex parameter {made[0]}; optimizers here take real ones", hint)
    if whole := [each for each, parameter in parameters.items() if not parameter.is_floating_point()]:
        seen = str(parameters[whole[0]].dtype).removeprefix("torch.")
        raise ConfigError(f"{name} has the parameter {whole[0]} of {seen}", "register it as a buffer")
    return module


def _arrays(name: str, given: Any) -> tuple[Inputs[np.ndarray], np.ndarray]:
    if isinstance(given, Dataset):
        if not hasattr(given, "__len__"):
            raise ConfigError(f"{name} has no __len__; expected a dataset with a known number of examples")
        pairs = [_pair(given[index]) for index in range(len(given))]
        if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            seen = "no examples" if not pairs else "no pairs"
            hint = "several inputs are a dict or a tuple: ((a, b), y)"
            raise ConfigError(f"{name} gives {seen}; expected pairs (x, y)", hint if pairs else None)
        return _stacked(name, [_several(x, whole=False) for x, _ in pairs]), np.stack([_array(y) for _, y in pairs])
    given = _pair(given)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ConfigError(f"{name} returns {type(given).__name__}; expected a pair (x, y) of arrays")
    x, y = given
    return mapped(_array, _several(x, whole=len(x) != len(y) if hasattr(x, "__len__") else False)), _array(y)


def _pair(given: Any) -> Any:
    """What a dataset gives, a dict with `labels` among its inputs taken apart."""
    if not isinstance(given, Mapping) or "labels" not in given:
        return given
    return {name: each for name, each in given.items() if name != "labels"}, given["labels"]


def _several(x: Any, whole: bool) -> Any:
    """x as it was given, or as a dict or tuple of inputs.

    whole: of all examples at once, of which a list may be of several arrays too. One of examples' rows is as long as y.
    """
    if isinstance(x, Mapping):
        return {**x}
    kinds = (tuple, list) if whole else (tuple,)
    arrays = isinstance(x, kinds) and all(isinstance(each, Tensor | np.ndarray) and each.ndim for each in x)
    return tuple(x) if arrays and len(x) else x


def _stacked(name: str, examples: list[Any]) -> Inputs[np.ndarray]:
    """All examples' inputs, each beside its like."""
    first = examples[0]
    if not isinstance(first, dict | tuple):
        return np.stack([_features(each) for each in examples])
    names = fields(first).keys()
    for place, each in enumerate(examples):
        if type(each) is not type(first) or fields(each).keys() != names:
            raise ConfigError(f"{name} gives other inputs in example {place} than in the first", "give each the same")
    columns = {field: [_features(fields(each)[field]) for each in examples] for field in names}
    for field, column in columns.items():
        if len({array.shape for array in column}) > 1:
            seen = f"{name} gives {field!r} of shape {list(column[0].shape)}, and of others in later examples"
            raise ConfigError(seen, "pad each to one length, and give a mask beside it")
    return remade(first, {field: np.stack(column) for field, column in columns.items()})


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _features(value: Any) -> np.ndarray:
    """One example; a picture, [H, W] or [H, W, C], becomes [C, H, W] as models read it."""
    array = _array(value)
    if isinstance(value, torch.Tensor | np.ndarray) or array.dtype != np.uint8:
        return array
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
