"""The command line: verbs, streams, exit codes, and the sentence for each mistake. Nothing is trained here."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import planted_rows as planted
import pytest

from thalweg.runner.cli import main
from thalweg.runner.cli.app import app
from thalweg.runner.config import Request, declare
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.facts.record import CohortRecord
from thalweg.runner.show.numbers import figure
from thalweg.runner.store import Store
from thalweg.runner.study.study import expand
from thalweg.runner.train import driver
from thalweg.runner.train.driver import SweepResult
from thalweg.runner.train.pool import Pool, Worker

ROOT = Path(__file__).parents[3]
WORDS = ("smoke", "budget.steps=40", "tracker=none")
VERBS = [command.name or command.callback.__name__ for command in app.registered_commands]
ONE = ("run", "study=null", "dataset=digits", "budget.steps=2", "tracker=none")
HEAVY = {"torch", "wandb", "scipy", "sklearn", "matplotlib", "pandas", "polars"}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty current folder, on a plain pipe of 80 columns."""
    for name in [name for name in os.environ if name.startswith(("THALWEG", "WANDB", "FORCE_COLOR"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def thalweg(desk, capsys, monkeypatch):
    """Run a command line in this process: (exit code, stdout, stderr)."""

    def call(*words):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["thalweg", *words])
        code = main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return call


def observed(trial, outcome=Outcome.FINISHED):
    """What a trial of the planted valley would have yielded."""
    optimizer = trial.config.optimizer
    loss = planted.valley_of(-1)(optimizer.lr, optimizer.weight_decay, trial.config.seed)
    finished = outcome is Outcome.FINISHED
    return Observations(
        trial_id=trial.id,
        outcome=outcome,
        diverged_step=3 if outcome is Outcome.DIVERGED else None,
        metrics={"val/loss": loss, "test/loss": loss + 0.01} if finished else {},
        weight_hash=None if outcome is Outcome.FAILED else "0" * 64,
        error="Traceback (most recent call last):\nValueError: no such layer" if outcome is Outcome.FAILED else None,
    )


def commit(store, study, trials, outcome=Outcome.FINISHED):
    cohort = CohortRecord(
        study=study.name,
        group_id="g",
        executor="loop",
        layout="shared",
        width=1,
        device="cpu",
        versions={},
        trial_ids=tuple(trial.id for trial in trials),
    )
    store.commit(store.open_cohort(cohort), [observed(trial, outcome) for trial in trials])


@pytest.fixture
def spawned(monkeypatch):
    """Pretended worker processes: those that were started."""
    processes = []

    def start(pool):
        processes.append(Mock(is_alive=lambda: False))
        return Worker(processes[-1], Mock())

    monkeypatch.setattr(Pool, "_spawned", start)
    return processes


@pytest.fixture
def trainer(monkeypatch, spawned):
    """In place of training: commits planted results at once. Returns the plans it was given."""
    plans = []

    def sweep(plan, store, settings, report, crew, max_failures=None):
        plans.append(plan)
        trials = [trial for group in plan.groups for trial in group.trials]
        report.note("[b]planted[/b]")
        report.progress(done=1, diverged=0, failed=0, fraction=0.5, best=0.6)
        behaviour = sweep.behaviour  # type: ignore[attr-defined]
        if behaviour == "interrupted":
            commit(store, plan.study, trials[:10])
            return SweepResult(finished=10, seconds=1.0, device="cpu", interrupted=True)
        if behaviour == "terminated":
            commit(store, plan.study, trials[:10])
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                return SweepResult(finished=10, seconds=1.0, device="cpu", interrupted=True)
        if behaviour == "failing":
            commit(store, plan.study, trials[:1], Outcome.FAILED)
            return SweepResult(
                failed=1, seconds=1.0, device="cpu", first_error=observed(trials[0], Outcome.FAILED).error
            )
        commit(store, plan.study, trials)
        return SweepResult(finished=len(trials), seconds=1.0, device="cpu")

    sweep.behaviour = "finishing"  # type: ignore[attr-defined]
    sweep.plans = plans  # type: ignore[attr-defined]
    monkeypatch.setattr(driver, "sweep", sweep)
    return sweep


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    loaded = json.loads(text, parse_constant=refuse)
    assert loaded["schema_version"] == 1
    return loaded


# help, usage, errors


def test_alone_it_names_the_first_command_to_type(thalweg):
    code, out, _ = thalweg()
    assert code == 0
    assert "thalweg sweep smoke" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(thalweg, verb):
    code, out, _ = thalweg(verb, "--help")
    assert code == 0
    assert f"Example: thalweg {verb}" in out
    assert re.search(rf"(?m)^  {verb} +\S.*[^.]\.$", thalweg("--help")[1])


def test_the_version_is_the_packages(thalweg):
    from thalweg.runner.base.version import __version__

    assert thalweg("--version")[1] == f"thalweg {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("swep",), "sweep"),
        (("sweep", "--sotre", "x"), "--store"),
        (("plan", "cuopling"), "coupling"),
        (("plan", "optimizer.lr=-1"), "optimizer.lr is -1"),
        (("plan", "optimizer.learning_rate=1"), "optimizer.lr"),
        (("run", *WORDS), "this declares 336"),
        (
            ("plan", "optimizer.lr=1e-6..1:100000log", "seed=0..100"),
            "10,100,000 trials (100,000 optimizer.lr × 101 seed)",
        ),
        (("sweep", "seed=0..10000"), "10,001 trials"),
        (("plan", "--cfg", "hydra"), "--cfg job"),
        (("plan", "hydra.run.dir=x"), "--store"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_hint_and_starts_nothing(thalweg, desk, words, said):
    code, out, err = thalweg(*words)
    assert code == 2
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))
    assert said in err
    assert list(desk.iterdir()) == []


def test_a_store_that_is_not_ours_is_refused_with_5_and_left_alone(thalweg, desk):
    (desk / "notes.txt").write_text("my notes")
    for words in (("ls",), ("plan", *WORDS), ("sweep", *WORDS)):
        code, _, err = thalweg(*words, "--store", "notes.txt")
        assert code == 5
        assert "error: " in err
    assert (desk / "notes.txt").read_text() == "my notes"


def test_what_users_typed_is_quoted_harmlessly(thalweg):
    _, _, err = thalweg("plan", "\x1b[31mred[/red]\x07")
    assert "[31mred[/red]" in err
    assert "\x1b" not in err
    assert "\x07" not in err


def test_an_internal_error_is_one_line_and_the_way_to_its_traceback(thalweg, monkeypatch, desk):
    from thalweg.runner import config

    def broken(*args):
        raise RuntimeError("boom [bold]\nsecond line")

    monkeypatch.setattr(config, "groups", broken)
    code, _, err = thalweg("config")
    assert code == 1
    assert err.splitlines()[0] == "error: internal: RuntimeError: boom [bold]"
    assert "THALWEG_TRACEBACK=1" in err
    monkeypatch.setenv("THALWEG_TRACEBACK", "1")
    assert main(["config"]) == 1


def test_ctrl_c_outside_training_is_130(thalweg, monkeypatch):
    from thalweg.runner import config

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "groups", interrupted)
    assert thalweg("config") == (130, "", "interrupted\n")


def test_a_reader_that_leaves_early_is_no_error(desk):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-P", "-m", "thalweg", "config", "--json"]
    done = subprocess.run(command, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


# reading what is not there


@pytest.mark.parametrize("verb", ["ls", "show", "best"])
@pytest.mark.parametrize("as_json", [True, False])
def test_reading_a_missing_store_is_empty_and_names_the_path(thalweg, desk, verb, as_json):
    code, out, err = thalweg(verb, *["--json"] * as_json)
    assert code == 0
    assert str(desk / "results" / "thalweg.sqlite") in err
    assert strict(out) if as_json else out == ""
    assert list(desk.iterdir()) == []


def test_the_store_is_the_option_then_the_variable_then_the_default(thalweg, desk, monkeypatch):
    monkeypatch.setenv("THALWEG_STORE", str(desk / "by-variable"))
    assert "by-variable" in thalweg("ls")[2]
    assert "by-option" in thalweg("ls", "--store", "by-option")[2]


# replay, audit


def test_what_cannot_be_replayed_is_refused_in_a_sentence(thalweg, desk):
    assert thalweg("replay", "3f2a")[0] == thalweg("audit", "coupling")[0] == 5
    with Store.open(desk / "results" / "thalweg.sqlite", "write") as store:
        study = declare(Request(WORDS)).study
        store.declare(study, expand(study))
    for words, said in [
        (("replay", "smoke"), "thalweg audit smoke"),
        (("replay", "3f2a", "optimizer.lr=1"), "optimizer.lr=1 is not a setting"),
        (("replay", "launcher.workers=1"), "no trial is named"),
        (("replay", "zz"), "'zz' is not a trial id"),
        (("audit", "smoek"), "smoke"),
        (("audit", "smoke", "other"), "one at a time"),
        (("audit", "smoke", "-n", "0"), "-n"),
        (("audit", "smoke"), "nothing of smoke is trained yet"),
    ]:
        code, out, err = thalweg(*words)
        assert (code, out) == (2, ""), words
        assert said in err


# weights


@pytest.mark.long
def test_weights_that_cannot_be_are_refused_in_a_sentence(thalweg, desk):
    assert thalweg("weights", "3f2a", "-o", "m.pt")[0] == 5
    with Store.open(desk / "results" / "thalweg.sqlite", "write") as store:
        study = declare(Request(WORDS)).study
        store.declare(study, expand(study))
        trial = expand(study)[0].trial.id
    for words, said in [
        (("smoke", "-o", "m.pt"), "smoke is a study, not a trial"),
        ((trial, trial, "-o", "m.pt"), "2 trials are named; expected one"),
        (("launcher.workers=1", "-o", "m.pt"), "0 trials are named; expected one"),
        ((trial, "optimizer.lr=1", "-o", "m.pt"), "optimizer.lr=1 is not a setting"),
        ((trial,), "--out"),
        ((trial, "-o", "m.h5"), "'.h5'; expected .safetensors or .pt"),
        ((trial, "-o", "nowhere/m.pt"), "a folder that is not there"),
        ((trial, "-o", "m.pt"), f"{trial[:8]} is not trained yet, so it has no weights"),
        (("zz", "-o", "m.pt"), "'zz' is not a trial id"),
    ]:
        code, out, err = thalweg("weights", *words)
        assert (code, out) == (2, ""), words
        assert said in err
    for words, said in [
        (("smoke", "new.csv"), "smoke is a study, not a trial"),
        ((trial,), "1 name given; expected a trial and a file"),
        ((trial, "new.csv", "-o", "out.txt"), "'.txt'; expected .csv or .npz"),
        ((trial, "new.csv"), f"{trial[:8]} is not trained yet, so it has no weights"),
    ]:
        code, out, err = thalweg("predict", *words)
        assert (code, out) == (2, ""), words
        assert said in err
    assert [each.name for each in desk.iterdir()] == ["results"]


# plan, sweep, run


def test_plan_names_the_store_first_and_counts(thalweg, desk):
    code, out, err = thalweg("plan", *WORDS)
    assert code == 0
    assert err.startswith(f"store: {desk / 'results' / 'thalweg.sqlite'}")
    assert "336 trials wanted, 0 done, 336 to train in 4 groups" in out
    assert list(desk.iterdir()) == []


def test_a_dry_run_is_a_plan(thalweg, desk):
    assert thalweg("sweep", *WORDS, "--dry-run") == thalweg("plan", *WORDS)
    assert list(desk.iterdir()) == []


TPE = ("optimizer.lr=1e-3..1:log", "optimizer.weight_decay=1e-4..1:log", "study.sample={n:20,method:tpe,batch:8}")


def test_a_sweep_that_asks_for_points_goes_on_until_all_are_known(thalweg, trainer):
    pytest.importorskip("optuna", reason="needs the extra optuna")
    words = (*TPE, "study.name=asks", "tracker=none")
    code, _, err = thalweg("sweep", *words)
    assert code == 0
    assert [plan.to_train for plan in trainer.plans] == [8, 8, 4]
    assert [plan.unknown for plan in trainer.plans] == [12, 4, 0]
    assert "20 finished" in err
    assert "12 points not yet known" in err
    assert "20 trials wanted, 20 done, 0 to train" in thalweg("plan", *words)[1]
    thalweg("sweep", *words)
    assert len(trainer.plans) == 3


def test_a_sweep_that_asks_for_points_stops_where_trials_fail(thalweg, trainer):
    pytest.importorskip("optuna", reason="needs the extra optuna")
    trainer.behaviour = "failing"
    assert thalweg("sweep", *TPE, "study.name=asks", "tracker=none")[0] == 3
    assert len(trainer.plans) == 1


def test_options_and_words_mix_in_any_order_and_dash_m_is_taken(thalweg):
    plans = [
        thalweg("plan", "--json", *WORDS)[1],
        thalweg("plan", "-m", "tracker=none", "--json", "budget.steps=40", "study=smoke")[1],
    ]
    assert plans[0] == plans[1]
    plan = strict(plans[0])
    assert (plan["study"], plan["wanted"], plan["done"], plan["to_train"]) == ("smoke", 336, 0, 336)
    assert sum(group["to_train"] for group in plan["groups"]) == 336


def test_plan_exit_code_says_whether_work_is_left(thalweg, trainer):
    assert thalweg("plan", *WORDS, "--exit-code")[0] == 3
    thalweg("sweep", *WORDS)
    assert thalweg("plan", *WORDS, "--exit-code")[0] == 0


@pytest.mark.long
def test_cfg_and_info_print_and_start_nothing(thalweg, desk):
    for verb in ("plan", "sweep", "run"):
        assert "steps: 40" in thalweg(verb, "budget.steps=40", "--cfg", "job")[1]
    assert thalweg("config", "budget.steps=40")[1] == thalweg("plan", "--cfg", "job", "budget.steps=40")[1]
    assert "optimizer: adamw" in thalweg("sweep", "--info")[1]
    assert thalweg("sweep", "--info", "defaults", "smoke")[0] == 0
    assert list(desk.iterdir()) == []


def test_a_sweep_ends_with_its_answer_and_the_next_command(thalweg, trainer):
    code, out, err = thalweg("sweep", *WORDS)
    assert code == 0
    assert err.startswith("store: ")
    assert "336 trials wanted, 0 done, 336 to train" in err
    assert "[b]planted[/b]" in err
    assert "4 panels looked at" in out
    assert "336 finished, 0 diverged; 1.0 s on cpu" in err
    assert re.findall(r"(?m)^next: thalweg (.*)$", err) == [
        "show smoke --rows",
        "show smoke --maps",
        "recommend smoke",
        "refine smoke",
    ]


@pytest.mark.long
def test_a_second_sweep_trains_nothing_says_so_and_still_answers(thalweg, trainer):
    first = thalweg("sweep", *WORDS)[1]
    code, out, err = thalweg("sweep", *WORDS)
    assert (code, out, len(trainer.plans)) == (0, first, 1)
    assert "nothing to train: 336 of 336 trials are done" in err


@pytest.mark.long
def test_a_worker_starts_early_where_something_will_train_and_is_gone_in_the_end(thalweg, trainer, spawned):
    for words, started in [(("-1",), 1), ((), 2), ((), 2), (("1/256..16:x2",), 3)]:
        thalweg("sweep", *WORDS, *(f"optimizer.lr={values}" for values in words))
        assert len(spawned) == started
        assert all(process.terminate.called for process in spawned)


@pytest.mark.long
def test_a_wider_axis_trains_only_the_new_cells(thalweg, trainer):
    thalweg("sweep", *WORDS)
    thalweg("sweep", *WORDS, "seed=0..2")
    assert [plan.to_train for plan in trainer.plans] == [336, 168]


@pytest.mark.long
@pytest.mark.parametrize(("behaviour", "expected"), [("interrupted", 130), ("terminated", 143)])
def test_a_stopped_sweep_says_what_is_stored_and_how_to_go_on(thalweg, trainer, behaviour, expected):
    trainer.behaviour = behaviour
    code, out, err = thalweg("sweep", *WORDS)
    assert code == expected
    assert "10 of 336 trials are stored" in err
    assert f"go on: thalweg sweep {' '.join(WORDS)}" in err
    assert "So far: 10 of 336 trials" in " ".join(out.split())


def test_a_run_that_is_stopped_says_how_to_go_on(thalweg, trainer):
    trainer.behaviour = "interrupted"
    code, out, err = thalweg("run", "optimizer.lr=0.1", "tracker=none")
    assert (code, out) == (130, "")
    assert "go on: thalweg run optimizer.lr=0.1 tracker=none" in err


def test_failed_trials_are_counted_the_first_error_named_and_the_code_is_3(thalweg, trainer):
    trainer.behaviour = "failing"
    code, _, err = thalweg("sweep", *WORDS)
    assert code == 3
    assert "1 trial failed, the first with: ValueError: no such layer" in err


def test_run_trains_one_trial_and_prints_its_metrics(thalweg, trainer):
    words = ("optimizer.lr=0.1", "budget.steps=40", "tracker=none")
    code, out, _ = thalweg("run", *words)
    assert code == 0
    assert re.search(r"(?m)^val/loss +[\d.]+", out)
    assert thalweg("run", *words)[1] == out
    assert len(trainer.plans) == 1


# reading what is there


@pytest.fixture
def swept(desk):
    """A store with the small study, a third of its largest rate diverged; its full ids."""
    declaration = declare(Request(WORDS))
    members = expand(declaration.study)
    trials = list({member.trial.id: member.trial for member in members}.values())
    lost = [t for t in trials if t.config.optimizer.lr == 2 and t.config.seed == 0]
    with Store.open(desk / "results" / "thalweg.sqlite", "write") as store:
        store.declare(declaration.study, members)
        commit(store, declaration.study, [t for t in trials if t not in lost])
        commit(store, declaration.study, lost, Outcome.DIVERGED)
    return trials


def test_ls_lists_studies_and_then_cells(thalweg, swept):
    assert re.search(r"smoke +336/336", thalweg("ls")[1])
    assert strict(thalweg("ls", "--json")[1])["studies"][0]["name"] == "smoke"
    cells = thalweg("ls", "smoke")[1]
    assert len(re.findall(r"(?m) 2 +\.?\d", cells)) >= 100
    assert cells == thalweg("ls", "study=smoke")[1]


def test_ls_json_has_every_trial_with_its_axes_and_metrics(thalweg, swept):
    trials = strict(thalweg("ls", "smoke", "--json")[1])["trials"]
    assert {trial["id"] for trial in trials} == {trial.id for trial in swept}
    assert all({"id", "outcome", "axes", "metrics", "block"} <= trial.keys() for trial in trials)
    assert all(("val/loss" in t["metrics"]) == (t["outcome"] == "finished") for t in trials)


def test_show_has_a_line_a_panel_or_the_maps(thalweg, swept):
    assert "4 panels looked at" in thalweg("show", "smoke")[1]
    maps = thalweg("show", "smoke", "--maps")[1]
    assert maps.count("best of its row") == 4
    assert max(map(len, maps.splitlines())) <= 80
    assert len(strict(thalweg("show", "--json")[1])["panels"]) == 4


def test_show_lists_every_row_used_or_with_its_reason(thalweg, swept):
    out = thalweg("show", "smoke", "--rows")[1]
    said = [json.loads(thalweg("show", "smoke", "--json")[1])["findings"][n]["rows_used"] for n in range(4)]
    assert len(re.findall(r"(?m) used(, counts \d+%)? *$", out)) == sum(said)
    assert len(re.findall(r"(?m)^ *(1/)?\d+  .*(used|%|[a-z].+[a-z]) *$", out)) == 24


def grid_file(folder, name="mine.csv", slope=-1.0):
    valley = planted.valley_of(slope)
    lines = ["rate,decay,who,final"]
    for lr in planted.LRS:
        for product in planted.PRODUCTS[1:]:
            for seed in planted.SEEDS:
                loss = valley(lr, product / lr, seed) if product * lr < 1 else "nan"
                lines.append(f"{lr},{product / lr},s{seed},{loss}")
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return ("--table", name, "--lr", "rate", "--wd", "decay", "--loss", "final", "--seed", "who")


def test_analyze_answers_from_a_table_of_the_users_own(thalweg, desk):
    columns = grid_file(desk)
    (found,) = strict(thalweg("analyze", "coupling", *columns, "--json")[1])["findings"]
    assert found["low"] <= -1 <= found["high"]
    assert found["rows_used"] + sum(found["rows_dropped"].values()) == 12
    assert found["verdict"].startswith("Only lr·wd matters")
    assert {"slope", "undetermined", "diverged", "best", "edge"} <= found.keys()
    assert found["best"].keys() >= {"lr", "wd", "loss"}
    said = thalweg("analyze", "coupling", *columns)[1]
    assert "only lr·wd matters" in said
    assert max(map(len, said.splitlines())) <= 80


def test_analyze_answers_a_stored_study_as_show_does(thalweg, swept):
    found = strict(thalweg("analyze", "smoke", "--json")[1])["findings"]
    assert found == strict(thalweg("show", "smoke", "--json")[1])["findings"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("coupling", "--table", "none.csv"), "cannot read none.csv: No such file"),
        (("coupling", "--table", "/dev/zero"), "cannot read /dev/zero: it is a device; expected a file"),
        (("coupling", "--table", "."), "cannot read .: it is a folder; expected a file"),
        (("cuopling", "--table", "mine.csv"), "'cuopling' is not a question; expected coupling, warmup, sensitivity"),
        (("coupling", "--table", "mine.csv"), "no column 'lr'"),
        (("warmup", "--table", "mine.csv", "--maximize"), "--maximize is for coupling: warmup asks about a loss"),
        (("sensitivity", "--table", "mine.csv", "--maximize"), "--maximize is for coupling: sensitivity asks about"),
        (
            ("coupling", "--table", "mine.csv", "--lr", "who"),
            "line 2, column 'who' holds 's0'; expected a learning rate above 0",
        ),
        (("coupling",), "there is no store, so no study 'coupling'"),
    ],
)
def test_what_analyze_cannot_use_is_said_in_a_sentence(thalweg, desk, words, said):
    grid_file(desk)
    code, out, err = thalweg("analyze", *words, *(("--wd", "decay", "--loss", "final") if "who" in words else ()))
    assert (code, out) == (2, "")
    assert said in err


def test_show_finds_a_trial_by_the_beginning_of_its_id(thalweg, swept):
    out = thalweg("show", swept[0].id[:10])[1]
    assert swept[0].id in out
    assert "val/loss" in out
    assert "weight_decay" in out
    assert "None" not in out
    assert "fingerprint: null" in out
    assert "revision" not in out  # of a user's code, which has none here
    shown = strict(thalweg("show", swept[0].id[:10], "--json")[1])
    assert shown["trial"]["id"] == swept[0].id
    assert shown["trial"]["config"]["budget"]["steps"] == 40


@pytest.mark.parametrize("option", [["--maps"], ["--rows"], ["--metric", "val/loss"], ["--panel", "x"]])
def test_what_is_of_a_study_is_refused_of_a_trial(thalweg, swept, option):
    code, _, err = thalweg("show", swept[0].id[:10], *option)
    assert code == 2
    assert f"{option[0]} is of a study, and {swept[0].id[:10]} is a trial" in err


def test_best_has_the_near_optimal_set_and_test_once(thalweg, swept):
    found = strict(thalweg("best", "smoke", "--json")[1])
    assert found["near_optimal"][0] == found["best"]
    assert len(found["blocks"]) == 4
    assert list(found["test"]) == ["test/loss"]
    tested = found["test"]["test/loss"]
    assert tested["low"] < tested["mean"] < tested["high"]
    assert f"95% {figure(tested['low'])} … {figure(tested['high'])}" in thalweg("best")[1]
    assert "test" not in found["blocks"][0]
    assert thalweg("best")[1].count("test/loss") == 1


@pytest.mark.parametrize("verb", ["ls", "show", "best"])
def test_a_study_that_is_not_there_is_a_mistake_that_names_the_nearest(thalweg, swept, verb):
    code, _, err = thalweg(verb, "smokey")
    assert code == 2
    assert "smoke" in err


def test_overrides_are_refused_where_nothing_is_composed(thalweg, swept):
    assert thalweg("best", "optimizer.lr=1")[0] == 2


# W&B


@pytest.fixture
def exports(monkeypatch):
    """In place of W&B: the calls of the tracker's export, as (trials, keywords)."""
    from thalweg.runner import tracker

    calls = []

    def export(trials, store, settings, **keywords):
        calls.append((list(trials), keywords))
        return SimpleNamespace(
            warnings=(), worth_saying=True, line="W&B 40/336 written; go on: thalweg sync", problem=None
        )

    monkeypatch.setattr(tracker, "export", export)
    return calls


@pytest.fixture
def writers(monkeypatch):
    """In place of the processes that write runs: their jobs."""
    from thalweg.runner.cli import mirror

    jobs = []

    def beside(job):
        jobs.append(("beside", job))
        return nullcontext()

    def after(job, report):
        jobs.append(("after", job))
        return ["W&B 336/336 written"]

    monkeypatch.setattr(mirror, "beside", beside)
    monkeypatch.setattr(mirror, "after", after)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", "/nowhere")
    return jobs


def test_a_sweep_has_its_runs_written_beside_training_and_after_it(thalweg, trainer, writers):
    _, _, err = thalweg("sweep", "smoke", "budget.steps=40", "tracker=wandb", "tracker.project=mine")
    assert err.splitlines()[-1] == "W&B 336/336 written"
    assert [when for when, _ in writers] == ["beside", "after"]
    assert {(job.study, *job.given, job.settings["project"]) for _, job in writers} == {("smoke", "project", "mine")}


def test_nothing_is_written_without_training_nor_with_the_tracker_off(thalweg, trainer, writers):
    thalweg("sweep", *WORDS)
    thalweg("sweep", "smoke", "budget.steps=40", "tracker=wandb")
    assert [job for _, job in writers if job] == []


def test_who_has_no_account_is_told_once_that_no_runs_are_written(thalweg, trainer, writers, monkeypatch):
    _, _, err = thalweg("sweep", "smoke", "budget.steps=40")
    assert err.splitlines()[-1] == "W&B: no account here, so no runs are written; thalweg sync makes them at any time"
    assert [job for _, job in writers if job] == []
    monkeypatch.setenv("WANDB_MODE", "offline")
    thalweg("sweep", "smoke", "budget.steps=41")
    assert [when for when, job in writers if job] == ["beside", "after"]


def test_sync_goes_on_without_a_deadline_and_asks_to_upload(thalweg, swept, exports):
    code, out, _ = thalweg("sync", "smoke")
    assert (code, out) == (0, "W&B 40/336 written; go on: thalweg sync\n")
    ((trials, keywords),) = exports
    assert len(trials) == len(swept)
    assert (keywords["write_seconds"], keywords["upload_seconds"], keywords["asked_to_upload"]) == (None, None, True)
    assert [each.study for each in keywords["analyses"]] == ["smoke"]


# config


def test_config_lists_every_group_and_option(thalweg):
    listed = strict(thalweg("config", "--json")[1])["groups"]
    assert {"model", "dataset", "optimizer", "schedule", "study", "tracker", "launcher", "engine"} <= listed.keys()
    text = thalweg("config")[1]
    for options in listed.values():
        assert all(option in text for option in options)


# what is imported, and how fast


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [("--help",), ("ls",), ("ls", "smoke"), ("show", "smoke", "--maps"), ("best",), ("config",), ("plan", *WORDS), ONE],
)
def test_only_workers_import_anything_heavy(swept, desk, words):
    program = (
        "import sys; from thalweg.runner.cli import main;"
        "code = main(); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "thalweg.runner.cli" in done.stderr.split()
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not HEAVY & loaded
    if words[0] in ("--help", "config"):  # they read no results, and .08 s of .4 is much
        assert not {"numpy", "PIL"} & loaded


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whatever_an_interrupted_command_stumbles_over_it_was_interrupted(monkeypatch, capsys, number, expected):
    def stumbling(**how):
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        except KeyboardInterrupt:
            raise RuntimeError("half a module") from None

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
    monkeypatch.setattr(sys.modules["thalweg.runner.cli.app"], "app", stumbling)
    assert main(["ls"]) == expected
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_the_process_there_and_then(number, expected):
    program = f"""
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def tidying(**how):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)
    finally:
        os.kill(os.getpid(), {number})
        time.sleep(9)
from thalweg.runner.cli import main
sys.modules["thalweg.runner.cli.app"].app = tidying
sys.exit(main(["ls"]))
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (expected, "", "")


@pytest.mark.parametrize("verb", ["plan", "run", "refine"])
def test_a_dry_run_where_there_is_none_points_to_plan(thalweg, verb):
    code, _, said = thalweg(verb, "--dry-run")
    assert code == 2
    assert "thalweg plan says what would be trained" in said
