"""The jury lets fast first steps go on at once, ends slow ones early, and changes no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.runner.engine import jury as module
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.jury import PIECES, UNTIMED, Jury, TooSlow
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.facts.choice import Bar

CPU = torch.device("cpu")


@pytest.fixture
def steps(monkeypatch):
    """Blocks of steps that take the seconds they are said to; what was run is kept."""

    def run(jury: Jury, seconds: list[float], stops: tuple[int, ...] = (50,), trials: int = 4) -> list[tuple[int, int]]:
        ran: list[tuple[int, int]] = []

        def piece(start: int, stop: int) -> torch.Tensor:
            ran.append((start, stop))
            return torch.arange(start, stop)[:, None]

        def seconds_of(device, work) -> float:
            work()
            start, stop = ran[-1]
            return sum((seconds[step] if step < len(seconds) else seconds[-1]) for step in range(start, stop)) * trials

        monkeypatch.setattr(module, "seconds_of", seconds_of)
        for start, stop in zip((0, *stops), stops, strict=False):
            losses = jury.advance(piece, start, stop, trials)
            assert losses[:, 0].tolist() == list(range(start, stop))
        return ran

    return run


def heard(bar: Bar = Bar(1.0, 100.0)) -> tuple[Jury, list[str]]:  # noqa: B008
    said: list[str] = []
    return Jury(bar, CPU, lambda: said.append("held")), said


def test_the_first_fast_step_that_counts_decides(steps) -> None:
    jury, said = heard()
    assert steps(jury, [9.0, 9.0, 0.9]) == [(0, 1), (1, 2), (2, 3), (3, 50)]
    assert said == ["held"]


def test_one_fast_step_among_slow_ones_is_enough(steps) -> None:
    jury, said = heard(Bar(1.0, 1e9))
    steps(jury, [9.0] * 3 + [0.9] + [9.0] * 46)
    assert said == ["held"]


def test_steps_that_record_and_check_do_not_count_for_it(steps) -> None:
    jury, said = heard()
    with pytest.raises(TooSlow) as slow:
        steps(jury, [0.1, 0.1, 4.0])
    assert slow.value.speed == 0.25
    assert said == []


def test_slow_steps_are_given_up_once_they_took_what_they_may(steps) -> None:
    jury, _ = heard(Bar(1.0, 10.0))
    with pytest.raises(TooSlow):
        steps(jury, [2.0])
    assert len(jury.seconds) == UNTIMED + 1
    patient, _ = heard(Bar(1.0, 1e9))
    with pytest.raises(TooSlow):
        steps(patient, [2.0])
    assert len(patient.seconds) == len(PIECES)


def test_it_judges_over_short_blocks_and_takes_what_ends_before_for_fast_enough(steps) -> None:
    jury, said = heard()
    steps(jury, [2.0], stops=(1, 2))
    assert (jury.decided, said) == (False, [])
    jury.end()
    jury.end()
    assert said == ["held"]


@pytest.mark.parametrize("executor", ["traced", "vmap", "loop"])
def test_watching_changes_no_number(grid_of, executor) -> None:
    trials = tuple(grid_of(3, steps=70))
    workload = prepared(trials[0].config, CPU)
    cohort = Cohort(trials, executor, "shared", 7)
    plain = train(cohort, workload)
    jury, said = heard(Bar(0.0, 1e9))
    with pytest.raises(TooSlow):
        train(cohort, workload, jury=jury)
    jury, said = heard(Bar(1e9, 1e9))
    watched = train(cohort, workload, jury=jury)
    assert said == ["held"]
    for one, other in zip(plain, watched, strict=True):
        assert (one.weight_hash, one.metrics) == (other.weight_hash, other.metrics)
        np.testing.assert_array_equal(one.series["train/batch_loss"].values, other.series["train/batch_loss"].values)
