"""A user's broken model fails its own trials with its own words; the sweep goes on, and its exit code says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import Desk

NETS = """\
import sys
from torch import nn

CALLS = []


class Sound(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.line = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.line(x.flatten(1))


class Raises(Sound):
    def forward(self, x):
        CALLS.append(1)
        if len(CALLS) > 30:
            raise RuntimeError("my layer is broken")
        return super().forward(x)


class Leaves(Raises):
    def forward(self, x):
        CALLS.append(1)
        if len(CALLS) > 30:
            sys.exit("my own check failed")
        return super().forward(x)
"""
WORDS = ("model=target", "study.name=mine", "budget.steps=60", "schedule.warmup=0", "tracker=none")


@pytest.fixture
def project(desk: Desk) -> Desk:
    Path(desk.folder, "nets.py").write_text(NETS)
    Path(desk.folder, "thalweg.yaml").write_text("code: [nets]\n")
    return desk


@pytest.mark.parametrize(("name", "words"), [("Raises", "my layer is broken"), ("Leaves", "my own check failed")])
def test_a_model_broken_for_all_stops_early_with_its_reason(project: Desk, name: str, words: str) -> None:
    grid = ("optimizer.lr=0.001..0.1:40log", "launcher.workers=1", "engine=loop")
    done = project.thalweg("sweep", *WORDS, f"model._target_=nets.{name}", *grid, code=3)
    said = " ".join(done.stderr.split())
    assert words in said
    assert "the other 24 trials are not tried" in said
    assert project.query("SELECT outcome, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [(None, 24), ("failed", 16)]
    for (error,) in project.query("SELECT DISTINCT error FROM trials WHERE outcome = 'failed'"):
        assert "nets.py" in error
        assert words in error


def test_a_broken_model_beside_a_sound_one_costs_the_sound_one_nothing(project: Desk) -> None:
    # A recorded step (traced, which auto would choose) does not run the model's Python again, so it could not raise.
    grid = ("model._target_=nets.Raises,nets.Sound", "optimizer.lr=0.001..0.1:4log", "engine=vmap")
    project.thalweg("sweep", *WORDS, *grid, code=3)
    assert project.query("SELECT outcome, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("failed", 4),
        ("finished", 4),
    ]
