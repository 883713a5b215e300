"""The page: one HTML file that needs nothing else and reaches for nothing else. Pure; writing it is in __init__.

Script and style stand inside it, allowed by their hashes; the policy forbids everything else, the network first.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

from thalweg.runner.analysis import Answer
from thalweg.runner.base.version import __version__
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.report.answer import draw_answer
from thalweg.runner.report.markup import Markup, data, join, name, tag
from thalweg.runner.report.payload import number_cells, payload
from thalweg.runner.report.provenance import draw_facts, draw_trials
from thalweg.runner.report.sections import draw_curves, draw_panel, draw_wide
from thalweg.runner.report.source import Source
from thalweg.runner.report.space import draw_space
from thalweg.runner.show.inert import clean
from thalweg.runner.show.ramp import code, colour
from thalweg.runner.view import StudyView

STYLE = ("page.css", "picture.css")
SCRIPT = ("page.js", "curves.js", "table.js", "link.js")


def html_of(source: Source, now: datetime) -> str:
    """Return the report as HTML. Equal sources give equal pages but for the line that says `now`."""
    cut = source.view.panels
    numbered = number_cells(cut)
    anchors = {panel.name: f"panel-{i}" for i, panel in enumerate(cut)}
    wide = [answer for answer in source.view.answers if answer.panel not in anchors]
    drawn = [draw_wide(answer, f"together-{i}") for i, answer in enumerate(wide)]
    drawn += [
        draw_space(space, source.view.study, numbered, f"axes-{i}", draw_curves(space.best, numbered))
        for i, space in enumerate(source.view.spaces)
    ]
    drawn += [
        draw_panel(
            panel,
            _of(panel, source),
            source.view.study,
            numbered,
            anchor=anchors[panel.name],
            among=_among(panel, source.view),
        )
        for panel in cut
        if panel.trained
    ]
    style, script = (join(*(Markup(_asset(file)) for file in group)) for group in (STYLE, SCRIPT))
    body = tag(
        "body",
        _top(source, now),
        _definitions(),
        tag(
            "main",
            draw_answer(source, anchors),
            *([tag("h2", _drawn(cut, len(drawn)), id="panels"), *drawn] if drawn else []),
            draw_trials(source),
            draw_facts(source),
        ),
        _kept(),
        tag("div", "", id="tip", hidden=True, aria_hidden="true"),
        tag("script", data(payload(source)), type="application/json", id="data"),
        tag("script", script),
    )
    return "\n".join(["<!doctype html>", tag("html", _head(source, style, script), body, lang="en"), ""])


def _among(panel: Panel, view: StudyView) -> Sequence[Cell]:
    """The cells that a panel shares its colours with: those of its grid, or its own; none where it is the only one."""
    if len(view.panels) == 1:
        return ()
    own = {id(cell) for cell in panel.cells}
    return next((space.cells for space in view.spaces if own & set(map(id, space.cells))), panel.cells)


def _drawn(cut: Sequence[Panel], sections: int) -> str:
    if sections > 1:
        return "Panels"
    return "The grid" if sum(len(panel.cells) for panel in cut) > 1 else "The result"


def _of(panel: Panel, source: Source) -> list[Answer]:
    return [answer for answer in source.view.answers if answer.panel == panel.name]


def _head(source: Source, style: Markup, script: Markup) -> Markup:
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{clean(source.view.study.name)}: {clean(source.view.study.question)}".rstrip(": ")),
        tag("style", style),
    )


def _top(source: Source, now: datetime) -> Markup:
    written = tag("span", f"thalweg {__version__}, {now:%Y-%m-%d %H:%M} UTC")
    return tag(
        "header",
        tag("span", "study ", tag("strong", name(source.view.study.name)), class_="study"),
        join(Markup("\n"), written, Markup("\n")),  # a line of its own: all that differs between equal reports
        tag(
            "span",
            tag("label", tag("input", type="checkbox", id="seeds"), " each seed"),
            tag("button", "Dark", id="theme", type="button"),
            class_="switches",
            hidden=True,
        ),
    )


def _kept() -> Markup:
    """The cells that a reader keeps in view, which the script fills in."""
    release = tag("button", "Let all go", type="button", class_="all")
    return tag("aside", tag("ul"), release, id="kept", aria_label="Cells kept in view", hidden=True)


def _definitions() -> Markup:
    """The hatching and the colour ramp that all pictures refer to."""
    stops = [tag("stop", offset=f"{i * 10}%", stop_color=code(colour(i / 10))) for i in range(11)]
    line = tag("path", d="M-1 7L7 -1M-1 1L1 -1M5 7L7 5", class_="hatching")
    hatch = tag("pattern", line, id="hatch", width="6", height="6", patternUnits="userSpaceOnUse")
    ramp = tag("linearGradient", *stops, id="ramp")
    return tag("svg", tag("defs", hatch, ramp), width="0", height="0", class_="defs", aria_hidden="true")


def _asset(file: str) -> str:
    return files("thalweg.runner.report").joinpath(file).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
