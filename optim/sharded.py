"""Parameters that lie in shards over several processes, handed to a rule as plain tensors. It knows no rule.

A DTensor (`fully_shard`, tensor parallel) gives copies where a plain tensor gives views: what is written into its
`view(-1)` or `diagonal()` is lost. So a rule is given the shard of this process where every element moves by itself,
and else the whole tensor, of which each process keeps its shard. torch.distributed is imported by whoever shards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

FLAT_SHARD = "a piece of FullyShardedDataParallel's flat vector, which has lost its shape; use fully_shard instead"


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor."""
    return hasattr(tensor, "to_local")


def is_flat_shard(tensor: Tensor) -> bool:
    """Whether it is what `FLAT_SHARD` says."""
    flat: bool = getattr(tensor, "_fsdp_flattened", False)
    return flat


def locals_of(theta: Any, *others: Any) -> list[Tensor]:
    """Return this process's shards of theta and of tensors of its shape, all cut as theta is."""
    if not is_sharded(theta):
        return [theta, *others]
    cut = (theta.device_mesh, theta.placements)
    return [(t if t.placements == theta.placements else t.redistribute(*cut)).to_local() for t in (theta, *others)]


def whole(tensor: Any) -> Tensor:
    """Return all of a tensor, gathered from every process if it is sharded."""
    gathered: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return gathered


def keep_shards_(tensors: Iterable[Any], wholes: Iterable[Tensor]) -> None:
    """Write into each sharded tensor its own part of the whole beside it."""
    from torch.distributed.tensor import DTensor, Replicate

    for tensor, everything in zip(tensors, wholes, strict=True):
        mesh = tensor.device_mesh
        everywhere = DTensor.from_local(everything, mesh, [Replicate()] * mesh.ndim, run_check=False)
        tensor.to_local().copy_(everywhere.redistribute(mesh, tensor.placements).to_local())


def norm_of(shard: Tensor, theta: Any, dtype: torch.dtype) -> Tensor:
    """Return the Euclidean norm of all of a tensor, of which `shard` is cut as theta is."""
    if not is_sharded(theta):
        alone: Tensor = torch.linalg.vector_norm(shard, dtype=dtype)
        return alone
    from torch.distributed.tensor import DTensor

    shape = {"shape": theta.shape, "stride": theta.stride()}
    tensor = DTensor.from_local(shard, theta.device_mesh, theta.placements, run_check=False, **shape)
    everywhere: Tensor = torch.linalg.vector_norm(tensor, dtype=dtype)
    return whole(everywhere)
