"""What the first verbs do without: importing it would cost each of them a tenth of a second and more."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "torch", "sklearn", "wandb", "ray", "optuna", "pandas", "pyarrow", "safetensors")
TRAINING = ("thalweg.runner.train.worker", "thalweg.runner.train.kept", "thalweg.runner.train.messages")
CODE = """
import contextlib, io, sys
from thalweg.runner.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print([name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.long
@pytest.mark.parametrize("words", ["--help", "sweep --help", "ls", "plan smoke", "plan optimizer.lr=0.1,0.2 seed=0..2"])
def test_nothing_heavy_is_imported_to_help_to_list_or_to_plan(words: str, tmp_path) -> None:
    command = [sys.executable, "-P", "-c", CODE.format(heavy=HEAVY + TRAINING), *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
