"""The probe: fuses what can be fused and pays, quotes the reason when it does not, and leaves a single trial to the
loop, but for a graph."""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from contests import MINUTE, ask, judged
from torch import Tensor

from thalweg.runner.engine import choose as module
from thalweg.runner.engine import likeness, probing
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Bar, Choice, layout_for
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.cutting import cut


@pytest.fixture
def model_is(monkeypatch):
    def use(model: type[torch.nn.Module]) -> None:
        build = "thalweg.runner.engine.workload.build_model"
        monkeypatch.setattr(build, lambda config, extent: model(extent.features, extent.outputs))

    return use


def test_a_single_trial_is_trained_in_a_loop_at_once(grid_of, clock) -> None:
    timed = clock(MINUTE)
    choice = ask(grid_of(1, steps=1000), trials=1)
    assert (choice.executor, choice.reason, timed) == ("loop", "a single trial", [])


def test_what_was_timed_is_said_and_what_the_first_fused_steps_must_not_exceed(grid_of, clock) -> None:
    clock(MINUTE)
    choice, bar = judged(grid_of(8), trials=1000)
    assert choice.executor == "traced"
    assert choice.reason == "8 trials at once, 2.5× as fast as one by one"
    assert bar is not None
    assert bar.seconds == pytest.approx(1e-3)
    assert bar.patience == pytest.approx(0.4 + 0.015 * 30)


def test_what_is_faster_one_by_one_stays_a_loop(grid_of, clock) -> None:
    clock({**MINUTE, "traced": 2e-3})
    choice, bar = judged(grid_of(8), trials=1000)
    assert (choice.executor, choice.reason) == ("loop", "8 trials at once have only 0.5× its speed")
    assert bar is None


def test_a_gain_within_the_noise_is_none(grid_of, clock) -> None:
    clock({**MINUTE, "traced": 0.92e-3})
    assert ask(grid_of(8), trials=1000).executor == "loop"


def test_recording_counts_where_the_steps_are_few(grid_of, clock) -> None:
    clock({**MINUTE, "traced": 0.88e-3})
    assert ask(grid_of(8, steps=1000)).executor == "traced"
    assert ask(grid_of(8, steps=10)).executor == "loop"


def test_less_than_40_steps_are_not_looked_at(grid_of, clock) -> None:
    timed = clock(MINUTE)
    assert ask(grid_of(3, steps=13)).reason == "39 steps in all: too little to find out whether fusing pays"
    assert timed == []
    assert ask(grid_of(4, steps=13)).executor == "traced"
    assert ask(grid_of(4, steps=13), workers=2).executor == "loop"


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, 20), (10.0, 60), (100.0, 60)])
def test_work_too_short_for_finding_out_loops_after_few_steps(grid_of, clock, seconds, steps) -> None:
    timed = clock({"loop": seconds, "traced": seconds / 20})
    choice = ask(grid_of(4, steps=steps))
    assert choice.executor == "loop"
    assert choice.reason == f"about {4 * steps * seconds:.1f} s of work: too little to find out whether fusing pays"
    assert timed == [("loop", 1)] * len(timed)
    assert len(timed) * seconds <= 0.5 + 0.025 * 4 * steps * seconds + seconds


@pytest.mark.parametrize(
    ("pair", "trials", "executor", "said"),
    [
        (2.4e-2, 8, "traced", "8 trials at once, by two of them 1.7× as fast as one by one"),
        (2.4e-2, 4, "traced", "4 trials at once, by two of them 1.7× as fast as one by one"),
        (3.4e-2, 8, "loop", "about 9.6 s of work: too little to find out whether fusing pays"),
        (2.4e-2, 1000, "traced", "8 trials at once, 2.0× as fast as one by one"),  # enough for a race
    ],
)
def test_where_no_race_can_be_afforded_two_trials_may_leave_no_doubt(
    grid_of, clock, monkeypatch, pair, trials, executor, said
) -> None:
    clock({"loop": 2e-2, ("traced", 4): 1e-2, ("traced", 8): 1e-2, "traced": 4e-2, "compiled": 4e-2})
    monkeypatch.setattr(module, "pair_seconds", lambda workload, trial: pair)
    choice, bar = judged(grid_of(min(trials, 8), steps=60), trials=trials)
    assert (choice.executor, choice.reason[: len(said)]) == (executor, said)
    assert (bar is not None) == (executor == "traced")
    if trials <= 8 and bar:
        assert bar == Bar(2e-2, 0.0)
        assert choice.width == 8


def test_nothing_is_recorded_where_comparing_left_too_little_for_a_race(grid_of, clock, monkeypatch) -> None:
    timed, spent = clock(MINUTE), [0.0]
    began = module.now
    monkeypatch.setattr(module, "now", lambda device: began(device) + spent[0])
    monkeypatch.setattr(module, "objection", lambda *_: operator.setitem(spent, 0, 0.65))
    recorded: list[Workload] = []

    def spare(workload: Workload) -> int:
        recorded.append(workload)
        return 0

    monkeypatch.setattr(module, "spare_lanes", spare)
    for trials, pays in ((10_000, True), (100, False)):  # 9.5 s to find out, or .59
        spent[0] = 0.0
        recorded.clear()
        choice = ask(grid_of(8), trials=trials)
        assert (choice.executor != "loop", bool(recorded)) == (pays, pays)
    assert choice.reason == "about 3.0 s of work: too little to find out whether fusing pays"
    assert timed[-1] == ("loop", 1)


def test_no_width_is_timed_that_costs_more_than_is_left(grid_of, clock) -> None:
    timed = clock({"loop": 1e-2, "traced": 1e-2, ("traced", 8): 2e-3})
    choice = ask(grid_of(8), trials=300)  # 90 s of work: 2.75 s to find out, and 16 more lanes might take 1.4 s
    assert ("traced", 16) not in clock_less(timed, 16) or choice.width == 8
    assert choice.width == 8


def clock_less(timed: list[tuple[str, int]], lanes: int) -> list[tuple[str, int]]:
    return [each for each in timed if each[1] <= lanes]


@pytest.mark.parametrize(
    ("narrow", "wide", "idle", "width", "said"),
    [
        (9e-4, 6e-4, 1, 16, "16 trials at once, 1.7× as fast as one by one"),
        (8e-4, 6e-4, 2, 8, "8 trials at once, 1.2× as fast as one by one"),
        (12e-4, 6e-4, 2, 8, "8 trials at once have only 0.8× its speed"),
        (14e-4, 6e-4, 2, 8, "16 trials at once have only 0.8× its speed, as they keep 1 of 2 workers busy"),
        (7e-4, 3e-4, 2, 16, "16 trials at once, 1.7× as fast as one by one"),
    ],
)
def test_a_width_is_held_against_all_workers_that_the_loop_would_keep_busy(
    grid_of, clock, narrow, wide, idle, width, said
) -> None:
    clock({"loop": 1e-3, ("traced", 8): narrow, ("traced", 16): wide})
    choice, bar = judged(grid_of(16, steps=600), workers=2, idle=idle)
    assert (choice.reason, choice.width) == (said, width)
    if bar is not None:
        assert bar.seconds == pytest.approx(1e-3 / (idle if width == 16 else 1))


@pytest.mark.parametrize(("trials", "width", "seeds", "layout", "busy"), [
    (16, 8, 1, "shared", 2), (16, 16, 1, "shared", 1), (31, 64, 1, "shared", 1), (32, 64, 1, "shared", 2),
    (32, 16, 4, "shared", 4), (16, 16, 4, "per_lane", 1), (300, 64, 1, "shared", 4),
])  # fmt: skip
def test_what_cohorts_keep_busy_is_what_cutting_makes_of_them(grid_of, trials, width, seeds, layout, busy) -> None:
    each = grid_of(trials // seeds if layout == "shared" else trials)
    sample = [Trial(replace(trial.config, seed=seed)) for seed in range(seeds) for trial in each][:trials]
    question = Question(tuple(sample), layout, "auto", trials=trials, workers=4, seeds=seeds, idle=4)
    assert question.busy(width) == busy == min(4, len(cut(sample, Choice("traced", layout, width, ""), 4)))


def test_compiling_must_earn_twice_its_time_over_the_whole_group(grid_of, clock) -> None:
    clock(MINUTE)
    choice = ask(grid_of(8), trials=10_000)
    assert choice.executor == "compiled"
    assert choice.reason == "8 trials at once, 5.0× as fast as one by one, uncompiled 2.5×"
    assert choice.width == 8
    assert ask(grid_of(8), trials=10_000, workers=16).executor == "traced"


def test_a_step_of_more_operations_takes_longer_to_compile_and_must_earn_that(grid_of, clock, monkeypatch) -> None:
    clock(MINUTE)
    assert ask(grid_of(8), trials=10_000).executor == "compiled"
    monkeypatch.setattr(module, "PER_OPERATION", 0.5)  # as of ten times as many: 57 s may be saved
    assert ask(grid_of(8), trials=10_000).executor == "traced"


def test_a_compiled_step_that_is_slower_or_another_training_is_not_used(grid_of, clock, monkeypatch) -> None:
    clock({**MINUTE, "compiled": 5e-4})
    assert ask(grid_of(8), trials=10_000).reason == "8 trials at once, 2.5× as fast as one by one; compiled it has 2.0×"
    clock(MINUTE)
    monkeypatch.setattr(module._Contest, "_agrees", lambda self, name, lanes=None: False)
    assert ask(grid_of(8), trials=10_000).executor == "traced"


def test_nothing_is_compiled_without_a_compiler(grid_of, clock, monkeypatch) -> None:
    clock(MINUTE)
    monkeypatch.setattr(module, "compiler_found", lambda: False)
    choice = ask(grid_of(8), trials=10_000)
    assert choice.executor == "traced"
    assert choice.reason.endswith("not compiled: there is no C++ compiler")
    asked = ask(grid_of(8), "compiled")
    assert (asked.executor, asked.reason) == ("traced", "compiled was asked for, but there is no C++ compiler")


def test_what_the_user_asked_for_is_taken(grid_of) -> None:
    assert ask(grid_of(1), "vmap").executor == "vmap"
    assert ask(grid_of(8), "loop").executor == "loop"
    assert ask(grid_of(8), "compiled").executor == "compiled"


@pytest.mark.parametrize(
    ("steps", "spans", "seconds"),
    [(25, [(0, 10), (10, 20), (20, 25), (0, 10)], 0.6), (4, [(0, 4), (0, 4)], 1.5), (1, [(0, 1), (0, 1)], 6.0)],
)
def test_a_block_of_steps_is_timed_by_the_step(grid_of, monkeypatch, steps, spans, seconds) -> None:
    sample = grid_of(2, steps=steps, warmup=0)
    runner = probing.Runner(
        prepared(sample[0].config, torch.device("cpu")),
        Question(tuple(sample), "shared", "auto"),
        "vmap",
        2,
        at_once=10,
    )
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(runner, "_run", lambda start, stop: taken.append((start, stop)))
    monkeypatch.setattr(probing, "seconds_of", lambda device, run: (run(), 6.0)[1])
    for start, stop in spans:
        runner.step()
        assert taken[-1] == (start, stop)
    assert runner.step_seconds == seconds / 2


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"sam": {"name": "standard", "rho": 0.1}},
        {"task": {"loss": "auto", "label_smoothing": 0.1}},
        {"budget": {"steps": 30, "batch_size": 16, "accumulate": 4}},
        {"optimizer": "muon", "rule": {"decay_on": "all"}},
    ],
)
def test_a_step_of_two_trials_is_timed_whole(grid_of, monkeypatch, parts) -> None:
    (trial,) = grid_of(1, **parts)
    workload = prepared(trial.config, torch.device("cpu"))
    taken: list[Tensor] = []
    honest = probing.train_step

    def step(recipe, gradient, state, feed, **asking):
        before = state.theta.clone()
        losses = honest(recipe, gradient, state, feed, **asking)
        taken.append((state.theta - before).norm(dim=1))
        return losses

    monkeypatch.setattr(probing, "train_step", step)
    seconds = probing.pair_seconds(workload, trial)
    assert seconds is not None
    assert seconds > 0
    assert len(taken) == 2
    assert all(moved.shape == (2,) and bool((moved > 0).all()) for moved in taken[1:])


def test_what_cannot_be_done_again_is_not_timed(grid_of, monkeypatch) -> None:
    (trial,) = grid_of(1)

    def raising(*_, **__):
        raise RuntimeError("of a workspace that is gone")

    monkeypatch.setattr(probing, "train_step", raising)
    assert probing.pair_seconds(prepared(trial.config, torch.device("cpu")), trial) is None


def test_in_a_race_the_loop_takes_several_steps_in_its_turn(grid_of, clock, monkeypatch) -> None:
    clock(MINUTE)
    turns: list[tuple[str, int]] = []
    step = module.Runner.step

    def noted(self) -> None:
        turns.append((self.executor, self.at_once))
        step(self)

    monkeypatch.setattr(module.Runner, "step", noted)
    ask(grid_of(8), trials=1000)
    first = turns.index(("traced", 1))
    assert set(turns[:first]) == {("loop", 1)}
    assert set(turns[first:]) == {("loop", 4), ("traced", 1)}


@pytest.mark.parametrize(("most", "rows"), [(0.0, 16), (2e-3, 48), (1.0, 200), (math.inf, 200)])
def test_as_many_rows_are_evaluated_as_the_time_allows(grid_of, monkeypatch, most, rows) -> None:
    sample = grid_of(2)
    workload = prepared(sample[0].config, torch.device("cpu"))
    split = workload.splits["val"]
    val = replace(split, x=split.x[:200], y=split.y[:200])
    workload = replace(workload, splits=workload.splits | {"val": val})
    runner = probing.Runner(workload, Question(tuple(sample), "shared", "auto"), "loop", 1)
    runner.best = 1e-3  # of a step of 16 rows
    seen: list[int] = []
    monkeypatch.setattr(probing, "evaluate", lambda some, *_, **__: seen.append(some.splits["val"].rows))
    runner.measure(most)
    assert set(seen) == {rows}


class ReadsAValue(torch.nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)) * (2.0 if self.weight.sum().item() > 0 else 1.0)


@pytest.mark.parametrize("requested", ["auto", "vmap", "traced", "compiled"])
def test_a_model_that_vmap_cannot_take_runs_in_a_loop_with_the_reason_quoted(grid_of, model_is, requested) -> None:
    model_is(ReadsAValue)
    choice = ask(grid_of(4), requested)
    assert choice.executor == "loop"
    assert "vmap cannot take this model" in choice.reason
    assert "item()" in choice.reason


class Wordless(torch.nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        if torch._C._functorch.is_batchedtensor(self.weight):
            raise AssertionError
        return super().forward(x.flatten(1))


def test_an_error_that_says_nothing_is_named_by_its_type(grid_of, model_is) -> None:
    model_is(Wordless)
    reason = ask(grid_of(4, steps=300), "auto").reason
    assert reason.startswith("vmap cannot take this model: tests/runner/engine/test_choose.py, line ")
    assert reason.endswith(": AssertionError")


class Recurrent(torch.nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.cells, self.last = torch.nn.LSTM(8, 12, batch_first=True), torch.nn.Linear(12, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.cells(x.view(-1, 8, 8))[0][:, -1])


def test_a_recurrent_model_trains_by_what_is_chosen_for_it(grid_of, train_all, model_is) -> None:
    model_is(Recurrent)
    trials = grid_of(3, steps=5, warmup=1)
    assert train_all(trials, ask(trials).executor)[0].outcome == "finished"


def test_a_fused_gradient_that_differs_is_not_used(grid_of, monkeypatch) -> None:
    monkeypatch.setitem(module.TOLERANCE, "float32", -1.0)
    choice = ask(grid_of(4))
    assert choice.executor == "loop"
    assert "differs" in choice.reason


class Convolutions(torch.nn.Module):
    """Rounded to bf16, its fused gradient differs from its own by more than that of any perceptron."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = (1, 16, 32, 64)
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(m, n, 3, 2, 1) for m, n in pairwise(widths))
        self.last = torch.nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.last(x.flatten(1))


def test_a_model_that_bf16_alone_makes_differ_is_fused(grid_of, model_is) -> None:
    model_is(Convolutions)
    assert ask(grid_of(4, precision="bf16")).executor == "traced"


def test_a_bf16_model_whose_exact_gradient_differs_is_not_fused(grid_of, monkeypatch) -> None:
    monkeypatch.setitem(module.TOLERANCE, "float32", -1.0)
    assert ask(grid_of(4, precision="bf16")).executor == "loop"


def test_a_fused_gradient_with_nan_is_not_used(grid_of, monkeypatch) -> None:
    honest = likeness.vmap_gradient

    def spoiled(workload, shared):
        def gradient(state, feed):
            loss_K, grad_KP, buffers = honest(workload, shared)(state, feed)
            grad_KP[1, 3] = math.nan
            return loss_K, grad_KP, buffers

        return gradient

    monkeypatch.setattr(likeness, "vmap_gradient", spoiled)
    choice = ask(grid_of(4))
    assert (choice.executor, choice.reason) == ("loop", "the fused gradient differs from the loop's by nan")


@pytest.mark.parametrize(
    ("calls", "in_float64", "executor"),
    [
        ({0}, False, "traced"),  # at the weights that are compared first, and a little beside them no more
        ({0, 1}, False, "traced"),
        ({0, 1, 2, 3}, False, "loop"),
        ({0}, True, "loop"),  # no rounding
    ],
)
def test_a_gradient_that_jumps_by_rounding_alone_keeps_no_model_from_being_fused(
    grid_of, monkeypatch, calls, in_float64, executor
) -> None:
    """As that of ReLU where activations are 0 but for rounding."""
    honest, number = likeness.vmap_gradient, itertools.count()

    def jumping(workload, shared):
        def gradient(state, feed):
            loss_K, grad_KP, buffers = honest(workload, shared)(state, feed)
            exact = grad_KP.dtype == torch.float64
            grad_KP[1] *= 1.02 if (in_float64 if exact else next(number) in calls) else 1.0
            return loss_K, grad_KP, buffers

        return gradient

    monkeypatch.setattr(likeness, "vmap_gradient", jumping)
    said = ask(grid_of(4)).reason
    assert (said == "the fused gradient differs from the loop's by 2.0e-02") == (executor == "loop"), said


@pytest.mark.long
@pytest.mark.parametrize("fused", [0.4, 30.0])
@pytest.mark.parametrize("step", [0.0005, 0.02, 0.5, 4.0])
@pytest.mark.parametrize(("trials", "steps"), [(1000, 30), (8, 30), (8, 5), (64, 300)])
def test_finding_out_takes_a_small_share_of_the_loop(grid_of, monkeypatch, step, fused, trials, steps):
    """Everything that it runs takes time here: steps, gradients that are compared, recordings, evaluations."""
    now = [0.0]

    def takes(seconds: float):
        def run(workload, state, *_):
            now[0] += seconds * state.lanes
            state.step += 1

        return run

    honest = module.Runner.measure

    def measured(self, most):
        honest(self, most)
        now[0] += 0.4 * step * self.lanes

    def compared(*_):
        now[0] += 8 * step

    monkeypatch.setattr(module, "now", lambda device: now[0])
    monkeypatch.setattr(module.Runner, "measure", measured)
    monkeypatch.setattr(module, "objection", compared)
    monkeypatch.setattr(module, "pair_seconds", lambda workload, trial: 2 * fused * step)
    monkeypatch.setattr(probing, "seconds_of", lambda device, run: -now[0] + (run(), now[0])[1])
    monkeypatch.setattr(module, "compiler_found", lambda: False)
    monkeypatch.setattr(probing, "EXECUTORS", {"loop": takes(step), "traced": takes(fused * step)})
    choice = ask(grid_of(8, steps=steps, warmup=1), trials=trials)
    assert choice.executor == "loop" or fused < 1
    whole = step * trials * steps
    assert now[0] <= max(1.0, 0.5 + 0.05 * whole + step)


def test_the_share_outside_products_is_measured_without_a_word(grid_of, capfd) -> None:
    workload = prepared(grid_of(1)[0].config, torch.device("cpu"))
    assert 0 < module._outside_products(workload, 8) < 1
    assert capfd.readouterr() == ("", "")


def test_the_verdict_does_not_depend_on_the_width_asked_for(grid_of, clock) -> None:
    timed = clock(MINUTE)
    wide, narrow = ask(grid_of(8), trials=1000), ask(grid_of(8), trials=1000, width=2)
    assert (wide.executor, wide.layout) == (narrow.executor, narrow.layout)
    assert narrow.width == 2
    assert ("traced", 8) in timed


def test_the_fastest_width_is_taken_and_only_there_fusing_must_pay(grid_of, clock) -> None:
    clock({("loop", 1): 1e-3, ("traced", 8): 2e-3, ("traced", 16): 8e-4, ("traced", 32): 9e-4, ("traced", 64): 3e-3})
    choice = ask(grid_of(8), trials=1000)
    assert (choice.executor, choice.width) == ("traced", 16)
    assert choice.reason.startswith("16 trials at once, 1.2× as fast as one by one")


def test_of_widths_that_are_as_fast_the_narrowest_is_taken(grid_of, clock) -> None:
    clock({**MINUTE, ("traced", 16): 3.9e-4, ("traced", 32): 3.85e-4, ("traced", 64): 3.85e-4})
    assert ask(grid_of(8), trials=1000).width == 8


@pytest.mark.parametrize("requested", ["auto", "traced"])
def test_spare_lanes_count_as_memory(grid_of, monkeypatch, requested) -> None:
    monkeypatch.setattr(module, "lanes_that_fit", lambda workload, sharing, enough: 80)
    monkeypatch.setattr(module, "spare_lanes", lambda workload: 60)
    assert ask(grid_of(4, steps=600), requested, trials=100).width in (8, 16)
    monkeypatch.setattr(module, "spare_lanes", lambda workload: 79)
    narrow = ask(grid_of(4, steps=600), requested, trials=100)
    assert narrow.width == 1 or narrow.reason == "two trials fused do not fit the memory"


def test_memory_bounds_the_width(grid_of, monkeypatch) -> None:
    monkeypatch.setattr(module, "lanes_that_fit", lambda workload, sharing, enough: 20)
    assert ask(grid_of(4), "vmap").width == 16
    monkeypatch.setattr(module, "lanes_that_fit", lambda workload, sharing, enough: 3)
    assert ask(grid_of(4), "vmap").width == 3


def test_batches_are_shared_only_where_a_seed_has_trials_enough(trial_of, grid_of) -> None:
    assert layout_for(grid_of(3)) == "shared"
    assert layout_for([trial_of(seed=seed) for seed in range(20)]) == "per_lane"
    assert layout_for([*grid_of(8, seed=0), *grid_of(8, seed=1)]) == "shared"
