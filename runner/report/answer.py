"""The top of the page: the question, the answer in words, the slopes as a picture, and the caveats.

States what the analysis found; estimates nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from thalweg.runner.analysis import Answer, Coupling
from thalweg.runner.analysis.sentences import MEANING
from thalweg.runner.cells.cells import Cell
from thalweg.runner.cells.health import Health
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row
from thalweg.runner.report.markup import Markup, join, name, tag
from thalweg.runner.report.source import Source
from thalweg.runner.report.titles import metric_title, place
from thalweg.runner.show.numbers import as_good, count, figure, short
from thalweg.runner.view import StudyView

NAMED = ((-1.0, "only lr·wd"), (0.0, "separable"), (1.0, "only wd/lr"))
"""The slopes that have a name of their own."""
COMMON = 0.2
"""A caveat that a smaller share of an answer's numbers carries is about those alone."""
OPEN = "not identified"
"""Labels that begin so differ in the reason, which the panel gives."""


def draw_answer(source: Source, anchors: Mapping[str, str]) -> Markup:
    """Return the section. `anchors` maps a panel's name to the id of its section."""
    couplings = [answer for answer in source.view.answers if isinstance(answer, Coupling)]
    question = source.view.study.question or f"What came out of {source.view.study.name}?"
    if not source.view.ended:
        said: list[Markup] = [tag("p", "No trial has ended yet: there is no answer.", class_="lede")]
    else:
        said = lede(source.view)
    return tag(
        "section",
        tag("h1", name(question), id="question"),
        tag("p", name(source.view.experiment), class_="experiment"),
        *said,
        _slopes(couplings, anchors) if couplings else "",
        tag("h2", "Before you believe it", id="caveats"),
        tag("ul", *(tag("li", note) for note in caveats(source.view)), class_="caveats"),
        class_="answer",
        aria_labelledby="question",
    )


def lede(view: StudyView) -> list[Markup]:
    """Return the answer in a few sentences: the verdicts and where they hold; the best cell where none tells much."""
    couplings = [answer for answer in view.answers if isinstance(answer, Coupling)]
    said = _verdicts(couplings) if couplings else []
    if couplings and all(answer.undetermined for answer in couplings):
        said.append(_sentence(_best(view)))
    for answer in view.answers:
        if not isinstance(answer, Coupling):
            one_of_many = len(view.panels) > 1 and any(panel.name == answer.panel for panel in view.panels)
            lead = join(tag("strong", name(answer.panel)), ": ") if one_of_many else ""
            said.append(_sentence(join(lead, answer.verdict)))
    return said or [_sentence(_best(view))]


def _sentence(*parts: object) -> Markup:
    return tag("p", *parts, class_="lede")


def _verdicts(answers: Sequence[Coupling]) -> list[Markup]:
    """Each verdict with the panels it holds for."""
    if len(answers) == 1:
        (answer,) = answers
        rest = answer.verdict[len(answer.label) :] if answer.verdict.lower().startswith(answer.label.lower()) else None
        lead, told = tag("strong", _capital(answer.label)), answer.verdict.removeprefix(f"{_capital(OPEN)}. ")
        return [_sentence(lead, rest if rest is not None else join(". ", told))]
    together: dict[str, list[Coupling]] = {}
    for answer in answers:
        label = answer.label.partition(":")[0]
        together.setdefault(label if label == OPEN else answer.label, []).append(answer)
    if len(together) == 1:
        (label,) = together
        everywhere = f" in all {len(answers)} panels."
        return [_sentence(tag("strong", _meaning(label)), everywhere, _expectations(answers))]
    held = [
        tag(
            "li",
            tag("strong", _meaning(label), _way(label, members)),
            tag("br"),
            Markup(", ".join(map(_named, members))),
        )
        for label, members in together.items()
    ]
    return [_sentence("It depends.", _expectations(answers)), tag("ul", *held, class_="lede")]


def _named(answer: Coupling) -> Markup:
    """A panel, with its slope where no picture says it."""
    slope = answer.slope.estimate
    known = answer.label in MEANING or slope is None
    return name(answer.panel) if known else join(name(answer.panel), f" (slope {signed(slope or 0.0)})")


def _way(label: str, answers: Sequence[Coupling]) -> str:
    """Which way the best weight decay goes where no picture says it, if the intervals agree."""
    if label in MEANING or any(answer.slope.low is None or answer.slope.high is None for answer in answers):
        return ""
    if all((answer.slope.low or 0.0) > 0 for answer in answers):
        return "; the best weight decay rises with the learning rate"
    if all((answer.slope.high or 0.0) < 0 for answer in answers):
        return "; the best weight decay falls as the learning rate rises"
    return ""


def _list(names: Sequence[Markup]) -> Markup:
    return Markup(", ".join(names))


def _meaning(label: str) -> str:
    return f"{_capital(label)}: {MEANING[label]}" if label in MEANING else _capital(label)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _expectations(answers: Sequence[Coupling]) -> str:
    stated = [answer for answer in answers if answer.expect is not None]
    if not stated:
        return ""
    met = sum(answer.as_expected is True for answer in stated)
    return f" Of {count(len(stated), 'slope')} expected beforehand, {met} came out as expected."


def _best(view: StudyView) -> Markup:
    """The chosen cell, how many are as good, and the one test figure."""
    if len(view.of_data) > 1:
        return Markup("Results on different data are not compared: each panel below names its best.")
    found = view.best
    if found is None or found.best.mean is None:
        return Markup(_nothing(view))
    best, panel = found.best, view.owners[id(found.best)]
    if len(view.owners) == 1:
        return join(
            f"The {metric_title(view.study.metric)} is {figure(found.best.mean)}{_spread(best)}.", _tests(best, view)
        )
    end = "lowest" if view.study.direction == "min" else "highest"
    blocks = len({each.block for each in view.panels})
    inside = [", in ", name(panel.block)] if blocks > 1 else []
    where = join(place(best, panel, view.study, beyond=True), *inside)
    said = join(
        f"The {end} {metric_title(view.study.metric)}, {figure(found.best.mean)}{_spread(best)}, is at ",
        tag("strong", where),
        ". ",
    )
    if found.margin is not None:
        said = join(said, f"{_capital(as_good(len(found.cells) - 1, found.of - 1))}.")
    return join(said, _tests(best, view))


def _spread(cell: Cell) -> str:
    return f" (95% {figure(cell.interval[0])} to {figure(cell.interval[1])})" if cell.interval else ""


def _tests(best: Cell, view: StudyView) -> Markup:
    """The one test figure, and the test accuracy."""
    leaf = view.study.metric.rpartition("/")[2]
    names = (f"test/{each}" for each in dict.fromkeys((leaf, "accuracy")))
    found = ((metric, best.measuring(metric).mean) for metric in names)
    return Markup("".join(f" Its {metric_title(name)}: {figure(mean)}." for name, mean in found if mean is not None))


def _nothing(view: StudyView) -> str:
    """Why there is no best cell, and what helps."""
    cells = [cell for panel in view.panels for cell in panel.cells]
    ways = Counter(cell.health for cell in cells)
    if ways[Health.DIVERGED] == len(cells):
        return "Every cell diverged: the learning rates are too large. thalweg recommend names smaller ones to try."
    listed = ", ".join(f"{number:,} {health.value}" for health, number in ways.most_common())
    return f"No cell can be chosen: of {count(len(cells), 'cell')} {listed}. thalweg recommend says what to try."


def _slopes(answers: Sequence[Coupling], anchors: Mapping[str, str]) -> Markup:
    """The table of slopes: a line a panel with its interval drawn, and in figures."""
    ends = [value for answer in answers for value in _extent(answer)]
    low, high = min([-1.3, *ends]) - 0.15, max([1.3, *ends]) + 0.15
    expects = any(answer.expect for answer in answers)
    heads = ["panel", _axis(low, high), "slope [95%]", *["expected"] * expects, "learning rates used", "verdict"]
    classes = ["which", "strip", "slope", *["expect"] * expects, "rows", "verdict"]
    head = tag("tr", *(tag("th", h, scope="col", class_=c) for h, c in zip(heads, classes, strict=True)))
    body = [_slope(answer, anchors.get(answer.panel), low, high, expects) for answer in answers]
    caption = "Slope of the best weight decay against the learning rate, both in logarithms, with its 95% interval."
    if expects:
        caption += " Shaded: the slope that was expected, written down before the trials were run."
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *body),
        class_="slopes",
    )


def _extent(answer: Coupling) -> list[float]:
    slope, expect = answer.slope, answer.expect
    found = [value for value in (slope.estimate, slope.low, slope.high) if value is not None]
    found += [expect.slope - expect.tolerance, expect.slope + expect.tolerance] if expect else []
    return [min(max(value, -4.0), 4.0) for value in found]


def _share(value: float, low: float, high: float) -> str:
    return f"{min(max((value - low) / (high - low), 0.0), 1.0) * 100:.2f}%"


def _axis(low: float, high: float) -> Markup:
    """The head of the column of strips: the slopes that have a name, where they lie."""
    named = []
    for value, words in NAMED:
        shown = f"{value:+.0f}".replace("+0", "0")
        at = _share(value, low, high)
        named.append(tag("text", shown, x=at, y=12.0, class_="tick mid strong"))
        named.append(tag("text", words, x=at, y=25.0, class_="tick mid words"))
    return tag("svg", *named, class_="slope-scale", height=30, width="100%", role="img", aria_label="scale of slopes")


def _slope(answer: Coupling, anchor: str | None, low: float, high: float, expects: bool) -> Markup:
    panel = tag("a", name(answer.panel), href=f"#{anchor}") if anchor else name(answer.panel)
    expect = answer.expect
    expected = "—" if expect is None else f"{signed(expect.slope, 0)} ± {figure(expect.tolerance, 1)}"
    mark = "" if answer.as_expected is None else " ✓" if answer.as_expected else " ✗"
    spoken = "" if not mark else ", as expected" if answer.as_expected else ", not as expected"
    return tag(
        "tr",
        tag("th", panel, scope="row", class_="which"),
        tag("td", _strip(answer, low, high), class_="strip"),
        tag("td", slope_text(answer), class_="slope"),
        *([tag("td", expected, tag("span", mark, title=spoken.strip(", ")), class_="expect")] if expects else []),
        tag("td", f"{len(answer.kept)} of {len(answer.rows)}", class_="rows"),
        tag("td", answer.label, class_="verdict open" if answer.undetermined else "verdict"),
    )


def slope_text(answer: Coupling) -> str:
    """Return a slope with its interval: -1.07 [-1.18, -0.94]."""
    slope = answer.slope
    if slope.estimate is None:
        return "not identified"
    if slope.low is None or slope.high is None:
        return signed(slope.estimate)
    return f"{signed(slope.estimate)} [{signed(slope.low)}, {signed(slope.high)}]"


def signed(value: float, digits: int = 2) -> str:
    """Return a slope with a fixed number of decimals."""
    if not math.isfinite(value):
        return str(value)
    text = f"{value:.{digits}f}" if digits or value != round(value, 0) else f"{value:.0f}"
    return text if float(text) else text.replace("-", "")


def _strip(answer: Coupling, low: float, high: float) -> Markup:
    """One panel's slope as a dot on its interval, over the expected range and the named slopes."""
    slope, expect = answer.slope, answer.expect
    parts = []
    if expect is not None:
        left, wide = expect.slope - expect.tolerance, 2 * expect.tolerance
        share = f"{wide / (high - low) * 100:.2f}%"
        parts.append(tag("rect", class_="expect", x=_share(left, low, high), y="10%", width=share, height="80%"))
    for value, _ in NAMED:
        at = _share(value, low, high)
        parts.append(tag("line", class_="named", x1=at, x2=at, y1="0", y2="100%"))
    if slope.low is not None and slope.high is not None:
        ends = {"x1": _share(slope.low, low, high), "x2": _share(slope.high, low, high)}
        parts.append(tag("line", class_="interval", y1="50%", y2="50%", **ends))
    if slope.estimate is not None:
        parts.append(tag("circle", class_="estimate", cx=_share(slope.estimate, low, high), cy="50%", r="4.5"))
    return tag(
        "svg",
        *parts,
        class_="slope-strip",
        height=26,
        width="100%",
        role="img",
        aria_label=f"slope {slope_text(answer)}",
    )


def caveats(view: StudyView) -> list[Markup]:
    """What a reader should know before believing the answer, the weightiest first."""
    notes: list[Markup | str] = [name(note) for note in view.notes]
    if any(answer.dropped for answer in view.answers if isinstance(answer, Coupling)):
        notes.append(
            "A slope rests on the learning rates whose best lies inside the grid; each panel says which do not count."
        )
    notes += [*_widen(view.answers), *_said(view.answers), *_outcomes(view.rows)]
    cells = [cell for panel in view.panels for cell in panel.cells]
    replicates = max((len(cell.rows) for cell in cells), default=0)
    each = view.study.replicate or "replicate"
    if replicates == 1:
        single = "This" if len(cells) == 1 else "Every cell"
        notes.append(f"{single} is one trial: nothing is known of the noise between seeds.")
    elif len(cells) > 1:
        notes.append(
            f"Cells are compared on the mean over {count(replicates, each)}; a cell with a diverged {each} has no mean."
        )
    return [note if isinstance(note, Markup) else Markup(tag("span", note)) for note in notes]


def _widen(answers: Sequence[Answer]) -> list[Markup]:
    """Which axes end too early to see the optimum, and in which panels."""
    panels: dict[str, list[str]] = {}
    for answer in answers:
        if isinstance(answer, Coupling):
            for edge in answer.edge:
                along = "the weight decay" if edge.along == "wd" else edge.along
                panels.setdefault(f"{along} {edge.side} {short(edge.at, 2)}", []).append(answer.panel)
    return [
        join(f"To learn more, widen {where} in ", _list([name(p) for p in dict.fromkeys(found)]), ".")
        for where, found in panels.items()
    ]


def _said(answers: Sequence[Answer]) -> list[Markup]:
    """The caveats that a good part of an answer's numbers carry, each once, with the panels it holds for."""
    panels: dict[str, list[str]] = {}
    for answer in answers:
        carried = Counter(caveat for finding in answer.findings for caveat in finding.caveats)
        for caveat, number in carried.items():
            if number >= COMMON * len(answer.findings):
                panels.setdefault(caveat, []).append(answer.panel)
    several = len(answers) > 1
    return [
        join(_capital(caveat), *([" (in ", Markup("; ".join(name(p) for p in where)), ")"] if several else []), ".")
        for caveat, where in panels.items()
    ]


def _outcomes(all_rows: Sequence[Row]) -> list[str]:
    rows = [row for row in all_rows if not row.outside]
    notes = []
    diverged = sum(row.outcome is Outcome.DIVERGED for row in rows)
    failed = sum(row.outcome is Outcome.FAILED for row in rows)
    if diverged:
        notes.append(f"{count(diverged, 'trial')} diverged: a result, marked ×; never averaged with the others.")
    if failed:
        notes.append(f"{count(failed, 'trial')} failed and will be tried again by the next sweep.")
    outside = len(all_rows) - len(rows)
    if outside:
        notes.append(f"{count(outside, 'trial')} are left out: an edited study no longer declares them.")
    return notes
