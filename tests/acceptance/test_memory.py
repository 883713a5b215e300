"""A sweep that really runs out of memory: its worker may have no more than some bytes beside what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import Desk

NETS = """\
import os
import resource
from pathlib import Path

from torch import nn

if "ROOM" in os.environ:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + int(os.environ["ROOM"]),) * 2)


class Wide(nn.Sequential):
    def __init__(self, in_features, num_classes, width=8192):
        super().__init__(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes))
"""
WORDS = (
    *("model=target", "model._target_=nets.Wide", "study.name=mine", "budget.steps=3", "schedule.warmup=0"),
    *("optimizer.lr=0.001..0.1:8log", "launcher.workers=1", "engine=vmap", "tracker=none"),
)
ROOM = 300_000_000
"""Bytes. A lane takes some 70 million, and the data and one gradient some 40 million beside it."""


def swept(desk: Desk, **extra: str) -> str:
    """What a sweep of a project with such a model says, in one line."""
    Path(desk.folder, "nets.py").write_text(NETS)
    Path(desk.folder, "thalweg.yaml").write_text("code: [nets]\n")
    desk.extra.update(extra)
    return " ".join(desk.thalweg("sweep", *WORDS).stderr.split())


@pytest.mark.long
def test_a_cohort_that_does_not_fit_the_memory_is_halved_and_ends_with_the_same_bits(desks) -> None:
    free, limited = desks("free"), desks("limited")
    assert "memory" not in swept(free)
    said = swept(limited, ROOM=str(ROOM))
    assert "8 trials do not fit the memory; going on with 4 at once (RuntimeError: DefaultCPUAllocator: can't" in said
    assert (len(free.hashes()), free.query("SELECT width FROM cohorts")) == (8, [(8,)])
    assert limited.hashes() == free.hashes()
