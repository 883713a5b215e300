"""Models of torchvision's sweep by `_target_`, on data of one's own."""

from __future__ import annotations

import pytest
from desk import Desk

PICTURES = """\
import numpy as np


def stripes(examples, size):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, examples)
    wave = np.sin(np.arange(size))
    x = np.where(y[:, None, None, None] == 1, wave[None, None, None, :], wave[None, None, :, None])
    return x + rng.normal(0, 0.3, (examples, 3, size, size)), y
"""
VIT = ("+model.patch_size=8", "+model.num_layers=1", "+model.num_heads=2", "+model.hidden_dim=16", "+model.mlp_dim=32")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), [("resnet18", ()), ("VisionTransformer", VIT)])
def test_a_model_of_torchvisions_sweeps_and_learns(desk: Desk, name: str, arguments: tuple[str, ...]) -> None:
    (desk.folder / "thalweg.yaml").write_text("code: [pictures]")
    (desk.folder / "pictures.py").write_text(PICTURES)
    model = ("model=target", f"model._target_=torchvision.models.{name}", *arguments)
    data = ("dataset=target", "dataset._target_=pictures.stripes", "+dataset.examples=60", "+dataset.size=32")
    how = ("optimizer=sgd", "optimizer.lr=0.01,0.1", "budget.steps=6", "budget.batch_size=8", "evaluation.points=1")
    desk.thalweg("sweep", *model, *data, *how, "tracker=none", "study.name=pictures", "launcher.workers=1", timeout=500)
    found = desk.json("best", "pictures")
    assert found["best"]["mean"] < 0.65  # chance is 0.69
    assert desk.query("SELECT count(*) FROM trials WHERE outcome = 'finished'") == [(2,)]
