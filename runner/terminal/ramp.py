"""A ramp of background colours from worst to best, told apart by lightness alone, so that no hue must be seen."""

from __future__ import annotations

import math

_STOPS = ((0, 32, 76), (49, 68, 107), (102, 105, 112), (149, 143, 120), (202, 186, 106), (255, 234, 70))
"""Six stops of cividis (Nuñez, Anderton & Renslow 2018), dark to light; best is light."""
EVEN = 0.179
"""The luminance against which black and white text have equal contrast."""


def shade(score: float, best: float, worst: float) -> str:
    """Return the rich style of a cell whose score lies between `best` and `worst`, foreground included."""
    share = (worst - score) / (worst - best) if worst > best else 1.0
    place = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(math.floor(place), len(_STOPS) - 2)
    r, g, b = (round(a + (c - a) * (place - low)) for a, c in zip(_STOPS[low], _STOPS[low + 1], strict=True))
    ink = "#000000" if _luminance(r, g, b) > EVEN else "#ffffff"
    return f"{ink} on #{r:02x}{g:02x}{b:02x}"


def _luminance(*channels: int) -> float:
    """Relative luminance of an sRGB colour in [0, 1], as WCAG 2 defines it."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
