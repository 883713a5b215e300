"""The report as a browser has it: nothing asked of the network, no complaint, and everything that moves works."""

from __future__ import annotations

import base64
import os
import random
from dataclasses import replace

import numpy as np
import pytest
from chromium import Chromium, Tab, found
from sources import EVIL, NOW, seen, source
from three_axes import bowl
from three_report import source_of

from thalweg.runner.facts.observation import Series
from thalweg.runner.report import write

pytestmark = pytest.mark.skipif(found() is None, reason="NOT RUN: needs a browser (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Chromium(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A report of two panels, every name in it hostile."""
    path = tmp_path_factory.mktemp("report") / "planted.html"
    made = source(EVIL[0], EVIL[1], name=EVIL[2], question=EVIL[3])
    rows = [
        replace(row, axes={**row.axes, "model": EVIL[i % len(EVIL)]}, error=EVIL[4])
        for i, row in enumerate(made.view.rows)
    ]
    answers = [replace(each, verdict=EVIL[5]) for each in made.view.answers]
    write(seen(made, rows=rows, answers=answers), path, NOW)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "planted.html"
    write(source("one panel", "another"), path, NOW)
    return path


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A report of a grid of three axes."""
    path = tmp_path_factory.mktemp("report") / "three.html"
    write(source_of(bowl(0.01, random.Random(5), beta=0.3)), path, NOW)
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A report of a study whose model logged numbers, one of them hostile in name, and some negative."""
    made = source("one panel", "another")
    inner = made.view.series

    def series(trial_id):
        found = {**inner(trial_id)}
        if found:
            steps = found["train/batch_loss"].steps
            found |= {
                "train/gradient_norm": Series(steps, np.geomspace(10, 1e-3, len(steps))),
                f"train/{EVIL[0]}": Series(steps, np.linspace(-1, 1, len(steps))),
            }
        return found

    path = tmp_path_factory.mktemp("report") / "told.html"
    write(replace(made, view=replace(made.view, series=series)), path, NOW)
    return path


@pytest.fixture
def tab(browser):
    opened = Tab(browser)
    opened.size(1280, 900)
    yield opened
    assert opened.complaints == []
    opened.close()


def test_it_asks_for_nothing_but_itself_and_hostile_names_do_nothing(tab, file):
    tab.open(file)
    assert tab.requests == [file.as_uri()]
    assert tab.ask("window.pwned") is None
    assert tab.ask("document.querySelectorAll('img, iframe, script[src], link').length") == 0
    assert tab.ask("document.querySelector('h1').textContent") == EVIL[3]


def test_pointing_at_a_cell_shows_its_curves_and_a_click_keeps_them(tab, plain):
    tab.open(plain)
    lines = "document.querySelectorAll('.plot .trace').length"
    caption = "document.querySelector('.curves .key').textContent"
    alone = tab.ask(lines)
    assert alone == 2 * 2 * 3, "two panels show two series of three seeds of their best cells"
    tab.point(".cells [data-c='13']")
    assert tab.ask(lines) == alone + 12, "its own, and those of its twin in the other panel"
    assert "learning rate 1/128" in tab.ask(caption)
    tab.point("h1")
    assert tab.ask(lines) == alone
    tab.point(".cells [data-c='13']", click=True)
    tab.point("h1")
    assert tab.ask(lines) == alone + 12, "beside the best one of each panel"
    assert tab.ask("document.querySelectorAll('[data-c].chosen').length") == 1
    assert tab.ask("document.querySelector('[data-c=\"13\"]').getAttribute('aria-pressed')") == "true"


def test_what_a_model_told_is_drawn_in_place_of_the_losses(tab, plain, told):
    tab.open(plain)
    assert tab.ask("document.querySelectorAll('select').length") == 0, "nothing was told there"
    tab.open(told)
    assert tab.ask("[...document.querySelector('select').options].map(each => each.textContent)") == [
        "losses",
        EVIL[0].replace("_", " "),
        "gradient norm",
    ]
    ticks = "[...document.querySelectorAll('.panel')].map(each => each.querySelector('.plot').textContent)"
    assert all("training steploss" in text for text in tab.ask(ticks))
    for value, tick in (("0", "-0.5"), ("1", "0.01")):
        tab.ask(f"which = document.querySelectorAll('select')[1], which.value = '{value}'")
        tab.ask("which.dispatchEvent(new Event('change'))")
        assert all(tick in text for text in tab.ask(ticks)), tab.ask(ticks)
        assert set(tab.ask("[...document.querySelectorAll('select')].map(each => each.value)")) == {value}
        assert tab.ask("document.querySelectorAll('.plot .trace').length") == 2 * 3, "a line a seed"
    assert "gradient norm" in tab.ask("document.querySelector('.curves .key').textContent")
    assert tab.ask("window.pwned") is None


def test_the_keyboard_reaches_the_cells(tab, plain):
    tab.open(plain)
    assert tab.ask("document.querySelector('.panel').querySelectorAll('.cells [tabindex=\"0\"]').length") == 1
    tab.ask("document.querySelector('.cells [tabindex=\"0\"]').focus()")
    before = tab.ask("+document.activeElement.dataset.c")
    tab.press("ArrowRight")
    after = tab.ask("+document.activeElement.dataset.c")
    assert after == before + 9, "the next rate of the same product"
    tab.press("Enter")
    assert tab.ask("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_what_is_pointed_at_or_kept_is_marked_in_every_picture_and_in_the_table(tab, three):
    tab.open(three)
    tab.point(".map .cells [data-c='4']")
    marked = "[...document.querySelectorAll('[data-c].here')].map(shape => +shape.dataset.c)"
    assert set(tab.ask(marked)) == {4}
    assert len(tab.ask(marked)) == 1 + 1 + 3, "in its map, as a line, and as a dot of each axis"
    twins = "new Set([...document.querySelectorAll('.twin')].map(shape => shape.dataset.c)).size"
    assert tab.ask(twins) == 2, "the same learning rate and weight decay at each other beta1"
    assert not tab.ask("document.getElementById('tip').hidden")
    assert "learning rate" in tab.ask("document.getElementById('tip').textContent")
    tab.point(".map .cells [data-c='4']", click=True)
    kept = "document.getElementById('kept')"
    assert not tab.ask(f"{kept}.hidden")
    assert tab.ask("document.querySelectorAll('#table tr.chosen').length") == 3
    tab.ask("document.querySelector('#table tr.chosen button').click()")
    assert tab.ask(f"{kept}.hidden"), "the table lets go of what a map kept"
    tab.ask("document.querySelector('#table tbody button').click()")
    assert tab.ask(f"{kept}.querySelectorAll('li').length") == 1
    tab.press("Escape")
    assert tab.ask(f"{kept}.hidden")


def test_a_value_of_an_axis_leaves_only_its_cells_by_mouse_and_keyboard(tab, three):
    tab.open(three)
    out = "[...document.querySelectorAll('.lines path')].filter(line => line.classList.contains('out')).length"
    assert tab.ask(out) == 0
    tab.point("[data-f='1,0']", click=True)
    assert tab.ask(out) == 36
    assert tab.ask("document.querySelector('.chosen-cells').textContent") == "18 of 54 cells."
    assert tab.ask("document.querySelectorAll('.map .cells .out').length") == 36, "in the maps too"
    tab.ask("document.querySelector(\"[data-f='2,0']\").focus()")
    tab.press("Enter")
    assert tab.ask(out) == 48
    tab.press("Enter")
    tab.point("[data-f='1,0']", click=True)
    assert tab.ask(out) == 0


def test_the_table_sorts_by_every_heading_both_ways(tab, plain):
    tab.open(plain)
    heads = tab.ask("[...document.querySelectorAll('#table th span:first-child')].map(span => span.textContent)")
    assert heads[0] == "id"
    assert "validation loss" in heads
    at = heads.index("validation loss")
    values = f"[...document.querySelectorAll('#table tbody tr')].map(tr => tr.cells[{at}].textContent)"
    shown = [float(value) for value in tab.ask(values) if value]
    assert shown == sorted(shown), "the best come first"
    for down in (True, False):
        tab.ask(f"document.querySelectorAll('#table th button')[{at}].click()")
        shown = [float(value) for value in tab.ask(values) if value]
        assert shown == sorted(shown, reverse=down)
        assert tab.ask(f"document.querySelectorAll('#table th')[{at}].ariaSort") == (
            "descending" if down else "ascending"
        )
    at = heads.index("learning rate")
    tab.ask(f"document.querySelectorAll('#table th button')[{at}].click()")
    rates = tab.ask(f"[...document.querySelectorAll('#table tbody tr')].map(tr => tr.cells[{at}].textContent)")
    assert set(rates[:54]) == {"1/256"}, "numbers keep their order, not that of their names"


def test_the_table_is_filtered_and_drawn_a_page_at_a_time(tab, plain):
    tab.open(plain)
    count = "document.querySelectorAll('#table tbody tr').length"
    assert tab.ask(count) == 100
    tab.ask("document.getElementById('more').click()")
    assert tab.ask(count) == 400
    wait = "new Promise(done => setTimeout(done, 300))"
    tab.ask("search = document.getElementById('search'), search.value = 'another diverged'")
    tab.ask(f"search.dispatchEvent(new Event('input')), {wait}")
    rows = tab.ask("[...document.querySelectorAll('#table tbody tr')].map(tr => tr.textContent)")
    assert rows
    assert all("diverged" in row and "another" in row for row in rows)
    assert "648 in all" in tab.ask("document.getElementById('shown').textContent")


@pytest.mark.long
@pytest.mark.parametrize(
    ("typed", "holds"),
    [
        ("val/loss<0.9", lambda loss, lr: loss < 0.9),
        ("lr >= 1/8 validation loss < 1", lambda loss, lr: lr >= 0.124 and loss < 1),
        ("optimizer.lr=0.125 val/loss>0.5", lambda loss, lr: abs(lr - 0.125) < 1e-6 and loss > 0.5),
        ("lr!=0.125 finished", lambda loss, lr: abs(lr - 0.125) > 1e-6 and loss is not None),
    ],
)
def test_the_table_is_filtered_by_conditions_on_numbers(tab, plain, typed, holds):
    tab.open(plain)
    (of,) = tab.ask(
        "[DATA.table.map(c => [c.key, c.labels ? c.values.map(v => c.numbers ? c.numbers[v] : v) : c.values])]"
    )
    values = dict(each for each in of if each[0])
    pairs = zip(values["val/loss"], values["optimizer.lr"], strict=True)
    wanted = sum(1 for loss, lr in pairs if loss is not None and holds(loss, lr))
    tab.ask(f"search = document.getElementById('search'), search.value = {typed!r}")
    tab.ask("search.dispatchEvent(new Event('input')), new Promise(done => setTimeout(done, 300))")
    said = tab.ask("document.getElementById('shown').textContent")
    assert f"of {wanted:,} shown" in said
    assert 0 < wanted < len(values["val/loss"])


def test_light_and_dark_follow_the_reader_and_the_button(tab, plain):
    ground = "getComputedStyle(document.body).backgroundColor"
    tab.open(plain)
    light = tab.ask(ground)
    tab.size(1280, 900, dark=True)
    dark = tab.ask(ground)
    assert light != dark
    tab.ask("document.getElementById('theme').click()")
    assert tab.ask(ground) == light
    tab.ask("document.getElementById('theme').click()")
    assert tab.ask(ground) == dark


def test_seeds_are_shown_on_request(tab, plain):
    tab.open(plain)
    seen = "getComputedStyle(document.querySelector('.map .seeds')).visibility"
    assert tab.ask(seen) == "hidden"
    tab.ask("document.getElementById('seeds').click()")
    assert tab.ask(seen) == "visible"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_no_page_is_wider_than_its_screen_and_the_answer_is_on_the_first(tab, file, width):
    tab.size(width, 844, phone=True)
    tab.open(file)
    assert tab.ask("document.documentElement.scrollWidth") == width
    assert tab.ask("document.querySelector('.lede').getBoundingClientRect().bottom") < 844


@pytest.mark.long
def test_it_prints_with_what_is_folded_open_and_without_controls(tab, plain):
    tab.open(plain)
    printed = base64.b64decode(tab.call("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
    tab.size(1000, 900, dark=True, media="print")
    assert tab.ask("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_pictures_can_be_looked_at(tab, plain, tmp_path):
    """THALWEG_PICTURES=DIR keeps them: light, dark and phone."""
    folder = os.environ.get("THALWEG_PICTURES")
    for name, size in {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}.items():
        tab.size(390 if name == "phone" else 1280, 900, **size)
        tab.open(plain)
        path = tab.picture((tmp_path if folder is None else type(tmp_path)(folder)) / f"{name}.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 20_000
