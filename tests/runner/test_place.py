"""Our five packages win over others of their names, in every process; what cannot be won is named."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import runner.__main__ as command
from runner import place
from runner.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]

SPAWN = """
import multiprocessing
import runner.trial

def where():
    import models, models.schema
    return models.schema.__file__

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(where(), pool.apply(where), sep="\\n")
"""


@pytest.fixture
def rival(tmp_path):
    """A user's folder with packages of two of our names."""
    for name in ("models", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    return tmp_path


def python(folder, *arguments):
    environ = {**os.environ, "PYTHONPATH": f".:{ROOT}"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environ, capture_output=True, text=True)


def test_ours_win_in_this_process_and_in_spawned_ones(rival):
    (rival / "probe.py").write_text(SPAWN)
    done = python(rival, "probe.py")
    assert done.stdout.splitlines() == [str(ROOT / "models/schema.py")] * 2, done.stderr


def test_a_rival_is_named_though_it_is_not_used(rival):
    done = python(rival, "-c", "from runner import place; place.check(); print(place.rivals())")
    assert done.stdout.strip() == str({"data": str(rival / "data"), "models": str(rival / "models")})


def test_a_plain_folder_is_no_rival(tmp_path):
    (tmp_path / "models").mkdir()
    assert python(tmp_path, "-c", "from runner import place; print(place.rivals())").stdout.strip() == "{}"


def test_other_packages_are_found_as_ever(rival):
    (rival / "mine").mkdir()
    (rival / "mine/__init__.py").touch()
    done = python(rival, "-c", "import runner, mine; print(mine.__file__)")
    assert done.stdout.strip() == str(rival / "mine/__init__.py")


def test_a_package_imported_before_ours_is_one_line_and_exit_2(rival):
    done = python(rival, "-c", "import models, runner.__main__ as m, sys; sys.exit(m.main())")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(rival / "models") in done.stderr
    assert str(ROOT / "models") in done.stderr
    assert "PYTHONPATH" in done.stderr


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="conf is missing"):
        place.check()


def test_the_command_line_starts_only_after_the_check(monkeypatch, capsys):
    def clash():
        raise SetupError("clash", "rename")

    monkeypatch.setattr(place, "check", clash)
    monkeypatch.setitem(sys.modules, "runner.cli", SimpleNamespace(main=lambda: pytest.fail("started")))
    assert command.main() == 2
    assert capsys.readouterr().err == "thalweg: clash; rename\n"
