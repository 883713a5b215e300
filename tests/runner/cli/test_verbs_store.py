"""The verbs that keep the store, as they are typed."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from store_cases import make_members, make_study, train

from thalweg.runner.cli import main
from thalweg.runner.store import Store

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def thalweg(tmp_path, capsys, monkeypatch) -> Call:
    """Run a command line in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["thalweg", *words])
        code = main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return call


def filled(path: Path | str, trained: int = 3, lrs=(0.1, 0.2, 0.3), name: str = "coupling", **how) -> None:
    members = make_members(lrs)
    with Store.open(path, "write") as store:
        store.declare(make_study(name, lrs=lrs), members)
        if trained:
            train(store, members[:trained], name, **how)


HERE = "results/thalweg.sqlite"


def test_info_says_how_much_there_is(thalweg: Call) -> None:
    filled(HERE, trained=2)
    code, out, _ = thalweg("store", "info", "--json")
    said = json.loads(out)
    assert (code, said["trials"], said["finished"], said["untrained"], said["schema"]) == (0, 3, 2, 1, said["schema"])
    assert "finished" in thalweg("store")[1]


def test_check_finds_what_was_changed_behind_its_back(thalweg: Call) -> None:
    filled(HERE)
    assert thalweg("store", "check")[:2] == (0, f"{HERE}: sound, 3 trials checked\n")
    db = sqlite3.connect(HERE)
    db.execute("UPDATE trials SET config = replace(config, '0.2', '0.25')")
    db.commit()
    db.close()
    code, _, err = thalweg("store", "check")
    assert code == 5
    assert "has an id that does not belong to its configuration" in err


def test_merge_says_what_was_taken_and_what_was_left(thalweg: Call) -> None:
    filled(HERE)
    filled("same.sqlite")
    filled("unlike.sqlite", weight_hash="cd" * 32)
    filled("more.sqlite", lrs=(0.1, 0.4), trained=2)
    code, out, err = thalweg("store", "merge", "same.sqlite", "unlike.sqlite", "more.sqlite")
    assert code == 0
    assert "same.sqlite: 0 trials taken, 3 were here" in out
    assert "more.sqlite: 1 trial taken, 1 were here" in out
    assert "unlike.sqlite: 3 trials ended with other bits here and are left as they were" in err
    (first, *_) = json.loads(thalweg("store", "merge", "same.sqlite", "--json")[1])["merged"]
    assert (first["trials"], first["same"], first["left"]) == (0, 3, [])


def test_merge_makes_the_store_that_is_not_there(thalweg: Call) -> None:
    filled("part.sqlite")
    assert thalweg("store", "merge", "part.sqlite", "--store", "new/all.sqlite")[0] == 0
    with Store.open("new/all.sqlite") as store:
        assert len(store.export_rows()) == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("store", "burn"), 2, "store burn is not known; there are info, check, merge, upgrade"),
        (("store", "info", "more.sqlite"), 2, "takes no other store"),
        (("store", "merge"), 2, "needs the stores to take in"),
        (("store", "merge", "none.sqlite"), 5, "there is no store at"),
        (("store", "merge", HERE), 2, "is the store itself"),
        (("plan", "study.name=x", "--shard", "5/4"), 2, "--shard 5/4 is not a share"),
    ],
)
def test_what_cannot_be_is_one_sentence(thalweg: Call, words: tuple[str, ...], code: int, said: str) -> None:
    filled(HERE)
    found, _, err = thalweg(*words)
    assert (found, said in err, "hint:" in err) == (code, True, True)


def test_upgrade_keeps_a_copy_and_says_the_versions(thalweg: Call) -> None:
    Path("results").mkdir()
    db = sqlite3.connect(HERE, isolation_level=None)
    db.executescript((Path(__file__).parents[1] / "planning" / "store_v3.sql").read_text())
    db.close()
    code, out, _ = thalweg("store", "upgrade")
    assert (code, "upgraded from schema version 3 to" in out, Path(f"{HERE}.v3").exists()) == (0, True, True)
    assert "is this release's" in thalweg("store", "upgrade")[1]


def test_rm_says_what_it_would_do_and_does_nothing_where_nobody_can_be_asked(thalweg: Call) -> None:
    filled(HERE)
    filled(HERE, lrs=(0.1,), name="other", trained=0)
    code, _, err = thalweg("rm", "coupling")
    assert (code, "to remove: study coupling, 2 trials, 2 of them trained" in err) == (2, True)
    assert "1 trial of these studies stay: other needs them" in err
    assert "nothing was removed" in err
    with Store.open(HERE) as store:
        assert len(store.export_rows()) == 3
    assert thalweg("rm", "coupling", "--yes")[0] == 0
    with Store.open(HERE) as store:
        assert [each.name for each in store.studies()] == ["other"]
        (left,) = store.export_rows()
    code, _, err = thalweg("rm", left.trial_id[:8], "--yes")
    assert (code, "other declares 1 of the trials: its next sweep trains them again" in err) == (0, True)


def test_gc_removes_what_no_study_declares_and_checkpoints_of_it(thalweg: Call) -> None:
    filled(HERE)
    with Store.open(HERE, "write") as store:
        store.declare(make_study(lrs=(0.1,)), make_members((0.1,)))
    folder = Path("results/thalweg.checkpoints")
    folder.mkdir()
    (folder / "a.1.partial").write_bytes(bytes(2_000_000))
    assert thalweg("gc")[0] == 2
    code, _, err = thalweg("gc", "--yes")
    assert (code, "removed: 2 trials" in err, "checkpoints: 2.0 of 2.0 MB removed" in err) == (0, True, True)
    assert not folder.exists()
    assert "every trial is declared by a study" in thalweg("gc")[2]


def test_names_tags_and_notes_are_shown_by_ls_and_show(thalweg: Call) -> None:
    filled(HERE)
    trial = make_members((0.1,))[0].trial
    for words in (
        ("rename", "coupling", "valley"),
        ("tag", "valley", "paper", "draft"),
        ("tag", "valley", "draft", "--off"),
        ("note", "valley", "figure 2\x1b[31m"),
        ("tag", trial.id[:8], "odd"),
        ("note", trial.id[:8], "look at it"),
    ):
        assert thalweg(*words)[0] == 0
    out = thalweg("ls")[1]
    assert ("valley" in out, "paper" in out, "figure 2" in out, "\x1b" in out) == (True, True, True, False)
    (said,) = json.loads(thalweg("ls", "--json")[1])["studies"]
    assert (said["tags"], said["note"]) == (["paper"], "figure 2\x1b[31m")
    shown = thalweg("show", trial.id[:8])[1]
    assert "odd" in shown
    assert "look at it" in shown
    assert "paper" in thalweg("show", "valley")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rm", "none"), "the store has no study 'none'"),
        (("rm", "ffff"), "no trial id in the store begins with ffff"),
        (("rename", "coupling", "../x"), "expected up to 64 of"),
        (("rename", "none", "other"), "the store has no study 'none'"),
        (("tag", "coupling", "two words"), "is not a tag"),
        (("note", "none", "text"), "the store has no study 'none'"),
    ],
)
def test_a_word_that_names_nothing_is_one_sentence(thalweg: Call, words: tuple[str, ...], said: str) -> None:
    filled(HERE)
    code, _, err = thalweg(*words)
    assert (code, said in err) == (2, True)


@pytest.mark.parametrize("words", [("rm", "x"), ("gc",), ("rename", "x", "y"), ("tag", "x", "y"), ("note", "x", "y")])
def test_none_of_them_makes_a_store(thalweg: Call, words: tuple[str, ...]) -> None:
    assert thalweg(*words)[0] == 5
    assert not Path("results").exists()


def test_a_merge_with_what_is_not_there_makes_no_store(thalweg: Call) -> None:
    code, _, err = thalweg("store", "merge", "none.sqlite")
    assert code == 5
    assert f"there is no store at {Path('none.sqlite').absolute()}" in err
    assert not Path("results").exists()
