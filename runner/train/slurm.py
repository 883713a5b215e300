"""Shares of a study as jobs of a Slurm: written down, submitted, and what became of them. The one door to submitit.

A first job settles how each group trains (share 0 of n); an array of tasks, which waits for it, trains a share each
into a store of its own. Nobody of ours runs meanwhile. What was submitted is kept in a file beside the store; what is
true is what the shares' stores hold, and what `squeue` says. Accounting (`sacct`) is not asked: many a Slurm has none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thalweg.runner.base.errors import SetupError, StoreError, last_line
from thalweg.runner.base.whole import write_whole
from thalweg.runner.planning.shard import Shard
from thalweg.runner.study.settings import SlurmLauncher

INSTALL = "pip install 'thalweg[slurm]'; in a clone: .venv/bin/python -m pip install submitit"
ASK_SECONDS = 60.0
"""How long `squeue` may take to answer."""
STOP_SECONDS = 15.0
"""How long a task has to stop in: less than the least notice that it is given of its time limit."""
REQUEUES = 1_000
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
"""States of jobs that squeue shows for a while after their end."""


class Task:
    """What a job runs: one command. Before its time is over it is told to stop, and the job is queued again."""

    def __init__(self, command: Sequence[str], folder: str) -> None:
        self.command, self.folder = tuple(command), folder
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        notice = signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm gives it to all processes of a job
        try:
            self._process = subprocess.Popen(self.command, cwd=self.folder)
        finally:
            signal.signal(signal.SIGUSR2, notice)
        return self._process.wait()

    def checkpoint(self) -> Any:
        """Called by submitit at a time limit or a preemption: stop, and return what is to be run again."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            if not _ends(self._process.pid, STOP_SECONDS):
                self._process.kill()
        return _submitit().helpers.DelayedSubmission(Task(self.command, self.folder))


def _ends(pid: int, seconds: float) -> bool:
    """Whether a child ends within so many seconds. It is left to be reaped.

    For a handler of signals: `Popen.wait` would wait for a lock there, which the wait that was interrupted holds.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.1)
                continue
        return True
    return False


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted for a study, and the words that declare it.

    jobs: of the first one, and of each share's task. logs: the folder of what they print.
    """

    study: str
    words: tuple[str, ...]
    config_dir: str | None
    config_name: str | None
    jobs: tuple[str, ...]
    logs: str

    @property
    def shares(self) -> list[Shard]:
        """Every share, the first job's too, which is number 0."""
        return [Shard(number, len(self.jobs) - 1) for number in range(len(self.jobs))]

    def log(self, share: int) -> Path:
        """Where a share's errors and notes are."""
        return Path(self.logs) / f"{self.jobs[share]}_0_log.err"

    def states(self, queue: Mapping[str, str]) -> dict[int, str]:
        """Share -> what squeue says of its job; none of a job that has ended."""
        return {share: queue[job] for share, job in enumerate(self.jobs) if job in queue}


def require() -> None:
    """Raise SetupError without submitit, or without a Slurm."""
    if importlib.util.find_spec("submitit") is None:
        raise SetupError("launcher=slurm needs submitit, which is not installed", INSTALL)
    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        text = "launcher=slurm needs sbatch and squeue, which are not on PATH"
        raise SetupError(text, "type this where you submit jobs; elsewhere: --shard i/n")


def submit(
    launcher: SlurmLauncher, shares: int, study: str, words: Sequence[str], flags: Sequence[str], store: Path
) -> tuple[tuple[str, ...], Path]:
    """Submit the first job and the array that waits for it; return the ids of all and the folder of their logs.

    words: what declares the study. flags: what else follows the verb.
    """
    folder, logs = Path.cwd(), (store.parent / "slurm" / study).absolute()
    logs.mkdir(parents=True, exist_ok=True)

    def task(share: int) -> Task:
        share_flags = ("--shard", f"{share}/{shares}", "--store", str(store.absolute()))
        inner = [*_without_launcher(words), *_within(launcher), *flags, *share_flags]
        return Task((sys.executable, "-P", "-m", "thalweg", "sweep", *inner), str(folder))

    with _refusals():
        first = _executor(launcher, logs, f"{study}: how", None).submit(task(0))
    try:
        with _refusals():
            array = _executor(launcher, logs, study, first.job_id)
            with array.batch():
                tasks = [array.submit(task(share)) for share in range(1, shares + 1)]
    except BaseException:
        first.cancel()
        raise
    return (first.job_id, *(each.job_id for each in tasks)), logs


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what sbatch refuses into one sentence."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        said = error.output.decode() if error.output else str(error)
    except _submitit().core.utils.FailedJobError as error:
        said = str(error)
    else:
        return
    why = last_line(said).removeprefix("sbatch: error: ")
    hint = "nothing was submitted; see: sinfo, and for the largest array: scontrol show config | grep MaxArraySize"
    raise SetupError(f"sbatch refused the jobs: {why}", hint)


def queue() -> dict[str, str]:
    """Job or task of an array -> its state, of all that are in the queue."""
    command = ("squeue", "--noheader", "--array", "--me", "--format=%i|%T")
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        why = last_line(getattr(error, "stderr", "") or str(error))
        raise SetupError(f"squeue does not answer: {why}", "try again, or see: sinfo") from error
    pairs = (line.split("|") for line in said.stdout.splitlines() if "|" in line)
    return {job: state for job, state in pairs if state not in OVER}


def counted(states: Mapping[int, str]) -> str:
    """`3 running, 5 pending`."""
    return ", ".join(f"{n} {state.lower()}" for state, n in sorted(Counter(states.values()).items()))


def remember(submission: Submission, store: Path) -> None:
    """Keep what was submitted, in place of an earlier submission of the study."""
    kept = {**_kept(store), submission.study: asdict(submission)}
    write_whole(_file(store), json.dumps(kept, indent=1).encode())


def remembered(store: Path, study: str) -> Submission | None:
    """Return what was submitted last for a study; None where nothing was."""
    found = _kept(store).get(study)
    try:
        return Submission(**{**found, "words": tuple(found["words"]), "jobs": tuple(found["jobs"])}) if found else None
    except (TypeError, KeyError) as error:
        raise StoreError(f"{_file(store)} is damaged: {error}", "remove it, and merge the shares by hand") from error


def studies(store: Path) -> list[str]:
    """Names of the studies that were submitted."""
    return sorted(_kept(store))


def _kept(store: Path) -> dict[str, Any]:
    file = _file(store)
    try:
        found = json.loads(file.read_text()) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}", "remove it, and merge the shares by hand") from error
    return found if isinstance(found, dict) else {}


def _file(store: Path) -> Path:
    return store.with_name(f"{store.stem}.slurm.json")


def _without_launcher(words: Sequence[str]) -> list[str]:
    settled = ("launcher=", "launcher.", "tracker=", "tracker.")
    return [word for word in words if not word.lstrip("+~").startswith(settled)]


def _within(launcher: SlurmLauncher) -> list[str]:
    """What says, within a task, how it trains its share."""
    workers = launcher.workers or (None if launcher.gpus else launcher.cpus)
    said = {"workers": workers, "checkpoint_seconds": launcher.checkpoint_seconds}
    shown = [f"launcher.{key}={'null' if value is None else f'{value:g}'}" for key, value in said.items()]
    return ["launcher=local", *shown, "tracker=none"]


def _executor(launcher: SlurmLauncher, logs: Path, name: str, after: str | None) -> Any:
    executor = _submitit().SlurmExecutor(folder=logs, max_num_timeout=REQUEUES)
    more = {"requeue": True, **({"dependency": f"afterany:{after}"} if after else {})}
    optional = {"partition": launcher.partition, "account": launcher.account, "mem": launcher.memory}
    executor.update_parameters(
        job_name=name,
        time=launcher.minutes,
        cpus_per_task=launcher.cpus,
        signal_delay_s=min(90, launcher.minutes * 20),
        setup=list(launcher.setup),
        stderr_to_stdout=False,
        additional_parameters=more,
        **({"gpus_per_node": launcher.gpus} if launcher.gpus else {}),
        **{key: value for key, value in optional.items() if value is not None},
    )
    return executor


def _submitit() -> Any:
    import submitit

    return submitit
