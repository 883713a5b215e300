"""How a sweep goes, on stderr: a bar on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from thalweg.runner.show.numbers import duration, figure
from thalweg.runner.terminal.text import clean

PLAIN_SECONDS = 10.0
NARROW = 100


class SweepProgress:
    """Shows notes and progress of a sweep of `total` trials. Use as a context.

    panels: the panel of each trial by its id; the one that began to train last is named, where there are several.
    """

    def __init__(
        self,
        out: Console,
        total: int,
        metric: str,
        panels: Mapping[str, str] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._total, self._metric, self._clock = out, total, metric, clock
        self._panels = panels if panels and len(set(panels.values())) > 1 else {}
        self._panel = ""
        self._started = self._said = clock()
        self._bar: Progress | None = None
        if out.is_terminal:
            bar = BarColumn(bar_width=16 if out.width < NARROW else 32)
            line = TextColumn("{task.description}", markup=False)
            self._bar = Progress(bar, line, console=out, transient=True)
            self._task = self._bar.add_task(f"starting {total:,} trials", total=1.0)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def note(self, text: str) -> None:
        """One line worth reading."""
        self._out.print(Text(clean(text)), soft_wrap=self._bar is None)

    def training(self, trial_id: str) -> None:
        """Trials begin to train, this one among them."""
        self._panel = self._panels.get(trial_id, "")

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        """Show how far the sweep is; `fraction` in [0, 1] is of the work, trials in training included."""
        now = self._clock()
        line = self._line(done, diverged, failed, fraction, best, now - self._started)
        if self._bar:
            self._bar.update(self._task, completed=fraction, description=line)
        elif now - self._said >= PLAIN_SECONDS:
            self._said = now
            self._out.print(Text(line), soft_wrap=True)

    def _line(self, done: int, diverged: int, failed: int, fraction: float, best: float | None, elapsed: float) -> str:
        parts = [f"{done:,}/{self._total:,} trials", *filter(None, [self._named()]), f"{diverged:,} diverged"]
        if failed:
            parts.append(f"{failed:,} failed")
        if best is not None:
            parts.append(
                f"best trial {figure(best)}"
                if self._out.width < NARROW
                else f"best trial's {self._metric} {figure(best)}"
            )
        if done and elapsed > 1:
            parts.append(f"{figure(60 * done / elapsed, 2)} a minute")
        if 0.02 < fraction < 1 and elapsed > 1:
            parts.append(f"{duration(elapsed * (1 - fraction) / fraction)} left")
        return clean(", ".join(parts))

    def _named(self) -> str:
        """The panel in training, cut where the line is narrow."""
        most = 20 if self._out.width < NARROW else 60
        return self._panel if len(self._panel) <= most else f"{self._panel[: most - 1]}…"
