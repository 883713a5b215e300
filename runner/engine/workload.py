"""What trials of one structure train on: a model template, a rule, and the data on the device.

Everything here is shared by all lanes of a cohort; what differs between them is in State and in coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from thalweg.data.augment import Augment
from thalweg.data.fields import Inputs, mapped
from thalweg.models.build import build_model
from thalweg.models.extent import Extent
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.beginning import Beginning
from thalweg.runner.engine.calling import called_with
from thalweg.runner.engine.copying import converted
from thalweg.runner.engine.examples import Batch, Examples
from thalweg.runner.engine.generators import forked
from thalweg.runner.engine.habits import Habits
from thalweg.runner.engine.lone import Lone, dense_buffers, tied
from thalweg.runner.engine.outputs import Pick, in_rows, refuse_parts, without_picks
from thalweg.runner.engine.own import own_model
from thalweg.runner.engine.parameters import ParameterLayout
from thalweg.runner.engine.recipe import Recipe
from thalweg.runner.engine.scale import Scale
from thalweg.runner.engine.state import State
from thalweg.runner.engine.streams import stream_key
from thalweg.runner.engine.task import OfAll, Own, Task
from thalweg.runner.engine.told import Heard, hearing
from thalweg.runner.engine.world import World
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial, TrialConfig

DTYPES = dict.fromkeys(("float32", "tf32", "bf16", "fp16"), torch.float32) | {"float64": torch.float64}
"""What weights and data are held in. bf16 and fp16 are autocast: the forward pass rounds, the weights do not."""
ROUNDED = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What the forward pass is rounded to, of the precisions that are autocast."""
_Row = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]
Answers = tuple[Tensor, tuple[Tensor, ...]]
"""A trial's outputs `[B, …]` and what its own functions of all that a model returns give, 0-d; or K trials' of each."""
WHOLE = ("compiled", "graphed", "graphed_compiled")
"""Executors that make a program of the whole step, for one width."""


@dataclass(frozen=True)
class Workload:
    """A structure, ready to train: `module` is a template whose own weights are never used.

    label: what the model calls the targets, where it is given them to return its loss.
    """

    module: nn.Module
    layout: ParameterLayout
    recipe: Recipe
    splits: dict[str, Examples]
    task: Task
    augment: Augment | None
    device: torch.device
    dtype: torch.dtype
    extent: Extent
    precision: str
    batch_size: int  # examples of a pass; a step may take several
    config: TrialConfig  # of one of the trials
    habits: Habits = field(default_factory=Habits)
    world: World = field(default_factory=World)
    late: Callable[[], None] = lambda: None  # raises where a trial changed more of what all share
    beginning: Beginning | None = None
    label: str | None = None
    programs: dict[object, Any] = field(default_factory=dict)  # recorded and compiled steps, by what they are for

    def template_state(self, lanes: int) -> State:
        """A state of `lanes` equal lanes with the template's weights, for trying things out."""
        theta, fixed, held = self._row(dict(self.module.named_parameters()), dense_buffers(self.module))
        buffers = {name: torch.stack([buffer] * lanes) for name, buffer in held.items()}
        fixed = {name: each[None] for name, each in fixed.items()}
        return State.start(theta.repeat(lanes, 1), self.recipe.slots, buffers, fixed=fixed)

    def telling(self, scalars: tuple[str, ...]) -> Workload:
        """The same, whose steps tell these of themselves beside their losses, and what the model tells."""
        recipe = replace(self.recipe, scalars=scalars, logged=self.habits.tells or ())
        return replace(self, recipe=recipe, programs={})

    def in_float64(self) -> Workload:
        """The same in float64, whose first weights are the same numbers: what differs there too is no rounding."""
        dtype = torch.float64
        return replace(
            self,
            module=converted(initialised(self.config, self.extent), self.device, dtype),
            splits={name: split.to(dtype) for name, split in self.splits.items()},
            dtype=dtype,
            precision="float64",
            programs={},
        )

    @cached_property
    def _sizes(self) -> dict[str, list[int]]:
        return _sizes(dict(self.module.named_parameters()))

    @cached_property
    def _tied(self) -> dict[str, str]:
        return tied(self.module)

    @property
    def parts(self) -> int:
        """In how many passes a step takes its batch."""
        return self.config.budget.accumulate

    @property
    def widths(self) -> list[tuple[str, int]]:
        """(executor, K) of the whole-step programs made so far."""
        return [key[:2] for key in self.programs if isinstance(key, tuple) and key[0] in WHOLE]

    @property
    def foreign(self) -> bool:
        """Whether code of the user's runs in a step, which may do anything."""
        return runs_users_code(self.config)

    @property
    def seeded(self) -> bool:
        """Whether each pass is given random numbers of its own, in case that it draws some."""
        return self.foreign or self.habits.draws

    def hearing(self) -> AbstractContextManager[Heard]:
        """Where numbers are heard that a pass tells."""
        return nullcontext(Heard(None)) if self.habits.tells is None else hearing(self.habits.tells)

    @property
    def of_all(self) -> dict[str, OfAll]:
        """The functions that are given all that the model returns."""
        return self.task.of_all if isinstance(self.task, Own) else {}

    @property
    def pick(self) -> Pick | None:
        """What picks the part that is measured, where the module itself returns all."""
        part = self.config.model.output if isinstance(self.config.model, ModelTarget) else None
        return Pick(part) if self.of_all and part is not None else None

    def apart(self) -> AbstractContextManager[None]:
        """Where generators may be seeded at will: they are put back as they were."""
        return forked(self.device) if self.seeded else nullcontext()

    @contextmanager
    def numerics(self) -> Iterator[None]:
        """Matrix products in this structure's precision: TF32 where it asks for it, whatever was set before."""
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        fast = self.precision == "tf32" and self.device.type == "cuda"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]

    def start(self, trials: Sequence[Trial], executor: str = "vmap") -> State:
        """The state of `trials` before their first step, one lane each, in order."""
        state, scaling = self._started(trials, executor), [trial.config.scaling for trial in trials]
        starts = [each.start for each in scaling if each.name == "dynamic"]
        return replace(state, scale=Scale.start(state.theta.new_tensor(starts))) if starts else state

    def _started(self, trials: Sequence[Trial], executor: str) -> State:
        if self.foreign and executor == "loop":
            return self.start_own(self.lone(trial.config) for trial in trials)
        rows: dict[object, _Row] = {}
        for trial in trials:
            key = (trial.config.model, trial.config.seed)
            if key not in rows:
                module = self._begun(converted(initialised(trial.config, self.extent), torch.device("cpu"), self.dtype))
                rows[key] = self._row(dict(module.named_parameters()), dense_buffers(module), rows.values())
        return self._state([rows[trial.config.model, trial.config.seed] for trial in trials])

    def start_own(self, modules: Iterable[Lone]) -> State:
        """The state of such modules as they are, one lane each."""
        made, rows = [], list[_Row]()
        for each in modules:
            rows.append(self._row(each.parameters, each.buffers, rows))
            each.hold(rows[-1][1])  # before the next is built, where all hold the same
            made.append(each)
        state = self._state(rows, tuple(made))
        for k, each in enumerate(made):
            each.hold(state.fixed_of(k))
        return state

    def _row(
        self, parameters: dict[str, nn.Parameter], buffers: dict[str, Tensor], others: Iterable[_Row] = ()
    ) -> _Row:
        """A lane's weights `[1, P]`, its frozen parameters, those of another lane if they are the same, and buffers.

        Raises ConfigError for a module that is built with other sizes than the template.
        """
        self._refuse_other_sizes(_sizes(parameters), self._sizes)
        fixed = {name: p.detach() for name, p in parameters.items() if name not in self.layout.shapes}
        fixed = next((each for _, each, _ in others if _same(each, fixed)), fixed)
        return self.layout.flatten({name: p.detach()[None] for name, p in parameters.items()}), fixed, buffers

    def _refuse_other_sizes(self, sizes: Mapping[str, list[int]], first: Mapping[str, list[int]]) -> None:
        for name in first:
            if sizes.get(name) != first[name]:
                seen = f"{name} {first[name]}, then {sizes.get(name, 'none')}"
                said = f"{self.config.model.name} is built with other sizes at other times: {seen}"
                raise ConfigError(said, "take sizes from arguments alone, and let building it change nothing else")

    def _state(self, rows: list[_Row], modules: tuple[Lone, ...] = ()) -> State:
        for _, _, buffers in rows:
            self._refuse_other_sizes(_sizes(buffers), _sizes(rows[0][2]))
        theta_KP = torch.cat([theta for theta, _, _ in rows]).to(self.device)
        buffers = {name: torch.stack([held[name] for _, _, held in rows]).to(self.device) for name in rows[0][2]}
        apart = [fixed for _, fixed, _ in rows]
        if all(each is apart[0] for each in apart):
            fixed = {name: each[None].to(self.device) for name, each in apart[0].items()}
        else:
            fixed = {name: torch.stack([each[name] for each in apart]).to(self.device) for name in apart[0]}
        return State.start(theta_KP, self.recipe.slots, buffers, modules=modules, fixed=fixed)

    def _begun(self, module: nn.Module) -> nn.Module:
        return self.beginning.of(module) if self.beginning else module

    def lone(self, config: TrialConfig) -> Lone:
        """A module of a trial's own, with its initial weights."""
        own = self.world.fresh()
        with self.world.of(own):
            module = self._begun(converted(initialised(config, self.extent), self.device, self.dtype))
        for name, parameter in module.named_parameters():
            if name in self.recipe.frozen:
                parameter.requires_grad_(False)
        return Lone(without_picks(module) if self.pick else module, self.world, own)

    def loss(
        self,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        batch: Batch,
        label_smoothing: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
        """One trial's mean loss on a batch (x, y), its buffers after the pass, and what was told. Those given stay."""
        module, tensors = self._bound(parameters, buffers)
        with self.hearing() as heard:
            loss = self.loss_of(module, batch, label_smoothing)
        return loss, {name: tensors[name].to(self.device) for name in buffers}, heard.numbers(loss)

    def loss_of(self, module: Callable[..., Any], batch: Batch, label_smoothing: Tensor | None = None) -> Tensor:
        """The mean loss on a batch of a module, or of what stands for one. The user's may be computed on the host."""
        (x, y), of_all = (batch := self._lent(batch)), self.of_all.get("loss")
        if of_all is None:
            return self.task.loss(self.outputs(module, x), y, label_smoothing).to(self.device)
        return of_all(self._answer(module, batch), y, x).to(self.device, self.dtype)

    def forward(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch) -> Answers:
        """One trial's answers. Its buffers stay as they are."""
        return self.answers(self._bound(parameters, buffers)[0], batch)

    def answers(self, module: Callable[..., Any], batch: Batch) -> Answers:
        """The outputs that are measured, `[B, …]`, and what the functions give that are given all of them."""
        batch = self._lent(batch)
        if not self.of_all:
            return self.outputs(module, batch[0]), ()
        answer, (x, y) = self._answer(module, batch), batch
        return self._picked(answer), tuple(function(answer, y, x) for function in self.of_all.values())

    def _lent(self, batch: Batch) -> Batch:
        """A batch for one pass of code of the user's, which may write into it; data are never handed out themselves."""
        x, y = batch
        return (mapped(Tensor.clone, x), y.clone()) if self.foreign else batch

    def outputs(self, module: Callable[..., Any], x: Inputs[Tensor]) -> Tensor:
        """What a module, or what stands for one, makes of examples, in this structure's precision."""
        with self._autocast():
            outputs = called_with(module, x)
        return self._picked(outputs)

    def labels(self, y: Tensor) -> dict[str, Tensor]:
        """The targets, where the model is given them."""
        return {} if self.label is None else {self.label: y}

    def _bound(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]
    ) -> tuple[Callable[..., Any], dict[str, Tensor]]:
        """The template with such tensors, and these: functional_call puts buffers back that the module replaced."""
        tensors = parameters | {name: buffer.clone() for name, buffer in buffers.items()}
        tensors |= {name: tensors[first] for name, first in self._tied.items() if first in tensors}

        def module(*places: Any, **names: Any) -> Any:
            return functional_call(self.module, tensors, places, names, tie_weights=False)

        return module, tensors

    def _answer(self, module: Callable[..., Any], batch: Batch) -> Any:
        with self._autocast():
            return called_with(module, batch[0], self.labels(batch[1]))

    def _picked(self, outputs: Any) -> Tensor:
        if self.pick is not None:
            outputs = self.pick(self.module, (), outputs)
        refuse_parts(outputs)
        outputs = in_rows(outputs, self.extent.axes)
        picked: Tensor = outputs.to(self.dtype) if self.precision in ROUNDED else outputs
        return picked

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision not in ROUNDED:
            return nullcontext()
        # Without its cache of rounded weights, which would outlive a step that changes them.
        return torch.autocast(self.device.type, ROUNDED[self.precision], cache_enabled=False)


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: [*tensor.shape] for name, tensor in tensors.items()}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def runs_users_code(config: TrialConfig) -> bool:
    """Whether code of the user's runs in a step, which may do anything."""
    return isinstance(config.model, ModelTarget) or config.task.loss != "auto"


def initialised(config: TrialConfig, extent: Extent) -> nn.Module:
    """Build a model on the host with the seed's own initial weights, leaving torch's generator untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_key(config.seed, "init"))
        if isinstance(config.model, ModelTarget):
            module = own_model(config.model, extent)
            module.train()  # which may be the model's own, freeze a part, and return nothing
            return module
        return build_model(config.model, extent)
