"""Sharpness-aware minimisation: the gradient is taken a step uphill. Its arithmetic, and SAM around any optimizer.

    θ' = θ + ρ·g/‖g‖                 Foret et al. (2021), arXiv:2010.01412
    θ' = θ + ρ·θ²·g/‖|θ|·g‖          adaptive: Kwon et al. (2021), arXiv:2102.11600, with η = 0

The weights then go back to θ, by copy since (θ+e)−e is not θ, and the optimizer takes its own step with the gradient
at θ'. The norm is that of a whole trial: over all its tensors and parameter groups.

The functions serve one parameter, and K trials at once: they only broadcast, and the caller takes the norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.optim.optimizer import Group, refuse_sparse
from thalweg.optim.sharded import FLAT_SHARD, is_flat_shard, locals_of, norm_of

EPS = 1e-12


def normed_vector(theta: Tensor, grad: Tensor, adaptive: bool) -> Tensor:
    """Return the vector whose norm the step uphill is divided by: g itself, or |θ|·g."""
    return theta.abs().mul_(grad) if adaptive else grad


def ascent_scale(rho: Tensor | float, norm: Tensor) -> Tensor:
    """Return ρ/(‖·‖+1e-12), what `ascend_` multiplies by. rho and norm broadcast: 0-d, or `[K, 1]`."""
    return rho / (norm + EPS)


def ascend_(theta: Tensor, grad: Tensor, scale: Tensor, adaptive: bool) -> Tensor:
    """Move theta uphill in place and return it; `grad` is lost if adaptive. A scale of 0 leaves theta as it is."""
    if adaptive:
        grad.mul_(theta).mul_(theta)
    return theta.addcmul_(grad, scale)


class SAM(Optimizer):
    """Sharpness-aware minimisation around `base`, any torch.optim.Optimizer.

        loss = sam.step(closure)                  # runs the closure twice
    or
        with sam.first_pass():
            loss_of(model(x), y).backward()
        with sam.second_pass():                   # weights at θ', random numbers of the first pass
            loss_of(model(x), y).backward()       # then: weights back at θ, and base takes its step

    The second pass sees the random numbers of the first (CPU and CUDA), so dropout masks agree; gradients of the first
    are cleared before it. What it does to the buffers of `model`, such as BatchNorm's statistics, is thrown away;
    without `model` they move twice. After an exception in either pass the weights are as before the step, and buffers
    as the first pass left them. Code that calls first_step and second_step itself has all this but the random numbers.

    Parameter groups, state and defaults are those of `base`, so a scheduler may hold either; `rho` and `adaptive` are
    options of a group. Under `maximize` θ' lies downhill, where the worst neighbour is. Raises ValueError for a rho
    that is negative or not finite and for a base that calls a closure itself, RuntimeError for a sparse gradient and
    under torch.amp.GradScaler.step.
    """

    base: Optimizer
    model: nn.Module | None
    _step_supports_amp_scaling = True  # so that GradScaler leaves the gradients alone, and `step` can refuse it

    def __init__(
        self, base: Optimizer, rho: float = 0.05, *, adaptive: bool = False, model: nn.Module | None = None
    ) -> None:
        _check_base(base)
        if not isinstance(model, nn.Module | None):
            raise TypeError(f"SAM: model is a {type(model).__name__}; it should be a module, for its buffers")
        for group in base.param_groups:
            _check(group | {"rho": group.get("rho", rho), "adaptive": group.get("adaptive", adaptive)})
        defaults = base.defaults | {"rho": rho, "adaptive": adaptive}  # base's, for schedulers that look for momentum
        self.__setstate__({"base": base, "model": model, "defaults": defaults})

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled; a step under way is not."""
        return {"base": self.base, "model": self.model, "defaults": self.defaults}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a copied state, or, from load_state_dict, the groups and the state that belong to base."""
        if "param_groups" in state:
            for group in state["param_groups"]:
                _check(self.defaults | group)
            self.base.__setstate__(state)
        else:
            self._weights: dict[Tensor, Tensor] = {}
            self._buffers: dict[Tensor, Tensor] = {}
            self._random: tuple[Tensor, dict[torch.device, Tensor]] | None = None
            super().__setstate__(state)
        self._fill_groups()

    def _fill_groups(self) -> None:
        for group in self.base.param_groups:
            group.setdefault("rho", self.defaults["rho"])
            group.setdefault("adaptive", self.defaults["adaptive"])

    @property
    def param_groups(self) -> list[Group]:  # type: ignore[override]
        """Base's."""
        return self.base.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """Base's."""
        return self.base.state

    def add_param_group(self, param_group: Group) -> None:
        """Add a group to base; it may have a rho of its own."""
        _check(self.defaults | param_group)
        self.base.add_param_group(param_group)
        self._fill_groups()

    def step(self, closure: Callable[[], float] | None = None) -> float:  # type: ignore[override]
        """Take a whole step; the closure computes the loss and its gradients, and is called twice. Returns θ's loss."""
        self._refuse_scaler()
        if closure is None:
            raise RuntimeError("SAM needs two gradients; call step(closure), or first_step() and second_step()")
        with torch.enable_grad():
            with self.first_pass():
                loss = closure()
            with self._replay():
                closure()
        self._descend()
        return loss

    def _refuse_scaler(self) -> None:
        """Raise RuntimeError where torch.amp.GradScaler.step calls: it has unscaled no gradient, or the last step's."""
        if hasattr(self, "grad_scale"):
            del self.__dict__["grad_scale"], self.__dict__["found_inf"]
            raise RuntimeError(
                "SAM: GradScaler.step cannot unscale two gradients; call unscale_(sam) and sam.first_step() after the "
                "first backward pass, sam.restore() and scaler.step(sam.base) after the second"
            )

    @contextmanager
    def first_pass(self) -> Iterator[None]:
        """The forward and backward pass at θ; on leaving it the weights go to θ' and gradients are cleared."""
        self._random = self._random_state()
        yield
        self.first_step(zero_grad=True)

    @contextmanager
    def second_pass(self) -> Iterator[None]:
        """The pass at θ' with the first one's random numbers; on leaving it base takes its step from θ."""
        with self._replay():
            yield
        self.second_step()

    @contextmanager
    def _replay(self) -> Iterator[None]:
        """The random numbers of the first pass again; after an exception weights and buffers are back."""
        if self._random is not None:
            cpu, devices = self._random
            torch.set_rng_state(cpu)
            for device, state in devices.items():
                torch.cuda.set_rng_state(state, device)
            self._random = None
        try:
            yield
        except BaseException:
            self.restore()
            raise

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        """Move the weights that have a gradient to θ'. Random numbers are replayed only by the passes above."""
        if self._weights:
            self.restore()
            raise RuntimeError("SAM: first_step was called twice; the weights are back where they were before it")
        refuse_sparse(self)
        norm = self._norm()
        for group, theta, grad in self._moving():
            shard, grad = locals_of(theta, grad)
            self._weights[theta] = shard.clone()
            uphill = -group["rho"] if group.get("maximize") else group["rho"]
            scale = ascent_scale(float(uphill), norm.to(theta.device))
            ascend_(shard, grad.clone() if group["adaptive"] else grad, scale, group["adaptive"])
        self._buffers = {buffer: locals_of(buffer)[0].clone() for buffer in self.model.buffers()} if self.model else {}
        if zero_grad:
            self.zero_grad()

    @Optimizer.profile_hook_step
    def second_step(self, zero_grad: bool = False) -> None:
        """Put weights and buffers back and let base take its step with the gradients at θ'; hooks as around `step`."""
        self._descend()
        if zero_grad:
            self.zero_grad()

    def _descend(self) -> None:
        self.restore()
        self._opt_called = True  # a scheduler that holds this optimizer would else warn that no step was taken
        self.base.step()

    @torch.no_grad()
    def restore(self) -> None:
        """Put weights and buffers back to the bit; harmless when nothing is displaced."""
        for kept in (self._weights, self._buffers):
            for tensor, before in kept.items():
                locals_of(tensor)[0].copy_(before)
            kept.clear()

    def _moving(self) -> Iterator[tuple[Group, Tensor, Tensor]]:
        """Yield group, parameter and gradient of all that have one."""
        for group in self.param_groups:
            yield from ((group, theta, theta.grad) for theta in group["params"] if theta.grad is not None)

    def _norm(self) -> Tensor:
        """The norm over all groups, in float32 at least."""
        parts = [torch.zeros(())]
        for group, theta, grad in self._moving():
            dtype = torch.promote_types(theta.dtype, torch.float32)
            shard, grad = locals_of(theta, grad)
            parts.append(norm_of(normed_vector(shard, grad, group["adaptive"]), theta, dtype))
        home = parts[-1].device
        norm: Tensor = torch.linalg.vector_norm(torch.stack([part.to(home) for part in parts]))
        return norm

    def _random_state(self) -> tuple[Tensor, dict[torch.device, Tensor]]:
        devices = {theta.device for group in self.param_groups for theta in group["params"] if theta.is_cuda}
        return torch.get_rng_state(), {device: torch.cuda.get_rng_state(device) for device in devices}


def _check(group: Group) -> None:
    if any(is_flat_shard(theta) for theta in group["params"]):
        raise ValueError(f"SAM: a parameter is {FLAT_SHARD}")
    rho = group["rho"]
    if not (isinstance(rho, Real) and not isinstance(rho, bool) and 0 <= float(rho) < math.inf):
        raise ValueError(f"SAM: rho is {rho!r}; it should be a finite number of at least 0")
    if not isinstance(group["adaptive"], bool):
        raise ValueError(f"SAM: adaptive is {group['adaptive']!r}; it should be True or False")


def _check_base(base: Optimizer) -> None:
    if not isinstance(base, Optimizer):
        raise TypeError(f"SAM: base is a {type(base).__name__}; it should be an optimizer, e.g. SAM(SGDMomentum(…))")
    arguments = list(signature(type(base).step).parameters.values())[1:]
    needed = [item for item in arguments if item.kind is item.POSITIONAL_OR_KEYWORD and item.default is item.empty]
    if isinstance(base, SAM) or needed:
        raise ValueError(f"SAM: {type(base).__name__} calls a closure itself; base should take one gradient")
