"""Removing, renaming and describing what is stored: exactly what was said, and nothing from under a sweep."""

from __future__ import annotations

import sqlite3

import pytest
from store_cases import cohort_of, make_members, make_study, train

from thalweg.runner.base.errors import UsageError
from thalweg.runner.store import Store

MEMBERS = make_members((0.1, 0.2, 0.3, 0.4))


@pytest.fixture
def store(tmp_path):
    """Two studies that share two trials of four; all are trained, two by each."""
    with Store.open(tmp_path / "s.sqlite", "write") as opened:
        opened.declare(make_study("one"), MEMBERS[:3])
        opened.declare(make_study("two"), MEMBERS[1:])
        train(opened, MEMBERS[:3], "one")
        train(opened, MEMBERS[3:], "two")
        yield opened
        assert_sound(opened)


def assert_sound(store):
    db = sqlite3.connect(store.path)
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    orphans = "SELECT count(*) FROM {} WHERE trial NOT IN (SELECT seq FROM trials)"
    assert [db.execute(orphans.format(t)).fetchone()[0] for t in ("metrics", "series", "members")] == [0, 0, 0]
    db.close()


def ids(store):
    return {record.trial_id for record in store.export_rows()}


def id_of(number):
    return MEMBERS[number].trial.id


def test_with_a_study_go_its_trials_but_those_that_another_needs(store):
    wanted = store.removal(["one"], [])
    assert (len(wanted.trials), wanted.done, wanted.kept, wanted.wanted) == (1, 1, {"two": 2}, {})
    assert wanted.bytes > 1000
    before = {trial: store.trial(trial).metrics for trial in (id_of(1), id_of(2))}
    store.remove(wanted)
    assert [each.name for each in store.studies()] == ["two"]
    assert ids(store) == {id_of(1), id_of(2), id_of(3)}
    assert {trial: store.trial(trial).metrics for trial in before} == before
    assert store.trial(id_of(1)).cohort.study == "two"


def test_both_studies_leave_nothing(store):
    store.remove(store.removal(["one", "two"], []))
    assert (store.studies(), ids(store), store.contents()["cohorts"]) == ([], set(), 0)


def test_a_trial_that_is_named_goes_and_is_missing_where_it_is_declared(store):
    wanted = store.removal([], [id_of(1)])
    assert wanted.wanted == {"one": 1, "two": 1}
    store.remove(wanted)
    assert ids(store) == {id_of(0), id_of(2), id_of(3)}
    assert {each.name: each.wanted for each in store.studies()} == {"one": 2, "two": 2}


def test_only_trials_that_no_study_declares_are_unneeded(store):
    assert store.unneeded().trials == ()
    store.declare(make_study("one", lrs=(0.1,)), MEMBERS[:1])
    assert store.unneeded().trials == ()  # the other study has them still
    store.declare(make_study("two", lrs=(0.4,)), MEMBERS[3:])
    store.remove(store.unneeded())
    assert ids(store) == {id_of(0), id_of(3)}


def test_what_is_being_swept_is_not_removed_nor_renamed(store):
    owner = store.enter("one")
    store.claim(cohort_of(make_members((0.1,)), "one"), owner, "val/accuracy-of-another")
    for wanted in (store.removal(["one"], []), store.removal([], [id_of(2)])):
        with pytest.raises(UsageError, match="the study one is being swept"):
            store.remove(wanted)
    with pytest.raises(UsageError, match="is being swept"):
        store.rename("one", "three")
    store.remove(store.removal([], [id_of(3)]))  # of the other study alone
    store.leave(owner)
    store.remove(store.removal(["one"], []))


def test_a_study_renamed_is_the_same_by_another_name(store):
    rows = store.study_rows("one")
    store.rename("one", "first")
    assert store.study_rows("first") == rows
    with pytest.raises(UsageError, match="no study 'one'"):
        store.rename("one", "other")
    with pytest.raises(UsageError, match="there is a study two already"):
        store.rename("first", "two")


def test_tags_and_notes_are_kept_with_studies_and_trials(store):
    assert store.tag("studies", "one", ["paper", "b"]) == ["b", "paper"]
    assert store.tag("studies", "one", ["b"], off=True) == ["paper"]
    store.tag("trials", id_of(0), ["odd"])
    store.note("trials", id_of(0), "look at step 30")
    store.note("studies", "two", "the grid of figure 2")
    assert {each.name: (each.tags, each.note) for each in store.studies()} == {
        "one": (("paper",), ""),
        "two": ((), "the grid of figure 2"),
    }
    assert (store.trial(id_of(0)).tags, store.trial(id_of(0)).note) == (("odd",), "look at step 30")
    store.declare(make_study("one"), MEMBERS[:3])
    assert store.studies()[0].tags == ("paper",)


def test_tags_and_notes_of_both_stores_are_merged(store, tmp_path):
    store.tag("trials", id_of(0), ["ours"])
    store.note("trials", id_of(0), "ours")
    with Store.open(tmp_path / "other.sqlite", "write") as other:
        other.declare(make_study("one"), MEMBERS[:2])
        other.tag("trials", id_of(0), ["theirs"])
        other.note("trials", id_of(0), "theirs")
        other.note("studies", "one", "theirs")
        store.merge(other)
    assert (store.trial(id_of(0)).tags, store.trial(id_of(0)).note) == (("ours", "theirs"), "ours")
    assert {each.name: each.note for each in store.studies()}["one"] == "theirs"


def test_what_was_removed_is_given_back_to_the_disk(tmp_path):
    members = make_members([0.01 * (i + 1) for i in range(300)])
    with Store.open(tmp_path / "s.sqlite", "write") as store:
        store.declare(make_study("big"), members)
        train(store, members, "big")
        store.remove(store.removal(["big"], []))
        assert not store.is_swept()
        store.compact()
    assert (tmp_path / "s.sqlite").stat().st_size < 500_000
