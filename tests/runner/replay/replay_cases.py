"""A trial as a store holds it, for the tests of replay. Not a test."""

from __future__ import annotations

import json

import numpy as np
from store_cases import make_trial

from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.facts.record import CohortRecord, TrialRecord

TRIAL = make_trial()
VERSIONS = {
    "thalweg": "0.1.0",
    "torch": "2.15.0",
    "numpy": "2.4.6",
    "python": "3.11.7",
    "processor": "A Processor",
    "instructions": "AVX512",
}
COHORT = CohortRecord(
    study="s",
    group_id=TRIAL.group_id,
    executor="traced",
    layout="shared",
    width=4,
    device="cpu",
    versions=VERSIONS,
    trial_ids=(TRIAL.id,),
)
SERIES = {"val/loss": Series(np.array([0, 200, 400, 600]), np.ones(4))}
RECORD = TrialRecord(
    trial_id=TRIAL.id,
    group_id=TRIAL.group_id,
    config=json.loads(TRIAL.config_json),
    outcome=Outcome.FINISHED,
    diverged_step=None,
    weight_hash="ab" * 32,
    error=None,
    seconds=1.0,
    metrics={},
    memberships=(),
    cohort=COHORT,
    version="0.1.0",
    declared="",
    ended="",
)
