"""Axes that are drawn: the words that say so, what they multiply, and what is refused in a sentence."""

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.planning.compare import compare
from thalweg.runner.study.study import expand

LR, BATCH, DECAY = "optimizer.lr", "budget.batch_size", "optimizer.weight_decay"
WORDS = ("optimizer=sgd", f"{LR}=1e-4..1:log", f"{DECAY}=0..0.5:lin", f"{BATCH}=16..128:log")


def members(*words, **folders):
    return expand(declare(Request(words, **folders)).study)


def points(found, *keys):
    return list(dict.fromkeys(tuple(member.axes[key] for key in keys) for member in found))


def test_drawn_axes_are_points_that_the_other_axes_multiply():
    found = members(*WORDS, "study.sample.n=3", "optimizer.momentum=0,0.9", "seed=0..1")
    assert len({member.trial.id for member in found}) == 12
    three = [(0.0546001, 0.278066, 82), (0.000546001, 0.0280663, 28), (0.546001, 0.403066, 17)]
    assert points(found, LR, DECAY, BATCH) == three
    assert {(m.trial.config.optimizer.lr, m.trial.config.budget.batch_size) for m in found} == {p[::2] for p in three}


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_more_points_keep_the_ids_of_those_there_are(method):
    few, many = (members(*WORDS, f"study.sample.n={n}", f"study.sample.method={method}") for n in (6, 12))
    assert [m.trial.id for m in many][:6] == [m.trial.id for m in few]


def test_hydras_intervals_are_ranges_to_draw_from():
    ours, hydras = (
        members(*words, "study.sample={n:4,method:random,seed:7}")
        for words in (WORDS[:3], ("optimizer=sgd", f"{LR}=tag(log,interval(1e-4,1))", f"{DECAY}=interval(0,0.5)"))
    )
    assert [m.trial.id for m in ours] == [m.trial.id for m in hydras]


def test_another_block_or_another_order_moves_no_point(tmp_path):
    (tmp_path / "study").mkdir()
    axes = f"axes: {{{LR}: '1e-4..1:log', {DECAY}: '0..0.5:lin'}}"
    one = f"{{name: one, use: [optimizer=sgd], sample: {{n: 4}}, {axes}}}"
    two = f"{{name: two, use: [optimizer=adamw], sample: {{n: 6, seed: 1}}, {axes}}}"
    for name, blocks in (("a", one), ("b", f"{two}, {one}")):
        (tmp_path / "study" / f"{name}.yaml").write_text(f"# @package _global_\nstudy: {{blocks: [{blocks}]}}\n")
    a, b = (members(name, config_dir=str(tmp_path)) for name in ("a", "b"))
    assert [m.trial.id for m in a] == [m.trial.id for m in b if m.block == "one"]
    assert points(a, LR, DECAY) == points(members("optimizer=sgd", *WORDS[2:0:-1], "study.sample.n=4"), LR, DECAY)
    more = members("b", "study.sample.n=8", config_dir=str(tmp_path))
    assert len(more) == 16


def test_drawn_points_may_be_excluded_and_derived_from():
    plan = compare(declare(Request((*WORDS, "study.sample.n=8", f"study.exclude={LR} > 0.1"))).study, None)
    assert (plan.wanted, plan.excluded) == (6, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((f"{LR}=1e-4..1:log",), "nothing says how many; write study.sample.n=60"),
        ((f"{LR}=1e-4..1:log,0", "study.sample.n=3"), "mixes a range to draw from with other values"),
        ((f"{LR}=0.1,0.2", "study.sample.n=3"), "no axis gives a range to draw from"),
        (("study.sample.n=3",), "no axis gives a range to draw from"),
        ((f"{LR}=0..1:log", "study.sample.n=3"), "start above 0, or write :lin"),
        ((f"{LR}=1..1e400:log", "study.sample.n=3"), "ends at 1e400, which no trial can have"),
        ((f"{BATCH}=0.4..8:log", "study.sample.n=3"), "draws whole numbers evenly in the logarithm"),
        ((f"{LR}=1e-4..1:log", "study.sample.n=0"), "study.sample.n is 0"),
        ((f"{LR}=1e-4..1:log", "study.sample.n=2000000"), "study.sample.n is 2000000"),
        ((f"{LR}=1e-4..1:log", "study.sample.n=1,2"), "study.sample.n is [1, 2]"),
        ((f"{LR}=1e-4..1:log", "study.sample={n:3,method:grid}"), "study.sample.method is 'grid'"),
        ((f"{LR}=1e-4..1:log", "study.sample={n:3,m:1}"), "there is no key 'study.sample.m'"),
        (("seed=0..9:lin", f"{LR}=1e-4..1:log", "study.sample.n=3"), "seed repeats every cell"),
        ((f"{LR}=1e-4..1:log", "optimizer.beta1=0..2:lin", "study.sample.n=9"), "optimizer.beta1 is"),
        ((f"pair=zip({LR}=1e-4..1:log,{BATCH}=16)",), "is not a range"),
        (("engine.width=1..9:lin", "study.sample.n=3"), "several values to a setting"),
        ((f"{LR}=1e-4..1:log", "study.sample=3"), "cannot be set on the command line"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(words, said):
    with pytest.raises(ConfigError) as caught:
        members(*words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
