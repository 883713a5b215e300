"""Which executor, batch layout and width a group of trials gets: measured, not hoped.

Fusing that is slower than a loop, or that changes the gradient, is never chosen; the reason is kept in words. What is
asked for by name is taken, unless it cannot be done here. Nothing fails for a model that cannot be fused. Finding out
takes a small share of what the loop would take for the whole work: where more would be needed, the loop it is.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from thalweg.runner.base.errors import first_line
from thalweg.runner.engine.compiling import kernel_hindrance
from thalweg.runner.engine.deviation import TOLERANCE
from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.hindrance import uncaptured
from thalweg.runner.engine.likeness import distance, objection
from thalweg.runner.engine.memory import is_out_of_memory, lanes_that_fit
from thalweg.runner.engine.probing import Question, Runner, pair_seconds
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.seating import NARROWEST, example, recorded_pair, seats, spare_lanes
from thalweg.runner.engine.timing import now
from thalweg.runner.engine.workload import WHOLE, Workload
from thalweg.runner.facts.choice import LOOP_WIDTH, Bar, Choice

CPU_WIDTHS = (8, 16, 32, 64)
GPU_WIDTHS = (64, 256, 1024, 4096)
"""Widths to try. Convolutional networks fall out of a CPU core's cache after the first, perceptrons after the last."""
FREE, SHARE = 0.5, 0.03
"""What finding out may take: seconds, and a share of the loop's predicted time."""
TO_SHOW, SHARE_TO_SHOW = 0.4, 0.015
"""What the first fused cohort, which must show its speed, may take before it is given up; the share, compiling too."""
FEWEST = 40
"""Steps of all trials together below which not even one is taken to find out."""
ALIKE_STEPS = 16
"""Steps of one trial that comparing gradients takes."""
TIMED_STEPS = 9
"""Steps of a recording that timing it takes: it is made, checked, and two are timed."""
RECORDED = 0.5
"""What recording a gradient takes, as a share of comparing it."""
ROUNDS, FEWEST_ROUNDS = 7, 4
"""Turns of a race that count; and how many it has at least, where they are long, with the two that do not count."""
IN_A_ROW = 4
"""Steps that the loop takes in its turn. After a fused step its memory is another's, and a user's module is given its
weights once a turn: by single steps it seemed slower by a seventh than it is."""
MARGIN = 0.9
"""Share of the loop's time that fusing must stay below: the same steps, timed again, differ by a tenth."""
CLEAR = 0.8
"""Share of the loop's time that two trials fused must stay below where no more than these can be timed."""
ALIKE = 1.05
"""Of widths that differ by no more than this in speed the narrowest is taken, for its memory."""
COMPILE_SECONDS = 15.0
"""What compiling takes at least: 13 s for a first structure, more on a busy machine."""
FIRST, PER_OPERATION = 10.0, 0.05
"""What compiling a step takes, and more for each operation of its gradient: it was 12 s for a perceptron's 101, 29 for
the 164 of a convolutional network, 40 for the 621 of a transformer of two layers."""
OF_UPDATE = 0.5
"""Share of a graphed step that compiling update and guard can save: of the bytes of a perceptron's, half."""
PROBED = 10
"""Steps of a block that a graph is timed at, and what it is held against: on a GPU a block costs, too."""
GRAPHS = ("graphed", "graphed_compiled")
"""Executors by which a whole step is captured."""
PRODUCTS = ("mm", "convolution", "matmul")
"""Parts of the names of operations that compiling leaves to the same libraries."""
KEPT = 0.8
"""Share of the time outside matrix products that compiling was seen to save (perceptrons: 0.7 to 0.9)."""


def choose(workload: Workload, question: Question) -> tuple[Choice, Bar | None]:
    """Choose executor, layout and width; and what fused steps must not exceed, where that was measured."""
    if workload.habits.draws and question.layout != "shared":  # one seed a cohort: masks never depend on company
        seed = question.sample[0].config.seed
        own = tuple(trial for trial in question.sample if trial.config.seed == seed)
        question = replace(question, sample=own, layout="shared")
    with workload.numerics(), workload.apart():
        contest = _Contest(workload, question)
        return contest.choice(), contest.bar


def narrower(device: torch.device, width: int | None) -> int | None:
    """The widest to try after a width did not fit, or after no width was given; None where none is left."""
    widths = GPU_WIDTHS if device.type == "cuda" else CPU_WIDTHS
    below = [each for each in widths if each < (width or widths[-1])]
    return max(below, default=(width or widths[-1]) // 2) or None


def compiler_found() -> bool:
    """Whether torch.compile can build for the CPU: it calls a C++ compiler."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


class Looped(Exception):  # noqa: N818
    """Raised with the reason where a contest need go no further: the loop it is."""


class TooLittle(Looped):
    """Finding out more would take too much of the work that there is."""


@dataclass(frozen=True)
class _Graph:
    """A graph's executor, its seconds a trial-step, and what is said of it."""

    executor: str
    seconds: float
    said: str


class _Contest:
    """One choice in the making. `allowed`: seconds that it may take in all, known once the loop has taken a step."""

    def __init__(self, workload: Workload, question: Question) -> None:
        self.workload, self.question = workload, question
        widest = GPU_WIDTHS if workload.device.type == "cuda" else CPU_WIDTHS
        self.widths = [width for width in widest if width <= (question.width or widest[-1])] or [question.width or 1]
        self.width = self.widths[-1]
        self.bar: Bar | None = None
        self.allowed, self.work = FREE, f"{question.trial_steps} steps in all"
        self.began = now(workload.device)

    def choice(self) -> Choice:
        asked = self.question.requested
        if asked == "loop":
            return self._loop("asked for")
        if asked != "auto":
            said = objection(self.workload, self.question.sample, self.question.layout)
            return self._loop(said) if said else self._as_asked(asked)
        try:
            executor, reason = self._fastest_alone() if len(self.question.sample) == 1 else self._fastest()
        except Looped as looped:
            executor, reason = "loop", str(looped)
        return self._loop(reason) if executor == "loop" else self._choice(executor, self.width, reason)

    def _loop(self, reason: str) -> Choice:
        return self._choice("loop", LOOP_WIDTH, reason)

    def _choice(self, executor: str, width: int, reason: str) -> Choice:
        return Choice(executor, self.question.layout, width, reason)

    @property
    def lanes(self) -> int:
        """How many of the group's trials a cohort of that width would hold."""
        return min(self.width, self.question.size)

    def _as_asked(self, asked: str) -> Choice:
        """An executor asked for by name, or why it is another."""
        executor, reason = asked, "asked for"
        if hindrance := self._hindrance(asked):
            graphs = asked == "graphed_compiled" and not self._hindrance("graphed")
            executor, reason = "graphed" if graphs else "traced", f"{asked} was asked for, but {hindrance}"
        fitting = self._fitting()
        return self._choice(executor, max((w for w in self.widths if w <= fitting), default=max(1, fitting)), reason)

    def _fitting(self) -> int:
        """Trials that the memory has room for, beside the spare lanes that they need."""
        spare = spare_lanes(self.workload)
        return lanes_that_fit(self.workload, self.question.sharing, enough=self.widths[-1] + spare) - spare

    def _fastest(self) -> tuple[str, str]:
        """The fastest executor for the whole group, and why; or raise Looped."""
        self._fusable()
        widths = self._widths_that_fit()
        pair = pair_seconds(self.workload, self.question.sample[0]) or 2 * self.loop.step_seconds
        try:
            traced = self._time_traced(widths, pair)
        except TooLittle as little:
            return self._by_two(pair, widths[0], little)
        busy, all_busy = (self.question.busy(width) for width in (self.width, LOOP_WIDTH))
        faster = self.loop.total / traced.total * busy / all_busy
        if MARGIN * faster < 1:
            few = f", as they keep {busy} of {all_busy} workers busy" if busy < all_busy else ""
            raise Looped(f"{traced.lanes} trials at once have only {faster:.1f}× its speed{few}")
        gain = f"{traced.lanes} trials at once, {faster:.1f}× as fast as one by one"
        executor, reason = self._beyond_traced(traced, gain)
        beside = self.question.steps * self.loop.step_seconds * busy / all_busy
        beside += self.loop.evaluation * busy / all_busy - traced.evaluation
        self._hold_against(max(beside / self.question.steps, 0.0))
        return executor, reason

    def _fastest_alone(self) -> tuple[str, str]:
        """A graph for a single trial, which fills two of its lanes, and why; or raise Looped."""
        if self.question.trials > 1:
            raise Looped("a single trial of each seed")
        if _hindrance(self.workload, "graphed"):
            raise Looped("a single trial")
        self._fusable()
        if self._fitting() < NARROWEST or self._uncaptured:
            raise Looped("a single trial")
        self.width = 1
        loop, graph = self._beside_a_graph(self.loop)
        if graph is None:
            raise Looped("a single trial")
        self._hold_against(self.loop.step_seconds)
        return (
            graph.executor,
            f"a single trial as a graph, {loop / graph.seconds:.1f}× as fast as in the loop{graph.said}",
        )

    def _fusable(self) -> None:
        """Take the loop's time, and raise Looped where finding out is too much or fusing would be another training."""
        if self.workload.habits.alone:
            raise Looped(f"the model {self.workload.habits.alone}")
        self._time_loop()
        comparing, racing = ALIKE_STEPS if self.workload.foreign else 8, TIMED_STEPS
        self._afford((comparing + racing) * self.loop.step_seconds + 4 * self.loop.built)
        began = now(self.workload.device)
        if said := objection(self.workload, self.question.sample, self.question.layout):
            raise Looped(said)
        self._afford(RECORDED * (now(self.workload.device) - began) + racing * self.loop.step_seconds)

    def _hold_against(self, seconds: float) -> None:
        """Let the first fused cohort show that its steps of one trial do not take longer."""
        self.bar = Bar(seconds, TO_SHOW + SHARE_TO_SHOW * self._loop_seconds)

    @property
    def _loop_seconds(self) -> float:
        """What the loop would take for all of the group's trials, on the clock."""
        return self.question.size * self.loop.total / self.question.shared_by

    def _afford(self, seconds: float) -> None:
        """Raise Looped where so many seconds more would be too much for the work that there is."""
        if now(self.workload.device) - self.began + seconds > self.allowed:
            raise TooLittle(f"{self.work}: too little to find out whether fusing pays")

    def _time_loop(self) -> None:
        """Take a few steps in the loop, from which it is known how long the work is."""
        if self.question.trial_steps < FEWEST * self.question.shared_by:
            self._afford(math.inf)
        self.loop = Runner(self.workload, self.question, "loop", 1)
        while self.loop.taken < self.loop.untimed + 2:
            self.loop.step()
            self._allow()
            self._afford(self.loop.step_seconds)
        self.loop.measure(self.allowed / 20)
        self._allow()

    def _allow(self) -> None:
        """Reckon again how long the work is, and what may be spent."""
        self.allowed = FREE + SHARE * self._loop_seconds
        self.work = f"about {self.question.size * self.loop.total:.1f} s of work"

    def _widths_that_fit(self) -> list[int]:
        fitting = self._fitting()
        widths = [width for width in self.widths if width <= fitting] or [fitting]
        if widths[0] < NARROWEST:
            raise Looped("two trials fused do not fit the memory")
        return widths

    def _by_two(self, pair: float, width: int, little: TooLittle) -> tuple[str, str]:
        """`traced` untimed, where what two trials take leaves no doubt, and why; or raise `little`.

        Wide layers, whose weights of eight trials fall out of the cache, belie it: the first step that counts decides.
        """
        self.width = width
        busy, all_busy = (self.question.busy(each) for each in (width, LOOP_WIDTH))
        took = pair * seats(self.workload, "traced", self.lanes, 0) / NARROWEST / self.lanes
        faster = self.loop.step_seconds / max(took, 1e-9) * busy / all_busy
        if CLEAR * faster < 1:
            raise little
        self.bar = Bar(self.loop.step_seconds * busy / all_busy, 0.0)
        return "traced", f"{self.lanes} trials at once, by two of them {faster:.1f}× as fast as one by one"

    def _time_traced(self, widths: list[int], pair: float) -> Runner:
        """`traced` at the fastest width that can be timed, beside the loop; it is the width from now on.

        pair: seconds of a step of two trials.
        """
        timed: list[Runner] = []
        took: list[float] = []  # seconds of a trial, by the clock of all processes
        for width in widths:
            lanes = min(width, self.question.size)
            try:
                timed.append(self._raced(lanes, pair, timed[-1] if timed else None))
            except Looped:
                if not timed:
                    raise
                break
            took.append(timed[-1].total / self.question.busy(width))
            if took[-1] > ALIKE * min(took) or lanes == self.question.size:
                break
        best = next(place for place, seconds in enumerate(took) if seconds <= ALIKE * min(took))
        self.width = widths[best]
        return timed[best]

    def _raced(self, lanes: int, pair: float, before: Runner | None) -> Runner:
        """Steps of `traced` and of the loop by turns, so that whatever else goes on slows both."""
        runner_seats = seats(self.workload, "traced", lanes, 0)
        known = (pair, NARROWEST) if before is None else (before.best, before.seats)
        in_a_row = min(IN_A_ROW, lanes)
        beside = FEWEST_ROUNDS * in_a_row * self.loop.step_seconds
        self._afford(TIMED_STEPS * known[0] * runner_seats / known[1] + beside)
        runner = Runner(self.workload, self.question, "traced", lanes)
        self.loop.at_once = in_a_row
        began = now(self.workload.device)
        for rounds in range(1, runner.untimed + ROUNDS + 1):
            runner.step()
            self.loop.step()
            long = now(self.workload.device) - began > self.allowed / 10
            if long and rounds >= FEWEST_ROUNDS:
                break
        runner.measure(self.allowed / 10)
        return runner

    # beyond traced

    def _beyond_traced(self, traced: Runner, gain: str) -> tuple[str, str]:
        if self.workload.device.type == "cuda":
            return self._graphed_or_traced(traced, gain)
        return self._compiled_or_traced(traced, gain)

    def _graphed_or_traced(self, traced: Runner, gain: str) -> tuple[str, str]:
        if _hindrance(self.workload, "graphed"):
            return "traced", gain
        if self._uncaptured:
            return "traced", f"{gain}; {self._uncaptured}"
        _, graph = self._beside_a_graph(traced)
        if graph is None:
            return "traced", gain
        faster = self.loop.step_seconds / graph.seconds
        return graph.executor, f"{self.lanes} trials at once, {faster:.1f}× as fast as one by one{graph.said}"

    def _beside_a_graph(self, other: Runner) -> tuple[float, _Graph | None]:
        """Seconds a trial-step of what runs without a graph; and the best graph, if faster and the same training."""
        at_once = max(1, min(PROBED, int(self.allowed / 10 / max(other.best, 1e-9))))
        beside, graphed = (self._seconds(each, at_once) for each in (other.executor, "graphed"))
        if graphed >= MARGIN * beside or not self._agrees("graphed"):
            return beside, None
        return beside, self._compiled_or_not(graphed, at_once)

    def _compiled_or_not(self, graphed: float, at_once: int) -> _Graph:
        """The graph, or one whose update is compiled, if that can save twice what it costs and is faster."""
        plain = _Graph("graphed", graphed, "")
        saved = OF_UPDATE * graphed * self.question.trial_steps / self.question.workers
        if saved < 2 * COMPILE_SECONDS or _hindrance(self.workload, "graphed_compiled"):
            return plain
        try:
            alike, compiled = self._agrees("graphed_compiled"), self._seconds("graphed_compiled", at_once)
        except RuntimeError as error:  # of the compiler's, or since it does not do what the rule does
            return replace(plain, said=f"; its update is not compiled: {first_line(error)}")
        if not alike or compiled >= MARGIN * graphed:
            return plain
        return _Graph("graphed_compiled", compiled, f", {graphed / compiled:.1f}× of that by a compiled update")

    def _compiled_or_traced(self, traced: Runner, gain: str) -> tuple[str, str]:
        """Compile if what it can save is twice what it costs: each worker compiles, all of them share the saving.

        And if tracing has earned what is lost should it save nothing.
        """
        hindrance = _hindrance(self.workload, "compiled")
        if hindrance:
            return "traced", f"{gain}; not compiled: {hindrance}"
        steps, loop = self.question.trial_steps / self.question.workers, self.loop.step_seconds
        saved, compiling = KEPT * traced.step_seconds * steps, self._compile_seconds()
        if saved >= 2 * compiling:  # else it need not be measured
            saved *= _outside_products(self.workload, self.lanes)
        earned = ((1 + SHARE_TO_SHOW) * loop - traced.step_seconds) * steps
        lacking = max(2 * compiling / max(saved, 1e-9), compiling / max(earned, 1e-9))
        if lacking > 1:
            return "traced", gain
        if not self._agrees("compiled"):
            return "traced", f"{gain}; compiled it would not be the same training"
        compiled = self._seconds("compiled")
        if compiled >= traced.step_seconds:
            return "traced", f"{gain}; compiled it has {loop / compiled:.1f}×"
        gain = f"{self.lanes} trials at once, {loop / compiled:.1f}× as fast as one by one"
        return "compiled", f"{gain}, uncompiled {loop / traced.step_seconds:.1f}×"

    def _compile_seconds(self) -> float:
        """What compiling the step takes, by how much there is of it."""
        operations = len(recorded_pair(self.workload).operations()) * self.workload.parts
        return max(COMPILE_SECONDS, FIRST + PER_OPERATION * operations)

    def _seconds(self, executor: str, at_once: int = 1) -> float:
        """Seconds a trial-step of an executor at the chosen width, in blocks of so many steps."""
        runner = Runner(self.workload, self.question, executor, self.lanes, at_once=at_once)
        for _ in range(runner.untimed + 3):
            runner.step()
        return runner.step_seconds

    def _agrees(self, executor: str, lanes: int | None = None) -> bool:
        """Whether a step leaves the slots that traced leaves."""
        runners = [Runner(self.workload, self.question, name, lanes or self.lanes) for name in ("traced", executor)]
        slots = [runner.slots_after_the_second() for runner in runners]
        return distance(*slots) <= 2 * TOLERANCE[self.workload.precision]

    def _hindrance(self, executor: str) -> str | None:
        """Why an executor cannot take the step, or None."""
        found = _hindrance(self.workload, executor)
        return found or (self._uncaptured if executor in GRAPHS else None)

    @cached_property
    def _uncaptured(self) -> str | None:
        """Why a CUDA graph cannot hold the step, or None. Two lanes tell: what waits for the device waits for any."""
        try:
            alike = self._agrees("graphed", NARROWEST)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return uncaptured(error)
        return None if alike else "as a CUDA graph it would not be the same training"


def _hindrance(workload: Workload, executor: str) -> str | None:
    """Why an executor cannot run here. Both compile or capture the whole step, seeds of random draws included."""
    if executor in GRAPHS and workload.device.type != "cuda":
        return "CUDA graphs need a CUDA device"
    if executor in WHOLE and workload.recipe.scaling:
        return "scaling=dynamic asks at each step whose gradient is finite"
    if executor in WHOLE and workload.habits.draws:
        return "the model draws random numbers in its forward pass"
    if executor == "compiled" and not workload.recipe.elementwise:  # torch.compile fails on views that a rule writes
        own = "a parameter group has an optimizer of its own"
        return own if workload.recipe.own else f"{workload.config.optimizer.name} moves each parameter by itself"
    if executor == "compiled" and workload.device.type == "cpu" and not compiler_found():
        return "there is no C++ compiler"
    if executor == "graphed_compiled":
        return kernel_hindrance(workload.recipe, workload.device)
    return None


def _outside_products(workload: Workload, lanes: int) -> float:
    """The share of a recorded gradient's time that is not matrix products and convolutions."""
    state, feed = example(workload, lanes)
    gradient = vmap_gradient(workload, shared=True)
    recording = Recording(lambda theta: gradient(replace(state, theta=theta), feed), [state.theta])
    recording(state.theta)
    spent = recording.timed(state.theta)
    products = sum(seconds for name, seconds in spent.items() if any(word in name for word in PRODUCTS))
    return 1 - products / max(sum(spent.values()), 1e-9)
