"""What a sample bounds, against plain formulas, and which sample it is."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_cases import RECORD

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.record import Membership
from thalweg.runner.facts.replayed import Audit, Replayed, Verdict, percent, upper_bound
from thalweg.runner.replay.again import Again
from thalweg.runner.replay.audit import audit_of, population, sample

NOW = datetime(2026, 3, 5, 13, 30, tzinfo=UTC)


def audit(match: int = 60, mismatch: int = 0, cannot: int = 0, of: int = 2592) -> Audit:
    kinds = [Verdict.MATCH] * match + [Verdict.MISMATCH] * mismatch + [Verdict.CANNOT_VERIFY] * cannot
    found = [Replayed(trial_id=f"{i:064x}", verdict=kind, why="torch: 1 then, 2 now") for i, kind in enumerate(kinds)]
    return audit_of(Again(found, None), "coupling", 0, of, NOW)


def test_the_sentence_says_what_was_seen_and_what_it_bounds() -> None:
    assert audit().sentence == "60 of 60 came out again: fewer than 5% of trials would not, 95% confidence"
    assert audit(of=60).sentence == "60 of 60 came out again, all that the study has"
    assert audit(58, 2, of=60).bound == 2 / 60
    assert audit(58, 2).sentence.startswith("58 of 60 came out again: fewer than 11% of trials")
    some = audit(40, cannot=20).sentence
    assert "40 of 40 came out again: fewer than 8% of" in some
    assert some.endswith("20 more could not be verified: torch: 1 then, 2 now")
    assert audit(0, cannot=3).sentence == "none of 3 trials could be verified: torch: 1 then, 2 now"
    assert audit(0, cannot=3).bound is None


@pytest.mark.parametrize("tried", [1, 2, 60, 200, 5000])
def test_with_none_failed_the_bound_is_the_closed_form(tried) -> None:
    assert upper_bound(0, tried) == pytest.approx(1 - 0.05 ** (1 / tried), rel=1e-9)


@given(st.integers(1, 60), st.data())
def test_at_the_bound_as_few_failures_have_a_probability_of_five_percent(tried, data) -> None:
    failed = data.draw(st.integers(0, tried))
    share = upper_bound(failed, tried)
    if failed == tried:
        assert share == 1
        return
    seen = sum(comb(tried, k) * share**k * (1 - share) ** (tried - k) for k in range(failed + 1))
    assert seen == pytest.approx(0.05, rel=1e-6)


def test_the_bound_holds_for_at_least_95_in_100_samples_of_a_study() -> None:
    """2,000 samples of a study in which 3% would not come out again; drawn without replacement, as audits are."""
    draws = random.Random(0)
    broken = set(range(60))
    covered = 0
    for _ in range(2000):
        failed = len(broken & set(draws.sample(range(2000), 100)))
        covered += upper_bound(failed, 100) >= 60 / 2000
    assert covered >= 0.95 * 2000


@given(st.floats(1e-9, 1))
def test_a_share_is_never_rounded_down(share) -> None:
    assert float(percent(share).rstrip("%")) / 100 >= share * (1 - 1e-6)
    assert float(percent(share).rstrip("%")) <= 100 * share * 1.11 + 1


def test_the_same_trials_size_and_seed_give_the_same_sample() -> None:
    records = [replace(RECORD, trial_id=f"{i:064x}") for i in range(50)]
    assert sample(records, 10, 0) == sample(list(records), 10, 0) != sample(records, 10, 1)
    assert len({each.trial_id for each in sample(records, 10, 0)}) == 10
    assert sample(records, 50, 3) == sample(records, 99, 4) == records


@pytest.mark.parametrize("size", [0, -5])
def test_a_sample_of_none_is_refused(size) -> None:
    with pytest.raises(UsageError, match=f"an audit of {size} trials bounds nothing"):
        sample([], size, 0)


def test_only_trials_that_are_in_the_study_are_drawn() -> None:
    def placed(number: int, *places: tuple[str, bool]):
        held = tuple(Membership(study, "b", {}, outside) for study, outside in places)
        return replace(RECORD, trial_id=f"{number:064x}", memberships=held)

    inside = placed(1, ("mine", True), ("mine", False))
    records = [
        placed(2, ("mine", True)),
        inside,
        placed(3, ("other", False), ("mine", True)),
        placed(0, ("mine", False)),
    ]
    assert [int(each.trial_id, 16) for each in population(records, "mine")] == [0, 1]


def test_an_audit_is_stored_as_it_is_read() -> None:
    for each in (audit(), audit(50, 3, 7)):
        assert Audit.of(each.document) == each
