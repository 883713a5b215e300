"""A user's own packages, whatever their names, beside ours: in the folder, on PYTHONPATH, installed; in workers too."""

import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

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
    command = [python, "-m", "thalweg", *WORDS]  # without -P: the folder itself is on the path, first of all
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


def test_packages_of_our_folders_names_are_the_users(from_the_folder):
    assert from_the_folder


def test_and_from_pythonpath_before_ours(from_the_folder, tmp_path):
    write(tmp_path / "elsewhere", CODE)
    write(tmp_path / "project", PROJECT)
    assert sweep(tmp_path / "project", sys.executable, tmp_path / "elsewhere", ROOT / "src") == from_the_folder


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


def test_a_declared_folder_without_init_is_a_package_where_there_is_no_other(tmp_path):
    write(tmp_path, {"parts/one.py": "", "thalweg.yaml": "code: [parts, other]"})
    write(tmp_path / "site", {"other/__init__.py": "", "other/two.py": ""})
    (tmp_path / "other").mkdir()
    code = "from thalweg.runner.project.project import here; here(); import parts.one, other.two; print(other.__file__)"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(tmp_path / "site/other/__init__.py"), done.stderr


def test_our_package_is_never_there_under_two_names():
    """With the clone's root on the path each module would be, and each class of ours twice."""
    code = f"import sys, thalweg.runner.cli; print(set({NAMES}) & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
