"""A user's mistake is one sentence, leaves nothing behind, and starts nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from desk import THALWEG, Desk, environment

from thalweg.runner.cli import main

# (the command, words of the message that name what was seen, words that say what to do)
REFUSED = [
    ("sweep lr=0.1", "no key 'lr'", "optimizer.lr"),
    ("sweep wd=0.1", "no key 'wd'", "optimizer.weight_decay"),
    ("sweep mdl=mlp", "no key 'mdl'", "model"),
    ("sweep +new.key=1", "no key 'new.key'", "known here"),
    ("sweep model=mpl", "no option 'mpl'", "model=mlp"),
    ("sweep couplin", "no option 'couplin'", "study=coupling"),
    ("sweep nosuch", "no option 'nosuch'", "it has coupling, "),
    ("sweep coupling smoke", "two studies", "name one"),
    ("sweep optimizer.momentum=0.9", "optimizer.momentum belongs to optimizer=sgd", "choose optimizer=sgd"),
    ("sweep optimizer.lr=-1", "optimizer.lr is -1", "≥ 0"),
    ("sweep optimizer.lr=nan", "optimizer.lr is nan", "≥ 0"),
    ("sweep optimizer.lr=inf", "optimizer.lr is inf", "≥ 0"),
    ("sweep optimizer.lr=0.1,-0.2", "optimizer.lr is -0.2", "≥ 0"),
    ("sweep optimizer.lr=", "optimizer.lr has 0 values", "give at least one"),
    ("sweep optimizer.lr=[]", "optimizer.lr has 0 values", "give at least one"),
    ("sweep optimizer.lr=abc", "'abc'", "a..b:x2"),
    ("sweep optimizer.lr==1", "optimizer.lr==1", "key=value"),
    ("sweep optimizer.lr=[1,2", "cannot be read", "key=value"),
    ("sweep optimizer.lr=1e-4...1:x2", "1e-4...1:x2", "1e-4..1:x2"),
    ("sweep optimizer.lr=1e-4..1:9", "1e-4..1:9", "9log"),
    ("sweep optimizer.lr=1e-4..1:2/decade", "2/decade", "2/dec"),
    ("sweep optimizer.lr=2^-8", "2^-8", "1/256"),
    ("sweep optimizer.lr=1..0.1:x2", "0 values", "smaller end first"),
    ("sweep optimizer.lr=0..1:x2", "starts at 0", "start above 0"),
    ("sweep optimizer.lr=1..8:x1", "multiplies by 1", "more than 1"),
    ("sweep optimizer.lr=interval(1,2)", "nothing says how many", "study.sample.n=60"),
    ("sweep seed=1.5", "seed is 1.5", "integer"),
    ("sweep budget.steps=0", "budget.steps is 0", "≥ 1"),
    ("sweep budget.batch_size=0", "budget.batch_size is 0", "≥ 1"),
    ("sweep schedule.warmup=200%", "1200 steps", "at most budget.steps, 600"),
    ("sweep model.hidden=[0]", "model.hidden", "≥ 1"),
    ("sweep precision=float16", "float16", "float32"),
    ("sweep dataset.train_size=5000", "5000", "≤ 1000"),
    ("sweep study.name=../../x", "../../x", "up to 64"),
    ("sweep study.metric=val/nonsense", "val/nonsense", "val/loss"),
    ("sweep study.metric=test/loss", "test/loss", "val/loss"),
    ("sweep hydra.run.dir=x", "Hydra's own", "--store"),
    ("sweep hydra/launcher=ray", "Hydra's own", "launcher.workers"),
    ("sweep seed=${oc.env:HOME}", "resolver", "environment"),
    ("sweep engine=fast", "no option 'fast'", "auto, compiled, graphed, graphed_compiled, loop, traced, vmap"),
    ("sweep engine.width=0", "engine.width is 0", "≥ 1"),
    ("sweep launcher.workers=1,2", "several values", "one value"),
    ("sweep coupling optimizer.weight_decay=0.1", "derive sets it", "edit the study file"),
    ("sweep coupling optimizer=sgd", "use sets it", "edit the study file"),
    ("sweep seed=0..99999", "100,000 trials", "--yes"),
    ("sweep seed=0..999 optimizer.lr=1e-3..1:1001log", "1,001,000 trials", "--yes"),
    ("sweep seed=0..999999999", "1,000,000,000 values", "larger step"),
    ("run seed=0,1", "declares 2", "sweep"),
    ("run coupling", "declares 2,592", "sweep"),
    ("plan smoke --config-dir nowhere", "nowhere", "folder"),
    ("plan --cfg hydra", "--cfg hydra", "--cfg job"),
    ("sweep --nosuch", "--nosuch", "--help"),
    ("swep", "swep", "--help"),
    ("ls optimizer.lr=1", "optimizer.lr=1 is an override", "thalweg ls"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("THALWEG_STORE", raising=False)
    return tmp_path


@pytest.mark.parametrize(("command", "seen", "advice"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_mistake_is_one_sentence_and_leaves_nothing(here, capsys, command, seen, advice) -> None:
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert seen in err
    assert advice in err
    assert "Traceback" not in err
    assert "internal" not in err
    assert [line.split(":")[0] for line in err.splitlines() if not line.startswith(("store", "no store"))] in (
        ["error"],
        ["error", "hint"],
    )
    assert list(here.iterdir()) == []


def a_database(path: Path) -> None:
    sqlite3.connect(path).executescript("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")


NOT_STORES = {
    "a folder": lambda path: path.mkdir(),
    "not a database": lambda path: path.write_text("notes to self"),
    "another program's": a_database,
}


@pytest.mark.long
@pytest.mark.parametrize("kind", NOT_STORES)
@pytest.mark.parametrize("command", ["sweep smoke", "plan smoke", "ls", "best"])
def test_what_is_no_store_is_refused_and_untouched(here, capsys, kind, command) -> None:
    path = here / "theirs"
    NOT_STORES[kind](path)
    before = path.read_bytes() if path.is_file() else None
    assert main([*command.split(), "--store", str(path)]) == 5
    err = capsys.readouterr().err
    assert "theirs" in err
    assert "--store" in err
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [each.name for each in here.iterdir()] == ["theirs"]


@pytest.mark.parametrize("command", ["ls", "show", "best", "sync", "plan smoke"])
def test_reading_a_missing_store_is_empty_and_makes_none(here, capsys, command) -> None:
    assert main(command.split()) == 0
    assert str(here / "results" / "thalweg.sqlite") in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["ls smoke", "show abcd", "best smoke", "sync smoke", "show smoke --json"])
def test_what_is_named_is_missed_where_there_is_no_store(here, capsys, command) -> None:
    assert main(command.split()) == 5
    assert "there is no store at" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["ls", "show", "best", "plan smoke"])
def test_json_of_a_missing_store_parses_and_has_a_version(here, capsys, command) -> None:
    assert main([*command.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


@pytest.mark.parametrize("word", ["a\nb", "\x1b[31mred", "\u202egnitlob", "x" * 300, "[bold]x[/bold]", "-x=1"])
def test_hostile_words_are_shown_harmless(here, capsys, word) -> None:
    assert main(["plan", word]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert len(err) < 1000


def test_a_gpu_asked_for_by_name_is_never_replaced_by_the_cpu(desk: Desk) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the test needs to be without")
    refused = desk.thalweg("run", "engine.device=cuda", code=2)
    assert "engine.device=cuda" in refused.stderr
    assert "engine.device=cpu" in refused.stderr


@pytest.mark.parametrize("verb", ["sweep smoke", "run"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(desk: Desk, verb: str) -> None:
    desk.extra["CUDA_VISIBLE_DEVICES"] = ""
    refused = desk.thalweg(*verb.split(), "engine.device=cuda", "tracker=none", code=2)
    assert "engine.device=cuda" in refused.stderr
    assert list(desk.folder.iterdir()) == []


def test_a_closed_stdout_is_no_error_and_a_full_one_is_one_sentence(desk: Desk) -> None:
    for redirection, code in ((">&-", 0), ("2>&-", 0), ("<&-", 0), ("> /dev/full", 1)):
        command = f'exec "{sys.executable}" -P -m thalweg config {redirection}'
        done = subprocess.run(
            ["sh", "-c", command], cwd=desk.folder, env=environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (redirection, done.stderr)
        assert "internal" not in done.stderr
        assert ("cannot be written" in done.stderr) == (code == 1)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_the_program_is_still_importing_prints_no_traceback(desk: Desk, name: str, code: int) -> None:
    Path(desk.folder, "typer.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{name})\n")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored, and the child with it
    extra = environment(PYTHONPATH=f"{desk.folder}:{environment()['PYTHONPATH']}")
    done = subprocess.run([*THALWEG, "ls"], env=extra, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "interrupted\n")
