"""What needs a GPU, on the hollow one that computes (scripts/gpu/hollow/arithmetic.py): the numbers of its host code.

The tests marked gpu run there, in a process of their own, as they would on a card. What a card's kernels compute is
theirs to say. Skipped aloud where the hollow runtime cannot be built.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
HERE = Path(__file__).parent


def run(hollow: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-W", "ignore", *words]
    return subprocess.run(command, env=hollow, capture_output=True, text=True, timeout=900)


def test_all_that_needs_a_gpu_passes_where_a_hollow_one_computes(hollow) -> None:
    plugin = ("-m", "pytest", "-p", "arithmetic", "-p", "no:cacheprovider", "-m", "gpu", "-q", "--tb=short")
    done = run(hollow, *plugin, "--show-capture=no", str(HERE))
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 45
    assert "failed" not in done.stdout
    assert "NOT RUN" not in done.stdout


FACTS = {
    "torch.empty(3, pin_memory=True).copy_(x, non_blocking=True)": "[nan, nan, nan]",
    "y = torch.empty(3, pin_memory=True).copy_(x, non_blocking=True); torch.cuda.synchronize(); y": "[1.0, 1.0, 1.0]",
    "with torch.cuda.graph(g): x.add_(1)\nx": "[1.0, 1.0, 1.0]",
    "with torch.cuda.graph(g): x.add_(1)\ng.replay(); g.replay(); x": "[3.0, 3.0, 3.0]",
    "with torch.cuda.graph(g): x.add_(float(x.sum()))\nx": "failed due to a previous error during capture",
    "y = x + 1\nwith torch.cuda.graph(g): x.add_(y)\n"
    "del y; z = torch.full((3,), 5.0, device='cuda'); g.replay(); x": "[6.0, 6.0, 6.0]",  # what was given away is read
    "torch.manual_seed(1); y = torch.rand(3, device='cuda'); torch.manual_seed(1)\n"
    "y == torch.rand(3, device='cuda')": "[True, True, True]",
    "y = torch.rand(3, device='cuda'); y == torch.rand(3, device='cuda')": "[False, False, False]",
    "x": "[1.0, 1.0, 1.0]",
}
"""Code, the last line of which is a tensor, and what that holds, or what is raised."""
EACH = """
import arithmetic, json, sys, torch
def outcome(code):
    first, _, last = code.replace("; ", "\\n").rpartition("\\n")
    names = {"torch": torch, "x": torch.ones(3, device="cuda"), "g": torch.cuda.CUDAGraph()}
    try:
        exec(first, names)
        return str(eval(last, names).tolist())
    except RuntimeError as error:
        return str(error)
told = [outcome(code) for code in json.loads(sys.argv[1])]
told.append(str(arithmetic.left_hollow()))
x = torch.ones(3, device="cuda")
torch._masked_scale(x, x.byte(), 2.0)  # of which the CPU has no kernel
print(json.dumps([*told, str(arithmetic.left_hollow())]))
"""


def test_the_hollow_gpu_computes_as_a_gpu_is_asked_to(hollow) -> None:
    *facts, computed, not_computed = json.loads(run(hollow, "-c", EACH, json.dumps([*FACTS])).stdout)
    for said, (code, expected) in zip(facts, FACTS.items(), strict=True):
        assert expected in said, code
    assert computed == "[]"
    assert "masked_scale" in not_computed
