"""`thalweg init`: the project it writes works at once, gives a real answer, and passes its own test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from desk import Desk, environment


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("my desk"))
    desk.thalweg("init", "my first project")
    desk.folder = desk.folder / "my first project"
    return desk


@pytest.mark.long
def test_a_new_project_sweeps_at_once_and_answers(project: Desk) -> None:
    swept = project.thalweg("sweep", "tracker=none")
    assert "42 trials wanted, 0 done, 42 to train" in swept.stderr
    assert "Which learning rate does the small net want" in swept.stderr
    best = project.json("best", "first")
    assert best["best"]["mean"] < 0.1  # chance is 0.69
    assert best["test"]["test/accuracy"]["mean"] > 0.95
    assert "42 done, 0 to train" in project.thalweg("plan").stdout
    assert "42 done, 42 to train" in project.thalweg("plan", "model.width=16,32").stdout


@pytest.mark.long
def test_its_own_test_passes(project: Desk) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project.folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_its_readme_names_what_is_there(project: Desk) -> None:
    readme = (project.folder / "README.md").read_text(encoding="utf-8")
    for name in ("thalweg.yaml", "nets.py", "conf/model/small.yaml", "conf/study/first.yaml", "tests/test_project.py"):
        assert name in readme
        assert (project.folder / name).is_file()


def test_a_folder_with_something_in_it_is_refused_and_untouched(desk: Desk) -> None:
    (desk.folder / "here").mkdir()
    (desk.folder / "here/notes.txt").write_text("mine")
    refused = desk.thalweg("init", "here", code=2)
    assert refused.stderr.splitlines() == [
        "error: here is not empty; a project begins in a folder of its own",
        "hint: name a new folder",
    ]
    assert [path.name for path in (desk.folder / "here").iterdir()] == ["notes.txt"]
    assert "is a file" in desk.thalweg("init", "here/notes.txt", code=2).stderr
    Path(desk.folder / "empty").mkdir()
    desk.thalweg("init", "empty")


SMALL = ("study.name=small", "model=small", "dataset=spirals", "budget.steps=10", "optimizer.lr=0.1,0.01")


@pytest.mark.long
def test_trials_of_earlier_code_are_said_and_trained_anew_beside_the_old(project: Desk) -> None:
    small = (*SMALL, "tracker=none", "launcher.workers=1")
    project.thalweg("sweep", *small)
    old = project.hashes()
    file = project.folder / "nets.py"
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("torch.relu(self.second", "torch.tanh(self.second"), encoding="utf-8")
    try:
        assert "2 trials were trained by an earlier nets.py" in " ".join(project.thalweg("plan", *SMALL).stdout.split())
        assert project.json("plan", *SMALL)["changed"] == [{"files": ["nets.py"], "trials": 2}]
        assert "nothing to train: 2 of 2" in project.thalweg("sweep", *small).stderr
        project.thalweg("sweep", "--rerun-changed", *small)
        assert old.items() < project.hashes().items()
        assert len(project.hashes()) == len(old) + 2
        shown = project.json("ls", "small")["trials"]
        assert {row["id"] for row in shown if row["outside"]} <= old.keys()
        assert project.json("plan", *SMALL)["changed"] == []
        assert "nothing to train: 2 of 2" in project.thalweg("sweep", "--rerun-changed", *small).stderr
    finally:
        file.write_text(before, encoding="utf-8")
    project.thalweg("sweep", *small)
    assert {row["id"] for row in project.json("ls", "small")["trials"] if not row["outside"]} <= old.keys()
