"""What a trial does with its targets: the loss it minimises, and what is measured on a split.

Shapes: K trials, B examples, C classes, O values, L places of a text, M summands. Knows no model.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from thalweg.data.schema import Kind

BINS = 15
"""Equal bins of confidence over which the calibration error is taken (Guo et al. 2017, arXiv 1706.04599)."""


Measure = Callable[[Tensor, Tensor], Tensor]
"""(outputs of one trial `[B, …]`, y) -> a 0-d tensor."""
OfAll = Callable[[Any, Tensor, Any], Tensor]
"""(all that a model returns for one trial, y, the inputs) -> a 0-d tensor."""


class Task(ABC):
    """Loss and measurements of one kind of target.

    A measurement adds up: `sums` of any batches of a split, added in float64, are turned into metrics by `finish`,
    whatever the batches were.
    """

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
        """Return one trial's mean loss on a batch. label_smoothing: 0-d, of this trial; None where nobody smooths."""

    @abstractmethod
    def sums(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the summands `[K, M]`, float64, of K trials' outputs `[K, B, …]` on one batch of targets."""

    @abstractmethod
    def finish(self, totals_KM: Tensor) -> dict[str, Tensor]:
        """Return name -> `[K]` from added-up summands, float64."""

    def expected(self, examples: int, outputs: int, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a model's outputs for so many examples of shape `inputs`."""
        return (examples, outputs)

    def constants(self, y: Tensor, outputs: int) -> Tensor:
        """Return what to answer to every example whatever it is, `[2, outputs]`: nothing, and as the targets y are.

        Of classes and tokens: all alike, and the logarithms of their frequencies, each counted once more than it is
        there, so that none is impossible.
        """
        counts = y.flatten().cpu().long().bincount(minlength=outputs).double() + 1
        return torch.stack([torch.zeros_like(counts), (counts / counts.sum()).log()])


@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy; y holds classes int64 `[B]`, or their probabilities `[B, C]` where examples were mixed."""

    def loss(self, outputs: Tensor, y: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy, as torch's."""
        return cross_entropy(outputs, y, label_smoothing)

    def sums(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Number of examples, their loss, hits, and confidence less hits in each bin of confidence."""
        logs_KBC = outputs.log_softmax(2)
        targets_KB = y.expand(outputs.shape[:2])
        loss_KB = -logs_KBC.gather(2, targets_KB[..., None])[..., 0]
        surest_KB, guess_KB = logs_KBC.max(2)
        hit_KB = (guess_KB == targets_KB).to(loss_KB.dtype)
        gap_KB = surest_KB.exp() - hit_KB
        bin_KB = ((gap_KB + hit_KB).nan_to_num() * BINS).long().clamp(max=BINS - 1)
        gaps_KM = in_bins(_double(gap_KB), bin_KB)
        return torch.cat([_summed(torch.ones_like(loss_KB), loss_KB, hit_KB), gaps_KM], dim=1)

    def finish(self, totals_KM: Tensor) -> dict[str, Tensor]:
        """Return loss, accuracy, and the expected calibration error over the whole split."""
        rows_K, loss_K, hits_K = totals_KM[:, :3].unbind(1)
        error_K = totals_KM[:, 3:].abs().sum(1)
        return {"loss": loss_K / rows_K, "accuracy": hits_K / rows_K, "calibration_error": error_K / rows_K}


@dataclass(frozen=True)
class Regression(Task):
    """Squared error; y holds values `[B, O]`."""

    def loss(self, outputs: Tensor, y: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
        """Return the mean over examples and values. Values have no labels to smooth."""
        return (outputs - y).square().mean()

    def sums(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Number of values; squared error; for each value its sum, then its squares' sum."""
        error_KB = (outputs - y).square().flatten(2).sum(2)
        y_O = _double(torch.stack([y, y.square()])).sum(1).flatten()
        own_KM = _summed(torch.full_like(error_KB, y.shape[1]), error_KB)
        return torch.cat([own_KM, y_O.expand(len(outputs), -1)], dim=1)

    def finish(self, totals_KM: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error, and the share of the values' variance that the model explains."""
        count_K, error_K = totals_KM[:, :2].unbind(1)
        sum_KO, squares_KO = totals_KM[:, 2:].chunk(2, dim=1)
        rows_K1 = (count_K / sum_KO.shape[1])[:, None]
        spread_K = (squares_KO - sum_KO.square() / rows_K1).sum(1)
        return {"loss": error_K / count_K, "r2": 1 - error_K / spread_K}

    def constants(self, y: Tensor, outputs: int) -> Tensor:
        """Return zeros, and the mean of the targets."""
        mean = y.cpu().double().mean(0)
        return torch.stack([torch.zeros_like(mean), mean])


@dataclass(frozen=True)
class LanguageModelling(Task):
    """Cross-entropy of the next token at every place; outputs `[B, L, C]`, y int64 `[B, L]`."""

    def loss(self, outputs: Tensor, y: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy over examples and places."""
        return cross_entropy(outputs.flatten(0, 1), y.flatten(), label_smoothing)

    def sums(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Number of tokens and their loss."""
        targets_KBL = y.expand(outputs.shape[:3])
        loss_KB = -outputs.log_softmax(3).gather(3, targets_KBL[..., None])[..., 0].flatten(1)
        return _summed(torch.ones_like(loss_KB), loss_KB)

    def finish(self, totals_KM: Tensor) -> dict[str, Tensor]:
        """Return the loss in nats a token, and in bits; a token is a character."""
        tokens_K, loss_K = totals_KM.unbind(1)
        return {"loss": loss_K / tokens_K, "bits_per_character": loss_K / tokens_K / math.log(2)}

    def expected(self, examples: int, outputs: int, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the logits: one distribution a place."""
        return (examples, *inputs, outputs)


TASKS: dict[Kind, type[Task]] = {"classes": Classification, "values": Regression, "tokens": LanguageModelling}


@dataclass(frozen=True)
class Own(Task):
    """A usual task with functions of the user's: (one trial's outputs `[B, …]`, y) -> the mean over the examples.

    The one called "loss" is minimised in place of the usual loss, and measured in its place; the others are
    measured beside what the task measures. A split's value is the mean of its batches' by their numbers of examples.

    of_all: those that are given all that the model returns, and the inputs. Who has these calls them.
    """

    usual: Task
    functions: dict[str, Measure]
    of_all: dict[str, OfAll] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that is the user's."""
        return (*self.functions, *self.of_all)

    def loss(self, outputs: Tensor, y: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
        """Return the user's loss if there is one."""
        own = self.functions.get("loss")
        return self.usual.loss(outputs, y, label_smoothing) if own is None else own(outputs, y)

    def sums(self, outputs: Tensor, y: Tensor, of_all: Sequence[Tensor] = ()) -> Tensor:
        """What the usual task sums, the number of examples, and each function times that. Functions are given copies.

        of_all: what those gave for the batch, `[K]` each.
        """
        usual_KM = self.usual.sums(outputs, y)
        rows_K = usual_KM.new_full((len(outputs),), len(y))
        own = [torch.stack([of(each.clone(), y.clone()) for each in outputs]) for of in self.functions.values()]
        sums = [_double(each).to(usual_KM.device) * len(y) for each in (*own, *of_all)]
        return torch.cat([usual_KM, torch.stack([rows_K, *sums], dim=1)], dim=1)

    def finish(self, totals_KM: Tensor) -> dict[str, Tensor]:
        """Return the usual metrics and the user's."""
        count = 1 + len(self.names)
        rows_K, *sums = totals_KM[:, -count:].unbind(1)
        own = {name: sum_K / rows_K for name, sum_K in zip(self.names, sums, strict=True)}
        return self.usual.finish(totals_KM[:, :-count]) | own

    def expected(self, examples: int, outputs: int, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """As the usual task: what y means is up to the data, not to the loss."""
        return self.usual.expected(examples, outputs, inputs)


def cross_entropy(logits_BC: Tensor, y: Tensor, label_smoothing: Tensor | None = None) -> Tensor:
    """The mean cross-entropy of classes `[B]` or probabilities `[B, C]`, as F.cross_entropy.

    That one goes through Python decompositions under vmap, which import sympy (1.3 s) at the first step, and takes
    no smoothing that differs between trials. With the classes first the softmax runs along memory: together a
    quarter off the gradient of 54 small perceptrons.
    """
    logs_CB = logits_BC.t().log_softmax(0)
    loss = -(logs_CB * y.t()).sum(0).mean() if y.is_floating_point() else -_at_targets(logs_CB, y).mean()
    if label_smoothing is None:
        return loss
    return (1 - label_smoothing) * loss - label_smoothing * logs_CB.mean()


def _at_targets(logs_CB: Tensor, y: Tensor) -> Tensor:
    """Each example's number of its own class, by whichever of two ways is faster there. Both give the same bits."""
    return gathered(logs_CB, y) if logs_CB.device.type == "cpu" else picked(logs_CB, y)


def gathered(logs_CB: Tensor, y: Tensor) -> Tensor:
    """`[1, B]`: by their places."""
    return logs_CB.gather(0, y[None])


def picked(logs_CB: Tensor, y: Tensor) -> Tensor:
    """`[B]`: as sums of which all summands but one are 0.

    On a GPU what undoes gathering is a sort of all places, since it must add up in one order: 35 of the 105 launches
    of a step of 64 perceptrons. On a CPU a sum of ten classes takes 1.4 times as long as gathering.
    """
    others_CB = torch.arange(len(logs_CB), device=y.device)[:, None] != y
    return logs_CB.masked_fill(others_CB, 0).sum(0)


def in_bins(values_KB: Tensor, bin_KB: Tensor) -> Tensor:
    """The sum of the values in each bin, `[K, BINS]`; where no CPU sums, by comparison: one launch, in one order."""
    if values_KB.device.type != "cpu":
        return compared(values_KB, bin_KB)
    return values_KB.new_zeros(len(values_KB), BINS).scatter_add_(1, bin_KB.cpu(), values_KB)


def compared(values_KB: Tensor, bin_KB: Tensor) -> Tensor:
    """As `in_bins`, for any device."""
    bins_M = torch.arange(BINS, device=bin_KB.device)
    return torch.where(bin_KB[:, :, None] == bins_M, values_KB[:, :, None], 0).sum(1)


def _summed(*values_KB: Tensor) -> Tensor:
    """Sum each over its examples: `[K, M]`, in float64."""
    return _double(torch.stack(values_KB, dim=1)).sum(2)


def _double(tensor: Tensor) -> Tensor:
    """In float64, where it is; MPS has none, so from there on the host."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()
