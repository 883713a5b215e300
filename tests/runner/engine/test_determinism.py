"""A process that was prepared gives lanes equal bits wherever in memory they lie, whatever its environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
