"""A report is one small file that says the answer first, needs nothing else, and keeps what users typed inert."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from sources import EVIL, NOW, answer, seen, sensitivity_source, source, warmup_source
from three_axes import bowl
from three_report import source_of

from thalweg.runner.facts.record import Command
from thalweg.runner.report import html_of, path_of
from thalweg.runner.report.provenance import shared
from thalweg.runner.report.slices import Measure
from thalweg.runner.study.study import Axis

INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
KNOWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "main",
        "section",
        "aside",
        "figure",
        "figcaption",
    ),
    *("h1", "h2", "h3", "h4", "p", "ul", "li", "a", "bdi", "strong", "span", "label", "input", "button", "details"),
    *(
        "aside",
        "summary",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "div",
        "pre",
        "code",
        "dl",
        "dt",
        "dd",
    ),
    *(
        "noscript",
        "aside",
        "br",
        "svg",
        "g",
        "defs",
        "pattern",
        "lineargradient",
        "stop",
        "path",
        "rect",
        "circle",
        "line",
        "text",
    ),
}


class Reader(HTMLParser):
    """Tags, attributes, and the text outside script and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.said, self.scripts, self._inside = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("bdi", "strong", "span", "a", "code"):
            self.said.append(" ")
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.said.append(data)

    @property
    def text(self):
        return " ".join("".join(self.said).split())


def data(text):
    return json.loads(Reader(text).scripts[0])


def test_question_answer_and_interval_come_first():
    said = Reader(html_of(source("one", "two"), NOW)).text
    order = [
        "find the valley",
        "Only lr·wd matters: halve the weight decay when you double the learning rate in all 2 panels",
        "-1.00 [-1.10, -0.90]",
        "2 panels looked at: the more there are, the more easily one stands out by chance",
        "Trials",
    ]
    places = [said.index(part) for part in order]
    assert places == sorted(places)
    assert "Of 2 slopes expected beforehand, 2 came out as expected." in said


def test_verdicts_that_differ_are_each_named_with_their_panels():
    made = source("one", "two")
    other = answer("two", label="separable", slope=replace(made.view.answers[0].slope, estimate=0.1, low=0.0, high=0.2))
    said = Reader(html_of(seen(made, answers=[made.view.answers[0], other]), NOW)).text
    assert "It depends. Of 2 slopes expected beforehand, 1 came out as expected." in said
    assert "halve the weight decay when you double the learning rate one Separable: keep the same weight decay" in said


def test_a_slope_that_is_not_identified_gets_no_number():
    unknown = replace(answer("plain").slope, estimate=None, low=None, high=None, n=2)
    made = answer(
        "plain", slope=unknown, label="not identified: flat", verdict="Not identified. 0 of 7 used.", undetermined=True
    )
    said = Reader(html_of(seen(source(), answers=[made]), NOW)).text
    assert "Not identified: flat. 0 of 7 used. The lowest validation loss, 0.6" in said
    assert "-1.00" not in said


def test_a_study_that_asks_nothing_names_its_best_cell_and_one_test_figure():
    said = Reader(html_of(source(answers=False), NOW)).text
    assert re.search(r"The lowest validation loss, 0\.6\d\d \(95% .* to .*\), is at learning rate", said)
    assert said.count("test loss") == 1


def test_a_warmup_study_shows_what_each_length_allows_and_each_rate_needs():
    reader = Reader(html_of(warmup_source(), NOW))
    named = " ".join(value for name, value in reader.attributes if name == "aria-label")
    assert "With 32 steps of warmup the largest spike-free rate is 9 times larger." in reader.text
    for picture in ("largest learning rate against warmup", "warmup, steps against learning rate", "best loss against"):
        assert picture in named
    assert "Map of validation loss by learning rate and warmup, warm" in named
    assert "line: the largest learning rate without a spike" in reader.text


def test_a_sensitivity_study_shows_its_curves_side_by_side():
    reader = Reader(html_of(sensitivity_source(), NOW))
    assert "With warmup a wrong rate costs 0.1, without 0.4." in reader.text
    assert "All panels together" in reader.text
    assert "with: 0.100" in reader.text
    assert "without: 0.400" in reader.text


def test_categories_alone_are_dots_and_one_rate_axis_a_line():
    made = source(answers=False, lrs=[0.1, 0.2, 0.4], products=[0.005])
    named = {value for name, value in Reader(html_of(made, NOW)).attributes if name == "aria-label"}
    assert "validation loss along learning rate, plain" in named
    kinds = (Axis("model", ("small", "large"), ""), Axis("seed", (0, 1, 2), ""))
    study = replace(made.view.study, blocks=(replace(made.view.study.blocks[0], axes=kinds, derive={}),))
    rows = [
        replace(row, axes={"model": kind, "seed": row.axes["seed"]}, trial_id=f"{i}{kind}", config={"seed": 0})
        for i, kind in enumerate(("small", "large"))
        for row in made.view.rows[:3]
    ]
    reader = Reader(html_of(seen(made, study=study, rows=rows), NOW))
    assert "validation loss of plain" in {value for name, value in reader.attributes if name == "aria-label"}
    assert "model small: 0." in reader.text


@pytest.mark.parametrize("outcome", ["diverged", "failed", "none"])
def test_without_a_result_the_page_says_so(outcome):
    text = html_of(source(outcome=outcome, answers=False), NOW)
    said = Reader(text).text
    assert ("No trial has ended yet" in said) == (outcome == "none")
    assert ("324 trials diverged" in said) == (outcome == "diverged")
    assert ("324 trials failed" in said) == (outcome == "failed")
    assert ("Every cell diverged" in said) == (outcome == "diverged")
    assert ("No cell can be chosen: of 108 cells 108 failed" in said) == (outcome == "failed")
    assert len(data(text)["table"][0]["values"]) == 324


def test_trials_without_series_have_no_curves_and_a_page_all_the_same():
    text = html_of(seen(source(), series=lambda trial_id: {}), NOW)
    assert data(text)["curves"] == []


def test_equal_sources_give_equal_bytes_but_for_the_line_with_the_date():
    one, again = html_of(source(), NOW).splitlines(), html_of(source(), NOW).splitlines()
    later = html_of(source(), NOW + timedelta(days=1)).splitlines()
    assert one == again
    assert [i for i, (a, b) in enumerate(zip(one, later, strict=True)) if a != b] == [
        i for i, line in enumerate(one) if "2026-03-05 14:07" in line
    ]


@pytest.mark.parametrize(
    ("blocks", "lrs", "products", "seeds"), [(10, 10, 10, 3), (1, 50, 60, 1)], ids=["ten panels", "one seed"]
)
def test_three_thousand_trials_stay_below_two_megabytes(blocks, lrs, products, seeds):
    made = source(
        *(f"block {i}" for i in range(blocks)),
        lrs=[2.0 ** (i / 4) / 256 for i in range(lrs)],
        products=[0.0, *(1e-6 * 1.3**i for i in range(products - 1))],
        seeds=range(seeds),
    )
    assert len(made.view.rows) == 3000
    text = html_of(made, NOW)
    assert len(text.encode()) < 2_000_000
    assert len(data(text)["curves"][0]["coded"]) == 3000
    assert sum(len(coded) > 50 for coded in data(text)["curves"][0]["coded"]) == 3000


@pytest.mark.parametrize("evil", EVIL)
def test_what_users_type_is_inert(evil):
    made = source(evil, name=evil, question=evil, lrs=[0.1, 0.2, 0.4, 0.8, 1.6], seeds=[0])
    rows = [replace(row, axes={**row.axes, "model": evil, evil: evil}, error=evil) for row in made.view.rows]
    rows[0] = replace(rows[0], axes={**rows[0].axes, "model": f"{evil} 2"})
    said = answer(evil, [0.1, 0.2, 0.4, 0.8, 1.6], label=evil, verdict=evil)
    vars_ = {**made.view.study.document, evil: {evil: [evil]}, "overrides": [evil]}
    study = replace(made.view.study, document=vars_)
    cohort = replace(made.trained[0].cohort, device=evil, versions={evil: evil})
    trained = [replace(made.trained[0], cohort=cohort), *made.trained[1:]]
    text = html_of(replace(seen(made, rows=rows, answers=[said], study=study), trained=trained), NOW)
    reader = Reader(text)
    assert set(reader.tags) <= KNOWN
    assert reader.tags.count("script") == 2
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name in ("src", "style")]
    assert {value[:1] for name, value in reader.attributes if name == "href"} <= {"#"}
    assert not {c for c in text if unicodedata.category(c) in INVISIBLE} - {"\n"}
    labels = next(column["labels"] for column in data(text)["table"] if column["title"] == "model")
    assert labels[1] == "".join(c for c in evil if unicodedata.category(c) not in INVISIBLE)


def test_a_name_on_an_axis_is_shown_as_it_is():
    made = source(lrs=[0.1, 0.2, 0.4, 0.8])
    kinds = replace(
        made.view.study.blocks[0], axes=(*made.view.study.blocks[0].axes, Axis("model", ("a<b", "c&d"), ""))
    )
    rows = [replace(row, axes={**row.axes, "model": kind}) for kind in ("a<b", "c&d") for row in made.view.rows]
    study = replace(made.view.study, blocks=(kinds,))
    said = Reader(html_of(seen(made, rows=rows, study=study, answers=()), NOW)).text
    assert "a<b" in said
    assert "c&d" in said


def test_the_policy_allows_our_script_and_style_and_nothing_else():
    text = html_of(source(), NOW)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    parts = dict(part.split(" ", 1) for part in policy.replace("&#x27;", "'").split("; "))
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]+'", parts["script-src"])
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]+'", parts["style-src"])
    assert not re.findall(r"https?:(?!//www\.w3\.org/2000/svg)", text)


def test_headings_descend_by_one_and_every_map_is_named():
    reader = Reader(html_of(source("one", "two"), NOW))
    levels = [int(tag[1]) for tag in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    named = [value for name, value in reader.attributes if name == "aria-label"]
    assert any(name.startswith("Map of validation loss by learning rate and weight decay, one") for name in named)
    assert any(re.match(r"learning rate 1/8, weight decay .*: 0\.\d+ \(95% .*, 3 seeds\)", name) for name in named)
    assert any(name.endswith("3 of 3 seeds diverged") for name in named)


def test_test_metrics_are_not_in_the_table():
    titles = [column["title"] for column in data(html_of(source(), NOW))["table"]]
    assert "validation loss" in titles
    assert not [title for title in titles if title.startswith("test")]


def test_the_commands_are_those_that_were_typed():
    typed = ("coupling", "optimizer.lr=1/256..16:x2", "note=a b", "--config-dir", "my conf")
    commands = [
        Command("sweep", typed, 1234, "2026-01-01T00:00:00Z"),
        Command("refine", ("it's mine", "--moves", "widen", "--yes"), 1, "2026-01-02T00:00:00Z"),
    ]
    said = Reader(html_of(replace(source(name="it's mine"), commands=commands), NOW)).text
    first = "thalweg sweep coupling optimizer.lr=1/256..16:x2 'note=a b' --config-dir 'my conf'"
    assert (
        f"{first} # 1,234 trials, thalweg 0.1.0 thalweg refine 'it'\"'\"'s mine' --moves widen --yes # 1 trial " in said
    )
    assert """thalweg report 'it'"'"'s mine'""" in said


@pytest.mark.parametrize("absent", [True, False])
def test_the_shared_configuration_leaves_out_what_some_trials_lack(absent):
    made = source("A")
    rows = [
        replace(row, config={**row.config, "task": {"loss": "auto"} | ({} if absent and n == 1 else {"more": None})})
        for n, row in enumerate(made.view.rows)
    ]
    assert shared(seen(made, rows=rows))["task"] == {"loss": "auto"} | ({} if absent else {"more": None})


def test_the_shared_configuration_leaves_out_what_varies():
    said = Reader(html_of(source(), NOW)).text
    told = said[said.index("that all trials share") :]
    assert "name: digits" in told
    assert "lr:" not in told


@pytest.mark.parametrize(
    ("study", "file"),
    [("coupling", "coupling.html"), ("adhoc-3f2a1b", "adhoc-3f2a1b.html"), ("v1.2_x", "v1.2_x.html")],
)
def test_a_plain_name_is_the_file(study, file):
    assert path_of(study, Path()).name == file


@pytest.mark.parametrize(
    "study", ["../../x", "/etc/x", "..", ".", "a\0b", "a\nb", "x" * 300, "\u202ex", "-rf", "a b", "a/b"]
)
def test_no_name_leads_out_of_the_folder_or_hides(study):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,70}\.html", path_of(study, Path()).name)


def test_names_that_become_alike_get_files_of_their_own():
    assert len({path_of(name, Path()).name for name in ("a b", "a/b", "a-b", "a:b")}) == 4


def test_where_all_diverged_the_cells_are_listed_with_the_curves_of_the_one_that_came_farthest():
    made = source(outcome="diverged", answers=False, lrs=[0.1, 0.2, 0.4], products=[0.005])
    rows = [replace(row, diverged_step=90 if row.axes["optimizer.lr"] == 0.2 else 5) for row in made.view.rows]
    reader = Reader(html_of(seen(made, rows=rows), NOW))
    assert all(f"learning rate {lr}: 3 of 3 seeds diverged" in reader.text for lr in ("0.1", "0.2", "0.4"))
    assert ("data-best", "1") in reader.attributes


def test_a_single_cell_shows_its_metrics_and_no_grid():
    made = source(answers=False, lrs=[0.1], products=[0.005])
    reader = Reader(html_of(made, NOW))
    assert "The result" in reader.text
    assert "metric" in reader.text
    assert "The grid" not in reader.text


def test_panels_say_whose_their_colours_are():
    assert "Colours: of this panel alone." in html_of(source("one", "another"), NOW)
    assert "Colours:" not in html_of(source("one"), NOW)
    assert "Colours: one scale for all panels of this grid." in html_of(source_of(bowl(0.01, Random(5), beta=0.3)), NOW)


def test_a_cut_shows_the_whole_interval_of_the_best_cell():
    (panel,) = source("one").view.panels
    assert panel.best is not None
    rows = zip(panel.best.rows, (0.8, 1.0, 1.25), strict=True)
    wide = replace(panel.best, rows=tuple(replace(row, metrics={"val/loss": factor}) for row, factor in rows))
    assert wide.interval is not None
    drawn = Measure([wide], 16.0, 200.0, drawn=[wide])
    assert drawn.low <= wide.interval[0] < 0.6
    assert Measure([wide], 16.0, 200.0).low > wide.interval[0]
