"""What is drawn, as text: widths, marks, colours, and strings that must not do anything."""

import io
import random
import re

import planted_rows as planted
import pytest
from rich.console import Console
from three_axes import bowl, rows_of, study_of

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli.as_json import study as study_json
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.show.ramp import shade
from thalweg.runner.study.study import Expectation
from thalweg.runner.terminal.answer import How, show_answer, show_cells
from thalweg.runner.terminal.listing import show_best
from thalweg.runner.terminal.progress import SweepProgress
from thalweg.runner.terminal.text import clean, console
from thalweg.runner.view import view_of

SURFACE = planted.valley_of(-1)


def written(out):
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def hazardous(lr, wd, seed):
    """The valley, with a region that diverges, a rim where one seed does, and an unhealthy cell."""
    if lr * wd > 0.2 or (lr * wd > 0.05 and lr > 1 and seed == 1):
        return None
    return 12.0 if lr == 8 and 0.01 < lr * wd < 0.05 else SURFACE(lr, wd, seed)


def drawn(width=80, surface=hazardous, names=("one",), keep=lambda row: row, colour=False, **how):
    blocks = [planted.block(name, Expectation(-1, 0.3)) for name in names]
    rows = [keep(row) for block in blocks for row in planted.rows(block, surface)]
    out = Console(
        file=io.StringIO(),
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
    )
    show_answer(out, view_of(rows, planted.study(*blocks)), How(**how))
    return written(out)


def test_of_three_axes_it_is_said_what_each_costs():
    view = view_of(rows_of(bowl(0.01, random.Random(5), beta=0.3)), study_of())
    out = Console(file=io.StringIO(), width=200, markup=False)
    show_answer(out, view)
    assert "What matters most is learning rate: with one of its 6 values taken at random" in written(out)
    assert "Then beta1 (×1.1" in written(out)
    (lr, beta, wd) = study_json(view)["costs"]
    assert (lr["key"], beta["key"], wd["key"]) == ("optimizer.lr", "optimizer.beta1", "optimizer.weight_decay")
    assert lr["factor"]
    assert 1 < beta["low"] < beta["cost"] < beta["high"] < lr["low"]
    assert wd["low"] < 1 < wd["high"]


def test_small_losses_keep_the_zero_before_the_point_where_there_is_room():
    text = drawn(120, surface=lambda lr, wd, seed: 0.0644 + seed / 1e5)
    assert "0.0644" in text
    assert " .06" not in text


def test_a_panel_that_is_named_is_shown_alone():
    names = ("a", "b", "c", "d")
    assert drawn(120, names=names, panels=("c",)).count("best of its row") == 1
    with pytest.raises(UsageError, match="no panel 'e'"):
        drawn(120, names=names, panels=("e",))


@pytest.mark.parametrize("width", [60, 66, 72, 80, 120, 200])
@pytest.mark.parametrize("names", [("one",), ("a", "b", "c", "a name that is far too long for one line of it")])
@pytest.mark.parametrize("maps", [True, False])
def test_no_line_is_wider_than_the_terminal(width, names, maps):
    lines = drawn(width, names=names, maps=maps).splitlines()
    assert max(map(len, lines)) <= width


def test_the_map_shows_means_marks_and_each_rows_best():
    text = drawn()
    first = next(line for line in text.splitlines() if line.lstrip().startswith("1/256"))
    assert re.fullmatch(r"1/256 ( +[\d.]+•?){8} +div +1\.3", first)
    assert text.count("*") == 2  # the best cell, and the legend
    assert text.count("•") == 12  # a row's best each, the panel's best apart, and the legend
    assert "(div)" in text
    assert "12.0!" in text
    assert ">6.3e-4" in text
    said = " ".join(text.split())
    assert "Only lr·wd matters: halve the weight decay when you double the learning rate (slope -1." in said
    assert "11 of 12 learning rates used; left out: 1 (beside a diverged cell)." in said
    assert "Expected beforehand: -1 ± 0.3, and so it came out." in said


def test_every_column_has_its_heading_above_it():
    lines = drawn(surface=SURFACE).splitlines()
    heading = next(line for line in lines if line.endswith("best wd"))
    row = next(line for line in lines if line.startswith("1/256"))
    ends = [match.end() for match in re.finditer(r"\S+", heading)][1:10]
    assert ends == [match.end() for match in re.finditer(r"[\d.]+(?=[ •*])", row)][1:10]


def test_a_narrow_map_keeps_all_columns_in_one_band_and_a_wide_grid_is_cut_into_bands():
    assert len(re.findall(r"(?m)^ *1/256 ", drawn(60))) == 1
    assert len(re.findall(r"(?m)^ *1/256 ", drawn(40))) == 2


def test_cells_not_trained_yet_are_dots_and_the_answer_says_so_far():
    text = drawn(keep=lambda row: planted.untrained(row) if row.axes[planted.LR] > 1 else row)
    assert re.search(r"(?m)^ *8 ( +·){9}\s*$", text)
    assert "So far: 243 of 324 trials" in text
    assert drawn(keep=planted.untrained) == "no results yet\n"


def test_four_panels_are_a_line_each_and_their_number_is_said():
    text = drawn(120, names=("a", "b", "c", "d"), surface=SURFACE)
    line = (
        r"(?m)^[abcd] +-[01]\.\d\d \[-1\.\d\d, -0\.\d\d\] +-1±0\.3 +12/12 +only lr·wd matters +0\.6\d\d +0\.125, 0\.04"
    )
    assert len(re.findall(line, text)) == 4
    assert "4 of 4 slopes came out as expected" in text
    assert "•" not in text
    assert drawn(120, names=("a", "b", "c", "d"), maps=True).count("best of its row") == 4


def test_colour_marks_the_valley_and_its_absence_loses_nothing():
    plain, coloured = drawn(), drawn(colour=True)
    assert "\x1b" not in plain
    assert "48;2;" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "48;2;" not in drawn(colour=True)


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
def test_text_on_the_ramp_has_contrast(share):
    style = shade(share, 0, 1)
    ink, paper = (luminance(code) for code in re.findall(r"#(\w{6})", style))
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 4.5


def test_the_ramp_darkens_steadily_towards_the_worst():
    greys = [luminance(re.findall(r"on #(\w{6})", shade(i / 20, 0, 1))[0]) for i in range(21)]
    assert greys == sorted(greys, reverse=True)


def luminance(code):
    channels = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


HOSTILE = "[red]x[/red] \x1b[31mred\x1b]0;title\x07 \u202eevil\nline :warning:"


def test_users_strings_are_shown_as_they_are_and_move_nothing():
    text = drawn(200, names=(HOSTILE, "b", "c", "d"))
    assert "[red]x[/red]" in text
    assert ":warning:" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)


def test_cleaning_leaves_ordinary_text_alone():
    assert clean("lr·wd → -1 ± 0.3, naïve 数") == "lr·wd → -1 ± 0.3, naïve 数"
    assert clean("a\tb\r\nc\x00\x9b") == "a b  c"


def listed(show, block=None, keep=lambda row: row, width=100):
    block = block or planted.block("one")
    study = planted.study(block)
    out = Console(file=io.StringIO(), width=width, markup=False)
    show(out, view_of([keep(row) for row in planted.rows(block, SURFACE)], study, ask=False))
    return written(out)


def test_a_line_a_cell_with_mean_interval_and_what_diverged():
    text = listed(show_cells)
    assert len(text.splitlines()) == 1 + 12 * 9
    assert re.search(r"(?m)^1/256 +0\.005 +1\.28 +3 +0\.6\d+ +0\.6\d+ … 0\.6\d+\s*$", text)


def test_a_study_of_one_axis_is_a_plain_table():
    block = planted.block("one", products=(5e-3,))
    rows = planted.rows(block, SURFACE)
    out = Console(file=io.StringIO(), width=80)
    show_answer(out, view_of(rows, planted.study(block)))
    assert len(re.findall(r"(?m)^ *(1/)?\d+ +[\d.e-]+ +3 +0\.6", written(out))) == 12


def test_best_reports_test_once_and_only_for_the_chosen_cell():
    text = listed(show_best)
    assert text.count("test/loss") == 1
    assert "Best: learning rate 1/8, weight decay 0.04" in text
    assert "as good, within the noise" in text
    alone = listed(show_best, planted.block("one", seeds=(0,)))
    assert "not known" in alone


def test_best_of_nothing_says_so():
    assert listed(show_best, keep=planted.untrained) == "no usable cell yet\n"


def test_progress_on_a_pipe_is_a_plain_line_every_ten_seconds():
    now = [0.0]
    out = console(io.StringIO())
    out.width = 120
    with SweepProgress(out, 100, "val/loss", {"a": "plain", "b": "wide"}, clock=lambda: now[0]) as progress:
        for second in range(31):
            progress.training("a" if second < 20 else "b")
            now[0] = float(second)
            progress.progress(done=second, diverged=2, failed=second // 30, fraction=second / 100, best=0.6444)
        progress.note("[b]vmap[/b]")
    lines = written(out).splitlines()
    assert lines[0] == "10/100 trials, plain, 2 diverged, best trial's val/loss 0.644, 60 a minute, 1 min 30 s left"
    assert lines[2].startswith("30/100 trials, wide, 2 diverged, 1 failed")
    assert lines[3:] == ["[b]vmap[/b]"]


def test_a_note_on_a_pipe_is_one_line_however_long():
    out = Console(file=io.StringIO(), width=80, force_terminal=False)
    with SweepProgress(out, 10, "val/loss") as progress:
        progress.note("word " * 50)
    assert len(written(out).splitlines()) == 1


def test_progress_on_a_terminal_is_one_line_that_goes_away():
    out = Console(file=io.StringIO(), force_terminal=True, width=80, markup=False)
    with SweepProgress(out, 100, "val/loss") as progress:
        progress.progress(done=50, diverged=0, failed=0, fraction=0.5, best=None)
    assert "50/100 trials" in written(out)


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (40, "1,700/2,592 trials, 1.0 s left"),
        (60, "1,700/2,592 trials, 12 diverged, 1.0 s left"),
        (80, "1,700/2,592 trials, plain, 12 diverged, 10,000 a minute, 1.0 s left"),
        (100, "1,700/2,592 trials, plain, 12 diverged, 10,000 a minute, 1.0 s left"),
        (200, "1,700/2,592 trials, plain, 12 diverged, best trial's val/loss 0.644, 10,000 a minute, 1.0 s left"),
    ],
)
def test_beside_the_bar_stands_what_has_room_and_always_the_time_left(width, said):
    now = [0.0]
    out = Console(file=io.StringIO(), force_terminal=True, width=width, markup=False)
    with SweepProgress(out, 2592, "val/loss", {"a": "plain", "b": "wide"}, clock=lambda: now[0]) as progress:
        progress.training("a")
        now[0] = 8.0  # of starting, which says nothing of the time left
        progress.progress(done=0, diverged=0, failed=0, fraction=0.001, best=None)
        now[0] = 10.0
        progress.progress(done=1700, diverged=12, failed=0, fraction=0.658, best=0.6444)
    lines = [line for line in re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written(out)).split("\r") if said in line]
    assert lines
    assert all(len(line.rstrip()) <= width and line.startswith("━") for line in lines)


def test_failed_trials_are_counted_beside_diverged_ones():
    from dataclasses import replace

    def fail(row):
        return replace(row, outcome=Outcome.FAILED, metrics={}, error="x") if row.axes["seed"] == 0 else row

    assert "failed" in listed(show_cells, keep=fail)
    assert "failed" not in listed(show_cells)
