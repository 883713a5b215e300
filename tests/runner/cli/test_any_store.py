"""Every verb that reads, on every state that a store can be in: it works, or says in a sentence why not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pretended import Desk, diverged, failed, finished, guessed, mixed

from thalweg.runner import page
from thalweg.runner.facts.observation import Observations
from thalweg.runner.store import Store
from thalweg.runner.study.trial import Trial

VERBS = [
    *(["ls"], ["ls", "mine"], ["show", "mine"], ["show", "mine", "--maps"], ["show", "mine", "--rows"]),
    *(["best", "mine"], ["recommend", "mine"], ["analyze", "mine"], ["report", "mine"], ["refine", "mine"]),
    *(["ls", "--json"], ["ls", "mine", "--json"], ["show", "mine", "--json"], ["best", "mine", "--json"]),
    *(["recommend", "mine", "--json"], ["analyze", "mine", "--json"], ["refine", "mine", "--json"]),
    *(["ls", "mine", "--metric", "val/accuracy"], ["show", "mine", "--metric", "val/accuracy", "--json"]),
    *(["best", "mine", "--metric", "train/loss"], ["recommend", "mine", "--metric", "val/accuracy"]),
    *(["report", "mine", "--metric", "val/accuracy"], ["best", "mine", "--metric", "val/accuracy", "--json"]),
]
TABLES = [
    *(["ls", "mine", "outcome == 'finished'"], ["ls", "outcome == 'pruned'"], ["ls", "--since", "2999-01-01"]),
    *(["ls", "mine", "--csv"], ["ls", "mine", "--csv", "--metric", "val/accuracy"], ["diff", "mine", "mine"]),
    *(["export", "mine"], ["export", "mine", "--curves", "all"], ["gc"]),
]
"""Of trials alone: no answer that could need a word of caution."""
GRID = ("optimizer.lr=1/8..1:x2", "optimizer.weight_decay=0,0.001..1:x10", "seed=0..1")
OWN_LOSS = ("task.loss=model", "model=target", "model._target_=torch.nn.Linear")
COUPLED = """# @package _global_
# A study of the tests.
study:
  question: coupled?
  replicate: {seed: 0..1}
  axes: {optimizer.lr: "1/8..1:x2", optimizer.weight_decay: "0.001..1:x10"}
  analysis:
    coupling: {lr: optimizer.lr, wd: optimizer.weight_decay}
    warmup: {lr: optimizer.lr, warmup: schedule.warmup}
    sensitivity: {lr: optimizer.lr}
"""


def sweep(desk: Desk, *words: str, fate: Callable[[Trial], Observations] = finished) -> None:
    desk.fate = fate
    code, _, err = desk("sweep", "study.name=mine", "tracker=none", "budget.steps=10", *words)
    assert code in (0, 3), err


def with_questions(desk: Desk, fate: Callable[[Trial], Observations] = finished) -> None:
    folder = desk.folder / "conf" / "study"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(COUPLED)
    desk.fate = fate
    code, _, err = desk("sweep", "mine", "--config-dir", "conf", "tracker=none", "budget.steps=10")
    assert code in (0, 3), err


def empty(desk: Desk) -> None:
    Store.open("results/thalweg.sqlite", "write").close()


def half_done(desk: Desk) -> None:
    sweep(desk, "optimizer.lr=1/8,1/4", "seed=0..1")
    declared = page.declare("study.name=mine", "budget.steps=10", *GRID)
    with Store.open("results/thalweg.sqlite", "write") as store:
        page.record(page.plan(declared.study, store), store)


def unequal_seeds(desk: Desk) -> None:
    sweep(desk, "optimizer.lr=0.1,0.3", "seed=0..3")
    sweep(desk, "optimizer.lr=0.3,1", "seed=4,5")
    sweep(desk, "optimizer.lr=3")


def foreign(trial: Trial) -> Observations:
    return replace(finished(trial), metrics={"val/elsewhere": 1.0})


def loss_of(value: Callable[[Trial], float]) -> Callable[[Trial], Observations]:
    """A fate whose loss is this, but for seeds, which scatter little."""
    return lambda trial: finished(trial, value(trial) * (1 + 0.001 * (trial.config.seed % 3)))


def in_between(trial: Trial) -> Observations:
    """No better than guessing, and worst at both ends: the rate is not to blame."""
    loss = 2.4 if trial.config.optimizer.lr == 1 else 4.0
    return replace(finished(trial), metrics={"train/loss": loss, "val/loss": loss, "val/accuracy": 0.1})


by_rate = loss_of(lambda trial: 0.5 + trial.config.optimizer.lr)
by_name = loss_of(lambda trial: 0.5 + (trial.config.optimizer.name == "sgd"))
by_dropout = loss_of(lambda trial: 1.5 - trial.config.model.dropout)
by_both = loss_of(lambda trial: 1.5 - trial.config.model.dropout + abs(trial.config.optimizer.lr - 1))
near_one = loss_of(lambda trial: 0.5 + abs(trial.config.optimizer.lr - 1))


def confounded(desk: Desk) -> None:
    with_questions(desk)
    words = ("model.hidden=[8]", "optimizer.lr=2,4", "budget.steps=10", "tracker=none")
    code, _, err = desk("sweep", "mine", "--config-dir", "conf", *words)
    assert code == 0, err


STATES: dict[str, Callable[[Desk], None]] = {
    "empty": empty,
    "one trial": sweep,
    "all diverged": partial(with_questions, fate=diverged),
    "all failed": partial(with_questions, fate=failed),
    "all at chance": partial(with_questions, fate=guessed),
    "one cell": lambda desk: sweep(desk, "seed=0..3"),
    "one seed": lambda desk: sweep(desk, *GRID[:2]),
    "unequal seeds": unequal_seeds,
    "half done": half_done,
    "foreign metrics": partial(with_questions, fate=foreign),
    "mixed": partial(with_questions, fate=mixed),
    "without questions": lambda desk: sweep(desk, *GRID, fate=mixed),
    "confounded": confounded,
    "several data": lambda desk: sweep(desk, "dataset=digits,noisy_regression", *GRID[:1], fate=mixed),
    "several data of one kind": lambda desk: sweep(desk, "dataset.label_noise=0,0.4", *GRID[:2], fate=mixed),
    "rates from 0": lambda desk: sweep(desk, "optimizer.lr=0,1/8,1", "seed=0..1", fate=guessed),
    "beyond all floats": lambda desk: sweep(desk, *OWN_LOSS, *GRID, fate=lambda trial: finished(trial, 1.6e308)),
    "by accuracy": lambda desk: sweep(desk, *GRID, "study.metric=val/accuracy", fate=mixed),
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in [name for name in os.environ if name.startswith(("THALWEG", "WANDB"))]:
        monkeypatch.delenv(name)
    return Desk(tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
def test_every_verb_reads_every_store(desk: Desk, state: str) -> None:
    STATES[state](desk)
    for words in (*VERBS, *TABLES):
        code, out, err = desk(*words)
        assert code in (0, 2), (words, err)
        assert (code == 2) == err.startswith("error: "), (words, err)
        if "--json" in words and not code:
            json.loads(out, parse_constant=pytest.fail)


INSIDE = "the best lies inside the grid"
ROWS = ("model.dropout=0.5,0.7,0.9", "optimizer.lr=0.88,1,1.136")
WHY_NONE = {
    "nothing beats guessing": (("optimizer.lr=0.1..10:x10", "seed=0..2"), in_between, (), ""),
    "two values": (("optimizer.lr=0.1,0.3", "seed=0..2"), by_rate, (), "an axis of two values is a comparison"),
    "names alone": (("optimizer=sgd,adamw", "seed=0..2"), by_name, (), "there is no axis of numbers"),
    "at an end": (("model.dropout=0.5,0.7,0.9", "seed=0..2"), by_dropout, (), "no value lies beyond: dropout"),
    "at an end of its rows": ((*ROWS, "seed=0..2"), by_both, (), "no value lies beyond: dropout"),
    "left out": (("optimizer.lr=0.1..10:x10", "seed=0..2"), by_rate, ("--moves", "seeds"), "--moves leaves out widen"),
    "inside": (("optimizer.lr=0.88,1,1.136", "seed=0..2"), near_one, (), INSIDE),
}


@pytest.mark.parametrize("case", WHY_NONE)
def test_why_there_is_nothing_to_add_is_true(desk: Desk, case: str) -> None:
    words, fate, more, expected = WHY_NONE[case]
    sweep(desk, *words, fate=fate)
    code, out, err = desk("refine", "mine", *more)
    assert code == 0, err
    said = " ".join(out.split())
    assert ("Nothing to add: " if expected else "Nothing to add.") + expected in said
    assert (INSIDE in said) is (expected == INSIDE)
    if not more:
        said = " ".join(desk("recommend", "mine")[1].split())
        assert ("Nothing more is proposed: " in said) is bool(expected)
        assert expected in said


@pytest.mark.parametrize("words", [["mine"], ["mine", "seed == 0"], ["seed == 0"], ["mine", "-n", "3"]])
def test_a_listing_shows_the_metric_that_is_asked_for(desk: Desk, words: list[str]) -> None:
    sweep(desk, *GRID)
    code, out, err = desk("ls", *words, "--metric", "val/accuracy")
    assert code == 0, err
    assert "val/accuracy" in out
    assert "val/loss" not in out.replace("own metric is val/loss", "")


@pytest.mark.slow
def test_every_verb_reads_ten_thousand_cells(desk: Desk) -> None:
    sweep(desk, "optimizer.lr=0.001..1:100log", "optimizer.weight_decay=0.001..1:100log", "--yes")
    for words in VERBS:
        code, _, err = desk(*words)
        assert code in (0, 2), (words, err)


PARTS = {
    "answer": "thalweg.runner.terminal.answer.show_answer",
    "report": "thalweg.runner.page.report",
    "next step": "thalweg.runner.cli.afterwards._say_next",
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("fate", "expected"), [(finished, 4), (failed, 3)])
def test_what_follows_training_may_fail_alone(desk: Desk, monkeypatch, part, fate, expected) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise ValueError("min() of nothing\nmore")

    monkeypatch.setattr(PARTS[part], breaks)
    desk.fate = fate
    code, out, err = desk("sweep", "study.name=mine", "tracker=none", "budget.steps=10", *GRID)
    assert code == expected
    assert f"no {part}: internal: ValueError: min() of nothing" in err.splitlines()
    assert "40 finished" in err or "40 failed" in err
    assert (part == "report") != any(line.startswith("report: ") for line in err.splitlines())
    assert (part == "answer") or out


@pytest.mark.long
@pytest.mark.parametrize("moment", ["thalweg.runner.page.plan", "thalweg.runner.page.record"])
@pytest.mark.parametrize("gone", ["rm mine --yes", "rename mine other", "rm FIRST --yes"])
def test_what_is_removed_while_a_sweep_begins_is_said(desk: Desk, monkeypatch, moment: str, gone: str) -> None:
    """Between its plan and the store's knowing that it trains, a sweep holds nothing."""
    sweep(desk, "optimizer.lr=0.1,0.3", "seed=0..1")
    name = moment.rpartition(".")[2]
    first = json.loads(desk("ls", "mine", "--json")[1])["trials"][0]["id"]
    really, said = getattr(page, name), []

    def then_removed(*given: Any, **named: Any) -> Any:
        found = really(*given, **named)
        monkeypatch.setattr(moment, really)
        said.append(desk(*gone.replace("FIRST", first).split())[0])
        return found

    monkeypatch.setattr(moment, then_removed)
    words = ("sweep", "study.name=mine", "tracker=none", "budget.steps=10", "optimizer.lr=0.1..1:4log", "seed=0..1")
    code, _, err = desk(*words)
    assert said == [0]
    renamed_before_it_is_written = gone.startswith("rename") and name == "plan"
    assert code == (0 if renamed_before_it_is_written else 2), err
    assert ("error: another command removed" in err) is (code == 2)
    assert desk(*words)[0] == 0
    assert json.loads(desk("ls", "mine", "--json")[1])["trials"][0]["outcome"] == "finished"


def test_a_failed_export_is_said_and_the_results_are_kept(desk: Desk, monkeypatch) -> None:
    from thalweg.runner.cli import mirror

    def breaks(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirror, "after", breaks)
    desk.fate = finished
    code, _, err = desk("sweep", "study.name=mine", "budget.steps=10", "tracker=wandb", *GRID)
    assert code == 4
    assert "no export: internal: OSError: [Errno 28] No space left on device" in err
    assert json.loads(desk("ls", "--json")[1])["studies"][0]["finished"] == 40


def test_a_proposal_that_fails_after_training_is_said_and_the_results_are_kept(desk: Desk, monkeypatch) -> None:
    sweep(desk, *GRID)
    from thalweg.runner import decide

    calls, moves = [], decide.moves

    def breaks(*given: Any) -> Any:
        calls.append(given)
        if len(calls) > 2:  # proposed, looked at again, and once more at the end
            raise ValueError("min() of nothing\nmore")
        return moves(*given)

    monkeypatch.setattr("thalweg.runner.decide.moves", breaks)
    code, out, err = desk("refine", "mine", "--yes", "--json", "tracker=none")
    assert (code, out) == (4, "")
    assert "no proposal: internal: ValueError: min() of nothing" in err.splitlines()
    assert json.loads(desk("ls", "--json")[1])["studies"][0]["finished"] > 40


def test_code_of_a_metric_that_measured_otherwise_is_said_by_plan(desk: Desk) -> None:
    (desk.folder / "thalweg.yaml").write_text("code: [mine, other]")
    (desk.folder / "mine.py").write_text("def top(outputs, y): ...")
    (desk.folder / "other.py").write_text("def top(outputs, y): ...")
    words = ("study.name=mine", "tracker=none", "budget.steps=10", "seed=0..2")
    top = "evaluation.metrics=[mine.top]"
    desk.fate = finished
    assert desk("sweep", *words, top)[0] == 0
    assert "measured" not in desk("plan", *words, top)[1]
    said = "3 trials were measured by an earlier mine.top, and these values stay"
    assert said in desk("plan", *words, "evaluation.metrics=[other.top]")[1]
    (desk.folder / "mine.py").write_text("def top(outputs, y): return y")
    assert said in desk("plan", *words, top)[1]
    assert said in desk("sweep", *words, top)[2]
    assert json.loads(desk("plan", *words, top, "--json")[1])["measured_before"] == {"mine.top": 3}
    (desk.folder / "mine.py").write_text("def top(outputs, y): ...")
    assert "measured" not in desk("plan", *words, top)[1]


@pytest.mark.parametrize(
    "name", ["loss", "accuracy", "calibration_error", "r2", "bits_per_character", "batch_loss", "top"]
)
def test_a_metric_by_the_name_of_what_is_measured_anyhow_is_refused(desk: Desk, name: str) -> None:
    (desk.folder / "thalweg.yaml").write_text("code: [mine]")
    (desk.folder / "mine.py").write_text(f"def {name}(outputs, y): ...")
    words = ("study.name=mine", "tracker=none", "budget.steps=10", f"evaluation.metrics=[mine.{name}]")
    code, _, err = desk("plan", *words)
    assert (code == 2) == (f"but {name} is measured already" in err) == (name != "top"), err


@pytest.mark.long
@pytest.mark.parametrize("words", [words for words in VERBS if "mine" in words and "--metric" not in words])
def test_every_verb_says_what_is_confounded(desk: Desk, words: list[str]) -> None:
    confounded(desk)
    code, out, err = desk(*words)
    assert code == 0, err
    said = (desk.folder / "results" / "mine.html").read_text() if words[0] == "report" else out
    assert "model.hidden never differs alone, but only along with" in " ".join(said.split())
    if "--json" in words and words[0] == "recommend":
        small, large = sorted(json.loads(out)["recommendations"], key=lambda found: len(found["apart"]))
        assert [small["apart"], large["apart"]] == ["hidden=[8]", "hidden=[32,32]"]
        for found in (small, large):
            assert found["apart"] in found["panel"]
            assert {f"hidden={cell['axes']['model.hidden']}" for cell in found["near_optimal"]} == {found["apart"]}
            assert not found["others"]
    if words == ["recommend", "mine"]:
        assert [line for line in out.splitlines() if line.startswith("On ")] == [
            "On digits, hidden=[32,32]:",
            "On digits, hidden=[8]:",
        ]


@pytest.mark.parametrize(
    "words", [*(words for words in VERBS if "mine" in words and words[0] != "analyze"), ["sync", "mine"]]
)
def test_a_study_that_is_named_is_missed_where_there_is_no_store(desk: Desk, words: list[str]) -> None:
    code, out, err = desk(*words)
    assert (code, out) == (5, ""), (words, err)
    assert err.startswith(f"error: there is no store at {Path('results/thalweg.sqlite').absolute()}"), words
    assert not Path("results").exists()


@pytest.mark.parametrize("words", [["ls"], ["show"], ["best"], ["recommend"], ["refine"], ["sync"], ["best", "--json"]])
def test_without_a_store_and_a_name_nothing_is_wrong(desk: Desk, words: list[str]) -> None:
    code, out, err = desk(*words)
    assert code == 0, err
    assert err.startswith("no store at ")
    assert json.loads(out)["study"] is None if "--json" in words else out == ""


def test_answers_of_several_questions_are_not_called_panels(desk: Desk) -> None:
    with_questions(desk, by_rate)
    _, out, _ = desk("show", "mine")
    assert "3 answers looked at" in " ".join(out.split())
