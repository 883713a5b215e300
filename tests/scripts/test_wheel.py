"""The wheel: our five packages with their YAML, and nothing else. It works from any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("conf", "runner", "optim", "data", "models")
NOT_OURS = shutil.ignore_patterns(
    ".git", ".venv*", "results", "wandb", "dist", "__pycache__", ".*_cache", ".hypothesis"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A clean copy with ignored things planted in it, and the wheel built there."""
    folder = tmp_path_factory.mktemp("wheel") / "clone"
    shutil.copytree(ROOT, folder, ignore=NOT_OURS)
    for path in ("results/thalweg.sqlite", "runner/__pycache__/place.cpython-311.pyc", ".venv/lib/x.py"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(built):
    site = built.parent / "site"
    zipfile.ZipFile(built).extractall(site)
    return site


def test_the_wheel_holds_our_packages_and_nothing_else(built):
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    names = set(zipfile.ZipFile(built).namelist())
    information = {name for name in names if ".dist-info/" in name}
    assert names - information == sources
    ours = {name for name in sources if not name.startswith("runner/template/")}  # the user's, with a README
    assert {Path(name).suffix for name in ours} <= {".py", ".yaml", ".typed", ".css", ".js"}
    assert "conf/config.yaml" in sources
    assert any(name.endswith("licenses/LICENSE") for name in information)


def test_the_wheel_declares_the_command_and_the_version(built):
    from runner import __version__

    wheel = zipfile.ZipFile(built)
    information = f"thalweg-{__version__}.dist-info"
    assert "thalweg = runner.__main__:main" in wheel.read(f"{information}/entry_points.txt").decode()
    assert f"Version: {__version__}\n" in wheel.read(f"{information}/METADATA").decode()


def where(installed, folder, pythonpath, code):
    command = [sys.executable, "-c", code]
    environ = {**os.environ, "PYTHONPATH": pythonpath.format(site=installed)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_installed_configuration_is_found_from_an_empty_folder(installed, tmp_path):
    code = (
        "import runner.place, conf, importlib.resources as files; runner.place.check();"
        "print((files.files(conf) / 'config.yaml').is_file())"
    )
    assert where(installed, tmp_path, "{site}", code) == "True"


@pytest.mark.parametrize("pythonpath", ["{site}", ".:{site}"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_folder_with_packages_of_our_names_changes_nothing(installed, tmp_path, pythonpath, plain):
    for name in ("conf", "data", "models", "optim"):
        (tmp_path / name).mkdir()
        if not plain:
            (tmp_path / name / "__init__.py").write_text("raise RuntimeError('theirs')")
    code = (
        "import runner.place as p; p.check(); import models, data.schema; print(models.__file__, data.schema.__file__)"
    )
    assert where(installed, tmp_path, pythonpath, code) == f"{installed}/models/__init__.py {installed}/data/schema.py"
