"""A ramp of colours from worst to best, told apart by lightness alone, so that no hue must be seen. Pure."""

from __future__ import annotations

import math

_STOPS = ((0, 32, 76), (49, 68, 107), (102, 105, 112), (149, 143, 120), (202, 186, 106), (255, 234, 70))
"""Six stops of cividis (Nuñez, Anderton & Renslow 2018), dark to light; best is light."""
EVEN = 0.179
"""The luminance against which black and white text have equal contrast."""


Colour = tuple[int, int, int]


def share(score: float, best: float, worst: float) -> float:
    """Return how good `score` is: 1 at `best` (or where all are equal), 0 at `worst` and beyond."""
    return min(max((worst - score) / (worst - best), 0.0), 1.0) if worst > best else 1.0


def colour(share: float) -> Colour:
    """Return the colour at a place from 0, the worst and darkest, to 1, the best and lightest."""
    place = share * (len(_STOPS) - 1)
    low = min(math.floor(place), len(_STOPS) - 2)
    r, g, b = (round(a + (c - a) * (place - low)) for a, c in zip(_STOPS[low], _STOPS[low + 1], strict=True))
    return r, g, b


def ink(colour: Colour) -> str:
    """Return black or white, whichever is told apart better on `colour`."""
    return "#000000" if _luminance(*colour) > EVEN else "#ffffff"


def code(colour: Colour) -> str:
    """Return a colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def shade(score: float, best: float, worst: float) -> str:
    """Return the rich style of a cell whose score lies between `best` and `worst`, foreground included."""
    found = colour(share(score, best, worst))
    return f"{ink(found)} on {code(found)}"


def _luminance(*channels: int) -> float:
    """Relative luminance of an sRGB colour in [0, 1], as WCAG 2 defines it."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
