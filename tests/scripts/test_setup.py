"""The scripts from a fresh clone, with a faked uv and faked interpreters: offline and in seconds."""

import fcntl
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "data", "models", "optim", "runner")
TOOLS = ["sh", "cat", "cmp", "dirname", "head", "ln", "mkdir", "readlink", "rm", "touch"]

# Answers as uv does, notes each call, and makes an interpreter that tells how it was called.
UV = """#!/bin/sh
[ "$1" = --version ] && { echo "uv 0.13.9"; exit; }
echo "$1 $2 cache=$UV_CACHE_DIR" >> "$CALLS"
[ "$1" = venv ] && { for last; do :; done; mkdir -p "$last/bin"; cp_python "$last/bin/python"; exit; }
[ -z "$UV_SAYS" ] || { echo "$UV_SAYS" >&2; exit 2; }
"""
TOLD = """#!/bin/sh
printf '%s\\n' "$$" "$PWD" "$PYTHONPATH" "$@"
exit 7
"""


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


class Clone:
    """A clone in a folder with a difficult name, and a PATH that holds nothing but a few tools, python3 and uv."""

    def __init__(self, folder):
        self.root = folder / "Täler und Grate"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.home = folder / "home"
        for path in (self.root, self.bin, self.home):
            path.mkdir()
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        shutil.copytree(ROOT / "src", self.root / "src", symlinks=True)
        for name in FOLDERS:
            (self.root / name).mkdir()
            (self.root / name / "__init__.py").touch()
        shutil.copytree(ROOT / "runner/machine", self.root / "runner/machine")
        for name in ("requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        program(self.bin / "cp_python", f'#!/bin/sh\ncat {shlex.quote(str(folder / "told"))} > "$1"; chmod 755 "$1"\n')
        (self.bin / "chmod").symlink_to(shutil.which("chmod"))
        program(folder / "told", TOLD)
        self.python3(f'exec {shlex.quote(sys.executable)} "$@"')
        program(self.bin / "uv", UV)
        self.venv = self.root / ".venv"
        self.stamp = self.venv / "made-from"

    def made_from(self):
        return b"".join((self.root / name).read_bytes() for name in ("requirements.lock", "pyproject.toml"))

    def python3(self, body):
        program(self.bin / "python3", f"#!/bin/sh\n{body}\n")

    def environ(self, **more):
        return {"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls), "LANG": "C.UTF-8", **more}

    def start(self, *arguments, script="thalweg", **more):
        return subprocess.Popen(
            [self.root / "scripts" / script, *arguments],
            cwd=self.home,
            env=self.environ(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments, **more):
        process = self.start(*arguments, **more)
        process.out, process.err = process.communicate(timeout=30)
        return process

    def installs(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def module(self):
        spec = importlib.util.spec_from_file_location("thalweg_setup", self.root / "scripts/setup.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_the_first_call_installs_and_the_second_starts_at_once(clone):
    first = clone.call("ls")
    assert "GB to download" in first.err
    assert [call.split(" cache")[0] for call in clone.installs()] == [
        "venv --allow-existing",
        "pip install",
        "pip install",
    ]
    assert [*clone.root.glob("runner/__pycache__/__init__.*.pyc")]
    second = clone.call("ls")
    assert second.err == ""
    assert len(clone.installs()) == 3


def test_arguments_folder_process_and_exit_status_pass_through(clone):
    clone.call()
    process = clone.start("sweep", "a b", "c=*", PYTHONPATH="theirs")
    told, _ = process.communicate(timeout=30)
    pid, folder, path, *arguments = told.splitlines()
    assert int(pid) == process.pid  # replaced, not wrapped: signals reach it
    assert folder == str(clone.home)
    assert path == f"{clone.root}/src:theirs"
    assert arguments == ["-P", "-m", "thalweg", "sweep", "a b", "c=*"]
    assert process.returncode == 7


def test_a_checkout_without_links_is_refused_and_what_is_said_mends_it(clone):
    """As git makes it with core.symlinks=false: src/thalweg/runner is a file that says ../../runner."""
    git = ["git", "-C", str(clone.root), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for words in (["init"], ["add", "."], ["commit", "-m", "all"], ["config", "core.symlinks", "false"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    for name in FOLDERS:
        (clone.root / "src/thalweg" / name).unlink()
    subprocess.run([*git, "checkout", "--", "src"], check=True, capture_output=True)
    assert (clone.root / "src/thalweg/runner").read_text() == "../../runner"
    for variables in ({}, {"THALWEG_PYTHON": sys.executable}):
        refused = clone.call("ls", **variables)
        assert refused.returncode == 2
        assert len(refused.err.splitlines()) == 1
        assert clone.installs() == []
    for said in re.findall(r"git ((?:config|checkout)[^,;]*)", refused.err):
        subprocess.run([*git, *said.split()], check=True, capture_output=True)
    assert clone.call("ls").returncode == 7


@pytest.mark.parametrize("name", ["runner", "data"])
def test_the_command_says_the_same_where_it_was_installed_from_such_a_checkout(tmp_path, name):
    shutil.copytree(ROOT / "src", tmp_path / "src", symlinks=True)
    for folder in FOLDERS:
        if folder != name:
            (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "src/thalweg" / name).unlink()
    (tmp_path / "src/thalweg" / name).write_text(f"../../{name}")
    command = [sys.executable, "-P", "-m", "thalweg", "ls"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"thalweg: src/thalweg/{name} is not a link to ../../{name}")
    assert len(done.stderr.splitlines()) == 1


def test_a_linked_script_finds_its_clone(clone):
    link = clone.bin / "thalweg"
    link.symlink_to(clone.root / "scripts/thalweg")
    told = subprocess.run([link], env=clone.environ(), capture_output=True, text=True)
    assert told.stdout.splitlines()[2] == f"{clone.root}/src"


def test_every_script_goes_through_the_same_set_up(clone):
    for script in ("test", "check", "lock"):
        clone.call(script=script)
        assert clone.stamp.exists()
        shutil.rmtree(clone.venv)


@pytest.mark.parametrize(
    ("uv_says", "expected"),
    [
        ("error: Failed to fetch: `https://index/torch/`\n  Caused by: dns error", "index cannot be reached"),
        ("error: Failed to write\n  Caused by: No space left on device (os error 28)", "disk filled up"),
        ("error: write: Disk quota exceeded (os error 122)", "disk filled up"),
    ],
)
def test_a_known_failure_is_one_line_and_a_repeat_heals_it(clone, uv_says, expected):
    failed = clone.call(UV_SAYS=uv_says)
    assert failed.returncode == 2
    assert expected in failed.err.splitlines()[-1]
    assert uv_says.splitlines()[0] not in failed.err
    assert not clone.stamp.exists()
    assert clone.call().returncode == 7
    assert clone.stamp.exists()


def test_an_unknown_failure_shows_what_the_installer_said(clone):
    failed = clone.call(UV_SAYS="error: hash mismatch for torch")
    assert failed.returncode == 2
    assert "hash mismatch for torch" in failed.err
    assert "set-up failed" in failed.err.splitlines()[-1]


def test_a_half_made_environment_is_made_again(clone):
    clone.call()
    clone.stamp.unlink()
    (clone.venv / "lib").mkdir()
    (clone.venv / "lib/half").touch()
    assert clone.call().returncode == 7
    assert not (clone.venv / "lib/half").exists()


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_change_of_what_it_is_made_from_updates_the_environment_in_place(clone, changed):
    clone.call()
    (clone.venv / "theirs").touch()
    with (clone.root / changed).open("a") as file:
        file.write("# changed\n")
    assert "bringing" in clone.call().err
    assert (clone.venv / "theirs").exists()
    assert clone.stamp.read_bytes() == clone.made_from()


def test_a_dangling_interpreter_is_replaced(clone):
    clone.call()
    (clone.venv / "bin/python").unlink()
    (clone.venv / "bin/python").symlink_to("/gone")
    assert clone.call().returncode == 7


def test_an_environment_of_somebody_else_is_left_alone(clone):
    clone.venv.mkdir()
    (clone.venv / "theirs").touch()
    refused = clone.call()
    assert refused.returncode == 2
    assert "was not made by this script" in refused.err
    assert os.listdir(clone.venv) == ["theirs"]


def test_a_second_set_up_waits_for_the_first(clone):
    clone.venv.mkdir()
    with (clone.venv / "made-by-thalweg").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        second = clone.start()
        assert "waiting for it" in second.stderr.readline()
        clone.python3("exit 99")  # whatever the second does from here on, it needs no installing
        (clone.venv / "bin").mkdir()
        program(clone.venv / "bin/python", TOLD)
        clone.stamp.write_bytes(clone.made_from())
    second.communicate(timeout=30)
    assert second.returncode == 7
    assert clone.installs() == []


@pytest.mark.parametrize("home", ["", "/proc/none"])
def test_a_home_that_cannot_hold_a_cache_is_no_obstacle(clone, home):
    assert clone.call(HOME=home).returncode == 7
    assert all(call.endswith(f"cache={clone.venv}/uv-cache") for call in clone.installs())


def test_too_little_disk_space_is_refused_before_anything_is_installed(clone, monkeypatch, capsys):
    setup = clone.module()
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=1.2e9))
    monkeypatch.setattr(setup, "run", lambda *_: pytest.fail("installed"))
    assert setup.main(["make"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(clone.venv) in line
    assert "1.2 GB is free" in line
    assert f"{setup.size_here()[2]} GB" in line


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [
        ("Windows", "AMD64", ("", "")),
        ("Darwin", "x86_64", ("", "")),
        ("Linux", "riscv64", ("glibc", "2.39")),
        ("Linux", "x86_64", ("", "")),  # musl
        ("Linux", "x86_64", ("glibc", "2.17")),
    ],
)
def test_an_unsupported_platform_is_one_line(clone, monkeypatch, capsys, system, machine, libc):
    setup = clone.module()
    monkeypatch.setattr(setup.platform, "system", lambda: system)
    monkeypatch.setattr(setup.platform, "machine", lambda: machine)
    monkeypatch.setattr(setup.platform, "libc_ver", lambda: libc)
    assert setup.main(["make"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"this is {system} {machine}" in line
    assert not clone.venv.exists()


def test_a_missing_venv_module_is_one_line_with_the_remedy(clone):
    (clone.bin / "uv").unlink()
    hide = "import runpy, sys; sys.modules['ensurepip'] = None; sys.argv = sys.argv[1:]; "
    run = f"{hide}runpy.run_path(sys.argv[0], run_name='__main__')"
    clone.python3(
        f'[ "$1" = -I ] && {{ shift; exec {shlex.quote(sys.executable)} -I -c "{run}" "$@"; }}\n'
        f'exec {shlex.quote(sys.executable)} "$@"'
    )
    failed = clone.call()
    assert failed.returncode == 2
    assert "-venv), or install uv" in failed.err.splitlines()[-1]
    assert "Traceback" not in failed.err


def test_an_old_python_is_named_with_what_is_needed(clone):
    clone.python3('[ "$1" = --version ] && echo Python 3.9.2; exit 1')
    failed = clone.call()
    assert failed.returncode == 2
    assert failed.err.count("\n") == 1
    assert "3.11 to 3.14, found Python 3.9.2" in failed.err


def test_a_good_python_under_another_name_is_found(clone):
    (clone.bin / "python3").rename(clone.bin / "python3.12")
    clone.python3("exit 1")
    assert clone.call().returncode == 7


def test_no_python_at_all_is_one_line(clone):
    (clone.bin / "python3").unlink()
    failed = clone.call()
    assert failed.returncode == 2
    assert failed.err.count("\n") == 1
    assert "no python3 on PATH" in failed.err


def requires(clone, *dependencies):
    (clone.root / "pyproject.toml").write_text(
        f"[project]\ndependencies = {list(dependencies)}\n[dependency-groups]\ndev = ['nothing-such>=1']\n"
    )


def test_an_existing_environment_is_checked_and_never_changed(clone):
    requires(clone, "numpy>=1.26", "torch>=99", "typer>=0.1,<0.2", "absent-package>=1")
    failed = clone.call(THALWEG_PYTHON=sys.executable)
    assert failed.returncode == 2
    torch, typer, absent, remedy = failed.err.splitlines()
    assert torch.endswith("is installed, needed: torch>=99")
    assert typer.endswith("is installed, needed: typer>=0.1,<0.2")
    assert absent == "thalweg: absent-package is not installed, needed: absent-package>=1"
    assert "THALWEG_PYTHON" in remedy
    assert clone.installs() == []
    assert not clone.venv.exists()


def test_an_existing_environment_that_fits_is_used(clone):
    requires(clone, "numpy>=1.26")
    python = program(
        clone.bin / "own", f'#!/bin/sh\n[ "$3" = thalweg ] && exit 5\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    assert clone.call("ls", THALWEG_PYTHON=str(python)).returncode == 5
    assert not clone.venv.exists()


def test_the_tests_ask_an_existing_environment_for_the_development_tools_too(clone):
    requires(clone, "numpy>=1.26")
    failed = clone.call(script="test", THALWEG_PYTHON=sys.executable)
    assert failed.returncode == 2
    assert "nothing-such is not installed" in failed.err


@pytest.mark.parametrize(
    ("body", "expected"),
    [(None, "is not a program"), ("[ $1 = --version ] && echo Python 3.8.1; exit 1", "Python 3.8.1")],
)
def test_an_unfit_existing_interpreter_is_one_line(clone, body, expected):
    path = clone.bin / "theirs"
    if body:
        program(path, f"#!/bin/sh\n{body}\n")
    failed = clone.call(THALWEG_PYTHON=str(path))
    assert failed.returncode == 2
    assert failed.err.count("\n") == 1
    assert expected in failed.err
