"""Three axes and more: what each costs, all cells as lines, each axis alone."""

from __future__ import annotations

import random
import re

from sources import EVIL, NOW
from three_axes import B1S, LRS, WDS, bowl
from three_report import source_of

from thalweg.runner.report import html_of


def planted_bowl(**how):
    return bowl(0.01, random.Random(5), beta=0.3, **how)


def test_the_section_says_what_matters_and_what_cannot_be_told():
    text = html_of(source_of(planted_bowl()), NOW)
    said = re.search(r'class="said">(What matters most.*?)</p>', text).group(1)
    assert "What matters most is learning rate" in said
    assert "Then β1 (×1.1" in said
    assert "The seeds cannot tell whether weight decay (×" in said
    assert "grid: all axes together" in text


def test_every_cell_is_a_line_and_each_axis_has_its_picture():
    text = html_of(source_of(planted_bowl()), NOW)
    cells = len(LRS) * len(WDS) * len(B1S)
    lines = re.findall(r'<path d="M[^"]*C[^"]*" class="[^"]*" data-c="\d+" data-v="\d,\d,\d">', text)
    assert len(lines) == cells
    assert len(re.findall(r'class="good first"', text)) == 1
    for axis in ("learning rate", "weight decay", "β1"):
        assert f"validation loss along {axis}, with 95% intervals; grid" in text
    assert "lower is better" in text


def test_diverged_cells_end_apart_and_are_counted():
    text = html_of(source_of(lambda lr, wd, b1, seed: None if lr > 1 and wd == 1.0 else 0.5 + b1 / 10), NOW)
    assert "× no result" in text
    assert len(re.findall(r'class="none" data-c', text)) == 2 * 3


def test_of_a_metric_that_is_best_large_the_cost_is_a_difference_and_its_best_end_on_top():
    text = html_of(source_of(lambda lr, wd, b1, seed: 0.9 - b1 / 10 + seed / 1000, "val/r2", "max"), NOW)
    assert "higher is better" in text
    assert re.search(r"all other axes for it, validation r2 is 0\.0\d+ \[0\.\d+, 0\.\d+\] lower on average", text)


def test_names_are_inert_and_lie_at_equal_distances():
    rename = dict(zip(B1S, (EVIL[0], EVIL[1], "plain"), strict=True))
    text = html_of(source_of(planted_bowl(), rename=rename), NOW)
    assert EVIL[0] not in text
    assert "window.pwned=1></script>" not in text.partition("<main>")[2].partition('id="data"')[0]


def test_where_nothing_trains_there_is_no_section():
    text = html_of(source_of(lambda *at: None), NOW)
    assert "all axes together" not in text
    assert "Every cell diverged" in text
