"""A repaired number is not the old number: a store of before the repairs, declared against afterwards.

store_v3.sql is a store of version 0.1.0 before any repair: 4 trials of the study `old`, two rates by two seeds.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thalweg.data.schema import TaskConfig
from thalweg.models.schema import MLPConfig
from thalweg.optim.schema import StandardSAMConfig
from thalweg.runner.cli import main
from thalweg.runner.config import Request, declare
from thalweg.runner.decide.points import member_at
from thalweg.runner.store import Store
from thalweg.runner.study import arithmetic
from thalweg.runner.study.arithmetic import Repair, earlier, stamped
from thalweg.runner.study.study import expand
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Budget, Trial

WORDS = (
    *("optimizer=sgd", "optimizer.lr=0.1,0.2", "seed=0,1", "model=mlp", "model.hidden=[4]", "dataset=digits"),
    *("dataset.train_size=64", "budget.steps=3", "schedule.warmup=0", "study.name=old", "tracker=none"),
)
HIGH = Repair(1, "high rates were read low", lambda config: config.optimizer.lr > 0.15)
ALL = Repair(2, "labels were shifted", lambda config: config.dataset.name == "digits")
NONE = Repair(3, "tables lost a row", lambda config: config.dataset.name == "table")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "old.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript((Path(__file__).parent / "store_v3.sql").read_text())
    db.close()
    return path


@pytest.fixture
def repairs(monkeypatch: pytest.MonkeyPatch):
    return lambda *those: monkeypatch.setattr(arithmetic, "REPAIRS", those)


def planned(store: Path, capsys: pytest.CaptureFixture) -> dict:
    assert main(["plan", *WORDS, "--store", str(store), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def ids() -> list[str]:
    return [member.trial.id for member in expand(declare(Request(WORDS)).study)]


def test_an_old_store_is_done_as_long_as_nothing_was_repaired(store, capsys) -> None:
    plan = planned(store, capsys)
    assert (plan["wanted"], plan["done"], plan["repaired"]) == (4, 4, {})


def test_a_repair_makes_the_trials_it_touches_missing_and_no_others(store, repairs, capsys) -> None:
    before = ids()
    repairs(HIGH, NONE)
    plan = planned(store, capsys)
    assert (plan["done"], plan["to_train"], plan["repaired"]) == (2, 2, {HIGH.what: 2})
    assert [a == b for a, b in zip(before, ids(), strict=True)] == [True, True, False, False]
    assert main(["plan", *WORDS, "--store", str(store)]) == 0
    assert "2 trials to train again, trained before this mistake was corrected: high rates were read low" in " ".join(
        capsys.readouterr().out.split()
    )


def test_the_old_ones_stay_stored_outside_the_study_and_the_new_take_their_place(store, repairs, capsys) -> None:
    with Store.open(store) as opened:
        weights = {record.trial_id: record.weight_hash for record in opened.export_rows()}
    repairs(HIGH)
    assert main(["sweep", *WORDS, "launcher.workers=1", "--store", str(store), "--yes"]) == 0
    with Store.open(store) as opened:
        rows = opened.study_rows("old")
        records = {record.trial_id: record.weight_hash for record in opened.export_rows()}
    assert sorted(row.config.get("arithmetic", 0) for row in rows if not row.outside) == [0, 0, 1, 1]
    assert [row.config["optimizer"]["lr"] for row in rows if row.outside] == [0.2, 0.2]
    assert len(records) == 6
    assert records.items() >= weights.items()
    capsys.readouterr()
    plan = planned(store, capsys)
    assert (plan["done"], plan["to_train"], plan["repaired"]) == (4, 0, {})


def test_a_second_repair_counts_each_trial_once_by_what_it_still_lacks(store, repairs, capsys) -> None:
    repairs(HIGH, ALL)
    plan = planned(store, capsys)
    assert (plan["to_train"], sum(plan["repaired"].values())) == (4, 4)
    assert set(plan["repaired"]) == {HIGH.what, ALL.what}


def test_a_trial_as_it_was_before_each_repair(repairs) -> None:
    low, high = (expand(declare(Request(WORDS)).study)[n].trial for n in (0, 2))
    repairs(HIGH, ALL, NONE)
    touched = [type(trial)(stamped(trial.config)) for trial in (low, high)]
    assert [trial.config.arithmetic for trial in touched] == [2, 2]
    assert [(old.config.arithmetic, repair) for old, repair in earlier(touched[0])] == [(0, ALL)]
    assert [(old.config.arithmetic, repair) for old, repair in earlier(touched[1])] == [(0, HIGH), (1, ALL)]
    assert earlier(low) == []


def test_a_point_that_is_added_to_an_old_study_trains_as_today(store, repairs) -> None:
    repairs(HIGH)
    with Store.open(store) as opened:
        (row, *_) = opened.study_rows("old")
    points = [member_at(row, None, {"optimizer.lr": rate}) for rate in (0.05, 0.4)]
    assert [point.trial.config.arithmetic for point in points if point] == [0, 1]


def test_no_configuration_sets_it() -> None:
    for word in ("arithmetic=1", "+arithmetic=1", "revision=abc"):
        assert main(["plan", *WORDS, word]) == 2


def test_repairs_are_numbered_in_order() -> None:
    numbers = [repair.number for repair in arithmetic.REPAIRS]
    assert numbers == sorted(set(numbers))
    assert all(number >= 1 for number in numbers)


SAM = StandardSAMConfig(name="standard", rho=0.05)
LOSS = TaskConfig(loss="mine.loss", label_smoothing=0.0)
NORMED = MLPConfig(name="mlp", hidden=(4,), init_gain=1.0, norm="batch")
OWN = ModelTarget(_target_="mine.Net", arguments=())
PARTS = Budget(steps=8, batch_size=4, accumulate=2)
TOUCHED: dict[str, tuple[dict[str, Any], int]] = {
    "SAM, a model of one's own": ({"model": OWN, "sam": SAM}, 7),
    "SAM, a loss of one's own, BatchNorm": ({"sam": SAM, "task": LOSS, "model": NORMED}, 7),
    "SAM, a loss of one's own": ({"sam": SAM, "task": LOSS}, 0),
    "SAM, BatchNorm": ({"sam": SAM, "model": NORMED}, 0),
    "parts, a model of one's own": ({"model": OWN, "budget": PARTS}, 8),
    "parts, a loss of one's own": ({"task": LOSS, "budget": PARTS}, 8),
    "parts": ({"budget": PARTS}, 0),
    "a model of one's own": ({"model": OWN}, 6),
}


@pytest.mark.parametrize("name", TOUCHED)
def test_a_repair_of_modules_of_a_trials_own_touches_no_others(name) -> None:
    changes, number = TOUCHED[name]
    plain = expand(declare(Request(WORDS)).study)[0].trial.config
    assert stamped(plain) == plain
    made = stamped(replace(plain, **changes))
    assert made.arithmetic == number
    if number > 6:
        before = [trial.config.arithmetic for trial, _ in earlier(Trial(made))]
        assert before == ([0, 6] if changes.get("model") is OWN else [0])
