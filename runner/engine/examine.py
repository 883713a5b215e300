"""Looks at what a model does besides computing, by taking its first steps; refuses what would train otherwise here.

A user's model is trained beside a plain module, by plain autograd: loss, gradients, weights and buffers must agree
step for step, whatever the reason that they might not. What only a module of its own can do sends a trial to the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thalweg.data.fields import mapped
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.copying import Aside, aside, copies_whole, put_back, shared_parts
from thalweg.runner.engine.deviation import TOLERANCE, deviation, equal
from thalweg.runner.engine.digest import HOOKS, LEAF_HOOKS, digest, tensor_digest, walked
from thalweg.runner.engine.evaluate import rows_at_once
from thalweg.runner.engine.examples import Batch
from thalweg.runner.engine.firsts import changed_by, differs_by_cache, set_once, undetermined_by
from thalweg.runner.engine.forms import as_compiled
from thalweg.runner.engine.generators import forked, torch_state
from thalweg.runner.engine.gradient import own_gradient
from thalweg.runner.engine.habits import Habits
from thalweg.runner.engine.lone import Lone, kept_by
from thalweg.runner.engine.outputs import Pick
from thalweg.runner.engine.passes import feed_of, moved, outputs_of, plain_pass, refuse_gradients
from thalweg.runner.engine.told import hearing
from thalweg.runner.engine.watch import Watch
from thalweg.runner.engine.world import HINT, Look, Shared, World, asked_so_often, cached, entries_of

if TYPE_CHECKING:
    from thalweg.runner.engine.workload import Workload


def habits_of(workload: Workload) -> Habits:
    """The habits of a model of ours, by a forward pass."""
    module = workload.module
    with forked(workload.device), torch.no_grad():
        numbers, kept = torch_state(workload.device), kept_by(module)
        workload.forward(dict(module.named_parameters()), dict(module.named_buffers()), feed_of(workload, 0).batch)
        draws = numbers != torch_state(workload.device)
    return Habits(draws=draws, steady=kept == kept_by(module))


def examined(workload: Workload, look: Look, packages: Sequence[str]) -> tuple[Habits, World]:
    """The habits of a user's model, and what it changes outside of itself since `look`.

    Raises ConfigError for one that would not train here as in a script, or not twice the same.
    """
    with forked(workload.device), workload.numerics():
        filled = look.emptied(packages)  # by the pass that showed what fits
        first, look, world = changed_by(workload, 0, look, packages)
        once = set_once(workload, world, packages) if world.parts else frozenset()
        settled = {name: text for name, text in world.texts().items() if name in once}
        world = world.without(once)
        if filled and differs_by_cache(workload, world, first):
            said = f"what {filled[0]} keeps in its cache is another for each trial, and all of a process share it"
            raise ConfigError(said, HINT)
        undetermined = undetermined_by(workload)
        world.restore()
        shared = Shared.at(packages, look)
        examination = _Examination(replace(workload, world=world), packages)
        habits = replace(examination.habits(), undetermined=undetermined)
        shared.refuse_changed(packages)
        late = look.changed(packages).since(settled)  # while the modules live, by which something may be kept
        late = late.without(frozenset(str(part.place) for part in world.parts))
        del examination
        if late.parts:
            habits = replace(habits, alone=habits.alone or f"changes {late.shown}")
            world = world.joined(late)
    return habits, world


class _Examination:
    """Steps of a module as the loop takes them (`ours`) and as a script would (`plain`), side by side."""

    def __init__(self, workload: Workload, packages: Sequence[str]) -> None:
        self.workload, self.name, self.packages = workload, workload.config.model.name, packages
        self.watch = Watch(workload.device)
        self.asked = asked_so_often(packages)
        self.ours, self.plain = self._built(), self._built()
        self.shared = shared_parts(self.ours.module, self.plain.module)
        self.shared_at_first = [digest(each) for each in self.shared]
        self.untouched = self._built()
        self.idle: list[frozenset[str]] = []
        self.moves = False
        self.tells: dict[str, None] = {}

    def habits(self) -> Habits:
        """Take the steps, measure the module, and say what was seen."""
        self._compare_builds()
        kept = [self.ours.kept()]
        self._step(0)
        kept.append(self.ours.kept())  # which a second step may undo
        cached_before = _cached_within(self.ours)
        self._step_elsewhere()
        kept.append(self.ours.kept())
        self._refuse_new_parameters()
        self._refuse_counted_modes()
        steady = len({*kept}) == 1
        apart, changed = self._measured()
        self._refuse_shared(self.shared if self.shared_at_first != [digest(each) for each in self.shared] else [])
        self._refuse_cached()
        spared = self.watch.reads and not self.watch.reads_own and self._reads_none_compiled()
        self._refuse_cached_within(cached_before)
        return Habits(
            draws=self.watch.draws or self.watch.draws_elsewhere,
            steady=steady and not changed,
            unused=frozenset.intersection(*self.idle),
            apart=apart,
            alone=self._alone(steady, changed, spared),
            writes=self.watch.writes,
            mixes=self._mixes(apart),
            tells=tuple(self.tells),
            as_compiled=spared,
        )

    def _alone(self, steady: bool, changed: bool, spared: bool) -> str | None:
        places, unseen = self.workload.world.shown, self.untouched.unseen
        reasons = {
            "has hooks": _has_hooks(self.untouched.module),
            "has parts that torch compiles": self.watch.compiled,
            "hooks gradients in its forward pass": self.watch.hooks,
            f"holds {unseen}, whose state nobody sees": unseen is not None,
            "changes attributes of its own": not steady,
            "computes in threads, where nobody sees what it does": self.watch.threads,
            "is changed by evaluation": changed,
            f"changes {places}": bool(places),
            "changes its weights in its forward pass": self.moves,
            f"acts on the numbers in its tensors{self.watch.place}; torch.where, or multiplying by a mask, "
            "would be fused": self.watch.reads and not spared,
            f"catches what torch raises{self.watch.catching}, of one trial and not of all": self.watch.catches,
            "draws numpy's or Python's random numbers": self.watch.draws_elsewhere,
            "keeps tensors in a cache, and writes into tensors that it makes": self.watch.writes
            and self._caches_tensors(),
            "leaves parameters without a gradient at some steps": len({*self.idle}) > 1,
            "keeps in attributes what it drew when built": self._draws_attributes(),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def _reads_none_compiled(self) -> bool:
        """Whether a model that reads numbers of the data, such as whether a mask is all ones, reads none and gives the
        same where torch compiles it, as it finds out by `torch.compiler.is_compiling()`."""
        told, (ours, plain) = Watch(self.workload.device), self._pair(0)
        before = ours.kept()
        try:
            same = all(self._same_compiled(ours, plain, step, told) for step in (0, 1))
        except Exception:  # whatever is said against it
            return False
        self.watch.writes |= told.writes
        self.watch.draws |= told.draws
        odd = told.reads or told.hooks or told.threads or told.catches or told.draws_elsewhere or told.gradients
        return same and not odd and before == ours.kept()

    def _same_compiled(self, ours: Lone, plain: Lone, step: int, told: Watch) -> bool:
        """Whether a pass gives the same where torch compiles the model, and one in evaluation; both are then moved."""
        feed = feed_of(self.workload, step)
        assert feed.key is not None
        with as_compiled():
            with told.watching(feed.key, ours.module), hearing(None) as heard:
                loss, grads = plain_pass(self.workload, ours, feed)
            outputs = outputs_of(self.workload, ours, watch=told)
        expected, plain_grads = plain_pass(self.workload, plain, feed)
        pairs = [(loss, expected), (outputs, outputs_of(self.workload, plain))]
        same = {*heard.said} == {*self.tells}
        for name, given in grads.items():
            other = plain_grads[name]
            same &= (given is None) == (other is None)
            pairs += [] if given is None or other is None else [(given, other)]
        for each in (ours, plain):
            moved(each)
        return same and all(self._same(*pair) for pair in pairs)

    def _draws_attributes(self) -> bool:
        config = self.workload.config
        try:
            other = self.workload.lone(replace(config, seed=config.seed + 1))
        except Exception:  # not from that seed, which a trial of it will say
            return True
        return self.untouched.kept() != other.kept()

    def _built(self) -> Lone:
        return self.workload.lone(self.workload.config)

    def _compare_builds(self) -> None:
        self._refuse_shared([each for each in self.shared if not _is_bare(each)])
        if any(not equal(one, self.plain.parameters[name]) for name, one in self.ours.parameters.items()):
            hint = "draw them by torch, numpy.random or random, from no seed or generator of your own"
            raise ConfigError(f"{self.name} starts from other weights each time it is built from one seed", hint)
        self.state = self.workload.start_own((self.ours,))

    def _refuse_shared(self, parts: Sequence[nn.Module | nn.Parameter]) -> None:
        """Two builds may have in common what neither is trained nor changes, as the default `act=nn.ReLU()`."""
        if parts:
            seen = "what" if self.ours.module in parts else f"a {type(parts[0]).__name__} within that"
            raise ConfigError(
                f"{self.name} returns {seen} it returned before", "let it build a new module at each call"
            )

    def _refuse_new_parameters(self) -> None:
        known = {id(parameter) for parameter in self.ours.parameters.values()}
        new = [name for name, parameter in self.ours.module.named_parameters() if id(parameter) not in known]
        if new:
            raise ConfigError(
                f"{self.name} makes {new[0]} in its forward pass, so no optimizer trains it", "make it in __init__"
            )

    def _refuse_counted_modes(self) -> None:
        """A script sets the mode once or for each step, so that to set it again must change nothing."""
        lone = self.untouched
        before = lone.kept()
        lone.module.train()
        if lone.unseen is None and before != lone.kept():
            said = f"train() of {self.name} changes what it holds, and a script calls it once or for each step"
            raise ConfigError(said, "let train() set modes alone, and count in the forward pass")

    def _refuse_cached(self) -> None:
        """What is cached for a module or its tensors must be the same for each, or else it is state of theirs."""
        built = [self.ours, self.plain]
        if self._cached_of(built):
            built.append(self.workload.lone(replace(self.workload.config, seed=self.workload.config.seed + 1)))
            plain_pass(self.workload, built[-1], feed_of(self.workload, 1))
        for (place, _), texts in self._cached_of(built).items():
            if len(texts) > 1:
                said = f"{place} keeps in its cache what it makes of the model's weights, which then change"
                raise ConfigError(said, f"{HINT} (functools.cached_property does)")

    def _refuse_cached_within(self, before: Mapping[tuple[int, bytes], bytes]) -> None:
        """The same of functions that the module itself holds; nor may what they keep change. before: a step ago."""
        now = _cached_within(self.ours)
        if now:
            other = self.workload.lone(replace(self.workload.config, seed=self.workload.config.seed + 1))
            plain_pass(self.workload, other, feed_of(self.workload, 1))
            outputs_of(self.workload, other)
            elsewhere = _cached_within(other)
            if any(now[key] != text for each in (before, elsewhere) for key, text in each.items() if key in now):
                said = f"a function within {self.name} keeps in its cache what a trial's weights, seed or steps made"
                raise ConfigError(f"{said}, which nobody copies", f"{HINT} (functools.cached_property does)")

    def _cached_of(self, built: Sequence[Lone]) -> dict[tuple[str, str], set[bytes]]:
        """What is cached for these modules or tensors of theirs, by function and the other arguments."""
        of = {id(each) for lone in built for each in (*lone.module.modules(), *lone.parameters.values())}
        known = {id(each): name for lone in built for name, each in (lone.parameters | lone.buffers_now()).items()}
        found: dict[tuple[str, str], set[bytes]] = {}
        for place, _, key, value in cached(self.packages):
            parts = key if isinstance(key, tuple) else (key,)
            if any(id(part) in of for part in parts):
                others = [type(part) if id(part) in of else part for part in parts]
                found.setdefault((place, repr(others)), set()).add(walked(value, known))
        return found

    def _caches_tensors(self) -> bool:
        asked = {each for each, times in asked_so_often(self.packages).items() if times != self.asked.get(each, 0)}
        values = [value for _, of, _, value in cached(self.packages) if id(of) in asked]  # or they are another model's
        values += [value for function in self.ours.caches for _, value in entries_of(function)]
        return any(isinstance(leaf, Tensor) for leaf in tree_leaves(values))

    def _step(self, step: int) -> None:
        """A pass of both, compared."""
        workload, feed, before = self.workload, feed_of(self.workload, step), self.state.theta.clone()
        assert feed.key is not None
        with self.ours.at_home(), self.watch.watching(feed.key, self.ours.module), hearing(None) as heard:
            loss, grad, buffers = own_gradient(workload)(self.state, feed)
        self.tells |= dict.fromkeys(heard.said)
        self.idle.append(self.ours.idle)
        self.moves |= not equal(before, self.state.theta)
        for name, buffer in buffers.items():
            self.state.buffers[name].copy_(buffer)
        plain_loss, grads = plain_pass(workload, self.plain, feed)
        idle = {name for name, given in grads.items() if given is None}
        if idle != self.ours.idle:
            self._refuse(f"{min(idle ^ self.ours.idle)} has a gradient in one of them only", step)
        of = workload.layout.views
        self._agree("loss", step, {"": loss}, {"": plain_loss})
        self._agree("gradient", step, of(grad), {name: given for name, given in grads.items() if given is not None})
        self._agree("weights", step, of(self.state.theta), self.plain.parameters)
        self._agree("buffers", step, buffers, self.plain.buffers_now())

    def _step_elsewhere(self) -> None:
        """A pass at other weights. Where even a script would raise at those, which nobody trained, it says nothing."""
        here = self.state.theta.clone()
        self._shift()
        try:
            self._step(1)
        except ConfigError:
            raise
        except Exception as error:
            try:
                plain_pass(self.workload, self.plain, feed_of(self.workload, 1))
            except type(error):
                self.state.theta.copy_(here)
                for name, view in self.workload.layout.views(here).items():
                    self.plain.parameters[name].data.copy_(view[0])
                return
            raise

    def _shift(self) -> None:
        """Move the weights of both alike."""
        views = self.workload.layout.views(self.state.theta)
        for name, noise in moved(self.plain).items():
            views[name][0].add_(noise)

    def _measured(self) -> tuple[Aside | None, bool]:
        """(how it is measured, whether evaluation changes the module)."""
        before = _whole(self.ours)
        outputs = outputs_of(self.workload, self.ours, watch=self.watch)
        plain = outputs_of(self.workload, self.plain)
        self._agree("outputs in evaluation", 2, {"": outputs}, {"": plain})
        outputs_of(self.workload, self.ours, of=self._measured_at_once())  # which may be more than a step takes
        seen = self.ours.unseen is None
        if seen and before == _whole(self.ours) and self._still_at_first():
            return None, False
        for apart in (aside, put_back):
            if self._leaves_alone(apart) and (seen or self._trains_on()):
                return apart, True
        if seen and self._trains_on():
            return None, True
        hint = "let no evaluation change what training then acts on"
        raise ConfigError(f"{self.name} is changed by being evaluated, and cannot be copied for it", hint)

    def _measured_at_once(self) -> Batch:
        """The examples that are measured first."""
        val = self.workload.splits["val"]
        return next(val.chunks(rows_at_once(val)))

    def _mixes(self, apart: Aside | None) -> bool:
        """Whether answers for half of a batch change with the other half, of which one example takes the places.

        Both halves: what is read one way, as a sequence by an LSTM, does not know of later examples.
        """
        x, y = feed_of(self.workload, 0).batch
        half = len(y) // 2
        later = mapped(lambda each: torch.cat([each[:half], each[half : half + 1].expand_as(each[half:])]), x)
        earlier = mapped(lambda each: torch.cat([each[:1].expand_as(each[:half]), each[half:]]), x)
        try:
            out, out_later, out_earlier = (
                outputs_of(self.workload, self.plain, apart, of=(each, y)) for each in (x, later, earlier)
            )
        except Exception:  # such data it was never given
            return False
        return not (self._same(out_later[:half], out[:half]) and self._same(out_earlier[half:], out[half:]))

    def _still_at_first(self) -> bool:
        """Whether evaluation before the first step leaves the module as it was built."""
        before = _whole(self.untouched)
        outputs_of(self.workload, self.untouched)
        return before == _whole(self.untouched)

    def _leaves_alone(self, apart: Aside) -> bool:
        """Whether what is measured so gives what the module would, which stays as it was; before the first step too."""
        return all(self._leaves(apart, *self._pair(steps)) for steps in (0, 1))

    def _leaves(self, apart: Aside, ours: Lone, plain: Lone) -> bool:
        if apart is aside and not copies_whole(ours.module):
            return False
        before = _whole(ours)
        try:
            outputs = outputs_of(self.workload, ours, apart)
        except Exception:  # whatever a part says against being copied
            return False
        return before == _whole(ours) and self._same(outputs, outputs_of(self.workload, plain))

    def _trains_on(self) -> bool:
        """Whether a step is the same after evaluation as without, and all that it leaves; the first one as well."""
        return all(self._trains_alike(*self._pair(steps)) for steps in (0, 1))

    def _trains_alike(self, ours: Lone, plain: Lone) -> bool:
        outputs_of(self.workload, ours)
        (loss, grads), (other, others) = (
            plain_pass(self.workload, each, feed_of(self.workload, 1)) for each in (ours, plain)
        )
        pairs = [(loss, other), *((given, others[name]) for name, given in grads.items())]
        alike = all(a is b if a is None or b is None else self._same(a, b) for a, b in pairs)
        return alike and (ours.unseen is not None or _whole(ours) == _whole(plain))

    def _pair(self, steps: int) -> tuple[Lone, Lone]:
        """Two alike, after so many steps: none or one."""
        pair = self._built(), self._built()
        for each in pair[: 2 * steps]:
            plain_pass(self.workload, each, feed_of(self.workload, 0))
            moved(each)
        return pair

    def _same(self, ours: Tensor, plain: Tensor) -> bool:
        return deviation({"": ours}, {"": plain}) <= TOLERANCE[self.workload.precision]

    def _agree(self, what: str, step: int, ours: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> None:
        worst = deviation(ours, plain)
        if not worst <= TOLERANCE[self.workload.precision]:
            self._refuse(f"there is a difference of {worst:.1e} in {what}", step)

    def _refuse(self, what: str, step: int) -> None:
        if self.watch.gradients:
            refuse_gradients(self.name, "asks for")
        raise ConfigError(
            f"two modules of {self.name}, built from one seed, train differently: {what} at step {step}",
            "draw random numbers by torch, numpy.random or random, and let no other tensor share a parameter's memory",
        )


def _whole(lone: Lone) -> object:
    """All that a module is seen to hold."""
    tensors = [*lone.parameters.values(), *(buffer for buffer in lone.buffers_now().values())]
    return lone.shown(), [tensor_digest(tensor) for tensor in tensors]


def _cached_within(lone: Lone) -> dict[tuple[int, bytes], bytes]:
    """What cached functions keep that a module holds, by which of them and the arguments."""
    known = {id(each): name for name, each in (lone.parameters | lone.buffers_now()).items()}
    known |= {id(part): f"part {name}" for name, part in lone.module.named_modules()}
    kept = ((place, each) for place, function in enumerate(lone.caches) for each in entries_of(function))
    return {(place, walked(key, known)): walked(value, known) for place, (key, value) in kept}


def _has_hooks(module: nn.Module) -> bool:
    hooks = [hook for part in module.modules() for name in HOOKS for hook in getattr(part, name).values()]
    leaves = [getattr(leaf, name) for leaf in module.parameters() for name in LEAF_HOOKS]
    return any(leaves) or not all(isinstance(hook, Pick) for hook in hooks)


def _is_bare(part: nn.Module | nn.Parameter) -> bool:
    """Whether it is made of torch's own layers without tensors, which keep nothing of what they have seen."""
    if isinstance(part, nn.Parameter) or [*part.parameters(), *part.buffers()]:
        return False
    return all(type(each).__module__.startswith("torch.nn.") for each in part.modules())
