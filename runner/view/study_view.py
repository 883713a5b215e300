"""The view of a study: what terminal, report and JSON lay out. They compute nothing of it again.

It knows no store and no screen. Each part is computed when it is first asked for, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from thalweg.runner import decide
from thalweg.runner.base.errors import UsageError
from thalweg.runner.cells.cells import Cell, NearOptimal, Panel, near_optimal, panels, ranked
from thalweg.runner.cells.costs import Space, spaces
from thalweg.runner.decide import Move, Recommendation, Stuck
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.study.study import Study
from thalweg.runner.view.experiment import experiment
from thalweg.runner.view.notes import notes

if TYPE_CHECKING:
    from thalweg.runner.analysis import Answer
    from thalweg.runner.analysis.findings import GetSeries


@dataclass(frozen=True)
class Best:
    """The best cell of some panels on the same data, with all that are as good; `near` is None where none is usable.

    ranked: all usable cells, the best first.
    """

    block: str  # of the first panel
    data: str  # the dataset's name
    near: NearOptimal | None
    ranked: tuple[Cell, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study judged by one metric: its rows, and the answers to its questions.

    series: a trial's series by its id; it is asked once a trial. own: the metric of the study itself, where a reader
    asked for another.
    """

    study: Study
    rows: Sequence[Row]
    answers: Sequence[Answer] = ()
    series: GetSeries | None = None
    own: str | None = None

    @cached_property
    def panels(self) -> list[Panel]:
        """The study cut into panels; what is outside it is left out."""
        return panels(self.rows, self.study)

    def chosen(self, names: Sequence[str]) -> list[Panel]:
        """The panels of these names, all where there are none. Raises UsageError for a name that no panel has."""
        known = [panel.name for panel in self.panels]
        for name in names:
            if name not in known:
                listed = ", ".join(map(repr, known))
                raise UsageError(f"{self.study.name} has no panel {name!r}", f"it has {listed}")
        return [panel for panel in self.panels if not names or panel.name in names]

    @cached_property
    def ended(self) -> int:
        """Number of trials of the study that ended, counted in each block that has them."""
        return sum(panel.trained for panel in self.panels)

    @cached_property
    def wanted(self) -> int:
        """Number of trials that the study declares."""
        return sum(panel.wanted for panel in self.panels)

    @cached_property
    def experiment(self) -> str:
        """On what data, what was trained, how long and how often, in one line."""
        return experiment(self.rows, self.study.replicate)

    @cached_property
    def of_data(self) -> list[Best]:
        """The best of all panels on the same data, for each data that there are."""
        return [_best(together) for together in _grouped(self.panels, lambda panel: panel.data)]

    @cached_property
    def of_blocks(self) -> list[Best]:
        """The best of each block, data by data."""
        return [_best(together) for together in _grouped(self.panels, lambda panel: (panel.block, panel.data))]

    @cached_property
    def best(self) -> NearOptimal | None:
        """The best of all; None where no cell is usable, or where results on different data are not compared."""
        return self.of_data[0].near if len(self.of_data) == 1 else None

    @cached_property
    def spaces(self) -> list[Space]:
        """The grids of three axes and more that have a usable cell."""
        return [each for each in spaces(self.panels, self.study.blocks) if each.best is not None]

    @cached_property
    def owners(self) -> Mapping[int, Panel]:
        """id() of each cell -> the panel that it lies in."""
        return {id(cell): panel for panel in self.panels for cell in panel.cells}

    @cached_property
    def unfinished(self) -> Move | None:
        """The trials that are declared and not trained yet."""
        return decide.unfinished(self.rows)

    @cached_property
    def recommendations(self) -> list[Recommendation]:
        """What to take on each data that has a usable cell."""
        return decide.recommend(self.panels, self.rows, self.study)

    @cached_property
    def stuck(self) -> list[Stuck]:
        """The panels that trained and have nothing to take."""
        return decide.stuck(self.panels, self.rows, self.study)

    @cached_property
    def notes(self) -> list[str]:
        """What a reader should know before believing any of it, the weightiest first."""
        return notes(self.study, self.panels, self.answers, self.own)


def view_of(
    rows: Iterable[Row], study: Study, series: GetSeries | None = None, own: str | None = None, *, ask: bool = True
) -> StudyView:
    """Return the view of a study. ask: its questions are answered, which reads series."""
    answers: list[Answer] = []
    view = StudyView(study=study, rows=list(rows), answers=answers, series=series, own=own)
    if ask:
        from thalweg.runner.analysis.findings import findings  # numpy, which verbs that ask nothing go without

        answers += findings(view.rows, study, series, view.panels)
    return view


def _grouped(cut: Iterable[Panel], by: Callable[[Panel], object]) -> list[list[Panel]]:
    together: dict[object, list[Panel]] = {}
    for panel in cut:
        together.setdefault(by(panel), []).append(panel)
    return list(together.values())


def _best(cut: Sequence[Panel]) -> Best:
    first = cut[0]
    name = lookup(first.cells[0].rows[0].config, "dataset.name")
    cells = [cell for panel in cut for cell in panel.cells]
    return Best(first.block, str(name), near_optimal(cells), tuple(ranked(cells)))
