"""A program of two gloo processes that train in shards what each also trains whole; run by test_sharded.py.

Prints one JSON object: case -> the largest difference between the two ends, and how far the weights moved.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from thalweg.optim import SAM, AdamL2, AdamW, Lion, Muon, SGDMomentum

OPTIMIZERS = {
    "SGDMomentum": lambda p: SGDMomentum(p, lr=0.1, weight_decay=0.1),
    "SGDMomentum, Nesterov": lambda p: SGDMomentum(p, lr=0.1, momentum=0.9, nesterov=True, decay="coupled"),
    "AdamW": lambda p: AdamW(p, lr=0.1, decay="independent", decay_on="weights"),
    "AdamL2, AMSGrad": lambda p: AdamL2(p, lr=0.1, weight_decay=0.1, amsgrad=True),
    "Lion": lambda p: Lion(p, lr=0.01),
    "Muon": lambda p: Muon(p, lr=0.1, decay_on="weights"),
    "SAM": lambda p: SAM(SGDMomentum(p, lr=0.1, momentum=0.9), rho=0.5),
    "SAM, adaptive": lambda p: SAM(AdamW(p, lr=0.1), rho=0.5, adaptive=True),
}
# Uneven shards, none for one process, more than optim.optimizer.BLOCK elements, a kernel, and columns.
PIECES = [((5, 3), Shard(0)), ((5, 3), Shard(1)), ((1,), Shard(0)), ((4, 3), Replicate()), ((4, 3, 2, 2), Shard(1))]
PIECES += [((701, 191), Shard(0))]
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))


class Pieces(nn.Module):
    """Parameters of many shapes; its loss bends every one of them."""

    def __init__(self, mesh=None):
        super().__init__()
        whole = [torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape) for shape, _ in PIECES]
        cut = [distribute_tensor(t, mesh, [p]) if mesh else t for t, (_, p) in zip(whole, PIECES, strict=True)]
        self.parts = nn.ParameterList(cut)

    def forward(self):
        return sum((p.square() + p.sin()).mean() for p in self.parts)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 1))


def fully_sharded(mesh):
    model = network()
    fully_shard(model[0], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def tensor_parallel(mesh):
    """Matrices in shards, the gains of the LayerNorm between them plain."""
    plan = {
        "0": ColwiseParallel(output_layouts=Replicate()),
        "3": RowwiseParallel(input_layouts=Replicate()),
    }
    return parallelize_module(network(), mesh, plan)


def loss_of(model):
    return model() if isinstance(model, Pieces) else (model(X) - X[:, :1]).square().mean()


def train(model, optimizer, steps=2):
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            return loss

        optimizer.step(closure)


def weights(model):
    return [getattr(p.detach(), "full_tensor", p.detach().clone)() for p in model.parameters()]


def distance(left, right):
    return max((a - b).abs().max().item() for a, b in zip(left, right, strict=True))


def compare(alone, sharded, make):
    start = weights(alone)
    ends = []
    for model in (alone, sharded):
        train(model, make(model.parameters()))
        ends.append(weights(model))
    return {"off": distance(*ends), "moved": distance(start, ends[1])}


def resume(mesh, make):
    """Save through torch.distributed.checkpoint's state_dict and go on in a new optimizer."""
    model = fully_sharded(mesh)
    optimizer = make(model.parameters())
    train(model, optimizer)
    model.zero_grad()  # or loading would take no step to make a state
    saved, middle = get_optimizer_state_dict(model, optimizer), weights(model)
    again = make(model.parameters())
    set_optimizer_state_dict(model, again, saved)
    loading = distance(middle, weights(model))
    train(model, again)
    alone = network()
    train(alone, make(alone.parameters()), 4)
    return {"off": loading + distance(weights(alone), weights(model)), "moved": distance(middle, weights(model))}


def main(rank, meeting):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(seconds=30)
    )
    mesh, found = init_device_mesh("cpu", (2,)), {}
    for name, make in OPTIMIZERS.items():
        found[f"{name}: pieces"] = compare(Pieces(), Pieces(mesh), make)
        found[f"{name}: fully_shard"] = compare(network(), fully_sharded(mesh), make)
        found[f"{name}: tensor parallel"] = compare(network(), tensor_parallel(mesh), make)
    for name in ("SGDMomentum, Nesterov", "AdamW", "Muon"):
        found[f"{name}: resumed"] = resume(mesh, OPTIMIZERS[name])
    dist.destroy_process_group()
    if rank == 0:
        sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    with tempfile.TemporaryDirectory() as folder:
        fork = multiprocessing.get_context("fork")  # torch is imported once
        processes = [fork.Process(target=main, args=(rank, f"{folder}/meeting"), daemon=True) for rank in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        sys.exit(max(abs(process.exitcode) for process in processes))
