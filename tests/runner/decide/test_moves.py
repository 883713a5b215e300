"""Each reason why a best is not known better asks for its own trials, and for no others."""

import math
from dataclasses import replace

import pytest
from planted_studies import GRID, LR, WD, bowl, declared, panels_of, row_of, rows_of

from thalweg.runner.analysis.findings import findings
from thalweg.runner.base.errors import StoreError
from thalweg.runner.cells.cells import near_optimal, panels
from thalweg.runner.decide import moves, nothing_more, unfinished
from thalweg.runner.study.study import Analysis, expand
from thalweg.runner.study.trial import Trial

COUPLING = (Analysis("coupling", LR, WD),)


def proposed(study, surface, **changed):
    return moves(panels_of(study, surface), replace(study, **changed))


def kinds(found):
    return [(move.kind, move.key.rpartition(".")[2]) for move in found]


def test_a_clear_best_inside_asks_for_half_steps():
    found = proposed(declared(*GRID), bowl())
    assert kinds(found) == [("halve", "weight_decay"), ("halve", "lr")]
    at = {(m.axes[LR], m.axes[WD]) for move in found for m in move.members}
    assert {wd for lr, wd in at if lr == 0.25} == {3.16228e-4, 3.16228e-3}
    assert {lr for lr, _ in at} == {0.125, 0.25, 0.5}


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ({"lr": 64.0}, {("lr", 16.0), ("lr", 64.0)}),
        ({"lr": 1e-4}, {("lr", 1 / 256), ("lr", 1 / 1024)}),
        ({"wd": 10.0}, {("weight_decay", 1.0), ("weight_decay", 10.0)}),
        ({"wd": 1e-7}, {("weight_decay", 1e-6), ("weight_decay", 1e-7)}),
    ],
)
def test_a_best_on_the_edge_widens_that_axis_on_that_side_in_its_own_step(at, expected):
    study = declared(*GRID)
    widened = [move for move in proposed(study, bowl(**at)) if move.kind == "widen"]
    known = {(m.axes[LR], m.axes[WD]) for m in expand(study)}
    key = {"lr": LR, "weight_decay": WD}[next(iter(expected))[0]]
    assert {move.key for move in widened} == {key}
    new = {m.axes[key] for move in widened for m in move.members}
    assert new == {value for _, value in expected}
    assert not known & {(m.axes[LR], m.axes[WD]) for move in widened for m in move.members}


def test_no_decay_as_good_as_the_least_decay_is_no_edge():
    surface = bowl(wd=1e-7)
    study = declared(*GRID)
    flat = proposed(study, lambda axes: surface({**axes, WD: max(axes[WD], 1e-5)}))
    assert ("widen", "weight_decay") not in kinds(flat)


def test_no_decay_that_diverged_leaves_the_least_decay_an_edge():
    surface = bowl(wd=1e-7)
    found = proposed(declared(*GRID), lambda axes: surface(axes) if axes[WD] else None)
    assert ("widen", "weight_decay") in kinds(found)


def test_beside_divergence_the_step_is_halved_and_the_axis_is_not_widened():
    surface = bowl(wd=0.03)
    found = proposed(declared(*GRID), lambda axes: None if axes[WD] > 5e-3 else surface(axes))
    assert ("widen", "weight_decay") not in kinds(found)
    (halved,) = [move for move in found if (move.kind, move.key) == ("halve", WD)]
    assert {m.axes[WD] for m in halved.members} == {3.16228e-3, 3.16228e-4}


def test_what_seeds_cannot_tell_apart_gets_seeds_and_no_half_steps():
    found = proposed(declared(*GRID), bowl(noise=0.5))
    assert "halve" not in {move.kind for move in found}
    (seeds,) = [move for move in found if move.kind == "seeds"]
    assert {m.axes["seed"] for m in seeds.members} == {3, 4, 5}
    near = near_optimal(panels_of(declared(*GRID), bowl(noise=0.5))[0].cells)
    assert f"of {len(near.cells)} cells stay as good" in seeds.effect


def test_one_seed_asks_for_more_before_anything_is_believed():
    found = proposed(declared(*GRID[:3], "seed=0"), bowl())
    assert {move.kind for move in found} == {"seeds"}
    assert all(m.axes["seed"] in (1, 2) for m in found[0].members)


def test_without_a_replicate_axis_no_seeds_are_added():
    study = replace(declared(*GRID[:3]), replicate=None)
    assert "seeds" not in {move.kind for move in proposed(study, bowl(), replicate=None)}


def test_a_categorical_axis_is_neither_widened_nor_halved():
    found = proposed(declared("optimizer=sgd,adamw", "optimizer.lr=1/64..4:x4", "seed=0..2"), bowl(lr=64.0))
    found = [move for move in found if move.kind != "seeds"]  # which only tell the two optimizers apart
    assert {(move.kind, move.key) for move in found} == {("widen", LR)}
    assert {m.axes["optimizer"] for move in found for m in move.members} == {"sgd", "adamw"}
    assert {m.trial.config.optimizer.name for move in found for m in move.members} == {"sgd", "adamw"}


def test_two_values_are_a_comparison_and_no_axis_to_widen():
    found = proposed(declared("optimizer=sgd", "schedule.warmup=0,60", "seed=0..2"), bowl())
    assert {move.kind for move in found} <= {"seeds"}


def test_integers_stay_integers_and_end_where_no_trial_can_be():
    study = declared("optimizer=sgd", "schedule.warmup=0,2..512:x4", "seed=0..2")
    found = proposed(study, lambda axes: 1.0 - axes["schedule.warmup"] / 1000 + 1e-4 * axes["seed"])
    assert kinds(found) == []  # 2,048 steps of warmup do not fit into 600 steps of training
    found = proposed(
        study, lambda axes: 1.0 + abs(math.log2(max(axes["schedule.warmup"], 1) / 32)) + 1e-4 * axes["seed"]
    )
    assert {m.axes["schedule.warmup"] for move in found for m in move.members} == {16, 64}


def test_the_same_rows_give_the_same_moves_and_new_rows_are_not_proposed_again():
    study = declared(*GRID)
    rows = rows_of(study, bowl())
    first, again = (moves(panels(rows, study), study) for _ in range(2))
    assert first == again
    new = [row_of(member, bowl()) for move in first for member in move.members]
    then = moves(panels([*rows, *new], study), study)
    trained = {row.trial_id for row in [*rows, *new]}
    assert trained.isdisjoint(m.trial.id for move in then for m in move.members)


def test_every_row_of_a_valley_is_refined_only_where_the_valley_is_asked_for():
    def along(axes):
        return bowl()({**axes, LR: 0.25 * (axes[LR] / 0.25) ** 0.1})

    study = declared(*GRID)
    (all_rows,) = [m for m in proposed(study, along, analyses=COUPLING) if (m.kind, m.key) == ("halve", WD)]
    (near_rows,) = [m for m in proposed(study, along) if (m.kind, m.key) == ("halve", WD)]
    assert {m.axes[LR] for m in all_rows.members} > {m.axes[LR] for m in near_rows.members}


@pytest.mark.parametrize("tilt", [0.01, 0.2, 0.35, 3.0])
def test_the_rows_that_are_refined_are_those_that_count_in_the_slope(tilt):
    def valley(axes):
        return bowl()({**axes, LR: 0.25}) * math.exp(tilt * math.log10(axes[LR] / 0.25) ** 2)

    study = replace(declared(*GRID), analyses=COUPLING)
    (found,) = findings(rows_of(study, valley), study)
    (halved,) = [m for m in proposed(study, valley) if (m.kind, m.key) == ("halve", WD)]
    assert {m.axes[LR] for m in halved.members} == {row.lr for row in found.rows if row.kept}


@pytest.mark.parametrize("base", [0.5, -10])
def test_only_cells_that_may_be_best_get_seeds_on_any_scale(base):
    """Losses below 0 are compared by differences: rows that are clearly worse matter as little as those of others."""
    study = declared(*GRID)

    def surface(axes):
        across = abs(math.log10(max(axes[WD], 1e-9) * 300))
        return base + 0.3 * abs(math.log2(axes[LR] / 0.25)) + 1e-6 * across + 0.01 * axes["seed"]

    rows = rows_of(study, surface)
    (panel,) = panels(rows, study)
    (seeds,) = [move for move in moves([panel], study) if move.kind == "seeds"]
    assert {m.axes[LR] for m in seeds.members} == {0.25}
    assert f"{len(panel.near.cells)} cells are too close to say which is best" in seeds.why


def test_numbers_of_seeds_that_differ_are_said_as_such():
    study = declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0..2")
    rows = rows_of(study, lambda axes: 0.5 + 0.01 * axes["seed"] + abs(math.log2(axes[LR] / 0.25)) * 1e-4)
    rows.remove(next(row for row in rows if (row.axes[LR], row.axes["seed"]) == (0.25, 1)))
    (seeds,) = [move for move in moves(panels(rows, study), study) if move.kind == "seeds"]
    assert "2 to 3 more at" in seeds.what
    assert seeds.why.startswith("with 2 to 3 seeds, ")


def test_new_values_are_named_as_those_beside_them():
    study = declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0..2")
    (found,) = proposed(study, lambda axes: 0.5 + abs(math.log2(axes[LR] / 0.25)))
    assert (found.kind, found.what) == ("halve", "learning rate 1/8, 1/2")
    (found,) = proposed(study, lambda axes: 0.5 + axes[LR] if axes[LR] > 1 / 64 else None)
    assert (found.kind, found.what) == ("halve", "learning rate 1/32, 1/8")
    (found,) = proposed(study, lambda axes: None if axes[LR] > 1 / 16 else 0.5 + 0.3 * (axes[LR] < 1 / 16))
    assert (found.kind, found.what) == ("halve", "learning rate 1/32, 1/8")
    study = declared("optimizer=sgd", "optimizer.lr=1,2,8", "seed=0..2")
    (found,) = proposed(study, lambda axes: 0.5 + abs(axes[LR] - 2) if axes[LR] != 8 else None)
    assert "learning rate" in found.what


@pytest.mark.parametrize("axis", ["model.hidden=[8],[16,16]", "optimizer=sgd,adamw", "sam=none,standard"])
def test_whatever_an_axis_holds_more_seeds_can_be_trained_there(axis):
    study = declared("seed=0..2", axis)
    (found,) = proposed(study, lambda axes: 0.5 + 0.01 * axes["seed"])
    assert (found.kind, len(found.members)) == ("seeds", 6)
    by_hand = {m.trial.id for m in expand(declared("seed=3..5", axis))}
    assert {m.trial.id for m in found.members} == by_hand
    assert {m.axes["seed"] for m in found.members} == {3, 4, 5}


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_that_is_no_axis_is_counted_as_well(seed):
    study = declared("optimizer=sgd", "optimizer.lr=0.1,0.2,0.4", f"seed={seed}")
    (found,) = [m for m in proposed(study, lambda axes: 0.5 + abs(axes[LR] - 0.2)) if m.kind == "seeds"]
    assert {m.axes["seed"] for m in found.members} == {seed + 1, seed + 2}


@pytest.mark.parametrize("slope", [0, 1e-5, -1e-5])
def test_where_all_are_as_good_no_end_of_the_grid_is_the_best(slope):
    """Which of them is lowest, noise decides: wider would lead nowhere, and more seeds may tell."""
    study = declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0..2")
    found = proposed(study, lambda axes: 0.5 + 0.01 * axes["seed"] + slope * math.log2(axes[LR]))
    assert kinds(found) == [("seeds", "seed")]
    clear = proposed(study, lambda axes: 0.5 + 0.01 * axes["seed"] + 1e4 * slope * math.log2(axes[LR]))
    assert kinds(clear) == ([("widen", "lr")] if slope else [("seeds", "seed")])


def test_points_that_were_drawn_are_not_said_to_surround_the_best():
    words = ("optimizer=sgd", "optimizer.lr=1e-3..1:log", "optimizer.weight_decay=1e-5..1:log", "study.sample.n=12")
    study = declared(*words, "seed=0..2")
    rows = rows_of(study, lambda axes: 0.5 + abs(math.log2(axes[LR] / 0.1)) / 20)
    cut = panels(rows, study)
    assert moves(cut, study) == []
    assert nothing_more(cut, study).startswith("no two points lie side by side on an axis")


def test_losses_at_both_ends_of_all_floats_differ_by_a_share_that_can_be_said():
    study = declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0..1")
    rows = rows_of(study, lambda axes: 1e-300 if axes["seed"] % 2 else 1.0)
    (found,) = [move for move in moves(panels(rows, study), study) if move.kind == "seeds"]
    assert "%" in found.effect


def test_a_damaged_configuration_is_said():
    study = declared("optimizer=sgd", "optimizer.lr=1/64..4:x4", "seed=0..2")
    rows = [replace(row, config={}) for row in rows_of(study, lambda axes: 0.5 + abs(axes[LR]))]
    with pytest.raises(StoreError, match="is damaged"):
        moves(panels(rows, study), study)


def test_no_value_is_called_clear_that_is_not():
    study = declared("optimizer=sgd", "optimizer.lr=1e-3,0.1,1e3", "seed=0..2")
    found = proposed(study, lambda axes: None if axes[LR] > 1 else 0.5 + 0.01 * axes["seed"] - 0.001 * axes[LR])
    assert kinds(found) == [("halve", "lr"), ("seeds", "seed")]
    assert found[0].why == "a value next to the best one is clearly worse, and far from it"
    assert "2 cells are too close" in found[1].why


def test_a_new_point_is_the_trial_that_a_declaration_of_it_would_be():
    product = declared(*GRID)
    found = proposed(product, bowl())
    by_hand = {m.trial.id for m in expand(declared(*GRID[:1], "optimizer.lr=1/8,1/2", *GRID[2:]))}
    made = {m.trial.id for move in found if move.key == LR for m in move.members}
    assert made
    assert made <= by_hand


def test_derived_keys_are_computed_anew():
    from thalweg.runner.config import Request, declare

    study = replace(declare(Request(("smoke",))).study, analyses=())
    members = [m for m in expand(study) if m.block == "scale-inv. AdamW"]
    at = {m.trial.id: m for m in members}

    def surface(axes):
        return 0.5 + 0.1 * math.log10(axes["lr_x_wd"] / 0.01) ** 2 + 0.001 * axes["seed"] if axes["lr_x_wd"] else 1.0

    found = moves(panels([row_of(m, surface) for m in members], study), study)
    made = [m for move in found for m in move.members]
    assert made
    for member in made:
        assert member.axes[WD] == member.trial.config.optimizer.weight_decay
        assert member.axes[WD] == pytest.approx(float(member.axes["lr_x_wd"]) / float(member.axes[LR]))
        assert member.trial.id not in at


def test_all_diverged_proposes_smaller_rates():
    found = proposed(declared(*GRID), lambda axes: None)
    assert kinds(found) == [("widen", "lr")]
    assert {m.axes[LR] for m in found[0].members} == {1 / 64 / 16, 1 / 64 / 256}


def test_what_is_declared_and_untrained_comes_first():
    rows = rows_of(declared(*GRID), bowl())
    assert unfinished(rows) is None
    halted = [*rows[:-5], *(replace(row, outcome=None, metrics={}) for row in rows[-5:])]
    left = unfinished(halted)
    assert [member.trial.id for member in left.members] == [row.trial_id for row in rows[-5:]]
    assert all(isinstance(member.trial, Trial) for member in left.members)
    assert unfinished([replace(row, outside=True) for row in halted]) is None
