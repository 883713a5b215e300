"""The import contract of pyproject.toml holds, and it is no decoration: each kind of breach breaks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "runner", "optim", "data", "models")


def lint(folder):
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}  # the copy is what is read
    command = [sys.executable, "-P", "-c", code, "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    for folder in (*FOLDERS, "src"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contract_holds(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "breach", "contract"),
    [
        ("runner/planning/plan.py", "import torch", "The door of torch"),
        ("src/thalweg/__init__.py", "import rich", "The door of rich"),
        ("runner/planning/plan.py", "import thalweg.runner.base.errors, sqlite3", "The door of sqlite3"),
        ("runner/study/study.py", "from hydra import compose", "The door of hydra"),
        ("models/schema.py", "import thalweg.runner.study.trial", "Schemas know nothing of ours"),
        ("optim/rule.py", "import thalweg.runner.study.trial", "do not know the runner"),
        ("runner/analysis/answers.py", "import torch", "An analysis is given a tidy table"),
        ("runner/decide/moves.py", "import thalweg.runner.store", "An analysis is given a tidy table"),
        ("runner/study/trial.py", "import thalweg.runner.planning.plan", "none imports one that stands above it"),
        ("runner/facts/row.py", "import thalweg.runner.project.code", "none imports one that stands above it"),
        ("optim/rule.py", "import thalweg.data.schema", "do not know the runner"),
        ("runner/machine/device.py", "import numpy", "needs only the standard library"),
        ("runner/facts/row.py", "import thalweg.runner.engine", "never training code"),
        ("runner/report/page.py", "import thalweg.runner.store", "A report is given rows"),
    ],
)
def test_a_breach_is_found(copy, module, breach, contract):
    path = copy / module
    path.write_text(path.read_text() + f"\n{breach}\n")
    done = lint(copy)
    assert done.returncode == 1
    broken = done.stdout.split("Broken contracts")[1]
    assert contract in " ".join(broken.split())


@pytest.mark.parametrize("name", ["runner/loose.py", "runner/attic/__init__.py"])
def test_a_module_without_a_room_is_found(copy, name):
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("")
    done = lint(copy)
    assert done.returncode != 0
    assert Path(name).parts[1].removesuffix(".py") in done.stdout
