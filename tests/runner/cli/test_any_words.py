"""Whatever words a study is declared with, and declared again, every verb that reads it works."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended import Desk, diverged, failed, finished, guessed, mixed

from thalweg.runner.config import Declaration, Request
from thalweg.runner.config import declare as really_declare

CODES = (0, 2, 3)
"""Well, a sentence about what was typed, and trials that failed."""
READING = [
    ["ls"],
    ["ls", "mine"],
    ["show", "mine"],
    ["show", "mine", "--maps"],
    ["show", "mine", "--rows"],
    ["best", "mine"],
    ["recommend", "mine"],
    ["analyze", "mine"],
    ["refine", "mine"],
]
GROUPS = [
    *("optimizer=sgd", "optimizer=sgd,adamw", "optimizer=adamw,lion,sgd", "model=linear", "model=linear,mlp"),
    *("model=mlp,mlp_scale_invariant", "dataset=noisy_regression,digits", "schedule=constant,warmup_cosine"),
    *("sam=none,standard", "clip=none,norm", "model=small,mlp"),
]
VALUES = [
    *("optimizer.lr=0.1,0.3", "optimizer.lr=1/64..1:x4", "optimizer.lr=0.1234,0.1235", "optimizer.weight_decay=0,0.1"),
    *("optimizer.decay=independent", "optimizer.decay=decoupled,independent", "optimizer.momentum=0,0.9"),
    *("model.hidden=[8]", "model.hidden=[8],[16,16]", "model.hidden=[],[4]", "dataset.label_noise=0,0.4"),
    *("budget.steps=10,20", "budget.steps=1ep", "schedule.warmup=0,5%", "precision=float32,float64"),
    *("task.label_smoothing=0,0.1", "task.label_smoothing=0.1", "lr_x_wd=0,0.1", "lr_x_wd=0.05", "model.hidden=null"),
]
SEEDS = ["seed=1", "seed=0..2", "seed=3,4"]
ABOUT = ["study.metric=val/accuracy", "study.metric=train/loss", "study.metric=val/nothing", "study.direction=max"]
WORDS = st.lists(st.sampled_from([*GROUPS, *VALUES, *SEEDS, *ABOUT]), max_size=2, unique_by=lambda w: w.split("=")[0])
FATES = st.sampled_from([mixed, finished, guessed, diverged, failed])
LINES = st.tuples(st.sampled_from([["study.name=mine"], ["mine"], ["mine"]]), WORDS, FATES)

SMALL = "name: mlp\nhidden: [8]\ninit_gain: 1.0\nnorm: none\ndropout: 0.0\n"
STUDY = """# @package _global_
# A study of the tests.
budget: {steps: 10}
study:
  question: coupled?
  replicate: {seed: 0..1}
  vars: [lr_x_wd]
  blocks:
    - name: A
      axes: {optimizer.lr: "1/4,1/2", lr_x_wd: "0,0.1"}
      derive: {optimizer.weight_decay: lr_x_wd / optimizer.lr}
    - {name: B, axes: {optimizer: "adamw,sgd", optimizer.lr: "1/4..2:x2"}}
  analysis: {coupling: {lr: optimizer.lr, wd: optimizer.weight_decay}, sensitivity: {lr: optimizer.lr}}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    for group, option, text in (("study", "mine", STUDY), ("model", "small", SMALL)):
        folder.joinpath("conf", group).mkdir(parents=True)
        folder.joinpath("conf", group, f"{option}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("THALWEG", "WANDB"))]:
            patch.delenv(name)
        patch.setattr("thalweg.runner.config.declare", cache(_declared))  # composing is most of the time
        yield Desk(folder, patch)


def _declared(request: Request) -> Declaration:
    return really_declare(request)


def worked(desk: Desk, *words: str) -> str:
    code, out, err = desk(*words, "--store", "s.sqlite")
    assert code in CODES, err
    assert (code == 2) == ("error: " in err), err
    if "--json" in words and code == 0:
        json.loads(out, parse_constant=pytest.fail)
    return out


@pytest.mark.long
@settings(max_examples=4)
@given(st.lists(LINES, min_size=1, max_size=4))
def test_whatever_is_declared_one_after_another_all_that_reads_works(desk: Desk, lines) -> None:
    Path("s.sqlite").unlink(missing_ok=True)
    for name, words, fate in lines:
        desk.fate = fate
        words = [*name, "--config-dir", "conf", "tracker=none", "budget.steps=10", *words]
        worked(desk, "plan", "--json", *words)
        worked(desk, "sweep", *words)
    if Path("s.sqlite").exists():
        for verb in READING:
            worked(desk, *verb)
            if not {"--maps", "--rows"} & {*verb}:
                worked(desk, *verb, "--json")
        worked(desk, "report", "mine")
        worked(desk, "refine", "mine", "--yes")


def axes(desk: Desk) -> list[dict[str, object]]:
    return [trial["axes"] for trial in json.loads(worked(desk, "ls", "mine", "--json"))["trials"]]


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "then", "key", "expected"),
    [
        ("optimizer=sgd", "optimizer=sgd,adamw", "optimizer", {"sgd", "adamw"}),
        ("model=small", "model=small,mlp", "model", {"small", "mlp"}),
        ("model=small", "model=mlp,linear", "model", {"mlp", "linear"}),
        ("model.hidden=[8]", "model.hidden=[8],[16,16]", "model.hidden", {"[8]", "[16,16]"}),
        ("schedule.warmup=5%", "schedule.warmup=0,2", "schedule.warmup", {0, 1, 2}),
        ("seed=0", "seed=1,2", "seed", {0, 1, 2}),
    ],
)
def test_trials_of_before_lie_on_the_axes_that_come_later(desk: Desk, before, then, key, expected) -> None:
    Path("s.sqlite").unlink(missing_ok=True)
    desk.fate = finished
    common = ("study.name=mine", "--config-dir", "conf", "tracker=none", "budget.steps=10")
    worked(desk, "sweep", *common, before, "optimizer.lr=0.1,0.3")
    worked(desk, "sweep", *common, then, "optimizer.lr=0.1")
    assert {each[key] for each in axes(desk)} == expected


def test_a_metric_alone_declares_no_trial_that_nobody_asked_for(desk: Desk) -> None:
    Path("s.sqlite").unlink(missing_ok=True)
    desk.fate = finished
    common = ("sweep", "study.name=mine", "tracker=none", "budget.steps=10", "--store", "s.sqlite")
    desk(*common, "optimizer.lr=0.1,0.3", "seed=0..2")
    code, _, err = desk("sweep", "study.name=mine", "study.metric=val/accuracy", "tracker=none", "--store", "s.sqlite")
    assert code == 2
    assert "holds 6 trials, and these words name no axis or value of them" in err
    hint = next(line for line in err.splitlines() if line.startswith("hint: say which: thalweg "))
    code, _, err = desk(*hint.removeprefix("hint: say which: thalweg ").split(), "--store", "s.sqlite")
    assert code == 0
    assert "nothing to train: 6 of 6 trials are done" in err


def test_panels_whose_names_agree_in_their_first_digits_are_two(desk: Desk) -> None:
    Path("s.sqlite").unlink(missing_ok=True)
    desk.fate = finished
    grid = ("optimizer.lr=0.1,0.2", "optimizer.weight_decay=0.1,0.2", "task.label_smoothing=0.12341,0.12342")
    worked(desk, "sweep", "study.name=mine", "tracker=none", "budget.steps=10", *grid)
    cut = json.loads(worked(desk, "show", "mine", "--json"))["panels"]
    assert [panel["wanted"] for panel in cut] == [4, 4]
    assert len({panel["name"] for panel in cut}) == 2


def test_trials_of_one_of_several_options_alike_are_told_by_what_is_fixed(desk: Desk) -> None:
    Path("s.sqlite").unlink(missing_ok=True)
    desk.fate = finished
    common = ("sweep", "study.name=mine", "--config-dir", "conf", "tracker=none", "budget.steps=10")
    worked(desk, *common, "model=small", "optimizer.lr=0.1,0.3")
    worked(desk, *common, "model=small,mlp", "optimizer.lr=0.1")
    found = {(each["optimizer.lr"], each["model"]) for each in axes(desk)}
    assert found == {(0.1, "small"), (0.3, "small"), (0.1, "mlp")}
