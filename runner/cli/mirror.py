"""The process that writes W&B runs beside training, and the one that writes the rest after it.

Both are given the store's path and read it for themselves, in transactions of their own. The first yields to all others
and ends when whoever started it ends, even by SIGKILL: its standard input closes. The second says how far it is, a JSON
object a line. A run is written whole or not at all, so both may be ended at any time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, Queue
from typing import IO, TYPE_CHECKING, Any

from thalweg.runner.base.errors import ThalwegError

if TYPE_CHECKING:
    from thalweg.runner.store import Store
    from thalweg.runner.study.settings import TrackerSettings
    from thalweg.runner.tracker import ExportResult

FIRST_SECONDS, PAUSE_SECONDS = 5.0, 2.0
"""When a sweep is first looked at, and how often: a short one is over by then, and costs nothing."""
WRITE_SECONDS, UPLOAD_SECONDS = 15.0, 3.0
"""How long files are written after the answer at most, and a server is waited for."""
PROMISED_SECONDS = 5.0
"""How long a command lasts for a server's sake, from the last file written to its end."""
ENDING_SECONDS, LEAVING_SECONDS = 0.3, 0.7
"""Of these: of a writer that has closed its end; and of this process, when it waits no more."""
WAITED_SECONDS = PROMISED_SECONDS - ENDING_SECONDS - LEAVING_SECONDS
START_SECONDS = 20.0  # for Python and wandb to be imported, from a cold disk
PROGRAM = "import sys; sys.path[:] = {path!r}; from thalweg.runner.cli.mirror import main; main()"


@dataclass(frozen=True)
class Job:
    """What to mirror. given: the tracker's settings that were typed. beside: until standard input closes."""

    store: str
    study: str
    settings: Mapping[str, Any]
    given: Sequence[str]
    beside: bool = True


def job_of(store: Store, study: str, settings: TrackerSettings, words: Sequence[str]) -> Job | None:
    """Return the job of mirroring a study of an open store; None where nobody wants W&B runs."""
    if settings.name == "none":
        return None
    from thalweg.runner.cli.export import typed
    from thalweg.runner.tracker import is_wanted

    wanted = is_wanted(settings, os.environ)
    return Job(str(store.path.resolve()), study, asdict(settings), typed(words)) if wanted else None


@contextmanager
def beside(job: Job | None) -> Iterator[None]:
    """Mirror while something trains; nothing where there is no job."""
    process = _started(job) if job else None
    try:
        yield
    finally:
        if process is not None:
            from thalweg.runner.tracker.processes import end

            end(process)


def after(job: Job, report: Callable[[str, int, int], None]) -> list[str]:
    """Write what is left, and upload it if that is asked for; return the lines to print. Ctrl-C leaves it to `sync`."""
    from thalweg.runner.tracker.processes import end

    process = _started(replace(job, beside=False))
    far = ""
    try:
        for said in _heard(process):
            if "lines" in said:
                return list(said["lines"])
            if said["what"] == "begun":
                continue
            report(said["what"], said["done"], said["total"])
            far = f" {said['done']:,}/{said['total']:,} {said['what']}"
        why = _end_of(process)
    except KeyboardInterrupt:
        why = "stopped"
    finally:
        end(process)
    named = "TensorBoard" if job.settings["name"] == "tensorboard" else "W&B"
    return [f"{named}{far}; {why}; the results are in the store; go on: thalweg sync"]


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """Why a writer says no more. One that has closed its end may still be on its way out."""
    try:
        return f"the process that writes them ended with code {process.wait(ENDING_SECONDS)}"
    except subprocess.TimeoutExpired:
        return "it takes too long"


def _started(job: Job) -> subprocess.Popen[bytes]:
    """Start a writer, out of reach of the terminal's Ctrl-C, which is for training."""
    command = [sys.executable, "-P", "-c", PROGRAM.format(path=sys.path)]
    out = subprocess.DEVNULL if job.beside else subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        process.stdin.flush()
    return process


def _heard(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """What a writer says, until it ends or is silent for longer than it may be."""
    heard: Queue[bytes] = Queue()
    assert process.stdout is not None
    threading.Thread(target=_listen, args=(process.stdout, heard), daemon=True).start()
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            line = heard.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            return
        if not line:
            return
        said = json.loads(line)
        yield said
        if said.get("what") == "begun":
            until = time.monotonic() + WRITE_SECONDS + WAITED_SECONDS
        elif said.get("done") == said.get("total"):
            until = min(until, time.monotonic() + WAITED_SECONDS)


def _listen(said: IO[bytes], heard: Queue[bytes]) -> None:
    for line in said:
        heard.put(line)
    heard.put(b"")


def main() -> None:
    """Be a writer: the job is the first line of standard input."""
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if job.beside:
        _mirror(job)
    else:
        _finish(job)


def _end_with_parent() -> None:
    """Whoever started this is gone, or wants no more of it."""
    from thalweg.runner.tracker.processes import end_all, started_by

    sys.stdin.read()
    end_all(started_by(os.getpid()))
    os._exit(0)


def _mirror(job: Job) -> None:
    """Write what is done, again and again. What goes wrong is said after training."""
    from thalweg.runner.cli.growth import Growth
    from thalweg.runner.tracker.processes import yield_to_others

    yield_to_others()
    growing = Growth(Path(job.store), job.study, _settings(job), job.given)
    seen: tuple[int, ...] = ()
    pause = FIRST_SECONDS
    while True:
        time.sleep(pause)
        begun, now = time.monotonic(), _state_of(Path(job.store))
        growing.look()
        if now != seen:
            with suppress(ThalwegError):
                _exported(job, training=True)
            seen = now
        pause = max(PAUSE_SECONDS, 4 * (time.monotonic() - begun))


def _finish(job: Job) -> None:
    from thalweg.runner.cli import growth

    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what wandb prints is not for who listens

    def say(said: Mapping[str, Any]) -> None:
        out.write(f"{json.dumps(said)}\n")

    say({"what": "begun", "done": 0, "total": 1})
    try:
        growth.clear(Path(job.store), _settings(job), job.given)
        result = _exported(job, lambda what, done, total: say({"what": what, "done": done, "total": total}))
    except ThalwegError as error:
        say({"lines": [f"no runs are written: {error.message}; go on: thalweg sync"]})
        return
    say({"lines": [*result.warnings, *([result.line] if result.worth_saying else [])]})


def _exported(
    job: Job, report: Callable[[str, int, int], None] = lambda what, done, total: None, training: bool = False
) -> ExportResult:
    from thalweg.runner.cli.export import export_stored
    from thalweg.runner.store import Store

    with Store.open(job.store) as opened:
        return export_stored(
            opened,
            job.study,
            _settings(job),
            job.given,
            training=training,
            write_seconds=WRITE_SECONDS,
            upload_seconds=None if training else UPLOAD_SECONDS,
            report=report,
        )


def _settings(job: Job) -> TrackerSettings:
    from thalweg.runner.study.settings import TrackerSettings

    return TrackerSettings(**{**job.settings, "tags": tuple(job.settings["tags"])})


def _state_of(store: Path) -> tuple[int, ...]:
    """What changes with every commit: size and time of the store and of its log."""
    found: list[int] = []
    for path in (store, store.with_name(f"{store.name}-wal")):
        with suppress(OSError):
            status = path.stat()
            found += [status.st_size, status.st_mtime_ns]
    return tuple(found)
