"""The one door to wandb: writes run folders, several at once, through one service. Decides nothing."""

from __future__ import annotations

import contextlib
import importlib
import math
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thalweg.runner.tracker.environment import Surroundings, quiet_environment, say_nothing_unasked
from thalweg.runner.tracker.history import RunContent

SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "quiet": True,
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "label_disable": True,
    "symlink": False,
    "use_dot_wandb": False,
    # The machine that exports is not the machine that trained; without these a run costs 20 ms, with them 60.
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_viewer": True,
    "x_save_requirements": False,
}


class RunWriter:
    """Writes offline runs. `write` may be called from several threads."""

    def __init__(self, wandb: Any, around: Surroundings) -> None:
        self._wandb = wandb
        self._around = around

    def write(self, run: RunContent) -> Path:
        """Write one whole run and return its folder. Raises whatever wandb raises."""
        written = self._wandb.init(
            id=run.run_id,
            name=run.name,
            project=self._around.project,
            entity=self._around.entity,
            group=run.group,
            job_type=run.job_type,
            tags=run.tags,
            config=run.config,
            mode="offline",
            reinit="create_new",
            dir=str(self._around.parent.resolve()),
            settings=self._wandb.Settings(**_known(self._wandb)),
        )
        # The summary is what the store holds, not the last row seen: a diverged trial has no val/loss.
        written.define_metric("*", summary="none")
        for step, row in run.history:
            written.log(row, step=step)
        written.summary.update(run.summary)
        folder = Path(written.settings.sync_dir)
        written.finish(exit_code=run.exit_code)
        for scratch in ("logs", "tmp"):  # of the writing itself; 3 files and 4 folders a run fewer
            shutil.rmtree(folder / scratch, ignore_errors=True)
        return folder


@contextlib.contextmanager
def run_writer(around: Surroundings) -> Iterator[RunWriter]:
    """Start wandb's service, and end it again."""
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-wandb-", ignore_cleanup_errors=True) as cache,
        quiet_environment(Path(cache)),
    ):
        import wandb

        wandb.setup(settings=wandb.Settings(**_known(wandb)))
        try:
            yield RunWriter(wandb, around)
        finally:
            # A service that was killed raises here; its loss is reported by the write that met it.
            with contextlib.suppress(Exception):
                wandb.teardown()


def imported_within(seconds: float) -> bool:
    """Whether wandb could be imported in that time: about one second warm, several from a cold disk.

    An import that takes longer goes on in a daemon thread. Raises ImportError without wandb.
    """
    failures: list[ImportError] = []
    say_nothing_unasked()

    def load() -> None:
        try:
            importlib.import_module("wandb")
        except ImportError as error:
            failures.append(error)

    thread = threading.Thread(target=load, daemon=True)
    if seconds > 0:
        thread.start()
        thread.join(None if math.isinf(seconds) else seconds)
    if failures:
        raise failures[0]
    return seconds > 0 and not thread.is_alive()


def _known(wandb: Any) -> dict[str, Any]:
    """The settings that this version of wandb has; it refuses unknown ones."""
    return {key: value for key, value in SETTINGS.items() if key in wandb.Settings.model_fields}
