"""What is built: one package, thalweg, with our folders in it and nothing else. It works from any folder.

Every wheel here is built through the sdist, as `python -m build` and package indexes do: an sdist holds no links.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("hatchling") is None, reason="NOT RUN: hatchling is not installed")
ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "runner", "optim", "data", "models")
OWN = ("__init__.py", "__main__.py", "py.typed")
NOT_OURS = shutil.ignore_patterns(
    ".git", ".venv*", "results", "wandb", "dist", "__pycache__", ".*_cache", ".hypothesis"
)


def build(folder, target):
    command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", target, "-d", folder / "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((folder / "dist").glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[target]))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist of a clean copy with ignored things planted in it."""
    folder = tmp_path_factory.mktemp("wheel") / "clone"
    shutil.copytree(ROOT, folder, ignore=NOT_OURS, symlinks=True)
    for path in ("results/thalweg.sqlite", "runner/__pycache__/planted.cpython-311.pyc", ".venv/lib/x.py"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return build(folder, "sdist")


@pytest.fixture(scope="module")
def built(sdist):
    """The wheel that the unpacked sdist builds."""
    with tarfile.open(sdist) as opened:
        opened.extractall(sdist.parent / "unpacked", filter="data")
    return build(next((sdist.parent / "unpacked").iterdir()), "wheel")


@pytest.fixture(scope="module")
def installed(built):
    site = built.parent / "site"
    zipfile.ZipFile(built).extractall(site)
    return site


def sources():
    """Our files by the names under which they are installed."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = [path.relative_to(ROOT).as_posix() for path in inside if path.suffix != ".pyc"]
    return {f"thalweg/{name}" for name in (*names, *OWN)}


def test_the_wheel_holds_our_one_package_and_nothing_else(built):
    names = set(zipfile.ZipFile(built).namelist())
    information = {name for name in names if ".dist-info/" in name}
    assert {name.partition("/")[0] for name in names - information} == {"thalweg"}
    assert names - information == sources()
    ours = {
        name for name in sources() if not name.startswith("thalweg/runner/project/template/")
    }  # a user's, with a README
    assert {Path(name).suffix for name in ours} <= {".py", ".yaml", ".typed", ".css", ".js"}
    assert any(name.endswith("licenses/LICENSE") for name in information)


def test_the_sdist_holds_no_links_and_all_that_tests_and_set_up_need(sdist):
    with tarfile.open(sdist) as opened:
        members = opened.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    names = {member.name.partition("/")[2] for member in members}
    assert {"requirements.lock", "pyproject.toml", "scripts/thalweg", "tests/conftest.py", "docs/study.md"} <= names
    assert {f"src/thalweg/{name}" for name in OWN} == {name for name in names if name.startswith("src/")}
    assert not {name for name in names if name.endswith(".pyc") or name.startswith((".venv", "results"))}


def test_a_wheel_without_an_sdist_between_is_the_same(sdist, built):
    direct = build(sdist.parent.parent, "wheel")
    assert sorted(zipfile.ZipFile(direct).namelist()) == sorted(zipfile.ZipFile(built).namelist())


def test_the_wheel_declares_the_command_and_the_version(built):
    from thalweg import __version__

    wheel = zipfile.ZipFile(built)
    information = f"thalweg-{__version__}.dist-info"
    assert "thalweg = thalweg.__main__:main" in wheel.read(f"{information}/entry_points.txt").decode()
    assert f"Version: {__version__}\n" in wheel.read(f"{information}/METADATA").decode()


def where(installed, folder, code):
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_installed_configuration_is_found_from_an_empty_folder(installed, tmp_path):
    code = "from thalweg.runner.config import compose, groups; print(compose.CONF, len(groups()['optimizer']))"
    folder, options = where(installed, tmp_path, code).rsplit(" ", 1)
    assert folder == f"{installed}/thalweg/conf"
    assert int(options) == len(list((ROOT / "conf/optimizer").iterdir()))


def test_no_other_name_of_ours_can_be_imported(installed, tmp_path):
    """Neither from a wheel nor from the clone, where each module would be there twice."""
    code = f"from importlib.util import find_spec; print([name for name in {FOLDERS} if find_spec(name)])"
    for site in (installed, ROOT / "src"):
        assert where(site, tmp_path, code) == "[]"
