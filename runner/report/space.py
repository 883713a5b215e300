"""All axes of a grid together, of three and more: what each costs, all cells as lines, each axis alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from thalweg.runner.cells.cells import near_optimal
from thalweg.runner.cells.costs import Cost, Space
from thalweg.runner.report.alone import draw_alone
from thalweg.runner.report.chart import LINE, apart, dots, svg
from thalweg.runner.report.markup import Markup, join, px, tag
from thalweg.runner.report.parallel import MOST, draw_parallel
from thalweg.runner.report.ruler import Ruler
from thalweg.runner.report.titles import metric_title, short_title
from thalweg.runner.show.numbers import count
from thalweg.runner.study.study import Study

WIDTH = 400.0
AXIS_NAME = 128.0
"""Pixels at the left for the names of the axes."""


def draw_space(space: Space, study: Study, numbered: Mapping[int, int], anchor: str, curves: Markup) -> Markup:
    """Return the section. `curves`: the frame of the loss curves."""
    near = near_optimal(space.cells)
    costs = space.costs
    alone = [(draw_alone(space, each.key, study, numbered), _alone_caption()) for each in costs if near]
    up = tag("a", "↑", href="#question", class_="up", aria_label="to the answer")
    lines = {"class_": "roll", "tabindex": "0", "role": "region", "aria_label": "Parallel coordinates"}
    return tag(
        "section",
        tag("h3", f"{space.name}: all axes together", " ", up, id=anchor),
        *(tag("p", sentence, class_="said") for sentence in said(costs, study)),
        tag(
            "div",
            _figure(_costs(costs, study), _costs_caption(costs)) if near else "",
            curves,
            tag(
                "figure",
                tag("div", draw_parallel(space, study, numbered), **lines),
                tag("figcaption", _parallel_caption(space)),
                class_="whole",
            ),
            class_="figures",
        ),
        tag("div", *(_figure(picture, caption) for picture, caption in alone), class_="figures small"),
        class_="panel space",
        aria_labelledby=anchor,
    )


def _figure(picture: Markup, caption: str) -> Markup:
    return tag("figure", picture, tag("figcaption", caption))


def said(costs: Sequence[Cost], study: Study) -> list[str]:
    """Return what the costs say, in sentences."""
    told = [each for each in costs if each.told]
    unsure = [each for each in costs if each.cost is not None and not each.told and each.low is not None]
    found = []
    if told:
        first, rest = told[0], told[1:]
        becomes = f"multiplied by {first.worse.removeprefix('×')}" if first.by_factors else first.worse
        found.append(
            f"What matters most is the {short_title(first.key)}: where one of its {first.values} values is picked "
            f"blindly, and all else is chosen for it, the {metric_title(study.metric)} is {becomes} on average."
        )
        found += [f"Then {_list([f'{short_title(e.key)} ({e.worse})' for e in rest])}."] if rest else []
    if unsure:
        verb = "is" if len(unsure) == 1 else "are"
        listed = _list([f"{short_title(e.key)} ({e.worse})" for e in unsure])
        found.append(f"Not told from no effect {verb} {listed}.")
    if any(each.cost is not None and each.low is None for each in costs):
        found.append("With one seed these costs have no interval, and noise alone makes them larger than 0.")
    if max((each.seeds for each in costs), default=0) == 2:
        found.append("Two seeds leave these intervals very wide; a third would narrow them most.")
    dead = [each for each in costs if each.dead]
    if dead:
        listed = _list([f"{each.dead} of {count(each.values, 'value')} of {short_title(each.key)}" for each in dead])
        found.append(f"No cell is usable at {listed}: these are not part of the average.")
    return [" ".join(found)] if found else []


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _costs(costs: Sequence[Cost], study: Study) -> Markup:
    """The cost of each axis as a dot on its interval, over the line of no effect."""
    known = [each for each in costs if each.cost is not None]
    factors = all(each.by_factors for each in known)
    nothing = 1.0 if factors else 0.0
    ends = [each.shown(end) for each in known for end in (each.cost, each.low, each.high) if end is not None]
    right = WIDTH - 14
    x = Ruler([nothing, *ends], AXIS_NAME, right, pad=0, round_ticks=True)
    top, step = 14.0, max(30.0, min(200 / max(len(known), 1), 56.0))
    bottom = top + step * len(known)
    ticks = apart(x.ticks(5))
    drawn = [tag("path", class_="grid", d="".join(f"M{px(at)} {px(top - 6)}V{px(bottom)}" for at, _ in ticks))]
    drawn.append(tag("path", class_="spine", d=f"M{px(x.at(nothing))} {px(top - 6)}V{px(bottom)}"))
    for i, each in enumerate(known):
        height = top + step * (i + 0.5)
        class_ = "tick end strong" if each.told else "tick end"
        drawn.append(tag("text", short_title(each.key), x=AXIS_NAME - 10, y=height + 4, class_=class_))
        if each.low is not None and each.high is not None:
            span = f"M{px(x.at(each.shown(each.low)))} {px(height)}H{px(x.at(each.shown(each.high)))}"
            drawn.append(tag("path", class_="bars wide", d=span))
        drawn.append(tag("path", class_="dots", d=dots([(x.at(each.shown(each.cost or 0.0)), height)])))
    drawn += [
        tag("text", f"×{label}" if factors else label, x=at, y=bottom + LINE + 2, class_="tick mid")
        for at, label in ticks
    ]
    way = "times" if factors else "higher by" if study.direction == "min" else "lower by"
    unit = f"{metric_title(study.metric)}, {way}"
    drawn.append(tag("text", unit, x=(AXIS_NAME + right) / 2, y=bottom + 30, class_="title mid"))
    label = "Cost of each axis: " + ", ".join(f"{short_title(each.key)} {each.worse}" for each in known)
    return svg(WIDTH, bottom + 40, *drawn, label=label)


def _costs_caption(costs: Sequence[Cost]) -> str:
    return (
        "What a value of each axis costs that is picked blindly, all other axes being chosen anew for it; with 95% "
        f"intervals. {'×1' if costs[0].by_factors else '0'}: it does not matter which value is taken."
    )


def _alone_caption() -> str:
    return (
        "One axis alone, with 95% intervals. Solid: the best cell at each value. Dashed: all other axes as in the best "
        "cell of all. Dots: every cell. × with a number: cells that diverged or are no better than guessing."
    )


def _parallel_caption(space: Space) -> Markup:
    drawn = f" The best {MOST:,} are drawn." if len(space.cells) > MOST else ""
    status = tag("span", "", class_="chosen-cells", role="status", aria_live="polite")
    return join(
        "Each line is a cell, the mean over its seeds. Blue: as good as the best; thick: the best, with its 95% "
        f"interval; dashed: diverged, or no better than guessing.{drawn} ",
        tag("span", "Click a value to leave only the cells that have it, here and in the maps. ", class_="hint"),
        status,
    )
