"""A worker's bench: what it reports of pieces of work that go well and of pieces of work that raise."""

from __future__ import annotations

import sys
import weakref
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from store_cases import make_trial

from thalweg.runner.engine.choose import narrower
from thalweg.runner.engine.memory import is_out_of_memory
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Bar, Choice
from thalweg.runner.train import worker
from thalweg.runner.train.messages import Ask, Held, Note, OutOfMemory, Progress, Slower, Train, Trained


@pytest.fixture
def bench():
    return worker.Bench(SimpleNamespace(send=lambda message: None), torch.device("cpu"))  # type: ignore[arg-type]


def broken(*args: object) -> None:
    raise ImportError("their nets.py has a typo")


def test_a_task_that_raises_becomes_failed_trials_with_the_traceback(bench, monkeypatch) -> None:
    monkeypatch.setattr("thalweg.runner.engine.workload.build_model", broken)
    trials = (make_trial(lr=0.1), make_trial(lr=0.2))
    heard = bench.do(Train("g", trials, "vmap", "shared", 1))
    assert [each.outcome for each in heard.observations] == ["failed", "failed"]
    assert [each.trial_id for each in heard.observations] == [trial.id for trial in trials]
    assert "their nets.py has a typo" in heard.observations[0].error
    assert "Traceback" in heard.observations[0].error


def test_a_model_that_leaves_at_step_3_fails_its_cohort_with_its_own_traceback(bench, monkeypatch) -> None:
    calls = []

    def forward(self, *args):
        calls.append(1)
        if len(calls) > 3:
            sys.exit("my own check failed")
        return honest(self, *args)

    honest = Workload.forward
    monkeypatch.setattr(Workload, "forward", forward)
    (failed,) = bench.do(Train("g", (make_trial(),), "loop", "shared", 1)).observations
    assert failed.outcome == "failed"
    assert "test_worker.py" in failed.error
    assert failed.error.rstrip().endswith("SystemExit: my own check failed")


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.long
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_is_said_as_such_and_the_bench_goes_on(bench, monkeypatch, error) -> None:
    trial = make_trial()
    with monkeypatch.context() as patch:
        patch.setattr(Workload, "start", raising(error))
        heard = bench.do(Train("g", (trial, make_trial(lr=0.2)), "vmap", "shared", 1))
        assert isinstance(heard, OutOfMemory)
        assert type(error).__name__ in heard.reason
        assert bench.workload is None
    assert bench.do(Train("g", (trial,), "loop", "shared", 1)).observations[0].outcome == "finished"


@pytest.mark.long
def test_a_probe_out_of_memory_is_tried_again_at_narrower_widths(bench, monkeypatch) -> None:
    asked = []

    def choose(workload: Workload, question: Question) -> tuple[Choice, Bar | None]:
        asked.append((len(question.sample), question.width))
        if (question.width or 64) > 8:
            raise MemoryError
        return Choice("vmap", question.layout, question.width or 64, "it fits"), None

    monkeypatch.setattr("thalweg.runner.engine.choose.choose", choose)
    trials = tuple(make_trial(lr=0.1 * (n + 1)) for n in range(7))
    assert bench.do(Ask("g", trials, "shared", "auto")).choice.width == 8
    assert asked == [(7, None), (7, 32), (7, 16), (7, 8)]


@pytest.mark.parametrize(
    ("device", "widths"), [("cuda", [1024, 256, 64, 32, 16, 8, 4, 2, 1]), ("cpu", [32, 16, 8, 4, 2, 1])]
)
def test_no_width_is_passed_over_on_the_way_down(device, widths) -> None:
    found, width = [], narrower(torch.device(device), None)
    while width is not None:
        found.append(width)
        width = narrower(torch.device(device), width)
    assert found == widths


@pytest.mark.long
def test_first_steps_within_the_bar_are_said_and_slower_ones_end_the_cohort(bench) -> None:
    said: list[object] = []
    bench.pipe.send = said.append
    work = Train("g", (make_trial(), make_trial(lr=0.2)), "vmap", "shared", 1, bar=Bar(1e9, 1e9))
    assert isinstance(bench.do(work), Trained)
    assert [each for each in said if isinstance(each, Held)] == [Held()]
    said.clear()
    slower = bench.do(replace(work, bar=Bar(1e-12, 1e9)))
    assert isinstance(slower, Slower)
    assert 0 < slower.speed < 1
    assert not any(isinstance(each, Held) for each in said)


class Tensor:
    """Stands for what a failed attempt has allocated."""


@pytest.mark.parametrize("what", ["probe", "cohort"])
def test_a_failed_attempt_holds_no_memory_when_the_next_begins(bench, monkeypatch, what) -> None:
    """An error keeps the frames it passed, and they what they allocated, for as long as its except block lasts."""
    held: list[weakref.ref] = []

    def attempt(*_: object, **__: object) -> None:
        assert all(each() is None for each in held)
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        raise MemoryError

    monkeypatch.setattr("thalweg.runner.engine.choose.choose", attempt)
    monkeypatch.setattr("thalweg.runner.engine.cohort.train", attempt)
    monkeypatch.setattr(bench, "_forget", lambda: attempts.append([each() for each in held]))
    attempts: list[list[object]] = []
    trials = tuple(make_trial(lr=0.1 * (n + 1)) for n in range(4))
    bench.do(Ask("g", trials, "shared", "auto") if what == "probe" else Train("g", trials, "loop", "shared", 1))
    assert attempts == [[None] * n for n in range(1, len(held) + 1)][: len(attempts)]
    assert len(attempts) == (6 if what == "probe" else 1)


def test_an_ordinary_error_is_not_taken_for_a_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def led_to(*errors: BaseException, cause: bool) -> BaseException:
    """The last of errors of which each came of the one before it."""
    for earlier, later in pairwise(errors):
        later.__context__ = earlier
        if cause:
            later.__cause__ = earlier
    return errors[-1]


@pytest.mark.parametrize("cause", [True, False])
@pytest.mark.parametrize(
    "words", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDNN_STATUS_ALLOC_FAILED"]
)
def test_a_librarys_lack_of_memory_and_what_it_led_to_are_told(words, cause) -> None:
    lack = RuntimeError(words)
    masked = RuntimeError("operation failed due to a previous error during capture")
    assert is_out_of_memory(lack)
    assert not is_out_of_memory(masked)
    assert is_out_of_memory(led_to(lack, masked, ValueError("x"), cause=cause))


def test_what_was_said_to_come_of_nothing_else_does_not() -> None:
    error = led_to(MemoryError(), ValueError("no such column"), cause=False)
    error.__cause__ = None  # as `from None` does
    assert not is_out_of_memory(error)


def test_errors_that_led_to_each_other_end_the_search() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert not is_out_of_memory(one)


def test_a_checkpoint_that_cannot_be_written_is_said_and_training_goes_on(bench, monkeypatch, tmp_path) -> None:
    said: list[object] = []
    bench.pipe.send = said.append
    (tmp_path / "file").write_text("no folder")
    trial = make_trial()
    heard = bench.do(Train("g", (trial,), "loop", "shared", 1, (str(tmp_path / "file"), 1e-9)))
    assert heard.observations[0].outcome == "finished"
    assert any(isinstance(each, Note) and "could not be written" in each.text for each in said)


def raising(error: BaseException):
    def broken(*args: object) -> None:
        raise error

    return broken


def test_a_probe_that_raises_chooses_the_loop_and_says_why(bench, monkeypatch) -> None:
    monkeypatch.setattr("thalweg.runner.engine.workload.build_model", broken)
    heard = bench.do(Ask("g", (make_trial(), make_trial(lr=0.2)), "shared", "auto", None))
    assert heard.choice.executor == "loop"
    assert "their nets.py has a typo" in heard.choice.reason


def test_what_one_group_left_on_the_bench_is_not_used_for_the_next(bench) -> None:
    wide, narrow = make_trial(hidden=(8,)), make_trial(hidden=(4,))
    first = bench.do(Train(wide.group_id, (wide,), "loop", "shared", 1)).observations[0]
    second = bench.do(Train(narrow.group_id, (narrow,), "loop", "shared", 1)).observations[0]
    again = bench.do(Train(wide.group_id, (wide,), "loop", "shared", 1)).observations[0]
    assert (first.outcome, second.outcome) == ("finished", "finished")
    assert first.weight_hash == again.weight_hash != second.weight_hash


def test_progress_is_said_a_few_times_a_second_and_adds_up(monkeypatch) -> None:
    now = [0.0]
    said: list[Progress] = []
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    bench = worker.Bench(SimpleNamespace(send=said.append), torch.device("cpu"))  # type: ignore[arg-type]
    tick = bench._ticker()
    for _ in range(100):
        now[0] += 0.01
        tick(5, 1)
    assert 3 <= len(said) <= 5
    assert all(isinstance(each, Progress) for each in said)
    assert 400 <= sum(each.steps for each in said) <= 500
    assert all(each.steps == 5 * each.diverged for each in said)


def test_the_cpu_says_what_it_runs_and_complains_of_nothing() -> None:
    device, hello = worker._device("cpu")
    assert (device.type, hello.device, hello.complaint) == ("cpu", "cpu", None)
    assert set(hello.versions) == {"thalweg", "torch", "numpy", "python", "processor", "instructions"}


def test_a_missing_gpu_is_a_complaint_with_what_was_found() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    device, hello = worker._device("cuda")
    assert device.type == "cpu"
    assert hello.complaint
