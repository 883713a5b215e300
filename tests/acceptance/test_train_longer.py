"""A trial trained on from 600 to 1,200 steps, killed on the way and gone on with: the bits of one trained at once."""

from __future__ import annotations

import os
import signal
import time

import pytest
from desk import Desk

WORDS = (
    "study.name=long", "optimizer.lr=0.001,0.01", "seed=0..1", "schedule=constant", "schedule.warmup=30", "keep=all",
    "launcher.workers=1", "launcher.checkpoint_seconds=0.01", "tracker=none",
)  # fmt: skip


def killed_on_the_way(desk: Desk, *words: str) -> None:
    """SIGKILL a sweep once a checkpoint of it is there."""
    sweep = desk.start("sweep", *words)
    deadline = time.monotonic() + 120
    while not list(desk.checkpoints.glob("*.safetensors")) and sweep.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if sweep.poll() is None:
        os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    assert sweep.returncode == -signal.SIGKILL


def of_1200(desk: Desk) -> list[tuple]:
    metrics = "SELECT group_concat(name || value) FROM (SELECT * FROM metrics WHERE trial = t.seq ORDER BY name)"
    series = "SELECT group_concat(name || quote(steps) || quote(points)) FROM (SELECT * FROM series WHERE trial = t.seq"
    where = "json_extract(config, '$.budget.steps') = 1200"
    return desk.query(
        f"SELECT id, weight_hash, ({metrics}), ({series} ORDER BY name)) FROM trials t WHERE {where} ORDER BY id"
    )


@pytest.mark.long
@pytest.mark.parametrize("engine", ["traced", pytest.param("loop", marks=pytest.mark.slow)])
def test_killed_and_gone_on_with_it_is_what_it_would_have_been_at_once(desks, desk: Desk, engine: str) -> None:
    words, once = (*WORDS, f"engine={engine}"), desks(f"once-{engine}")
    killed_on_the_way(desk, "budget.steps=600", *words)
    desk.thalweg("sweep", "budget.steps=600", *words)
    assert len(list(desk.store.with_suffix(".weights").glob("*-600-*"))) == 4
    killed_on_the_way(desk, "budget.steps=1200", *words)
    said = desk.thalweg("sweep", "budget.steps=1200", *words).stderr
    assert "go on from a checkpoint at step" in said
    once.thalweg("sweep", "budget.steps=1200", *words)
    assert of_1200(desk) == of_1200(once)
    assert len(of_1200(desk)) == 4
    trial_id = of_1200(desk)[0][0]
    assert "MATCH" in desk.thalweg("replay", trial_id).stdout
