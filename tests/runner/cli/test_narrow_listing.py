"""A listing at few columns: headings without their group, and columns without room named."""

import io
from typing import Any

import pytest
from rich.console import Console

from thalweg.runner.cli import output
from thalweg.runner.cli.tables import _fitting, _heads

COLUMNS: dict[str, list[Any]] = {
    "trial": ["6e27e201"],
    "study": ["warmup"],
    "optimizer.lr": [0.0625],
    "optimizer.name": ["adamw"],
    "model.name": ["mlp"],
    "vars.lr2_x_wd": [None],
    "outcome": ["finished"],
    "val/loss": [0.729],
}


def test_headings_are_whole_where_there_is_room_and_never_two_alike():
    assert list(_heads(COLUMNS, 200).values()) == list(COLUMNS)
    narrow = _heads(COLUMNS, 60)
    assert narrow["optimizer.lr"] == "lr"
    assert narrow["model.name"] == "model.name"


def test_the_emptiest_column_goes_first_and_is_named(capsys):
    assert list(_fitting(COLUMNS, 200)) == list(COLUMNS)
    kept = _fitting(COLUMNS, 70)
    assert [name for name in COLUMNS if name not in kept] == ["vars.lr2_x_wd"]
    assert "no room for vars.lr2_x_wd" in capsys.readouterr().err
    assert list(_fitting(COLUMNS, 10)) == ["trial", "outcome", "val/loss"]


@pytest.mark.parametrize(
    ("text", "terminal", "lines"),
    [
        ("112 finished, 0 diverged; 14 s on cpu, 634 MiB a worker at most", True, 2),
        ("112 finished, 0 diverged; 14 s on cpu, 634 MiB a worker at most", False, 1),
        ("next: thalweg show smoke --maps --store results/other.sqlite", True, 1),
        ("hint: leave them out: 'dataset.ignore=[parcel_id,carrier]'", True, 1),
    ],
)
def test_what_is_said_is_folded_between_words_unless_it_is_to_be_copied(monkeypatch, text, terminal, lines):
    written = io.StringIO()
    screen = Console(file=written, width=40, force_terminal=terminal, no_color=True)
    monkeypatch.setattr(output, "err", lambda: screen)
    output.say(text)
    said = written.getvalue().splitlines()
    assert len(said) == lines
    assert " ".join(line.strip() for line in said) == text
