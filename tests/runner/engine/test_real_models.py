"""Every kind of model and data through whole training runs: fused equals solo, and a step changes what it should."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from thalweg.data.load import load_splits
from thalweg.data.schema import DATASETS
from thalweg.models.schema import MODELS
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.study.trial import Trial, TrialConfig

ADAPTER = TypeAdapter(TrialConfig)
CPU = torch.device("cpu")
DRAWN = {"train_size": 40, "label_noise": 0.1, "split_seed": 0, "augment": ()}
BLOCKS = {"width": 8, "depth": 1, "heads": 2, "dropout": 0.0, "init_gain": 1.0}
CNN = {"name": "cnn", "widths": (4, 6), "dropout": 0.0, "init_gain": 1.0}
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "linear on values": ({"name": "linear", "init_gain": 1.0}, {"name": "noisy_regression", "features": 5, **DRAWN}),
    "logistic": (
        {"name": "linear", "init_gain": 1.0},
        {"name": "teacher", "features": 5, "hidden": 4, "classes": 3, **DRAWN},
    ),
    "cnn, BatchNorm": ({**CNN, "norm": "batch"}, None),
    "cnn, GroupNorm": ({**CNN, "norm": "group"}, None),
    "vit": ({"name": "vit", "patch": 4, **BLOCKS}, None),
    "gpt": ({"name": "gpt", **BLOCKS}, "text"),
}


@pytest.fixture
def text(tmp_path):
    (tmp_path / "a.txt").write_text("".join(chr(97 + (n * n + n // 7) % 23) for n in range(2000)))
    sizes = {"context": 8, "characters": 24, "train_size": 60, "validation_size": 20, "test_size": 20}
    fixed = {"label_noise": 0.0, "split_seed": 0, "fingerprint": None}
    return {"name": "text", "path": str(tmp_path), **sizes, **fixed}


def trials_of(trial_of, case, text, steps=6):
    """Three trials of a case that differ in their rate and the gain of their initial weights."""
    model, dataset = CASES[case]
    made = []
    for lr, gain in ((0.01, 1.0), (0.02, 1.0), (0.03, 0.5)):
        config = trial_of(lr, optimizer="adamw", steps=steps, warmup=2, batch_size=8, precision="float64").config
        own = MODELS[model["name"]](**{**model, "init_gain": gain})
        data = text if dataset == "text" else dataset
        config = replace(config, model=own, dataset=DATASETS[data["name"]](**data) if data else config.dataset)
        made.append(Trial(config))
    return made


@pytest.mark.parametrize("case", CASES)
def test_fused_trainings_equal_solo_ones(trial_of, train_all, text, case) -> None:
    trials = trials_of(trial_of, case, text)
    assert len({trial.group_id for trial in trials}) == 1
    fused, solo = (train_all(trials, executor) for executor in ("vmap", "loop"))
    for one, other in zip(fused, solo, strict=True):
        a, b = (each.series["train/batch_loss"].values for each in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-9)
        assert one.metrics.keys() == other.metrics.keys()
        for name, value in one.metrics.items():
            assert value == pytest.approx(other.metrics[name], rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize("case", ["linear on values", "gpt"])
def test_evaluation_is_the_mean_over_the_split_however_it_is_cut(trial_of, text, case, monkeypatch) -> None:
    trials = trials_of(trial_of, case, text)
    workload = prepared(trials[0].config, CPU)
    whole = evaluate(workload, workload.start(trials), "val", "vmap")
    monkeypatch.setattr("thalweg.runner.engine.evaluate.CHUNK", 7)
    for name, values in evaluate(workload, workload.start(trials), "val", "vmap").items():
        torch.testing.assert_close(values, whole[name], rtol=1e-10, atol=1e-12)


def test_one_row_a_batch_into_batch_norm_is_refused_before_it_trains(trial_of) -> None:
    config = trial_of(batch_size=1).config
    alone = replace(config, model=replace(config.model, norm="batch"))
    with pytest.raises(ConfigError, match=r"budget.batch_size is 1, but the model has BatchNorm"):
        prepared(alone, CPU)
    prepared(replace(alone, model=config.model), CPU)


def test_resnet18_takes_a_step_on_the_format_of_cifar10(trial_of, train_all, tmp_path, monkeypatch) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setenv("THALWEG_DATA", str(tmp_path))
    load_splits.cache_clear()
    rng, sums = np.random.default_rng(0), {}
    (tmp_path / CIFAR10.base_folder).mkdir()
    for name in [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]:
        batch = {"data": rng.integers(0, 256, (8, 3072), dtype=np.uint8), "labels": list(range(8))}
        sums[name] = write(tmp_path / CIFAR10.base_folder / name, batch)
    sums["batches.meta"] = write(tmp_path / CIFAR10.base_folder / "batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{n}", sums[f"data_batch_{n}"]] for n in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    config = trial_of(0.01, optimizer="sgd", steps=2, warmup=0, batch_size=4).config
    images = {"name": "cifar10", "train_size": 20, "label_noise": 0.0, "split_seed": 0, "augment": ("crop", "flip")}
    model = MODELS["resnet18"](name="resnet18", width=16, init_gain=1.0)
    trials = [Trial(replace(config, model=model, dataset=DATASETS["cifar10"](**images)))] * 2
    fused, solo = (train_all(trials, executor, evaluations=1)[0] for executor in ("vmap", "loop"))
    assert fused.outcome == "finished"
    a, b = (each.series["train/batch_loss"].values for each in (fused, solo))
    np.testing.assert_allclose(a, b, rtol=1e-3)
    assert a[1] != a[0]


def write(file, content) -> str:
    """Pickle content as CIFAR's authors did; return its checksum."""
    file.write_bytes(pickle.dumps(content))
    return hashlib.md5(file.read_bytes()).hexdigest()
