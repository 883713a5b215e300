"""A user's own packages, whatever their names, beside ours: in the folder, on PYTHONPATH, installed; in workers too."""

import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.user import resolved

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("conf", "data", "models", "optim", "runner")
CODE = {
    "models/__init__.py": "",
    "models/mlp.py": "from torch import nn\nimport conf.sizes\n"
    "class MLP(nn.Sequential):\n    def __init__(self, inputs, outputs):\n"
    "        super().__init__(nn.Linear(inputs, conf.sizes.WIDTH), nn.Linear(conf.sizes.WIDTH, outputs))\n",
    "data/__init__.py": "import numpy as np\n"
    "def load_splits():\n    x = np.random.default_rng(0).normal(size=(60, 3))\n"
    "    return x.astype('float32'), (x[:, 0] > 0).astype('int64')\n",
    "optim/__init__.py": "from torch.nn.functional import cross_entropy\n"
    "def AdamW(outputs, y):\n    return cross_entropy(outputs, y)\n",
    "conf/__init__.py": "",
    "conf/sizes.py": "WIDTH = 5\n",
    "runner/__init__.py": "from torch.nn.functional import cross_entropy\n"
    "def main(outputs, y):\n    return 2 * cross_entropy(outputs, y)\n",
}
"""All five names that thalweg's folders have, and in them names of ours: models.mlp.MLP, data.load_splits."""
PROJECT = {
    "thalweg.yaml": f"config: conf\ncode: [{', '.join(NAMES)}]\n",
    "conf/model/theirs.yaml": "_target_: models.mlp.MLP\n",
    "conf/dataset/theirs.yaml": "_target_: data.load_splits\n",
}
WORDS = [
    *("sweep", "model=theirs", "dataset=theirs", "optimizer.lr=0.01,0.1", "seed=0,1", "study.name=theirs"),
    *("task.loss=runner.main", "evaluation.metrics=[optim.AdamW]", "launcher.workers=2", "engine=loop"),
    *("budget.steps=3", "budget.batch_size=8", "schedule.warmup=0", "tracker=none", "--yes"),
]


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def sweep(folder, python, *path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("THALWEG", "WANDB", "PYTHON"))}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    command = [python, "-m", "thalweg", *WORDS]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    connection = sqlite3.connect(folder / "results/thalweg.sqlite")
    weights = connection.execute("SELECT weight_hash FROM trials WHERE outcome = 'finished' ORDER BY id").fetchall()
    connection.close()
    assert len(set(weights)) == 4
    return weights


@pytest.fixture(scope="module")
def from_the_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    write(folder, {**CODE, **PROJECT})
    return sweep(folder, sys.executable, ROOT / "src")


@pytest.mark.long
def test_packages_of_our_folders_names_are_the_users(from_the_folder):
    assert from_the_folder


@pytest.mark.long
def test_and_from_pythonpath_before_ours(from_the_folder, tmp_path):
    write(tmp_path / "elsewhere", CODE)
    write(tmp_path / "project", PROJECT)
    assert sweep(tmp_path / "project", sys.executable, tmp_path / "elsewhere", ROOT / "src") == from_the_folder


@pytest.mark.long
def test_and_installed_beside_ours(from_the_folder, tmp_path):
    """An environment of its own, with the folders as a wheel lays them out, theirs beside; the rest from this one."""
    venv.create(tmp_path / "env", symlinks=True)
    place = {"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
    site = Path(sysconfig.get_path("purelib", vars=place))
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copytree(ROOT / "src/thalweg", site / "thalweg", ignore=shutil.ignore_patterns("__pycache__"))
    write(site, CODE)
    write(tmp_path / "project", PROJECT)
    assert sweep(tmp_path / "project", str(tmp_path / "env/bin/python")) == from_the_folder


HOOK = """
import importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.util.spec_from_file_location("mine", {file!r}) if name == "mine" else None
sys.meta_path.append(Finder)
"""
"""As `pip install -e` of a flat layout: a finder behind the others, and nothing on sys.path."""


@pytest.mark.parametrize(
    ("project", "site", "found"),
    [
        (("mine/__init__.py",), ("mine/__init__.py",), "project/mine"),
        (("mine.py",), ("mine/__init__.py",), "project/mine.py"),
        (("mine/deep/net.py",), ("mine/__init__.py",), "project/mine"),
        (("mine/net.py",), ("mine/net.csv",), "project/mine"),
        (("mine/net.py",), (), "project/mine"),
        (("mine/table.csv",), ("mine/__init__.py",), "site/mine"),
        (("mine/table.csv",), ("mine.py",), "site/mine.py"),
        (("mine/table.csv",), ("hook/other.py", "sitecustomize.py"), "site/hook/other.py"),
        ((), ("mine/__init__.py",), "site/mine"),
    ],
)
def test_python_in_the_project_comes_first_and_a_folder_without_any_hides_nothing(tmp_path, project, site, found):
    write(tmp_path / "project", {"thalweg.yaml": "code: [mine]", **dict.fromkeys(project, "")})
    write(tmp_path / "site", dict.fromkeys(site, HOOK.format(file=str(tmp_path / "site/hook/other.py"))))
    code = (
        "import os; from thalweg.runner.project.project import here; here(); import mine;"
        "home = mine.__file__ or mine.__path__[0]; print(home.removesuffix(os.sep + '__init__.py'))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path / "project", env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(tmp_path / found), done.stderr


def test_code_that_python_has_from_elsewhere_already_is_refused(tmp_path, monkeypatch):
    """Its weights would be recorded beside the fingerprint of a file that never ran."""
    write(tmp_path / "site", {"taken_before/__init__.py": "", "taken_before/nets.py": ""})
    write(tmp_path / "project", {"taken_before/nets.py": "", "thalweg.yaml": "code: [taken_before]"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.import_module("taken_before")
    monkeypatch.chdir(tmp_path / "project")
    with pytest.raises(
        ConfigError, match=r"Python has from .*site/taken_before/__init__.py already; expected taken_before"
    ):
        resolved("model._target_", "model", "taken_before.nets.Net")


@pytest.mark.long
def test_the_current_folder_is_never_on_the_path(tmp_path):
    """`python -m` puts it there, and code that nobody declared, and nobody fingerprints, could be imported from it."""
    write(tmp_path, {**CODE, **PROJECT, "thalweg.yaml": "config: conf\ncode: [models, data, runner, optim]\n"})
    words = [*WORDS, "--store", "s.sqlite"]  # models.mlp imports conf.sizes, which is not declared
    command = [sys.executable, "-m", "thalweg", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 3
    assert "No module named 'conf'" in done.stderr


def test_our_package_is_never_there_under_two_names():
    """With the clone's root on the path each module would be, and each class of ours twice."""
    code = f"import sys, thalweg.runner.cli; print(set({NAMES}) & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
