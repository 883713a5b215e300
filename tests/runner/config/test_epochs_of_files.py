"""Epochs of all that is in a user's files: as long as what is loaded is, or refused where only code could tell."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from thalweg.data.load import load_splits
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.study.study import expand
from thalweg.runner.study.trial import TrialConfig

ROWS = 53
WORDS = {
    "csv": ("dataset=table", "dataset.path=a.csv", "dataset.target=y"),
    "npz": ("dataset=table", "dataset.path=a.npz", "dataset.target=y"),
    "arrays": ("dataset=arrays", "dataset.x=x.npy", "dataset.y=y.npy"),
    "pictures": ("dataset=image_folder", "dataset.path=pictures", "dataset.side=8", "model=cnn"),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32), np.arange(ROWS) % 2
    lines = [",".join(map(str, (*row, int(target)))) for row, target in zip(x, y, strict=True)]
    Path("a.csv").write_text("\n".join(["a,b,c,y", *lines]))
    np.savez("a.npz", x=x, y=y)
    np.save("x.npy", x)
    np.save("y.npy", y)
    for place in range(ROWS):
        folder = Path("pictures") / str(place % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), place, np.uint8)).save(folder / f"{place}.png")


def configs(*words: str) -> list[TrialConfig]:
    return [member.trial.config for member in expand(declare(Request(words)).study)]


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("shares", [(0.2, 0.2), (0.1, 0.3)])
def test_an_epoch_is_as_long_as_what_is_loaded(name: str, shares: tuple[float, float]) -> None:
    held = (f"dataset.validation={shares[0]}", f"dataset.test={shares[1]}")
    words = (*WORDS[name], *held, "dataset.train_size=null", "budget.batch_size=8")
    (config,) = configs(*words, "budget.steps=3ep", "schedule.warmup=1ep")
    rows = len(load_splits(config.dataset).train.y)
    assert rows == ROWS - sum(round(share * ROWS) for share in shares)
    assert config.budget.steps == math.ceil(3 * rows / 8)
    assert config.schedule.warmup == math.ceil(rows / 8)
    said = configs(*words, f"budget.steps={config.budget.steps}", f"schedule.warmup={config.schedule.warmup}")
    assert said == [config]
    lengths = [each.budget.steps for each in configs(*words, "budget.steps=1ep,3ep", "budget.batch_size=8,16")]
    assert lengths == [math.ceil(epochs * rows / batch) for epochs in (1, 3) for batch in (8, 16)]


def test_other_files_are_other_epochs() -> None:
    words = (*WORDS["npz"], "dataset.train_size=null", "budget.batch_size=8", "budget.steps=3ep")
    before = configs(*words)[0].budget.steps
    held = np.load("a.npz")
    np.savez("a.npz", x=np.tile(held["x"], (2, 1)), y=np.tile(held["y"], 2))
    assert configs(*words)[0].budget.steps > 1.8 * before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*WORDS["npz"], "dataset.path=none.npz"), "nothing is there"),
        ((*WORDS["npz"], "dataset.validation=0.6", "dataset.test=0.5"), "are for training"),
        ((*WORDS["npz"], "dataset.validation=2"), "dataset.validation is 2"),
        (("dataset=target", "dataset._target_=points.make"), "train_size=null has no known length"),
    ],
)
def test_where_it_cannot_be_known_one_sentence_says_why(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configs(*words, "dataset.train_size=null", "budget.steps=2ep")
    assert said in refused.value.message
