"""scripts/gpu needs a GPU to run, and this holds it together without one: what it names exists and is called as it is.

Knows nothing of whether its checks or figures are right.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "scripts" / "gpu"
OURS = ("thalweg", "benchmarks")
MODULES = sorted(KIT.rglob("*.py"))
SCRIPTS = sorted(KIT.rglob("*.sh"))
sys.path.insert(0, str(ROOT / "scripts"))


def imported(tree: ast.Module) -> dict[str, tuple[str, str | None]]:
    """Name in the module -> (module, name there or None) of everything that is imported from us."""
    found: dict[str, tuple[str, str | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.split(".")[0] in OURS]
            found |= {alias.asname or alias.name: (alias.name, None) for alias in ours}
    return found


def resolved(module: str, name: str | None) -> Any:
    """What an import gives, a module below the named one included."""
    found = importlib.import_module(module)
    if name is None:
        return found
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def fits(call: ast.Call, function: Callable[..., object]) -> bool:
    """Whether a function takes so many arguments by these names; calls that unpack some are not looked at."""
    names = [keyword.arg for keyword in call.keywords]
    if None in names or any(isinstance(each, ast.Starred) for each in call.args):
        return True
    try:
        inspect.signature(function).bind(*call.args, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def misuses(text: str) -> list[str]:
    """What a module takes from us that is not there, or calls as it cannot be called."""
    tree, held, wrong = ast.parse(text), {}, []
    for name, source in imported(tree).items():
        try:
            held[name] = resolved(*source)
        except ImportError:
            wrong.append(f"{name} of {source[0]}")

    def meant(node: ast.expr) -> object:
        """What an expression of dotted names stands for; None where that is none of ours."""
        if isinstance(node, ast.Name):
            return held.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(meant(node.value), node.attr, None)
        return None

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = meant(node.value)
            if isinstance(owner, ModuleType | type) and not hasattr(owner, node.attr):
                wrong.append(f"{node.attr} of {owner.__name__}")
        elif isinstance(node, ast.Call):
            function = meant(node.func)
            if callable(function) and not fits(node, function):
                wrong.append(f"the call in line {node.lineno}: {ast.unparse(node)}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(KIT)))
def test_what_a_module_takes_from_us_is_there(path: Path) -> None:
    assert misuses(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("from thalweg.runner.train.worker import Bench\nBench(1, 2, 3)", []),
        ("from thalweg.runner.train.worker import _Bank", ["_Bank of thalweg.runner.train.worker"]),
        ("from thalweg.runner.worker import Bench", ["Bench of thalweg.runner.worker"]),
        ("import benchmarks.nosuch", ["benchmarks.nosuch of benchmarks.nosuch"]),
        (
            "from thalweg.runner.engine import workload as w\nw.load_data = 1",
            ["load_data of thalweg.runner.engine.workload"],
        ),
        (
            "from thalweg.runner.train.messages import Ask\nAsk(group='g')",
            ["the call in line 2: Ask(group='g')"],
        ),
        (
            "from thalweg.runner.engine.prepare import prepared\nprepared(1)",
            ["the call in line 2: prepared(1)"],
        ),
    ],
)
def test_a_name_or_a_call_that_is_wrong_is_found(text: str, wrong: list[str]) -> None:
    assert misuses(text) == wrong


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(KIT)))
def test_a_script_parses(path: Path) -> None:
    done = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
def test_the_words_of_every_structure_declare_trials() -> None:
    from gpu import first, second

    for words in (first.MLP, *first.OTHERS.values()):
        assert len(first.trials(words, 2)) == 2
    for case in second.CASES:
        assert len(second.trials_for(replace(case, widths=(2,)), case.precisions[0])) == 2
        assert {*case.executors} <= {*second.EXECUTORS}


@pytest.mark.long
def test_checks_pass_where_the_cpu_stands_in_and_each_verdict_is_said(tmp_path: Path, monkeypatch, capsys) -> None:
    from gpu import first

    monkeypatch.setattr(first, "GPU", first.CPU)
    first.prepare()

    def broken():
        return 1 / 0

    report = first.Verdicts(tmp_path / "out.json", seconds=60)
    for check in first.checks():
        if "traced" in check.name:
            report.add(check)
    report.add(first.Check("a check that breaks", broken))
    report.seconds = -1.0
    report.add(first.Check("a check too late", broken))
    words = [line.split(" ", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["PASS", "PASS", "PASS", "FAIL", "SKIP"]
    assert '"a check that breaks trace": "Traceback' in report.path.read_text()


@pytest.mark.parametrize("name", ["first", "second"])
def test_without_a_gpu_it_ends_with_a_sentence(name: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert importlib.import_module(f"gpu.{name}").main("nowhere.json", "1") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("finds no CUDA GPU here; run this on a machine that has one\n")


def test_every_wheel_is_of_a_pinned_package() -> None:
    text = (KIT / "wheels.sh").read_text(encoding="utf-8")
    lists = re.findall(r'^(?:names|wandb)="([^"$]+)"', text, re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    wanted = {name for names in lists for name in names.split()}
    assert {"hydra-core", "wandb"} <= wanted <= pinned
    assert "antlr4-python3-runtime" in pinned


@pytest.mark.parametrize(("script", "words"), [("test", ["--gpu"]), ("bench", ["gpu"])])
def test_the_scripts_ask_for_a_folder_and_make_nothing_without_one(script: str, words: list[str]) -> None:
    for more in ([], ["one", "two"]):
        done = subprocess.run(
            ["sh", ROOT / "scripts" / script, *words, *more], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"usage: scripts/{script} {words[0]} OUT")


@pytest.mark.parametrize(("part", "most"), [("first", 240), ("second", 360)])
def test_what_a_part_may_take_is_within_its_minutes(part: str, most: int) -> None:
    text = (KIT / f"{part}.sh").read_text(encoding="utf-8")
    sweeps = len(re.findall(r"^sweep \w+ ", text, re.MULTILINE))
    each = int(re.search(r"^    timeout (\d+)", text, re.MULTILINE)[1])
    once = sum(map(int, re.findall(r"^timeout (\d+)", text, re.MULTILINE)))
    assert once + sweeps * each <= most


HANGS = """#!/bin/sh
case "$*" in
*" pytest "*) echo "a test PASSED" && what=pytest ;;
*/first.py* | */second.py*) echo "PASS a check" && what=checks ;;
*" sweep "*) echo "smoke: traced, 8 trials" && what=sweep ;;
esac
[ "$what" != "$HANG" ] || sleep 25
"""


@pytest.mark.parametrize(
    ("part", "hang", "kept"),
    [
        ("first", "pytest", ("pytest.txt",)),
        ("first", "checks", ("pytest.txt", "first.txt")),
        ("first", "sweep", ("pytest.txt", "first.txt", "sweeps.txt")),
        ("second", "checks", ("second.txt",)),
        ("second", "sweep", ("second.txt", "sweeps.txt")),
    ],
)
def test_what_was_found_is_in_the_folder_when_all_is_killed(part, hang, kept, tmp_path) -> None:
    """Line by line: a pipe that gathers lines until its end would take them along."""
    python = tmp_path / "python"
    python.write_text(HANGS)
    python.chmod(0o755)
    environ = os.environ | {"PYTHON": str(python), "HANG": hang}
    command = ["sh", KIT / f"{part}.sh", KIT, tmp_path / "out"]
    null = subprocess.DEVNULL
    running = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True, stdout=null, stderr=null)
    last = tmp_path / "out" / kept[-1]
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until and not (last.exists() and last.read_text().endswith("\n")):
            time.sleep(0.05)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(10)
    assert all((tmp_path / "out" / name).read_text().endswith("\n") for name in kept)


@pytest.mark.long
def test_a_goal_is_judged_by_the_fastest_of_its_trials_and_said_where_nothing_was_measured() -> None:
    from gpu.second import GOALS, Goal, Measured

    solo = {"eager": 1e-3, "graph": 1e-4}
    slow, fast, other = (
        Measured("MLP 64-64", "float32", lanes, executor, whole, whole / 2, 0, solo)
        for lanes, executor, whole in ((64, "traced", 5e-4), (64, "graphed", 3e-4), (8, "graphed", 1e-5))
    )
    eager, graph = Goal("MLP", 64, 0.35), Goal("MLP", 64, 1.7, "graph")
    assert "reached, 0.30 (graphed, float32; whole / step 2.00)" in eager.verdict([slow, fast, other])
    assert "MISSED, 0.50 (traced" in eager.verdict([slow, other])
    assert "MISSED, 3.00 (graphed" in graph.verdict([slow, fast])
    alone = replace(fast, solo={"eager": 1e-3})  # capturing the solo trial failed
    assert graph.verdict([alone]).endswith("one graph: not measured")
    assert all(goal.verdict([]).endswith("not measured") for goal in GOALS)
