"""How many lanes are planned to fit the memory: by the gradient or by an evaluation, whichever needs more."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from thalweg.runner.engine import memory
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.workload import Workload

FREE = 2**33


@pytest.fixture(autouse=True)
def free(monkeypatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: FREE)


@pytest.fixture
def workload(trial_of):
    def made(hidden: tuple[int, ...] = (256, 256), batch_size: int = 16) -> Workload:
        return prepared(trial_of(hidden=hidden, batch_size=batch_size).config, torch.device("cpu"))

    return made


def test_small_batches_leave_the_evaluation_to_decide(workload) -> None:
    small, large = workload((512,), 2), workload((512,), 2048)
    assert memory._of_evaluation(small) == memory._of_evaluation(large)
    assert memory._of_gradient(small) < memory._of_evaluation(small) < memory._of_gradient(large)
    each = memory._of_evaluation(small) + memory._of_state(small)
    assert memory.lanes_that_fit(small, 1) == int(memory.SHARE * FREE / each)


@pytest.mark.parametrize(("hidden", "batch_size"), [((512,), 2), ((512,), 2048), ((4096,), 2), ((), 16)])
def test_no_evaluation_is_recorded_where_enough_surely_fit(workload, monkeypatch, hidden, batch_size) -> None:
    made = workload(hidden, batch_size)
    fit = memory.lanes_that_fit(made, 1)
    assert memory._of_evaluation_at_most(made) > memory._of_evaluation(made)
    monkeypatch.setattr(memory, "_of_evaluation", lambda workload: math.inf)
    assert fit >= memory.lanes_that_fit(made, 1, enough=2) >= 2
    assert memory.lanes_that_fit(made, 1, enough=fit + 1) == 1
    mixing = replace(made, habits=replace(made.habits, mixes=True))
    assert memory.lanes_that_fit(mixing, 1, enough=2) == 1


def test_processes_that_share_a_device_share_its_memory(workload) -> None:
    one = memory.lanes_that_fit(workload(), 1)
    assert memory.lanes_that_fit(workload(), 4) == pytest.approx(one / 4, abs=1)


@pytest.mark.parametrize("sharing", [1, 2, 4])
def test_workers_of_one_gpu_plan_for_a_share_of_it_each(workload, monkeypatch, sharing) -> None:
    """What a program takes at any width, each of them takes: all together stay within half of the free memory."""
    once, each, free = 5e8, 1e5, 8e9
    monkeypatch.setattr(memory, "_on_gpu", lambda workload: (once, each))
    monkeypatch.setattr(memory, "_free_on_gpu", lambda device: free)
    there = replace(workload(), device=torch.device("cuda:0"))
    lanes = memory.lanes_that_fit(there, sharing)
    together = sharing * (once + lanes * (each + memory._of_state(there)))
    assert 0.99 * memory.SHARE * free < together <= memory.SHARE * free


def test_weights_are_counted_once_however_many_rows_are_evaluated(workload) -> None:
    wide = workload(hidden=(4096,), batch_size=2)
    rows, numbers = 512, 4096
    assert memory._of_evaluation(wide) == pytest.approx(memory.LIVE * 4 * rows * numbers, rel=0.1)


def test_what_autograds_thread_still_holds_is_let_go_of_before_a_peak_is_taken(workload, monkeypatch) -> None:
    held = [34]
    monkeypatch.setattr(memory, "_let_go", lambda device: held.pop())
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: sum(held))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 40)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    assert memory._peak(workload(), 1, lambda *_: None) == 40


MEASURED = """
import sys
import torch
from thalweg.runner import page
from thalweg.runner.engine import memory
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.prepare import prepared

def most():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

prepare()
made = prepared(page.plan(page.declare(*sys.argv[2:]).study).groups[0].trials[0].config, torch.device("cpu"))
planned, lanes = memory._of_evaluation(made), int(sys.argv[1])
state = made.template_state(lanes)
open("/proc/self/clear_refs", "w").write("5")
before = most()
evaluate(made, state, "train", "vmap")
print((most() - before) / lanes / planned)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory a process held")
@pytest.mark.parametrize("words", ["model=cnn budget.batch_size=4", "model=mlp model.hidden=[1024,1024]"])
def test_what_is_planned_for_an_evaluation_is_about_what_it_takes(words) -> None:
    command = [sys.executable, "-P", "-c", MEASURED, "32", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 0.3 < float(done.stdout) < 2.0  # half of the memory is planned for
