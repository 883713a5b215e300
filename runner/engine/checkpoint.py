"""A cohort in the middle of its training as plain arrays and facts, to be written to disk by somebody else.

It holds everything: no generator's state is needed, since batches and random numbers are functions of
(seed, step). Going on from it gives the bits of a training that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.runner.engine.record import Record
from thalweg.runner.engine.state import State

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """arrays: name -> numpy array, as safetensors takes them; facts: what JSON takes, `step` and `trials` in it.

    facts: format, step (the next optimizer step), trials (ids, in the cohort's order), executor, layout,
    evaluations (what `Cohort` holds), steps, evaluated (step numbers), hashes (place -> weight hash).
    arrays: "state/…" the lanes' tensors; "lane_of", "diverged_step" `[N]`, "batch_loss" `[step, N]`,
    "step/…" `[step, N]`, "val/…" `[measurements, N]`.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def pack(facts: Mapping[str, Any], state: State, record: Record) -> Checkpoint:
    """A checkpoint of this state and record; the arrays are copies."""
    arrays = {f"state/{name}": tensor.detach().cpu().numpy().copy() for name, tensor in state.tensors().items()}
    arrays |= {
        "lane_of": record.lane_of.astype(np.int64),
        "diverged_step": record.diverged_step_N.astype(np.int64),
        "batch_loss": record.batch_loss_TN[: state.step].copy(),
    }
    arrays |= {f"step/{name}": values_TN[: state.step].copy() for name, values_TN in record.scalars.items()}
    arrays |= {f"val/{name}": np.stack(rows) for name, rows in record.val.items()}
    known = {
        "format": FORMAT,
        "step": state.step,
        "steps": len(record.batch_loss_TN),
        "evaluated": list(record.evaluated),
        "hashes": {str(place): digest for place, digest in record.hashes.items()},
    }
    return Checkpoint(arrays, {**facts, **known})


def unpack(
    checkpoint: Checkpoint,
    facts: Mapping[str, Any],
    like: State,
    trained: Callable[[np.ndarray], np.ndarray] = lambda row: row,
) -> tuple[State, Record]:
    """The state and record of a checkpoint; `like` is a state of the same structure, whose device is used.

    trained: of rows of all parameters those of the ones that train; checkpoints of before have all.
    Raises ValueError for a checkpoint of another cohort, executor, layout or format.
    """
    for name, expected in {**facts, "format": FORMAT}.items():
        if (found := checkpoint.facts.get(name)) != expected:
            raise ValueError(f"the checkpoint's {name} is {found}; this cohort's is {expected}")
    arrays, known = checkpoint.arrays, checkpoint.facts
    device = like.theta.device
    held = {name: arrays[f"state/{name}"] for name in like.tensors()}
    held |= {name: trained(rows) for name, rows in held.items() if name == "theta" or name.startswith("slot/")}
    tensors: dict[str, Tensor] = {name: torch.tensor(array, device=device) for name, array in held.items()}
    record = Record(
        lane_of=np.array(arrays["lane_of"]),
        batch_loss_TN=np.full((known["steps"], len(known["trials"])), np.nan),
        diverged_step_N=np.array(arrays["diverged_step"]),
        evaluated=list(known["evaluated"]),
        val={
            name.removeprefix("val/"): list(np.array(rows)) for name, rows in arrays.items() if name.startswith("val/")
        },
        hashes={int(place): digest for place, digest in known["hashes"].items()},
    )
    record.batch_loss_TN[: known["step"]] = arrays["batch_loss"]
    for name in (name for name in arrays if name.startswith("step/")):
        record.scalars[name.removeprefix("step/")] = whole = np.full_like(record.batch_loss_TN, np.nan)
        whole[: known["step"]] = arrays[name]
    return like.like(tensors, known["step"]), record


def regrouped(facts: Mapping[str, Any], parts: Sequence[Checkpoint]) -> Checkpoint:
    """A checkpoint of the cohort that `facts` tell of, its trials taken from the checkpoints of others.

    All are of one step, and hold each of its trials alive. Spare lanes are left behind.
    """
    place = {trial: (part, place) for part in parts for place, trial in enumerate(part.facts["trials"])}
    found = [place[trial] for trial in facts["trials"]]
    lanes = [(part, part.arrays["lane_of"].tolist().index(place)) for part, place in found]
    arrays: dict[str, np.ndarray] = {"lane_of": np.arange(len(found)), "diverged_step": np.full(len(found), -1)}
    for name in (name for name in parts[0].arrays if all(name in part.arrays for part in parts)):
        if name.startswith("state/"):
            arrays[name] = np.stack([part.arrays[name][lane] for part, lane in lanes])
        elif name == "batch_loss" or name.startswith(("val/", "step/")):
            arrays[name] = np.stack([part.arrays[name][:, place] for part, place in found], axis=1)
    known = {name: parts[0].facts[name] for name in ("format", "step", "steps", "evaluated")}
    return Checkpoint(arrays, {**facts, **known, "hashes": {}})
