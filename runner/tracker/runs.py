"""How W&B runs get onto the disk: in its file format where that is known, else through its public calls.

Decides nothing. A run's folder has its final name only when it is whole, but for public calls, which name it at once.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from thalweg.runner.tracker.environment import Surroundings, quiet_environment, say_nothing_unasked
from thalweg.runner.tracker.history import Media, Row, RunContent
from thalweg.runner.tracker.records import run_file, understood

PARTIAL = ".partial-"
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


class RunWriter(Protocol):
    """Writes finished runs; all that a tracker has to be."""

    def write(self, run: RunContent, history: Sequence[Row], media: Sequence[Media] = ()) -> Path:
        """Write one whole run and return its folder. Raises OSError of the disk, or whatever the tracker raises."""


class Direct:
    """Writes W&B's files itself, 5 ms for a run of 600 steps."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def write(self, run: RunContent, history: Sequence[Row], media: Sequence[Media] = ()) -> Path:
        """Write beside the final place, and rename: a kill leaves no half of a run."""
        content = run_file(run, history, media, (self._around.project, self._around.entity))
        partial = self._around.folder / f"{PARTIAL}{run.run_id}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            (partial / f"run-{run.run_id}.wandb").write_bytes(content)
            for each in media:
                file = partial / "files" / each.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(each.content)
            return partial.rename(partial.with_name(f"offline-run-{run.started:%Y%m%d_%H%M%S}-{run.run_id}"))
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise


class Public:
    """Writes through wandb's public calls, whatever its version; 140 ms for a run of 600 steps."""

    def __init__(self, wandb: Any, around: Surroundings) -> None:
        self._wandb = wandb
        self._around = around

    def write(self, run: RunContent, history: Sequence[Row], media: Sequence[Media] = ()) -> Path:
        """Log a whole run to wandb's service."""
        written = self._wandb.init(
            id=run.run_id,
            name=run.name,
            project=self._around.project,
            entity=self._around.entity,
            group=run.group,
            job_type=run.job_type,
            tags=run.tags,
            notes=run.notes,
            config=run.config,
            mode="offline",
            reinit="create_new",
            dir=str(self._around.parent.resolve()),
            settings=self._wandb.Settings(**_known(self._wandb)),
        )
        # The summary is what the store holds, not the last row seen: a diverged trial has no val/loss.
        written.define_metric("*", step_metric="_step", summary="none")
        for step, row in history:
            written.log(row, step=step)
        with tempfile.TemporaryDirectory(prefix="thalweg-wandb-") as scratch:
            if media:
                written.log({each.key: self._shown(each, Path(scratch)) for each in media}, step=0)
            written.summary.update(run.summary)
            folder = Path(written.settings.sync_dir)
            written.finish(exit_code=run.exit_code)
        for left in ("logs", "tmp"):  # of the writing itself; 3 files and 4 folders a run fewer
            shutil.rmtree(folder / left, ignore_errors=True)
        return folder

    def _shown(self, media: Media, folder: Path) -> Any:
        kind = media.shown["_type"]
        if kind == "table-file":
            return self._wandb.Table(**json.loads(media.content), allow_mixed_types=True)
        if kind == "html-file":
            return self._wandb.Html(media.content.decode(), inject=False)
        file = folder / Path(media.path).name
        file.write_bytes(media.content)
        return self._wandb.Image(str(file))


@contextlib.contextmanager
def run_writer(around: Surroundings) -> Iterator[RunWriter]:
    """Choose how runs are written; start wandb's service where it is needed, and end it. Raises ImportError."""
    say_nothing_unasked()
    import wandb

    if understood():
        yield Direct(around)
        return
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-wandb-", ignore_cleanup_errors=True) as cache,
        quiet_environment(Path(cache)),
    ):
        wandb.setup(settings=wandb.Settings(**_known(wandb)))
        try:
            yield Public(wandb, around)
        finally:
            # A service that was killed raises here; its loss is reported by the write that met it.
            with contextlib.suppress(Exception):
                wandb.teardown()


def _known(wandb: Any) -> dict[str, Any]:
    """The settings that this version of wandb has; it refuses unknown ones."""
    return {key: value for key, value in SETTINGS.items() if key in wandb.Settings.model_fields}
