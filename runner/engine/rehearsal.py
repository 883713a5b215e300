"""A model is built once and shown two examples, without its weights where it can be: what would keep it from training.

Nothing is trained, and nothing is fetched. Modules are made on torch's meta device, which has shapes and no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from thalweg.data.files import class_folders
from thalweg.data.load import load_splits
from thalweg.data.schema import FashionMNISTConfig, ImageFolderConfig, MNISTConfig
from thalweg.data.vision import VisionConfig
from thalweg.models.extent import Extent
from thalweg.optim.build import rule_for
from thalweg.optim.groups import assigned
from thalweg.runner.base.errors import ConfigError, ThalwegError
from thalweg.runner.engine.assembly import expected_shape, tried
from thalweg.runner.engine.fitting import fills_of, lookalikes, misnamed
from thalweg.runner.engine.lone import dense_buffers
from thalweg.runner.engine.outputs import refuse_unlike
from thalweg.runner.engine.own import own_splits
from thalweg.runner.engine.prepare import extent_of
from thalweg.runner.engine.workload import DTYPES, initialised
from thalweg.runner.facts.remark import Remark
from thalweg.runner.facts.weights import Size
from thalweg.runner.study.longer import common_steps
from thalweg.runner.study.target import DatasetTarget, ModelTarget
from thalweg.runner.study.trial import TrialConfig

GREY = MNISTConfig | FashionMNISTConfig
"""Datasets that may have to be downloaded and whose examples are [channels, 28, 28]; of the others [3, 32, 32]."""


def remarks(config: TrialConfig) -> Iterator[Remark]:
    """Yield what is known against a trial's model before it trains; nothing if all is well."""
    try:
        extent = _extent(config)
        wrong = misnamed(config.model, extent) if isinstance(config.model, ModelTarget) else []
        for error in wrong:
            yield _remark(config, error)
        if wrong:
            return
        if isinstance(config.model, ModelTarget):
            yield from _said_of_sizes(config.model, extent)
            yield from (Remark(config.model.name, said, wrong=False) for said in lookalikes(config.model))
        yield from _shown_examples(config, extent)
    except ThalwegError as error:
        yield _remark(config, error)


def size(config: TrialConfig) -> Size | None:
    """What a trial takes that is kept, counted from its model without weights; None where that cannot be built so."""
    try:
        with torch.device("meta"):
            module = initialised(config, _extent(config))
        named = dict(module.named_parameters())
        still = frozenset(name for name, parameter in named.items() if not parameter.requires_grad)
        group_of = assigned(config.groups, list(named), still)
    except ThalwegError:  # said elsewhere
        return None
    freezing = {group for group, settings in config.groups.named if settings.freeze}
    frozen = {name for name in named if name in still or group_of.get(name) in freezing}
    number = DTYPES[config.precision].itemsize
    once, trained = (
        number * sum(each.numel() for name, each in named.items() if (name in frozen) is of) for of in (True, False)
    )
    buffers = sum(
        b.numel() * (number if b.is_floating_point() else b.itemsize)
        for b in dense_buffers(module, blank=True).values()
    )
    slots = len(rule_for(config.optimizer).slots) + (config.average.name != "none")
    state = (1 + slots) * trained + buffers + 8 * common_steps(config) if common_steps(config) else 0
    return Size(trained + buffers + state, once)


def _extent(config: TrialConfig) -> Extent:
    data = config.dataset
    if isinstance(data, VisionConfig):
        return Extent((data.channels, 28, 28) if isinstance(data, GREY) else (3, 32, 32), data.classes)
    if isinstance(data, ImageFolderConfig):  # decoding all may take hours
        return Extent((3, data.side, data.side), len(class_folders(data.path)))
    return extent_of(own_splits(data) if isinstance(data, DatasetTarget) else load_splits(data))


def _said_of_sizes(target: ModelTarget, extent: Extent) -> Iterator[Remark]:
    with torch.device("meta"):
        fills = fills_of(target, extent)
    sizes = [f"{key}.{name}={size}" for key, names in fills.items() for name, size in names.items()]
    if sizes:
        yield Remark(target.name, f"given from the data: {' '.join(sizes)}", wrong=False)


def _shown_examples(config: TrialConfig, extent: Extent) -> Iterator[Remark]:
    """Build on the meta device; what fails there must fail on the CPU as well to count."""
    try:
        with torch.device("meta"), _tables_read_whole_numbers():
            _show(config, extent)
        return
    except ConfigError as error:
        if error.__cause__ is None:
            raise
        if "meta" in str(error.__cause__).lower():
            why = f"it cannot be built without its weights: {error.__cause__}"
            yield Remark(config.model.name, f"not looked at, as {' '.join(why.split())[:200]}", wrong=False)
            return
    _show(config, extent)


@contextmanager
def _tables_read_whole_numbers() -> Iterator[None]:
    """Where an nn.Embedding raises for rows that are fractions: without its weights torch 2.11 lets them pass."""

    def refuse(module: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and any(map(torch.is_floating_point, filter(torch.is_tensor, given))):
            raise TypeError("fractions for rows of a table")

    hook = register_module_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


def _show(config: TrialConfig, extent: Extent) -> None:
    """Raise ConfigError unless a model can be built for such data, and returns what it should in both modes."""
    module = initialised(config, extent)
    still = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    assigned(config.groups, [name for name, _ in module.named_parameters()], still)
    for training in (False, True):
        outputs = tried(module, extent, training)
        mode = " in training" if training else ""
        refuse_unlike(outputs, expected_shape(2, extent), f"2 examples of {extent.shown}{mode}", extent.axes)


def _remark(config: TrialConfig, error: ThalwegError) -> Remark:
    return Remark(config.model.name, f"{error.message}; {error.hint}" if error.hint else error.message, wrong=True)
