"""Zipped axes and excluded cells: which trials a declaration wants, and what of it is refused in a sentence."""

from textwrap import dedent, indent

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.planning.compare import compare
from thalweg.runner.study.study import expand

LR, BATCH, DECAY = "optimizer.lr", "budget.batch_size", "optimizer.weight_decay"
PAIR = f"pair=zip({LR}=choice(0.1,0.2,0.2),{BATCH}=choice(16,32,64))"


def study(*words, **folders):
    return declare(Request(words, **folders)).study


def points(declared, *keys):
    return [tuple(member.axes[key] for key in keys) for member in expand(declared)]


def refusal(*words, **folders):
    with pytest.raises(ConfigError) as caught:
        expand(study(*words, **folders))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def yaml(tmp_path):
    """Write the `study:` section of a study called `mine`, and return where it is."""

    def written(text):
        (tmp_path / "study").mkdir(exist_ok=True)
        body = indent(dedent(text).strip(), "  ")
        (tmp_path / "study" / "mine.yaml").write_text(f"# @package _global_\nstudy:\n{body}\n")
        return {"config_dir": str(tmp_path)}

    return written


def test_zipped_axes_take_their_values_together_and_multiply_the_others():
    found = points(study("optimizer=sgd", PAIR, f"{DECAY}=0,1e-3", "seed=0..1"), LR, BATCH, DECAY, "seed")
    pairs = ((0.1, 16), (0.2, 32), (0.2, 64))
    assert found == [(*pair, decay, seed) for decay in (0.0, 1e-3) for pair in pairs for seed in (0, 1)]


def test_a_zip_in_yaml_and_one_on_the_line_are_the_same_trials(yaml):
    where = yaml(f"zip: {{pair: {{{LR}: '0.1,0.2,0.2', {BATCH}: [16, 32, 64]}}}}")
    assert {m.trial.id for m in expand(study("mine", **where))} == {m.trial.id for m in expand(study(PAIR))}


def test_commas_within_a_zip_need_no_choice():
    short = f"pair=zip({LR}=0.1,0.2,0.2,{BATCH}=16,32,64)"
    assert points(study(short), LR, BATCH) == points(study(PAIR), LR, BATCH)


def test_ranges_and_groups_zip():
    assert points(study(f"pair=zip({LR}=1/4..1:x2,{BATCH}=16..18)"), LR, BATCH) == [(0.25, 16), (0.5, 17), (1.0, 18)]
    members = expand(study(f"pair=zip(model=mlp,linear,mlp,{LR}=0.1,0.2,0.3)", "seed=0..1"))
    assert sorted({(m.axes["model"], m.trial.config.model.name, m.axes[LR]) for m in members}) == [
        ("linear", "linear", 0.2), ("mlp", "mlp", 0.1), ("mlp", "mlp", 0.3)
    ]  # fmt: skip
    assert len(members) == 6


def test_equal_places_of_a_zip_are_one_point():
    assert points(study(f"pair=zip({LR}=0.1,0.1,{BATCH}=16,16)"), LR, BATCH) == [(0.1, 16)]


def test_a_zip_from_the_line_replaces_the_one_of_its_name_and_axes_that_it_has(yaml):
    where = yaml(f"zip: {{pair: {{{LR}: '0.1,0.2', {BATCH}: '16,32'}}}}\naxes: {{{DECAY}: '0,1e-3'}}")
    assert sorted(points(study("mine", PAIR, **where), LR, BATCH, DECAY))[-1] == (0.2, 64, 1e-3)
    other = f"other=zip({DECAY}=0.1,0.2,0.3,model.init_gain=1,2,3)"
    assert sorted({decay for _, decay in points(study("mine", other, **where), LR, DECAY)}) == [0.1, 0.2, 0.3]


def test_zips_are_named_apart_from_one_another_and_from_grids():
    names = {
        study(*words).name for words in ((PAIR,), (PAIR.replace("64", "65"),), (f"{LR}=0.1,0.2", f"{BATCH}=16,32,64"))
    }
    assert len(names) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((f"pair=zip({LR}=choice(0.1,0.2),{BATCH}=choice(16,32,64))",), f"of values: {LR} 2, {BATCH} 3"),
        ((PAIR, f"{LR}=0.1"), f"{LR} is given by itself and in the zip pair as well"),
        ((PAIR, f"two=zip({LR}=1,2,{DECAY}=0,1)"), f"{LR} is zipped twice"),
        ((f"pair=zip({LR}=0.1,0.2,seed=0,1)",), "seed repeats every cell"),
        (("pair=zip()",), "expected an axis"),
        (("pair=zip(3,4)",), "expected an axis"),
        ((f"pair=zip(inner=zip({LR}=1,2))",), "expected an axis"),
        ((f"pair=zip({LR}=,{BATCH}=16)",), "has 0 values"),
        ((f"optimizer=zip({LR}=1,2)",), "cannot name a zip"),
        ((f"{LR}=zip({LR}=1,2)",), "cannot name a zip"),
        ((f"seed=zip({LR}=1,2)",), "cannot name a zip"),
        ((f"pair=zip({LR}=1,2,engine.width=3,4)",), "cannot be an axis"),
        (("pair=zip(lr=1,2,bs=3,4)",), "did you mean optimizer.lr"),
        ((f"pair=zip({LR}=1,x,{BATCH}=3,4)",), "neither a number nor a range"),
        ((f"pair=zip(model=mlp,nothing,{LR}=3,4)",), "model has no option"),
    ],
)  # fmt: skip
def test_what_is_no_zip_is_refused_in_a_sentence(words, said):
    assert said in refusal(*words)


def test_one_axis_of_a_zip_cannot_be_given_alone(yaml):
    where = yaml(f"zip: {{pair: {{{LR}: '0.1,0.2', {BATCH}: '16,32'}}}}")
    assert "give the whole zip: pair=zip(" in refusal("mine", f"{LR}=0.3", **where)
    where = yaml(f"zip: {{pair: {{{LR}: '0.1,0.2', {BATCH}: '16,32'}}}}\naxes: {{{LR}: 0.1}}")
    assert "is an axis and in the zip pair as well" in refusal("mine", **where)


GRID = (f"{LR}=0.1,0.2,0.4", f"{DECAY}=0,0.1,0.2")


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        (f"{LR} > 0.15", 3),
        (f"{LR} * {DECAY} == 0.02", 7),  # 0.1 * 0.2 and 0.2 * 0.1, as written
        (f"not ({LR} == 0.1 or {DECAY} != 0)", 7),
        (f"'{LR} > 0.15'", 3),
        ("", 9),
    ],
)
def test_cells_of_which_the_condition_is_true_are_not_wanted(condition, left):
    declared = study(*GRID, f"study.exclude={condition}")
    plan = compare(declared, None)
    assert (plan.wanted, plan.excluded) == (left, 9 - left)


def test_a_condition_sees_groups_vars_derived_keys_and_durations_in_steps(yaml):
    where = yaml(
        f"""
        vars: [product]
        axes:
          {{model: "mlp,linear", product: "0.01,0.02", {LR}: "0.1,0.2",
            schedule.warmup: "5%,10%", budget.steps: "10,100"}}
        derive: {{{DECAY}: product / {LR}}}
        exclude: model == 'linear' or {DECAY} > 0.15 or schedule.warmup == 10 or product == 0.01
        """
    )
    found = points(study("mine", **where), "model", "product", LR, "schedule.warmup", "budget.steps")
    assert found == [("mlp", 0.02, 0.2, 1, 10), ("mlp", 0.02, 0.2, 5, 100), ("mlp", 0.02, 0.2, 1, 10)]


def test_cells_that_no_trial_can_have_may_be_excluded():
    words = ("budget.steps=10,100", "schedule.warmup=5,50")
    assert "expected at most budget.steps" in refusal(*words)
    assert len(expand(study(*words, "study.exclude=schedule.warmup > budget.steps"))) == 3


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (f"{LR} < 9", "leaves none of 9 cells"),
        ("lr < 9", f"did you mean {LR}?"),
        ("budget.steps > 3", "there is no 'budget.steps' here"),
        (f"{LR} = 0.1", "write == to compare"),
        (f"{LR} > 'a'", "by size"),
        (f"1 / {DECAY} > 3", f"divides by zero at {DECAY} = 0.0"),
    ],
)
def test_what_excludes_nothing_sensible_is_refused_in_a_sentence(condition, said):
    assert said in refusal(*GRID, f"study.exclude={condition}")


def test_an_exclusion_from_the_line_stands_in_place_of_the_files(yaml):
    where = yaml(f"axes: {{{LR}: '0.1,0.2,0.4'}}\nexclude: {LR} > 0.15")
    assert points(study("mine", **where), LR) == [(0.1,)]
    assert points(study("mine", f"study.exclude={LR} < 0.15", **where), LR) == [(0.2,), (0.4,)]
    assert len(points(study("mine", "study.exclude=", **where))) == 3


def test_a_study_whose_blocks_have_grids_has_none_of_its_own(yaml):
    where = yaml(f"exclude: {LR} > 1\nblocks: [{{name: a, axes: {{{LR}: [1, 2]}}}}]")
    assert "put exclude into the blocks" in refusal("mine", **where)


def test_widening_a_zip_keeps_the_ids_of_its_points():
    few = expand(study(f"pair=zip({LR}=0.1,0.2,{BATCH}=16,32)"))
    many = expand(study(f"pair=zip({LR}=0.1,0.2,0.3,{BATCH}=16,32,64)"))
    assert [m.trial.id for m in many][:2] == [m.trial.id for m in few]
