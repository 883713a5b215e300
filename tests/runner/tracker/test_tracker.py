"""The W&B export: what its files hold, read back with W&B's own reader and sync, and how it mends what was lost."""

from __future__ import annotations

import base64
import errno
import glob
import hashlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as effort
from hypothesis import strategies as some

from thalweg.runner.base.errors import ConfigError, SetupError
from thalweg.runner.cli.export import check_names
from thalweg.runner.config import Request, declare
from thalweg.runner.config.words import override_text
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.study.settings import TrackerSettings
from thalweg.runner.tracker import Answered, ExportAnalysis, ExportTrial, Found, export, exporter, records, runs
from thalweg.runner.tracker.analysis import analysis_id
from thalweg.runner.tracker.configuration import cell
from thalweg.runner.tracker.history import BATCH_LOSS, chosen_steps, history, label, loaded
from thalweg.runner.tracker.records import framed

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="NOT RUN: wandb is not installed")

ROOT = Path(__file__).parents[3]
KEY = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = TrackerSettings(name="wandb", project="thalweg", entity=None, history_points=20, tags=("mine",))
EVERY_STEP = replace(SETTINGS, history_points=None)
STEPS = 60
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAFklEQVR4nGP8//8/AwMDAwMDEwMMAAA2BgMB1iHsRQAAAABJRU5ErkJggg=="
)
"""A PNG file of 3 pixels by 2."""


@pytest.fixture(autouse=True)
def no_wandb_variables(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))


def make_trial(index: int, **changes) -> ExportTrial:
    random = np.random.default_rng(index)
    losses, evaluations = random.random(STEPS) / 3, random.random(4) / 3
    series = {
        BATCH_LOSS: Series(np.arange(STEPS), losses),
        "val/loss": Series(np.array([15, 30, 45, STEPS]), evaluations),
    }
    trial = ExportTrial(
        trial_id=hashlib.sha256(str(index).encode()).hexdigest(),
        config={
            "model": {"name": "mlp", "hidden": [64, 64]},
            "optimizer": {"name": "adamw", "lr": 0.1 * index, "weight_decay": 0.0},
            "schedule": {"name": "warmup_cosine", "warmup": 6, "floor": 0.0},
            "budget": {"steps": STEPS},
            "revision": None,
            "seed": index,
        },
        outcome=Outcome.FINISHED,
        diverged_step=None,
        metrics={"train/loss": float(losses[-1]), "val/loss": float(evaluations[-1]), "test/accuracy": 0.5},
        series=lambda: series,
        weight_hash=f"{index:064x}",
        seconds=0.25,
        study="coupling",
        block="plain, SGD",
        axes={"optimizer.lr": 0.1 * index, "lr_x_wd": 0.2, "seed": index},
        telling=("optimizer.lr", "seed"),
        tags=("mine",),
        command="thalweg sweep coupling",
        commit="02f90b0",
        ended="2026-01-02T03:04:05+00:00",
    )
    return replace(trial, **changes)


def make_trials(count: int) -> list[ExportTrial]:
    return [make_trial(index) for index in range(count)]


def run_files(folder: Path) -> list[Path]:
    found = glob.glob(str(folder / "wandb/*/*.wandb"))  # Path.glob raises where a folder is renamed meanwhile
    return sorted(map(Path, found))


def read_run(path: Path) -> dict:
    """A run file through wandb-core's own reader: its run record, config, history, summary, exit code."""
    core = Path(find_spec("wandb").origin).parent / "bin" / "wandb-core"
    command = [str(core), "leet", "inspect", "-no-observability", "-json", "-run-file", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, Any] = {"history": [], "summary": {}, "metrics": {}, "exit": None}
    for record in map(json.loads, lines):
        match record["type"]:
            case "run":
                found["run"] = record["run"]
                found["config"] = record["run"]["config"]["update"]
            case "history":
                row = record["history"]["item"]
                found["history"].append((record["history"]["step"]["num"], public(row)))
            case "metric":
                metric = record["metric"]
                if metric.get("step_metric"):
                    found["metrics"][metric.get("name", metric.get("glob_name"))] = metric["step_metric"]
            case "summary":
                found["summary"] |= public(record["summary"].get("update", {}))
            case "exit":
                found["exit"] = record["exit"].get("exit_code", 0)
    return found


def public(values: dict) -> dict:
    return {key: value for key, value in values.items() if not key.startswith("_")}


WRITERS = {"direct": lambda: True, "public": lambda: False}


@pytest.fixture(params=WRITERS)
def writer(request, monkeypatch):
    """Both ways of writing: W&B's file format, and its public calls."""
    monkeypatch.setattr(runs, "understood", WRITERS[request.param])
    return request.param


def test_a_run_holds_every_step_and_evaluation_the_config_and_the_summary_exactly(tmp_path, capfd, writer):
    trials = make_trials(3)
    result = export(trials, tmp_path / "a.sqlite", EVERY_STEP)
    assert (result.written, result.new, result.total, result.problem) == (3, 3, 3, None)
    assert "".join(capfd.readouterr()) == ""
    runs = {run["run"]["run_id"]: run for run in map(read_run, run_files(tmp_path))}
    for index, trial in enumerate(trials):
        run = runs[trial.trial_id[:16]]
        assert run["history"] == expected_rows(trial) == history(loaded(trial), None)
        assert public(run["config"]) == {
            "model": {"name": "mlp", "hidden": "[64,64]"},
            **{key: trial.config[key] for key in ("optimizer", "schedule", "budget", "seed")},
            "axes/optimizer/lr": 0.1 * index,
            "axes/lr_x_wd": 0.2,
            "axes/seed": index,
            **({"axes/log10_lr": math.log10(0.1 * index)} if index else {}),
            "cell": cell(trial.config, "seed"),
            "trial/id": trial.trial_id,
        }
        values = trial.series()["val/loss"].values
        assert run["summary"] == {
            **{name: value for name, value in trial.metrics.items() if not name.startswith("test/")},
            "outcome": "finished",
            "weight_hash": trial.weight_hash,
            "seconds": 0.25,
            "best/val/loss": values.min(),
            "best/val/loss/step": [15, 30, 45, STEPS][values.argmin()],
        }
        assert run["exit"] == 0
        about = run["run"]
        labels = (about["project"], about["run_group"], about["job_type"], about["notes"])
        assert labels == ("thalweg", "coupling", "plain, SGD", "thalweg sweep coupling")
        assert about["tags"] == ["finished", "adamw", "git 02f90b0", "mine"]
        assert {name: on for name, on in run["metrics"].items() if name != "*"} == dict.fromkeys(
            (*({"schedule/lr", BATCH_LOSS, "val/loss"} if writer == "direct" else ()),), "_step"
        )
    names = [runs[trial.trial_id[:16]]["run"]["display_name"] for trial in trials]
    assert names == ["adamw lr 0 seed 0", "adamw lr 0.1 seed 1", "adamw lr 0.2 seed 2"]


def expected_rows(trial: ExportTrial) -> list[tuple[int, dict[str, float]]]:
    """By another way than the exporter's: step by step, and the schedule by its formula."""
    lr, rows = trial.config["optimizer"]["lr"], []
    series = trial.series()
    evaluated = dict(zip(series["val/loss"].steps.tolist(), series["val/loss"].values.tolist(), strict=True))
    for step in range(STEPS + 1):
        row = {}
        if step < STEPS:
            cosine = 0.5 * (1 + math.cos(math.pi * (step - 6) / (STEPS - 6)))
            row[BATCH_LOSS] = series[BATCH_LOSS].values[step]
            row["schedule/lr"] = pytest.approx(lr * (min(1, (step + 1) / 6) if step < 6 else cosine), rel=1e-12)
        if step in evaluated:
            row["val/loss"] = evaluated[step]
        if row:
            rows.append((step, row))
    return rows


def test_numbers_that_a_model_tells_have_no_dot_in_their_names(tmp_path):
    names = ("train/layer.0.norm", "train/a.b", "train/a/b")
    series = {name: Series(np.arange(3), np.full(3, float(place))) for place, name in enumerate(names)}
    export([make_trial(1, series=lambda: series)], tmp_path / "a.sqlite", EVERY_STEP)
    (run,) = map(read_run, run_files(tmp_path))
    assert run["history"][0][1] == {"train/layer/0/norm": 0, "train/a_b": 1, "train/a/b": 2}


def test_test_metrics_are_in_the_runs_of_the_chosen_cell_alone(tmp_path):
    store = tmp_path / "a.sqlite"
    export([make_trial(0, chosen=True), make_trial(1)], store, SETTINGS)
    shown = {run["config"]["seed"]: "test/accuracy" in run["summary"] for run in map(read_run, run_files(tmp_path))}
    assert shown == {0: True, 1: False}
    assert export([make_trial(0), make_trial(1, chosen=True)], store, SETTINGS).new == 2
    shown = {run["config"]["seed"]: "test/accuracy" in run["summary"] for run in map(read_run, run_files(tmp_path))}
    assert shown == {0: False, 1: True}


def test_a_diverged_run_says_so_and_sends_nothing_that_is_not_finite(tmp_path, writer):
    series = {
        BATCH_LOSS: Series(np.arange(3), np.array([1.0, 9.0, np.nan])),
        "val/loss": Series(np.array([1]), np.array([2.0])),
    }
    diverged = make_trial(1, outcome=Outcome.DIVERGED, diverged_step=2, metrics={"x": np.inf}, series=lambda: series)
    export([diverged, make_trial(2, outcome=Outcome.FAILED, error="ValueError: no")], tmp_path / "a.sqlite", SETTINGS)
    runs = {run["run"]["tags"][0]: run for run in map(read_run, run_files(tmp_path))}
    assert [(step, set(row)) for step, row in runs["diverged"]["history"]] == [
        (0, {BATCH_LOSS, "schedule/lr"}),
        (1, {BATCH_LOSS, "schedule/lr", "val/loss"}),
    ]
    assert runs["diverged"]["summary"]["diverged_step"] == 2
    assert not {"val/loss", "x"} & set(runs["diverged"]["summary"])
    assert (runs["diverged"]["exit"], runs["failed"]["exit"]) == (0, 1)
    assert runs["failed"]["summary"]["error"] == "ValueError: no"


def test_a_trial_that_was_stopped_early_shows_how_far_it_came_and_no_best(tmp_path, writer):
    stopped = make_trial(1, outcome=Outcome.PRUNED, pruned=(2, 30), metrics={}, weight_hash=None)
    export([stopped], tmp_path / "a.sqlite", SETTINGS)
    (run,) = map(read_run, run_files(tmp_path))
    assert (run["run"]["tags"][0], run["exit"]) == ("pruned", 0)
    assert run["summary"] == {"outcome": "pruned", "pruned_rung": 2, "pruned_step": 30, "seconds": 0.25}
    later = replace(stopped, pruned=(3, 45))
    assert export([later], tmp_path / "a.sqlite", SETTINGS).new == 1


def make_analysis(losses=(0.5, 0.25, None), asked="") -> ExportAnalysis:
    slope = Found(
        kind="coupling",
        panel="scale-inv. SGD",
        number="slope",
        estimate=-0.97,
        low=-1.1,
        high=-0.8,
        n=9,
        unit="",
        method="a fit",
        caveats=("few rows", "one edge"),
        verdict="only lr·wd matters",
        expected=-1.0,
        as_expected=True,
    )
    return ExportAnalysis(
        study="coupling",
        question="does it couple?",
        metric="val/loss",
        asked=asked,
        command="thalweg sweep coupling",
        trials={
            "trial": ["a", "b", "c"],
            "outcome": ["finished", "finished", None],
            "val/loss": list(losses),
        },
        answered=lambda: Answered(
            found=(slope,), report=b"<!doctype html><p>the answer", pictures={"map/scale-inv. ../SGD": PICTURE}
        ),
        ended="2026-01-02T03:04:05+00:00",
    )


def test_a_study_has_one_run_with_its_trials_findings_and_report_refreshed_in_place(tmp_path, writer):
    store = tmp_path / "a.sqlite"
    assert export(make_trials(2), store, SETTINGS, analyses=[make_analysis()]).written == 3
    assert export(make_trials(2), store, SETTINGS, analyses=[make_analysis()]).new == 0
    assert export(make_trials(2), store, SETTINGS, analyses=[make_analysis(asked="more")]).new == 1
    assert export(make_trials(2), store, SETTINGS, analyses=[make_analysis((0.5, 0.2, None))]).new == 1
    (run,) = (each for each in map(read_run, run_files(tmp_path)) if each["run"]["job_type"] == "analysis")
    assert (run["run"]["run_group"], run["run"]["display_name"]) == ("coupling", "coupling: answer")
    above = "coupling/scale-inv SGD"
    shown = {"trials", "findings", "report", "map/scale-inv /SGD"}
    numbers = {key: value for key, value in run["summary"].items() if key not in shown}
    assert numbers == {
        "trials/done": 2,
        f"{above}/slope": -0.97,
        f"{above}/slope/low": -1.1,
        f"{above}/slope/high": -0.8,
        f"{above}/verdict": "only lr·wd matters",
        f"{above}/expected": -1.0,
        f"{above}/as_expected": True,
    }
    ((_, row),) = run["history"]
    assert {key.partition(".")[0] for key in row} == shown
    told = {key: _under(key, row) for key in shown}
    table, page, picture = (file_of(tmp_path, told[key]["path"]) for key in ("trials", "report", "map/scale-inv /SGD"))
    assert picture == PICTURE
    assert {key: told["map/scale-inv /SGD"][key] for key in ("_type", "format", "width", "height")} == {
        "_type": "image-file",
        "format": "png",
        "width": 3,
        "height": 2,
    }
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"a.wandb.jsonl", "wandb"}
    assert {key: json.loads(table)[key] for key in ("columns", "data")} == {
        "columns": ["trial", "outcome", "val/loss"],
        "data": [["a", "finished", 0.5], ["b", "finished", 0.2], ["c", None, None]],
    }
    assert page == b"<!doctype html><p>the answer"
    (findings,) = tmp_path.glob("wandb/*/files/media/table/findings_*")
    assert json.loads(findings.read_bytes())["data"][0][-1] == "few rows; one edge"


def _under(key: str, row: dict) -> dict:
    return {name.removeprefix(f"{key}."): value for name, value in row.items() if name.startswith(f"{key}.")}


def file_of(folder: Path, path: str) -> bytes:
    (found,) = folder.glob(f"wandb/*/files/{path}")
    return found.read_bytes()


def test_exporting_twice_equals_once_and_the_second_time_imports_no_wandb(tmp_path, monkeypatch):
    store = tmp_path / "a.sqlite"
    export(make_trials(2), store, SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    loaded = []
    again = [replace(t, series=lambda: loaded.append(1), tags=("more",)) for t in make_trials(2)]
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = export(again, store, SETTINGS)
    assert (result.written, result.new, result.problem, loaded) == (2, 0, None, [])
    assert not result.worth_saying
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_changed_result_replaces_the_run_of_its_trial(tmp_path):
    store = tmp_path / "a.sqlite"
    export(make_trials(2), store, SETTINGS)
    changed = make_trial(1, metrics={"val/loss": 0.125})
    assert export([make_trial(0), changed], store, SETTINGS).new == 1
    runs = list(map(read_run, run_files(tmp_path)))
    assert len(runs) == 2
    assert 0.125 in [run["summary"]["val/loss"] for run in runs]


def test_a_lost_ledger_or_run_folder_is_made_good(tmp_path):
    store, trials = tmp_path / "a.sqlite", make_trials(3)
    export(trials, store, SETTINGS)
    ledger = tmp_path / "a.wandb.jsonl"
    whole = ledger.read_bytes()

    ledger.unlink()
    assert export(trials, store, SETTINGS).new == 3
    assert ledger.read_bytes().count(b"\n") == 3 == len(run_files(tmp_path))

    ledger.write_bytes(whole[:-20])  # torn inside its last line
    shutil.rmtree(run_files(tmp_path)[0].parent)
    assert export(trials, store, SETTINGS).written == 3
    assert all(json.loads(line) for line in ledger.read_bytes().splitlines())

    file = run_files(tmp_path)[1]
    file.write_bytes(file.read_bytes()[:-1])  # as a power cut leaves it
    assert export(trials, store, SETTINGS).new == 1

    shutil.rmtree(tmp_path / "wandb")
    ledger.unlink()
    assert export(trials, store, SETTINGS).new == 3
    assert len(run_files(tmp_path)) == 3


def test_uploaded_runs_may_be_cleaned_away(tmp_path):
    store, trials = tmp_path / "a.sqlite", make_trials(2)
    export(trials, store, SETTINGS)
    ledger = tmp_path / "a.wandb.jsonl"
    ledger.write_text(ledger.read_text().replace('"uploaded": false', '"uploaded": true'))
    for file in run_files(tmp_path):
        shutil.rmtree(file.parent)
    assert export(trials, store, SETTINGS).new == 0


def test_variables_cannot_make_two_trials_one_run(tmp_path, monkeypatch):
    for name in ("RUN_ID", "NAME", "SWEEP_ID", "RUN_GROUP", "TAGS", "RESUME"):
        monkeypatch.setenv(f"WANDB_{name}", "allow")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    result = export(make_trials(2), tmp_path / "a.sqlite", SETTINGS)
    runs = [read_run(file)["run"] for file in run_files(tmp_path / "elsewhere")]
    assert len({run["run_id"] for run in runs}) == 2
    assert {(run["project"], run["run_group"]) for run in runs} == {("theirs", "coupling")}
    assert not any("sweep_id" in run for run in runs)
    assert len(result.warnings) == 1
    assert "WANDB_SWEEP_ID" in result.warnings[0]
    assert os.environ["WANDB_RUN_ID"] == "allow"

    given = export(make_trials(2), tmp_path / "a.sqlite", SETTINGS, given={"project"})
    assert given.new == 2
    assert {read_run(file)["run"]["project"] for file in run_files(tmp_path / "elsewhere")} == {"thalweg"}


def test_disabled_writes_nothing_and_offline_never_uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    result = export(make_trials(2), tmp_path / "a.sqlite", SETTINGS, asked_to_upload=True)
    assert (result.mode, result.new, list(tmp_path.glob("*"))) == ("disabled", 0, [])
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(exporter, "upload", None)
    result = export(make_trials(1), tmp_path / "a.sqlite", SETTINGS, asked_to_upload=True)
    assert (result.mode, result.new, result.problem) == ("offline", 1, None)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, monkeypatch):
    store = tmp_path / "a.sqlite"
    result = export(make_trials(3), store, SETTINGS, asked_to_upload=True, dry_run=True)
    assert result.line.startswith("W&B: would write 3 of 3 runs in ")
    assert result.line.endswith("and upload nothing (no account, or offline)")
    assert list(tmp_path.iterdir()) == []
    export(make_trials(2), store, SETTINGS)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    before = sorted(tmp_path.rglob("*"))
    result = export(make_trials(3), store, SETTINGS, asked_to_upload=True, dry_run=True)
    assert result.line.startswith("W&B: would write 1 of 3 runs in ")
    assert result.line.endswith("and upload 3")
    assert sorted(tmp_path.rglob("*")) == before


def test_without_an_account_sync_says_how_to_get_one(tmp_path):
    result = export(make_trials(1), tmp_path / "a.sqlite", SETTINGS, asked_to_upload=True)
    assert result.problem is None
    assert "wandb login" in result.line


def test_the_deadline_leaves_the_rest_for_later(tmp_path):
    result = export(make_trials(2), tmp_path / "a.sqlite", SETTINGS, write_seconds=0)
    assert (result.written, result.remaining, result.problem) == (0, 2, None)
    assert result.line == "W&B 0/2 written; go on: thalweg sync"


def test_a_full_disk_is_one_line_and_leaves_no_half_of_a_run(tmp_path, monkeypatch):
    store, written = tmp_path / "a.sqlite", []

    def full(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) > 2:
            path.touch()
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        with path.open("wb") as file:
            return file.write(content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        result = export(make_trials(4), store, SETTINGS)
    assert (result.written, result.new) == (2, 2)
    assert "No space left on device" in result.line
    assert "\n" not in result.line
    assert len(list((tmp_path / "wandb").iterdir())) == 2
    assert export(make_trials(4), store, SETTINGS).new == 2


def test_hostile_names_stay_inside_the_folder_and_are_inert(tmp_path):
    hostile = "../../\x1b[31m\u202e\0\n-" + "x" * 300
    trial = make_trial(1, study=hostile, tags=(hostile, hostile + "y", ""), block="/etc/\0", axes={hostile: hostile})
    store = tmp_path / "in" / "a.sqlite"
    store.parent.mkdir()
    assert export([trial], store, SETTINGS).problem is None
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "home"}
    about = read_run(run_files(store.parent)[0])["run"]
    assert about["tags"]
    assert all(text.isprintable() and len(text) <= 128 for text in (about["run_group"], *about["tags"]))


def test_what_wandb_itself_refuses_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "understood", WRITERS["public"])
    result = export(make_trials(1), tmp_path / "a.sqlite", replace(SETTINGS, project="a/b"))
    assert result.written == 0
    assert "a/b" in result.problem
    assert "\n" not in result.line


@pytest.mark.parametrize("variable", ["WANDB_PROJECT", "WANDB_ENTITY"])
@pytest.mark.parametrize("name", ["a/b", "a:b", "50%", "why?", "a#b", "a\\b", "x" * 129, "a\nb"])
def test_a_name_that_wandb_would_refuse_is_refused_before_anything_is_trained(tmp_path, monkeypatch, variable, name):
    monkeypatch.setenv(variable, name)
    with pytest.raises(SetupError, match=f"{variable} is "):
        check_names(SETTINGS, (), tmp_path / "a.sqlite")
    key = f"tracker.{variable.partition('_')[2].lower()}"
    check_names(SETTINGS, (f"{key}=mine",), tmp_path / "a.sqlite")
    if name.isprintable():
        with pytest.raises(ConfigError, match=f"{key} is .*expected a name for W&B"):
            declare(Request((override_text("", key, name),)))


SCRIPT = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from test_tracker import SETTINGS, export, make_trials, runs
runs.understood = lambda: {direct}
print(export(make_trials({count}), Path(sys.argv[1]), SETTINGS).problem, flush=True)
"""


def start_export(store: Path, count: int, direct: bool = True) -> subprocess.Popen:
    script = SCRIPT.format(paths=[str(ROOT / "src"), str(Path(__file__).parent)], count=count, direct=direct)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", script, store],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.long
@pytest.mark.parametrize(("direct", "count"), [(True, 1500), (False, 40)])
def test_killed_in_mid_export_each_trial_is_there_once_after_the_next(tmp_path, direct, count):
    store = tmp_path / "a.sqlite"
    for finished in (1, 12):
        process = start_export(store, count, direct)
        wait_until(lambda enough=finished: len(run_files(tmp_path)) >= enough)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 12 <= len(run_files(tmp_path)) < count
    lost = run_files(tmp_path)[0].parent
    lost.rename(lost.with_name(f"{runs.PARTIAL}{lost.name[-16:]}"))
    result = export(make_trials(count), store, SETTINGS)
    assert (result.written, result.problem) == (count, None)
    folders = [path for path in (tmp_path / "wandb").iterdir() if path.is_dir()]
    assert len(folders) == len({path.name[-16:] for path in folders}) == count
    assert all(read_run(file)["exit"] == 0 for file in run_files(tmp_path)[:: count // 4])


@pytest.mark.parametrize(
    ("number", "said"),
    [
        *((number, "W&B stopped (") for number in ("ECONNRESET", "EPIPE", "ECONNREFUSED", "ETIMEDOUT", "ENOTCONN")),
        *((number, "files cannot be written: ") for number in ("ENOSPC", "EACCES", "EROFS", "EIO", "EDQUOT")),
    ],
)
def test_a_connection_that_is_lost_is_not_put_down_to_the_disk(tmp_path, monkeypatch, number, said):
    def fails(*_, **__):
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setitem(exporter.WRITERS, "wandb", fails)
    assert export(make_trials(1), tmp_path / "a.sqlite", SETTINGS).problem.startswith(said)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the service's process in /proc")
def test_a_killed_service_is_one_line_and_the_next_export_makes_it_good(tmp_path):
    store = tmp_path / "a.sqlite"
    process = start_export(store, 30, direct=False)
    wait_until(lambda: list(tmp_path.glob("wandb/*/*.wandb")))
    os.kill(service_of(process.pid), signal.SIGKILL)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.startswith("W&B stopped (")
    assert said.count("\n") == 1
    assert export(make_trials(30), store, SETTINGS).written == 30
    assert len(run_files(tmp_path)) == 30


def service_of(parent: int) -> int:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (entry / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue
        if "wandb-core" in name and rest.split()[1] == str(parent):
            return int(entry.name)
    raise AssertionError("no wandb-core")


def test_without_wandb_the_results_are_untouched_and_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = export(make_trials(1), tmp_path / "a.sqlite", SETTINGS)
    assert result.written == 0
    assert "wandb cannot be imported" in result.line


def test_a_second_exporter_waits_its_turn(tmp_path):
    store = tmp_path / "a.sqlite"
    with exporter.writing(tmp_path / "a.wandb.jsonl"):
        assert export(make_trials(1), store, SETTINGS).problem == "another process is writing them"


class Server(BaseHTTPRequestHandler):
    """As much of a W&B server as an upload needs; with `accepts` off, one that knows nobody."""

    accepts: bool
    files: list[bytes]
    uploads: list[str]  # run ids, one for each upload begun
    streams: dict[str, list[str]]  # run id -> lines of its history, as they came

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = {}
        if self.path.endswith("/file_stream") and self.accepts:
            history = (json.loads(body).get("files") or {}).get("wandb-history.jsonl")
            kept = self.streams.setdefault(self.path.split("/")[-2], [])
            if history:
                kept[history["offset"] :] = history["content"]
        if self.path == "/file":
            self.files.append(body)
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = {"data": self.answer(asked["query"], asked.get("variables") or {})}
        text = json.dumps(answer).encode()
        self.send_response(200 if self.accepts else 401)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST

    def answer(self, query: str, asked: dict) -> dict:
        if "UpsertBucket" in query and "config" in asked:
            self.uploads.append(asked["name"])
        project = {"id": "p", "name": "thalweg", "entity": {"id": "e", "name": "someone"}}
        bucket = {
            "id": "r",
            "name": asked.get("name"),
            "displayName": "",
            "config": "{}",
            "historyLineCount": 0,
        }
        at = f"http://{self.headers['host']}/file"
        files = [{"name": name, "uploadUrl": at} for name in asked.get("files") or []]
        return {
            "upsertBucket": {"bucket": {**bucket, "sweepName": None, "project": project}, "inserted": True},
            "createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files},
        }

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    Server.accepts, Server.uploads, Server.streams, Server.files = True, [], {}, []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{running.server_port}")
    yield Server
    running.shutdown()
    running.server_close()


@pytest.mark.long
def test_a_refused_upload_is_one_line_then_each_run_goes_up_once(tmp_path, server):
    store, trials = tmp_path / "a.sqlite", make_trials(3)
    server.accepts = False
    result = export(trials, store, SETTINGS, asked_to_upload=True)
    assert (result.written, result.uploaded, result.account) == (3, 0, True)
    assert result.problem.startswith("upload stopped (")
    assert "\n" not in result.line

    server.accepts = True
    server.uploads.clear()
    result = export(trials, store, SETTINGS, asked_to_upload=True, analyses=[make_analysis()])
    assert (result.new, result.uploaded, result.problem) == (1, 4, None)
    ids = {analysis_id("coupling")[:16], *(trial.trial_id[:16] for trial in trials)}
    assert set(server.uploads) == ids
    assert {b"<!doctype html><p>the answer"} < set(server.files)

    for trial in trials:
        rows = [json.loads(line) for line in server.streams[trial.trial_id[:16]]]
        got = [(row["_step"], public(row)) for row in rows]
        assert got == history(loaded(trial), SETTINGS.history_points)

    server.uploads.clear()
    assert export(trials, store, SETTINGS, asked_to_upload=True).uploaded == 3
    assert server.uploads == []

    (tmp_path / "a.wandb.jsonl").unlink()  # what was sent is forgotten: it is sent again, under the same ids
    assert export(trials, store, SETTINGS, asked_to_upload=True, analyses=[make_analysis()]).uploaded == 4
    assert {name: len(stream) for name, stream in server.streams.items()} == {
        each: 1 if each == analysis_id("coupling")[:16] else len(rows) for each in ids
    }

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 9
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@effort(max_examples=60, deadline=None)
@forall(some.lists(some.integers(0, 3 * 32768), max_size=12), some.integers(0, 40), some.integers(0, 15))
def test_records_of_any_length_come_back_from_their_blocks(lengths, near, cut):
    data = [bytes([index + 1]) * length for index, length in enumerate([*lengths, 32768 - near, 0, 5])]
    whole, begun = framed(data), framed(data[:cut])
    assert list(records_in(whole)) == data
    assert begun + framed(data[cut:], len(begun)) == whole  # as a file that grows has them


def records_in(log: bytes) -> Iterator[bytes]:
    """A reader of the log of its own, by LevelDB's description."""
    assert log[:7] == b":W&B\xe1\xbe\x00"
    at, found = 7, b""
    while at < len(log):
        if (left := 32768 - at % 32768) < 7:
            assert log[at : at + left] == bytes(left)
            at += left
            continue
        checksum, length, kind = struct.unpack("<IHB", log[at : at + 7])
        piece = log[at + 7 : at + 7 + length]
        assert length + 7 <= left
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        assert bool(found) <= (kind in (3, 4))
        found, at = found + piece, at + 7 + length
        if kind in (1, 4):
            yield found
            found = b""


@effort(max_examples=100, deadline=None)
@forall(some.integers(0, 300), some.integers(0, 40), some.integers(2, 80))
def test_history_keeps_to_its_size_and_to_the_ends(steps, evaluations, points):
    series = {"train/loss": Series(np.arange(steps), np.ones(steps))}
    at = np.unique(np.linspace(1, max(steps, 1), evaluations).round().astype(int))
    series["val/loss"] = Series(at, np.ones(len(at)))
    every = sorted({*range(steps), *at.tolist()})
    chosen = chosen_steps(series, points)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(every)
    assert len(chosen) == min(points, len(every))
    if every:
        assert (chosen[0], chosen[-1]) == (every[0], every[-1])


def test_ten_evaluations_of_six_hundred_steps_are_all_among_fifty_points():
    at = np.linspace(60, 600, 10).astype(int)
    series = {"train/loss": Series(np.arange(600), np.ones(600)), "val/loss": Series(at, np.ones(10))}
    chosen = chosen_steps(series, 50)
    assert len(chosen) == 50
    assert {*at.tolist(), 0, 599} <= set(chosen)
    assert max(np.diff(chosen)) <= 20


@pytest.mark.parametrize(
    ("version", "known"),
    [("0.31.0", True), ("0.31.7rc1", True), ("0.30.9", False), ("0.32.0", False), ("1.31.0", False)],
)
def test_only_versions_that_were_tried_have_their_files_written_for_them(monkeypatch, version, known):
    monkeypatch.setattr(records, "version", lambda: version)
    assert records.understood() is known


def test_labels_are_printable_and_never_empty():
    assert label("\x1b\n\u202e", 64) == "unnamed"
    assert label("a\nb" + "c" * 99, 64) == "a b" + "c" * 61
