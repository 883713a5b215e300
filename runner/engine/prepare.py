"""Makes a workload from a configuration: data, model, task and rule, looked at before anything trains."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from thalweg.data.augment import Augment
from thalweg.data.fields import fields
from thalweg.data.load import load_splits
from thalweg.data.schema import MODELS_LOSS
from thalweg.data.splits import Splits
from thalweg.models.extent import Extent, Field, Holds
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.assembly import fails_on
from thalweg.runner.engine.beginning import Arrays, beginning
from thalweg.runner.engine.calling import called_with, label_of
from thalweg.runner.engine.copying import converted
from thalweg.runner.engine.examine import examined, habits_of
from thalweg.runner.engine.examples import Examples, on_device, settled
from thalweg.runner.engine.generators import forked
from thalweg.runner.engine.outputs import refuse_unlike, without_picks
from thalweg.runner.engine.own import own_splits, own_task
from thalweg.runner.engine.parameters import ParameterLayout
from thalweg.runner.engine.recipe import Recipe
from thalweg.runner.engine.task import Own, Task
from thalweg.runner.engine.told import refuse_measured
from thalweg.runner.engine.user import resolved
from thalweg.runner.engine.workload import DTYPES, Workload, initialised, runs_users_code
from thalweg.runner.engine.world import Look, World
from thalweg.runner.project.project import here
from thalweg.runner.study.target import DatasetTarget, ModelTarget
from thalweg.runner.study.trial import TrialConfig

HOLDS: dict[str, Holds] = {"b": "booleans", "f": "fractions", "i": "integers", "u": "integers"}
"""What a field holds, by the kind of its numpy dtype."""


def prepared(
    config: TrialConfig, device: torch.device, metrics: tuple[str, ...] = (), of_trial: Arrays | None = None
) -> Workload:
    """Build the template, the rule and the data of `config` on `device`. metrics: those of the user's own.

    of_trial: the state_dict of the trial that `config.init` names, if it names one.
    """
    device, dtype = settled(device), DTYPES[config.precision]
    data = config.dataset
    arrays = own_splits(data) if isinstance(data, DatasetTarget) else load_splits(data)
    task, splits = own_task(config.task, arrays.kind, metrics), on_device(arrays, device, dtype)
    extent = extent_of(arrays)
    packages = _packages(config)
    look = Look.at(packages) if runs_users_code(config) else None
    module, scratch = (converted(initialised(config, extent), device, dtype) for _ in range(2))
    if config.dataset.augment and extent.fields:
        seen = f"dataset.augment changes one array, but an example of the dataset is {extent.shown}"
        raise ConfigError(seen, "write dataset.augment=[]")
    label = label_of(config.model.name, module.forward) if config.task.loss == MODELS_LOSS else None
    with fails_on(f"model={config.model.name}", scratch, extent), forked(device):
        refuse_misfit(scratch, task, splits["train"], extent, label)
        if config.budget.at_once == 1:
            _refuse_lone_row(scratch, splits["train"], config.budget.accumulate)
    layout, like = ParameterLayout.of(module), torch.empty(0, device=device, dtype=dtype)
    still = frozenset(name for name, parameter in module.named_parameters() if not parameter.requires_grad)
    workload = Workload(
        module=module,
        layout=layout,
        recipe=Recipe.of(config, layout, like, still),
        splits=splits,
        task=task,
        augment=Augment(config.dataset.augment, arrays.outputs) if config.dataset.augment else None,
        device=device,
        dtype=dtype,
        extent=extent,
        precision=config.precision,
        batch_size=config.budget.at_once,
        config=config,
        beginning=beginning(config.init, of_trial, module),
        label=label,
    )
    if workload.pick:
        without_picks(module)
    habits, world = examined(workload, look, packages) if look else (habits_of(workload), World())
    if isinstance(task, Own):
        refuse_measured(habits.tells or (), task.names)
    late = partial(Look.at(packages).refuse_late, packages) if look and habits.alone else workload.late
    recipe = replace(workload.recipe.sparing(habits.unused, like), logged=habits.tells or ())
    if recipe.frozen and not habits.alone:  # a model that acts on more than tensors may write into any parameter
        recipe = recipe.apart(like)
    return replace(workload, habits=habits, world=world, late=late, recipe=recipe, layout=recipe.layout)


def _packages(config: TrialConfig) -> tuple[str, ...]:
    """The user's packages, that which the model comes from imported."""
    if isinstance(config.model, ModelTarget):
        resolved("model._target_", "model", config.model._target_)
    project = here()
    return project.code if project else ()


def extent_of(arrays: Splits) -> Extent:
    """What a model is to be built for on these data."""
    x, tokens = arrays.train.x, arrays.kind == "tokens"
    if isinstance(x, dict | tuple):
        held: dict[str | int, NDArray[Any]] = fields(x)
        each = tuple(Field(name, array.shape[1:], HOLDS[array.dtype.kind]) for name, array in held.items())
        places = arrays.train.y.shape[1:] if tokens else ()
        return Extent(places, arrays.outputs, tokens=tokens, fields=each, axes=arrays.axes)
    integers = arrays.pixels is None and x.dtype.kind in "iub"
    return Extent(arrays.features, arrays.outputs, tokens=tokens, integers=integers, axes=arrays.axes)


@torch.no_grad()
def refuse_misfit(module: nn.Module, task: Task, train: Examples, extent: Extent, label: str | None = None) -> None:
    """Raise ConfigError where a model's outputs for two examples are not what the task reads.

    label: what the model calls the targets, where it is given them.
    """
    x, y = train.take(torch.arange(min(2, train.rows), device=train.home))
    was_training = module.training
    module.eval()
    outputs = called_with(module, x, {label: y} if label else {})
    module.train(was_training)
    expected = task.expected(len(y), extent.outputs, extent.inputs)
    refuse_unlike(outputs, expected, f"{len(y)} examples of {extent.shown}", extent.axes)


@torch.no_grad()
def _refuse_lone_row(module: nn.Module, train: Examples, parts: int) -> None:
    """Raise ConfigError where BatchNorm would meet a single value, of which there is no deviation."""
    x, _ = train.take(torch.zeros(1, dtype=torch.int64, device=train.home))
    with torch.random.fork_rng(devices=[]):
        try:
            module.train()
            called_with(module, x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            said = f"budget.accumulate is {parts} of as many examples" if parts > 1 else "budget.batch_size is 1"
            raise ConfigError(
                f"{said}, but the model has BatchNorm, which needs two examples or more at once",
                "raise budget.batch_size, or take another normalisation",
            ) from None
