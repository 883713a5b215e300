"""Runs the command line as a person would: a real process in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
THALWEG = [sys.executable, "-P", "-m", "thalweg"]
SMALL = ("smoke", "budget.steps=40", "optimizer.lr=1/64..1/4:x4", "tracker=none")
"""168 short training runs in four panels."""


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with the clone first on the path and nothing of the user's choices."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("THALWEG", "WANDB"))}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "COLUMNS": "80", **extra}


@dataclass
class Desk:
    """A folder to work in, and its store."""

    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    store_name: str = "results/thalweg.sqlite"
    seen: dict[str, Any] = field(default_factory=dict)
    """What a fixture kept of what it ran, for the tests that share it."""

    @property
    def store(self) -> Path:
        return self.folder / self.store_name

    @property
    def checkpoints(self) -> Path:
        return self.store.with_suffix(".checkpoints")

    def thalweg(self, *words: str, code: int | None = 0, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*THALWEG, *words],
            cwd=self.folder,
            env=environment(**self.extra),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored, and the child with it
        return subprocess.Popen(
            [*THALWEG, *words],
            cwd=self.folder,
            env=environment(**self.extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def json(self, *words: str) -> dict:
        return json.loads(self.thalweg(*words, "--json").stdout)

    def query(self, sql: str) -> list[tuple]:
        connection = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def is_training(self) -> bool:
        """Whether a sweep has opened its first cohort; the store may be only half made while we look."""
        try:
            return self.store.exists() and self.query("SELECT count(*) FROM cohorts") != [(0,)]
        except sqlite3.OperationalError:
            return False

    def hashes(self) -> dict[str, str]:
        return dict(self.query("SELECT id, weight_hash FROM trials WHERE outcome IN ('finished', 'diverged')"))
