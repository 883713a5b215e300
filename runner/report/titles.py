"""Keys, metrics and cells in words that a reader who never saw the tool understands. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.show.numbers import count, figure, is_number, labels, short
from thalweg.runner.study.study import Study

TITLES = {
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "warmup": "warmup, steps",
    "steps": "training steps",
    "batch_size": "batch size",
    "train_size": "training examples",
    "label_noise": "share of wrong labels",
    "floor": "final share of the learning rate",
    "beta1": "β1",
    "beta2": "β2",
    "lr_x_wd": "lr·wd",
    "lr2_x_wd": "lr²·wd",
    "wd_over_lr": "wd/lr",
}
SPLITS = {"val": "validation", "train": "training", "test": "test"}


def title(key: str | None) -> str:
    """Return an axis as its title: learning rate for optimizer.lr."""
    if key and key.startswith("groups."):
        return key.removeprefix("groups.").replace("_", " ")
    leaf = (key or "").rpartition(".")[2]
    return TITLES.get(leaf, leaf.replace("_", " "))


def short_title(key: str | None) -> str:
    """Return a title without its unit."""
    return title(key).partition(",")[0]


def metric_title(metric: str) -> str:
    """Return a metric as its title: validation loss for val/loss."""
    split, slash, what = metric.partition("/")
    return f"{SPLITS.get(split, split)} {what.replace('_', ' ')}" if slash else metric.replace("_", " ")


def decay_key(panel: Panel, study: Study) -> str | None:
    """The key that the vertical axis of a panel shows: the analysed one where it is a number everywhere."""
    key = (study.analysis and study.analysis.against) or panel.x
    known = key is not None and all(isinstance(cell.coordinate(key), int | float) for cell in panel.cells)
    return key if known else panel.x


class Positions:
    """Says where each cell of one panel lies; the names of axis values are made once."""

    def __init__(self, panel: Panel, study: Study, *, beyond: bool = False) -> None:
        """beyond: the axes are said too in which the panel differs from others."""
        wanted = [panel.y, decay_key(panel, study)] if panel.x else list(panel.axes)
        wanted += [key for key in panel.axes if beyond and key not in (*wanted, panel.x)]
        self._keys = [key for key in wanted if key is not None]
        self._named = {key: named_values(key, _coordinates(panel, key)) for key in self._keys if key in panel.axes}

    def of(self, cell: Cell) -> str:
        """Return where a cell lies: learning rate 1/8, weight decay 0.04."""
        return ", ".join(part for key in self._keys if (part := self._part(cell, key))) or "the only cell"

    def _part(self, cell: Cell, key: str) -> str:
        value = cell.coordinate(key)
        if value is None:
            return ""
        shown = self._named[key][value] if key in self._named else short(value, 2) if is_number(value) else value
        return f"{short_title(key)} {shown}"


def named_values(key: str, values: Iterable[Scalar]) -> dict[Scalar, str]:
    """Name each value of an axis; a decay is read as a decimal even where all values are powers of two."""
    return labels(values, fractions=not key.endswith("weight_decay"))


def place(cell: Cell, panel: Panel, study: Study, *, beyond: bool = False) -> str:
    """Return where one cell lies; beyond: in the axes too in which its panel differs from others."""
    return Positions(panel, study, beyond=beyond).of(cell)


def _coordinates(panel: Panel, key: str) -> list[Scalar]:
    found = (cell.coordinate(key) for cell in panel.cells)
    return list(dict.fromkeys(value for value in found if value is not None))


def result(cell: Cell, study: Study) -> str:
    """Return what became of a cell: 0.644 (95% 0.631 … 0.657, 3 seeds), or how it failed to have a result."""
    replicates = count(len(cell.rows), study.replicate or "trial")
    if cell.diverged:
        return f"{cell.diverged} of {replicates} diverged"
    if cell.mean is None:
        return f"{cell.failed} of {replicates} failed" if cell.failed else "not trained yet"
    interval = f"95% {figure(cell.interval[0])} … {figure(cell.interval[1])}, " if cell.interval else ""
    note = "" if cell.usable else f"; {cell.health}, not used"
    return f"{figure(cell.mean)} ({interval}{count(cell.n, study.replicate or 'trial')}){note}"
