"""Members that start from another trial's weights: the trial is named whole, and by the hash of these weights. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.study.start import InitConfig
from thalweg.runner.study.study import Member
from thalweg.runner.study.trial import Trial


def started(members: Sequence[Member], trial_of: Callable[[str], TrialRecord] | None) -> list[Member]:
    """Return the members with the trials resolved that they start from.

    trial_of: a store's, by the beginning of an id; None without a store. Raises UsageError where there is no store, no
    such trial, or none with weights.
    """
    named = {init for m in members if (init := m.trial.config.init).trial and init.fingerprint is None}
    if not named:
        return list(members)
    if trial_of is None:
        name = min(str(init.weights) for init in named)
        raise UsageError(
            f"init.weights={name} names a trial, and there is no store here that holds one",
            "name its store with --store PATH, or a file that ends in .safetensors",
        )
    whole = {init: _resolved(init, trial_of(str(init.weights))) for init in named}
    return [
        _from(member, whole[member.trial.config.init]) if member.trial.config.init in whole else member
        for member in members
    ]


def _resolved(init: InitConfig, record: TrialRecord) -> InitConfig:
    if record.outcome is None or not record.outcome.is_done or record.weight_hash is None:
        said = f"ended as {record.outcome}" if record.outcome else "is not trained yet"
        short = record.trial_id[:8]
        raise UsageError(
            f"init.weights={init.weights}: {short} {said}, so it has no weights", f"see: thalweg show {short}"
        )
    return replace(init, weights=record.trial_id, fingerprint=record.weight_hash)


def _from(member: Member, init: InitConfig) -> Member:
    return replace(member, trial=Trial(replace(member.trial.config, init=init)))
