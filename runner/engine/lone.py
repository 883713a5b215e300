"""A trial's own module, which the loop trains as a script would. Its weights lie in the trial's row of theta.

Its hooks are called, what it keeps in attributes is its own, and what it recomputes in the backward pass it recomputes
from its own weights. Knows neither data nor tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.copying import Aside, copied_or_itself, refuse_other
from thalweg.runner.engine.digest import caches_in, digest, unseen_in, walked
from thalweg.runner.engine.parameters import ParameterLayout
from thalweg.runner.engine.world import World


class Lone:
    """A module with the state that Python keeps for it.

    parameters: those it had when it was built, as an optimizer holds them. idle: those that the last backward pass
    left without a gradient. taken: how many steps each parameter took, once these are not the trial's steps.
    """

    def __init__(self, module: nn.Module, world: World, own: list[Any]) -> None:
        module.train()  # which may return nothing
        self.module = module
        self.parameters = dict(module.named_parameters())
        self.buffers = dense_buffers(module)
        self.owners = {name: _owner(module, name) for name in self.buffers}
        self.idle: frozenset[str] = frozenset()
        self.taken: dict[str, int] | None = None
        self._world, self._own = world, own
        self._theta: Tensor | None = None
        self._home: Tensor | None = None
        self._views: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}
        self._places: list[int] = []
        self._parts = [*module.modules()]
        self._modes: list[bool] | None = None
        self._at_first = self.kept()

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Where the trial's own values stand in the user's classes and modules."""
        with self._world.of(self._own):
            yield

    @contextmanager
    def in_place(self, theta_1P: Tensor) -> Iterator[Tensor]:
        """A lane's weights in the memory where they were first. Theta moves when a neighbour's lane is dropped; what
        the module keeps of a weight (`weight.detach()`) must follow it as before."""
        if self._home is None:
            self._home = theta_1P
        moved = self._home.data_ptr() != theta_1P.data_ptr()
        if moved:
            self._home.copy_(theta_1P)
        yield self._home
        if moved:
            theta_1P.copy_(self._home)

    def sit(self, layout: ParameterLayout, theta_1P: Tensor, buffers: Mapping[str, Tensor]) -> None:
        """Take over a lane's weights, to share their memory, and its buffers, as copies. layout: theta's."""
        if theta_1P is not self._theta:
            self._theta = theta_1P
            self._views = {name: view[0] for name, view in layout.views(theta_1P).items()}
            for name, view in self._views.items():
                self.parameters[name].data = view
            self._places = [parameter.data_ptr() for parameter in self.parameters.values()]
        for name, held in buffers.items():
            owner, key = self.owners[name]
            if not _alike(now := _held_by(owner, key), self.buffers[name]):
                continue  # it grew: the module's alone
            if self.buffers[name].requires_grad:  # written to with a gradient
                self.buffers[name] = self.buffers[name].detach()
            self.buffers[name] = self.buffers[name].to(now.device)  # it may have put one of the host in its place
            owner._buffers[key] = self.buffers[name].copy_(held[0])

    def hold(self, fixed: Mapping[str, Tensor]) -> None:
        """Share the memory of these for parameters that are frozen."""
        for name, tensor in fixed.items():
            self.parameters[name].data = tensor
        self._versions = {name: self.parameters[name]._version for name in fixed}

    @torch.no_grad()
    def moved(self) -> None:
        """Bring weights that the module put elsewhere (`weight.data = …`) back into theta, from the same precision.

        Raises ConfigError where it wrote into a frozen one that it left alone in its first steps, as other trials have
        that too.
        """
        for name, version in self._versions.items():
            if self.parameters[name]._version != version:
                said = f"the model writes into {name}, which is frozen, and did not in its first steps"
                raise ConfigError(said, "make it a buffer")
        if self._places == [parameter.data_ptr() for parameter in self.parameters.values()]:
            return
        for name, view in self._views.items():
            parameter = self.parameters[name]
            refuse_other(name, parameter, view.dtype)
            view.copy_(parameter)
            parameter.data = view

    def gradients(self) -> dict[str, Tensor]:
        """Hand over the gradients `[1, *shape]`, zero where there is none, and remember which these are.

        A weight that has one is about to be written to, which its `_version` says to who keeps what is made of it.
        """
        grads, idle = {}, []
        increment_version([each for each in self.parameters.values() if each.grad is not None])
        for name, parameter in self.parameters.items():
            grad = parameter.grad
            parameter.grad = None
            if grad is None:
                idle.append(name)
                if name not in self._views:  # frozen, and no part of theta
                    continue
                grad = torch.zeros_like(parameter, requires_grad=False)
            grads[name] = (grad.to_dense() if grad.is_sparse else grad.detach())[None]
        self.idle = frozenset(idle)
        if self._modes is None:
            self._modes = self._modes_now()
        return grads

    def forget_gradients(self) -> None:
        """What `zero_grad` does."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def buffers_now(self) -> dict[str, Tensor]:
        """The buffers after a pass, as far as they kept their shapes."""
        now = {name: _held_by(owner, key) for name, (owner, key) in self.owners.items()}
        return {name: buffer for name, buffer in now.items() if _alike(buffer, self.buffers[name])}

    @property
    def as_built(self) -> bool:
        """Whether weights and buffers are all that training changed, so that a checkpoint of them is complete."""
        return self.taken is None and not self.holds_more

    @property
    def holds_more(self) -> bool:
        """Whether training changed what the module or its classes hold besides weights and buffers: modes too, where
        they are not those that each pass leaves behind."""
        return bool(self._own) or self._at_first != self.kept() or self._modes not in (None, self._modes_now())

    def _modes_now(self) -> list[bool]:
        return [part.training for part in self._parts]

    def kept(self) -> str:
        """A digest of what the module holds besides weights and buffers."""
        return digest(self.module, _known(self.parameters, self.buffers_now()))

    def shown(self) -> bytes:
        """That, as far as it is seen."""
        return walked(self.module, _known(self.parameters, self.buffers_now()))

    @property
    def caches(self) -> list[Any]:
        """The cached functions (`functools.lru_cache`) that the module holds."""
        return caches_in(self.module, _known(self.parameters, self.buffers_now()))

    @property
    def unseen(self) -> str | None:
        """The kind of an object within the module that shows nothing of what it holds; None if there is none."""
        return unseen_in(self.module, _known(self.parameters, self.buffers_now()))

    @contextmanager
    def measured(self, apart: Aside | None) -> Iterator[nn.Module]:
        """The module in evaluation, its numbers in place: itself, or what `apart` makes of it."""
        taken = apart(self.module) if apart else nullcontext(self.module)
        memo = dict[int, Any]()
        with self._world.of([copied_or_itself(each, memo) for each in self._own]), taken as module:
            modes = {part: part.training for part in module.modules()}
            try:
                module.eval()
                yield module
            finally:
                module.train()
                for part, training in modes.items():  # which a forward pass may have set
                    part.training = training


def dense_buffers(module: nn.Module, *, blank: bool = False) -> dict[str, Tensor]:
    """The buffers that a step may hold beside others of their kind, by name; not sparse, quantized or nested ones, and
    where they are not asked for, none without numbers, on the meta device."""
    return {
        name: buffer
        for name, buffer in module.named_buffers()
        if buffer.layout is torch.strided
        and not (buffer.is_quantized or buffer.is_nested or (buffer.is_meta and not blank))
    }


def tied(module: nn.Module) -> dict[str, str]:
    """Names of tensors beside their first ones, in modules of their own. (`functional_call` ties all names, and leaves
    what it was given in a module that has two names itself.)"""
    first = {id(tensor): name for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    places = {_place(module, name) for name in first.values()}
    names = {}
    for walk in (module.named_parameters, module.named_buffers):
        for name, tensor in walk(remove_duplicate=False):
            if (place := _place(module, name)) not in places:
                places.add(place)
                names[name] = first[id(tensor)]
    return names


def _place(module: nn.Module, name: str) -> tuple[int, str]:
    owner, key = _owner(module, name)
    return id(owner), key


def kept_by(module: nn.Module) -> str:
    """A digest of what a module holds besides weights and buffers."""
    return digest(module, _known(dict(module.named_parameters()), dense_buffers(module)))


def _known(*tensors: Mapping[str, Tensor]) -> dict[int, str]:
    return {id(tensor): f"tensor {name}" for named in tensors for name, tensor in named.items()}


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, key = name.rpartition(".")
    return module.get_submodule(path), key


def _held_by(owner: nn.Module, key: str) -> Tensor | None:
    """A buffer, if it is there still. (What scripts keep theirs in is no dict.)"""
    return owner._buffers[key] if key in owner._buffers else None  # noqa: SIM401


def _alike(buffer: Tensor | None, held: Tensor) -> TypeGuard[Tensor]:
    if buffer is None:
        return False
    return buffer.shape == held.shape and buffer.dtype == held.dtype and buffer.layout is torch.strided
