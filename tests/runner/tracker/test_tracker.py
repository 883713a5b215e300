"""The W&B export: what its files hold, read back with W&B's own reader, and how it mends what was lost."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
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
from thalweg.runner.tracker import ExportTrial, export, exporter
from thalweg.runner.tracker.history import chosen_steps, history, label

ROOT = Path(__file__).parents[3]
KEY = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = TrackerSettings(name="wandb", project="thalweg", entity=None, history_points=20)
STEPS = 60


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
        "train/loss": Series(np.arange(STEPS), losses),
        "val/loss": Series(np.array([15, 30, 45, STEPS]), evaluations),
    }
    trial = ExportTrial(
        trial_id=hashlib.sha256(str(index).encode()).hexdigest(),
        config={"model": {"name": "mlp", "width": [64, 64]}, "optimizer": {"lr": 0.1 * index}, "seed": index},
        outcome=Outcome.FINISHED,
        diverged_step=None,
        metrics={"train/loss": float(losses[-1]), "val/loss": float(evaluations[-1]), "test/accuracy": 0.5},
        series=lambda: series,
        weight_hash=f"{index:064x}",
        seconds=0.25,
        studies=("coupling",),
        block="plain, SGD",
        axes={"optimizer.lr": 0.1 * index, "lr_x_wd": 0.2},
    )
    return replace(trial, **changes)


def make_trials(count: int) -> list[ExportTrial]:
    return [make_trial(index) for index in range(count)]


def run_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/*/*.wandb"))


def read_run(path: Path) -> dict:
    """A run file through wandb-core's own reader: its run record, config, history, summary, exit code."""
    core = Path(find_spec("wandb").origin).parent / "bin" / "wandb-core"
    command = [str(core), "leet", "inspect", "-no-observability", "-json", "-run-file", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, Any] = {"history": [], "summary": {}, "exit": None}
    for record in map(json.loads, lines):
        match record["type"]:
            case "run":
                found["run"] = record["run"]
                found["config"] = record["run"]["config"]["update"]
            case "history":
                row = record["history"]["item"]
                found["history"].append((record["history"]["step"]["num"], public(row)))
            case "summary":
                found["summary"] |= public(record["summary"].get("update", {}))
            case "exit":
                found["exit"] = record["exit"].get("exit_code", 0)
    return found


def public(values: dict) -> dict:
    return {key: value for key, value in values.items() if not key.startswith("_")}


def test_a_run_holds_its_trials_losses_config_and_summary_exactly(tmp_path, capfd):
    trials = make_trials(3)
    result = export(trials, tmp_path / "a.sqlite", SETTINGS)
    assert (result.written, result.new, result.total, result.problem) == (3, 3, 3, None)
    assert "".join(capfd.readouterr()) == ""
    runs = {run["run"]["display_name"]: run for run in map(read_run, run_files(tmp_path))}
    for trial in trials:
        run = runs[trial.trial_id[:8]]
        assert run["history"] == history(trial.series(), 20)
        assert public(run["config"]) == {**trial.config, "axes": trial.axes}
        assert run["summary"] == {
            **trial.metrics,
            "outcome": "finished",
            "weight_hash": trial.weight_hash,
            "seconds": 0.25,
            "trial_id": trial.trial_id,
            "best/val/loss": trial.series()["val/loss"].values.min(),
        }
        assert run["exit"] == 0
        about = run["run"]
        assert (about["project"], about["run_group"], about["job_type"]) == (
            "thalweg",
            "coupling",
            "plain, SGD",
        )
        assert about["tags"] == ["coupling", "finished"]
        assert trial.trial_id.startswith(about["run_id"])


def test_a_diverged_run_says_so_and_sends_nothing_that_is_not_finite(tmp_path):
    series = {
        "train/loss": Series(np.arange(3), np.array([1.0, 9.0, np.nan])),
        "val/loss": Series(np.array([1]), np.array([2.0])),
    }
    diverged = make_trial(1, outcome=Outcome.DIVERGED, diverged_step=2, metrics={"x": np.inf}, series=lambda: series)
    export([diverged, make_trial(2, outcome=Outcome.FAILED)], tmp_path / "a.sqlite", SETTINGS)
    runs = {run["run"]["tags"][-1]: run for run in map(read_run, run_files(tmp_path))}
    assert runs["diverged"]["history"] == [
        (0, {"train/loss": 1.0}),
        (1, {"train/loss": 9.0, "val/loss": 2.0}),
    ]
    assert runs["diverged"]["summary"]["diverged_step"] == 2
    assert not {"val/loss", "x"} & set(runs["diverged"]["summary"])
    assert (runs["diverged"]["exit"], runs["failed"]["exit"]) == (0, 1)


def test_exporting_twice_equals_once_and_the_second_time_imports_no_wandb(tmp_path, monkeypatch):
    store = tmp_path / "a.sqlite"
    export(make_trials(2), store, SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    loaded = []
    again = [replace(t, series=lambda: loaded.append(1), studies=("coupling", "more")) for t in make_trials(2)]
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
    assert export(trials, store, SETTINGS).new == 0  # finished runs are taken as they are
    assert ledger.read_bytes().count(b"\n") == 3

    ledger.write_bytes(whole[:-20])  # torn inside its last line
    shutil.rmtree(run_files(tmp_path)[0].parent)
    assert export(trials, store, SETTINGS).written == 3
    assert all(json.loads(line) for line in ledger.read_bytes().splitlines())

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


def test_without_an_account_sync_says_how_to_get_one(tmp_path):
    result = export(make_trials(1), tmp_path / "a.sqlite", SETTINGS, asked_to_upload=True)
    assert result.problem is None
    assert "wandb login" in result.line


def test_the_deadline_leaves_the_rest_for_later(tmp_path):
    result = export(make_trials(2), tmp_path / "a.sqlite", SETTINGS, deadline_seconds=0.5)
    assert (result.written, result.remaining, result.problem) == (0, 2, None)
    assert result.line == "W&B 0/2 written; go on: thalweg sync"


def test_hostile_names_stay_inside_the_folder_and_are_inert(tmp_path):
    hostile = "../../\x1b[31m\u202e\0\n-" + "x" * 300
    trial = make_trial(1, studies=(hostile, hostile + "y", ""), block="/etc/\0", axes={hostile: hostile})
    store = tmp_path / "in" / "a.sqlite"
    store.parent.mkdir()
    assert export([trial], store, SETTINGS).problem is None
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "home"}
    about = read_run(run_files(store.parent)[0])["run"]
    assert all(text.isprintable() and len(text) <= 128 for text in (about["run_group"], *about["tags"]))


def test_an_unusable_project_is_one_line(tmp_path):
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
from test_tracker import SETTINGS, export, make_trials
print(export(make_trials({count}), Path(sys.argv[1]), SETTINGS).problem, flush=True)
"""


def start_export(store: Path, count: int) -> subprocess.Popen:
    script = SCRIPT.format(paths=[str(ROOT / "src"), str(Path(__file__).parent)], count=count)
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


def test_killed_in_mid_export_each_trial_is_there_once_after_the_next(tmp_path):
    store, count = tmp_path / "a.sqlite", 40
    for finished in (1, 12):
        process = start_export(store, count)
        wait_until(lambda enough=finished: len(list(tmp_path.glob("wandb/*/thalweg.json"))) >= enough)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 12 <= len(list(tmp_path.glob("wandb/*/thalweg.json"))) < count
    result = export(make_trials(count), store, SETTINGS)
    assert (result.written, result.problem) == (count, None)
    folders = [path for path in (tmp_path / "wandb").iterdir() if path.is_dir()]
    assert len(folders) == len({path.name[-16:] for path in folders}) == count
    assert all(read_run(file)["exit"] == 0 for file in run_files(tmp_path)[::8])


@pytest.mark.skipif(sys.platform != "linux", reason="finds the service's process in /proc")
def test_a_killed_service_is_one_line_and_the_next_export_makes_it_good(tmp_path):
    store = tmp_path / "a.sqlite"
    process = start_export(store, 30)
    wait_until(lambda: list(tmp_path.glob("wandb/*/thalweg.json")))
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
    uploads: list[str]  # run ids, one for each upload begun

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = {}
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
    Server.accepts, Server.uploads = True, []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{running.server_port}")
    yield Server
    running.shutdown()
    running.server_close()


def test_a_refused_upload_is_one_line_then_each_run_goes_up_once(tmp_path, server):
    store, trials = tmp_path / "a.sqlite", make_trials(3)
    server.accepts = False
    result = export(trials, store, SETTINGS, asked_to_upload=True)
    assert (result.written, result.uploaded, result.account) == (3, 0, True)
    assert result.problem.startswith("upload stopped (")
    assert "\n" not in result.line

    server.accepts = True
    server.uploads.clear()
    result = export(trials, store, SETTINGS, asked_to_upload=True)
    assert (result.new, result.uploaded, result.problem) == (0, 3, None)
    assert set(server.uploads) == {trial.trial_id[:16] for trial in trials}

    server.uploads.clear()
    assert export(trials, store, SETTINGS, asked_to_upload=True).uploaded == 3
    assert server.uploads == []

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 9
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


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


def test_labels_are_printable_and_never_empty():
    assert label("\x1b\n\u202e", 64) == "unnamed"
    assert label("a\nb" + "c" * 99, 64) == "a b" + "c" * 61
