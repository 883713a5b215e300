"""The report's pictures as PNG: each is drawn in full, by the report's own colours, whatever users typed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from PIL import Image
from sources import EVIL, sensitivity_source, source, warmup_source

from thalweg.runner.analysis import Warmup
from thalweg.runner.report import pictures, raster, styles
from thalweg.runner.report.pictures import _drawn, _findings
from thalweg.runner.report.raster import DRAWN, SCALE, png
from thalweg.runner.report.styles import Element, style

SOURCES = {
    "maps": lambda: source("one", "two"),
    "warmup": warmup_source,
    "sensitivity": sensitivity_source,
    "hostile": lambda: source(*EVIL[:3]),
    "nothing trained": lambda: source("one", outcome="failed", answers=False),
}
LETTERS = set("MmLlHhVvZz")


def image(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def code(drawn: Image.Image, x: float, y: float) -> str:
    pixel = drawn.getpixel((round(x * SCALE), round(y * SCALE)))
    assert isinstance(pixel, tuple)
    return "#" + "".join(f"{part:02x}" for part in pixel)


@pytest.mark.parametrize("made", SOURCES.values(), ids=SOURCES)
def test_a_picture_holds_nothing_that_the_painter_does_not_know(made):
    for name, picture in _drawn(made().view):
        for element in ElementTree.fromstring(picture).iter():
            assert element.tag in {*DRAWN, "svg", "g"}, name
            assert set(re.findall(r"[A-Za-z]", element.get("d", ""))) <= LETTERS, name
            assert element.get("transform", "").endswith("rotate(-90)") or not element.get("transform"), name
            assert set(element.attrib) <= raster.KNOWN | {"d", "x", "y", "width", "height", "cx", "cy", "r"}, name


@pytest.mark.parametrize("made", SOURCES.values(), ids=SOURCES)
def test_each_picture_is_a_png_of_its_own_shape(made):
    view = made().view
    drawn = dict(_drawn(view))
    found = pictures(view)
    assert found.keys() == drawn.keys()
    for name, content in found.items():
        width, height = (float(each) for each in re.findall(r"[\d.]+", drawn[name].partition('viewBox="')[2])[2:4])
        above = 20 if "/" in name else 0
        assert image(content).size == (round(width * SCALE), round((height + above) * SCALE))
        assert len(image(content).getcolors(1 << 20)) > 3, name


def test_which_pictures_there_are():
    assert list(dict(_drawn(source("one", "two").view))) == ["slopes", "map/one", "map/two"]
    assert {name.partition("/")[0] for name, _ in _drawn(warmup_source().view)} >= {"map", "warmup"}
    assert {name.partition("/")[0] for name, _ in _drawn(sensitivity_source().view)} >= {"sensitivity"}


def test_a_cell_has_its_colour_where_the_report_has_it():
    picture = dict(_drawn(source("one").view))["map/one"]
    drawn, seen = image(png(picture)), 0
    for cell in ElementTree.fromstring(picture).iter("rect"):
        if cell.get("data-c") and (fill := cell.get("fill", "")).startswith("#"):
            x, y, width, height = (float(cell.get(name, "")) for name in ("x", "y", "width", "height"))
            corners = [(x + share * width, y + part * height) for share in (0.1, 0.9) for part in (0.12, 0.88)]
            seen += any(code(drawn, a, b) == fill for a, b in corners)
    cells = [cell for cell in ElementTree.fromstring(picture).iter("rect") if cell.get("fill", "").startswith("#")]
    assert seen >= 0.9 * len(cells) > 20  # the ridge and the frame of the best cell lie over some


@pytest.mark.parametrize(
    ("chain", "name", "value"),
    [
        ((("svg", "picture"), ("text", "")), "fill", "#1c2126"),
        ((("svg", "picture"), ("text", "tick end")), "fill", "#57606a"),
        ((("svg", "picture"), ("text", "tick end")), "text-anchor", "end"),
        ((("svg", "picture"), ("g", "ridge"), ("path", "line")), "stroke", "#111"),
        ((("svg", "picture"), ("g", "measured line1"), ("path", "bold")), "stroke", "#b35900"),
        ((("svg", "picture"), ("path", "bold")), "stroke", "#0b5394"),
        ((("svg", "picture map"), ("g", "seeds")), "visibility", "hidden"),
    ],
)
def test_the_stylesheet_is_read_as_a_browser_reads_it(chain, name, value):
    elements = [Element(tag, frozenset(classes.split())) for tag, classes in chain]
    assert style(elements, {})[name] == value


def test_a_narrower_rule_holds_wherever_it_stands(monkeypatch):
    texts = {"page.css": ":root { --ink: #111; }", "picture.css": ".a .b { fill: var(--ink); }\n.b { fill: red; }"}
    monkeypatch.setattr(styles, "_asset", texts.__getitem__)
    styles._rules.cache_clear()
    chain = [Element("g", frozenset("a")), Element("path", frozenset("b"))]
    assert [style(chain, {}), style(chain[1:], {})] == [{"fill": "#111"}, {"fill": "red"}]
    styles._rules.cache_clear()


def test_what_is_said_in_words_is_no_picture():
    (answer,) = warmup_source().view.answers
    assert isinstance(answer, Warmup)
    whole, lacking = (dict(_findings(each)) for each in (answer, replace(answer, needs=())))
    assert len(lacking) == len(whole) - 1


def test_without_a_font_of_the_machine_texts_are_still_written(monkeypatch):
    raster._font.cache_clear()
    monkeypatch.setattr(raster, "FONTS", ())
    content = png(dict(_drawn(source("one").view))["map/one"], "≥ 1 × é 漢")
    raster._font.cache_clear()
    assert min(image(content).crop((0, 0, 300, 40)).convert("L").tobytes()) < 128
