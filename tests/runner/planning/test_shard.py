"""Shares of a study: they cover it, do not overlap, and stay what they are whatever is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_cases import make_members, make_study, train

from thalweg.runner import page
from thalweg.runner.base.errors import UsageError
from thalweg.runner.planning.plan import make_plan
from thalweg.runner.planning.shard import Shard, share
from thalweg.runner.store import Store
from thalweg.runner.study.study import expand

MEMBERS = make_members([0.01 * (i + 1) for i in range(40)])
WORDS = ("optimizer.lr=0.1..1.0:10lin", "seed=0,1", "study.name=mine")


def ids(plan) -> list[str]:
    return [trial.id for group in plan.groups for trial in group.trials]


@given(st.integers(1, 12), st.sets(st.integers(0, len(MEMBERS) - 1)))
def test_shares_cover_what_is_missing_and_do_not_overlap(of, missing):
    whole = make_plan(make_study(), [MEMBERS[number] for number in missing], {})
    shares = [share(whole, Shard(number + 1, of)) for number in range(of)]
    assert sorted(trial_id for each in shares for trial_id in ids(each)) == sorted(ids(whole))
    assert all(each.done + each.to_train + each.others == each.wanted for each in shares)


def test_a_share_is_the_same_whatever_is_done(tmp_path: Path) -> None:
    study = page.declare(*WORDS).study
    before = page.share(study, Shard(2, 3), None)
    members = expand(study)
    with Store.open(tmp_path / "whole.sqlite", "write") as whole, Store.open(tmp_path / "own.sqlite", "write") as own:
        whole.declare(study, members)
        train(whole, members[:5], "mine")
        own.declare(study, members)
        train(own, members[8:12], "mine")
        after = page.share(study, Shard(2, 3), own, whole)
    done = {member.trial.id for member in (*members[:5], *members[8:12])}
    assert ids(after) == [trial_id for trial_id in ids(before) if trial_id not in done]
    assert after.done == 9


def test_stores_that_hold_a_share_each_make_the_whole_in_any_order(tmp_path: Path) -> None:
    study = page.declare(*WORDS).study
    with Store.open(tmp_path / "whole.sqlite", "write") as whole:
        page.record(page.plan(study, whole), whole)
        train(whole, expand(study), "mine")
        rows, typed = whole.study_rows("mine"), whole.commands("mine")
    for number in (1, 2, 3):
        with Store.open(tmp_path / f"{number}.sqlite", "write") as own:
            made = page.share(study, Shard(number, 3), own)
            page.record(made, own)
            train(own, made.members, "mine")
            assert [row.trial_id for row in own.study_rows("mine")] == [member.trial.id for member in made.members]
    for order in ((1, 2, 3), (3, 1, 2, 3)):
        with Store.open(tmp_path / f"merged-{len(order)}.sqlite", "write") as merged:
            for number in order:
                with Store.open(tmp_path / f"{number}.sqlite") as own:
                    merged.merge(own)
            assert [replace(row, ended=None) for row in merged.study_rows("mine")] == [
                replace(row, ended=None) for row in rows
            ]
            assert [each.trials for each in merged.commands("mine")] == [each.trials for each in typed] == [20]


@pytest.mark.parametrize("typed", ["0/0", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "1/999999", "½/4", ""])
def test_what_is_no_share_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="is not a share"):
        Shard.typed(typed)


def test_a_share_is_stored_beside_the_whole() -> None:
    assert Shard.typed("2/4").store(Path("results/thalweg.sqlite")) == Path("results/thalweg.2-of-4.sqlite")
