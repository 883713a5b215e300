"""Pictures of findings along an axis: estimates with intervals, bounds as arrows. For warmup and sensitivity."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.runner.analysis import Finding, Sensitivity, Warmup, WarmupLevel
from thalweg.runner.report.chart import LEFT, Frame, apart, dots, legend, path, runs, svg
from thalweg.runner.report.markup import Markup, px, tag
from thalweg.runner.report.ruler import Ruler
from thalweg.runner.show.numbers import figure, short

WIDTH, HEIGHT = 400.0, 300.0
Trace = tuple[str, Sequence[tuple[float, Finding]]]


def draw_warmup(answer: Warmup) -> list[tuple[Markup, str]]:
    """Return the pictures of a warmup answer, each with its caption."""
    levels = answer.levels
    rates: list[Trace] = [
        ("trainable", [(level.warmup, level.trainable) for level in levels]),
        ("spike-free", [(level.warmup, level.spike_free) for level in levels]),
    ]
    needs: list[Trace] = [
        ("sufficient", [(need.lr, need.sufficient) for need in answer.needs]),
        ("spike-free", [(need.lr, need.spike_free) for need in answer.needs]),
    ]
    sums = "What each length of warmup spends at its best learning rate: sums over the steps of lr, and of lr·wd."
    return [
        (
            _draw(rates, "warmup, steps", "largest learning rate"),
            "The largest learning rate that each warmup allows.",
        ),
        (_draw(needs, "learning rate", "warmup, steps"), "The shortest warmup that each learning rate asks for."),
        (
            _draw([("", [(level.warmup, level.best) for level in levels])], "warmup, steps", "best loss"),
            "The best loss that each length of warmup reaches.",
        ),
        (
            _draw([("", [(level.warmup, level.sensitivity) for level in levels])], "warmup, steps", "sensitivity"),
            "Sensitivity: what a learning rate that is not the best costs on average.",
        ),
        *([(_spent(levels), sums)] if any(level.spent for level in levels) else []),
    ]


def _spent(levels: Sequence[WarmupLevel]) -> Markup:
    heads = ("warmup, steps", "best learning rate", "Σlr", "Σlr·wd")
    lines = [
        (
            short(each.warmup),
            short(each.spent.lr),
            *(figure(f.estimate or 0.0) for f in (each.spent.rate, each.spent.decay)),
        )
        for each in levels
        if each.spent
    ]
    head = tag("tr", *(tag("th", name, scope="col", class_="num") for name in heads))
    body = (tag("tr", *(tag("td", text, class_="num") for text in line)) for line in lines)
    return tag("table", tag("thead", head), tag("tbody", *body))


def draw_sensitivity(answer: Sensitivity) -> Markup:
    """Return the sensitivity of each curve as a dot with its interval, a line each."""
    known = [(curve.name, curve.sensitivity) for curve in answer.curves if curve.sensitivity.estimate is not None]
    ends = [end for _, f in known for end in (f.estimate, f.low, f.high) if end is not None]
    least, most = min([0.0, *ends]), max(ends, default=1.0)
    x = Ruler([least, most + (most - least) * 0.05], 12.0, WIDTH - 12, pad=0, round_ticks=True)
    height, drawn = 8.0, []
    for curve, finding in known:
        height += 30
        low, high = finding.low, finding.high
        value = finding.estimate or 0.0
        drawn.append(tag("text", f"{curve or answer.panel}: {figure(value)}", x=12.0, y=height - 12, class_="tick"))
        if low is not None and high is not None:
            drawn.append(tag("path", class_="bars", d=f"M{px(x.at(low))} {px(height)}H{px(x.at(high))}"))
        drawn.append(tag("path", class_="dots", d=dots([(x.at(value), height)])))
    drawn += [tag("text", label, x=at, y=height + 26, class_="tick mid") for at, label in apart(x.ticks(5))]
    drawn.append(tag("path", class_="grid", d=f"M12 {px(height + 12)}H{px(WIDTH - 12)}"))
    drawn.append(tag("text", "sensitivity to the learning rate", x=WIDTH / 2, y=height + 42, class_="title mid"))
    return svg(WIDTH, height + 50, *drawn, label=f"Sensitivity to the learning rate, {answer.panel}")


def _draw(traces: Sequence[Trace], x_title: str, y_title: str) -> Markup:
    known = [(name, [(at, f) for at, f in points if f.estimate is not None]) for name, points in traces]
    values = [v for _, points in known for _, f in points for v in (f.estimate, f.low, f.high) if v is not None]
    places = [at for _, points in traces for at, _ in points]
    if not values:
        return tag("p", f"{y_title.capitalize()}: not identified.", class_="note")
    x = Ruler(places, LEFT, WIDTH - 12)
    y = Ruler(values, HEIGHT - 36, 20.0, pad=0, round_ticks=True)
    room = 0.05 * (y.high - y.low)  # so that no interval ends on the frame, and looks cut off
    y.low, y.high = y.low - room, y.high + room
    drawn = [_trace(points, x, y, i) for i, (_, points) in enumerate(known)]
    named = legend([name for name, points in known if points], WIDTH - 14) if len(known) > 1 else []
    frame = Frame(x, y, WIDTH, HEIGHT).draw(x_title, y_title)
    return svg(WIDTH, HEIGHT, frame, *drawn, *named, label=f"{y_title} against {x_title}")


def _trace(points: Sequence[tuple[float, Finding]], x: Ruler, y: Ruler, number: int) -> Markup:
    placed = [(x.at(at), y.at(f.estimate or 0.0)) for at, f in points]
    if not placed:
        return Markup("")
    estimates = runs([None if f.side else place for place, (_, f) in zip(placed, points, strict=True)])
    bars = "".join(
        f"M{px(x.at(at))} {px(y.at(f.low))}V{px(y.at(f.high))}"
        for at, f in points
        if f.low is not None and f.high is not None
    )
    arrows = "".join(
        f"M{px(px_x - 4)} {px(px_y + way)}l4 {px(way * 1.6)}l4 {px(-way * 1.6)}"
        for (px_x, px_y), (_, f) in zip(placed, points, strict=True)
        if f.side
        for way in [-5.0 if f.side == ">" else 5.0]
    )
    return tag(
        "g",
        tag("path", class_="bars", d=bars + arrows) if bars or arrows else "",
        tag("path", class_="bold", d="".join(path(run) for run in estimates)),
        tag("path", class_="dots", d=dots(placed)),
        class_=f"measured line{number}",
    )
