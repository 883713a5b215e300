"""A study in jobs of a real Slurm, which the tests start on this machine: submit, leave, collect."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from desk import ROOT, Desk

WORDS = ("optimizer=sgd", "optimizer.lr=0.01..0.1:8log", "seed=0..2", "budget.steps=200", "model.hidden=[8]",
         "engine=vmap", "study.name=s", "tracker=none")  # fmt: skip
LONG = ("optimizer=sgd", "optimizer.lr=0.01,0.02", "budget.steps=120000", "model.hidden=[8]", "engine=loop",
        "study.name=s", "tracker=none")  # fmt: skip
SLURM = ("launcher=slurm", "launcher.jobs=2", "launcher.minutes=5")
HERE = find_spec("submitit") and shutil.which("slurmctld") and shutil.which("munged") and os.geteuid() == 0

pytestmark = pytest.mark.skipif(
    not HERE, reason="needs submitit, Debian's slurm-wlm and munge, and root: they start a Slurm"
)


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([ROOT / "scripts/slurm", "start", folder], check=True, timeout=60)
    yield str(folder / "slurm.conf")
    subprocess.run([ROOT / "scripts/slurm", "stop", folder], check=False, timeout=60)


@pytest.fixture
def desk(conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("SLURM_CONF", conf)
    return Desk(tmp_path)


def queued() -> list[str]:
    return subprocess.run(["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True).stdout.split()


def waited(until: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, queued()
        time.sleep(0.5)


def test_submit_leave_collect_gives_what_a_sweep_here_gives(desk, tmp_path) -> None:
    assert "submitted 24 trials in 2 tasks" in desk.thalweg("sweep", *WORDS, *SLURM, "--submit").stderr
    assert "24 missing" in desk.thalweg("collect", "s", code=3).stderr
    desk.thalweg("collect", "--wait", timeout=400)
    here = Desk(tmp_path / "here")
    here.folder.mkdir()
    here.thalweg("sweep", *WORDS)
    assert desk.hashes() == here.hashes()
    assert len(desk.hashes()) == 24
    again = desk.thalweg("sweep", *WORDS, *SLURM, "--submit")
    assert "nothing to submit: 24 of 24 trials are done" in again.stderr


def cancelled(share: Desk) -> None:
    subprocess.run(["scancel", next(each for each in queued() if each.endswith("_0"))], check=True)


def killed(share: Desk) -> None:
    ((pid,),) = share.query("SELECT pid FROM drivers")
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [cancelled, killed])
def test_a_task_that_ends_early_loses_nothing_that_was_stored_and_the_rest_is_submitted_again(desk, end) -> None:
    words = (*WORDS[:3], "budget.steps=2000", *WORDS[4:], "engine.width=2")
    desk.thalweg("sweep", *words, *SLURM, "--submit")
    share = Desk(desk.folder, store_name="results/thalweg.1-of-2.sqlite")
    waited(lambda: share.is_training() and share.hashes())
    end(share)
    waited(lambda: not queued())
    found = desk.thalweg("collect", "s", code=3).stderr
    assert "missing; its job has ended: results/slurm/s/" in found
    kept = desk.hashes()
    assert 0 < len(kept) < 24
    desk.thalweg("sweep", *words, *SLURM, "--submit")
    desk.thalweg("collect", "--wait", timeout=400)
    assert len(desk.hashes()) == 24
    assert kept.items() <= desk.hashes().items()


@pytest.mark.slow
def test_a_time_limit_puts_a_task_in_the_queue_again_until_its_share_is_done(desk) -> None:
    """Of a minute, which is the least that Slurm knows: some 40 s of training each time, and two minutes of waiting."""
    words = (*LONG, "launcher=slurm", "launcher.jobs=1", "launcher.minutes=1", "launcher.partition=short")
    desk.thalweg("sweep", *words, "launcher.checkpoint_seconds=2", "--submit")
    desk.thalweg("collect", "s", "--wait", timeout=1500)
    logs = "".join(each.read_text() for each in (desk.folder / "results/slurm/s").glob("*_0_log.err"))
    assert "go on from a checkpoint" in logs
    assert len(desk.hashes()) == 2
