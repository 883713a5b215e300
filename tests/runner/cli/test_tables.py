"""The tables that verbs print: one set of options for all, and the same data as from Python. Nothing is trained."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import desk, strict, thalweg  # noqa: F401
from two_studies import fill

import thalweg as package
from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli.output import write_csv, write_parquet
from thalweg.runner.facts.tidy import arranged, picked

Call = Callable[..., tuple[int, str, str]]
LISTINGS = [("ls",), ("ls", "wide"), ("ls", "val/loss < 2"), ("export", "wide"), ("diff", "wide", "narrow")]


@pytest.fixture
def stored(thalweg: Call, desk: Path) -> Call:  # noqa: F811
    """Run a command beside a store with two studies, wide and narrow."""
    fill(desk / "results" / "thalweg.sqlite")
    return thalweg


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.long
@pytest.mark.parametrize("words", LISTINGS)
def test_every_listing_has_the_same_options(stored: Call, desk: Path, words) -> None:  # noqa: F811
    code, printed, _ = stored(*words, "--csv")
    assert code == 0
    whole = lines(printed)
    first = next(iter(whole[0]))
    assert [list(each) for each in lines(stored(*words, "--csv", "--columns", f"{first}")[1])] == [[first]] * len(whole)
    assert lines(stored(*words, "--csv", "-n", "2")[1]) == whole[:2]
    ordered = [each[first] for each in lines(stored(*words, "--csv", "--sort", f"-{first}")[1])]
    assert ordered == sorted((each[first] for each in whole), reverse=True)
    assert strict(stored(*words, "--json", "-n", "1")[1])
    assert stored(*words, "--parquet", "t.parquet")[0] == 0
    assert len(pandas.read_parquet(desk / "t.parquet")) == len(whole)
    assert stored(*words, "--sort", "novelty")[0] == stored(*words, "--columns", first + "x")[0] == 2
    assert stored(*words, "--csv", "--json")[0] == stored(*words, "-n", "0")[0] == 2
    assert stored(*words)[0] == 0


def test_an_export_is_what_python_gives(stored: Call, desk: Path) -> None:  # noqa: F811
    with package.Store.open(desk / "results" / "thalweg.sqlite") as store:
        trials, curves = package.trials(store, "wide"), package.curves(store, "wide", "val/loss")
        everything = package.curves(store, "wide")
        tested = package.trials(store, "wide", test=True)
    assert stored("export", "wide", "--parquet", "t.parquet")[0] == 0
    pandas.testing.assert_frame_equal(pandas.read_parquet("t.parquet"), trials, check_dtype=False)
    printed = pandas.read_csv(io.StringIO(stored("export", "wide")[1]))
    pandas.testing.assert_frame_equal(printed, trials, check_dtype=False)
    said = json.loads(stored("export", "wide", "--curves", "val/loss", "--json")[1])
    assert pandas.DataFrame(said["curves"]).equals(curves)
    assert len(lines(stored("export", "wide", "--curves", "all")[1])) == len(everything) > len(curves)
    assert list(lines(stored("export", "wide", "--test")[1])[0]) == list(tested.columns)
    assert not any(name.startswith("test/") for name in trials.columns)
    code, nothing, err = stored("export", "wide", "--curves", "val/loss,val/los")
    assert (code, nothing) == (2, "")
    assert "no trial has the curve 'val/los'" in err
    assert "val/loss" in err.partition("hint:")[2]


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("wide", "optimizer.lr > 0.15 and seed == 0"), 2),
        (("wide", "outcome == 'diverged'"), 1),
        (("wide", "val/loss < 0.25"), 4),
        (("wide", "not (val/loss < 0.25)"), 1),
        (("wide", "val/loss == null"), 1),
        (("wide", "optimizer == 'sgd' and model.name == 'mlp'"), 6),
        (("wide", "diverged_step <= 3"), 1),
        (("study == 'narrow'",), 2),
        (("seed == 0", "--study", "wide"), 3),
        (("seed == 0", "optimizer.lr < 0.15", "--study", "wide"), 1),
        (("wide", "--since", "2000-01-01"), 6),
        (("wide", "--since", "30m"), 6),
        (("wide", "--since", "2999-01-01"), 0),
    ],
)
def test_trials_are_chosen_in_the_users_words(stored: Call, words, found) -> None:
    assert len(lines(stored("ls", *words, "--csv")[1])) == found
    assert len(json.loads(stored("ls", *words, "--json")[1])["trials"]) == found


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wide", "val/los < 1"), "did you mean val/loss"),
        (("wide", "optimizer.lr = 1"), "write == to compare"),
        (("wide", "test/loss < 1"), "test metrics never choose"),
        (("wide", "--sort", "test/loss"), "test metrics never choose"),
        (("wide", "--since", "yesterday"), "write 30m, 12h, 7d"),
        (("wide", "narrow"), "two studies are named"),
        (("wide", "--study", "narrow"), "two studies are named"),
        (("wild",), "wide"),
        (("val/loss < 1", "--study", "wild"), "wide"),
        (("wide", "--columns", ","), "--columns names no column"),
        (("wide", "--csv", "--metric", "val/nope"), "no trial of wide has the metric 'val/nope'"),
        (("seed == 0", "--metric", "test/loss"), "test/loss never chooses"),
        (("--metric", "val/loss"), "--metric judges trials, and studies are listed here"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_a_sentence(stored: Call, words, said) -> None:
    code, printed, err = stored("ls", *words)
    assert (code, printed) == (2, "")
    assert said in err


def test_a_diff_of_trials_says_what_differs_and_where_their_losses_part(stored: Call, desk: Path) -> None:  # noqa: F811
    with package.Store.open(desk / "results" / "thalweg.sqlite") as store:
        ids = list(package.trials(store, "wide", "seed == 0")["trial"])
        table = package.diff(store, ids[0], ids[2])
    found = {(each["kind"], each["name"]): (each["a"], each["b"]) for each in table.to_dict("records")}
    assert found["configuration", "optimizer.lr"] == (0.1, 0.3)
    assert found["outcome", "outcome"] == ("finished", "diverged")
    assert found["losses part", "train/batch_loss at step 2"] == ("0.2", "0.6")
    assert not any("test/" in name or "seed" in name for _, name in found)
    assert json.loads(stored("diff", ids[0][:9], ids[2][:9], "--json")[1])["differences"][0]["a"] == 0.1
    assert json.loads(stored("diff", ids[0], ids[0], "--json")[1])["differences"] == []


def test_a_diff_of_studies_counts_trials_and_names_values_and_settings(stored: Call) -> None:
    said = json.loads(stored("diff", "wide", "narrow", "--json")[1])["differences"]
    found = {(each["kind"], each["name"]): (each["a"], each["b"]) for each in said}
    assert found["trials", "in both"] == (1, 1)
    assert found["trials", "in one alone"] == (5, 1)
    assert found["axis", "optimizer.lr"] == ("0.2, 0.3", "0.4")
    assert found["axis", "seed"] == ("1", None)
    assert found["configuration", "seed"] == ("varies", 0)
    assert found["outcome", "diverged"] == (1, None)


def test_a_study_and_a_trial_have_no_diff(stored: Call) -> None:
    code, _, err = stored("diff", "wide", "3f2a")
    assert code == 2
    assert "wide is a study and 3f2a is none" in err


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\x00=", " =", "\u200b="])
def test_no_text_of_a_csv_is_a_formula(capsys, start) -> None:
    write_csv({f"{start}x": [f"{start}cmd|' /C calc'!A0", -1.5, None]})
    first = [line[0] for line in csv.reader(io.StringIO(capsys.readouterr().out, newline=""))]
    assert [each[:1] for each in first[:2]] == ["'", "'"]
    assert first[2:] == ["-1.5", ""]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-9, 9), st.text(), st.booleans())))
def test_any_column_is_sorted_and_written_and_loses_nothing(tmp_path_factory, values) -> None:
    columns = {"at": list(range(len(values))), "x": values}
    rising, falling = arranged(columns, "x"), arranged(columns, "-x")
    assert sorted(rising) == sorted(falling) == columns["at"]
    missing = [i for i, value in enumerate(values) if value is None]
    assert rising[len(values) - len(missing) :] == falling[len(values) - len(missing) :] == missing
    numbers = [values[i] for i in rising if isinstance(values[i], int | float)]
    assert numbers == sorted(numbers)
    file = tmp_path_factory.mktemp("any") / "t.parquet"
    write_parquet(columns, file)
    back = [None if pandas.isna(value) else value for value in pandas.read_parquet(file)["x"]]
    assert [str(v) == str(b) or math.isclose(v, b) for v, b in zip(values, back, strict=True)] == [True] * len(values)


def test_a_column_that_is_not_there_is_refused_with_the_nearest() -> None:
    columns = {"val/loss": [1.0], "optimizer.lr": [2.0]}
    with pytest.raises(UsageError, match="lr"):
        arranged(columns, "optimizer.rl")
    with pytest.raises(UsageError, match="did you mean val/loss"):
        picked(columns, [0], ["val/los"])
    assert picked({"trial": []}, [], ["val/loss"]) == {"val/loss": []}
