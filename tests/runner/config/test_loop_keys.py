"""Keys of the training loop, `groups.NAME.…` first: axes, types, ids, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thalweg.runner.base.canonical import as_dict, identity_dict
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.study.keys import trial_config
from thalweg.runner.study.study import expand
from thalweg.runner.study.trial import Trial

STUDY = """# @package _global_
groups:
  head: {match: "head.*", lr: 10}
  norms: {match: "*norm*|*.bias", weight_decay: 0}
study:
  axes: {optimizer.lr: "0.1,0.2", groups.head.weight_decay: "0,1"}
"""


def trials(*words: str, folder: Path | None = None) -> list[Trial]:
    request = Request(tuple(words), config_dir=str(folder) if folder else None)
    return [member.trial for member in expand(declare(request).study)]


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "layered.yaml").write_text(STUDY)
    return tmp_path


def test_groups_of_a_file_are_axes_and_one_program(folder) -> None:
    found = trials("layered", folder=folder)
    assert len({trial.id for trial in found}) == 4
    assert len({trial.group_id for trial in found}) == 1
    groups = dict(found[0].config.groups.named)
    assert [*groups] == ["head", "norms"]
    assert (groups["head"].lr, groups["head"].weight_decay, groups["norms"].weight_decay) == (10.0, 0.0, 0.0)


def test_the_command_line_makes_groups_changes_them_and_takes_them_away(folder) -> None:
    word = "groups.head.match='head.*'"
    assert len({trial.id for trial in trials(word, "groups.head.lr=1,3,10", "groups.head.freeze=true,false")}) == 6
    assert trials("groups={head: {match: 'head.*', lr: 3}}")[0].id == trials(word, "groups.head.lr=3")[0].id
    assert trials("+groups.head.match='head.*'")[0].id == trials(word)[0].id
    wider = trials("layered", "groups.head.lr=1..4:x2", folder=folder)
    assert {dict(trial.config.groups.named)["head"].lr for trial in wider} == {1.0, 2.0, 4.0}
    assert [*dict(trials("layered", "~groups.norms", folder=folder)[0].config.groups.named)] == ["head"]


def test_an_axis_of_optimizers_keeps_the_groups() -> None:
    found = trials("optimizer=sgd,adamw,muon", "groups.head.match='head.*'", "groups.head.lr=1,3")
    assert len({trial.id for trial in found}) == 6


def test_without_groups_ids_are_as_before_and_what_a_group_leaves_out_is_no_part_of_its_id() -> None:
    assert "groups" not in identity_dict(trials("seed=0")[0].config)
    named = identity_dict(trials("groups.head.match='head.*'", "groups.head.lr=1")[0].config)["groups"]
    assert named == {"head": {"match": "head.*"}}


def test_a_stored_configuration_gives_the_trial_back(folder) -> None:
    for trial in trials("layered", folder=folder):
        assert Trial(trial_config(json.loads(trial.config_json))).id == trial.id
        assert as_dict(trial.config)["groups"]["head"]["lr"] == 10.0


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["groups.head.lr=1,3"], "groups.head.lr is of a parameter group that is not declared", "head.match='head.*'"),
        (["groups.head.lr=3"], "groups.head does not say which parameters it holds", "groups.head.match='head.*'"),
        (["groups.head.wd=3"], "there is no key 'groups.head.wd'", "did you mean groups.head.weight_decay?"),
        (["groups.head.matches=x"], "there is no key 'groups.head.matches'", "did you mean groups.head.match?"),
        (["groups.head=3"], "groups.head is a parameter group, not a value", "match, lr, weight_decay, freeze, adamw"),
        (["groups=3"], "groups", ""),
        (["groups.a.b.lr=3"], "there is no key 'groups.a.b.lr'", "groups.head.match"),
        (["groups.head.match='h*'", "groups.head.lr=-1"], "groups.head.lr is -1.0; expected a number ≥ 0", ""),
        (["groups.head.match='h*'", "groups.head.lr=1,-1"], "groups.head.lr is -1.0; expected a number ≥ 0", ""),
        (["groups.head.match='h*'", "groups.head.freeze=2"], "groups.head.freeze is 2; expected true or false", ""),
        (["groups.head.match='h*'", "groups.head.lr=true"], "groups.head.lr is true; expected a number ≥ 0", ""),
        (["groups.head.match=''"], "groups.head does not say which parameters", ""),
        (["groups.head.match=null"], "groups.head does not say which parameters", ""),
        (["groups.1.lr=1"], "there is no key 'groups.1.lr'", "groups.head.match"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(words, said, hint) -> None:
    with pytest.raises(ConfigError) as refused:
        trials(*words)
    assert said in refused.value.message
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("groups: [1]", "Cannot merge DictConfig with ListConfig"),
        ("groups: {head: 3}", "groups.head is a parameter group, not a value"),
        ("groups: {head: {match: 3}}", "groups.head.match is 3; expected text"),
        ("groups: {head: {match: x, rate: 3}}", "there is no key 'groups.head.rate'"),
        ("groups: {head.x: {match: x}}", "groups.head.x"),
        ("groups: {head: {}}", "groups.head"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_a_sentence(folder, yaml, said) -> None:
    (folder / "study" / "wrong.yaml").write_text(f"# @package _global_\n{yaml}\nstudy: {{axes: {{seed: '0,1'}}}}\n")
    with pytest.raises(ConfigError) as refused:
        trials("wrong", folder=folder)
    assert said in refused.value.message


def test_a_batch_is_taken_in_equal_parts_or_refused() -> None:
    assert len({trial.id for trial in trials("budget.accumulate=1,2,4")}) == 3
    assert trials("budget.accumulate=1")[0].id == trials("budget.batch_size=32")[0].id
    for word in ("budget.accumulate=3", "budget.accumulate=1,3", "budget.accumulate=64"):
        with pytest.raises(ConfigError, match=r"budget\.accumulate is \d+, which does not divide budget"):
            trials(word)


def test_an_average_is_an_option_with_a_decay_for_each_trial() -> None:
    found = trials("average=ema", "average.decay=0.9,0.99")
    assert len({trial.id for trial in found}) == 2
    assert len({trial.group_id for trial in found}) == 1
    assert len({trial.id for trial in trials("average=none,ema")}) == 2
    assert trials("average=none")[0].id == trials("seed=0")[0].id
    with pytest.raises(ConfigError, match=r"average\.decay is 1\.0; expected a number ≥ 0 and < 1"):
        trials("average=ema", "average.decay=1")


def test_scalars_are_a_setting_and_no_part_of_an_id() -> None:
    asked = declare(Request(("evaluation.scalars=[gradient_norm,weight_norm]",)))
    assert asked.settings.evaluation.scalars == ("gradient_norm", "weight_norm")
    assert expand(asked.study)[0].trial.id == trials("seed=0")[0].id
    assert declare(Request(("evaluation.scalars=gradient_norm,weight_norm",))).settings == asked.settings
    with pytest.raises(ConfigError, match=r"evaluation\.scalars"):
        declare(Request(("evaluation.scalars=[loss_norm]",)))


def test_adamw_for_a_groups_matrices_is_for_muon_alone() -> None:
    words = ("groups.head.match='head.*'", "groups.head.adamw=true,false")
    assert len({trial.group_id for trial in trials("optimizer=muon", *words)}) == 2
    for axis in ("true,false", "false,true", "true"):
        with pytest.raises(ConfigError, match="adamw is true, but optimizer=sgd orthogonalises no matrices"):
            trials("optimizer=sgd", words[0], f"groups.head.adamw={axis}")


def test_half_precision_has_a_scale_whose_numbers_are_axes() -> None:
    words = ("precision=fp16", "scaling=dynamic")
    found = trials(*words, "scaling.start=1024,65536", "scaling.interval=100,2000", "scaling.floor=0.5,1")
    assert len({trial.id for trial in found}) == 8
    assert len({trial.group_id for trial in found}) == 1
    assert "scaling" not in identity_dict(trials("seed=0")[0].config)
    assert len(trials("precision=bf16,fp16", "scaling=dynamic")) == 2
    assert trials("scaling=none,dynamic", "precision=float32")[0].id == trials("seed=0")[0].id
    for trial in found:
        assert Trial(trial_config(json.loads(trial.config_json))).id == trial.id


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["precision=fp16"], "precision=fp16 without a scale loses gradients below 6e-8", "add scaling=dynamic"),
        (["precision=bf16,fp16"], "precision=fp16 without a scale", "add scaling=dynamic"),
        (["precision=fp16", "scaling=none,dynamic"], "precision=fp16 without a scale", "add scaling=dynamic"),
        (["scaling=dynamic", "scaling.start=0.5"], "scaling.start is 0.5, below scaling.floor, 1", "lower that"),
        (["scaling=dynamic", "scaling.start=2,0.5"], "scaling.start is 0.5, below scaling.floor, 1", "lower that"),
        (["scaling=dynamic", "scaling.start=0"], "scaling.start is 0.0; expected a number ≥ 1e-30", ""),
        (["scaling=dynamic", "scaling.interval=0"], "scaling.interval is 0; expected an integer ≥ 1", ""),
        (["scaling.start=2"], "scaling.start belongs to scaling=dynamic, which was not chosen", "scaling=dynamic"),
        (["scaling=static"], "scaling has no option 'static'; it has dynamic, none", ""),
    ],
)  # fmt: skip
def test_a_scale_that_cannot_be_is_refused_in_a_sentence(words, said, hint) -> None:
    with pytest.raises(ConfigError) as refused:
        trials(*words)
    assert said in refused.value.message
    assert hint in (refused.value.hint or "")


def test_a_group_may_have_an_optimizer_of_its_own_whose_numbers_are_axes() -> None:
    words = ("groups.m.match='layers.0.*'", "groups.m.optimizer=sgd")
    (plain,) = trials(*words)
    own = dict(plain.config.groups.named)["m"].optimizer
    assert (own.name, own.lr, own.momentum) == ("sgd", 0.1, 0.9)  # of conf/optimizer/sgd.yaml
    found = trials(*words, "groups.m.optimizer.lr=0.1,0.2", "groups.m.optimizer.momentum=0.5,0.9", "optimizer.lr=1,2")
    assert len({trial.id for trial in found}) == 8
    assert len({trial.group_id for trial in found}) == 1
    assert len({trial.group_id for trial in (plain, *trials(*words, "groups.m.optimizer.nesterov=true,false"))}) == 2
    one = trials("groups={m: {match: 'layers.0.*', optimizer: {name: sgd, lr: 0.3}}}")[0]
    assert one.id == trials(*words, "groups.m.optimizer.lr=0.3")[0].id
    assert trials(*words, "groups.m.optimizer=null")[0].id == trials(words[0])[0].id
    for trial in found:
        assert Trial(trial_config(json.loads(trial.config_json))).id == trial.id


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["optimizer=sdg"], "groups.m.optimizer is 'sdg'; expected one of sgd, adamw", "write groups.m.optimizer=sgd"),
        (["optimizer=sgd,adamw"], "groups.m.optimizer cannot be an axis", "write two blocks"),
        (["optimizer.name=sdg"], "groups.m.optimizer is 'sdg'; expected one of sgd", "write groups.m.optimizer=sgd"),
        (["optimizer=sgd", "optimizer=3"], "groups.m.optimizer is 3; expected one of sgd", ""),
        (["optimizer=sgd", "optimizer.beta1=0.5"], "no key 'groups.m.optimizer.beta1' with groups.m.optimizer=sgd", ""),
        (["optimizer=sgd", "optimizer.momentom=0"], "no key 'groups.m.optimizer.momentom'", "optimizer.momentum?"),
        (["optimizer=sgd", "optimizer.lr=-1"], "groups.m.optimizer.lr is -1.0; expected a number ≥ 0", ""),
        (["optimizer=sgd", "optimizer.lr=1,-1"], "groups.m.optimizer.lr is -1.0; expected a number ≥ 0", ""),
        (["optimizer=sgd", "optimizer.decay=none"], "groups.m.optimizer.decay is 'none'; expected one of l2", ""),
        (["optimizer.lr=1"], "groups.m.optimizer", "groups.m.optimizer=sgd"),
        (["optimizer=sgd", "adamw=true"], "groups.m has an optimizer of its own, and adamw", "keep one"),
    ],
)  # fmt: skip
def test_an_optimizer_of_a_groups_own_that_cannot_be_is_refused_in_a_sentence(words, said, hint) -> None:
    with pytest.raises(ConfigError) as refused:
        trials("optimizer=muon", "groups.m.match='layers.0.*'", *(f"groups.m.{word}" for word in words))
    assert said in refused.value.message
    assert hint in (refused.value.hint or "")
