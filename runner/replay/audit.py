"""A random sample of a study's trials, trained again, and what that bounds. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.facts.replayed import Audit, Verdict
from thalweg.runner.replay.again import Again


def population(records: Sequence[TrialRecord], study: str) -> list[TrialRecord]:
    """The done trials that are in a study, those that an edited file no longer declares left out; by their ids."""
    inside = [each for each in records if any(m.study == study and not m.outside for m in each.memberships)]
    return sorted(inside, key=lambda record: record.trial_id)


def sample(records: Sequence[TrialRecord], size: int, seed: int) -> list[TrialRecord]:
    """A random sample without replacement: the same for the same trials, size and seed. All, if there are no more.

    Raises UsageError for a sample of none.
    """
    if size < 1:
        raise UsageError(f"an audit of {size} trials bounds nothing", "give n=1 or more; 60 bound 5%, 200 bound 1.5%")
    return list(records) if size >= len(records) else random.Random(seed).sample(records, size)


def audit_of(again: Again, study: str, seed: int, population: int, now: datetime) -> Audit:
    """Sum up what came of a sample."""
    by = Counter(each.verdict for each in again.replayed)
    hello = again.hello
    return Audit(
        study=study,
        seed=seed,
        population=population,
        matched=by[Verdict.MATCH],
        mismatched=tuple(each.trial_id for each in again.replayed if each.verdict is Verdict.MISMATCH),
        reasons=dict(Counter(each.why for each in again.replayed if each.verdict is Verdict.CANNOT_VERIFY)),
        versions=hello.versions if hello else {},
        device=hello.device_name if hello else "",
        when=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
