"""Where nothing beats guessing, the rates to try are on the side that the results point to."""

import math
from dataclasses import replace

import pytest
from planted_studies import GRID, LR, WD, declared, panels_of, rows_of

from thalweg.runner.cells.cells import panels
from thalweg.runner.decide import moves, recommend, stuck

CHANCE = math.log(10)
RATES = "optimizer.lr=1/64..4:x4"


def tried(study, surface):
    """The rates that are tried where nothing is usable, and why."""
    cut, rows = panels_of(study, surface), rows_of(study, surface)
    assert recommend(cut, rows, study) == []
    (lost,) = stuck(cut, rows, study)
    assert [move.document for move in lost.moves] == [move.document for move in moves(cut, study)]
    assert all(move.kind == "widen" for move in lost.moves)
    return sorted({m.axes[LR] for move in lost.moves for m in move.members}), lost.why


BELOW, ABOVE = [1 / 64 / 256, 1 / 64 / 16], [64.0, 1024.0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("surface", "rates"),
    [
        pytest.param(lambda lr, seed: None, BELOW, id="all diverged"),
        pytest.param(lambda lr, seed: None if lr < 1 else CHANCE, BELOW, id="the smallest diverged"),
        pytest.param(lambda lr, seed: 50.0 * CHANCE * (1 + lr), BELOW, id="all unhealthy"),
        pytest.param(lambda lr, seed: 9 * CHANCE - 0.1 * lr, ABOVE, id="unhealthy from the start, and hardly moved"),
        pytest.param(lambda lr, seed: CHANCE + 0.004 * math.sin(50 * lr + 9 * seed), BELOW, id="a guess at any rate"),
        pytest.param(lambda lr, seed: CHANCE + 0.3 * lr + 0.01 * seed, BELOW, id="worse with the rate"),
        pytest.param(lambda lr, seed: 2.4 + 0.1 * seed, ABOVE, id="nothing moved"),
        pytest.param(lambda lr, seed: 2.4 + 0.1 * seed - 1e-3 * lr, ABOVE, id="hardly moved"),
        pytest.param(lambda lr, seed: 2.6 - 0.05 * min(lr, 1) + 1e-4 * (lr > 1), ABOVE, id="falls, then level"),
        pytest.param(lambda lr, seed: None if lr > 0.5 else 2.4 - 1e-2 * lr, [0.5], id="falls, then diverged"),
        pytest.param(lambda lr, seed: 2.3 + 0.1 * abs(math.log(lr * 4)), [], id="least in between"),
    ],
)
def test_the_side_to_widen_is_read_off_the_results(surface, rates):
    study = declared("optimizer=sgd", RATES, "seed=0..2")
    found, why = tried(study, lambda axes: surface(axes[LR], axes["seed"]))
    assert found == rates
    assert why


@pytest.mark.parametrize(("rates", "to_blame"), [("1e-3..1:x10", True), ("1e-4..1:x10", False), ("1..1e4:x10", True)])
def test_rates_far_apart_that_end_alike_are_not_to_blame(rates, to_blame):
    study = declared("optimizer=sgd", f"optimizer.lr={rates}", "seed=0..2")
    found, why = tried(study, lambda axes: CHANCE + 0.004 * math.sin(50 * axes[LR] + 9 * axes["seed"]))
    assert bool(found) is to_blame
    assert ("not the cause" in why) is not to_blame


def test_a_single_rate_moves_by_factors_of_ten():
    rates, _ = tried(declared("optimizer=sgd", "optimizer.lr=10", "seed=0..2"), lambda axes: None)
    assert rates == pytest.approx([0.1, 1.0])


def test_a_fine_grid_moves_far_on_its_own_points():
    rates, _ = tried(declared("optimizer=sgd", "optimizer.lr=1..8:x2", "seed=0"), lambda axes: None)
    assert rates == [1 / 64, 1 / 8]


def test_every_decay_of_the_end_is_tried():
    cut = panels_of(declared(*GRID), lambda axes: None)
    made = [member for move in moves(cut, declared(*GRID)) for member in move.members]
    assert {m.axes[WD] for m in made} == {cell.axes[WD] for cell in cut[0].cells}


def test_a_rate_that_is_no_axis_is_moved_too():
    study = declared("optimizer=sgd", "optimizer.lr=10", "optimizer.weight_decay=1e-4,1e-3", "seed=0..1")
    rates, _ = tried(study, lambda axes: None)
    assert rates == pytest.approx([0.1, 1.0])


def test_a_study_that_is_not_whole_is_finished_first():
    study = declared("optimizer=sgd", RATES, "seed=0..2")
    rows = rows_of(study, lambda axes: None)
    rows[-1] = replace(rows[-1], outcome=None, diverged_step=None)
    (lost,) = stuck(panels(rows, study), rows, study)
    assert lost.moves == ()


def test_what_is_usable_is_not_stuck():
    study = declared("optimizer=sgd", RATES, "seed=0..2")
    rows = rows_of(study, lambda axes: 0.5 if axes[LR] == 1 else None)
    assert stuck(panels(rows, study), rows, study) == []


def test_a_seed_that_only_guesses_makes_no_rate_safe():
    study = declared("optimizer=sgd", RATES, "seed=0..2")

    def surface(axes):
        return CHANCE if axes["seed"] == 2 and axes[LR] >= 1 else 0.5 + 0.1 * abs(math.log(axes[LR] * 4))

    rows = rows_of(study, surface)
    (found,) = recommend(panels(rows, study), rows, study)
    (rate,) = [bound for bound in found.bounds if bound.kind == "largest rate"]
    assert (rate.value, rate.next) == (0.25, 1.0)
    assert "1 of 3 seeds ended no better than guessing at 1" in rate.why
    rows = rows_of(study, lambda axes: CHANCE if axes["seed"] == 2 else 0.5)
    (found,) = recommend(panels(rows, study), rows, study)
    assert found.bounds[0].value is None


@pytest.mark.parametrize(("training", "learned"), [(0.5, True), (CHANCE, False)])
def test_where_the_training_split_is_learned_no_rate_is_to_blame(training, learned):
    study = declared("optimizer=sgd", RATES, "seed=0..2")
    rows = [
        replace(row, metrics={**row.metrics, "train/loss": training})
        for row in rows_of(study, lambda axes: CHANCE + 0.1)
    ]
    (lost,) = stuck(panels(rows, study), rows, study)
    assert (lost.moves == ()) is learned
    assert ("the training split is learned" in lost.why) is learned


@pytest.mark.parametrize(
    ("surface", "rates", "why"),
    [
        pytest.param(lambda lr, seed: CHANCE, [1.0, 10.0], "and nothing moved", id="a guess"),
        pytest.param(lambda lr, seed: CHANCE - lr / 100, [1.0, 10.0], "still falls", id="falls from what it is at 0"),
        pytest.param(
            lambda lr, seed: None if lr else CHANCE, [1e-3, 1e-2], "every learning rate above 0", id="diverged"
        ),
        pytest.param(lambda lr, seed: None, [], "even a learning rate of 0 diverged", id="diverged at 0 too"),
        pytest.param(lambda lr, seed: CHANCE + lr, [1e-3, 1e-2], "does not fall", id="rises"),
    ],
)
def test_beside_a_rate_of_0_there_is_one_to_try(surface, rates, why):
    study = declared("optimizer=sgd", "optimizer.lr=0,0.1", "seed=0..2")
    found, said = tried(study, lambda axes: surface(axes[LR], axes["seed"]))
    assert found == pytest.approx(rates)
    assert why in said


def test_a_rate_of_0_alone_leads_nowhere():
    found, said = tried(declared("optimizer=sgd", "optimizer.lr=0", "seed=0..2"), lambda axes: CHANCE)
    assert (found, said) == ([], "no learning rate above 0 was tried")


@pytest.mark.parametrize(
    ("surface", "rates", "why"),
    [
        (lambda lr, seed: 2.4, "1e-9..1e-6:x10", "no better than guessing, and nothing moved"),
        (
            lambda lr, seed: 2.4,
            "1e-5..1:x10",
            "no better than guessing, and nothing moved: the learning rate is not the",
        ),
        (lambda lr, seed: 99.0 - lr, "1e-3..1:x10", "unhealthy loss, and the loss still falls"),
        (lambda lr, seed: None if seed else CHANCE, "1e-3..1:x10", "some trials diverged at every learning rate"),
        (lambda lr, seed: None if lr < 0.1 and seed else 2.4, "1e-3..1:x10", "some trials diverged at the smallest"),
        (lambda lr, seed: None, "1e-3..1:x10", "every learning rate diverged"),
    ],
)
def test_what_was_seen_is_said_as_it_was(surface, rates, why):
    study = declared("optimizer=sgd", f"optimizer.lr={rates}", "seed=0..2")
    found, said = tried(study, lambda axes: surface(axes[LR], axes["seed"]))
    assert said.startswith(why)
    assert bool(found) is not said.endswith("not the cause")
