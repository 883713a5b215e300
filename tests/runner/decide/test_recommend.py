"""What is recommended is what the replicates can support; bounds are tested values, with what they leave open."""

import math
from dataclasses import replace

import pytest
from planted_studies import GRID, LR, WD, bowl, declared, panels_of, rows_of

from thalweg.runner.cells.cells import panels
from thalweg.runner.decide import on_validation, recommend


def all_recommended(study, rows):
    return recommend(panels(rows, study), rows, study)


def recommended(study, surface):
    (found,) = all_recommended(study, rows_of(study, surface))
    return found


def test_the_best_on_validation_is_taken_and_only_its_test_figures_are_read():
    found = recommended(declared(*GRID), bowl())
    best = found.chosen.near.best
    assert (best.axes[LR], best.axes[WD]) == (0.25, 1e-3)
    assert [(name, cell.axes) for name, cell in found.test] == [
        ("test/accuracy", best.axes),
        ("test/loss", best.axes),
    ]


def test_the_span_of_what_is_as_good_widens_with_the_noise():
    clear, noisy = (recommended(declared(*GRID), bowl(noise=noise)).chosen for noise in (0.003, 0.3))
    assert len(clear.near.cells) == 1 < len(noisy.near.cells)
    assert {k: (lo, hi) for k, lo, hi in clear.spans} == {LR: (0.25, 0.25), WD: (1e-3, 1e-3)}


def test_the_largest_safe_rate_is_bracketed_by_tested_ones():
    smooth = bowl(lr=1 / 16)
    found = recommended(declared(*GRID), lambda axes: None if axes[LR] > 0.9 and axes["seed"] == 1 else smooth(axes))
    (rate,) = [bound for bound in found.bounds if bound.kind == "largest rate"]
    assert (rate.value, rate.next, rate.n) == (0.25, 1.0, 3)
    assert "1 of 3" in rate.why
    assert rate.chance == pytest.approx(0.632, abs=1e-3)  # the rule of three: 1 - 0.05^(1/3)
    open_ended = recommended(declared(*GRID), bowl())
    assert [(b.value, b.next) for b in open_ended.bounds if b.kind == "largest rate"] == [(4.0, None)]


def test_a_rate_that_ends_no_better_than_guessing_is_not_safe():
    found = recommended(declared(*GRID), lambda axes: math.log(10) if axes[LR] >= 1 else bowl(lr=1 / 16)(axes))
    (rate,) = [bound for bound in found.bounds if bound.kind == "largest rate"]
    assert (rate.value, rate.next) == (0.25, 1.0)


def test_a_rate_at_which_one_seed_only_guesses_is_not_safe():
    smooth = bowl(lr=1 / 16)
    found = recommended(
        declared(*GRID), lambda axes: math.log(10) if axes[LR] == 1 and axes["seed"] == 1 else smooth(axes)
    )
    (rate,) = [bound for bound in found.bounds if bound.kind == "largest rate"]
    assert (rate.value, rate.next) == (0.25, 1.0)
    assert "1 of 3 seeds ended no better than guessing at 1" in rate.why


WARMUPS = ("optimizer=sgd", "optimizer.lr=1/16..1:x4", "schedule.warmup=0,4..64:x4", "seed=0..2")


def needing(warmup):
    def loss(axes):
        short = max(0.0, math.log2((warmup + 1) / (axes["schedule.warmup"] + 1)))
        return bowl()(axes) * math.exp(0.3 * short + 0.004 * math.sin(9 * axes["seed"] + axes["schedule.warmup"]))

    return loss


@pytest.mark.parametrize(("needed", "shorter"), [(0, None), (4, 0), (16, 4), (64, 16)])
def test_the_smallest_sufficient_warmup_is_bracketed_by_tested_ones(needed, shorter):
    found = recommended(declared(*WARMUPS), needing(needed))
    (warmup,) = [bound for bound in found.bounds if bound.kind == "smallest warmup"]
    assert (warmup.value, warmup.next) == (needed, shorter)


def test_no_length_is_called_sufficient_where_the_longest_is_too_long_and_that_is_said():
    found = recommended(declared(*WARMUPS), lambda axes: bowl()(axes) * (1 + axes["schedule.warmup"] / 20))
    (warmup,) = [bound for bound in found.bounds if bound.kind == "smallest warmup"]
    assert (warmup.value, warmup.next) == (None, None)
    assert "the longest one tested is clearly worse" in warmup.why


def test_panels_within_the_noise_are_rivals_and_the_others_are_not():
    def surface(axes):
        return bowl()(axes) * {"sgd": 1.0, "adamw": 1.001, "adam_l2": 1.5}[axes["optimizer"]]

    found = recommended(declared("optimizer=sgd,adamw,adam_l2", *GRID[1:]), surface)
    names = [each.panel.name.split("optimizer=")[1] for each in found.candidates]
    assert (names, found.rivals) == (["sgd", "adamw", "adam_l2"], 1)
    assert {move.panel for move in found.moves} == {found.chosen.panel.name}


def test_panels_of_different_data_are_not_compared():
    study = declared("dataset=digits,mnist1d", *GRID)
    one, two = all_recommended(study, rows_of(study, bowl()))
    assert (one.data, two.data) == ("digits", "mnist1d")
    assert (len(one.candidates), len(two.candidates), one.rivals) == (1, 1, 0)


def test_a_question_about_training_is_still_decided_on_validation():
    assert on_validation("train/loss") == "val/loss"
    assert on_validation("val/accuracy") == "val/accuracy"


def test_nothing_is_recommended_before_training_or_where_all_diverged_and_no_moves_before_the_rest_is_trained():
    study = declared(*GRID)
    rows = rows_of(study, bowl())
    assert all_recommended(study, [replace(row, outcome=None, metrics={}) for row in rows]) == []
    assert all_recommended(study, rows_of(study, lambda axes: None)) == []
    (halted,) = all_recommended(study, [replace(rows[0], outcome=None, metrics={}), *rows[1:]])
    assert halted.moves == ()


def test_one_seed_has_no_margin_and_one_axis_no_panel_of_two():
    found = recommended(declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0"), bowl())
    assert found.chosen.near.margin is None
    assert found.bounds[0].chance == pytest.approx(0.95)
    assert panels_of(declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0"), bowl())[0].x is None


def test_a_larger_rate_that_was_tested_elsewhere_is_not_denied():
    words = ("optimizer=sgd", "optimizer.lr=1e-3..1:log", "optimizer.weight_decay=1e-5..1:log", "study.sample.n=12")
    study = declared(*words, "seed=0..2")
    rows = rows_of(study, lambda axes: 0.5 + abs(math.log2(axes[LR] / 0.1)) / 20)
    (found,) = recommend(panels(rows, study), rows, study)
    assert found.bounds[0].why.endswith("no larger learning rate was tested with all else as it is")
