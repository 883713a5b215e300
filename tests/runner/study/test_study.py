"""Studies: what expands, in what order, with what coordinates."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.study import MOST, Axis, Base, Block, Study, expand

PLAIN: dict[str, Any] = {
    "model": {"name": "mlp", "hidden": [8], "init_gain": 1.0},
    "dataset": {"name": "digits", "train_size": 100, "label_noise": 0.0, "split_seed": 0},
    "optimizer": {
        "name": "sgd",
        "lr": 0.1,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "nesterov": False,
        "decay": "l2",
        "decay_order": "before",
    },
    "schedule": {"name": "warmup_cosine", "warmup": 0, "floor": 0.0},
    "budget": {"steps": 100, "batch_size": 10},
    "precision": "float32",
    "divergence": {"loss_factor": 1e4},
    "seed": 0,
}


def at(updates):
    config = {name: dict(value) if isinstance(value, dict) else value for name, value in PLAIN.items()}
    for key, value in updates.items():
        section, _, name = key.partition(".")
        if name:
            config[section][name] = value
        else:
            config[section] = value
    return config


def axis(key, *values):
    return Axis(key, values, ",".join(map(str, values)))


ONE_BASE = (Base({}, at),)


def study(*axes, derive=None, bases=ONE_BASE, group_axes=(), blocks=1):
    block = Block("grid", axes, tuple(bases), group_axes, derive or {})
    return Study(
        name="s",
        question="",
        metric="val/loss",
        direction="min",
        replicate="seed",
        vars=("lr_x_wd",),
        blocks=(block,) * blocks,
    )


def test_more_trials_than_fit_are_refused_before_one_is_made():
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=r"this declares 5,000,001 trials; expected 5,000,000 at most"):
            expand(study(Axis("seed", (0,) * (MOST + 1), "many")))
        many = tuple(range(1000))
        with pytest.raises(ConfigError, match=r"this declares 1,000,000,000 trials"):
            expand(study(*(Axis(key, many, "many") for key in ("seed", "optimizer.lr", "optimizer.weight_decay"))))
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_the_members_are_the_product_of_the_axes_with_the_last_one_fastest():
    members = expand(study(axis("optimizer.lr", 0.1, 0.3), axis("seed", 0, 1)))
    assert [(m.axes["optimizer.lr"], m.axes["seed"]) for m in members] == [(0.1, 0), (0.1, 1), (0.3, 0), (0.3, 1)]
    assert [(m.trial.config.optimizer.lr, m.trial.config.seed) for m in members] == [
        tuple(m.axes.values()) for m in members
    ]


def test_a_study_without_axes_is_one_trial():
    (member,) = expand(study())
    assert member.axes == {}


def test_the_size_is_counted_without_building():
    large = tuple(range(100_000))
    assert study(Axis("seed", large, ""), Axis("optimizer.lr", large, "")).size == 10**10


def test_a_derived_value_is_the_one_that_would_be_typed():
    derived = expand(
        study(
            axis("optimizer.lr", 0.1),
            axis("lr_x_wd", 0.03),
            derive={"optimizer.weight_decay": "lr_x_wd / optimizer.lr"},
        )
    )
    typed = expand(study(axis("optimizer.lr", 0.1), axis("optimizer.weight_decay", 0.3)))
    assert derived[0].trial.id == typed[0].trial.id
    assert derived[0].axes == {"optimizer.lr": 0.1, "lr_x_wd": 0.03, "optimizer.weight_decay": 0.3}


def test_derived_keys_read_configuration_keys_and_keys_derived_above():
    (member,) = expand(
        study(
            derive={"optimizer.weight_decay": "optimizer.lr / 10", "optimizer.momentum": "optimizer.weight_decay * 50"}
        )
    )
    assert (member.trial.config.optimizer.weight_decay, member.trial.config.optimizer.momentum) == (0.01, 0.5)


def test_a_derived_integer_is_an_integer():
    (member,) = expand(study(derive={"schedule.warmup": "budget.steps / 4"}))
    assert (member.trial.config.schedule.warmup, member.axes["schedule.warmup"]) == (25, 25)


def test_a_derived_fraction_of_a_step_is_refused():
    with pytest.raises(ConfigError, match=r"schedule.warmup is 33\.3.*; expected an integer"):
        expand(study(derive={"schedule.warmup": "budget.steps / 3"}))


def test_durations_are_counted_at_each_point_and_become_coordinates_in_steps():
    members = expand(study(axis("budget.steps", 100, 300), axis("schedule.warmup", 0, "5%")))
    assert [m.axes["schedule.warmup"] for m in members] == [0, 5, 0, 15]
    assert [m.trial.config.schedule.warmup for m in members] == [0, 5, 0, 15]


def test_an_epoch_is_the_training_set_once_rounded_up_to_whole_steps():
    members = expand(study(axis("budget.batch_size", 10, 30), axis("budget.steps", "1.5ep")))
    assert [m.trial.config.budget.steps for m in members] == [15, 5]


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ConfigError, match=r"schedule.warmup is 101 steps; expected at most budget.steps, 100"):
        expand(study(axis("schedule.warmup", 100, 101)))


def test_a_refusal_names_the_block_where_there_are_several():
    bad = axis("optimizer.lr", -1.0)
    with pytest.raises(ConfigError, match=r"^optimizer.lr is -1.0; expected a number ≥ 0$"):
        expand(study(bad))
    with pytest.raises(ConfigError, match=r"^block 'grid': optimizer.lr is -1.0"):
        expand(study(bad, blocks=2))


def test_group_axes_are_coordinates_too():
    wide = Base({"model": "wide"}, lambda updates: at({**updates, "model": {**PLAIN["model"], "hidden": [16]}}))
    members = expand(
        study(axis("seed", 0), bases=(Base({"model": "mlp"}, at), wide), group_axes=(axis("model", "mlp", "wide"),))
    )
    assert [(m.axes["model"], m.trial.config.model.hidden) for m in members] == [("mlp", (8,)), ("wide", (16,))]


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=4, unique=True), st.integers(1, 3))
def test_equal_points_in_two_blocks_are_one_trial(rates, seeds):
    members = expand(study(axis("optimizer.lr", *rates), axis("seed", *range(seeds)), blocks=2))
    assert len(members) == 2 * len({m.trial.id for m in members}) == 2 * len(set(rates)) * seeds


def test_ten_thousand_members_expand_in_modest_memory():
    wanted = study(Axis("optimizer.lr", tuple(i / 1000 for i in range(1, 1001)), ""), axis("seed", *range(10)))
    tracemalloc.start()
    members = expand(wanted)
    assert tracemalloc.get_traced_memory()[0] < 60e6
    tracemalloc.stop()
    assert len(members) == wanted.size == 10_000
