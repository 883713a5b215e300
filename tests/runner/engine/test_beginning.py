"""Weights from elsewhere: all lanes of every executor start as they are, or one sentence says what does not fit."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handed import handed_over
from safetensors.torch import save_file
from torch import Tensor

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.state import host_arrays
from thalweg.runner.engine.workload import Workload
from thalweg.runner.study.start import FRESH, InitConfig, declared
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
EXECUTORS = ("loop", "vmap", "traced")
KINDS = ("trial", "safetensors", "pt")


def final(trial: Trial) -> dict[str, np.ndarray]:
    """The state_dict that a trial ends with."""
    _, (weights,) = handed_over([trial], prepared(trial.config, CPU), "loop")
    return dict(weights.state_dict)


def written(path: Path, arrays: dict[str, Any]) -> str:
    tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return str(path)


def from_(trial: Trial, weights: str, partial: bool = False) -> Trial:
    init = declared(InitConfig(weights=weights, partial=partial))
    return Trial(replace(trial.config, init=init))


def workload_of(trial: Trial, arrays: dict[str, np.ndarray] | None = None) -> Workload:
    return prepared(trial.config, CPU, (), arrays)


@pytest.fixture
def arrays(trial_of) -> dict[str, np.ndarray]:
    return final(trial_of(seed=7))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_lane_starts_there_and_seeds_differ_in_what_follows(grid_of, arrays, tmp_path, executor, kind) -> None:
    name = "ab" * 32 if kind == "trial" else written(tmp_path / f"w.{kind}", arrays)
    trials = [from_(trial, name) for trial in (*grid_of(2), *grid_of(2, seed=1))]
    workload = workload_of(trials[0], arrays if kind == "trial" else None)
    state = workload.start(trials, executor)
    for views in [workload.layout.views(state.theta[k : k + 1]) for k in range(len(trials))]:
        assert all(np.array_equal(view[0].numpy(), arrays[name]) for name, view in views.items())
    observed = train(Cohort(tuple(trials), executor, "per_lane", 1), workload)
    assert len({each.weight_hash for each in observed}) == 4
    assert len({each.series["val/loss"].values[0] for each in observed}) == 1
    fresh = train(Cohort(tuple(grid_of(2)), executor, "per_lane", 1), prepared(grid_of(1)[0].config, CPU))
    assert not {each.weight_hash for each in fresh} & {each.weight_hash for each in observed}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_buffers_start_there_too(trial_of, tmp_path, executor) -> None:
    plain = trial_of()
    trial = Trial(replace(plain.config, model=replace(plain.config.model, norm="batch")))
    arrays = final(trial)
    assert any("running_mean" in name for name in arrays)
    begun = from_(trial, written(tmp_path / "w.pt", arrays))
    state = workload_of(begun).start([begun], executor)
    held = host_arrays({name: buffer[0] for name, buffer in state.buffers.items()})
    assert held
    assert all(np.array_equal(held[name], arrays[name]) for name in held)


def test_a_head_of_another_shape_is_made_anew_by_each_seed_where_that_is_declared(grid_of, arrays, tmp_path) -> None:
    head = list(arrays)[-2]
    cut = {name: array for name, array in arrays.items() if name != list(arrays)[-1]} | {head: np.zeros((3, 16), "f4")}
    file = written(tmp_path / "w.safetensors", {**cut, "other": np.zeros(2)})
    trials = [from_(trial, file, partial=True) for trial in (*grid_of(1), *grid_of(1, seed=1))]
    with pytest.raises(ConfigError, match=f"lacks {list(arrays)[-1]}; has of another shape {head}.*; has more other"):
        workload_of(from_(grid_of(1)[0], file))
    workload = workload_of(trials[0])
    assert workload.beginning
    assert "starts with 4 of its 6 tensors" in workload.beginning.note
    views = workload.layout.views(workload.start(trials).theta)
    for name, view in views.items():
        assert torch.equal(view[0], view[1]) == (name != head), name
        assert (name in (head, list(arrays)[-1])) != np.array_equal(view[0].numpy(), arrays[name])


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def bad(tmp_path: Path, arrays: dict[str, Any]) -> dict[str, tuple[str, str]]:
    files = {name: tmp_path / f"{name}.pt" for name in ("runs", "pickle", "nested", "text", "list", "sparse")}
    torch.save({"a": Runs()}, files["runs"])
    files["pickle"].write_bytes(pickle.dumps(Runs()))
    torch.save({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, files["nested"])
    files["text"].write_text("weights")
    torch.save([torch.zeros(1)], files["list"])
    torch.save({"layers.0.weight": torch.eye(3).to_sparse()}, files["sparse"])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(Path(written(tmp_path / "w.safetensors", arrays)).read_bytes()[:-5])
    said = {
        "runs": "would have to be run",
        "pickle": "would have to be run|no file of torch.save",
        "nested": "state_dict, epoch; expected",
        "text": "no file of torch.save|would have to be run",
        "list": "holds a list; expected names",
        "sparse": "sparse or quantized",
    }
    return {name: (str(files[name]), said[name]) for name in files} | {"damaged": (str(damaged), "damaged")}


@pytest.mark.parametrize("name", ["runs", "pickle", "nested", "text", "list", "sparse", "damaged"])
def test_what_is_no_file_of_weights_is_one_sentence(trial_of, arrays, tmp_path, name) -> None:
    file, said = bad(tmp_path, arrays)[name]
    with pytest.raises(ConfigError, match=said):
        workload_of(from_(trial_of(), file))


def test_a_file_that_changed_since_is_refused_and_another_trial_is_another_id(trial_of, arrays, tmp_path) -> None:
    file = tmp_path / "w.pt"
    first = from_(trial_of(), written(file, arrays))
    assert first.config.init.fingerprint == hashlib.sha256(file.read_bytes()).hexdigest()
    second = from_(trial_of(), written(file, {name: array + 1 for name, array in arrays.items()}))
    assert len({first.id, second.id, trial_of().id}) == len({first.group_id, second.group_id, trial_of().group_id}) == 3
    with pytest.raises(ConfigError, match="has changed: its SHA-256 was"):
        workload_of(first)
    assert workload_of(second).beginning


def test_a_trial_whose_weights_are_not_here_is_one_sentence(trial_of) -> None:
    with pytest.raises(ConfigError, match="from the weights of abababab, which are not available here"):
        workload_of(from_(trial_of(), "ab" * 32))


def test_fresh_weights_are_no_part_of_an_id(trial_of) -> None:
    assert declared(InitConfig(weights=None, partial=True)) == FRESH
    assert Trial(replace(trial_of().config, init=FRESH)).id == trial_of().id


@pytest.mark.parametrize("name", ["gone.pt", "folder.pt", "w.txt", "a/\0.pt", "~nobody-here/w.pt", "8g"])
def test_names_of_no_file_are_one_sentence(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ConfigError, match=r"init\.weights is"):
        declared(InitConfig(weights=name, partial=False))


def test_other_precisions_take_the_same_numbers(trial_of, arrays, tmp_path) -> None:
    begun = from_(trial_of(precision="float64"), written(tmp_path / "w.pt", arrays))
    theta: Tensor = workload_of(begun).start([begun]).theta
    assert theta.dtype == torch.float64
    assert torch.equal(theta[0], torch.cat([torch.as_tensor(a).flatten() for a in arrays.values()]).double())
