"""plan --probe: a child times what would train, stores nothing, and whatever becomes of it the plan is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing.connection import Connection

import pytest

from thalweg.runner import page
from thalweg.runner.planning.plan import Plan
from thalweg.runner.terminal.plan import probed_lines
from thalweg.runner.train import probe
from thalweg.runner.train.probe import Timed, probed

WORDS = (
    "optimizer=sgd",
    "optimizer.lr=0.1,0.2,0.3",
    "optimizer.momentum=0.5",
    "model.hidden=[8],[9]",
    "budget.steps=50",
)


@pytest.fixture(scope="module")
def settings():
    return page.declare(*WORDS).settings


@pytest.fixture(scope="module")
def plan() -> Plan:
    return page.plan(page.declare(*WORDS).study)


def dies(pipe: Connection, asks: object, device: str) -> None:
    """A child that says one thing, and ends with code 9."""
    pipe.send(Timed(2.0, 1.0, 4.0, 1000))
    pipe.send("a model of yours raised")
    os._exit(9)


def test_groups_that_were_timed_are_added_up_and_the_others_are_not_known(plan, settings, monkeypatch) -> None:
    one = Timed(2.0, 1.0, 4.0, 1000)
    monkeypatch.setattr(probe, "_heard", lambda asks, device, seconds: ([one, None], ["not timed: boom"]))
    cost, said = probed(plan, settings)
    assert cost is not None
    assert (cost.seconds, cost.fastest, cost.slowest, cost.unknown, cost.peak_bytes) == (6.0, 3.0, 12.0, 3, 1000)
    lines = probed_lines(plan, cost, said)
    assert lines[0].startswith("about 6.0 s of one core (3.0 s to 12 s, by steps timed just now)")
    assert "of 3 trials none like them could be timed" in lines[0]
    assert lines[1:] == ["not timed: boom"]
    monkeypatch.setattr(probe, "_heard", lambda asks, device, seconds: ([None, None], ["a", "b"]))
    assert probed(plan, settings) == (None, ["a", "b"])


def test_a_child_that_ends_early_leaves_what_it_said(plan, settings, monkeypatch) -> None:
    monkeypatch.setattr(probe, "_child", dies)
    heard, said = probe._heard([None, None, None], "cpu", 100.0)
    assert heard == [Timed(2.0, 1.0, 4.0, 1000), None]
    assert said == ["not timed: a model of yours raised", "not timed: the process that does ended with code 9"]


def test_a_child_that_has_no_time_is_ended(plan, settings) -> None:
    cost, (said,) = probed(plan, settings, seconds=0.0)
    assert cost is None
    assert said == "not timed: 2 of 2 groups, after 0 s"


PROGRAM = """
import sys
from thalweg.runner import page
from thalweg.runner.train.probe import probed
if __name__ == "__main__":
    declared = page.declare(*sys.argv[1:])
    cost, said = probed(page.plan(declared.study), declared.settings)
    assert "torch" not in sys.modules
    print(cost.seconds > 0, cost.fastest <= cost.seconds <= cost.slowest, cost.unknown, cost.peak_bytes > 1e7, said)
"""


@pytest.mark.long
def test_a_real_child_times_every_group_and_leaves_nothing_behind(tmp_path) -> None:
    (tmp_path / "p.py").write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, "-P", "p.py", *WORDS, "engine.device=cpu"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.stdout == "True True 0 True []\n", ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["p.py"]
