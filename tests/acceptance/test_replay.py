"""What was trained comes out again, and the report says of how much of a study that was seen."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest
from desk import Desk
from safetensors import safe_open
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def copied(swept: Desk, desks) -> Desk:
    """A copy of the small study, to write to."""
    desk = desks("copied")
    shutil.copytree(swept.folder / "results", desk.folder / "results")
    return desk


def changed(desk: Desk, sql: str) -> None:
    db = sqlite3.connect(desk.store)
    with db:
        db.execute(sql)
    db.close()


@pytest.mark.long
def test_an_audit_says_what_it_bounds_and_the_report_shows_it(copied: Desk) -> None:
    said = copied.thalweg("audit", "smoke", "-n", "20").stdout
    assert "smoke: 20 of 20 came out again: fewer than 14% of trials would not, 95% confidence" in " ".join(
        said.split()
    )
    copied.thalweg("report", "smoke")
    page = (copied.folder / "results" / "smoke.html").read_text()
    assert "20 of 20 came out again: fewer than 14% of trials would not" in page


@pytest.mark.long
def test_replay_names_what_differs_and_writes_nothing(copied: Desk) -> None:
    ids = [trial_id for (trial_id,) in copied.query("SELECT id FROM trials ORDER BY id LIMIT 3")]
    changed(
        copied,
        "UPDATE trials SET weight_hash = iif(weight_hash LIKE '0%', '1', '0') || substr(weight_hash, 2)"
        f" WHERE id = '{ids[1]}'",
    )
    before = copied.store.read_bytes()
    done = copied.thalweg("replay", *(each[:10] for each in ids), "--json", "launcher.workers=1", code=6)
    found = json.loads(done.stdout)
    assert [each["trial"] for each in found["replayed"]] == ids
    assert [each["verdict"] for each in found["replayed"]] == ["MATCH", "MISMATCH", "MATCH"]
    assert found["replayed"][1]["quantity"] == "weight hash"
    assert (found["match"], found["mismatch"], found["cannot_verify"]) == (2, 1, 0)
    assert copied.store.read_bytes() == before


@pytest.mark.long
def test_weights_come_out_and_a_trial_that_does_not_leaves_nothing(copied: Desk) -> None:
    found = copied.query("SELECT t.id, t.weight_hash FROM trials t WHERE outcome = 'finished' ORDER BY id DESC LIMIT 2")
    (good, stored), (bad, _) = found
    changed(copied, f"UPDATE metrics SET value = value + 1 WHERE trial = (SELECT seq FROM trials WHERE id = '{bad}')")
    said = copied.thalweg("weights", good[:10], "-o", "good.safetensors", "launcher.workers=1").stdout
    assert said == f"good.safetensors: {len(load_file(copied.folder / 'good.safetensors'))} tensors of {good[:8]}\n"
    with safe_open(copied.folder / "good.safetensors", "np") as held:
        assert held.metadata()["weight_hash"] == stored
    failed = copied.thalweg("weights", bad, "-o", "bad.safetensors", code=6)
    assert f"{bad[:8]} did not come out again: final" in failed.stderr
    assert not list(copied.folder.glob("bad*"))


@pytest.mark.long
def test_a_trial_on_a_table_predicts_a_file_from_python_and_from_the_command_line(desk: Desk) -> None:
    rows = "".join(f"{n % 7},{n % 5},{'ab'[n % 7 > 3]}\n" for n in range(70))
    (desk.folder / "t.csv").write_text(f"p,q,y\n{rows}")
    (desk.folder / "new.csv").write_text("q,p\n1,6\n1,0\n")
    words = ("dataset=table", "dataset.path=t.csv", "dataset.target=y", "dataset.labels=[a,b]", "optimizer=sgd")
    desk.thalweg("run", *words, "optimizer.lr=0.1", "budget.steps=200", "study.name=mine", "tracker=none")
    ((trial_id,),) = desk.query("SELECT id FROM trials")
    said = desk.thalweg("predict", trial_id[:8], "new.csv").stdout.splitlines()
    assert said[0] == "row,predicted,p(a),p(b)"
    assert [line.split(",")[1] for line in said[1:]] == ["b", "a"]
    assert desk.thalweg("predict", trial_id, "new.csv", "-o", "out.csv").stdout == "out.csv: 2 examples\n"
    assert (desk.folder / "out.csv").read_text().splitlines() == said


@pytest.mark.long
def test_another_torch_is_named_and_nothing_is_accused(copied: Desk) -> None:
    changed(copied, "UPDATE cohorts SET versions = json_set(versions, '$.torch', '1.0.0')")
    done = copied.thalweg("audit", "smoke", "-n", "5", "--seed", "3", code=3)
    assert "none of 5 trials could be verified: torch: 1.0.0 then," in " ".join(done.stdout.split())
