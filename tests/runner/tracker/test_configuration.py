"""What W&B's charts need of a run's config: scalar leaves, one type a key across a project, names without dots."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given as forall
from hypothesis import settings as effort
from hypothesis import strategies as some

from thalweg.runner.base.canonical import as_dict
from thalweg.runner.config import Request, declare
from thalweg.runner.facts.row import lookup
from thalweg.runner.study.keys import is_setting, leaf_of, sections
from thalweg.runner.study.keys import leaves as leaves_of_schema
from thalweg.runner.study.study import expand
from thalweg.runner.tracker.configuration import cell, configuration, readable

GROUPS = {
    "model": ("mlp", "cnn", "linear", "mlp_scale_invariant", "resnet18", "vit"),
    "optimizer": ("sgd", "adamw", "adam_l2", "lion", "muon"),
    "dataset": ("digits", "teacher", "noisy_regression", "planted"),
    "schedule": ("warmup_cosine", "linear", "constant", "inverse_sqrt", "wsd", "one_cycle"),
    "sam": ("none", "standard", "adaptive"),
    "clip": ("none", "norm", "value"),
    "average": ("none", "ema"),
}


def configs():
    """A configuration of each option of each group, beside the defaults of the others."""
    for group, options in GROUPS.items():
        for option in options:
            try:
                members = expand(declare(Request((f"{group}={option}", "seed=0,1", "optimizer.lr=0.1,0.2"))).study)
            except Exception:  # an option that does not go with the defaults says nothing of types
                continue
            for member in members:
                yield member, as_dict(member.trial.config)


def leaves(config, prefix=()):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


@pytest.mark.long
def test_every_key_has_one_type_in_a_whole_project_and_no_dot_in_its_name():
    types: dict[tuple, set] = {}
    seen = 0
    for member, config in configs():
        seen += 1
        for path, value in leaves(configuration(member.trial.id, config, member.axes, "seed")):
            assert isinstance(value, bool | int | float | str), path
            assert not any("." in part for part in path), path
            kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
            types.setdefault(path, set()).add(kind)
    assert seen >= 60
    assert ("axes/optimizer/lr",) in types
    assert {path: kinds for path, kinds in types.items() if len(kinds) > 1} == {}


PIECES = {
    "int": some.integers(0, 64),
    "float": some.one_of(some.integers(0, 8), some.floats(0, 10, allow_nan=False)),  # YAML's 1 is an int
    "bool": some.booleans(),
    "text": some.sampled_from(["none", "a.b", "1", "true", ""]),
    "list": some.lists(some.one_of(some.integers(0, 9), some.text("ab", max_size=2)), max_size=3),
    "any": some.none(),
}


@some.composite
def generated(draw) -> dict:
    """A configuration of any options, with any values that their keys take, null where one may be."""
    made: dict = {}
    for section, options in sections().items():
        if is_setting(section) or section in ("study", "groups"):
            continue
        option = draw(some.sampled_from(sorted(options, key=str)))
        held = {}
        for name in sorted(options[option]):
            leaf = leaf_of(f"{section}.{name}", option)
            may_be_none = some.none() if " or null" in leaf.expected else some.nothing()
            held[name] = option if name == "name" else draw(some.one_of(PIECES[leaf.kind], may_be_none))
        made[section] = held
    names = draw(some.lists(some.sampled_from(["head", "body"]), unique=True, max_size=2))
    fields = {"match": PIECES["text"], "lr": PIECES["float"], "freeze": PIECES["bool"]}
    made["groups"] = {name: {field: draw(values) for field, values in fields.items()} for name in names}
    made |= {"seed": draw(PIECES["int"]), "revision": draw(some.one_of(some.none(), PIECES["list"]))}
    return made


def test_configurations_of_any_options_and_values_agree_in_the_type_of_each_key():
    types: dict[tuple, set] = {}

    @effort(max_examples=150, deadline=None)
    @forall(generated(), some.lists(some.sampled_from(sorted(leaves_of_schema())), max_size=4))
    def agree(config, on_axes):
        axes = {key: value for key in on_axes if (value := lookup(config, key)) is not None and not is_setting(key)}
        for path, value in leaves(configuration("t", config, axes, "seed")):
            kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
            assert kind in ("number", "bool", "str"), path
            assert not any("." in part for part in path), path
            types.setdefault(path, set()).add(kind)

    agree()
    assert len(types) > 100
    assert {path: kinds for path, kinds in types.items() if len(kinds) > 1} == {}


def test_a_key_that_options_declare_differently_is_a_text_in_all():
    numbers = configuration("t", {"dataset": {"name": "planted", "target": 0.5}}, {}, None)
    texts = configuration("t", {"dataset": {"name": "table", "target": "price"}}, {}, None)
    assert numbers["dataset"]["target"] == "0.5"
    assert texts["dataset"]["target"] == "price"


def test_seeds_share_a_cell_and_nothing_else_does():
    point = product((0.5, 0.25), (0.0, 0.1), (0, 1, 2))
    config = {
        (lr, wd, seed): {"optimizer": {"name": "adamw", "lr": lr, "weight_decay": wd}, "seed": seed}
        for lr, wd, seed in point
    }
    cells: dict[str, set] = {}
    for (lr, wd, _), each in config.items():
        cells.setdefault(cell(each, "seed"), set()).add((lr, wd))
    assert sorted(map(len, cells.values())) == [1, 1, 1, 1]
    assert cell(config[0.5, 0.1, 0], "seed").startswith("adamw lr 1/2 wd 0.1 ")
    assert len({cell(each, None) for each in config.values()}) == 12
    a, b = ({"dataset": {"name": "x", "split_seed": split}, "optimizer": {"name": "sgd"}} for split in (0, 1))
    assert cell(a, "dataset.split_seed") == cell(b, "dataset.split_seed") != cell(b, "seed")


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ({"optimizer.lr": 1 / 64, "optimizer.weight_decay": 0.08, "seed": 0}, "adamw lr 1/64 wd 0.08 seed 0"),
        ({"optimizer": "adamw", "lr_x_wd": 1.953125e-05, "seed": 2}, "adamw lr_x_wd 1.95e-5 seed 2"),
        ({"model": "mlp", "optimizer.nesterov": True}, "adamw model mlp nesterov true"),
        ({}, "adamw lr 1/4 seed 7"),
    ],
)
def test_a_name_says_the_optimizer_and_what_varies(point, name):
    assert readable({"optimizer": {"name": "adamw", "lr": 0.25}, "seed": 7}, point) == name


def test_logarithms_are_of_what_has_one():
    config = {"optimizer": {"name": "sgd", "lr": 0.5, "weight_decay": 0.0}}
    made = configuration("t", config, {"optimizer.lr": 0.5}, None)
    assert made["axes/log10_lr"] == math.log10(0.5)
    assert "axes/log10_wd" not in made
    assert made["axes/lr_x_wd"] == 0.0
    assert configuration("t", config, {"lr_x_wd": 3e-4}, None)["axes/lr_x_wd"] == 3e-4  # as declared, not multiplied
