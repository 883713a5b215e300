"""Up to which step a trial is what a longer one, otherwise the same, would be; and why no further. Pure."""

from __future__ import annotations

from thalweg.runner.study.trial import TrialConfig

WHOLE = ("constant", "inverse_sqrt")
"""Schedules whose rate at a step does not depend on how many follow."""


def common_steps(config: TrialConfig) -> int:
    """How many of a trial's first steps a longer trial has as well; 0 where that is none worth keeping."""
    steps, schedule = config.budget.steps, config.schedule
    if schedule.name in WHOLE:
        return steps
    return steps - schedule.cooldown if schedule.name == "wsd" else 0


def why_not(config: TrialConfig) -> str:
    """Why a longer trial has none of a trial's steps, in words; empty if its schedule allows it."""
    if common_steps(config):
        return ""
    if config.schedule.name == "wsd":
        return "schedule=wsd cools down from the first step on"
    return f"schedule={config.schedule.name} goes by the share of budget.steps that is over: all learning rates differ"
