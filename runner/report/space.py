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
from thalweg.runner.study.study import Study
from thalweg.runner.view.costs import costs_said

ALONE = (
    "With 95% intervals. Solid: the best cell at each value. Dashed: all other axes as in the best cell of all. Dots:"
    " every cell, at the edge where it is worse than shown. × with a number: cells that diverged or are no better than"
    " guessing."
)
WIDTH = 400.0
AXIS_NAME = 128.0
"""Pixels at the left for the names of the axes."""


def draw_space(space: Space, study: Study, numbered: Mapping[int, int], anchor: str, curves: Markup) -> Markup:
    """Return the section. `curves`: the frame of the loss curves."""
    near = near_optimal(space.cells)
    costs = space.costs
    alone = [tag("figure", draw_alone(space, each.key, study, numbered)) for each in costs if near]
    up = tag("a", "↑", href="#question", class_="up", aria_label="to the answer")
    lines = {"class_": "roll", "tabindex": "0", "role": "region", "aria_label": "Parallel coordinates"}
    return tag(
        "section",
        tag("h3", f"{space.name}: all axes together", " ", up, id=anchor),
        tag("p", costs_said(costs, metric_title(study.metric), short_title), class_="said"),
        tag(
            "div",
            _figure(_costs(costs, study), _costs_caption(costs)) if near else "",
            tag(
                "figure",
                tag("div", draw_parallel(space, study, numbered), **lines),
                tag("figcaption", _parallel_caption(space)),
                class_="whole",
            ),
            curves,
            class_="figures",
        ),
        tag("h4", "Each axis alone"),
        tag("p", ALONE, class_="note"),
        tag("div", *alone, class_="figures small"),
        class_="panel space",
        aria_labelledby=anchor,
    )


def _figure(picture: Markup, caption: str) -> Markup:
    return tag("figure", picture, tag("figcaption", caption))


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
    way = "multiplied by" if factors else "higher by" if study.direction == "min" else "lower by"
    unit = f"{metric_title(study.metric)}, {way}"
    drawn.append(tag("text", unit, x=(AXIS_NAME + right) / 2, y=bottom + 30, class_="title mid"))
    label = "Cost of each axis: " + ", ".join(f"{short_title(each.key)} {each.worse}" for each in known)
    return svg(WIDTH, bottom + 40, *drawn, label=label)


def _costs_caption(costs: Sequence[Cost]) -> str:
    return (
        "How much worse the result is on average if the value of this axis is taken at random, and all other axes have"
        f" their best values for it; with 95% intervals. {'×1' if costs[0].by_factors else '0'}: it does not matter"
        " which value is taken."
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
