"""A process that was prepared gives lanes equal bits wherever in memory they lie, whatever its environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thalweg.runner.engine import generators

SCRIPT = """
import torch
from thalweg.runner.engine.determinism import prepare
prepare()
left, right = torch.randn(16, 17).repeat(9, 1, 1), torch.randn(16, 10).repeat(9, 1, 1)
products = torch.bmm(left.mT, right)  # 170 numbers a lane: no multiple of a cache line
print(torch.get_num_threads(), all(torch.equal(each, products[0]) for each in products))
"""


RECORDING = """
import sys
import torch
from torch.func import vmap
from thalweg.runner.engine.recording import Recording
recording = Recording(vmap(lambda x: (x @ x).relu().sum()), [torch.randn(3, 4, 4)])
print(recording(-torch.ones(3, 4, 4)).sum().item(), "torch._dynamo" in sys.modules)
"""


CHOOSING = """
import sys
import conftest
import torch
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
sample = tuple(conftest.make_trial(lr, steps=300) for lr in (0.1, 0.2))
choice, _ = choose(prepared(sample[0].config, torch.device("cpu")), Question(sample, "shared", "auto", trials=1000))
cohort = conftest.Cohort(sample, "traced", "shared", 1)
conftest.train(cohort, prepared(sample[0].config, torch.device("cpu")))
print(choice.executor, [name for name in ("sympy", "torch._dynamo", "pandas", "scipy") if name in sys.modules])
"""


@pytest.mark.long
def test_finding_out_and_training_import_no_more_than_they_need() -> None:
    folder, root = Path(__file__).parent, Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(folder), str(root / "tests")])}
    done = subprocess.run([sys.executable, "-c", CHOOSING], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["traced", "[]\n"]


@pytest.mark.parametrize("accelerator", [False, True])
def test_a_seed_is_that_of_torch(monkeypatch, accelerator) -> None:
    monkeypatch.setattr(generators, "_has_accelerator", lambda: accelerator)
    torch.manual_seed(2**62 + 5)
    expected, state = torch.randn(3), torch.get_rng_state()
    generators.seed_torch(2**62 + 5)
    assert torch.equal(torch.randn(3), expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.initial_seed() == 2**62 + 5


@pytest.mark.long
def test_recording_does_not_import_the_compiler() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", RECORDING], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["192.0", "False"]


@pytest.mark.long
def test_equal_lanes_have_equal_products_in_a_process_of_its_own() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src"), "OMP_NUM_THREADS": "2"}
    del environment["MKL_CBWR"]
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]
