"""How a sweep goes, on stderr: a bar on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from thalweg.runner.show.numbers import duration, figure
from thalweg.runner.terminal.text import clean

PLAIN_SECONDS = 10.0
NARROW = 100
BARS = ((60, 8), (NARROW, 10), (140, 16))
"""Below so many columns, the characters of the bar: the words beside it say more."""


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
        self._began: tuple[float, float] | None = None  # when the first step was heard of, and the fraction then
        self._bar: Progress | None = None
        if out.is_terminal:
            bar = BarColumn(bar_width=self._bar_width)
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
        if fraction > 0 and self._began is None:
            self._began = now, fraction
        line = self._line(done, diverged, failed, best, self._left(now, fraction), now - self._started)
        if self._bar:
            self._bar.update(self._task, completed=fraction, description=line)
        elif now - self._said >= PLAIN_SECONDS:
            self._said = now
            self._out.print(Text(line), soft_wrap=True)

    @property
    def _bar_width(self) -> int:
        return next((bar for below, bar in BARS if self._out.width < below), 32)

    def _left(self, now: float, fraction: float) -> str:
        """The time left, at the pace since the first step: what came before it, starting workers, comes once."""
        since, then = self._began or (now, fraction)
        if fraction - then < 0.02 or fraction >= 1:
            return ""
        return f"{duration((now - since) * (1 - fraction) / (fraction - then))} left"

    def _line(self, done: int, diverged: int, failed: int, best: float | None, left: str, elapsed: float) -> str:
        metric = "" if self._out.width < NARROW else f"'s {self._metric}"
        parts = [  # the greater the number, the sooner it goes where there is no room
            (0, f"{done:,}/{self._total:,} trials"),
            (3, self._named()),
            (1 if diverged else 4, f"{diverged:,} diverged"),
            (1, f"{failed:,} failed" if failed else ""),
            (5, "" if best is None else f"best trial{metric} {figure(best)}"),
            (2, f"{_pace(60 * done / elapsed)} a minute" if done and elapsed > 1 else ""),
            (0, left),
        ]
        return self._fitting([(rank, clean(text)) for rank, text in parts if text])

    def _fitting(self, parts: list[tuple[int, str]]) -> str:
        """What of a line fits beside the bar; all of it where there is none."""
        room = self._out.width - self._bar_width - 1
        while self._bar and cell_len(", ".join(text for _, text in parts)) > room and (worst := max(parts)[0]):
            parts = [(rank, text) for rank, text in parts if rank != worst]
        return ", ".join(text for _, text in parts)

    def _named(self) -> str:
        """The panel in training, cut where the line is narrow."""
        most = 20 if self._out.width < NARROW else 60
        return self._panel if len(self._panel) <= most else f"{self._panel[: most - 1]}…"


def _pace(a_minute: float) -> str:
    """Trials a minute in two digits: 3.2, 410, 10,000."""
    return f"{float(f'{a_minute:.2g}'):,.0f}" if a_minute >= 10 else figure(a_minute, 2)
