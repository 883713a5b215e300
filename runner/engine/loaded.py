"""A trial's module with its final weights: built as it was, and held against the stored validation loss before use."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.data.fields import Inputs, fields, mapped
from thalweg.data.load import load_splits, trained_on
from thalweg.data.schema import (
    ArraysConfig,
    DigitsConfig,
    FashionMNISTConfig,
    ImageFolderConfig,
    MNIST1DConfig,
    MNISTConfig,
    NoisyRegressionConfig,
    StdlibConfig,
    TableConfig,
    TeacherConfig,
    TextConfig,
)
from thalweg.data.splits import Splits, repeated
from thalweg.data.unseen import Unseen, unseen_arrays, unseen_rows, unseen_scaled, unseen_text
from thalweg.runner.base.child import HASH_SEED, ORDER, walks_in_order
from thalweg.runner.base.errors import ConfigError, MismatchError, UsageError, last_line
from thalweg.runner.engine.evaluate import STREAM, evaluate, rows_at_once
from thalweg.runner.engine.examples import as_held
from thalweg.runner.engine.generators import forked, seed_all
from thalweg.runner.engine.own import own_splits
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.state import host_arrays
from thalweg.runner.engine.streams import stream_key
from thalweg.runner.engine.workload import Workload
from thalweg.runner.study.start import FRESH
from thalweg.runner.study.target import DatasetTarget
from thalweg.runner.study.trial import Trial, TrialConfig

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GREY = DigitsConfig | FashionMNISTConfig | MNISTConfig
"""Datasets of grey pictures, which may be given in three channels."""
CLOSE = {"float64": 1e-9, "float32": 1e-3, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2}
"""How far, relatively, a loss may lie from the stored one, which another device or executor may have rounded."""


@dataclass(frozen=True)
class Loaded:
    """A module in its evaluating mode, and what its trial's data are. It is on the CPU, if it is the same there."""

    workload: Workload
    module: nn.Module

    @property
    def splits(self) -> Splits:
        """The trial's data."""
        return _splits_of(self.workload.config.dataset)

    @torch.no_grad()
    def outputs(self, x: Inputs[np.ndarray]) -> np.ndarray:
        """What the module makes of examples as a split holds them: logits, or values as they are trained."""
        like, seed = self.workload.splits["val"], self.workload.config.seed
        held = mapped(lambda each: as_held(each, like.home, like.dtype), x)
        rows = len(next(iter(fields(held).values())))
        examples = replace(like, x=held, y=like.y[:1].expand(rows, *like.y.shape[1:]))
        with self.workload.numerics(), forked(self.workload.device):
            seed_all(stream_key(seed, STREAM))
            parts = [self.workload.outputs(self.module, x) for x, _ in examples.chunks(rows_at_once(examples))]
            return torch.cat(parts).double().cpu().numpy()

    def unseen(self, file: Path) -> Unseen:
        """Examples of a file, made ready as the trial's own; grey pictures are given as they are."""
        data = self.workload.config.dataset
        if not isinstance(data, GREY) or data.channels == 1:
            return _unseen(data, file)
        grey = _unseen(replace(data, channels=1), file)
        return replace(grey, x=repeated(grey.x, data.channels))


def _splits_of(data: Any) -> Splits:
    return own_splits(data) if isinstance(data, DatasetTarget) else load_splits(data)


def _unseen(data: Any, file: Path) -> Unseen:
    if isinstance(data, TableConfig):
        return unseen_rows(data, file)
    if isinstance(data, TextConfig | StdlibConfig):
        return unseen_text(data, file)
    if isinstance(data, DatasetTarget | ArraysConfig | ImageFolderConfig) or _splits_of(data).pixels is not None:
        return unseen_arrays(file, _splits_of(data))
    if isinstance(data, DigitsConfig | MNIST1DConfig):
        return unseen_scaled(file, trained_on(data))
    if isinstance(data, TeacherConfig | NoisyRegressionConfig):  # their features are drawn as models read them
        return replace(unseen_arrays(file, _splits_of(data)), note="")
    expected = "expected a trial on a table, a text, pictures, digits, drawn features or data of yours"
    hint = "from Python: thalweg.trial(ID).model()"
    raise UsageError(f"no file is read as dataset={data.name} is; {expected}", hint)


def loaded(config: TrialConfig, state_dict: Mapping[str, np.ndarray], loss: float | None) -> Loaded:
    """Build a trial's module and load its weights, strictly. loss: the stored validation loss, None if there is none.

    On the CPU; on a GPU that is there where it fails on the CPU, as one that calls `.cuda()`, or is another there, as
    one that draws random numbers in evaluation. Raises MismatchError where the module gives another loss, or cannot
    hold the weights.
    """
    try:
        return _loaded(config, state_dict, loss, CPU)
    except (ConfigError, MismatchError):
        if not torch.cuda.is_available():
            raise
        with suppress(ConfigError, MismatchError):
            return _loaded(config, state_dict, loss, GPU)
        raise


def _loaded(
    config: TrialConfig, state_dict: Mapping[str, np.ndarray], loss: float | None, device: torch.device
) -> Loaded:
    workload = prepared(replace(config, init=FRESH), device)
    trial = Trial(config)
    with workload.numerics(), workload.apart():
        lone = workload.lone(config)
        try:
            _load(lone.module, state_dict)
        except RuntimeError as error:
            what = f"the model of {trial.id[:8]} cannot hold its weights"
            raise MismatchError(f"{what}: {last_line(str(error)).rstrip('.')}", _in_order()) from error
        found = float(evaluate(workload, workload.start_own((lone,)), "val", "loop", seeds=[config.seed])["loss"])
    if loss is not None and not np.isclose(found, loss, rtol=CLOSE[config.precision], atol=1e-6):
        what = f"with the weights of {trial.id[:8]} its model has a validation loss of {found:.6g}, not {loss:.6g}"
        raise MismatchError(f"{what}: its state_dict does not hold all that it is", _in_order())
    module = workload.lone(config).module  # another, whose weights are its own: those of the first lie in one row
    _load(module, state_dict)
    if workload.pick:  # as one that picked from the beginning
        module.register_forward_hook(workload.pick)
    module.eval()
    return Loaded(workload, module)


def _in_order() -> str | None:
    """What may help, in a process that walks sets of words in another order than those that train."""
    if walks_in_order():
        return None
    return f"if it is built in the order of a set of words, start with {HASH_SEED}={ORDER}, as processes that train are"


def _load(module: nn.Module, state_dict: Mapping[str, np.ndarray]) -> None:
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state_dict.items()})
    held = host_arrays({name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)})
    assert all(np.array_equal(held[name], array, equal_nan=True) for name, array in state_dict.items())
