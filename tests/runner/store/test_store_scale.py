"""What the store costs: bytes for a full study, seconds for 10,000 trials.

Limits are several times what two busy cores needed (in brackets), and catch a wrong order of growth.
"""

import time

import pytest
from store_cases import cohort_of, make_members, make_observations, make_study

from thalweg.runner.planning.plan import make_plan
from thalweg.runner.store import Store

STUDY = make_study()


def fill(path, n, points):
    members = make_members([0.001 * (i + 1) for i in range(n)])
    with Store.open(path, "write") as store:
        store.declare(STUDY, members)
        for start in range(0, n, 500):
            cohort = cohort_of(members[start : start + 500])
            seen = [make_observations(trial_id, points=points) for trial_id in cohort.trial_ids]
            store.commit(store.open_cohort(cohort), seen)
    return members


def test_the_trials_of_the_coupling_study_take_12_megabytes_at_most(tmp_path):
    fill(tmp_path / "s.sqlite", 2592, points=600)
    assert (tmp_path / "s.sqlite").stat().st_size < 12e6


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory):
    path = tmp_path_factory.mktemp("scale") / "s.sqlite"
    return path, fill(path, 10_000, points=10)


def seconds(work):
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


@pytest.mark.long
def test_ten_thousand_trials_are_looked_up_planned_and_listed_quickly(ten_thousand):
    path, members = ten_thousand
    with Store.open(path) as store:
        asked, statuses = seconds(lambda: store.statuses([m.trial.id for m in members]))
        read, rows = seconds(lambda: store.study_rows("coupling"))
        planned, plan = seconds(lambda: make_plan(STUDY, members, statuses, rows))
        exported, records = seconds(store.export_rows)
    assert (plan.done, plan.to_train, len(rows), len(records)) == (10_000, 0, 10_000, 10_000)
    assert asked < 0.3  # (0.04)
    assert read < 2  # (0.2)
    assert planned < 0.5  # (0.02)
    assert exported < 2  # (0.3)


def test_declaring_ten_thousand_known_trials_is_quick(ten_thousand):
    path, members = ten_thousand
    with Store.open(path, "write") as store:
        took, _ = seconds(lambda: store.declare(STUDY, members))
    assert took < 1.5  # (0.1)
