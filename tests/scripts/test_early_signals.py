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


def signalled(number: int, seconds: float) -> tuple[int, str]:
    """The exit code and output of a command that gets a signal after some seconds: Ctrl-C goes to its whole group."""
    process = subprocess.Popen(
        [ROOT / "scripts/thalweg", "plan", "smoke"],
        env={**os.environ, "THALWEG_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    time.sleep(seconds)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.skipif(not HOLDS, reason="env cannot hold signals back here, so Python may answer them with a traceback")
@pytest.mark.parametrize("milliseconds", [15, 30, 45, 60, 80, 100, 130, 160, 200, 250])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_early_signal_is_one_line(number, code, milliseconds):
    ended, said = signalled(number, milliseconds / 1000)
    assert (ended, said) in ((code, "interrupted\n"), (-number, ""))  # the latter where the shell had not begun


def test_a_signal_is_answered_where_nothing_holds_it_back(tmp_path):
    """An env that knows no --block-signal, as on a Mac."""
    env = shutil.which("env")
    (tmp_path / "env").write_text(f'#!/bin/sh\ncase $1 in --*) exit 125 ;; esac\nexec {env} "$@"\n')
    (tmp_path / "env").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = [ROOT / "scripts/thalweg", "--version"]
    variables = {**os.environ, "PATH": path, "THALWEG_PYTHON": sys.executable}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("thalweg ")
