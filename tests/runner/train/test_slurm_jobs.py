"""Jobs of a Slurm, without one: what is kept of a submission, what a task runs, and how squeue is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest

from thalweg.runner.base.errors import SetupError, StoreError
from thalweg.runner.study.settings import SlurmLauncher
from thalweg.runner.train import slurm

LAUNCHER = SlurmLauncher(
    name="slurm",
    workers=None,
    checkpoint_seconds=30,
    jobs=2,
    minutes=10,
    cpus=4,
    gpus=0,
    memory=None,
    partition=None,
    account=None,
    setup=(),
)
FOUND = slurm.Submission("s", ("smoke", "launcher=slurm"), "conf", None, ("7", "8_0", "8_1"), "/logs")


def test_what_was_submitted_is_found_again_study_by_study(tmp_path) -> None:
    store = tmp_path / "thalweg.sqlite"
    assert (slurm.remembered(store, "s"), slurm.studies(store)) == (None, [])
    slurm.remember(FOUND, store)
    other = slurm.Submission("t", ("coupling",), None, None, ("9", "10"), "/logs")
    slurm.remember(other, store)
    assert (slurm.remembered(store, "s"), slurm.remembered(store, "t")) == (FOUND, other)
    assert slurm.studies(store) == ["s", "t"]
    (tmp_path / "thalweg.slurm.json").write_text('{"s": {"study"')
    with pytest.raises(StoreError, match="cannot be read"):
        slurm.remembered(store, "s")


def test_a_job_is_a_share_by_its_place_whether_array_or_single() -> None:
    assert FOUND.states({"8_1": "RUNNING", "7": "PENDING", "88": "RUNNING", "8": "RUNNING"}) == {
        0: "PENDING",
        2: "RUNNING",
    }
    assert [(each.number, each.of) for each in FOUND.shares] == [(0, 2), (1, 2), (2, 2)]
    assert str(FOUND.log(2)) == "/logs/8_1_0_log.err"
    assert slurm.counted({0: "PENDING", 1: "RUNNING", 2: "RUNNING"}) == "1 pending, 2 running"


def test_squeues_jobs_that_are_over_are_not_in_the_queue(tmp_path, monkeypatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nprintf '7|COMPLETED\\n8_0|RUNNING\\n8_1|PENDING\\n8_2|TIMEOUT\\n'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm.queue() == {"8_0": "RUNNING", "8_1": "PENDING"}
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(SetupError, match=r"squeue does not answer: .*Unable to contact"):
        slurm.queue()


def test_a_tasks_words_train_there_whatever_launcher_and_tracker_were_typed() -> None:
    typed = ("coupling", "launcher=slurm", "launcher.jobs=9", "+launcher.setup=[x]", "tracker=wandb", "seed=0..2")
    assert slurm._without_launcher(typed) == ["coupling", "seed=0..2"]
    said = ["launcher=local", "launcher.workers=4", "launcher.checkpoint_seconds=30", "tracker=none"]
    assert slurm._within(LAUNCHER) == said


def test_a_task_is_stopped_at_its_time_limit_and_can_be_run_again(tmp_path, monkeypatch) -> None:
    """From a handler of signals, as submitit does it: which interrupts the wait for the same process."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'thalweg[slurm]'")
    child = (
        "import signal, sys, time\nprint('up', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit(7)"
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    task = slurm.Task((sys.executable, "-c", child), str(tmp_path))
    again: list[Any] = []
    killed: list[Any] = []
    monkeypatch.setattr(subprocess.Popen, "kill", killed.append)
    monkeypatch.setattr(slurm, "STOP_SECONDS", 30.0)

    def limit(*_) -> None:
        os.kill(task._process.pid, signal.SIGUSR2)  # as Slurm gives it to all of a job's processes
        again.append(task.checkpoint())

    before = signal.signal(signal.SIGALRM, limit)
    signal.setitimer(signal.ITIMER_REAL, 3)
    try:
        assert task() == 7
    finally:
        signal.signal(signal.SIGALRM, before)
    assert killed == []
    (delayed,) = again
    assert (delayed.function.command, delayed.function.folder) == (task.command, task.folder)


class Refusing:
    """An executor whose array sbatch refuses; the job before it was taken."""

    job_id = "7"

    def __init__(self, after: str | None) -> None:
        self.after, self.cancelled = after, False

    def batch(self) -> Any:
        return nullcontext()

    def submit(self, task: slurm.Task) -> Refusing:
        if self.after:
            said = b"sbatch: error: Batch job submission failed: Invalid job array specification"
            raise subprocess.CalledProcessError(1, "sbatch", said)
        return self

    def cancel(self) -> None:
        self.cancelled = True


def test_where_the_array_is_refused_the_first_job_is_cancelled(tmp_path, monkeypatch) -> None:
    made: list[Refusing] = []

    def executor(launcher: SlurmLauncher, logs: Any, name: str, after: str | None) -> Refusing:
        made.append(Refusing(after))
        return made[-1]

    monkeypatch.setattr(slurm, "_executor", executor)
    with pytest.raises(SetupError, match="sbatch refused the jobs: Batch job submission failed: Invalid job array"):
        slurm.submit(LAUNCHER, 2, "s", ("smoke",), (), tmp_path / "thalweg.sqlite")
    assert [each.cancelled for each in made] == [True, False]


def test_without_submitit_or_slurm_it_says_what_is_missing(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="submitit, which is not installed"):
        slurm.require()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match="not on PATH"):
        slurm.require()


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, thalweg.runner.train.slurm; sys.exit('submitit' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
