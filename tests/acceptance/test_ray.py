"""A study on a real Ray cluster of several nodes, each a raylet of its own on this machine: killed, joined, gone on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from desk import Desk

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed: pip install 'thalweg[ray]'"),
]
STUDY = ("coupling", "engine=traced", "tracker=none")
"""2,592 trials; the executor is given, since bits follow it and a probe is a matter of time."""


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster of one node with room for one worker, to which others are added."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


def added(nodes: Any, number: int) -> None:
    for _ in range(number):
        nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()


def killed(node: Any) -> None:
    """End a node as a power cut would."""
    for processes in node.all_processes.values():
        for each in processes:
            os.kill(each.process.pid, signal.SIGKILL)


def when(desk: Desk, sweep: subprocess.Popen[str], trials: int) -> None:
    """Wait until so many trials are stored."""
    until = time.monotonic() + 1200
    while not desk.is_training() or len(desk.hashes()) < trials:
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("more", [("budget.steps=60",), ()], ids=["short", "whole"])
def test_a_node_killed_half_way_costs_no_trial_and_no_bit_of_the_coupling_study(nodes, desks, more) -> None:
    added(nodes, 2)
    here, there = desks("here"), desks("there")
    here.thalweg("sweep", *STUDY, *more, timeout=1200)
    sweep = there.start("sweep", *STUDY, *more, "launcher=ray", f"launcher.address={nodes.address}")
    when(there, sweep, 2592 // 2)
    killed(next(iter(nodes.worker_nodes)))
    _, said = sweep.communicate(timeout=1200)
    assert sweep.returncode == 0, said
    assert "a worker's machine is gone" in said
    assert_each_ended_once(there)
    assert there.hashes() == here.hashes()


def assert_each_ended_once(desk: Desk) -> None:
    ended = desk.query("SELECT trial, count(*) FROM cohort_trials WHERE outcome IS NOT NULL GROUP BY trial")
    assert {times for _, times in ended} == {1}
    assert len(ended) == 2592
    assert desk.query("SELECT count(*) FROM claims") == [(0,)]


def test_a_node_that_joins_a_sweep_is_given_work_and_a_driver_that_is_killed_is_followed_by_another(
    nodes, desk
) -> None:
    words = (*STUDY, "budget.steps=300", "launcher=ray", f"launcher.address={nodes.address}")
    sweep = desk.start("sweep", *words, "--log", "log.jsonl")
    when(desk, sweep, 1)
    added(nodes, 1)
    slots: dict[str, Any] = {}
    until = time.monotonic() + 600
    while len(slots) < 2:
        assert time.monotonic() < until, slots
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.5)
        said = [json.loads(line) for line in (desk.folder / "log.jsonl").read_text().splitlines(keepends=False)[:-1]]
        slots = {each["slot"]: each for each in said if each.get("kind") == "Give"}
    when(desk, sweep, 1000)
    sweep.kill()
    sweep.communicate()
    kept = desk.hashes()
    desk.thalweg("sweep", *words, timeout=1200)
    assert_each_ended_once(desk)
    assert kept.items() <= desk.hashes().items()
