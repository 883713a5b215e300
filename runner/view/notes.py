"""What a reader should know before believing the answer of a study, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from thalweg.runner.cells.cells import Panel, is_data
from thalweg.runner.facts.row import Row
from thalweg.runner.show.inert import clean
from thalweg.runner.show.numbers import count, is_number, labels
from thalweg.runner.study.study import Study

if TYPE_CHECKING:
    from thalweg.runner.analysis import Answer


def notes(study: Study, cut: Sequence[Panel], answers: Sequence[Answer], own: str | None) -> list[str]:
    """Return the notes on a study, the weightiest first. own: its own metric, where it is judged by another."""
    found = []
    trained, wanted = sum(panel.trained for panel in cut), sum(panel.wanted for panel in cut)
    if own is not None:
        found.append(f"Judged by {study.metric}, as asked; the study's own metric is {own}.")
    pruned = sum(panel.pruned for panel in cut)
    if trained + pruned < wanted:
        found.append(f"So far: {trained:,} of {count(wanted, 'trial')}; what is shown may change.")
    if pruned:
        found.append(_stopped(pruned, wanted, study))
    found += [*_entangled(cut), *_options(cut)]
    if len({panel.data for panel in cut}) > 1:
        found.append("Results on different data are not compared: each has a best of its own.")
    if (len(answers) or len(cut)) > 1:
        found.append(f"{_looked_at(cut, answers)}.")
    if study.hypothesis:
        found.append(f"Expected beforehand: {study.hypothesis}")
    if study.refinements:
        found.append(_looks(study.refinements))
    return [clean(note) for note in found]


def _looked_at(cut: Sequence[Panel], answers: Sequence[Answer]) -> str:
    """How many panels were looked at, answers of several questions each, and how many came out as expected."""
    noun = "answer" if len({each.kind for each in answers}) > 1 else "panel"
    met = [each.as_expected for each in answers if each.kind == "coupling" and each.as_expected is not None]
    looked = count(len(answers) or len(cut), noun)
    said = f"{looked} looked at: the more there are, the more easily one stands out by chance"
    return f"{said}. {sum(met)} of {count(len(met), 'slope')} came out as expected beforehand" if met else said


def _stopped(pruned: int, wanted: int, study: Study) -> str:
    """How many trials a rule stopped early, and what that leaves unknown."""
    by = f", by {study.stop.said}" if study.stop else ""
    said = f"{pruned:,} of {count(wanted, 'trial')} {'was' if pruned == 1 else 'were'} stopped early{by}"
    return f"{said}: how they would have ended is not known, so a best value beside them may not be the best."


def _looks(refinements: int) -> str:
    """How often trials were added after a look at results, and what that does to intervals."""
    times = {1: "once", 2: "twice"}.get(refinements, f"{refinements} times")
    return f"Trials were added {times} after a look at the results: intervals may be too narrow."


def _entangled(cut: Sequence[Panel]) -> Iterator[str]:
    """Which panels differ in more than a comparison of them could tell apart."""
    blocks = {panel.block: panel for panel in cut if panel.entangled}
    for keys in dict.fromkeys(panel.entangled for panel in blocks.values()):
        axes = next(panel.axes for panel in blocks.values() if panel.entangled == keys)
        others = [key for key in axes if key not in keys]
        subject = f"{_list(keys)} never {'differs' if len(keys) == 1 else 'differ'} alone"
        beside = f", but only along with {'each other' if not others else _list(others)}"
        yield (
            f"{subject}{beside}: where panels that differ in {'it' if len(keys) == 1 else 'them'} have different"
            " results, nobody can say which key made the difference. So recommend takes the best of each."
        )


def _options(cut: Sequence[Panel]) -> Iterator[str]:
    """Numbers that options of a group differ in and that are no axis: what is better of one may be that."""
    blocks: dict[str, list[Row]] = {}
    axes: dict[str, set[str]] = {}
    for panel in cut:
        blocks.setdefault(panel.block, []).extend(cell.rows[0] for cell in panel.cells)
        axes.setdefault(panel.block, set()).update(key for cell in panel.cells for key in cell.axes)
    groups = ((rows, group, axes[name]) for name, rows in blocks.items() for group in sorted(axes[name]))
    said = (_option(rows, group, known) for rows, group, known in groups if not is_data(group))
    yield from dict.fromkeys(sentence for sentence in said if sentence)


def _option(rows: Sequence[Row], group: str, axes: set[str]) -> str:
    sections = [section for row in rows if isinstance(section := row.config.get(group), Mapping)]
    shared = set.intersection(*(set(section) for section in sections)) if sections else set()
    values = {
        key: sorted({float(section[key]) for section in sections})
        for key in sorted(shared)
        if f"{group}.{key}" not in axes and all(is_number(section[key]) for section in sections)
    }
    differing = {key: found for key, found in values.items() if len(found) > 1}
    if not differing or len({section.get("name") for section in sections}) < 2:
        return ""
    named = (f"{key} ({', '.join(labels(found)[each] for each in found)})" for key, found in differing.items())
    return f"Options of {group} also differ in {_list(list(named))}: where one is better, that may be why."


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
