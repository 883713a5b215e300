"""Configuration: the grammar, what overrides a study, what is refused, and that every way to compose agrees."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare, groups, info, job
from thalweg.runner.config.compose import Composer, _at_interpolated, _at_plain
from thalweg.runner.config.section import WRITTEN, read_section
from thalweg.runner.study.arithmetic import stamped
from thalweg.runner.study.keys import flatten, leaf_of, leaves, option_of, sections, trial_config
from thalweg.runner.study.study import expand
from thalweg.runner.study.trial import Trial

ROOT = Path(__file__).resolve().parents[3]


def study(*words, **folders):
    return declare(Request(words, **folders)).study


def axes(block):
    return {axis.key: list(axis.values) for axis in (*block.group_axes, *block.axes)}


def refusal(*words, **folders):
    with pytest.raises(ConfigError) as caught:
        expand(study(*words, **folders))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.fixture(scope="module")
def coupling():
    return declare(Request(("coupling",)))


# --- the studies that come with it


def test_coupling_is_eight_panels_of_324_trials(coupling):
    blocks = coupling.study.blocks
    assert [block.size for block in blocks] == [324] * 8
    assert [block.expect and block.expect.slope for block in blocks] == [-1, -1, 0, -2, None, None, 1, None]
    for block in blocks:
        rates, products = list(axes(block).values())[:2]
        assert (len(rates), len(products), products[0]) == (12, 9, 0)
        assert all(b / a == 2 for a, b in pairwise(rates))
        assert all(b / a == pytest.approx(4, rel=1e-12) for a, b in pairwise(products[1:]))


@pytest.mark.parametrize(
    ("block", "lowest", "centre", "exponent"),
    [(0, -8, 5e-3, -1), (1, -9, 6e-2, -1), (2, -9, 6e-2, 0), (3, -9, 1e-4, -2),
     (4, -9, 0.03, 0), (5, -10, 0.5, 0), (6, -10, 1.3, 1), (7, -10, 0.03, 0)],
)  # fmt: skip
def test_each_panel_runs_along_its_own_valley(coupling, block, lowest, centre, exponent):
    points = list(axes(coupling.study.blocks[block]).values())
    assert (points[0][0], points[1][1 + 4]) == (2.0**lowest, centre)
    members = [m for m in expand(coupling.study) if m.block == coupling.study.blocks[block].name]
    for member in members:
        optimizer = member.trial.config.optimizer
        product = next(v for k, v in member.axes.items() if k not in ("optimizer.lr", "seed"))
        assert optimizer.weight_decay == pytest.approx(product * optimizer.lr**exponent, rel=1e-15)


def test_coupling_declares_eight_groups_of_distinct_trials(coupling):
    members = expand(coupling.study)
    assert len({m.trial.id for m in members}) == len(members) == 2592
    assert len({m.trial.group_id for m in members}) == 8
    config = members[0].trial.config
    assert (config.budget.steps, config.budget.batch_size, config.schedule.warmup) == (600, 32, 30)
    assert (config.dataset.train_size, config.dataset.label_noise, config.model.logit_scale) == (1000, 0.4, 2.0)


def test_smoke_is_small():
    smoke = study("smoke")
    assert [block.size for block in smoke.blocks] == [84] * 4
    config = expand(smoke)[0].trial.config
    assert (config.budget.steps, config.model.logit_scale, config.dataset.name) == (300, 3.0, "mnist1d")


# --- the grammar


def test_a_bare_word_is_a_study(coupling):
    one, other = study("study=smoke"), study("-m", "smoke")
    assert [m.trial.id for m in expand(one)] == [m.trial.id for m in expand(other)]
    assert (one.name, one.overridden) == ("smoke", False) == (other.name, other.overridden)
    assert (coupling.study.name, coupling.study.overridden) == ("coupling", False)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("optimizer.lr=0.1,0.3", [0.1, 0.3]),
        ("optimizer.lr=1", None),
        ("optimizer.lr=1,2", [1.0, 2.0]),
        ("optimizer.lr=1/256,1/2", [1 / 256, 0.5]),
        ("optimizer.lr=0,1e-4..1e0:1/dec", [0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0]),
        ("optimizer.lr=range(0.1,0.4,0.1)", [0.1, 0.2, 0.3]),
        ("optimizer.lr=sort(range(0.1,0.4,0.1),reverse=true)", [0.3, 0.2, 0.1]),
        ("optimizer.lr=choice(0.3,0.1)", [0.3, 0.1]),
        ("optimizer.lr=sort(0.3,0.1)", [0.1, 0.3]),
        ("optimizer.lr=0.1,0.1,1e-1", [0.1]),
        ("seed=range(3)", [0, 1, 2]),
        ("seed=0..2", [0, 1, 2]),
        ("seed=5.0,6", [5, 6]),
        ("model=mlp,mlp_scale_invariant", ["mlp", "mlp_scale_invariant"]),
        ("model=glob(mlp*)", ["mlp", "mlp_scale_invariant"]),
        ("model=glob(m*,exclude=*_*)", ["mlp"]),
        ("model.hidden=[8],[16,16]", ["[8]", "[16,16]"]),
        ("optimizer.decay=coupled,independent", ["coupled", "independent"]),
        ("schedule.warmup=0,5%,1ep,30", [0, 30, 32]),
        ("++optimizer.lr=0.1,0.3", [0.1, 0.3]),
    ],
)
def test_hydras_grammar_and_ranges_make_an_axis(word, expected):
    (block,) = study(word).blocks
    assert axes(block) == ({word.lstrip("+").partition("=")[0]: expected} if expected else {})
    made = list(axes(block).values())
    assert [type(v) for v in (made[0] if made else [])] == [type(v) for v in expected or []]


def test_a_shuffle_is_the_same_set_every_time():
    shuffled = study("optimizer.lr=shuffle(0.1,0.2,0.3,0.4,0.5)", "study.name=s").blocks[0]
    assert axes(shuffled) == axes(study("optimizer.lr=shuffle(0.1,0.2,0.3,0.4,0.5)").blocks[0])
    assert axes(shuffled)["optimizer.lr"] != [0.1, 0.2, 0.3, 0.4, 0.5]
    assert sorted(axes(shuffled)["optimizer.lr"]) == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_single_values_and_dicts_set_the_base():
    (member,) = expand(
        study("budget={steps: 50, batch_size: 4}", "optimizer=sgd", "optimizer.lr=1/4", "model.hidden=[4,4]")
    )
    config = member.trial.config
    assert (config.budget.steps, config.budget.batch_size, config.optimizer.lr, config.model.hidden) == (
        50,
        4,
        0.25,
        (4, 4),
    )


def test_the_last_of_two_words_counts():
    assert axes(study("optimizer.lr=0.1", "optimizer.lr=0.2,0.3").blocks[0]) == {"optimizer.lr": [0.2, 0.3]}
    (member,) = expand(study("optimizer.lr=0.2,0.3", "optimizer.lr=0.1"))
    assert member.trial.config.optimizer.lr == 0.1


def test_the_replicate_axis_comes_last():
    wanted = study("seed=0..1", "optimizer.lr=0.1,0.3")
    assert wanted.replicate == "seed"
    assert list(axes(wanted.blocks[0])) == ["optimizer.lr", "seed"]
    assert study("optimizer.lr=0.1,0.3").replicate == "seed"  # or seeds that are added later would be an axis


def test_a_seed_among_the_axes_is_the_replicate_axis(folder):
    wanted = study("mine", config_dir=folder(HEADER + "study: {axes: {seed: 0..2, optimizer.lr: [0.1, 0.3]}}\n"))
    assert wanted.replicate == "seed"
    assert list(axes(wanted.blocks[0])) == ["optimizer.lr", "seed"]


def test_a_seed_of_the_data_may_be_the_replicates_of_one_seed(folder):
    text = HEADER + "study: {axes: {optimizer.lr: [0.1, 0.3]}, replicate: {dataset.split_seed: 0..2}}\n"
    assert study("mine", "seed=3", config_dir=folder(text)).replicate == "dataset.split_seed"
    said = refusal("mine", "seed=3,4", config_dir=folder(text))
    assert "no seed can be chosen as best" in said


# --- overrides of a study


def test_an_override_of_an_axis_replaces_it_in_every_block():
    wanted = study("coupling", "optimizer.lr=0.1")
    assert {tuple(axes(block)["optimizer.lr"]) for block in wanted.blocks} == {(0.1,)}
    assert wanted.size == 216
    assert wanted.overridden


def test_an_override_of_a_var_replaces_it_where_it_is():
    wanted = study("coupling", "lr_x_wd=0,1e-3..1e-1:1/dec")
    assert [axes(block).get("lr_x_wd") for block in wanted.blocks[:3]] == [[0.0, 1e-3, 1e-2, 0.1]] * 2 + [None]


def test_an_override_of_the_replicates_counts_for_every_block():
    assert {tuple(axes(block)["seed"]) for block in study("coupling", "seed=5,6").blocks} == {(5, 6)}


def test_a_sweep_over_another_key_is_an_axis_of_every_block():
    smoke, wanted = study("smoke"), study("smoke", "budget.batch_size=32,64")
    assert wanted.size == 2 * smoke.size
    assert {m.trial.id for m in expand(smoke)} < {m.trial.id for m in expand(wanted)}


def test_another_value_sets_the_base():
    assert {m.trial.config.dataset.label_noise for m in expand(study("smoke", "dataset.label_noise=0.25"))} == {0.25}


def test_a_single_value_of_an_axis_is_an_axis_of_one():
    wanted = study("smoke", "optimizer.lr=0.125", "seed=0")
    assert wanted.size == 4 * 7
    assert {m.axes["optimizer.lr"] for m in expand(wanted)} == {0.125}


@pytest.mark.parametrize(
    "word", ["optimizer.weight_decay=0.1", "optimizer=sgd", "model=mlp,mlp_scale_invariant", "optimizer.decay=coupled"]
)
def test_an_override_that_a_block_would_overwrite_is_refused(word):
    text = refusal("coupling", word)
    assert word.partition("=")[0] in text
    assert "block 'scale-inv." in text


def test_settings_are_no_change_of_a_study():
    words = [
        "engine=vmap",
        "launcher.workers=1",
        "tracker=none",
        "evaluation.points=3",
        "tracker.project=x y",
        "study.direction=max",
    ]
    wanted = study("smoke", *words)
    assert not wanted.overridden
    assert [m.trial.id for m in expand(wanted)] == [m.trial.id for m in expand(study("smoke"))]


def test_settings_arrive():
    found = declare(Request(("smoke", "engine=vmap", "engine.width=8", "launcher.workers=2", "tracker=none"))).settings
    assert (found.engine.name, found.engine.width, found.launcher.workers, found.tracker.name) == ("vmap", 8, 2, "none")


def test_a_sweep_without_a_study_is_named_by_what_it_declares():
    words = ["optimizer.lr=0.1,0.3", "seed=0..1"]
    name = study(*words).name
    assert name.startswith("adhoc-")
    assert len(name) == len("adhoc-") + 6
    assert study(*reversed(words)).name == study("optimizer.lr=0.3,1e-1", "seed=1,0", "engine=loop").name == name
    assert study("optimizer.lr=0.1,0.31", "seed=0..1").name != name
    assert study(*words, "study.name=mine").name == "mine"
    assert study(*words).overridden


def test_the_document_is_plain_json(coupling):
    document = json.loads(json.dumps(coupling.study.document))
    assert document["blocks"][0]["axes"][1]["text"] == "0, 1.953125e-5..0.32:x4"
    assert document["blocks"][0]["expect"] == {"slope": -1, "tolerance": 0.3}
    assert document["analysis"] == {"coupling": {"lr": "optimizer.lr", "wd": "optimizer.weight_decay"}}
    assert declare(Request(("smoke", "seed=0"))).study.document["overrides"] == ["smoke", "seed=0"]


# --- every way to compose agrees

VALUES = {
    "optimizer.lr": st.floats(1e-6, 1e3),
    "optimizer.weight_decay": st.floats(0, 10),
    "optimizer.momentum": st.floats(0, 0.99),
    "model.hidden": st.lists(st.integers(1, 64), min_size=1, max_size=3).map(
        lambda v: json.dumps(v, separators=(",", ":"))
    ),
    "schedule.warmup": st.integers(0, 50) | st.sampled_from(["5%", "1ep"]),
    "budget.steps": st.integers(100, 1000) | st.just("10ep"),
    "optimizer.nesterov": st.booleans(),
    "seed": st.integers(0, 10**6),
}
UPDATES = st.fixed_dictionaries({}, optional=VALUES)


@pytest.mark.long
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(updates=UPDATES, linked=st.booleans())
def test_updating_a_base_equals_composing_anew(updates, linked):
    words = (
        ["divergence.loss_factor=${budget.steps}"]
        if linked and not isinstance(updates.get("budget.steps"), str)
        else []
    )
    spelled = [f"{key}={str(v).lower() if isinstance(v, bool) else v}" for key, v in updates.items()]
    with Composer() as composer:
        base = composer.compose(["optimizer=sgd"], words)
        anew = composer.compose(["optimizer=sgd"], [*words, *spelled]).base().at({})
    assert trial_config(base.base().at(updates)) == trial_config(anew)
    if not words:
        assert _at_plain(base.base().at({}), updates) == _at_interpolated(base.node, updates)


def test_a_base_shares_nothing_between_calls():
    with Composer() as composer:
        base = composer.compose([]).base()
    first = base.at({"optimizer.lr": 0.5})
    first["model"]["hidden"].append(99)
    first["optimizer"]["lr"] = 7
    assert base.at({})["model"]["hidden"] == [32, 32]
    assert base.at({})["optimizer"]["lr"] == 0.001


def test_hydras_global_state_is_cleared():
    from hydra.core.global_hydra import GlobalHydra

    declare(Request(()))
    refusal("optimizer=nothing")
    assert not GlobalHydra.instance().is_initialized()


# --- refusals


REFUSED = [
    ("lr=0.1", "did you mean optimizer.lr?"),
    ("wd=0.1", "did you mean optimizer.weight_decay?"),
    ("bs=8", "did you mean budget.batch_size?"),
    ("epochs=8", "write budget.steps=8ep"),
    ("num_epochs=8,16", "write budget.steps=8ep,16ep"),
    ("budget.max_epochs=3", "write budget.steps=3ep"),
    ("+epochs=many", "write budget.steps=20ep"),
    ("optimiser.lr=0.1", "did you mean optimizer.lr?"),
    ("optimizer.learning_rate=0.1", "did you mean optimizer.lr?"),
    ("momentum=0.1", "did you mean optimizer.momentum?"),
    ("modle=mlp", "did you mean model?"),
    ("+foo=1", "there is no key 'foo'"),
    ("model=mpl", "it has cnn, gpt, linear, mlp, mlp_scale_invariant"),
    ("optimizer=adamv", "did you mean optimizer=adamw?"),
    ("couplin", "did you mean study=coupling?"),
    ("coupling smoke", "two studies are named"),
    ("study=coupling,smoke", "one study at a time"),
    ("optimizer.momentum=0.5", "optimizer.momentum belongs to optimizer=sgd"),
    ("optimizer.name=sgd", "write optimizer=OPTION"),
    ("budget=3", "budget is a section"),
    ("optimizer.lr=-1", "optimizer.lr is -1.0; expected a number ≥ 0"),
    ("optimizer.lr=0.1,-1,0.3", "optimizer.lr is -1.0; expected a number ≥ 0"),
    ("optimizer.lr=nan", "optimizer.lr is nan; expected a number ≥ 0"),
    ("optimizer.lr=0.1,nan", "optimizer.lr is nan; expected a number ≥ 0"),
    ("optimizer.lr=inf", "optimizer.lr is inf; expected a number ≥ 0"),
    ("optimizer.lr=true", "optimizer.lr is true; expected a number ≥ 0"),
    ("optimizer.lr=abc", "optimizer.lr is 'abc'"),
    ("optimizer.lr=null", "optimizer.lr is null; expected a number ≥ 0"),
    ("optimizer.lr=[0.1,0.3]", "for several values write optimizer.lr=0.1,0.3"),
    ("budget.steps=1.5", "budget.steps is 1.5; expected an integer ≥ 1"),
    ("seed=0,1.5,2", "seed is 1.5; expected an integer ≥ 0 and < 2^63"),
    ("seed=9223372036854775808", "seed is 9223372036854775808; expected an integer ≥ 0 and < 2^63"),
    ("optimizer.lr=1e-400", "1e-400, which is too small a number: it would be 0"),
    ("optimizer.lr=0.1,2.5E-999", "2.5E-999, which is too small a number: it would be 0"),
    ("study.exclude=optimizer.lr>1", "there is no 'optimizer.lr' here: nothing varies"),
    ("model.hidden=abc", "model.hidden is 'abc'; expected a list of integers ≥ 1"),
    ("model.hidden=[0]", "expected a list of integers ≥ 1"),
    ("model.hidden=[8],[0]", "expected a list of integers ≥ 1"),
    ("optimizer.decay=l2", "optimizer.decay is 'l2'; expected one of coupled, independent"),
    ("precision=float16", "expected one of float32, float64"),
    ("schedule.warmup=700", "schedule.warmup is 700 steps; expected at most budget.steps, 600"),
    ("schedule=wsd schedule.warmup=500", "schedule.warmup + schedule.cooldown is 620 steps; expected at most"),
    ("schedule.warmup=5.5", "schedule.warmup is 5.5; expected an integer ≥ 0, epochs"),
    ("budget.steps=5%", "budget.steps is '5%'"),
    ("optimizer.lr=", "axis optimizer.lr has 0 values; give at least one, e.g. optimizer.lr=0.1,0.3"),
    ("optimizer.lr=[]", "axis optimizer.lr has 0 values"),
    ("optimizer.lr=range(1,1)", "axis optimizer.lr has 0 values"),
    ("model=glob(x*)", "axis model has 0 values"),
    ("optimizer.lr=1e-4...1:x2", "write 1e-4..1:x2"),
    ("optimizer.lr=0,1e-4..1:2/decade", "write 1e-4..1:2/dec"),
    ("optimizer.lr=1e-4..1:9", "1e-4..1:9log"),
    ("optimizer.lr=2^-8", "write 1/256"),
    ("optimizer.lr=0.1,2^-8", "write 1/256"),
    ("optimizer.lr=1e-6..1:+1e-12", "axis optimizer.lr has 999,999,000,001 values"),
    ("optimizer.lr=range(0,1,1e-9)", "values, more than 1,000,000"),
    ("optimizer.lr=interval(0,1)", "nothing says how many"),
    ("optimizer.lr=glob(*)", "is a glob"),
    ("optimizer.lr=1,range(1,3)", "nests one sweep in another"),
    ("engine.width=1,2", "several values to a setting"),
    ("engine=vmap,loop", "several values to a setting"),
    ("engine.device=tpu", "expected auto, cpu, cuda, mps, or several such as cuda:0,cuda:1"),
    ("engine.device=cpu,cuda:0", "or several such as cuda:0,cuda:1"),
    ("launcher.workers=100000", "expected an integer ≥ 1 and ≤ 1024"),
    ("budget.steps=1000000000", "expected an integer ≥ 1 and ≤ 10000000"),
    ("model.hidden=[1000000]", "a list of integers ≥ 1 and ≤ 65536"),
    ("+optimizer.lr=1", "optimizer.lr is already there"),
    ("+optimizer.lr=1,2", "optimizer.lr is already there"),
    ("~optimizer.lr", "optimizer.lr is missing; expected a number ≥ 0"),
    ("~model", "model is missing"),
    ("hydra.launcher=joblib", "use launcher.workers=N"),
    ("hydra/launcher=joblib", "use launcher.workers=N"),
    ("hydra.searchpath=[x]", "use --config-dir DIR"),
    ("hydra.sweep.dir=x", "use --store PATH"),
    ("optimizer.lr=${oc.env:HOME}", "calls a resolver"),
    ("model.hidden=[${oc.decode:8}]", "calls a resolver"),
    ("optimizer.lr=${foo}", "Interpolation key 'foo' not found"),
    ("optimizer.lr=${optimizer.lr}", "Recursive interpolation"),
    ("study.name=../../x", "expected up to 64"),
    ("study.name=-x", "expected up to 64"),
    ("../../x", "cannot name a study"),
    ("study.blocks=[]", "cannot be set on the command line"),
    ("coupling study.name=x", "cannot rename coupling"),
    ("optimizer.lr=(", "cannot be read"),
    ("optimizer.lr=1,", "cannot be read: it ends with a comma"),
    ("optimizer.lr=choice(1,range(1,3))", "cannot be read"),
    ("=1", "there is no key ''"),
    ("~", "there is no key ''"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), REFUSED)
def test_what_cannot_mean_anything_is_one_sentence(words, expected):
    assert expected in refusal(*words.split(" "))


GARBAGE = [
    "optimizer.lr=" + "[" * 10_000,
    "optimizer.lr=" + "{a:" * 300,
    "optimizer.lr=" + "1," * 30_000,
    "optimizer.lr=" + "(" * 19,
    "x" * 100_000,
    "a\x00=1",
    "study.name=a\nb",
    "study=\u202ex",
    "${",
    "a=${" * 9,
]


@pytest.mark.parametrize("word", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_without_ado(word):
    refusal(word)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="optimizer.lr=0123,[]{}()$:~+'\"\\/@ *^-_x", max_size=24))
def test_no_word_ends_in_anything_but_a_refusal(text):
    from thalweg.runner.config.declare import _groups, _sort, _Typed, _words

    request = Request((text,))
    try:
        words, name = _words(request, _groups(request))
        _sort(words, _Typed(study=name), _groups(request), ())
    except ConfigError as error:
        assert "\n" not in error.message  # noqa: PT017


# --- the user's own folder

HEADER = "# @package _global_\n# A question?\n"
GRID = HEADER + "study:\n  axes: {optimizer.lr: '1e-3..1:1/dec'}\n"


@pytest.fixture
def folder(tmp_path):
    def write(text, path="study/mine.yaml"):
        file = tmp_path / "my conf" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return str(tmp_path / "my conf")

    return write


def test_a_study_of_ones_own_takes_two_lines(folder):
    wanted = study("mine", config_dir=folder(GRID))
    assert axes(wanted.blocks[0]) == {"optimizer.lr": [1e-3, 1e-2, 0.1, 1.0]}
    assert (wanted.name, wanted.metric, wanted.direction, wanted.overridden) == ("mine", "val/loss", "min", False)


def test_a_folder_adds_options_to_a_group(folder):
    where = folder("# Wide.\nname: mlp\nhidden: [512]\ninit_gain: 1\n", "model/wide.yaml")
    (one, two) = expand(study("model=wide,mlp", config_dir=where))
    assert (one.trial.config.model.hidden, two.axes["model"]) == ((512,), "mlp")
    assert ("wide", "Wide.") in groups(where)["model"]


def test_a_study_may_ask_several_questions_and_the_first_names_the_axes(folder):
    text = "analysis: {warmup: {lr: optimizer.lr, warmup: schedule.warmup}, sensitivity: {lr: optimizer.lr}}"
    asked = declare(Request(("mine",), folder(HEADER + f"study: {{{text}}}\n")))
    assert [(each.kind, each.keys) for each in asked.study.analyses] == [
        ("warmup", {"lr": "optimizer.lr", "warmup": "schedule.warmup"}),
        ("sensitivity", {"lr": "optimizer.lr"}),
    ]
    assert asked.study.analysis.against == "schedule.warmup"
    assert list(asked.study.document["analysis"]) == ["warmup", "sensitivity"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
COUPLING = "analysis: {coupling: {lr: optimizer.lr, wd: optimizer.weight_decay}}"
WRONG_FILES = [
    ("study: {axes: {optimizer.lr: 1..2:x2}}\n", "# @package _global_"),
    (HEADER + "study: {axis: {optimizer.lr: 1}}\n", "did you mean axes?"),
    (HEADER + "study: {blocks: [{name: a, axes: {}, expects: {}}]}\n", "did you mean expect?"),
    (HEADER + "study: {blocks: [{axes: {}}]}\n", "study.blocks[0].name is missing"),
    (HEADER + "study: {blocks: [{name: a}, {name: a}]}\n", "has the name 'a' twice"),
    (HEADER + "study: {blocks: [{name: a}], axes: {seed: 0..1}}\n", "blocks and a grid of its own"),
    (HEADER + "study: {axes: {lr: 1..2:x2}}\n", "did you mean optimizer.lr?"),
    (HEADER + "study: {axes: {lr_x_wd: 1}}\n", "vars: [lr_x_wd]"),
    (HEADER + "study: {axes: {engine.width: [1, 2]}}\n", "cannot be an axis"),
    (HEADER + "study: {axes: {optimizer.lr: []}}\n", "axis optimizer.lr has 0 values"),
    (HEADER + "study: {axes: {optimizer.lr: ''}}\n", "axis optimizer.lr has 0 values"),
    (HEADER + "study: {axes: {optimizer.lr: [0.1, x]}}\n", "neither a number nor a range"),
    (HEADER + "study: {axes: {optimizer.lr: [-1]}}\n", "optimizer.lr is -1.0; expected a number ≥ 0"),
    (HEADER + "study: {axes: {seed: 0..1}, replicate: {seed: 0..2}}\n", "the replicate axis and an axis"),
    (HEADER + "study: {axes: {seed: 0..1}, replicate: {dataset.split_seed: 0..2}}\n", "no seed can be chosen as best"),
    (HEADER + "study: {vars: [lambda]}\n", "study.vars holds 'lambda'"),
    (HEADER + "study: {vars: [x], axes: {x: [1, nan]}}\n", "write a finite number"),
    (HEADER + "study: {derive: {optimizer.lr: foo * 2}}\n", "reads 'foo'"),
    (HEADER + "study: {derive: {optimizer.lr: 'import os'}}\n", "not an expression"),
    (HEADER + "study: {derive: {optimizer.wd: 1}}\n", "did you mean optimizer.weight_decay?"),
    (HEADER + "study: {derive: {optimizer.lr: 1 / seed}}\n", "divides by zero at seed = 0"),
    (HEADER + "study: {derive: {optimizer.lr: optimizer.eps * 2, optimizer.eps: 1}}\n", "derived above it"),
    (HEADER + "study: {axes: {optimizer.lr: 1}, derive: {optimizer.lr: 1}}\n", "set by use or derive as well"),
    (HEADER + "study: {expect: {slope: -1, tolerance: 0.3}}\n", "expect but no analysis"),
    (HEADER + "study: {expect: {slope: x, tolerance: 0.3}, " + COUPLING + "}\n", "study.expect.slope is 'x'"),
    (HEADER + "study: {analysis: {coupling: {lr: optimizer.lr, wd: wd}}}\n", "study.analysis.coupling names 'wd'"),
    (HEADER + "study: {analysis: {warmup: {lr: optimizer.lr, warmup: 30}}}\n", "study.analysis.warmup.warmup is 30"),
    (HEADER + "study: {analysis: {sensitivity: {lr: model}}}\n", "study.analysis.sensitivity names 'model'"),
    (HEADER + "study: {analysis: {sensitivity: {lr: optimizer.lr, wd: seed}}}\n", "known here: lr"),
    (HEADER + "study: {analysis: {}, expect: {slope: -1, tolerance: 0.3}}\n", "expect but no analysis"),
    (HEADER + "study: {blocks: [{name: a, use: ['optimizer.lr=0.1,0.2']}]}\n", "use holds"),
    (HEADER + "study: {blocks: [{name: a, use: [optimizer=sdg]}]}\n", "did you mean optimizer=sgd?"),
    (HEADER + "study: {blocks: [{name: a, use: [engine=vmap]}]}\n", "use holds"),
    (HEADER + "study: {metric: 3}\n", "study.metric is 3"),
    (HEADER + "study: {direction: up}\n", "study.direction is 'up'"),
    (HEADER + "optimiser: {lr: 1}\n", "there is no key 'optimiser.lr'"),
    (HEADER + "optimizer: {lrr: 1}\n", "did you mean optimizer.lr?"),
    (HEADER + "budget: {steps: true}\n", "budget.steps is true; expected an integer ≥ 1"),
    (HEADER + "budget: {steps: '${oc.env:HOME}'}\n", "calls a resolver"),
    (HEADER + "study: {question: '${oc.env:HOME}'}\n", "calls a resolver"),
    (HEADER + "seed: !!python/object/apply:os.getcwd []\n", "the tag !!python/object/apply:os.getcwd means"),
    (HEADER + "seed: [\n", "cannot be read as YAML"),
    (HEADER + "optimizer: {lr: '???'}\n", "mine.yaml, line 3: lr is ???"),
    (HEADER + "optimizer.lr: ???\n", "mine.yaml, line 3: lr is ???"),
    (HEADER + "seed.x: 3\n", "seed is a section here; expected a value"),
    (HEADER + "precision: {x: 3}\n", "precision is a section here; expected a value"),
    (HEADER + "model.hidden.x: 8\n", "In 'study/mine'"),
    (HEADER + "model.depth: 8\n", "belongs to"),
    (HEADER + "optimizer.lrr: 8\n", "did you mean optimizer.lr?"),
    (HEADER + "optimizer.LR: 8\n", "did you mean optimizer.lr?"),
    (HEADER + "Optimizer: {lr: 8}\n", "did you mean optimizer.lr?"),
    (HEADER + "Study: {axes: {seed: 0..1}}\n", "there is no key 'Study.axes.seed'"),
    (HEADER + "budget:\n", "budget is null; expected a section with its keys"),
    (HEADER + "optimizer: null\n", "optimizer is null; expected a section with its keys"),
    (HEADER + "evaluation: 3\n", "evaluation is 3; expected a section with its keys"),
    (HEADER + "budget: [1]\n", "mine.yaml, line 3: budget is [1]; expected a section with its keys"),
    (HEADER + "optimizer: sgd\n", "defaults: [override /optimizer: sgd]"),
    (HEADER + "budget: {steps: }\n", "budget.steps is null; expected an integer"),
    (HEADER + "hydra: {run: {dir: x}}\n", "line 3: hydra is Hydra's own section"),
    (HEADER + "hydra.run.dir: x\n", "hydra is Hydra's own section"),
    (HEADER, "mine.yaml holds nothing; expected keys"),
    ("", "mine.yaml holds nothing; expected keys"),
    (HEADER + "- seed\n", "mine.yaml holds a list; expected keys"),
    (HEADER + "seed\n", "mine.yaml holds a value without a key; expected keys"),
    (HEADER + "seed: 1\n---\nseed: 2\n", "line 4: expected a single document"),
    (HEADER + "seed: 1\nseed: 2\n", "mine.yaml, line 4: the key seed is given twice"),
    (HEADER + "optimizer: {lr: 1}\noptimizer.lr: 2\n", "mine.yaml, line 4: the key optimizer.lr is given twice"),
    (HEADER + "optimizer: {lr: '${nope}'}\n", "mine.yaml, line 3: the configuration cannot be resolved: optimizer.lr:"),
    (HEADER + "budget: {steps: '${nope}'}\n", "mine.yaml, line 3: the configuration cannot be resolved: budget.steps:"),
    (HEADER + "optimizer.lr: '${seed'\n", "mine.yaml, line 3: the configuration cannot be composed: optimizer.lr:"),
    (HEADER + "defaults: [override /optimizer: no]\n", "line 3: override /optimizer is no"),
    (HEADER + "defaults:\n  - override /optimizer: nope\n", "mine.yaml, line 4: the configuration cannot be composed"),
    (HEADER + "defaults: [override /model: nothing]\n", "nothing"),
    (BOMB, "too large"),
    ("a: " + "[" * 5000 + "]" * 5000 + "\n", "too deeply nested"),
    ("a: &a [*a]\n", "too large"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG_FILES, ids=range(len(WRONG_FILES)))
def test_a_wrong_study_file_is_one_sentence(folder, text, expected):
    assert expected in refusal("mine", config_dir=folder(text))


def test_a_dotted_key_in_a_file_is_the_word_of_the_command_line(folder):
    """Every key of the default configuration, as a file and as a word."""
    usual = dict(flatten(declare(Request(())).base_config))
    lines = [f"{key}: {json.dumps(value)}" for key, value in usual.items() if not key.endswith(".name")]
    text = HEADER + "\n".join(lines) + "\n"
    text = text.replace("budget.batch_size: 32\n", "budget.batch_size: 33\n")
    (one,), (other,) = expand(study("mine", config_dir=folder(text))), expand(study("budget.batch_size=33"))
    assert one.trial.id == other.trial.id


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_key_that_a_hint_suggests_is_accepted_where_the_wrong_one_stood(data):
    usual = dict(flatten(declare(Request(())).base_config))
    key = data.draw(st.sampled_from(sorted(key for key in usual if not key.endswith(".name"))))
    place = data.draw(st.integers(0, len(key) - 1))
    wrong = data.draw(st.sampled_from([key[:place] + key[place + 1 :], key.upper(), key.rpartition(".")[2]]))
    with TemporaryDirectory() as where:
        file = Path(where, "study", "mine.yaml")
        file.parent.mkdir()
        file.write_text(f"{HEADER}{json.dumps(wrong)}: {json.dumps(usual[key])}\n")
        try:
            declare(Request(("mine",), where))
            return  # a key of its own, or the same one
        except ConfigError as error:
            meant = re.search(r"did you mean (.*)\?", error.hint or "")
        if meant and meant[1] in usual:
            file.write_text(f"{HEADER}{meant[1]}: {json.dumps(usual[meant[1]])}\n")
            declare(Request(("mine",), where))


def test_a_study_file_may_begin_with_the_mark_of_its_encoding(folder):
    assert len(expand(study("mine", config_dir=folder("\ufeff" + GRID)))) == 4


def test_a_value_to_be_given_later_may_stand_where_it_is_first_set(folder):
    where = folder("# Wide.\nname: mlp\nhidden: ???\ninit_gain: 1\n", "model/wide.yaml")
    assert "model.hidden is '???'" in refusal("model=wide", config_dir=where)
    assert len(expand(study("model=wide", "model.hidden=[8]", config_dir=where))) == 1


def test_a_file_that_ours_would_hide_is_named(folder):
    assert "would be hidden" in refusal(config_dir=folder("name: mlp\n", "model/mlp.yaml"))


def test_a_missing_folder_or_primary_file_is_one_sentence(folder):
    assert "is not a folder" in refusal(config_dir="/nowhere")
    assert "names no file" in refusal(config_name="nothing")
    assert "calls a resolver" in refusal(config_dir=folder("seed: ${oc.env:HOME}\n", "alone.yaml"), config_name="alone")


# --- what is shown


def test_every_option_has_a_description():
    found = groups()
    assert set(found) == {
        "model",
        "dataset",
        "scaling",
        "optimizer",
        "schedule",
        "sam",
        "clip",
        "average",
        "engine",
        "launcher",
        "tracker",
        "study",
    }
    assert all(text and len(text) <= 120 for options in found.values() for _, text in options)


OWN = ("dataset.path=here", "dataset.fingerprint=0a")
PARTNERS = {
    "model=planted": ("dataset=planted",),
    "model=gpt": ("dataset=stdlib", "dataset.fingerprint=0a"),
    "model=target": ("model._target_=torchvision.models.any",),
    "dataset=planted": ("model=planted",),
    "dataset=stdlib": ("model=gpt", "dataset.fingerprint=0a"),
    "dataset=text": ("model=gpt", *OWN),
    "dataset=table": OWN,
    "dataset=arrays": ("dataset.x=here", "dataset.y=there", "dataset.fingerprint=0a"),
    "dataset=image_folder": OWN,
    "dataset=target": ("dataset._target_=torchvision.datasets.Any",),
}
"""What an option needs beside it where it does not go with the defaults."""


def test_a_model_and_a_dataset_that_cannot_meet_are_refused():
    for words in (("model=planted",), ("dataset=planted",), ("model=planted,mlp",)):
        with pytest.raises(ConfigError, match=r"cannot read dataset=.*, whose examples are") as refused:
            declare(Request(words))
        assert "model=" in refused.value.hint


UNUSABLE = {
    "data.csv": ("a,y\n1,0\nnan,1\n", "dataset=table", "data.csv has 'nan' in line 3, column 'a'"),
    "words.csv": ("a,y\n1,red\n", "dataset=table", "words.csv has 'red' in line 2, column 'y'"),
    "short.txt": ("abc", "dataset=text", "short.txt has 3 characters, no window of dataset.context=64"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_files_that_cannot_be_trained_on_are_refused_when_they_are_declared(tmp_path, name):
    content, dataset, words = UNUSABLE[name]
    (tmp_path / name).write_text(content)
    model = ("model=gpt",) if dataset == "dataset=text" else ()
    with pytest.raises(ConfigError) as refused:
        declare(Request((dataset, f"dataset.path='{tmp_path / name}'", *model)))
    assert words in refused.value.message


def test_other_bytes_in_a_file_are_other_trials(tmp_path):
    seen = []
    for header in ("a,y", "a,y", "b,y"):
        (tmp_path / "data.csv").write_text(header + "\n" + "1,0\n2,1\n" * 20)
        declared = declare(Request(("dataset=table", f"dataset.path='{tmp_path / 'data.csv'}'")))
        seen.append([member.trial.id for member in expand(declared.study)])
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.long
def test_every_option_composes_and_yaml_mirrors_the_schema_key_for_key():
    for group, listed in groups().items():
        for option, _ in listed:
            composed = declare(Request((f"{group}={option}", *PARTNERS.get(f"{group}={option}", ()))))
            if group in ("model", "dataset", "optimizer", "schedule"):
                made = composed.base_config[group]
                assert set(made) == sections()[group][option_of(made)]


def test_the_job_can_be_read_back_and_resolved():
    from omegaconf import OmegaConf

    text = job(Request(("optimizer.lr=1/4", "optimizer.weight_decay=${optimizer.lr}")))
    assert OmegaConf.create(text).optimizer.weight_decay == 0.25
    assert "${optimizer.lr}" in text
    assert "${" not in job(Request(("optimizer.lr=1/4", "optimizer.weight_decay=${optimizer.lr}")), resolve=True)
    with pytest.raises(ConfigError):
        job(Request(("lr=0.1",)))


def test_info_names_folders_and_choices(folder):
    text = info(Request(("optimizer=sgd",), config_dir=folder(GRID)))
    assert "my conf" in text
    assert "optimizer: sgd" in text
    assert "mine" in text


def test_every_key_says_what_it_expects():
    assert all(leaf.expected for variants in leaves().values() for leaf in variants)


def test_importing_and_listing_groups_load_neither_hydra_nor_torch():
    program = (
        "import sys; from thalweg.runner.config import groups; import thalweg.runner.study.study; groups(); "
        "print([m for m in ('hydra', 'omegaconf', 'torch', 'wandb', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_configurations_made_in_parts_are_those_made_whole():
    words = ("optimizer=sgd,adamw", "optimizer.lr=0.1,0.2", "optimizer.weight_decay=0,1e-3", "seed=0..1", "clip=norm")
    more = ("clip.limit=1,2", "precision=float32,float64", "divergence.loss_factor=10,20", "budget.steps=1ep,100")
    declared = study(*words, *more, "schedule.warmup=5%,3", "dataset.label_noise=0,0.1")
    (block,) = declared.blocks
    whole = [
        Trial(stamped(trial_config(base.at({key: value for key, value in cell.items() if leaf_of(key)})))).id
        for base, cells in block.grids()
        for cell in cells
    ]
    assert [member.trial.id for member in expand(declared)] == whole
    assert len(set(whole)) == 1024


@pytest.mark.parametrize(
    "word",
    ["optimizer.lr=0.1,0.2,-1,0.3", "clip.limit=1,0,2", "precision=float32,float16", "seed=0,1,-1", "sam.rho=1,2"],
)
def test_a_wrong_value_is_named_by_its_key_wherever_it_stands(word):
    assert word.partition("=")[0] in refusal("clip=norm", "optimizer.weight_decay=0,1e-3", word)


@pytest.mark.parametrize("text", ["optimizer: {lr: 0.3}\n", "seed: 1\n", "study: {question: why}\n"])
def test_a_study_without_its_header_is_told_to_begin_with_it(tmp_path, text):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        declare(Request(("mine",), str(tmp_path)))
    assert "# @package _global_" in (refused.value.hint or "")


@pytest.mark.parametrize("key", sorted({*WRITTEN} - {"use"}))
def test_a_section_of_another_kind_is_told_how_it_is_written(key):
    written = yaml.safe_load(WRITTEN[key])
    analysis = {} if key == "analysis" else yaml.safe_load(WRITTEN["analysis"])
    assert read_section({"metric": "val/loss", **analysis, **written})
    with pytest.raises(ConfigError, match=rf"study\.{key} is .*; expected") as refused:
        read_section({"metric": "val/loss", key: 5})
    assert refused.value.hint == f"for example {WRITTEN[key]}"
