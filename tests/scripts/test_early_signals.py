"""A signal in the first tenths of a second, before Python or our code is there to answer: one line, its exit code."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOLDS = subprocess.run(["env", "--block-signal=INT", "true"], capture_output=True, check=False).returncode == 0


def signalled(number: int, seconds: float, **variables: str) -> tuple[int, str]:
    """The exit code and output of a command that gets a signal after some seconds: Ctrl-C goes to its whole group."""
    process = subprocess.Popen(
        [ROOT / "scripts/thalweg", "plan", "smoke"],
        env={**os.environ, "THALWEG_PYTHON": sys.executable, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored behind a shell's &
    )
    time.sleep(seconds)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.long
@pytest.mark.skipif(not HOLDS, reason="env cannot hold signals back here, so Python may answer them with a traceback")
@pytest.mark.parametrize("milliseconds", [15, 30, 45, 60, 80, 100, 130, 160, 200, 250])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_early_signal_is_one_line(number, code, milliseconds):
    ended, said = signalled(number, milliseconds / 1000)
    assert (ended, said) in ((code, "interrupted\n"), (-number, ""))  # the latter where the shell had not begun


def path_with_env(folder: Path, script: str) -> str:
    """A PATH on which `env` is a script of ours; $usual in it is the usual one."""
    (folder / "env").write_text(f"#!/bin/sh\nusual={shutil.which('env')}\n{script}\n")
    (folder / "env").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_shell_answers_a_signal_while_it_is_there(tmp_path, number, code):
    path = path_with_env(tmp_path, 'sleep 1; exec $usual "$@"')
    assert signalled(number, 0.5, PATH=path) == (code, "interrupted\n")


def test_an_env_that_cannot_hold_signals_back_is_done_without(tmp_path):
    path = path_with_env(tmp_path, 'case $1 in --*) exit 125 ;; esac; exec $usual "$@"')
    variables = {**os.environ, "PATH": path, "THALWEG_PYTHON": sys.executable}
    command = [str(ROOT / "scripts/thalweg"), "--version"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("thalweg ")
