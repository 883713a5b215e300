"""The experiment in one line, for any study: its data first, with what is wrong in them."""

from dataclasses import replace
from typing import Any

import planted_rows as planted
import pytest

from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row
from thalweg.runner.view.experiment import experiment


def rows_of(*configs: dict[str, Any], diverged: int = 0) -> list[Row]:
    made = planted.rows(planted.block("one", lrs=(0.25,), products=(0.01,)), planted.valley_of(-1))
    rows = [
        replace(row, config=config, trial_id=f"{i}{row.trial_id}") for i, config in enumerate(configs) for row in made
    ]
    return [replace(row, outcome=Outcome.DIVERGED) if i < diverged else row for i, row in enumerate(rows)]


BUDGET = {"steps": 600, "batch_size": 32}
DIGITS = {"name": "digits", "train_size": 1000, "label_noise": 0.4}
MLP = {"name": "mlp", "hidden": [32, 32]}
WHOLE = {"dataset": DIGITS, "model": MLP, "budget": BUDGET}


def test_one_line_says_data_model_length_and_number():
    said = experiment(rows_of(WHOLE, diverged=1), "seed")
    assert said == (
        "digits (40% of training labels wrong by design, 1,000 training examples) · MLP 32-32 · 600 steps"
        " · 32 in a batch · 3 seeds · 3 trials, 1 diverged"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{"dataset": {**DIGITS, "label_noise": 0.0}}], "digits (1,000 training examples) · MLP"),
        ([{"dataset": {"name": "text"}}], "text · MLP"),
        ([{"dataset": {"name": "table", "path": "mine/parcels.csv", "train_size": None}}], "parcels.csv · MLP"),
        (
            [{"dataset": {"name": "arrays", "x": "shards/", "y": "y.npy", "train_size": 9}}],
            "shards (9 training examples)",
        ),
        ([{"dataset": {"_target_": "mine.made", "path": "a.csv"}}], "made · MLP"),
        ([{"dataset": {"_target_": "mine.data.Birds"}}], "Birds · MLP"),
        ([{"model": {"_target_": "mine.Net", "width": 3}}], "examples) · Net · 600"),
        ([{}, {"model": {"name": "vit"}}], "MLP 32-32 or ViT · 600"),
        ([{"model": {"name": "mlp", "hidden": [n]}} for n in range(1, 5)], "examples) · 4 models · 600"),
        ([{"budget": {**BUDGET, "steps": n}} for n in (10, 2000)], " · 10, 2,000 steps · "),
        ([{"budget": {**BUDGET, "steps": n}} for n in (10, 20, 30, 2000)], " · 10 to 2,000 steps · "),
        ([{"budget": {}}], "MLP 32-32 · 3 seeds"),
    ],
)
def test_any_study_has_such_a_line(changes, said):
    assert said in experiment(rows_of(*({**WHOLE, **change} for change in changes)), "seed")


def test_a_trial_of_two_blocks_is_counted_once():
    assert experiment(rows_of(WHOLE) * 2, "seed").endswith("3 seeds · 3 trials")


def test_what_is_outside_the_study_is_left_out_and_nothing_is_no_line():
    rows = [replace(row, outside=True) for row in rows_of(WHOLE)]
    assert experiment(rows, "seed") == experiment([], None) == ""
