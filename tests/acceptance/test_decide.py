"""Deciding on real results: recommend reads, refine adds what it showed, and a killed refinement is finished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desk import Desk

from thalweg.runner.cells.cells import panels
from thalweg.runner.cli import main
from thalweg.runner.decide import moves
from thalweg.runner.store import Store

TINY = (
    *("optimizer=sgd", "optimizer.lr=1/256..1/4:x4", "optimizer.weight_decay=0,1e-4..1e-2:x10", "seed=0..1"),
    *("budget.steps=30", "study.name=tiny", "tracker=none", "launcher.workers=1"),
)
SETTINGS = ("tracker=none", "launcher.workers=1")


@pytest.fixture
def look(decided: Desk, capsys):
    """Reads the store in this process: starting one for each look would take longer than the training."""

    def look(*words: str) -> str:
        assert main([*words, "--store", str(decided.store)]) == 0
        return capsys.readouterr().out

    return look


@pytest.fixture(scope="module")
def decided(desks) -> Desk:
    """A small study, swept, and refined once."""
    desk = desks("decided")
    desk.thalweg("sweep", *TINY)
    desk.seen["shown"] = desk.json("refine", "tiny")
    desk.seen["again"] = desk.json("refine", "tiny")
    desk.seen["before"] = desk.hashes()
    desk.thalweg("refine", "tiny", "--yes", *SETTINGS)
    return desk


@pytest.mark.long
@pytest.mark.slow
def test_looking_twice_shows_the_same_plan_and_trains_nothing(decided: Desk) -> None:
    assert decided.seen["shown"] == decided.seen["again"]
    assert decided.seen["shown"]["refinements"] == 0
    assert {move["kind"] for move in decided.seen["shown"]["moves"]} >= {"halve"}


@pytest.mark.long
def test_what_was_shown_is_what_is_trained_and_it_belongs_to_the_study(decided: Desk, look) -> None:
    proposed = {point["id"] for move in decided.seen["shown"]["moves"] for point in move["points"]}
    assert len(proposed) == decided.seen["shown"]["trials"]
    assert set(decided.hashes()) - set(decided.seen["before"]) == proposed
    members = {row["id"]: row for row in json.loads(look("ls", "tiny", "--json"))["trials"]}
    assert proposed < set(members)
    assert not any(row["outside"] for row in members.values())


@pytest.mark.long
def test_the_next_look_says_how_often_and_the_answer_is_marked_adaptive(decided: Desk, look) -> None:
    assert json.loads(look("refine", "tiny", "--json"))["refinements"] == 1
    for verb in (("refine", "tiny"), ("recommend", "tiny"), ("show", "tiny")):
        assert "Trials were added once after a look" in " ".join(look(*verb).split())
    assert json.loads(look("show", "tiny", "--json"))["refinements"] == 1
    assert json.loads(look("recommend", "tiny", "--json"))["refinements"] == 1


@pytest.mark.long
def test_a_killed_refinement_is_finished_before_anything_new_and_counts_once(decided: Desk, look) -> None:
    with Store.open(decided.store, "write") as store:
        record = store.study("tiny")
        rows = store.study_rows("tiny")
        added = [m for move in moves(panels(rows, record), record) for m in move.members][:3]
        assert store.refine("tiny", added, [{"kind": "seeds"}]) == 2
    plan = json.loads(look("refine", "tiny", "--json"))
    assert [move["kind"] for move in plan["moves"]] == ["finish"]
    assert {point["id"] for point in plan["moves"][0]["points"]} == {m.trial.id for m in added}
    after = json.loads(decided.thalweg("refine", "tiny", "--yes", "--json", *SETTINGS).stdout)
    assert after["refinements"] == 2
    assert {m.trial.id for m in added} < set(decided.hashes())
    assert "finish" not in {move["kind"] for move in after["moves"]}


@pytest.mark.long
def test_a_later_sweep_keeps_what_was_refined(decided: Desk, look) -> None:
    before = len(json.loads(look("ls", "tiny", "--json"))["trials"])
    refinements = json.loads(look("refine", "tiny", "--json"))["refinements"]
    decided.thalweg("sweep", *TINY)
    after = json.loads(look("ls", "tiny", "--json"))["trials"]
    assert len(after) == before
    assert not any(row["outside"] for row in after)
    assert json.loads(look("refine", "tiny", "--json"))["refinements"] == refinements >= 1


@pytest.mark.long
def test_recommend_reads_test_figures_of_one_cell_only(decided: Desk, look) -> None:
    found = json.loads(look("recommend", "tiny", "--json"))
    assert found["trained"] == len(decided.hashes())
    (found,) = found["recommendations"]
    assert set(found["test"]) >= {"test/accuracy", "test/loss"}
    assert "test" not in json.dumps([found["near_optimal"], found["others"], found["moves"]])
    assert found["near_optimal"][0] == found["best"]
    (rate,) = [bound for bound in found["bounds"] if bound["kind"] == "largest rate"]
    assert rate["value"] >= found["best"]["axes"]["optimizer.lr"]


REFUSED = [
    ("refine tiny optimizer.lr=1", "not a setting", "thalweg sweep"),
    ("refine tiny --moves all", "--moves all", "widen,halve,seeds"),
    ("refine tiny --panel other", "no panel 'other'", "grid"),
    ("refine tinny", "no study 'tinny'", "tiny"),
    ("refine tiny other", "two studies", "one at a time"),
    ("recommend tiny lr=1", "lr=1", "--help"),
]


@pytest.mark.long
@pytest.mark.parametrize(("command", "seen", "advice"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_mistake_is_one_sentence(decided: Desk, capsys, command: str, seen: str, advice: str) -> None:
    assert main([*command.split(), "--store", str(decided.store)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert seen in err
    assert advice in err


@pytest.mark.parametrize("verb", ["recommend", "refine"])
def test_without_a_store_there_is_nothing_to_decide(tmp_path: Path, capsys, verb: str) -> None:
    path = tmp_path / "none.sqlite"
    assert main([verb, "--store", str(path)]) == 0
    assert main([verb, "--json", "--store", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1
    assert main([verb, "smoke", "--store", str(path)]) == 5
    assert f"there is no store at {path}" in capsys.readouterr().err
    assert not path.exists()


def test_a_study_that_was_never_trained_is_sent_to_sweep(tmp_path: Path, capsys) -> None:
    from thalweg.runner.config import Request, declare
    from thalweg.runner.study.study import expand

    study = declare(Request(TINY)).study
    with Store.open(tmp_path / "s.sqlite", "write") as store:
        store.declare(study, expand(study))
    where = ["--store", str(tmp_path / "s.sqlite")]
    assert main(["refine", "tiny", *where]) == 2
    assert "thalweg sweep tiny" in capsys.readouterr().err
    assert main(["recommend", "tiny", *where]) == 0
    out, err = capsys.readouterr()
    assert "nothing is trained yet" in out
    assert "thalweg sweep tiny" in err
