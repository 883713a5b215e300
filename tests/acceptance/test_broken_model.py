"""A user's broken model fails its own trials with its own words; the sweep goes on, and its exit code says so."""

from __future__ import annotations

import json
import re
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
PLANNED = """

class Fussy(Sound):
    def __init__(self, in_features, num_classes, width):
        super().__init__(in_features, num_classes)
        if not width:
            raise ValueError("no width")
"""
LINES = {"Raises": 20, "Leaves": 28}
WORDS = ("model=target", "study.name=mine", "budget.steps=60", "schedule.warmup=0", "tracker=none")


@pytest.fixture
def project(desk: Desk) -> Desk:
    Path(desk.folder, "nets.py").write_text(NETS)
    Path(desk.folder, "thalweg.yaml").write_text("code: [nets]\n")
    return desk


@pytest.mark.long
@pytest.mark.parametrize(("name", "words"), [("Raises", "my layer is broken"), ("Leaves", "my own check failed")])
def test_a_model_broken_for_all_stops_early_with_its_reason(project: Desk, name: str, words: str) -> None:
    grid = ("optimizer.lr=0.001..0.1:40log", "launcher.workers=1", "engine=loop")
    done = project.thalweg("sweep", *WORDS, f"model._target_=nets.{name}", *grid, code=3)
    said = " ".join(done.stderr.split())
    assert f"nets.py, line {LINES[name]}: " in said
    assert words in said
    assert "the other 24 trials are not tried" in said
    first = re.search(r"the first, trial ([0-9a-f]{8}) \(optimizer.lr=[\d.]+\), with: nets.py, line \d+: ", said)
    assert f"next: thalweg show {first[1]}" in said
    assert "recommend" not in said
    assert "refine" not in said
    assert "Traceback" in project.thalweg("show", first[1]).stdout
    assert project.query("SELECT outcome, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [(None, 24), ("failed", 16)]
    for (error,) in project.query("SELECT DISTINCT error FROM trials WHERE outcome = 'failed'"):
        assert "nets.py" in error
        assert words in error


@pytest.mark.long
def test_a_broken_model_beside_a_sound_one_costs_the_sound_one_nothing(project: Desk) -> None:
    # A recorded step (traced, which auto would choose) does not run the model's Python again, so it could not raise.
    grid = ("model._target_=nets.Raises,nets.Sound", "optimizer.lr=0.001..0.1:4log", "engine=vmap")
    project.thalweg("sweep", *WORDS, *grid, code=3)
    assert project.query("SELECT outcome, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("failed", 4),
        ("finished", 4),
    ]


@pytest.mark.long
def test_a_plan_says_what_would_fail(project: Desk) -> None:
    Path(project.folder, "nets.py").write_text(f"print('loud')\n{NETS}{PLANNED}")
    words = ("model=target", "+model.width=3,0,5", "budget.steps=20", "tracker=none")
    planned = project.thalweg("plan", *words, "model._target_=nets.Fussy", code=2)
    said = " ".join(planned.stderr.split())
    assert "3 trials wanted, 0 done, 3 to train in 3 groups" in planned.stdout
    assert said.count("would fail") == 1
    assert "would fail: nets.Fussy failed: nets.py, line 37: ValueError: no width" in said
    assert "nets.Fussy: given from the data: model.in_features=64 model.num_classes=10" in said
    told = json.loads(project.thalweg("plan", *words, "model._target_=nets.Fussy", "--json", code=2).stdout)
    assert [each["text"] for each in told["models"] if each["wrong"]] == [
        "nets.Fussy failed: nets.py, line 37: ValueError: no width"
    ]
    assert "would fail" not in project.thalweg("plan", *words, "model._target_=nets.Fussy", "--no-probe").stderr
    ours = project.thalweg("plan", "model=vit", "dataset=digits", "model.patch=4", "model.heads=5", "--probe", code=2)
    assert "would fail: vit: model.width is" in " ".join(ours.stderr.split())
    assert not project.store.exists()


@pytest.mark.long
def test_of_a_sweep_where_something_trained_the_next_steps_are_shown(project: Desk) -> None:
    Path(project.folder, "nets.py").write_text(NETS + PLANNED)
    words = ("model._target_=nets.Fussy", "+model.width=3,0", "launcher.workers=1")
    said = " ".join(project.thalweg("sweep", *WORDS, *words, code=3).stderr.split())
    assert "next: thalweg recommend mine" in said
    assert re.search(r"1 trial failed, the first, trial [0-9a-f]{8} \(model.width=0\), with: nets.Fussy failed: ", said)


@pytest.mark.long
def test_a_sweep_ends_at_the_first_failure_if_asked_to_and_leaves_it_alone_if_asked_to(project: Desk) -> None:
    Path(project.folder, "nets.py").write_text(NETS + PLANNED)
    words = (*WORDS, "model._target_=nets.Fussy", "+model.width=0,3,5", "launcher.workers=1", "engine=loop")
    said = " ".join(project.thalweg("sweep", *words, "--fail-fast", code=3).stderr.split())
    assert "stopped, since 1 failed; 2 trials are not trained" in said
    assert "1 failed, 2 not tried" in said
    assert project.json("plan", *words, "--no-probe")["retry"] == 1
    left = project.json("plan", *words, "--no-probe", "--no-retry-failed")
    assert (left["to_train"], left["failed"], left["retry"]) == (2, 1, 0)
    done = project.thalweg("sweep", *words, "--no-retry-failed")
    assert "1 trial failed before, left alone" in " ".join(done.stderr.split())
    assert project.query("SELECT outcome, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("failed", 1),
        ("finished", 2),
    ]
    assert project.query("SELECT count(*) FROM cohort_trials WHERE outcome = 'failed'") == [(1,)]
