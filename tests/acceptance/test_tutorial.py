"""The tutorial, followed as it is written; with fewer steps, and what is printed there was printed with all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from desk import ROOT, Desk

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
FEW = ("budget.steps=10", "seed=0..1", "tracker=none")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("tutorial")
    Desk(folder).thalweg("init", "mine")
    mine = folder / "mine"
    for name, study in re.findall(r"`(conf/study/\w+\.yaml)`:\n\n```yaml\n(.*?)```", TEXT, re.DOTALL):
        (mine / name).write_text(study, encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (mine / "make_table.py").write_text(code, encoding="utf-8")
    subprocess.run([sys.executable, "make_table.py"], cwd=mine, check=True, timeout=60)
    return Desk(mine)


@pytest.mark.long
def test_the_studies_are_as_large_as_the_tutorial_says(desk: Desk) -> None:
    assert "135 trials wanted" in desk.thalweg("plan", "tissue").stdout
    assert "96 trials wanted" in desk.thalweg("plan", "warm").stdout


@pytest.mark.long
def test_its_commands_lead_from_a_table_to_a_decision(desk: Desk) -> None:
    assert "weight decay" in desk.thalweg("sweep", "tissue", *FEW).stdout
    assert "What would make this surer" in desk.thalweg("recommend", "tissue").stdout
    assert desk.json("ls", "val/loss < 100", "--study", "tissue")
    for verb in ("best tissue", "audit tissue -n 2", "export tissue --csv", "report tissue"):
        desk.thalweg(*verb.split())
    assert Path(desk.folder / "results" / "tissue.html").exists()
