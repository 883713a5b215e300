"""The view of a study: computed once, and by the metric that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import planted_rows as planted
import pytest

from thalweg.runner.base.errors import UsageError
from thalweg.runner.study.study import Analysis
from thalweg.runner.view import judged, study_view, view_of

BLOCK = planted.block("one", lrs=(0.25, 0.5), products=(0.0, 0.01, 0.04))
STUDY = planted.study(BLOCK)
ROWS = planted.rows(BLOCK, planted.valley_of(-1))


def on(name: str, **more: Any) -> list[Any]:
    return [replace(row, config={**row.config, "dataset": {"name": name, **more}}) for row in ROWS]


def test_what_is_shown_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str) -> None:
        was = getattr(study_view, name)

        def counting(*given: Any) -> Any:
            calls.append(name)
            return was(*given)

        monkeypatch.setattr(study_view, name, counting)

    counted("panels")
    counted("notes")
    view = view_of(ROWS, STUDY, ask=False)
    for _ in range(2):
        assert view.best is not None
        assert view.owners[id(view.best.best)] is view.panels[0]
        assert (view.recommendations, view.stuck, view.notes) == (view.recommendations, [], [])
    assert sorted(calls) == ["notes", "panels"]


def test_results_on_different_data_have_a_best_each_and_none_of_all() -> None:
    view = view_of([*on("digits"), *on("spirals")], STUDY, ask=False)
    assert view.best is None
    assert [(best.data, best.near is not None) for best in view.of_data] == [("digits", True), ("spirals", True)]
    assert [(best.block, best.data) for best in view.of_blocks] == [("one", "digits"), ("one", "spirals")]
    assert "Results on different data are not compared: each has a best of its own." in view.notes
    assert [len(each.candidates) for each in view.recommendations] == [1, 1]


def test_a_loss_on_one_dataset_is_no_reference_for_another() -> None:
    study = replace(STUDY, analyses=(Analysis("sensitivity", planted.LR),))
    far = [replace(row, metrics={**row.metrics, "val/loss": row.metrics["val/loss"] / 100}) for row in on("spirals")]
    found = view_of([*on("digits"), *far], study).answers
    assert [answer.kind for answer in found] == ["sensitivity", "sensitivity"]
    alone = [view_of(rows, study).answers[0] for rows in (on("digits"), far)]
    numbers = [[each.estimate for each in answer.findings] for answer in (*found, *alone)]
    assert numbers[:2] == numbers[2:]


def test_options_that_differ_in_more_than_their_name_are_said() -> None:
    def of(name: str, wd: float) -> list[Any]:
        rows = planted.rows(planted.block("one", lrs=(0.25, 0.5), products=(0.01,)), planted.valley_of(-1))
        changed = {"name": name, "momentum": 0.9 if name == "sgd" else wd}
        return [
            replace(row, axes={**row.axes, "optimizer": name}, config={**row.config, "optimizer": {**row.config["optimizer"], **changed}})  # noqa: E501
            for row in rows
        ]  # fmt: skip

    (note,) = view_of([*of("sgd", 0), *of("adamw", 0.5)], replace(STUDY, analyses=()), ask=False).notes[:1]
    assert note == "Options of optimizer also differ in momentum (0.5, 0.9): where one is better, that may be why."
    assert not view_of([*of("sgd", 0), *of("adamw", 0.9)], replace(STUDY, analyses=()), ask=False).notes


OWN = [replace(row, metrics={**row.metrics, "val/f": 1.0, "val/r2": 0.5, "guess/loss": 2.3}) for row in ROWS]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, ("val/loss", "min")),
        ("val/loss", ("val/loss", "min")),
        ("val/accuracy", ("val/accuracy", "max")),
        ("val/r2", ("val/r2", "max")),
        ("val/f:max", ("val/f", "max")),
        ("val/f:min", ("val/f", "min")),
    ],
)
def test_a_metric_is_judged_by_its_best_end(asked: str | None, expected: tuple[str, str]) -> None:
    found = judged(STUDY, OWN, asked)
    assert (found.metric, found.direction) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("val/nope", "no trial of planted has the metric 'val/nope'; there are: val/accuracy, val/f, val/loss, val/r2"),
        ("accuracy", "no trial of planted has the metric 'accuracy'"),
        ("guess/loss", "no trial of planted has the metric 'guess/loss'"),
        ("test/loss", "test/loss never chooses"),
        ("val/f", "which end of it is best is not known"),
        ("val/f:up", "'up' is not an end of val/f; expected min or max"),
    ],
)
def test_a_metric_that_cannot_judge_is_refused_in_a_sentence(asked: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        judged(STUDY, OWN, asked)
    assert said in error.value.message


def test_a_metric_of_the_users_keeps_the_direction_that_the_study_gave_it() -> None:
    study = replace(STUDY, metric="train/f", direction="max")
    assert judged(study, OWN, "val/f").direction == "max"
