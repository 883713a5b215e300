"""One store taken into another: whole or not at all, nothing done changes, and twice is once."""

from __future__ import annotations

import os
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from store_cases import in_child, make_members, make_observations, make_study, train, wait

from thalweg.runner.base.errors import StoreError, UsageError
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.record import Committed
from thalweg.runner.store import Store

LRS = [0.1 * (i + 1) for i in range(12)]
MEMBERS = make_members(LRS)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "here.sqlite", "write") as opened:
        yield opened


def other(folder: Path, name: str, members=(), study="coupling", **how) -> Path:
    """A store in which all MEMBERS are declared and some are trained."""
    path = folder / f"{name}.sqlite"
    with Store.open(path, "write") as made:
        made.declare(make_study(study, lrs=LRS), MEMBERS)
        if members:
            train(made, members, study, **how)
    return path


def merge(store: Store, path: Path):
    with Store.open(path) as taken:
        return store.merge(taken)


def said_of(store: Store, study="coupling"):
    """All that readers see of a study, without the times and cohort numbers of who wrote it."""
    with_series = {
        row.trial_id: {name: each.values.tolist() for name, each in store.series(row.trial_id).items()}
        for row in store.study_rows(study)
    }
    hashes = {each.trial_id: (each.weight_hash, each.cohort and each.cohort.trial_ids) for each in store.export_rows()}
    rows = [replace(row, ended=None) for row in store.study_rows(study)]
    return rows, hashes, with_series, replace(store.study(study), declared="")


def dump(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    found = list(db.iterdump())
    db.close()
    return found


def test_parts_merged_in_any_order_are_what_one_store_would_hold(tmp_path):
    whole = other(tmp_path, "whole")
    with Store.open(whole, "write") as made:
        for start in (0, 4, 8):
            train(made, MEMBERS[start : start + 4])
        expected = said_of(made)
    parts = [other(tmp_path, f"part-{start}", MEMBERS[start : start + 4]) for start in (0, 4, 8)]
    for seed in range(3):
        random.Random(seed).shuffle(parts)
        with Store.open(tmp_path / f"merged-{seed}.sqlite", "write") as merged:
            for part in parts:
                taken = merge(merged, part)
                assert (taken.trials, taken.same, taken.left) == (4, 0, ())
            assert said_of(merged) == expected


def test_twice_is_once(store, tmp_path):
    part = other(tmp_path, "part", MEMBERS[:4])
    merge(store, part)
    before = dump(store.path)
    again = merge(store, part)
    assert (again.trials, again.same, again.left) == (0, 4, ())
    assert dump(store.path) == before


@pytest.mark.parametrize(
    ("here", "there", "effect"),
    [
        ({}, {"outcome": Outcome.FINISHED}, "taken"),
        ({}, {"outcome": Outcome.FAILED}, "taken"),
        ({"outcome": Outcome.FAILED}, {"outcome": Outcome.FINISHED}, "taken"),
        ({"outcome": Outcome.PRUNED}, {"outcome": Outcome.DIVERGED}, "taken"),
        ({"outcome": Outcome.FAILED}, {"outcome": Outcome.FAILED}, "nothing"),
        ({"outcome": Outcome.FINISHED}, {"outcome": Outcome.FAILED}, "nothing"),
        ({"outcome": Outcome.FINISHED}, {"outcome": Outcome.FINISHED}, "same"),
        ({"outcome": Outcome.DIVERGED}, {"outcome": Outcome.DIVERGED}, "same"),
        ({"outcome": Outcome.FINISHED}, {"outcome": Outcome.FINISHED, "weight_hash": "cd" * 32}, "left"),
        ({"outcome": Outcome.FINISHED}, {"outcome": Outcome.DIVERGED}, "left"),
        ({"outcome": Outcome.DIVERGED}, {"outcome": Outcome.FINISHED}, "left"),
        ({"outcome": Outcome.DIVERGED}, {"outcome": Outcome.DIVERGED, "points": 7}, "left"),
    ],
)
def test_what_is_done_never_changes(store, tmp_path, here, there, effect):
    (member,) = MEMBERS[:1]
    store.declare(make_study(lrs=LRS), MEMBERS)
    if here:
        train(store, [member], **here)
    before = store.trial(member.trial.id)
    merged = merge(store, other(tmp_path, "there", [member], loss=0.25, **there))
    after = store.trial(member.trial.id)
    assert (merged.trials, merged.same, len(merged.left)) == {
        "taken": (1, 0, 0),
        "same": (0, 1, 0),
        "left": (0, 0, 1),
        "nothing": (0, 0, 0),
    }[effect]
    if effect == "taken":
        assert (after.outcome, after.weight_hash is None) == (there["outcome"], False)
        assert after.cohort is not None
    else:
        assert after == before


def test_metrics_and_curves_that_are_lacking_are_added_to_equal_weights(store, tmp_path):
    (member,) = MEMBERS[:1]
    store.declare(make_study(lrs=LRS), MEMBERS)
    train(store, [member])
    store._db.execute("DELETE FROM metrics WHERE name = 'val/accuracy'")
    store._db.execute("DELETE FROM series WHERE name = 'val/loss'")
    merge(store, other(tmp_path, "there", [member]))
    assert set(store.trial(member.trial.id).metrics) == {"val/loss", "val/accuracy"}
    assert set(store.series(member.trial.id)) == {"train/loss", "val/loss"}


def test_studies_come_along_and_members_are_in_if_they_are_in_either(store, tmp_path):
    store.declare(make_study(lrs=LRS[:2]), MEMBERS[:2])
    merge(store, other(tmp_path, "there", MEMBERS[4:6], "another"))
    merge(store, other(tmp_path, "same name", MEMBERS[4:6]))
    assert {each.name: each.wanted for each in store.studies()} == {"another": 12, "coupling": 12}
    assert store.study("coupling").blocks[0].axes[0].values == tuple(LRS[:2])  # its own declaration


def test_a_trial_that_is_outside_here_and_inside_there_is_inside(store, tmp_path):
    store.declare(make_study(lrs=LRS[:2]), MEMBERS[:2])
    store.declare(make_study(lrs=LRS[:1]), MEMBERS[:1])
    assert store.studies()[0].wanted == 1
    merge(store, other(tmp_path, "there"))
    assert store.studies()[0].wanted == 12


def test_a_choice_that_was_made_here_stays(store, tmp_path):
    path = other(tmp_path, "there")
    with Store.open(path, "write") as made:
        made.record_choice("g", "cpu", Choice("loop", "shared", 2, "theirs"))
        made.record_choice("h", "cpu", Choice("loop", "shared", 3, "theirs"))
    store.record_choice("g", "cpu", Choice("vmap", "shared", 64, "ours"))
    merge(store, path)
    assert (store.choice("g", "cpu").reason, store.choice("h", "cpu").width) == ("ours", 3)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trials SET config = replace(config, '\"steps\":600', '\"steps\":601') WHERE seq = 3",
        "UPDATE trials SET id = replace(id, substr(id, 1, 4), 'ffff') WHERE seq = 3",
        "UPDATE series SET points = x'00' WHERE trial = 3",
    ],
)
def test_of_a_damaged_store_nothing_is_taken(store, tmp_path, damage):
    path = other(tmp_path, "there", MEMBERS[:4])
    db = sqlite3.connect(path)
    db.execute(damage)
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="is damaged"):
        merge(store, path)
    assert store.studies() == []
    with Store.open(path) as opened:
        assert len(opened.faults()[0]) >= 1


def test_a_damaged_curve_of_a_trial_that_is_declared_here_is_not_taken(store, tmp_path):
    store.declare(make_study(lrs=LRS), MEMBERS)
    path = other(tmp_path, "there", MEMBERS[:4])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE series SET points = x'00' WHERE trial = 3")
    db.close()
    with pytest.raises(StoreError, match="is damaged: series"):
        merge(store, path)
    assert store.export_rows() == []


def test_a_merge_that_is_killed_leaves_all_or_nothing(tmp_path):
    part = other(tmp_path, "part", MEMBERS[:3])
    states = set()
    for number in range(1, 400, 13):
        path = tmp_path / f"{number}.sqlite"
        Store.open(path, "write").close()

        def work(path=path, number=number):
            with Store.open(path, "write") as here, Store.open(part) as there:
                seen = 0

                def count(statement):
                    nonlocal seen
                    seen += 1
                    if seen == number:
                        os._exit(9)

                here._db.set_trace_callback(count)
                here.merge(there)

        code = wait(in_child(work))
        with Store.open(path) as opened:
            states.add((len(opened.export_rows()), len(opened.studies())))
        if code == 0:
            break
    assert code == 0
    assert states == {(0, 0), (3, 1)}


def test_a_sweep_that_trains_what_is_merged_meanwhile_changes_nothing(store, tmp_path):
    store.declare(make_study(lrs=LRS), MEMBERS)
    from store_cases import cohort_of

    cohort = cohort_of(MEMBERS[:2])
    number = store.claim(cohort, store.enter("coupling"), "val/loss")
    merge(store, other(tmp_path, "there", MEMBERS[:1], weight_hash="cd" * 32))
    seen = [make_observations(trial_id) for trial_id in cohort.trial_ids]
    assert store.commit(number, seen) == Committed(left=(MEMBERS[0].trial.id,))
    assert store.trial(MEMBERS[0].trial.id).weight_hash == "cd" * 32


def test_a_store_is_not_merged_into_itself(store, tmp_path):
    (tmp_path / "link").symlink_to(store.path)
    with pytest.raises(UsageError, match="is the store itself"):
        merge(store, tmp_path / "link")


def test_an_older_store_is_merged_without_being_upgraded(store, tmp_path):
    path = tmp_path / "old.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript((Path(__file__).parents[1] / "planning" / "store_v3.sql").read_text())
    db.close()
    before = path.read_bytes()
    with Store.open(path) as old:
        assert (old.faults()[0], old.version) == ([], 3)
        expected = {record.trial_id: record.weight_hash for record in old.export_rows()}
    assert merge(store, path).trials == len(expected)
    assert {record.trial_id: record.weight_hash for record in store.export_rows()} == expected
    assert path.read_bytes() == before
