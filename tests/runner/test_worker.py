"""A worker's bench: what it reports of tasks that go well and of tasks that raise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from store_cases import make_trial

from runner import worker
from runner.messages import Ask, Progress, Train


@pytest.fixture
def bench():
    return worker._Bench(SimpleNamespace(send=lambda message: None), torch.device("cpu"))


def broken(*args: object) -> None:
    raise ImportError("their nets.py has a typo")


def test_a_task_that_raises_becomes_failed_trials_with_the_traceback(bench, monkeypatch) -> None:
    monkeypatch.setattr("runner.engine.workload.build_model", broken)
    trials = (make_trial(lr=0.1), make_trial(lr=0.2))
    heard = bench.do(Train("g", trials, "vmap", "shared", 1))
    assert [each.outcome for each in heard.observations] == ["failed", "failed"]
    assert [each.trial_id for each in heard.observations] == [trial.id for trial in trials]
    assert "their nets.py has a typo" in heard.observations[0].error
    assert "Traceback" in heard.observations[0].error


def test_a_probe_that_raises_chooses_the_loop_and_says_why(bench, monkeypatch) -> None:
    monkeypatch.setattr("runner.engine.workload.build_model", broken)
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
    now, said = [0.0], []
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    bench = worker._Bench(SimpleNamespace(send=said.append), torch.device("cpu"))
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
    assert set(hello.versions) == {"thalweg", "torch", "numpy", "python"}


def test_a_missing_gpu_is_a_complaint_with_what_was_found() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    device, hello = worker._device("cuda")
    assert device.type == "cpu"
    assert hello.complaint
