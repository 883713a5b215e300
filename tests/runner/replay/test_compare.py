"""The verdict on a trial that was trained again: equal, or the first step and quantity that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from replay_cases import RECORD, TRIAL

from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.facts.replayed import Verdict
from thalweg.runner.replay.compare import verdict
from thalweg.runner.replay.recorded import Recorded

LOSSES = Series(np.arange(600), np.linspace(2.3, 0.5, 600))
VAL = Series(np.array([0, 200, 400, 600]), np.array([2.3, 1.0, 0.8, 0.7]))
FINISHED = Observations(
    trial_id=TRIAL.id,
    outcome=Outcome.FINISHED,
    metrics={"val/loss": 0.7, "test/loss": 0.75},
    series={"train/batch_loss": LOSSES, "val/loss": VAL},
    weight_hash="ab" * 32,
)


def recorded(observed: Observations = FINISHED) -> Recorded:
    """What would be stored of an observation."""
    assert RECORD.cohort
    record = replace(
        RECORD,
        outcome=observed.outcome,
        diverged_step=observed.diverged_step,
        weight_hash=observed.weight_hash,
        metrics=observed.metrics,
    )
    return Recorded(record, observed.series, TRIAL, RECORD.cohort, 3)


def with_value(series: Series, at: int, value: float) -> Series:
    values = series.values.copy()
    values[at] = value
    return Series(series.steps, values)


def diverged(step: int) -> Observations:
    losses = Series(np.arange(step + 1), np.append(LOSSES.values[:step], np.nan))
    val = Series(VAL.steps[VAL.steps <= step], VAL.values[VAL.steps <= step])
    return replace(
        FINISHED,
        outcome=Outcome.DIVERGED,
        diverged_step=step,
        metrics={},
        series={"train/batch_loss": losses, "val/loss": val},
    )


OTHER = "cd" * 32
MORE = {"val/mine": Series(np.array([0]), np.array([1.0]))}


@pytest.mark.parametrize("observed", [FINISHED, diverged(37), diverged(0)])
@pytest.mark.parametrize("doubts", ["", "numpy differs"])
def test_what_is_equal_matches_whatever_else_differs(observed, doubts) -> None:
    assert verdict(recorded(observed), observed, doubts).verdict is Verdict.MATCH


@pytest.mark.parametrize(
    "also",
    [
        lambda o: replace(o, series=o.series | MORE),
        lambda o: replace(o, metrics=o.metrics | {"val/mine": 3.0}),
        lambda o: replace(o, series={"train/batch_loss": LOSSES, "val/loss": Series(VAL.steps[::3], VAL.values[::3])}),
    ],
)
def test_what_one_side_alone_has_is_not_compared(also: Callable[[Observations], Observations]) -> None:
    assert verdict(recorded(also(FINISHED)), FINISHED, "").verdict is Verdict.MATCH
    assert verdict(recorded(FINISHED), also(FINISHED), "").verdict is Verdict.MATCH


def series(name: str, changed: Series, observed: Observations = FINISHED) -> Observations:
    return replace(observed, series=observed.series | {name: changed})


OTHER_VAL = series("val/loss", with_value(VAL, 1, 2.0))
NEXT = float(np.nextafter(1.0, 2))
DIFFER = [
    (replace(FINISHED, weight_hash=OTHER), "weight hash", 600),
    (series("train/batch_loss", with_value(LOSSES, 37, 9.0)), "train/batch_loss", 37),
    (series("train/batch_loss", with_value(LOSSES, 0, np.nan)), "train/batch_loss", 0),
    (series("val/loss", with_value(VAL, 1, NEXT)), "val/loss", 200),
    (series("train/batch_loss", Series(LOSSES.steps[:-1], LOSSES.values[:-1])), "train/batch_loss", 599),
    (
        series("train/batch_loss", with_value(LOSSES, 250, 9.0), series("val/loss", with_value(VAL, 1, 2.0))),
        "val/loss",
        200,
    ),
    (
        series("train/batch_loss", with_value(LOSSES, 150, 9.0), series("val/loss", with_value(VAL, 1, 2.0))),
        "train/batch_loss",
        150,
    ),
    (replace(FINISHED, metrics=FINISHED.metrics | {"test/loss": 0.7500000001}), "final test/loss", 600),
    (diverged(37), "train/batch_loss", 37),
    (replace(FINISHED, outcome=Outcome.DIVERGED, diverged_step=600, metrics={}), "outcome", 600),
]


@pytest.mark.parametrize(("observed", "quantity", "step"), DIFFER)
def test_the_first_step_and_quantity_that_differ_are_named(observed, quantity, step) -> None:
    for stored, now in ((FINISHED, observed), (observed, FINISHED)):
        found = verdict(recorded(stored), now, "")
        assert (found.verdict, found.quantity, found.step) == (Verdict.MISMATCH, quantity, step)
        assert f"{quantity} at step {step:,} was " in found.why


def test_doubts_explain_other_weights_that_come_of_other_losses() -> None:
    other = replace(series("train/batch_loss", with_value(LOSSES, 37, 9.0)), weight_hash=OTHER)
    found = verdict(recorded(), other, "numpy: 1 then, 2 now")
    assert found.verdict is Verdict.CANNOT_VERIFY
    assert "train/batch_loss at step 37 was " in found.why
    assert found.why.endswith("and numpy: 1 then, 2 now")
    assert verdict(recorded(), other, "").verdict is Verdict.MISMATCH


@pytest.mark.parametrize(("observed", "quantity", "step"), DIFFER)
def test_doubts_explain_no_store_that_contradicts_itself(observed, quantity, step) -> None:
    """Losses that are equal under other weights, or other losses under equal weights: something was changed there."""
    assert verdict(recorded(), observed, "numpy differs").verdict is Verdict.MISMATCH


def test_what_cannot_be_trained_here_cannot_be_verified_and_says_why() -> None:
    failed = Observations(
        trial_id=TRIAL.id, outcome=Outcome.FAILED, error="Traceback …\nConfigError: the files changed"
    )
    found = verdict(recorded(), failed, "")
    assert (found.verdict, found.why) == (
        Verdict.CANNOT_VERIFY,
        "it cannot be trained here: ConfigError: the files changed",
    )
