"""How a stored trial was trained: what is read from its record, and why it may not be verifiable."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_cases import COHORT, RECORD, SERIES, TRIAL, VERSIONS
from store_cases import make_trial

from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.facts.replayed import Replayed, Verdict
from thalweg.runner.replay import recorded
from thalweg.runner.replay.recorded import Recorded, doubts, measured_alike, measurements, obstacle, read
from thalweg.runner.study.arithmetic import Repair
from thalweg.runner.study.settings import evaluation_steps
from thalweg.runner.study.trial import Trial


def why_not(record: TrialRecord, series=SERIES) -> str:
    found = read(record, series)
    assert isinstance(found, Replayed)
    assert found.verdict is Verdict.CANNOT_VERIFY
    return found.why


def test_all_that_decides_a_trials_bits_is_read_from_its_record() -> None:
    found = read(RECORD, SERIES)
    assert isinstance(found, Recorded)
    assert (found.trial, found.cohort, found.evaluations, found.device) == (TRIAL, COHORT, 3, "cpu")


def test_what_has_no_result_or_no_way_of_training_cannot_be_verified() -> None:
    assert why_not(replace(RECORD, outcome=None)) == "it is not trained yet"
    assert why_not(replace(RECORD, outcome=Outcome.FAILED)) == "it failed"
    assert why_not(replace(RECORD, outcome=Outcome.PRUNED)) == "it pruned"
    for lacking in (replace(RECORD, cohort=None), replace(RECORD, weight_hash=None)):
        assert "does not hold how it was trained" in why_not(lacking)
    assert "does not hold" in why_not(RECORD, {})
    assert "no number of measurements" in why_not(RECORD, {"val/loss": Series(np.array([0, 7, 600]), np.ones(3))})


def test_a_configuration_that_is_not_its_ids_is_a_mismatch_without_training() -> None:
    other = json.loads(make_trial(lr=0.2).config_json)
    found = read(replace(RECORD, config=other), SERIES)
    assert isinstance(found, Replayed)
    assert (found.verdict, found.quantity) == (Verdict.MISMATCH, "configuration")


def test_a_configuration_of_another_release_cannot_be_verified() -> None:
    other = json.loads(make_trial(lr=0.2).config_json)
    assert "cannot be read by this thalweg" in why_not(replace(RECORD, config={**other, "precision": "float8"}))
    assert "has novelty, which" in why_not(replace(RECORD, config={**other, "novelty": 1}))
    optimizer = {**other["optimizer"], "novelty": 1}
    assert "has optimizer.novelty, which" in why_not(replace(RECORD, config={**other, "optimizer": optimizer}))


def test_a_repair_since_then_is_named(monkeypatch) -> None:
    mended = Repair(99, "rates were doubled", lambda config: True)
    monkeypatch.setattr(recorded, "REPAIRS", (mended,))
    assert why_not(RECORD) == "it was trained before this mistake was corrected: rates were doubled"
    assert isinstance(read(RECORD, SERIES, anyway=True), Replayed)  # what trains now is another trial
    monkeypatch.setattr(recorded, "REPAIRS", (replace(mended, touches=lambda config: False),))
    assert isinstance(read(RECORD, SERIES), Recorded)


def test_a_trial_that_was_trained_after_a_repair_is_verified(monkeypatch) -> None:
    monkeypatch.setattr(recorded, "REPAIRS", (Repair(99, "rates were doubled", lambda config: True),))
    since = Trial(replace(TRIAL.config, arithmetic=99))
    record = replace(RECORD, trial_id=since.id, config=json.loads(since.config_json))
    assert isinstance(read(record, SERIES), Recorded)


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ({"nets/a.py": "1"}, {"nets/a.py": "2"}, "nets/a.py changed since"),
        ({"nets/a.py": "1", "nets/b.py": "1"}, {"nets/a.py": "2", "nets/b.py": "2"}, "nets/a.py, nets/b.py changed"),
        ({"nets/a.py": "1"}, {}, "nets/a.py is not there now"),
        ({}, {"nets/a.py": "1"}, "nets/a.py changed since"),
    ],
)
def test_changed_code_is_named(monkeypatch, then, now, said) -> None:
    monkeypatch.setattr(recorded, "code_of", lambda config: now)
    versions = {**VERSIONS, **{f"code {name}": digest for name, digest in then.items()}}
    record = replace(RECORD, cohort=replace(COHORT, versions=versions))
    assert why_not(record).startswith(said)
    anyway = read(record, SERIES, anyway=True)
    assert isinstance(anyway, Recorded)
    assert anyway.changed.startswith(said)


@pytest.mark.parametrize("name", ["torch", "instructions"])
def test_another_torch_or_instruction_set_is_an_obstacle_and_named(name) -> None:
    assert obstacle(COHORT, VERSIONS, "cpu") == ""
    said = obstacle(COHORT, {**VERSIONS, name: "other"}, "cpu")
    assert VERSIONS[name] in said
    assert "other now" in said


def test_another_device_is_an_obstacle_and_named() -> None:
    assert obstacle(COHORT, VERSIONS, "Some GPU") == "device: cpu then, Some GPU now"


@pytest.mark.parametrize("name", ["thalweg", "numpy", "python", "processor"])
def test_other_versions_are_doubts_alone(name) -> None:
    other = {**VERSIONS, name: "other"}
    assert obstacle(COHORT, other, "cpu") == doubts(COHORT, VERSIONS) == ""
    assert VERSIONS[name] in doubts(COHORT, other)


def test_what_was_not_recorded_is_a_doubt_and_named() -> None:
    before = replace(COHORT, versions={k: v for k, v in VERSIONS.items() if k != "instructions"})
    assert obstacle(before, VERSIONS, "cpu") == ""
    assert doubts(before, VERSIONS) == "its instruction set was not recorded"


def test_a_diverged_trial_is_measured_as_often_as_a_finished_one_where_that_fits() -> None:
    def trained(measured: list[int], died: int | None = None) -> Recorded:
        series = {"val/loss": Series(np.array(measured), np.ones(len(measured)))}
        outcome = Outcome.FINISHED if died is None else Outcome.DIVERGED
        found = read(replace(RECORD, outcome=outcome, diverged_step=died), series)
        assert isinstance(found, Recorded)
        return found

    finished = trained([0, 200, 400, 600])
    trials = [finished, trained([0], 37), trained([0, 200], 250), trained([0, 100], 150)]
    assert [each.evaluations for each in measured_alike(trials)] == [3, 3, 3, 6]
    assert [each.evaluations for each in measured_alike(trials[1:2])] == [1]


@pytest.mark.long
@given(st.integers(1, 2000), st.integers(1, 3000), st.integers(-1, 2000))
def test_how_often_a_trial_was_measured_is_read_from_its_steps(steps, points, diverged) -> None:
    """Also where it diverged on the way, and the rest is unknown."""
    died = None if diverged < 0 or diverged >= steps else diverged
    last = steps if died is None else died
    measured = [0, *(step for step in evaluation_steps(steps, points) if step <= last)]
    found = measurements(measured, steps, died)
    assert found is not None
    assert [0, *(step for step in evaluation_steps(steps, found) if step <= last)] == measured
