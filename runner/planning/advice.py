"""What is worth knowing of a plan before anything trains, in sentences. Knows schemas and rules of thumb, no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thalweg.data.schema import TableConfig
from thalweg.optim.advice import decay_strength, decay_warning, suggest_warmup
from thalweg.optim.schema import OptimizerConfig
from thalweg.runner.study import target
from thalweg.runner.study.study import Study
from thalweg.runner.study.trial import Trial, TrialConfig

KEY = "schedule.warmup"
LEVEL = "constant"
"""The schedule whose rate does not fall towards the end."""
CLOSE = 1.5
"""A rule of thumb within this factor is no other advice: 36 steps for 30."""


def advice(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Return a line for each thing worth knowing of `trials`, some or all of those that the study declares."""
    warning = decay_warning(_strongest(trial.config) for trial in trials)
    return [*_warmups(study, trials), *([warning] if warning else []), *_stopping(study), *_notes(trials)]


def _strongest(config: TrialConfig) -> OptimizerConfig:
    """The optimizer of the parameters that decay most in a step: the trial's own, or that of a group that trains."""
    of = config.optimizer
    training = [(group.optimizer or of, group) for _, group in config.groups.named if not group.freeze]
    scaled = [
        replace(own, lr=own.lr * group.lr, weight_decay=own.weight_decay * group.weight_decay)
        for own, group in training
    ]
    return max([of, *scaled], key=lambda each: decay_strength(each) or 0.0)


def _stopping(study: Study) -> list[str]:
    """That early losses are no guide to the last ones, where the last steps are the small ones."""
    if study.stop is None or not any(each.kind == "coupling" for each in study.analyses):
        return []
    if all(base.at({})["schedule"]["name"] == LEVEL for block in study.blocks for base in block.bases):
        return []
    return [
        "study.stop compares early losses, which favour small learning rates and little weight decay before the"
        " learning rate has decayed: trials that would end best may be stopped, and a slope over the rest may be wrong"
    ]


def _notes(trials: Sequence[Trial]) -> list[str]:
    """How the user's files are read, where that may surprise."""
    datasets: set[Any] = {trial.config.dataset for trial in trials}
    return sorted({note for dataset in datasets for note in _notes_of(dataset)})


def _notes_of(dataset: Any) -> tuple[str, ...]:
    if target.is_target(dataset):
        return target.notes(dataset)
    if not isinstance(dataset, TableConfig):
        return ()
    from thalweg.data.check import notes  # here, as it imports numpy, which most plans go without

    return notes(dataset)


def _warmups(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Suggest a warmup for each optimizer where the study leaves it open, a share of the run and no axis, and where
    that is far from the rule of thumb."""
    open_ = {
        warmup
        for block in study.blocks
        if not {KEY, "budget.steps"} & {axis.key for axis in block.axes} and KEY not in block.derive
        for base in block.bases
        if str(warmup := base.at({})["schedule"]["warmup"]).endswith("%")
    }
    if not open_:
        return []
    lines = {}
    for config in (trial.config for trial in trials):
        optimizer, steps = config.optimizer, config.budget.steps
        beta2 = getattr(optimizer, "beta2", 0.0)
        if (optimizer.name, beta2, steps) not in lines:
            found = suggest_warmup(steps, optimizer=optimizer.name, beta2=beta2)
            far = not found.steps / CLOSE <= config.schedule.warmup <= found.steps * CLOSE
            lines[optimizer.name, beta2, steps] = far and (
                f"{KEY} is left at {config.schedule.warmup:,} of {steps:,} steps; "
                f"a rule of thumb for {optimizer.name}: {found.steps:,} ({found.because})"
            )
    return [line for line in lines.values() if line][:3]
