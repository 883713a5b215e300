"""Identity: what changes a trial's id, what does not, and one id that must never change."""

import copy
import dataclasses
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.schema import DATASETS
from thalweg.models.schema import MODELS
from thalweg.optim.schema import OPTIMIZERS, SCHEDULES
from thalweg.runner.base.canonical import (
    canonical_json,
    identity_dict,
    identity_hash,
    structure_dict,
    structure_hash,
    tagged_hash,
)
from thalweg.runner.store.configs import Configs
from thalweg.runner.study.keys import trial_config
from thalweg.runner.study.trial import Trial, TrialConfig

ROOT = Path(__file__).resolve().parents[3]

MODEL = {"name": "mlp", "hidden": [32, 16], "init_gain": 1.0}
INVARIANT = {"name": "mlp_scale_invariant", "hidden": [32, 16], "init_gain": 1.0, "logit_scale": 2.0}
DIGITS = {"name": "digits", "train_size": 1000, "label_noise": 0.4, "split_seed": 0}
LINEAR = {"name": "linear", "init_gain": 1.0}
CNN = {"name": "cnn", "widths": [8], "norm": "none", "dropout": 0.0, "init_gain": 1.0}
RESNET18 = {"name": "resnet18", "width": 8, "init_gain": 1.0}
GPT = {"name": "gpt", "width": 8, "depth": 1, "heads": 2, "dropout": 0.0, "init_gain": 1.0}
VIT = GPT | {"name": "vit", "patch": 4}
IMAGES = {"name": "mnist", "train_size": 9, "label_noise": 0.0, "split_seed": 0, "augment": []}
OWN = {"path": "here", "fingerprint": "0a", "validation": 0.2, "test": 0.2}
IMAGE_FOLDER = IMAGES | OWN | {"name": "image_folder", "side": 32}
TABLE = IMAGES | OWN | {"name": "table", "target": "y", "kind": "classes", "labels": ["a"], "ignore": []}
ARRAYS = IMAGES | OWN | {"name": "arrays", "x": "here", "y": "y", "kind": "classes"}
del ARRAYS["path"]
SIZES = {"train_size": 9, "validation_size": 9, "test_size": 9, "context": 9, "characters": 9}
STDLIB = {"name": "stdlib", "label_noise": 0.0, "split_seed": 0, "fingerprint": "0a", **SIZES}
TEXT = STDLIB | {"name": "text", "path": "here"}
TEACHER = IMAGES | {"name": "teacher", "features": 9, "hidden": 9, "classes": 9}
REGRESSION = IMAGES | {"name": "noisy_regression", "features": 9}
PLANTED = {"name": "planted", "train_size": 9, "curvature": 1.0, "noise": 1.0, "target": 0.3, "split_seed": 0}
SGD = {
    "name": "sgd",
    "lr": 0.1,
    "weight_decay": 5e-4,
    "momentum": 0.9,
    "nesterov": False,
    "decay": "l2",
    "decay_order": "before",
}
ADAM_L2 = {"name": "adam_l2", "lr": 1e-3, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
ADAMW = ADAM_L2 | {"name": "adamw", "decay": "coupled", "decay_order": "before"}
LION = ADAMW | {"name": "lion", "decay_on": "all"}
del LION["eps"]
MUON = ADAMW | {
    "name": "muon",
    "momentum": 0.95,
    "nesterov": False,
    "adjust": "match_rms_adamw",
    "decay_on": "all",
}
COSINE = {"name": "warmup_cosine", "warmup": 30, "floor": 0.0}
WSD = COSINE | {"name": "wsd", "cooldown": 100, "root": False, "offset": 0}
SCHEDULE_CASES = [
    COSINE | {"name": "linear"},
    {"name": "constant", "warmup": 30},
    {"name": "inverse_sqrt", "warmup": 30, "start": 0.1},
    WSD,
    COSINE | {"name": "one_cycle", "start": 0.04},
]


def plain(optimizer=ADAMW, model=MODEL, dataset=DIGITS, schedule=COSINE):
    return {
        "model": dict(model),
        "dataset": dict(dataset),
        "optimizer": dict(optimizer),
        "schedule": dict(schedule),
        "budget": {"steps": 600, "batch_size": 32},
        "precision": "float32",
        "divergence": {"loss_factor": 1e4},
        "seed": 0,
    }


def id_of(config):
    return Trial(trial_config(json.loads(json.dumps(config)))).id


def with_value(config, key, value):
    config = json.loads(json.dumps(config))
    *path, last = key.split(".")
    node = config
    for name in path:
        node = node[name]
    node[last] = value
    return config


GOLDEN_JSON = (
    '{"budget":{"batch_size":32,"steps":600},"dataset":{"label_noise":0.4,"name":"digits","split_seed":0,'
    '"train_size":1000},"divergence":{"loss_factor":10000.0},"model":{"hidden":[32,16],"init_gain":1.0,"name":"mlp"},'
    '"optimizer":{"beta1":0.9,"beta2":0.999,"decay":"coupled","decay_order":"before","eps":1e-08,"lr":0.001,'
    '"name":"adamw","weight_decay":0.01},"precision":"float32","schedule":{"floor":0.0,"name":"warmup_cosine",'
    '"warmup":30},"seed":0}'
)
GOLDEN_ID = "7dd92b9ba0c08fc680abbeb60d3d9d7f82fa1ab2238656a980fc100c45a0a19d"


def test_the_golden_id_has_not_moved():
    """If this fails, every trial in every store gets a new name. Give the new field `introduced_as` instead."""
    trial = Trial(trial_config(plain()))
    assert canonical_json(identity_dict(trial.config)) == GOLDEN_JSON
    assert trial.id == GOLDEN_ID


def reordered(value, flip):
    if isinstance(value, dict):
        items = [(k, reordered(v, flip)) for k, v in value.items()]
        return dict(reversed(items) if flip(len(items)) else items)
    return value


@given(st.randoms())
def test_the_order_of_keys_does_not_matter(random):
    assert id_of(reordered(plain(), lambda n: random.random() < 0.5)) == id_of(plain())


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("optimizer.lr", 1, 1.0),
        ("optimizer.lr", 1e-3, 0.001),
        ("optimizer.lr", "1e-3", 0.001),
        ("optimizer.weight_decay", 0, 0.0),
        ("optimizer.weight_decay", -0.0, 0.0),
        ("budget.steps", 600.0, 600),
        ("seed", 3.0, 3),
        ("divergence.loss_factor", 10000, 1e4),
        ("schedule.warmup", "5%", 30),
        ("schedule.warmup", "0.5ep", 16),
        ("budget.steps", "10ep", 313),
        ("model.hidden", [32.0, 16], [32, 16]),
    ],
)
def test_one_value_spelled_two_ways_is_one_trial(key, one, other):
    assert id_of(with_value(plain(), key, one)) == id_of(with_value(plain(), key, other))


def leaf_keys(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from leaf_keys(value, f"{prefix}{name}.")
        elif name != "name":
            yield f"{prefix}{name}", value


def changed(value):
    others = {"l2": "coupled", "coupled": "independent", "before": "after", "float32": "float64", False: True}
    others |= {"none": "batch", "classes": "values", "here": "there", "0a": "0b", "y": "z"}
    others |= {"all": "weights", "match_rms_adamw": "original"}
    if isinstance(value, str | bool):
        return others[value]
    if isinstance(value, list):
        return ["mixup"] if value == [] else [*value, value[0]]
    return (
        value + 1
        if isinstance(value, int) and value < 600
        else value - 1
        if isinstance(value, int)
        else value * 0.5 + 1e-3
    )


ALL = [
    *(plain(optimizer) for optimizer in (SGD, ADAMW, ADAM_L2, LION, MUON)),
    *(plain(schedule=schedule) for schedule in SCHEDULE_CASES),
    plain(model=INVARIANT),
    plain(dataset=DIGITS | {"name": "mnist1d"}),
    plain(model={"name": "planted"}, dataset=PLANTED),
    *(plain(model=model) for model in (LINEAR, CNN, RESNET18, VIT)),
    *(plain(model=GPT, dataset=dataset) for dataset in (STDLIB, TEXT)),
    *(plain(dataset=dataset) for dataset in (TABLE, ARRAYS, TEACHER, REGRESSION, IMAGE_FOLDER)),
    *(plain(dataset=IMAGES | {"name": name}) for name in ("mnist", "fashion_mnist", "cifar10", "cifar100")),
]


@pytest.mark.parametrize(("config", "key", "value"), [(c, k, v) for c in ALL for k, v in leaf_keys(c)])
def test_every_field_of_a_trial_changes_its_id(config, key, value):
    assert id_of(with_value(config, key, changed(value))) != id_of(config)


def test_the_cases_above_leave_no_schema_out():
    names = {c[section]["name"] for c in ALL for section in ("model", "dataset", "optimizer", "schedule")}
    assert names == {*MODELS, *DATASETS, *OPTIMIZERS, *SCHEDULES}


def test_the_options_of_a_group_are_different_trials():
    assert len({id_of(config) for config in ALL}) == len(ALL)


@given(
    st.sampled_from(["optimizer.lr", "optimizer.weight_decay", "optimizer.eps", "divergence.loss_factor"]),
    st.floats(2.0, 1e30),
    st.booleans(),
)
def test_one_ulp_is_another_trial(key, value, up):
    near = math.nextafter(value, math.inf if up else 0.0)
    assert id_of(with_value(plain(), key, value)) != id_of(with_value(plain(), key, near))


@given(st.floats(0, 1e300))
def test_a_float_survives_the_canonical_text(value):
    assert json.loads(canonical_json(value)) == value


FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
LEAVES = st.none() | st.booleans() | st.integers() | FLOATS | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12))
def test_the_canonical_text_is_jsons_with_its_keys_sorted(value):
    assert canonical_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert canonical_json((-0.0, [0.0])) == "[0.0,[0.0]]"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_canonical_text(value):
    with pytest.raises(ValueError):
        canonical_json({"lr": [value]})


def test_the_tag_keeps_hashes_of_different_things_apart():
    assert tagged_hash("a", {"x": 1}) != tagged_hash("b", {"x": 1})


PROGRAM = """
import json, sys
from thalweg.runner.config import Request, declare
from thalweg.runner.study.study import expand
study = declare(Request(tuple(json.loads(sys.argv[1])))).study
print([member.trial.id for member in expand(study)], study.name)
"""


def test_hash_seed_folder_and_word_order_do_not_matter(tmp_path):
    words = ["optimizer.lr=1e-3,0.1", "seed=0..1", "optimizer.weight_decay=0.01", "budget.steps=10ep"]
    seen = set()
    for seed, cwd, order in [("0", ROOT, words), ("1", tmp_path, [*words[:2], *reversed(words[2:])])]:
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-P", "-c", PROGRAM, json.dumps(order)]
        seen.add(subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(seen) == 1
    assert len(eval(seen.pop().rpartition(" ")[0])) == 4


@dataclass(frozen=True, kw_only=True)
class Old:
    lr: float


@dataclass(frozen=True, kw_only=True)
class New:
    lr: float
    clip: float | None = field(default=None, metadata={"introduced_as": None})
    rank: int = field(default=2, metadata={"introduced_as": 1})


def test_a_field_added_later_stays_out_while_it_means_as_before():
    assert identity_dict(New(lr=0.1, rank=1)) == identity_dict(Old(lr=0.1))


def test_a_field_added_later_counts_once_it_means_something_new():
    assert identity_dict(New(lr=0.1, rank=2)) == {"lr": 0.1, "rank": 2}  # the default itself is not what counts
    assert identity_dict(New(lr=0.1, rank=1, clip=0.0)) == {"lr": 0.1, "clip": 0.0}


def test_trials_that_differ_only_per_trial_share_a_group():
    base = Trial(trial_config(plain()))
    for key, value in [("optimizer.lr", 3.0), ("seed", 7), ("schedule.warmup", 0), ("model.init_gain", 2.0)]:
        assert Trial(trial_config(with_value(plain(), key, value))).group_id == base.group_id
    for key, structure in [
        ("budget.batch_size", 8),
        ("model.hidden", [8]),
        ("precision", "float64"),
        ("dataset.split_seed", 1),
    ]:
        assert Trial(trial_config(with_value(plain(), key, structure))).group_id != base.group_id


def test_structure_holds_nothing_per_trial():
    def names(schema):
        for f in fields(schema):
            yield f.name, bool(f.metadata.get("per_trial"))

    kept = structure_dict(trial_config(plain()))["optimizer"]
    per_trial = {name for name, is_so in names(OPTIMIZERS["adamw"]) if is_so}
    assert per_trial
    assert not per_trial & kept.keys()


@pytest.mark.parametrize("place", range(len(ALL)))
def test_what_an_earlier_version_stored_reads_as_what_is_stored_today(place):
    """Otherwise a filter on a key that is new finds none of the trials for which it has always meant its default."""
    config = trial_config(copy.deepcopy(ALL[place]))
    read = Configs().read(canonical_json(identity_dict(config)))
    assert json.dumps(read) == json.dumps(json.loads(Trial(config).config_json))


def test_no_field_of_a_trial_has_a_default():
    """Defaults live in YAML only; a default here would hide a missing key."""
    for schema in (TrialConfig, *MODELS.values(), *DATASETS.values(), *OPTIMIZERS.values(), *SCHEDULES.values()):
        assert is_dataclass(schema)
        for f in fields(schema):
            assert "introduced_as" in f.metadata or f.default is f.default_factory is dataclasses.MISSING, f.name


@pytest.mark.parametrize(
    "more", [{}, {"sam": {"name": "standard", "rho": 0.05}}, {"clip": {"name": "norm", "limit": 1.0}}]
)
@pytest.mark.parametrize("place", range(len(ALL)))
def test_hashes_from_the_texts_of_sections_are_those_of_the_whole(place, more):
    config = trial_config({**copy.deepcopy(ALL[place]), **more})
    for each in (config, dataclasses.replace(config, seed=7, revision="0a", arithmetic=3)):
        assert identity_hash("t", each) == tagged_hash("t", identity_dict(each))
        assert structure_hash("t", each) == tagged_hash("t", structure_dict(each))
