"""The report of a study: one self-contained HTML file, from rows, answers and series. Knows no torch and no SQL.

html        the page, from its source; page.css, picture.css, page.js, curves.js, table.js and link.js go into it
source      what a report is made of
answer      the top: question, verdicts, slopes, caveats
sections    a panel
space       all axes of a grid of three and more: what each costs
parallel    its cells as lines
alone       one of its axes
provenance  the foot: the table of trials, and what to check it by
maps        a panel as a map
slices      cuts through a panel
findings    estimates along an axis
chart       the frame every picture shares
pictures    the same pictures as PNG files
raster      an SVG picture as PNG
styles      what the stylesheet says of a picture's elements
ruler       one axis of a picture
axes        one axis of many, numbers or names
curves      series made small
payload     what the page's script is given
markup      HTML and SVG that escape by construction
titles      keys, metrics and cells, for a reader who never saw the tool
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from pathlib import Path

from thalweg.runner.base.errors import UsageError
from thalweg.runner.base.whole import write_whole
from thalweg.runner.report.html import html_of
from thalweg.runner.report.pictures import pictures
from thalweg.runner.report.source import Source

__all__ = ["Source", "html_of", "path_of", "pictures", "write"]


def path_of(study: str, folder: Path) -> Path:
    """Return the file of a study's report: its name where that is plain, else made plain and told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", study).strip("-.")[:60]
    if plain == study:
        return folder / f"{plain}.html"
    return folder / f"{plain or 'study'}-{hashlib.sha256(study.encode()).hexdigest()[:6]}.html"


def write(source: Source, path: Path, now: datetime) -> int:
    """Write the report to `path`, whole or not at all; return its size in bytes. Raises UsageError if it cannot."""
    content = html_of(source, now).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write the report to {path}: {reason}", "name another file: --out FILE") from None
    return len(content)
