"""Sharded parameters (DTensor) train as whole ones, and pieces of a flat vector are refused where shapes matter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thalweg.optim import SAM, AdamW, Lion, Muon, SGDMomentum

PROGRAM = Path(__file__).with_name("two_processes.py")


@pytest.mark.long
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_shards_in_two_processes_train_as_the_whole_in_one():
    done = subprocess.run([sys.executable, "-P", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 27
    # Products in shards round in another order; Newton–Schulz lifts small singular values, and with them the noise.
    tolerance = {name: 2e-5 if "Muon" in name else 2e-6 for name in found}
    assert {name: case for name, case in found.items() if not case["off"] < tolerance[name] < case["moved"]} == {}


def flat_shard():
    theta = torch.nn.Parameter(torch.ones(6))
    theta._fsdp_flattened = True  # type: ignore[attr-defined]  # as FullyShardedDataParallel marks them
    return theta


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Muon(p),
        lambda p: AdamW(p, decay_on="weights"),
        lambda p: SAM(SGDMomentum(p)),
        lambda p: SAM(torch.optim.SGD(p)),
    ],
)
def test_pieces_of_a_flat_vector_are_refused_where_shapes_or_norms_matter(make):
    with pytest.raises(ValueError, match=r"FullyShardedDataParallel.* use fully_shard"):
        make([flat_shard()])
    optimizer = make([torch.nn.Parameter(torch.ones(6))])
    with pytest.raises(ValueError, match="use fully_shard"):
        optimizer.add_param_group({"params": [flat_shard()]})
    assert len(optimizer.param_groups) == 1


def test_pieces_of_a_flat_vector_train_where_every_element_moves_by_itself():
    theta = flat_shard()
    theta.grad = torch.ones(6)
    Lion([theta], lr=0.1).step()
    assert theta.tolist() == pytest.approx([0.9] * 6)
