"""The import contract of pyproject.toml holds, and it is no decoration: each kind of breach breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("conf", "runner", "optim", "data", "models")


def lint(folder):
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    command = [sys.executable, "-c", code, "--no-cache"]  # -c puts the current folder first: the copy is what is read
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contract_holds(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "breach", "contract"),
    [
        ("runner/plan.py", "import torch", "The door of torch"),
        ("runner/plan.py", "import runner.place, sqlite3", "The door of sqlite3"),
        ("runner/study.py", "from hydra import compose", "The door of hydra"),
        ("models/schema.py", "import runner.trial", "Schemas know nothing of ours"),
        ("optim/rule.py", "import runner.trial", "do not know the runner"),
        ("runner/analysis/answers.py", "import torch", "An analysis is given a tidy table"),
        ("runner/decide/moves.py", "import runner.store", "An analysis is given a tidy table"),
        ("runner/trial.py", "import runner.plan", "The data's way"),
        ("runner/device.py", "import numpy", "needs no torch"),
        ("runner/table.py", "import runner.engine", "never training code"),
        ("runner/report/page.py", "import runner.store", "A report is given rows"),
    ],
)
def test_a_breach_is_found(copy, module, breach, contract):
    path = copy / module
    path.write_text(path.read_text() + f"\n{breach}\n")
    done = lint(copy)
    assert done.returncode == 1
    broken = done.stdout.split("Broken contracts")[1]
    assert contract in " ".join(broken.split())
