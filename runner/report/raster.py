"""A picture of the report as PNG, for viewers that show no SVG. A door of pillow; it knows nothing of what is shown.

It draws what the report's own pictures are made of, and no more of SVG: paths of straight lines, rectangles, circles,
lines and texts, in groups. Everything is drawn at twice its size and made smaller, which smooths edges.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from thalweg.runner.report.markup import Markup
from thalweg.runner.report.styles import INHERITED, Element, style
from thalweg.runner.show.ramp import code, colour

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

SCALE, FINER = 2, 2
"""Pixels of the file for one of the picture's; how much finer it is drawn."""
ZOOM = SCALE * FINER
FONTS = ("DejaVuSans.ttf", "Arial.ttf", "LiberationSans-Regular.ttf", "Helvetica.ttc")
LETTERS = {"DejaVuSans.ttf": 0.92}
"""Its letters are wider than those that the pictures are laid out for."""
PLAIN = str.maketrans({"≥": ">", "≤": "<", "−": "-", "×": "x", "–": "-", "—": "-", "’": "'", "→": ">", "²": "2"})
"""For pillow's own font, which has little more than ASCII."""

BLACK, NOTHING = "#000000", ("none", "transparent")
KNOWN = {
    *("viewBox", "class", "role", "aria-label", "tabindex", "data-c", "transform", "fill", "stroke", "stroke-width"),
    *("fill-opacity", "opacity", "stroke-dasharray"),
}
"""Attributes that are drawn, or that no picture shows."""

Point = tuple[float, float]
Style = Mapping[str, str]


def png(picture: Markup, title: str = "") -> bytes:
    """Return a picture as a PNG file on white, under its title if there is one."""
    from PIL import Image, ImageDraw

    root = ElementTree.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    above = 20.0 if title else 0.0
    size = round(width * ZOOM), round((height + above) * ZOOM)
    image = Image.new("RGB", size, "white")
    on = _Paper(ImageDraw.Draw(image, "RGBA"), above)
    if title:
        on.write(title, (8.0, 14.0 - above), {"font-size": "12px", "font-weight": "600", "fill": "#1c2126"})
    _draw(root, [], {}, on)
    out = io.BytesIO()
    image.resize((size[0] // FINER, size[1] // FINER), Image.Resampling.BOX).save(out, "PNG")
    return out.getvalue()


def _draw(node: ElementTree.Element, above: Sequence[Element], inherited: Style, on: _Paper) -> None:
    chain = [*above, Element(node.tag, frozenset(node.get("class", "").split()))]
    look = {**inherited, **style(chain, node.attrib)}
    if look.get("visibility") == "hidden":
        return
    if node.tag in DRAWN:
        DRAWN[node.tag](node, look, on)
    for child in node:
        _draw(child, chain, {name: look[name] for name in INHERITED if name in look}, on)


class _Paper:
    """What is drawn on, in the picture's own coordinates."""

    def __init__(self, draw: ImageDraw.ImageDraw, above: float) -> None:
        self._draw = draw
        self._above = above

    def at(self, point: Point) -> Point:
        return point[0] * ZOOM, (point[1] + self._above) * ZOOM

    def fill(self, points: Sequence[Point], paint: str, opacity: float) -> None:
        """Fill a polygon. paint: a colour, or one of the two patterns that the report defines."""
        placed = [self.at(point) for point in points]
        if paint == "url(#hatch)":
            self._hatch(placed)
        elif paint == "url(#ramp)":
            left, right = placed[0][0], placed[1][0]
            for x in range(round(left), round(right)):
                shade = code(colour((x - left) / (right - left)))
                self._draw.line([(x, placed[0][1]), (x, placed[2][1])], fill=shade, width=1)
        elif len(placed) > 2:
            self._draw.polygon(placed, fill=_ink(paint, opacity))

    def _hatch(self, box: Sequence[Point]) -> None:
        (left, top), (right, bottom) = box[0], box[2]
        step = 6.0 * ZOOM
        for number in range(math.ceil((left + top) / step), math.floor((right + bottom) / step) + 1):
            x, y = number * step, bottom  # a line from lower left to upper right: x + y is the same along it
            start, end = max(left, x - y), min(right, x - top)
            if start < end:
                self._draw.line([(start, x - start), (end, x - end)], fill="#9aa0a6", width=ZOOM)

    def stroke(self, points: Sequence[Point], look: Style, opacity: float) -> None:
        """Draw a line through points, in dashes where it has some; a line of no length is its round end."""
        width = float(look.get("stroke-width", "1").removesuffix("px"))
        ink = _ink(look["stroke"], opacity * float(look.get("stroke-opacity", 1)))
        placed = [self.at(point) for point in points]
        if all(point == placed[0] for point in placed):
            if look.get("stroke-linecap") == "round":
                self.disc(points[0], width / 2, ink)
            return
        dashes = [float(each) * ZOOM for each in look.get("stroke-dasharray", "").split()]
        for part in _dashed(placed, dashes) if dashes else [placed]:
            self._draw.line(part, fill=ink, width=max(1, round(width * ZOOM)), joint="curve")

    def disc(self, centre: Point, radius: float, ink: Any, rim: Any = None, width: float = 0.0) -> None:
        """Draw a disc and its rim."""
        (x, y), r = self.at(centre), radius * ZOOM
        self._draw.ellipse([x - r, y - r, x + r, y + r], fill=ink, outline=rim, width=round(width * ZOOM))

    def write(self, text: str, at: Point, look: Style, *, anchor: str = "l", upright: bool = False) -> None:
        """Write a text whose line ends, begins or has its middle at a point."""
        size = float(look.get("font-size", "11px").removesuffix("px"))
        font, plain = _font(round(size * ZOOM * 2) / 2)
        shown = text.translate(PLAIN) if plain else text
        strong = 1 if look.get("font-weight") == "600" else 0
        ink = look.get("fill", BLACK)
        if not upright:
            halo = {"stroke_width": round(1.5 * ZOOM), "stroke_fill": "white"} if look.get("stroke") else {}
            rest: dict[str, Any] = halo or {"stroke_width": strong, "stroke_fill": ink}
            self._draw.text(self.at(at), shown, fill=ink, font=font, anchor=f"{anchor}s", **rest)
            return
        from PIL import Image, ImageDraw

        length, high = font.getlength(shown), round(size * ZOOM * 1.5)
        strip = Image.new("L", (math.ceil(length), high))
        ImageDraw.Draw(strip).text((0, high * 0.75), shown, fill=255, font=font, anchor="ls")
        turned, (x, y) = strip.rotate(90, expand=True), self.at(at)
        self._draw.bitmap((round(x - high * 0.75), round(y - length / 2)), turned, fill=ink)


def _path(node: ElementTree.Element, look: Style, on: _Paper) -> None:
    opacity = float(look.get("opacity", 1))
    lines = list(_lines(node.get("d", "")))
    if look.get("fill") not in NOTHING:
        for line in lines:
            on.fill(line, look.get("fill", BLACK), opacity * float(look.get("fill-opacity", 1)))
    if look.get("stroke", "none") not in NOTHING:
        for line in lines:
            on.stroke(line, look, opacity)


def _rect(node: ElementTree.Element, look: Style, on: _Paper) -> None:
    x, y, width, height = (float(node.get(name, "0")) for name in ("x", "y", "width", "height"))
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    if look.get("fill") not in NOTHING:
        on.fill(corners, look.get("fill", BLACK), float(look.get("fill-opacity", 1)))
    if look.get("stroke", "none") not in NOTHING:
        on.stroke([*corners, corners[0], corners[1]], look, 1.0)


def _circle(node: ElementTree.Element, look: Style, on: _Paper) -> None:
    centre, radius = (float(node.get("cx", "0")), float(node.get("cy", "0"))), float(node.get("r", "0"))
    opacity = float(look.get("fill-opacity", 1))
    fill = None if look.get("fill") in NOTHING else _ink(look.get("fill", BLACK), opacity)
    on.disc(centre, radius, fill, look.get("stroke"), float(look.get("stroke-width", "1")) if look.get("stroke") else 0)


def _text(node: ElementTree.Element, look: Style, on: _Paper) -> None:
    said = "".join(node.itertext())
    anchor = {"middle": "m", "end": "r"}.get(look.get("text-anchor", ""), "l")
    turned = re.match(r"translate\(([\d.-]+) ([\d.-]+)\)rotate\(-90\)", node.get("transform", ""))
    if turned:
        on.write(said, (float(turned[1]), float(turned[2])), look, upright=True)
    else:
        on.write(said, (float(node.get("x", "0")), float(node.get("y", "0"))), look, anchor=anchor)


DRAWN: dict[str, Callable[[ElementTree.Element, Style, _Paper], None]] = {
    "path": _path,
    "rect": _rect,
    "circle": _circle,
    "text": _text,
}


def _lines(d: str) -> Iterator[list[Point]]:
    """The lines of a path of M, L, H, V and Z, absolute or relative, each as its points."""
    x = y = 0.0
    line: list[Point] = []
    for letter, rest in re.findall(r"([MmLlHhVvZz])([^MmLlHhVvZz]*)", d):
        numbers = [float(each) for each in re.findall(r"-?\d*\.?\d+", rest)]
        if letter in "Zz":
            line.append(line[0])
            x, y = line[0]
            continue
        before = (x, y) if letter.islower() else (0.0, 0.0)
        if letter in "Hh":
            x = before[0] + numbers[0]
        elif letter in "Vv":
            y = before[1] + numbers[0]
        else:
            x, y = before[0] + numbers[0], before[1] + numbers[1]
        if letter in "Mm":
            if line:
                yield line
            line = []
        line.append((x, y))
    if line:
        yield line


def _dashed(points: Sequence[Point], pattern: Sequence[float]) -> Iterator[list[Point]]:
    """The drawn parts of a line whose dashes and gaps take turns."""
    place, left = 0, pattern[0]
    for (x, y), (to_x, to_y) in pairwise(points):
        length, gone = math.dist((x, y), (to_x, to_y)), 0.0
        while gone < length:
            step = min(left, length - gone)
            ends = [(x + (to_x - x) * share / length, y + (to_y - y) * share / length) for share in (gone, gone + step)]
            if place % 2 == 0:
                yield ends
            gone, left = gone + step, left - step
            if left <= 0:
                place += 1
                left = pattern[place % len(pattern)]


def _ink(paint: str, opacity: float) -> tuple[int, int, int, int]:
    from PIL import ImageColor

    red, green, blue = ImageColor.getrgb(paint)[:3]
    return red, green, blue, round(255 * opacity)


@cache
def _font(size: float) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    """A font of the machine's, or pillow's own: True for that one."""
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size * LETTERS.get(name, 1.0)), False
        except OSError:
            continue
    return ImageFont.load_default(size), True
