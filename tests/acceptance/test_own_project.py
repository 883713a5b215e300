"""A project that nobody here wrote sweeps as it stands: its own package, data and YAML, in a folder hard to spell."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from desk import Desk

from thalweg.data.arrange import ORDER, order
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.engine.streams import batch_indices, stream_key

FILES = {
    "thalweg.yaml": "config: settings\ncode: [autoenc]\nstudy: rates\nstore: out/trials.sqlite\n",
    "autoenc/__init__.py": "from .net import TiedClassifier\nfrom .table import measurements\n",
    "autoenc/layers.py": """\
import torch
from torch import nn


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        if self.training:
            self.batches += 1
        return x
""",
    "autoenc/net.py": """\
import torch
from torch import nn
from torch.nn import functional as F

from autoenc.layers import Counting


class TiedClassifier(nn.Module):
    '''Reads a row through W, BatchNorm and dropout, and back through the transpose of W.'''

    def __init__(self, in_features, num_classes, width=12, dropout=0.0):
        super().__init__()
        self.encode = nn.Linear(in_features, width, bias=False)
        self.decode = nn.Linear(in_features, width, bias=False)
        self.decode.weight = self.encode.weight
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.count = Counting()
        self.out = nn.Linear(in_features, num_classes)

    def forward(self, x):
        hidden = self.drop(torch.relu(self.norm(self.encode(self.count(x)))))
        return self.out(torch.tanh(F.linear(hidden, self.decode.weight.t())) + x)
""",
    "autoenc/fragile.py": """\
import sys

import torch
from torch import nn


class Fragile(nn.Module):
    def __init__(self, inputs, outputs, mode):
        super().__init__()
        if mode == "init":
            raise RuntimeError("no such mode")
        if mode != "empty":
            self.out = nn.Linear(inputs, outputs + (mode == "shape"))
        self.mode, self.steps = mode, 0

    def forward(self, x):
        if self.training:
            self.steps += 1
        if self.steps > 7 and self.mode == "raise":
            raise ValueError("enough of it")
        if self.steps > 7 and self.mode == "exit":
            sys.exit(9)
        return self.out(x)
""",
    "autoenc/table.py": """\
import csv
from pathlib import Path


def measurements(path, target):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = sorted({row[target] for row in rows})
    x = [[float(value) for name, value in row.items() if name != target] for row in rows]
    return x, [kinds.index(row[target]) for row in rows]
""",
    "autoenc/judge.py": """\
from torch.nn import functional as F


def margin(outputs, y):
    return F.multi_margin_loss(outputs, y)


def top2(outputs, y):
    return (outputs.topk(2).indices == y[:, None]).any(1).float().mean()


def unreduced(outputs, y):
    return F.cross_entropy(outputs, y, reduction="none")
""",
    "settings/model/tied.yaml": "# weights used twice\n_target_: autoenc.TiedClassifier\nwidth: 12\ndropout: 0.0\n",
    "settings/dataset/iris-ish.yaml": (
        "# a table\n_target_: autoenc.measurements\npath: data/größen.csv\ntarget: kind\nsplit_seed: 3\n"
    ),
    "settings/study/rates.yaml": """\
# @package _global_
# Which rate suits the tied net?
defaults: [override /model: tied, override /dataset: iris-ish, override /optimizer: adamw]
budget: {steps: 60, batch_size: 16}
study:
  question: Which rate suits the tied net?
  replicate: {seed: 0..1}
  axes: {optimizer.lr: "1e-3..1e-1:1/dec", model.width: "6,12"}
""",
}


def write_project(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "data").mkdir()
    rng = np.random.default_rng(5)
    with (folder / "data/größen.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["länge", "breite", "höhe", "kind"])
        for kind, centre in (("a", (0, 0, 1)), ("b", (1, 0, 0)), ("c", (0, 1, 0))):
            table.writerows([*np.round(rng.normal(centre, 0.5), 3), kind] for _ in range(70))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("Mein Projekt — größer"))
    write_project(desk.folder)
    desk.store_name = "out/trials.sqlite"
    desk.thalweg("sweep", "engine=vmap", "tracker=wandb", "tracker.history_points=5")
    return desk


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="NOT RUN: wandb is not installed")
def test_it_sweeps_fused_and_every_verb_reads_it(project: Desk) -> None:
    assert project.query("SELECT outcome, count(*) FROM trials GROUP BY outcome") == [("finished", 12)]
    assert project.query("SELECT DISTINCT executor FROM cohorts") == [("vmap",)]
    assert "12 done, 0 to train" in project.thalweg("plan").stdout
    assert "width" in project.thalweg("best", "rates").stdout
    shown = project.thalweg("show", project.query("SELECT id FROM trials")[0][0]).stdout
    assert "_target_: autoenc.TiedClassifier" in shown
    assert "_target_: autoenc.TiedClassifier" in project.thalweg("sweep", "--cfg", "job").stdout
    assert "tied" in project.thalweg("config").stdout
    project.thalweg("sync", code=None)  # what a busy machine left of the export
    assert len(list((project.folder / "out").rglob("*.wandb"))) == 12 + 1  # and the study's own


@pytest.mark.long
def test_it_ends_where_plain_torch_ends(project: Desk) -> None:
    """Right results, against a loop that knows nothing of ours but the numbers of batches and the seeds."""
    stored = project.json("ls", "rates")["trials"]
    x, y = read_table(project.folder)
    for trial in stored[::5]:
        width, lr, seed = (trial["axes"][key] for key in ("model.width", "optimizer.lr", "seed"))
        loss, accuracy = trained(project.folder, x, y, width, lr, seed)
        assert trial["metrics"]["test/loss"] == pytest.approx(loss, rel=2e-3)
        assert trial["metrics"]["test/accuracy"] == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.long
def test_a_loss_and_a_metric_of_its_own_are_minimised_and_measured(project: Desk) -> None:
    words = ("model=tied", "dataset=iris-ish", "budget.steps=60", "optimizer.lr=0.1", "task.loss=autoenc.judge.margin")
    more = ("evaluation.metrics=[autoenc.judge.top2]", "tracker=none", "launcher.workers=1", "study.metric=val/top2")
    project.thalweg("sweep", *words, *more, "study.name=judged", "study.direction=max", "seed=0,1", "engine=vmap")
    one, _ = project.json("ls", "judged")["trials"]
    assert {"val/top2", "test/top2", "val/accuracy"} <= one["metrics"].keys()
    assert one["metrics"]["val/accuracy"] <= one["metrics"]["val/top2"] <= 1
    assert one["metrics"]["train/loss"] < 0.3  # cross-entropy begins at 1.1, the margin at 0.67
    shown = project.thalweg("run", *words, "task.loss=autoenc.judge.unreduced", *more[1:3], code=3)
    said = "task.loss: autoenc.judge.unreduced returns shape [32] for a batch; expected a tensor without dimensions"
    assert said in " ".join((shown.stdout + shown.stderr).split())


@pytest.mark.long
def test_what_goes_wrong_is_recorded_with_file_and_line_and_the_others_go_on(project: Desk) -> None:
    modes = "model.mode=fine,init,empty,shape,raise,exit"
    words = ("model=target", "model._target_=autoenc.fragile.Fragile", f"+{modes}", "dataset=iris-ish")
    swept = project.thalweg("sweep", *words, "study.name=fragile", "budget.steps=20", "tracker=none", code=3)
    assert "5 failed" in swept.stderr
    trials = {trial["axes"]["model.mode"]: trial for trial in project.json("ls", "fragile")["trials"]}
    assert trials["fine"]["outcome"] == "finished"
    said = {
        "init": "autoenc.fragile.Fragile failed: autoenc/fragile.py, line 11: RuntimeError: no such mode",
        "empty": "autoenc.fragile.Fragile has no parameters, so there is nothing to train",
        "shape": "returns outputs of shape [2, 4] for 2 examples",
        "raise": "ValueError: enough of it",
        "exit": "SystemExit: 9",
    }
    for mode, text in said.items():
        assert trials[mode]["outcome"] == "failed"
        assert text in trials[mode]["error"]
        assert "Traceback" not in trials[mode]["error"] or mode in ("raise", "exit")
    assert "autoenc/fragile.py" in trials["raise"]["error"]


def read_table(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with (folder / "data/größen.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    in_order = [rows[i] for i in order(3, ORDER, len(rows))]
    return torch.tensor([[float(v) for v in r[:3]] for r in in_order]), torch.tensor(
        ["abc".index(r[3]) for r in in_order]
    )


def trained(folder: Path, x: torch.Tensor, y: torch.Tensor, width: int, lr: float, seed: int) -> tuple[float, float]:
    net = model_of(folder, width, seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    multipliers = warmup_cosine(np.arange(60), 60, 3, 0.0)
    train = len(y) - 2 * round(0.2 * len(y))
    for step, rows in enumerate(batch_indices(seed, 0, 60, 16, train)):
        optimizer.param_groups[0]["lr"] = lr * multipliers[step]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    assert net.count.batches == 60
    net.eval().requires_grad_(False)
    held_out = slice(train + round(0.2 * len(y)), None)
    logits = net(x[held_out])
    return float(torch.nn.functional.cross_entropy(logits, y[held_out])), float(
        (logits.argmax(1) == y[held_out]).float().mean()
    )


def model_of(folder: Path, width: int, seed: int) -> torch.nn.Module:
    spec = importlib.util.spec_from_file_location("autoenc", folder / "autoenc/__init__.py")
    package = sys.modules["autoenc"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    torch.manual_seed(stream_key(seed, "init"))
    return package.TiedClassifier(3, 3, width)
