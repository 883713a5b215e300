"""docs/optim.md does what it says: its code runs from top to bottom, and its tables name what there is."""

import re
from pathlib import Path
from typing import get_args

import torch

from thalweg import optim
from thalweg.optim.scheduler import FORMS
from thalweg.optim.schema import Decay

TEXT = (Path(__file__).parents[2] / "docs" / "optim.md").read_text(encoding="utf-8")


def first_column(heading):
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `\"?(\w+)\"?`", section, re.MULTILINE)


def test_the_code_runs_from_top_to_bottom(capsys):
    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/optim.md", "exec"), names)
    printed = re.findall(r"^print\(.*\n# (.*)$", TEXT, re.MULTILINE)
    assert printed == capsys.readouterr().out.splitlines()


def test_the_tables_name_what_there_is():
    from torch.optim import Optimizer

    classes = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)}
    assert set(first_column("What each class adds to torch's")) == {
        name for name in classes if issubclass(getattr(optim, name), Optimizer)
    }
    assert first_column("Schedules") == list(FORMS)
    assert first_column("The conventions of weight decay") == list(get_args(Decay))
