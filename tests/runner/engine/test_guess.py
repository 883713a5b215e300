"""What a guess scores is what one answer to every example scores, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from thalweg.models.extent import Extent
from thalweg.runner.engine.examples import Examples
from thalweg.runner.engine.guess import guess
from thalweg.runner.engine.task import Classification, LanguageModelling, Own, Regression

CPU = torch.device("cpu")


def examples(y, x=None):
    y = torch.tensor(y)
    return Examples(torch.zeros(len(y), 3) if x is None else x, y, CPU, torch.float64)


def test_of_classes_it_is_the_labels_frequencies():
    train, held_out = examples([0] * 7 + [1] * 1), examples([0] * 600 + [1] * 300 + [2] * 100)
    found = guess(Classification(), train, held_out, Extent((3,), 3))
    by_frequency = -(0.6 * math.log(8 / 11) + 0.3 * math.log(2 / 11) + 0.1 * math.log(1 / 11))
    assert found["loss"] == pytest.approx(min(by_frequency, math.log(3)))
    assert found["accuracy"] == pytest.approx(0.6)
    assert set(found) == {"loss", "accuracy"}


def test_balanced_classes_of_few_examples_are_no_worse_than_no_answer():
    found = guess(Classification(), examples([0, 0, 1]), examples([0, 1, 2] * 50), Extent((3,), 3))
    assert found["loss"] == pytest.approx(math.log(3))


def test_of_values_it_is_their_mean():
    train, held_out = examples([[1.0, 5.0], [3.0, 5.0]]), examples([[1.0, 4.0], [3.0, 6.0]])
    found = guess(Regression(), train, held_out, Extent((3,), 2))
    assert found == pytest.approx({"loss": 1.0, "r2": 0.0})


def test_of_a_text_it_is_how_often_its_characters_come():
    windows = torch.zeros(4, 5, dtype=torch.int64)
    text = [[0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]]
    found = guess(LanguageModelling(), examples(text, windows), examples(text, windows), Extent((5,), 4, tokens=True))
    p = torch.tensor([17, 5, 1, 1]) / 24
    expected = -(0.8 * math.log(p[0]) + 0.2 * math.log(p[1]))
    assert found["loss"] == pytest.approx(expected)
    assert found["bits_per_character"] == pytest.approx(expected / math.log(2))


def test_of_a_loss_of_the_users_it_is_what_that_loses_on_one_answer():
    def distance(outputs, y):
        return (outputs - torch.nn.functional.one_hot(y, 2)).abs().mean()

    task = Own(Classification(), {"loss": distance, "f1": distance})
    found = guess(task, examples([0, 1]), examples([0, 1, 1]), Extent((3,), 2))
    assert found["loss"] == pytest.approx(0.5)
    assert set(found) == {"loss", "accuracy"}


def test_a_loss_that_does_not_take_one_answer_to_all_is_not_known_and_fails_nothing():
    def refuses(outputs, y):
        raise ValueError("what does not vary has no correlation")

    task = Own(Classification(), {"loss": refuses})
    found = guess(task, examples([0, 1]), examples([0, 1, 1]), Extent((3,), 2))
    assert set(found) == {"accuracy"}


@pytest.mark.parametrize("rows", [1, 511, 512, 1300])
def test_a_split_is_measured_whole_whatever_its_size(rows):
    found = guess(Classification(), examples([0, 1, 1]), examples([1] * rows), Extent((3,), 2))
    assert found["loss"] == pytest.approx(-math.log(3 / 5))
    assert found["accuracy"] == 1.0
