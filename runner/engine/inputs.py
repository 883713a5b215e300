"""What the steps of a cohort are fed: batch rows, random draws and coefficients, a block of steps at a time.

All are functions of (trial, step) alone, so any block can be made without the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg.optim.build import multipliers
from thalweg.runner.engine.examples import Batch
from thalweg.runner.engine.streams import batch_indices, stream_key, uniforms
from thalweg.runner.facts.choice import Layout
from thalweg.runner.study.trial import Trial

if TYPE_CHECKING:
    from thalweg.runner.engine.workload import Workload

Taken = int | np.ndarray
"""How many steps a parameter took, or that of each of K lanes."""
ALIGNED = 256
"""Bytes at whose multiples the tensors of a block begin on a GPU: kernels read as many of them at once as they can."""


@dataclass(frozen=True)
class Feed:
    """What one step of K trials is fed: tensors on the device, so that no number is baked into a trace.

    batch: x, y, `[B, …]` for all lanes or `[K, B, …]`; coefficients: name -> `[K, 1]`; label_smoothing `[K]`, None
    where no lane smooths; step: int64, 0-d. key seeds the forward pass's random numbers; None where it draws none.
    missed: how many of the steps before each lane did not take, as its coefficients have it; none of them if empty.
    late: the coefficients of a parameter that took only so many steps before, or of each lane's that took so many
    `[K]`, at this step's rate.
    """

    batch: Batch
    coefficients: dict[str, Tensor]
    label_smoothing: Tensor | None
    step: Tensor
    key: int | None
    missed: tuple[int, ...] = ()
    late: Callable[[Taken], dict[str, Tensor]] | None = None


@dataclass(frozen=True)
class Block:
    """The inputs of T consecutive steps.

    rows: batch row numbers, int64 `[T, B]` when all lanes share them, else `[T, K, B]`, where the data lies; draws:
    uniform numbers of a batch's augmentation, float32 `[T, B, D]` or `[T, K, B, D]`; coefficients: name ->
    `[T, K, 1]`; label_smoothing `[K]`, None where no lane smooths (one that does not has the same loss to the bit
    beside one that does: one times it, plus nothing); start: number of the first step; seeds: each lane's. late:
    (step, steps taken) -> the coefficients `[K, 1]` of a parameter that took that many steps before that one, or
    of each lane's, `[K]`. missed: as a step is fed.
    """

    rows: Tensor
    draws: Tensor | None
    coefficients: dict[str, Tensor]
    label_smoothing: Tensor | None
    start: int
    seeds: tuple[int, ...]
    late: Callable[[int, Taken], dict[str, Tensor]]
    missed: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        """T."""
        return self.rows.shape[0]

    @property
    def shared(self) -> bool:
        """Whether all lanes see the same batches."""
        return self.rows.dim() == 2

    def lane(self, k: int) -> Block:
        """The inputs of lane k alone."""

        def late(step: int, taken: Taken) -> dict[str, Tensor]:
            return {name: c[k : k + 1] for name, c in self.late(step, taken).items()}

        return Block(
            rows=self.rows if self.shared else self.rows[:, k],
            draws=self.draws if self.shared or self.draws is None else self.draws[:, k],
            coefficients={name: c[:, k : k + 1] for name, c in self.coefficients.items()},
            label_smoothing=None if self.label_smoothing is None else self.label_smoothing[k : k + 1],
            start=self.start,
            seeds=self.seeds[k : k + 1],
            late=late,
            missed=self.missed[k : k + 1],
        )

    def feeds(self, workload: Workload) -> Iterator[Feed]:
        """What each step is fed, in order. ValueError where lanes of unlike seeds would share random numbers."""
        one_seed = len(set(self.seeds)) == 1
        if workload.habits.draws and not one_seed:
            raise ValueError("a model that draws random numbers in its forward pass trains one seed at a time")
        train, stop = workload.splits["train"], self.start + self.steps
        columns = [(name, values.unbind(0)) for name, values in self.coefficients.items()]
        numbers = torch.arange(self.start, stop, device=workload.device).unbind(0)
        for t, batch in enumerate(train.batches(self.rows.unbind(0))):
            if workload.augment is not None and self.draws is not None:
                batch = workload.augment(*batch, self.draws[t])
            yield Feed(
                batch=batch,
                coefficients={name: values[t] for name, values in columns},
                label_smoothing=self.label_smoothing,
                step=numbers[t],
                key=stream_key(self.seeds[0], "forward", self.start + t) if workload.seeded and one_seed else None,
                missed=self.missed,
                late=partial(self.late, self.start + t),
            )


class Inputs:
    """Batches and coefficients of a cohort's trials, block by block."""

    def __init__(self, trials: Sequence[Trial], layout: Layout, workload: Workload) -> None:
        self.configs = [trial.config for trial in trials]
        self.shared = layout == "shared"
        if self.shared and len({config.seed for config in self.configs}) > 1:
            raise ValueError("a cohort that shares its batches must have one seed")
        self.workload = workload
        self.hyper_N = {name: self._column("optimizer", name) for name in workload.recipe.rule.hyper}
        self.beside_N = {}
        self.of_groups = {group: self._hyper_of(group) for group in workload.recipe.groups}
        if workload.recipe.sam != "none":
            self.beside_N["sam.rho"] = self._column("sam", "rho")
        self.kept_N = None if workload.recipe.average == "none" else self._column("average", "decay")
        if workload.recipe.clip != "none":
            self.beside_N["clip.limit"] = self._column("clip", "limit")
        if workload.recipe.scaling:
            self.beside_N |= {f"scaling.{name}": self._column("scaling", name) for name in ("interval", "floor")}

    def _column(self, part: str, name: str) -> np.ndarray:
        """A number of every trial's configuration, float64 `[N]`."""
        return np.array([getattr(getattr(config, part), name) for config in self.configs], dtype=np.float64)

    def _hyper_of(self, group: str) -> dict[str, np.ndarray]:
        """A parameter group's hyperparameters in every trial, its multipliers of rate and decay among them."""
        of = [dict(config.groups.named)[group] for config in self.configs]
        rules = [each.optimizer or config.optimizer for each, config in zip(of, self.configs, strict=True)]
        scales = {name: np.array([getattr(each, name) for each in of], np.float64) for name in ("lr", "weight_decay")}
        names = self.workload.recipe.rule_of(group).hyper
        hyper_N = {name: np.array([getattr(each, name) for each in rules], np.float64) for name in names}
        return hyper_N | {name: hyper_N[name] * scale_N for name, scale_N in scales.items()}

    def block(self, start: int, stop: int, lane_of: np.ndarray, missed: Sequence[int] = ()) -> Block:
        """The inputs of steps start…stop−1 for the trials that still train; lane_of maps lanes to trials.

        missed: how many steps before them each lane did not take, if any did not.
        """
        workload, batch_size = self.workload, self.configs[0].budget.batch_size
        train, augment = workload.splits["train"], workload.augment
        rows = self._by_seed(lane_of, lambda seed: batch_indices(seed, start, stop, batch_size, train.rows))
        made = {"rows": torch.as_tensor(rows)}
        if augment is not None:
            shape = (batch_size, augment.draws)
            draws = self._by_seed(lane_of, lambda seed: uniforms(seed, "augment", start, stop, shape))
            made["draws"] = torch.as_tensor(draws)
        smoothing = [self.configs[place].task.label_smoothing for place in lane_of]
        if any(smoothing):
            made["smoothing"] = torch.tensor(smoothing, dtype=workload.dtype)
        coefficients = self._coefficients(start, stop, lane_of, np.asarray(missed or 0))
        staying = {} if train.home == workload.device else {"rows": made.pop("rows")}
        there = staying | sent(made | coefficients, workload.device)
        return Block(
            rows=there["rows"],
            draws=there.get("draws"),
            coefficients={name: there[name].expand(stop - start, -1, -1) for name in coefficients},
            label_smoothing=there.get("smoothing"),
            start=start,
            seeds=tuple(self.configs[place].seed for place in lane_of),
            late=partial(self._late, lane_of),
            missed=tuple(missed),
        )

    def _late(self, lane_of: np.ndarray, step: int, taken: Taken) -> dict[str, Tensor]:
        """The coefficients `[K, 1]` of a parameter that took so many steps before this one."""
        there = sent(self._coefficients(step, step + 1, lane_of, step - np.asarray(taken)), self.workload.device)
        return {name: values[0] for name, values in there.items()}

    def _by_seed(self, lane_of: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
        """What `draw` makes of each seed, `[T, …]`: once if all lanes share it, else one a lane, `[T, K, …]`."""
        seeds = [self.configs[place].seed for place in lane_of]
        if self.shared:
            return draw(seeds[0])
        drawn = {seed: draw(seed) for seed in set(seeds)}
        return np.stack([drawn[seed] for seed in seeds], axis=1)

    def _coefficients(self, start: int, stop: int, lane_of: np.ndarray, missed: np.ndarray) -> dict[str, Tensor]:
        """Name -> `[T, K, 1]`, or `[1, K, 1]` of what is the same at every step, on the host.

        missed: how many steps before the first were not taken, by each lane `[K]` or by all.
        """
        total, steps = self.configs[0].budget.steps, np.arange(start, stop)
        schedules = [self.configs[place].schedule for place in lane_of]
        columns = {schedule: multipliers(schedule, total, steps) for schedule in set(schedules)}
        multiplier_TK = np.stack([columns[schedule] for schedule in schedules], axis=1)
        hyper_K = {name: values[lane_of] for name, values in self.hyper_N.items()}
        counts = steps[:, None] - missed
        recipe = self.workload.recipe
        coefficients = recipe.rule.coefficients(hyper_K, multiplier_TK, counts)
        for group, of_group_N in self.of_groups.items():
            of_group_K = {name: values[lane_of] for name, values in of_group_N.items()}
            own = recipe.rule_of(group).coefficients(of_group_K, multiplier_TK, counts)
            names = own if group in recipe.own else recipe.scaled
            coefficients |= {f"{group}/{name}": own[name] for name in names}
        coefficients |= {name: values[lane_of] for name, values in self.beside_N.items()}
        if self.kept_N is not None:  # after the first step the average is what that left
            coefficients["average.weight"] = np.where(counts == 0, 1.0, 1 - self.kept_N[lane_of])
        return {name: self._column_of(values, len(lane_of)) for name, values in coefficients.items()}

    def _column_of(self, values: np.ndarray, lanes: int) -> Tensor:
        """Numbers that broadcast to `[T, K]` as `[T, K, 1]` in the weights' precision; T is 1 if none depends on it."""
        steps = values.shape[0] if values.ndim == 2 else 1
        return torch.tensor(np.broadcast_to(values, (steps, lanes))[..., None], dtype=self.workload.dtype)


def sent(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Tensors of the host on a device; to a GPU by one copy from pinned memory, for which nobody waits.

    torch keeps pinned memory until the copies from it are done. What a copy a tensor cost, from memory that is not
    pinned: six waits a block, between which the GPU had nothing to do.
    """
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in tensors.items()}
    ends = np.cumsum([-(-tensor.nbytes // ALIGNED) * ALIGNED for tensor in tensors.values()]).tolist()
    places = dict(zip(tensors, [0, *ends], strict=False))
    staged = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=True)

    def part(whole: Tensor, name: str) -> Tensor:
        like, start = tensors[name], places[name]
        return whole[start : start + like.nbytes].view(like.dtype).view(like.shape)

    for name, tensor in tensors.items():
        part(staged, name).copy_(tensor)
    arrived = staged.to(device, non_blocking=True)
    return {name: part(arrived, name) for name in tensors}
