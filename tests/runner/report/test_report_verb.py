"""`thalweg report` writes one file beside the store, whole or not at all, and says where; so does a sweep."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace

import pytest
from sources import NOW, source
from store_cases import make_members, make_study, train

from thalweg.runner import report
from thalweg.runner.cli import main
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.store import Store


@pytest.fixture
def thalweg(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THALWEG_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["thalweg", *words])
        code = main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return call


def fill(name="coupling", outcome=Outcome.FINISHED):
    with Store.open("results/thalweg.sqlite", "write") as store:
        members = make_members(lrs=(0.1, 0.2), seeds=(0, 1))
        store.declare(replace(make_study(name, lrs=(0.1, 0.2), seeds=(0, 1)), document={"overrides": [name]}), members)
        train(store, members, name, outcome=outcome)


def test_it_is_written_beside_the_store_and_its_path_is_the_output(thalweg, tmp_path):
    fill()
    code, out, err = thalweg("report", "coupling")
    assert (code, out, err) == (0, "results/coupling.html\n", "")
    text = (tmp_path / out.strip()).read_text(encoding="utf-8")
    assert "Where is the valley?" in text
    assert "thalweg sweep coupling" in text


def test_the_last_study_is_reported_if_none_is_named(thalweg):
    fill("first")
    fill("second")
    assert thalweg("report")[1] == "results/second.html\n"


def test_out_names_a_file_or_a_folder(thalweg, tmp_path):
    fill()
    assert thalweg("report", "coupling", "--out", "deep/er/mine.html")[1] == "deep/er/mine.html\n"
    (tmp_path / "there").mkdir()
    assert thalweg("report", "coupling", "--out", "there")[1] == "there/coupling.html\n"


def test_a_name_like_a_path_stays_in_the_folder(thalweg, tmp_path):
    fill("../../x")
    code, out, _ = thalweg("report", "../../x")
    assert code == 0
    assert (tmp_path / out.strip()).parent == tmp_path / "results"


def test_no_store_and_no_such_study_are_a_sentence(thalweg):
    code, out, err = thalweg("report", "coupling")
    assert (code, out) == (5, "")
    assert "there is no store at" in err
    fill()
    code, out, err = thalweg("report", "copling")
    assert (code, out) == (2, "")
    assert "did you mean coupling?" in err


def test_what_cannot_be_written_is_a_sentence_and_leaves_nothing(thalweg, tmp_path):
    fill()
    (tmp_path / "file").write_text("in the way")
    code, out, err = thalweg("report", "coupling", "--out", "file/coupling.html")
    assert (code, out) == (2, "")
    assert "cannot write the report to file/coupling.html" in err
    assert "--out FILE" in err


def test_a_write_that_fails_leaves_the_report_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "planted.html"
    path.write_text("before")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(report.UsageError, match="No space left on device"):
        report.write(source(seeds=[0]), path, NOW)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["planted.html"]


def test_the_file_has_the_permissions_of_any_other(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    path = tmp_path / "planted.html"
    report.write(source(seeds=[0]), path, NOW)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.FAILED])
def test_a_study_without_a_result_has_a_report(thalweg, outcome):
    fill(outcome=outcome)
    assert thalweg("report", "coupling")[0] == 0
