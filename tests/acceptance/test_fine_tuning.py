"""A network fine-tuned as a user would: a body of one's own, frozen; head and last block at rates of their own; the
best model taken out. And what a training loop has besides, each killed once and gone on with, to the same bits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from desk import Desk
from safetensors.torch import load_file
from test_train_longer import killed_on_the_way
from torch.nn import functional

from thalweg.data.load import load_splits
from thalweg.runner.config import Request, declare
from thalweg.runner.study.study import expand

STUDY = """\
# @package _global_
# At which rates do the head and the last block learn best on 200 digits, above a body that stays as it is?
defaults: [override /model: mlp, override /optimizer: adamw, override /tracker: none]
init: {weights: body.safetensors}
model: {hidden: [64, 32, 32]}
groups:
  body: {match: "layers.[01].*", freeze: true}
  block: {match: "layers.2.*"}
  head: {match: "layers.3.*"}
dataset: {train_size: 200, split_seed: 1}
budget: {steps: 400}
keep: best
study:
  replicate: {seed: 0..1}
  axes:
    optimizer.lr: 0.001,0.01
    groups.block.lr: "0.1,0.3,1"
    groups.head.lr: "1,3"
"""
SWEEP = ("sweep", "tune", "--config-dir", "my", "engine=loop", "engine.width=2", "launcher.workers=1")


def begun(desk: Desk, body: Path | None = None) -> Path:
    """A folder with the study's file and a body, which is trained unless there is one."""
    (desk.folder / "my/study").mkdir(parents=True)
    (desk.folder / "my/study/tune.yaml").write_text(STUDY)
    file = desk.folder / "body.safetensors"
    if body:
        file.write_bytes(body.read_bytes())
        return file
    first = ("model=mlp", "model.hidden=[64,32,32]", "budget.steps=200", "optimizer.lr=0.01", "tracker=none")
    desk.thalweg("run", *first, "study.name=body", "keep=all")
    ((trial_id,),) = desk.query("SELECT id FROM trials")
    desk.thalweg("weights", trial_id, "-o", str(file))
    return file


def killed_half_way(desk: Desk) -> None:
    sweep, deadline = desk.start(*SWEEP), time.monotonic() + 240
    while sweep.poll() is None and (not desk.is_training() or len(tuned(desk)) < 8):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    assert sweep.returncode == -signal.SIGKILL
    assert 8 <= len(tuned(desk)) < 24


def tuned(desk: Desk) -> dict[str, str]:
    """Trial -> its weights' hash and its metrics, of those that are done and start from the body."""
    metrics = "SELECT group_concat(name || value) FROM (SELECT * FROM metrics WHERE trial = t.seq ORDER BY name)"
    where = "outcome IS NOT NULL AND json_extract(config, '$.init.weights') IS NOT NULL"
    return dict(desk.query(f"SELECT id, weight_hash || ({metrics}) FROM trials t WHERE {where}"))


def plain_loss(file: Path) -> float:
    """The validation loss by torch alone: of the perceptron that the file's names say."""
    held = load_file(file)
    member = expand(declare(Request(("tune",), config_dir=str(file.parent / "my"))).study)[0]
    val = load_splits(member.trial.config.dataset).validation
    x, y = torch.from_numpy(np.array(val.x)).float().flatten(1), torch.from_numpy(np.array(val.y)).long()
    total = 0.0
    for rows in torch.arange(len(y)).split(512):
        hidden = x[rows]
        for layer in range(4):
            hidden = functional.linear(hidden, held[f"layers.{layer}.weight"], held[f"layers.{layer}.bias"])
            hidden = hidden.relu() if layer < 3 else hidden
        total += functional.cross_entropy(hidden, y[rows], reduction="none").double().sum().item()
    return total / len(y)


@pytest.mark.slow
def test_a_fine_tuning_study_killed_half_way_gives_the_model_of_a_quiet_one(
    desks, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = desks("quiet")
    begun(quiet, begun(desk))
    assert "24 trials wanted" in (plan := desk.thalweg("plan", "tune", "--config-dir", "my").stdout)
    assert "of weights" in plan
    killed_half_way(desk)
    said = desk.thalweg(*SWEEP).stderr
    assert "keep=best: weights of 22 trials removed" in said
    quiet.thalweg(*SWEEP)
    assert tuned(desk) == tuned(quiet)
    assert len(tuned(desk)) == 24
    folder = desk.store.with_suffix(".weights")
    assert len(list(folder.glob("frozen/*.safetensors"))) == 1
    desk.thalweg("store", "check")
    body = load_file(desk.folder / "body.safetensors")
    kept = {file.name.partition("-")[0] for file in folder.glob("*.safetensors")} & tuned(desk).keys()
    assert len(kept) == 2  # a seed each
    monkeypatch.chdir(desk.folder)
    for trial_id in kept:
        file = desk.folder / "model.safetensors"
        assert "the kept weights" in desk.thalweg("weights", trial_id, "-o", str(file)).stderr
        held = load_file(file)
        assert all(torch.equal(held[name], body[name]) == (name[7] in "01") for name in body)
        query = "SELECT value FROM metrics m JOIN trials t ON t.seq = m.trial WHERE name = 'val/loss' AND id = "
        assert desk.query(f"{query}'{trial_id}'") == [(plain_loss(file),)]


LOOP = {
    "accumulation": ("budget.accumulate=1,2,4", "budget.batch_size=32"),
    "average": ("average=ema", "average.decay=0.9,0.99"),
    "a file that is mapped": ("dataset=arrays", "dataset.x=x.npy", "dataset.y=y.npy", "dataset.kind=classes"),
    "rates of their own": ("groups.head.match=layers.1.*", "groups.head.lr=1,3", "model.hidden=[32]"),
    "muon and adamw": ("optimizer=muon", "groups.head.match=layers.1.*", "groups.head.adamw=true", "model.hidden=[32]"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LOOP)
def test_what_a_loop_has_is_gone_on_with_to_the_same_bits(desks, desk: Desk, case: str) -> None:
    words = ("study.name=loop", "optimizer.lr=0.001,0.01", "budget.steps=600", "engine=traced", "launcher.workers=1",
             "launcher.checkpoint_seconds=0.01", "tracker=none", *LOOP[case])  # fmt: skip
    quiet, dice = desks("quiet"), np.random.default_rng(0)
    x, y = dice.standard_normal((4000, 20), np.float32), dice.integers(0, 3, 4000)
    for each in (desk, quiet):
        np.save(each.folder / "x.npy", x)
        np.save(each.folder / "y.npy", y)
    killed_on_the_way(desk, *words)
    assert "go on from a checkpoint at step" in desk.thalweg("sweep", *words).stderr
    quiet.thalweg("sweep", *words)
    assert desk.hashes() == quiet.hashes()
    assert len(desk.hashes()) >= 2
