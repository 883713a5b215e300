"""What the store holds, and what it answers."""

import json
import re
import sqlite3
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_cases import cohort_of, make_members, make_observations, make_study, make_trial, train

from thalweg.runner.base.errors import ThalwegError, UsageError
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.facts.record import Committed
from thalweg.runner.store import Store
from thalweg.runner.store.series import pack, unpack
from thalweg.runner.study.stop import Pruned
from thalweg.runner.study.study import Analysis, Expectation, Member

LRS = (0.1, 0.2, 0.4)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.sqlite", "write") as store:
        yield store


def rows(store, name="coupling"):
    return {(r.block, r.axes["optimizer.lr"]): r for r in store.study_rows(name)}


def test_declared_trials_are_members_without_an_outcome(store):
    members = make_members(LRS, (0, 1))
    store.declare(make_study(), members)
    found = store.study_rows("coupling")
    assert [(r.trial_id, dict(r.axes)) for r in found] == [(m.trial.id, dict(m.axes)) for m in members]
    assert [list(r.axes) for r in found] == [list(m.axes) for m in members]
    assert all(r.outcome is None and not r.outside and not r.metrics for r in found)
    assert found[0].config["optimizer"]["lr"] == 0.1


def test_what_is_committed_is_what_is_read(store):
    members = make_members(LRS)
    store.declare(make_study(), members)
    assert train(store, members, loss=0.1 + 0.2) == []
    observed = make_observations(members[0].trial.id)
    row = store.study_rows("coupling")[0]
    assert row.outcome is Outcome.FINISHED
    assert row.metrics == {"val/loss": 0.1 + 0.2, "val/accuracy": 0.9}
    series = store.series(members[0].trial.id)
    for name, each in observed.series.items():
        np.testing.assert_array_equal(series[name].steps, each.steps)
        np.testing.assert_array_equal(series[name].values, each.values)
    assert store.series("0" * 64) == {}


def test_declaring_again_changes_nothing(store):
    members = make_members(LRS)
    store.declare(make_study(), members)
    train(store, members)
    before = store.study_rows("coupling")
    store.declare(make_study(), members)
    assert store.study_rows("coupling") == before


def test_every_command_that_added_trials_is_kept_in_order(store):
    def declared(lrs, *words, overridden=True):
        document = {"overrides": ["coupling", *words], "places": ["--config-dir", "my"]}
        store.declare(replace(make_study(overridden=overridden), document=document), make_members(lrs))

    declared(LRS[:2], overridden=False)
    declared(LRS[:2], "launcher.workers=2", overridden=False)  # adds nothing
    declared(LRS, "optimizer.lr=0.1,0.2,0.4")
    move = {"kind": "seeds", "panel": "plain", "key": "seed", "what": "", "why": "", "effect": ""}
    store.refine("coupling", make_members(LRS[:1], (1, 2)), [move, move])
    assert [(one.verb, one.words, one.trials) for one in store.commands("coupling")] == [
        ("sweep", ("coupling", "--config-dir", "my"), 2),
        ("sweep", ("coupling", "optimizer.lr=0.1,0.2,0.4", "--config-dir", "my"), 1),
        ("refine", ("coupling", "--moves", "seeds", "--yes"), 2),
    ]


def test_a_done_trial_never_changes(store):
    members = make_members((0.1, 0.2))
    store.declare(make_study(), members)
    train(store, members[:1], loss=0.5)
    train(store, members[1:], outcome=Outcome.DIVERGED)
    before = store.export_rows()
    for outcome in Outcome:
        left = train(store, members, outcome=outcome, loss=0.9, weight_hash="cd" * 32)
        assert left == [m.trial.id for m in members]
    assert store.export_rows() == before


def test_a_failed_trial_is_replaced_with_all_its_values(store):
    members = make_members()
    store.declare(make_study(), members)
    train(store, members, outcome=Outcome.FAILED)
    assert store.study_rows("coupling")[0].error == "Traceback: boom"
    train(store, members, outcome=Outcome.DIVERGED, points=7)
    record = store.trial(members[0].trial.short)
    assert (record.outcome, record.diverged_step, record.error, record.metrics) == (
        Outcome.DIVERGED,
        7,
        None,
        {},
    )
    assert len(store.series(record.trial_id)["train/loss"].steps) == 7


def test_measuring_again_adds_what_was_missing_only_on_the_same_weights(store):
    members = make_members()
    trial_id = members[0].trial.id
    store.declare(make_study(), members)
    train(store, members, loss=0.5, weight_hash="ab" * 32)

    def again(weight_hash):
        number = store.open_cohort(cohort_of(members))
        more = {"val/loss": 0.7, "test/loss": 0.8}
        seen = Observations(trial_id=trial_id, outcome=Outcome.FINISHED, metrics=more, weight_hash=weight_hash)
        return list(store.commit(number, [seen]).left)

    assert again("cd" * 32) == [trial_id]
    assert "test/loss" not in store.trial(trial_id).metrics
    assert again("ab" * 32) == []
    assert store.trial(trial_id).metrics == {"val/loss": 0.5, "val/accuracy": 0.9, "test/loss": 0.8}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_final_metric_that_is_not_finite_is_refused_and_nothing_of_the_commit_stays(store, value):
    members = make_members((0.1, 0.2))
    store.declare(make_study(), members)
    number = store.open_cohort(cohort_of(members))
    good = make_observations(members[0].trial.id)
    bad = Observations(trial_id=members[1].trial.id, outcome=Outcome.FINISHED, metrics={"val/loss": value})
    with pytest.raises(ThalwegError):
        store.commit(number, [good, bad])
    assert store.export_rows() == []
    assert store.commit(number, [good]) == Committed()


def test_one_commit_treats_each_of_its_trials_by_what_is_stored_of_it(store):
    """Each stored outcome beside all others, each met by the same hash and by another."""
    stored = (None, *Outcome)
    members = make_members([0.01 * i for i in range(1, 2 * len(stored) + 1)])
    alike, others = members[: len(stored)], members[len(stored) :]
    store.declare(make_study(), members)
    for outcome, *both in zip(stored, alike, others, strict=True):
        if outcome:
            train(store, both, outcome=outcome, loss=0.5)
    number = store.open_cohort(cohort_of(members))
    seen = [make_observations(m.trial.id, loss=0.7, points=9) for m in reversed(alike)]
    seen += [make_observations(m.trial.id, loss=0.7, points=9, weight_hash="cd" * 32) for m in others]
    taken = store.commit(number, seen)
    done = dict(zip(stored, others, strict=True))
    left = [alike[stored.index(Outcome.DIVERGED)], done[Outcome.FINISHED], done[Outcome.DIVERGED]]
    assert taken == Committed(left=tuple(m.trial.id for m in left))
    for outcome, *both in zip(stored, alike, others, strict=True):
        for member in both:
            trial = store.trial(member.trial.id)
            kept = outcome in (Outcome.FINISHED, Outcome.DIVERGED)
            assert trial.outcome == (outcome if kept else Outcome.FINISHED)
            assert trial.metrics.get("val/loss") == {Outcome.FINISHED: 0.5, Outcome.DIVERGED: None}.get(outcome, 0.7)
            assert len(store.series(member.trial.id)["train/loss"].steps) == (600 if kept else 9)


def test_a_trial_that_is_not_stored_opens_no_cohort(store):
    store.declare(make_study(), make_members())
    with pytest.raises(ThalwegError):
        store.open_cohort(cohort_of(make_members((0.1, 0.2))))


def test_a_trial_of_another_cohort_is_refused(store):
    members = make_members((0.1, 0.2))
    store.declare(make_study(), members)
    number = store.open_cohort(cohort_of(members[:1]))
    with pytest.raises(ValueError, match=members[1].trial.id):
        store.commit(number, [make_observations(members[1].trial.id)])


def test_a_cohort_is_finished_when_its_last_lane_is(store):
    members = make_members((0.1, 0.2))
    store.declare(make_study(), members)
    number = store.open_cohort(cohort_of(members))
    open_cohorts = "SELECT count(*) FROM cohorts WHERE finished IS NULL"
    with sqlite3.connect(store.path) as db:
        for member, still_open in zip(members, (1, 0), strict=True):
            store.commit(number, [make_observations(member.trial.id)])
            assert db.execute(open_cohorts).fetchone() == (still_open,)
    db.close()
    assert store.trial(members[1].trial.id).cohort == cohort_of(members)


def test_text_that_is_not_unicode_does_not_stop_a_commit(store):
    members = make_members()
    store.declare(make_study(), members)
    number = store.open_cohort(cohort_of(members))
    odd = Observations(trial_id=members[0].trial.id, outcome=Outcome.FAILED, error="bad \udcff name\0")
    store.commit(number, [odd])
    assert store.trial(members[0].trial.id).error == "bad \\udcff name\0"


# Membership


def test_an_edited_file_puts_dropped_trials_outside_and_keeps_them(store):
    store.declare(make_study(), make_members((0.1, 0.2)))
    train(store, make_members((0.1, 0.2)))
    store.declare(make_study(), make_members((0.2, 0.4)))
    assert [(r.axes["optimizer.lr"], r.outside) for r in store.study_rows("coupling")] == [
        (0.2, False),
        (0.4, False),
        (0.1, True),
    ]
    (summary,) = store.studies()
    assert (summary.wanted, summary.done, summary.outside) == (2, 1, 1)
    store.declare(make_study(), make_members((0.1,)))
    assert not rows(store)["plain", 0.1].outside


def test_an_override_only_adds_and_what_it_added_stays_inside(store):
    store.declare(make_study(), make_members((0.1,)))
    store.declare(make_study(overridden=True), make_members((0.2,)))
    assert {lr: (r.outside, r.overridden) for (_, lr), r in rows(store).items()} == {
        0.1: (False, False),
        0.2: (False, True),
    }
    store.declare(make_study(), make_members((0.4,)))
    assert {lr: r.outside for (_, lr), r in rows(store).items()} == {0.1: True, 0.2: False, 0.4: False}


@pytest.mark.long
@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from((0.1, 0.2, 0.3, 0.4)))), min_size=1, max_size=5))
def test_members_are_the_last_file_and_all_overrides(tmp_path_factory, declarations):
    with Store.open(tmp_path_factory.mktemp("s") / "s.sqlite", "write") as store:
        for overridden, lrs in declarations:
            store.declare(make_study(overridden=overridden), make_members(sorted(lrs)))
        inside = {lr for (_, lr), r in rows(store).items() if not r.outside}
        everything = {lr for _, lr in rows(store)}
    files = [lrs for overridden, lrs in declarations if not overridden]
    added = set().union(*(lrs for overridden, lrs in declarations if overridden))
    assert inside == added | (files[-1] if files else set())
    assert everything == set().union(*(lrs for _, lrs in declarations))


def test_a_renamed_block_leaves_no_copy_of_trials_that_are_still_declared(store):
    store.declare(make_study(block="old"), make_members((0.1, 0.2), block="old"))
    store.declare(make_study(block="new"), make_members((0.1,), block="new"))
    assert sorted((b, lr, r.outside) for (b, lr), r in rows(store).items()) == [
        ("new", 0.1, False),
        ("old", 0.2, True),
    ]


def test_one_trial_in_two_blocks_and_two_studies_is_stored_once(store):
    (member,) = make_members()
    twice = [member, Member(member.trial, "other", {"optimizer.lr": 0.1})]
    store.declare(make_study("one"), twice)
    store.declare(make_study("two"), [member])
    train(store, [member], "one")
    assert [r.outcome for r in store.study_rows("one")] == [Outcome.FINISHED] * 2
    assert [(s.name, s.wanted, s.done) for s in store.studies()] == [("two", 1, 1), ("one", 1, 1)]
    assert [(m.study, m.block) for m in store.membership(member.trial.id)] == [
        ("one", "plain"),
        ("one", "other"),
        ("two", "plain"),
    ]
    assert len(store.export_rows()) == 1


# Questions


def test_a_study_is_read_as_it_was_declared(store):
    study = replace(make_study(lrs=LRS, seeds=(0, 1)), document={"typed": "optimizer.lr=0.1"})
    store.declare(study, make_members(LRS))
    record, (block,) = store.study("coupling"), study.blocks
    assert (record.question, record.metric, record.direction) == (study.question, "val/loss", "min")
    assert (record.replicate, record.vars, record.document) == ("seed", (), {"typed": "optimizer.lr=0.1"})
    assert record.analysis == Analysis("coupling", "optimizer.lr", "optimizer.weight_decay")
    assert record.blocks[0].axes == block.axes
    assert record.blocks[0].group_axes == block.group_axes
    assert record.blocks[0].expect == Expectation(-1.0, 0.3)
    assert record.blocks[0].derive == block.derive


def test_a_seed_that_was_stored_as_a_choice_is_read_as_replicates(store):
    store.declare(replace(make_study(lrs=LRS, seeds=(0, 1)), replicate=None), make_members(LRS))
    assert store.study("coupling").replicate == "seed"


def test_several_questions_are_kept_and_an_old_outline_is_read(store):
    asked = (Analysis("warmup", "optimizer.lr", warmup="schedule.warmup"), Analysis("sensitivity", "optimizer.lr"))
    store.declare(replace(make_study(lrs=LRS), analyses=asked, hypothesis="Warmup pays."), [])
    assert store.study("coupling").analyses == asked
    assert store.study("coupling").hypothesis == "Warmup pays."
    for old, expected in (({"kind": "coupling", "lr": "a", "wd": "b"}, (Analysis("coupling", "a", "b"),)), (None, ())):
        outline = json.dumps({"vars": [], "blocks": [], "analysis": old})
        store._db.execute("UPDATE studies SET outline = ?", (outline,))
        assert (store.study("coupling").analyses, store.study("coupling").hypothesis) == (expected, "")


def test_an_override_does_not_replace_what_the_file_says(store):
    store.declare(replace(make_study(overridden=True, lrs=(0.1,)), document={"n": 1}), [])
    store.declare(replace(make_study(overridden=True, lrs=(0.2,)), document={"n": 2}), [])
    assert store.study("coupling").document == {"n": 2}
    store.declare(replace(make_study(lrs=(0.3,)), document={"n": 3}), [])
    store.declare(replace(make_study(overridden=True, lrs=(0.4,)), document={"n": 4}), [])
    assert store.study("coupling").document == {"n": 3}
    assert store.study("coupling").blocks[0].axes[0].values == (0.3,)


def test_an_unknown_study_is_refused_naming_the_nearest(store):
    store.declare(make_study(), [])
    with pytest.raises(UsageError, match="no study 'couplng'") as refusal:
        store.study("couplng")
    assert refusal.value.hint == "did you mean coupling?"
    assert store.study_rows("couplng") == []


def test_the_latest_study_comes_first_even_if_the_clock_is_set_back(tmp_path):
    times = iter([datetime(2030, 1, 2, tzinfo=UTC) - timedelta(days=n) for n in range(10)])
    with Store.open(tmp_path / "s.sqlite", "write", clock=lambda: next(times)) as store:
        for name in ("a", "b", "a", "c"):
            store.declare(make_study(name), [])
        assert [s.name for s in store.studies()] == ["c", "a", "b"]


def test_counts_are_of_distinct_trials_by_outcome(store):
    members = make_members((0.1, 0.2, 0.3, 0.4, 0.5))
    ended = {Outcome.FINISHED: members[0], Outcome.DIVERGED: members[1], Outcome.FAILED: members[2]}
    stopped = {member.trial.id: Pruned(1, 25) for member in (members[0], members[3])}  # one of them finished elsewhere
    store.declare(make_study(), members, pruned=stopped)
    for outcome, member in ended.items():
        train(store, [member], outcome=outcome)
    (s,) = store.studies()
    assert (s.wanted, s.finished, s.diverged, s.pruned, s.failed, s.done) == (5, 1, 1, 1, 1, 2)


def test_a_status_says_how_far_a_trial_is(store):
    members = make_members((0.1, 0.2, 0.3))
    store.declare(make_study(), members)
    train(store, members[:1])
    train(store, members[1:2], outcome=Outcome.DIVERGED)
    found = store.statuses([m.trial.id for m in members] + ["f" * 64])
    assert [(found[m.trial.id].outcome, set(found[m.trial.id].metrics)) for m in members] == [
        (Outcome.FINISHED, {"val/loss", "val/accuracy"}),
        (Outcome.DIVERGED, set()),
        (None, set()),
    ]
    assert len(found) == 3


def test_a_trial_is_found_by_any_unique_prefix(store):
    members = make_members(seeds=range(40))
    store.declare(make_study(), members)
    ids = [m.trial.id for m in members]
    for trial_id in ids:
        unique = next(n for n in range(1, 65) if sum(i.startswith(trial_id[:n]) for i in ids) == 1)
        assert store.trial(trial_id[:unique]).trial_id == trial_id
        if unique > 1:
            with pytest.raises(UsageError, match=f"trial ids begin with {trial_id[: unique - 1]}"):
                store.trial(trial_id[: unique - 1])


@pytest.mark.parametrize("prefix", ["", "xyz", "A" * 8, "%", "a" * 65, "é"])
def test_what_cannot_be_an_id_is_refused(store, prefix):
    with pytest.raises(UsageError, match="is not a trial id"):
        store.trial(prefix)


def test_an_id_that_is_not_there_is_refused(store):
    with pytest.raises(UsageError, match="no trial id in the store begins with abc"):
        store.trial("abc")


def test_a_record_holds_everything_an_export_needs(store):
    members = make_members((0.1, 0.2, 0.3))
    store.declare(make_study("one"), members)
    store.declare(make_study("two"), members[1:])
    train(store, members[:2], "one")
    train(store, members[2:], "two", outcome=Outcome.FAILED)
    assert [r.trial_id for r in store.export_rows()] == [m.trial.id for m in members[:2]]
    (record,) = store.export_rows("two")
    assert record == store.trial(members[1].trial.id)
    assert record.config["optimizer"]["lr"] == 0.2
    assert record.weight_hash == "ab" * 32
    assert record.cohort == cohort_of(members[:2], "one")
    assert [m.study for m in record.memberships] == ["one", "two"]
    assert (record.seconds, record.group_id) == (0.25, members[1].trial.group_id)
    assert record.version is not None
    assert record.ended is not None


def test_the_first_choice_of_a_group_stays(store):
    first, second = Choice("vmap", "shared", 32, "fastest"), Choice("loop", "per_lane", 1, "slower")
    assert store.choice("g", "cpu") is None
    assert store.record_choice("g", "cpu", first) == first
    assert store.record_choice("g", "cpu", second) == first
    assert store.record_choice("g", "cuda", second) == second
    assert (store.choice("g", "cpu"), store.choice("g", "cuda")) == (first, second)


def test_the_view_has_a_row_for_each_trial_of_each_study(store):
    members = make_members((0.1, 0.2))
    store.declare(make_study("one"), members)
    store.declare(make_study("two"), members[:1])
    train(store, members[:1], "one", loss=0.1 + 0.2)
    db = sqlite3.connect(store.path)
    found = db.execute("SELECT study, trial, outcome, metric, value, outside FROM trial_results").fetchall()
    (lr,) = db.execute("SELECT json_extract(axes, '$.\"optimizer.lr\"') FROM trial_results").fetchone()
    db.close()
    a, b = (m.trial.id for m in members)
    assert Counter(found) == Counter(
        [
            ("one", a, "finished", "val/loss", 0.1 + 0.2, 0),
            ("one", b, None, "val/loss", None, 0),
            ("two", a, "finished", "val/loss", 0.1 + 0.2, 0),
        ]
    )
    assert lr == 0.1


def test_the_documents_name_every_column_of_the_view_and_their_queries_run(store):
    members = make_members((0.1, 0.2), (0, 1))
    store.declare(make_study(), members)
    train(store, members)
    text = (Path(__file__).parents[3] / "docs/store.md").read_text()
    (query,) = re.findall("```sql\n(.*?)```", text, re.DOTALL)
    decode = re.findall("```python\n(.*?)```", text, re.DOTALL)[-1]
    db = sqlite3.connect(store.path)
    db.row_factory = sqlite3.Row
    named = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line)}
    columns = {column[1] for column in db.execute("PRAGMA table_info(trial_results)")}
    found = {"row": db.execute("SELECT * FROM series WHERE name = 'train/loss'").fetchone()}
    if sqlite3.sqlite_version_info >= (3, 38):  # the first with ->>
        assert [(r["lr"], r["loss"], r["n"]) for r in db.execute(query)] == [(0.1, 0.5, 2), (0.2, 0.5, 2)]
    db.close()
    exec(decode, found)
    assert columns <= named
    observed = make_observations(members[0].trial.id).series["train/loss"]
    np.testing.assert_array_equal(found["steps"], observed.steps)
    np.testing.assert_array_equal(found["values"], observed.values)


# Series


@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), st.floats(width=32) | st.floats()),
        max_size=40,
        unique_by=lambda pair: pair[0],
    )
)
def test_a_series_is_kept_without_loss(pairs):
    pairs.sort(key=lambda pair: pair[0])
    steps, values = ([pair[i] for pair in pairs] for i in range(2))
    found = unpack(pack(Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))))
    assert (found.steps.dtype, found.values.dtype) == (np.dtype(np.int64), np.dtype(np.float64))
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.values, values)


def test_float32_losses_take_half_the_bytes_and_float64_ones_keep_their_digits():
    steps = np.arange(3)
    assert pack(Series(steps, np.array([0.1, 0.2, np.nan], np.float32).astype(np.float64))).dtype == "<f4"
    assert pack(Series(steps, np.array([0.1, 0.2, np.inf]))).dtype == "<f8"


@pytest.mark.parametrize(("steps", "values"), [([0, 1], [0.5]), ([1, 1], [0.5, 0.5]), ([2, 1], [0.5, 0.5])])
def test_a_series_that_makes_no_sense_is_refused(steps, values):
    with pytest.raises(ValueError, match="ascending"):
        pack(Series(np.array(steps), np.array(values)))


def test_trials_of_equal_configuration_are_one_trial(store):
    store.declare(make_study(), [Member(make_trial(), "plain", {"optimizer.lr": 0.1})] * 2)
    assert len(store.study_rows("coupling")) == 1


def test_what_trials_of_a_group_took_is_told_of_finished_ones(store):
    members = make_members((0.1, 0.2, 0.3))
    store.declare(make_study("one"), members)
    group = members[0].trial.group_id
    assert store.histories([group]) == {}
    train(store, members[:2], "one")
    train(store, members[2:], "one", outcome=Outcome.FAILED)
    told = store.histories([group, "no such group"])
    assert told.keys() == {group}
    assert (told[group].trials, told[group].seconds, told[group].fastest, told[group].slowest) == (2, 0.25, 0.25, 0.25)


def test_a_declaration_replaces_the_stops_of_its_own_trials_and_leaves_the_others(store):
    *filed, typed = make_members((0.1, 0.2, 0.4))
    first, second, third = (member.trial.id for member in (*filed, typed))
    file, words = make_study(), make_study(overridden=True)

    def stopped(study, members, *pruned):
        store.declare(study, members, pruned=dict.fromkeys(pruned, Pruned(1, 5)))
        return {row.trial_id for row in store.study_rows("coupling") if row.pruned}

    assert stopped(file, filed, first, second) == {first, second}
    assert stopped(words, [typed], third) == {first, second, third}
    assert stopped(words, [typed]) == {first, second}
    assert stopped(words, [typed], third) == {first, second, third}
    assert stopped(file, filed, first) == {first, third}
