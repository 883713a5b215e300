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
    for name, code in re.findall(r"[Ss]ave this as\s`(\w+\.py)`.*?```python\n(.*?)```", TEXT, re.DOTALL):
        (mine / name).write_text(code, encoding="utf-8")
    subprocess.run([sys.executable, "make_table.py"], cwd=mine, check=True, timeout=60)
    _own_model(mine)
    return Desk(mine)


def _own_model(mine: Path) -> None:
    """What the section on a model of your own tells to write and to edit."""
    ((name, model),) = re.findall(r"Save this as `(conf/model/\w+\.yaml)`.*?```yaml\n(.*?)```", TEXT, re.DOTALL)
    (mine / name).write_text(model, encoding="utf-8")
    (code,) = re.findall(r"`(code: .*?)`", TEXT)
    project = mine / "thalweg.yaml"
    project.write_text(re.sub(r"(?m)^code: \S+, \S+", code, project.read_text("utf-8")), encoding="utf-8")
    study = (
        (mine / "conf/study/tissue.yaml").read_text("utf-8").replace("override /model: mlp", "override /model: gated")
    )
    (mine / "conf/study/mine.yaml").write_text(re.sub(r"(?m)^model:.*\n", "", study), encoding="utf-8")


@pytest.mark.long
def test_the_studies_are_as_large_as_the_tutorial_says(desk: Desk) -> None:
    assert "135 trials wanted" in desk.thalweg("plan", "tissue").stdout
    assert "96 trials wanted" in desk.thalweg("plan", "warm").stdout
    own = desk.thalweg("plan", "mine")
    assert "135 trials wanted" in own.stdout
    assert "given from the data: model.in_features=30 model.out_features=2" in own.stdout + own.stderr


@pytest.mark.long
def test_its_commands_lead_from_a_table_to_a_decision(desk: Desk) -> None:
    assert "weight decay" in desk.thalweg("sweep", "tissue", *FEW).stdout
    assert "What would make this surer" in desk.thalweg("recommend", "tissue").stdout
    assert desk.json("ls", "val/loss < 100", "--study", "tissue")
    for verb in ("best tissue", "audit tissue -n 2", "export tissue --csv", "report tissue"):
        desk.thalweg(*verb.split())
    assert Path(desk.folder / "results" / "tissue.html").exists()
