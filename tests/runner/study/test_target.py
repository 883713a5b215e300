"""A `_target_`: its arguments are typed by its YAML, part of identity and structure, and may be swept."""

import json
from dataclasses import replace

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.study.keys import trial_config
from thalweg.runner.study.study import expand
from thalweg.runner.study.target import before, refuse_changed
from thalweg.runner.study.trial import Trial

NET = """\
_target_: nets.Net
width: 32
dropout: 0.5
act: relu
deep: false
channels: [16, 32]
extra: null
"""
BASE = ("model=net",)


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/net.yaml").write_text(NET)
    (tmp_path / "thalweg.yaml").write_text("{config: conf, code: [nets, points]}")
    monkeypatch.chdir(tmp_path)


def members(*words):
    return expand(declare(Request(words)).study)


def models(*words):
    return [json.loads(member.trial.config_json)["model"] for member in members(*BASE, *words)]


def refusal(*words):
    with pytest.raises(ConfigError) as caught:
        members(*BASE, *words)
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize("text", ["1..3", "../x", "010", "1/3", "1e3x", "'1'"])
def test_an_argument_that_is_text_in_the_yaml_stays_text(text):
    assert [model["act"] for model in models(f"model.act={text}")] == [text.strip("'")]
    assert [model["act"] for model in models(f"model.act={text},b")] == [text.strip("'"), "b"]


def test_a_model_of_ones_own_keeps_its_yaml_as_its_configuration():
    written = {"_target_": "nets.Net", "width": 32, "dropout": 0.5, "act": "relu", "deep": False}
    assert models() == [{**written, "channels": [16, 32], "extra": None, "output": None}]


@pytest.mark.parametrize(
    ("word", "key", "values"),
    [
        ("model.width=16,64", "width", [16, 64]),
        ("model.width=16..64:x2", "width", [16, 32, 64]),
        ("model.width=16.0,64", "width", [16, 64]),
        ("model.width=range(1,4)", "width", [1, 2, 3]),
        ("model.dropout=0,0.25", "dropout", [0.0, 0.25]),
        ("model.dropout=0..1:3lin", "dropout", [0.0, 0.5, 1.0]),
        ("model.act=relu,gelu", "act", ["relu", "gelu"]),
        ("model.deep=true,false", "deep", [True, False]),
        ("model.channels=[8],[8,16]", "channels", [[8], [8, 16]]),
        ("model.extra=1,2", "extra", [1, 2]),
        ("+model.new=1,2.5", "new", [1.0, 2.5]),
    ],
)
def test_an_argument_is_an_axis_in_the_type_of_its_yaml(word, key, values):
    seen = [model[key] for model in models(word)]
    assert seen == values
    assert [type(value) for value in seen] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("word", "value"), [("model.dropout=0", 0.0), ("model.width=64.0", 64), ("++model.new=a", "a"), ("+model.new=1", 1)]
)
def test_a_single_value_takes_the_type_of_its_yaml_too(word, value):
    key = word.partition("=")[0].rpartition(".")[2]
    (model,) = models(word)
    assert model[key] == value
    assert type(model[key]) is type(value)


def test_an_axis_value_and_the_same_value_written_alone_are_one_trial():
    (alone,) = members(*BASE, "model.dropout=0")
    swept, _ = members(*BASE, "model.dropout=0,0.1")
    assert alone.trial.id == swept.trial.id


def test_a_derived_argument_takes_the_type_of_its_yaml(tmp_path):
    (tmp_path / "conf/study").mkdir()
    (tmp_path / "conf/study/s.yaml").write_text(
        "# @package _global_\ndefaults: [override /model: net]\n"
        "study: {vars: [w], axes: {w: '2,4'}, derive: {model.width: 8 * w, model.dropout: w / 4}}"
    )
    made = [json.loads(m.trial.config_json)["model"] for m in members("s")]
    assert [(model["width"], model["dropout"]) for model in made] == [(16, 0.5), (32, 1.0)]
    assert all(type(model["width"]) is int and type(model["dropout"]) is float for model in made)


def test_every_argument_is_identity_and_structure():
    base, wider, other = (members(*BASE, *words)[0].trial for words in ((), ("model.width=33",), ("model.act=tanh",)))
    assert len({base.id, wider.id, other.id}) == 3
    assert len({base.group_id, wider.group_id, other.group_id}) == 3
    slower = members(*BASE, "optimizer.lr=0.5")[0].trial
    assert (slower.id != base.id, slower.group_id) == (True, base.group_id)


def test_a_stored_configuration_read_again_is_the_same_trial():
    for words in ((), ("dataset=target", "dataset._target_=points.make", "+dataset.n=[1,[2,3]]")):
        (member,) = members(*BASE, *words)
        again = Trial(trial_config(json.loads(member.trial.config_json)))
        assert again.config == member.trial.config
        assert again.id == member.trial.id
        assert hash(again.config) == hash(member.trial.config)


NESTED = """\
_target_: nets.Net
config: {_target_: nets.Config, hidden: 32, drop: 0.0, sizes: [4, 8]}
blocks: [{_target_: torch.nn.Linear, in_features: 4, out_features: 4}]
extra: {a: {b: null}}
output: logits
"""


@pytest.fixture
def _nested(tmp_path):
    (tmp_path / "conf/model/nested.yaml").write_text(NESTED)


def nested(*words):
    return [json.loads(member.trial.config_json)["model"] for member in members("model=nested", *words)]


@pytest.mark.usefixtures("_nested")
def test_a_section_among_the_arguments_is_kept_as_it_is_written_and_read_again():
    (member,) = members("model=nested")
    stored = json.loads(member.trial.config_json)
    assert stored["model"] == {
        "_target_": "nets.Net",
        "config": {"_target_": "nets.Config", "hidden": 32, "drop": 0.0, "sizes": [4, 8]},
        "blocks": [{"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 4}],
        "extra": {"a": {"b": None}},
        "output": "logits",
    }
    again = Trial(trial_config(stored))
    assert (again.id, again.config, hash(again.config)) == (member.trial.id, member.trial.config, hash(again.config))


@pytest.mark.usefixtures("_nested")
@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("model.config.hidden=16,64", [16, 64]),
        ("model.config.hidden=16..64:x2", [16, 32, 64]),
        ("model.config.hidden=8.0", [8]),
        ("+model.config.new=1,2.5", [1.0, 2.5]),
        ("model.config.sizes=[1],[2,3]", [[1], [2, 3]]),
        ("model.config.sizes=[1,2,3]", [[1, 2, 3]]),
        ("model.config._target_=nets.Config,nets.Other", ["nets.Config", "nets.Other"]),
        ("model.extra.a.b=3,4", [3, 4]),
    ],
)
def test_what_is_within_a_section_is_an_axis_too(word, seen):
    models, key = nested(word), word.lstrip("+").partition("=")[0].split(".")[1:]
    for name in key:
        models = [each[name] for each in models]
    assert models == seen
    assert [type(each) for each in models] == [type(each) for each in seen]
    assert len({member.trial.id for member in members("model=nested", word)}) == len(seen)


def test_what_was_added_on_the_line_may_be_changed_and_swept_there():
    words = ("model=target", "model._target_=nets.Net", "+model.config={_target_: nets.Config, hidden: 3}")
    assert nested_of(*words, "model.config.hidden=4") == [4]
    assert nested_of(*words, "model.config.hidden=4,5") == [4, 5]


def nested_of(*words):
    return [json.loads(member.trial.config_json)["model"]["config"]["hidden"] for member in members(*words)]


def test_a_section_is_typed_on_the_line_as_in_a_file(tmp_path):
    words = ("model=target", "model._target_=nets.Net", "model.output=0")
    typed = members(*words, "+model.config={_target_: nets.Config, hidden: 3}")
    (tmp_path / "conf/model/same.yaml").write_text(
        "{_target_: nets.Net, config: {_target_: nets.Config, hidden: 3}, output: 0}"
    )
    assert [member.trial.id for member in typed] == [members("model=same")[0].trial.id]


@pytest.mark.parametrize("value", ["[30,5,2]", "[]", "[[1],[2]]", "true", "null", "[a,b]", "text", "[0.5]"])
@pytest.mark.parametrize("name", ["width", "hidden", "depth", "dropout", "norm", "init_gain", "mine"])
def test_an_argument_called_as_one_of_our_keys_may_be_anything(name, value):
    (member,) = members("model=target", "model._target_=nets.Net", f"+model.{name}={value}")
    words = {"text": "text", "[a,b]": ["a", "b"]}
    expected = words[value] if value in words else json.loads(value)
    assert json.loads(member.trial.config_json)["model"][name] == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=vit", "dataset=cifar10", "model.width=[30,5]"), "model.width is [30, 5]; expected an integer"),
        (("model=mlp", "model.init_gain=[1,2]"), "model.init_gain is [1, 2]; expected a number"),
        (("model=mlp", "model.init_gain=true"), "model.init_gain is true; expected a number"),
        (("model=mlp", "model.init_gain=null"), "model.init_gain is null; expected a number"),
        (("model=mlp", "+model.config.hidden=3"), "no key 'model.config.hidden'"),
        (("model=mlp", "model.output=0"), "model.output belongs to model=target"),
        (("model=net", "dataset=target", "dataset._target_=points.make", "+dataset.x.y=3"), "no key 'dataset.x.y'"),
        (("model=nested", "model.config.hiden=3"), "did you mean model.config.hidden? +model.config.hiden=… adds"),
        (("model=nested", "model.config=3"), "model.config is 3; expected a section"),
        (("model=nested", "model.config.hidden={a: 3}"), "model.config.hidden"),
        (("model=nested", "model.config._target_=os.system"), "model.config._target_ is os.system; expected a part"),
        (("model=nested", "model.config._target_=nets.A,os.system"), "is os.system; expected a part from nets, points"),
        (("model=net", "+model.x={_target_: null}"), "model.x._target_ is"),
        (("model=net", "+model.x={_target_: os.system}"), "model.x._target_ is os.system; expected a part"),
        (("model=net", "+model.x=[{_target_: os.system}]"), "model.x[0]._target_ is os.system; expected a part"),
    ],
)
@pytest.mark.usefixtures("_nested")
def test_what_is_wrong_within_a_section_or_with_our_own_keys_is_still_refused(words, said):
    with pytest.raises(ConfigError) as caught:
        members(*words)
    assert said in f"{caught.value.message} | {caught.value.hint}"


IDS = {
    ("model=net",): "93070154",
    ("model=net", "+model.output=[1,2]"): "a40d0248",
    ("model=net", "+model.output=gelu"): "a6d07e17",
    ("model=target", "model._target_=torchvision.models.resnet18", "+model.num_classes=10"): "7815308d",
}


@pytest.mark.parametrize(("words", "short"), IDS.items())
def test_ids_of_models_of_ones_own_hold(words, short):
    """Taken before models had parts and outputs, and before repairs that touch them."""
    trial = members(*words)[0].trial
    assert Trial(replace(trial.config, arithmetic=0)).short == short


def test_the_order_of_keys_does_not_matter(tmp_path):
    lines = NET.splitlines(keepends=True)
    (tmp_path / "conf/model/other.yaml").write_text("".join(reversed(lines)))
    assert members("model=other")[0].trial.id == members("model=net")[0].trial.id


def test_a_dataset_of_ones_own_has_our_defaults_beneath_its_own_keys(tmp_path):
    (tmp_path / "conf/dataset").mkdir()
    (tmp_path / "conf/dataset/mine.yaml").write_text("{_target_: points.make, n: 100, label_noise: 0.1}")
    (member,) = members("dataset=mine", "dataset.train_size=20", "budget.steps=2ep")
    dataset = member.trial.config.dataset
    assert (dataset.label_noise, dataset.validation, dataset.split_seed, dataset.train_size) == (0.1, 0.2, 0, 20)
    assert dataset.arguments == (("n", 100),)
    assert member.trial.config.budget.steps == 2  # 20 examples, 32 a step


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model.widht=3",), "model.widht is not in the YAML of nets.Net | did you mean model.width?"),
        (("model.widht=3,4",), "model.widht is not in the YAML of nets.Net | did you mean model.width?"),
        (("model.width=16.5",), "model.width is 16.5; expected an integer, as its YAML has 32 | write 32.0 there"),
        (("model.width=1,16.5",), "expected an integer"),
        (("model.act=3",), "model.act is 3; expected text"),
        (("model.act=null,3",), "model.act is 3; expected text"),
        (("model.width=1..0:x2",), "0 values"),
        (("+model.width=3",), "already there"),
        (("+model._partial_=true",), "no key 'model._partial_'"),
        (("+model.x={_a_: 1}",), "no key 'model.x._a_'"),
        (("model._target_=nets",), "expected a class or function by its whole path"),
        (("model._target_=eval",), "expected a class or function by its whole path"),
        (("model._target_=nets.Net()",), "model._target_"),
        (("model=target",), "model._target_ is missing | write model._target_=package.Class"),
        (("model=mlp", "model._target_=nets.Net"), "belongs to model=target"),
        (("model=mlp", "+model._target_=nets.Net"), "beside the keys of model=mlp | choose model=target"),
        (("dataset=target", "dataset._target_=points.make", "budget.steps=2ep"), "train_size=null has no known length"),
        (("dataset=target", "dataset._target_=points.make", "dataset.test=1"), "dataset.test is 1"),
    ],
)
def test_what_no_target_can_be_is_refused_in_one_sentence(words, said):
    sentence = refusal(*words)
    for part in said.split(" | "):
        assert part in sentence


def test_an_argument_of_another_model_is_no_key_of_ours():
    with pytest.raises(ConfigError, match=r"no key 'model\.hiden'"):
        members("model.hiden=3")
    with pytest.raises(ConfigError, match=r"no key 'model\.hiden'"):
        members("model.hiden=3,4")


# --- the files of a dataset


def dataset(*words):
    return members("dataset=target", "dataset._target_=points.read", *words)[0].trial


def test_the_files_that_a_dataset_names_are_part_of_a_trials_id(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1,2")
    (tmp_path / "more.txt").write_text("x")
    words = ("+dataset.path=data/a.csv", "+dataset.sep=tab", "dataset.files=[more.txt]")
    first = dataset(*words)
    assert dataset(*words).id == first.id
    (tmp_path / "data/a.csv").write_text("1,3")
    edited = dataset(*words)
    (tmp_path / "more.txt").write_text("y")
    assert len({first.id, edited.id, dataset(*words).id}) == 3
    (tmp_path / "data/a.csv").write_text("1,2")
    (tmp_path / "more.txt").write_text("x")
    assert dataset(*words).id == first.id


def test_a_folder_counts_with_all_its_files_and_a_dataset_without_files_has_no_fingerprint(tmp_path):
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/a").write_text("1")
    before = dataset("+dataset.root=data/")
    (tmp_path / "data/.hidden").write_text("1")
    assert dataset("+dataset.root=data/").id == before.id
    (tmp_path / "data/deep/b").write_text("1")
    assert dataset("+dataset.root=data/").id != before.id
    assert dataset("+dataset.root=nowhere", "+dataset.n=3").config.dataset.fingerprint is None


def test_a_stored_trial_keeps_the_fingerprint_it_was_declared_with(tmp_path):
    (tmp_path / "a.csv").write_text("1,2")
    trial = dataset("+dataset.path=a.csv")
    (tmp_path / "a.csv").write_text("1,3")
    assert Trial(trial_config(json.loads(trial.config_json))).id == trial.id
    with pytest.raises(ConfigError, match=r"the files of dataset=points\.read have changed"):
        refuse_changed(trial.config.dataset)


def test_a_trial_of_before_trains_on_the_files_that_it_was_declared_on(tmp_path):
    (tmp_path / "a.csv").write_text("1,2")
    now = dataset("+dataset.path=a.csv").config.dataset
    then = before(now)
    assert then is not None
    assert then.fingerprint != now.fingerprint
    refuse_changed(then)
    (tmp_path / "a.csv").write_text("1,3")
    with pytest.raises(ConfigError, match="have changed"):
        refuse_changed(then)


def test_a_file_that_is_said_and_not_there_is_named():
    with pytest.raises(ConfigError, match=r"dataset\.files names 'gone\.csv'; nothing is there"):
        dataset("dataset.files=[gone.csv]")
