"""A trial that was stopped early is never shown, counted, chosen or exported as a result: asked of every reader."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from stopping_cases import RULES, Bench

from thalweg.runner import page
from thalweg.runner.analysis import Results, coupling
from thalweg.runner.cells.cells import panels
from thalweg.runner.cells.health import Health, health
from thalweg.runner.cli import main, verbs_decide
from thalweg.runner.cli.export import export_trials
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.store import Store
from thalweg.runner.study.settings import TrackerSettings
from thalweg.runner.study.stop import Pruned
from thalweg.runner.study.study import Analysis
from thalweg.runner.tracker.history import history, loaded, run_content
from thalweg.runner.view import view_of

COUPLING = (
    "optimizer.weight_decay=0.001,0.002,0.004,0.008,0.016",
    "optimizer.lr=0.1,0.2,0.4,0.8",
    "seed=0,1",
    "budget.steps=100",
    "evaluation.points=4",
    "study.name=mine",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A store of a study of which half was stopped."""
    made = tmp_path_factory.mktemp("stopped")
    bench = Bench(made)
    bench.sweep(*COUPLING, f"study.stop={RULES[0]}")
    bench.store.close()
    return made


@pytest.fixture
def asked(folder, monkeypatch):
    """Exit code and what is printed by one command line on that store."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["thalweg", *words, "--store", str(folder / "s.sqlite")])
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = main()
        return code, out.getvalue() + (err.getvalue() if code else "")

    return run


@pytest.fixture
def store(folder):
    with Store.open(folder / "s.sqlite") as opened:
        yield opened


def test_every_count_has_them_apart(asked, store) -> None:
    rows = store.study_rows("mine")
    pruned, ended = sum(row.outcome is Outcome.PRUNED for row in rows), sum(row.has_ended for row in rows)
    assert pruned
    assert pruned + ended == len(rows)
    (listed,) = json.loads(asked("ls", "--json")[1])["studies"]
    assert (listed["pruned"], listed["done"], listed["wanted"]) == (pruned, ended, len(rows))
    plan = json.loads(asked("plan", *COUPLING, f"study.stop={RULES[0]}", "--json")[1])
    assert (plan["done"], plan["to_train"], plan["pruned"]) == (ended, 0, pruned)
    found = json.loads(asked("recommend", "mine", "--json")[1])
    assert (found["trained"], found["pruned"], found["untrained"]) == (ended, pruned, 0)
    view = page.view(store, "mine")
    assert (view.ended, view.wanted) == (ended, len(rows))
    assert not any(note.startswith("So far") for note in view.notes)
    assert any(f"{pruned} of {len(rows)} trials were stopped early" in note for note in view.notes)
    assert "stopped" in asked("ls")[1]


def test_no_stopped_cell_is_chosen_averaged_or_a_bound(asked, store) -> None:
    view = page.view(store, "mine")
    cells = [cell for panel in view.panels for cell in panel.cells]
    gone = [cell for cell in cells if any(row.pruned for row in cell.rows)]
    assert gone
    assert all(cell.health is Health.PRUNED or cell.health is Health.DIVERGED for cell in gone)
    assert all(cell.mean is None and not cell.usable for cell in gone)
    near = json.loads(asked("best", "mine", "--json")[1])
    ids = {row.trial_id for row in view.rows if row.pruned}
    assert not ids & {word for word in json.dumps(near).split('"') if len(word) == 64}
    for each in view.recommendations:
        for bound in each.bounds:
            values = {cell.axes.get(bound.key) for cell in cells if not any(row.pruned for row in cell.rows)}
            assert bound.next is None or bound.next in values
    assert view.unfinished is None


def test_lists_and_tables_say_pruned_and_the_rung(asked, store) -> None:
    pruned = {row.trial_id: row.pruned for row in store.study_rows("mine") if row.pruned}
    columns = page.trial_columns(store, "mine")
    said = dict(zip(columns["trial"], zip(columns["outcome"], columns["rung"], strict=True), strict=True))
    assert {trial: said[trial] for trial in pruned} == {t: ("pruned", where.rung) for t, where in pruned.items()}
    assert all(rung is None and outcome != "pruned" for t, (outcome, rung) in said.items() if t not in pruned)
    assert not set(page.curve_columns(store, "mine")["trial"]) & pruned.keys()
    some = next(iter(pruned))
    text = asked("show", some)[1]
    assert "not trained yet" in text
    assert "stopped early at rung" in text
    shown = json.loads(asked("show", some, "--json")[1])
    assert shown["trial"]["outcome"] is None
    assert shown["trial"]["metrics"] == {}
    assert shown["trial"]["studies"][0]["pruned"]["rung"] == pruned[some].rung
    some_rung = asked("ls", "rung == 1", "--study", "mine", "--json")[1]
    assert {each["id"] for each in json.loads(some_rung)["trials"]} == {t for t, p in pruned.items() if p.rung == 1}
    listed = json.loads(asked("ls", 'outcome == "pruned"', "--study", "mine", "--json")[1])
    assert {each["id"] for each in listed["trials"]} == pruned.keys()
    view = sqlite3.connect(store.path).execute("SELECT trial, rung FROM trial_results WHERE outcome = 'pruned'")
    assert dict(view.fetchall()) == {trial: where.rung for trial, where in pruned.items()}


def test_a_tracker_shows_them_as_far_as_they_came_and_as_no_result(store) -> None:
    settings = TrackerSettings(name="wandb", project="thalweg", entity=None, history_points=None, tags=())
    rows = {row.trial_id: row for row in store.study_rows("mine")}
    shown = {trial.trial_id: trial for trial in export_trials(store, "mine", settings)}
    assert shown.keys() == {trial for trial, row in rows.items() if row.outcome}
    for trial_id in (trial for trial, row in rows.items() if row.pruned):
        trial, where = shown[trial_id], rows[trial_id].pruned
        run = run_content(trial)
        assert (run.tags[0], run.group, run.exit_code) == ("pruned", "mine", 0)
        told = {"outcome": "pruned", "pruned_rung": where.rung, "pruned_step": where.step}
        assert run.summary.items() >= told.items()
        assert not {"val/loss", "weight_hash"} & run.summary.keys()
        assert max(step for step, _ in history(loaded(trial), None)) == where.step


def test_nothing_of_them_goes_to_replays_or_audits(asked, store) -> None:
    pruned = {row.trial_id for row in store.study_rows("mine") if row.pruned}
    assert not {record.trial_id for record in store.export_rows()} & pruned
    code, text = asked("replay", next(iter(pruned)))
    assert code == 3
    assert "not trained yet" in text
    assert store.contents()["pruned"] == 0
    assert store.contents()["untrained"] == len(pruned)


def test_maps_and_the_report_mark_them(asked, store, folder) -> None:
    text = asked("show", "mine", "--maps")[1]
    assert "⊣ stopped early" in text
    assert "· not trained" not in text
    code, _ = asked("report", "mine", "-o", str(folder / "r.html"))
    html = (folder / "r.html").read_text()
    assert code == 0
    assert "stopped early" in html
    assert "stopped at step" in html


def test_a_cell_is_pruned_only_where_nothing_else_became_of_it(store) -> None:
    stopped = next(row for row in store.study_rows("mine") if row.pruned)
    others = {
        Outcome.DIVERGED: Health.DIVERGED, Outcome.FAILED: Health.FAILED, None: Health.PRUNED,
        Outcome.PRUNED: Health.PRUNED,
    }  # fmt: skip
    for outcome, expected in others.items():
        other = replace(stopped, outcome=outcome, pruned=None)
        assert health([stopped, other], "val/loss", 9.0) is expected
    whole = replace(stopped, outcome=Outcome.FINISHED, pruned=None, metrics={"val/loss": 0.1})
    assert health([stopped, whole], "val/loss", 9.0) is Health.USABLE


def test_panels_count_them_as_stopped(store) -> None:
    (panel,) = panels(store.study_rows("mine"), store.study("mine"))
    assert panel.pruned + panel.trained == panel.wanted


def test_beyond_the_largest_rate_a_stopped_cell_is_no_failure(tmp_path) -> None:
    bench = Bench(tmp_path)
    bench.sweep(*COUPLING)
    rows, study = bench.store.study_rows("mine"), bench.store.study("mine")
    bench.store.close()
    cells = [cell for panel in panels(rows, study) for cell in panel.cells if cell.usable]
    least = min(float(cell.axes["optimizer.lr"]) for cell in cells)
    kept = [
        row
        if row.axes["optimizer.lr"] == least
        else replace(row, outcome=Outcome.PRUNED, metrics={}, pruned=Pruned(1, 25), diverged_step=None)
        for row in rows
        if row.outcome is not Outcome.DIVERGED or row.axes["optimizer.lr"] != least
    ]
    (found,) = view_of(kept, study).recommendations
    (bound,) = [each for each in found.bounds if each.kind == "largest rate"]
    assert (bound.value, bound.next) == (least, None)
    assert "stopped early" in bound.why


def test_beside_stopped_cells_no_best_decay_is_a_bound_and_the_slope_says_so() -> None:
    rates, decays = np.meshgrid([0.1, 0.2, 0.4, 0.8], [0.001, 0.002, 0.004, 0.008, 0.016], indexing="ij")
    loss = 1 + 0.1 * np.abs(np.log(decays / 0.016))
    table = Results(lr=rates.ravel(), wd=decays.ravel(), loss=loss.ravel(), seed=np.zeros(20, np.int64))
    whole, left = coupling(table), coupling(replace(table, stopped=7))
    assert {row.side for row in whole.rows} == {">"}
    assert whole.edge
    assert {row.side for row in left.rows} == {""}
    assert left.edge == ()
    assert any("7 trials stopped early" in caveat for caveat in left.slope.caveats)
    assert not any("stopped" in caveat for caveat in whole.slope.caveats)


def test_the_slope_of_a_stored_study_is_told_of_its_stopped_trials(store) -> None:
    study = replace(store.study("mine"), analyses=(Analysis("coupling", "optimizer.lr", "optimizer.weight_decay"),))
    (answer,) = view_of(store.study_rows("mine"), study).answers
    pruned = sum(row.pruned is not None for row in store.study_rows("mine"))
    assert any(f"{pruned} trials stopped early" in caveat for caveat in answer.slope.caveats)


def test_the_n_best_cells_are_ranked_and_the_stopped_are_not_among_them(asked, store) -> None:
    view = page.view(store, "mine")
    usable = sorted((cell.mean, cell) for panel in view.panels for cell in panel.cells if cell.usable and cell.mean)
    found = json.loads(asked("best", "mine", "-n", "3", "--json")[1])
    (ranked,) = found["ranked"]
    assert [each["mean"] for each in ranked["cells"]] == [mean for mean, _ in usable[:3]]
    near = {tuple(each["axes"].values()) for each in found["near_optimal"]}
    assert [each["as_good"] for each in ranked["cells"]] == [
        tuple(each["axes"].values()) in near for each in ranked["cells"]
    ]
    text = asked("best", "mine", "-n", "3")[1]
    assert (text.count("lr 0"), text.count("learning rate 0")) == (3, 1)  # and the best by itself
    everything = json.loads(asked("best", "mine", "-n", "999", "--json")[1])["ranked"][0]["cells"]
    assert len(everything) == len(usable)
    assert "ranked" not in json.loads(asked("best", "mine", "--json")[1])


def test_curves_of_a_stopped_trial_are_drawn_up_to_where_it_stopped(asked, store) -> None:
    stopped = next(row for row in store.study_rows("mine") if row.pruned)
    assert stopped.pruned
    text = asked("show", stopped.trial_id[:12], "--curve")[1]
    assert "val/loss" in text
    assert text.rstrip().endswith(str(stopped.pruned.step))
    code, refused = asked("show", "mine", "--curve")
    assert (code, refused.count("error:")) == (2, 1)


def test_what_is_on_its_way_is_not_trained_to_its_end_by_refine(asked, tmp_path, monkeypatch) -> None:
    """It would finish what the rule may stop; what a killed refinement added is finished, for no rule is asked."""
    bench = Bench(tmp_path)
    bench.sweep(*COUPLING, f"study.stop={RULES[0]}", interrupt_after=3)
    rows = [row for row in bench.rows().values() if row.outcome is None]
    assert rows
    bench.store.close()
    monkeypatch.setattr(sys, "argv", ["thalweg", "refine", "mine", "--yes", "--store", str(tmp_path / "s.sqlite")])
    with redirect_stderr(StringIO()) as err:
        assert main() == 2
    assert "it is not known yet who goes on" in err.getvalue()
    assert "first: thalweg sweep mine" in err.getvalue()
    with Store.open(tmp_path / "s.sqlite") as opened:
        view = page.view(opened, "mine", ask=False)
    verbs_decide._refuse_on_its_way(replace(view, study=replace(view.study, refinements=1)))
    verbs_decide._refuse_on_its_way(replace(view, study=replace(view.study, stop=None)))
