"""Weights that leave: only those whose hash is stored, unless it is asked and said otherwise."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from backends import InProcess
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

from thalweg.data.load import load_splits
from thalweg.models.build import build_model
from thalweg.models.schema import MLPConfig
from thalweg.runner import page
from thalweg.runner.base.errors import MismatchError, SetupError, ThalwegError, UnverifiedError, UsageError
from thalweg.runner.engine.cohort import Handing
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.prepare import extent_of
from thalweg.runner.facts.weights import Weights
from thalweg.runner.replay import again, model
from thalweg.runner.store import Store
from thalweg.runner.study.keys import trial_config
from thalweg.runner.train import driver, weights, worker
from thalweg.runner.train.messages import Event, Hello, Work

WORDS = ("budget.steps=60", "tracker=none", "study.name=mine", "evaluation.points=3", "optimizer=sgd")


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    """One thread and its allocator, on which bits depend."""
    prepare()


def bench(said: list[Any] | None = None) -> Callable[[Work], Iterator[Event]]:
    made = worker.Bench(SimpleNamespace(send=(said if said is not None else []).append), torch.device("cpu"))  # type: ignore[arg-type]
    return lambda work: iter([made.do(work)])


def hello(**versions: str) -> Hello:
    said = worker._device("cpu")[1]
    return Hello(said.device, said.device_name, said.versions | versions)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of three executors; of each one that diverged."""
    path = tmp_path_factory.mktemp("trained") / "s.sqlite"
    with Store.open(path, "write") as store:
        for engine, momentum in (("vmap", 0.1), ("traced", 0.2), ("loop", 0.3)):
            words = ("optimizer.lr=0.01,0.1,1e7", f"optimizer.momentum={momentum}", f"engine={engine}")
            declared = page.declare(*WORDS, *words, "model.hidden=[4]")
            page.sweep(
                page.plan(declared.study, store), store, declared.settings, backend=InProcess(bench(), hello=hello())
            )
    return path


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    path = tmp_path / "s.sqlite"
    path.write_bytes(trained.read_bytes())
    return path


def changed(path: Path, sql: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(sql)
    db.close()


def model_from(
    path: Path,
    trial_id: str,
    *,
    does: Callable[[Work], Iterator[Event]] | None = None,
    unverified: bool = False,
    **versions: str,
) -> model.Model:
    with Store.open(path) as store:
        record, source = store.trial(trial_id), again.Source(store.series, store.trial)
        backend = InProcess(does or bench(), hello=hello(**versions))
        return model.model_of(
            record,
            lambda wish: again.replay([record], source, lambda device: backend, driver.Silent(), wish=wish),
            unverified=unverified,
        )


def ids(path: Path, condition: str = "outcome = 'finished'") -> list[str]:
    db = sqlite3.connect(path)
    found = [trial_id for (trial_id,) in db.execute(f"SELECT id FROM trials WHERE {condition} ORDER BY seq")]
    db.close()
    return found


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_plain_torch_loads_it_and_finds_the_stored_loss(trained: Path, tmp_path: Path, suffix: str) -> None:
    """To the last bit: float32 outputs of the split at once, losses added up in float64."""
    for trial_id in ids(trained):
        made, file = model_from(trained, trial_id), tmp_path / f"model{suffix}"
        model.write(made, file)
        config = trial_config(json.loads(made.metadata["config"]))
        data = load_splits(config.dataset)
        assert isinstance(config.model, MLPConfig)
        net = build_model(config.model, extent_of(data))
        net.load_state_dict(load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True))
        with torch.no_grad():
            outputs = net.eval()(torch.tensor(data.validation.x))
        loss = functional.cross_entropy(outputs, torch.tensor(data.validation.y), reduction="none").double().mean()
        stored = made.record.metrics["val/loss"]
        assert f"{loss:.6g}" == f"{stored:.6g}"
        assert float(loss) == pytest.approx(stored, rel=1e-7)


def test_the_file_says_what_it_is_and_every_trial_has_its_own(trained: Path, tmp_path: Path) -> None:
    seen = set()
    for trial_id in ids(trained, "1"):
        made, file = model_from(trained, trial_id), tmp_path / "model.safetensors"
        model.write(made, file)
        with safe_open(file, "np") as held:
            said = held.metadata()
        assert (said["trial"], said["weight_hash"], said["verified"]) == (trial_id, made.record.weight_hash, "yes")
        assert json.loads(said["config"]) == made.record.config
        seen.add(made.weights.hash)
    assert len(seen) >= 7  # those that diverged may have ended with the same


FLIPPED = "iif(weight_hash LIKE '0%', '1', '0') || substr(weight_hash, 2)"


@pytest.mark.parametrize(
    "sql",
    [
        f"UPDATE trials SET weight_hash = {FLIPPED}",
        "UPDATE metrics SET value = value * 1.0000001",
        "UPDATE trials SET config = replace(config, '\"steps\":60', '\"steps\":61')",
        "UPDATE trials SET weight_hash = (SELECT weight_hash FROM trials ORDER BY seq DESC LIMIT 1) WHERE seq < 3",
    ],
)
@pytest.mark.parametrize("unverified", [False, True])
def test_what_does_not_come_out_again_is_refused_whatever_is_asked(copy: Path, sql: str, unverified: bool) -> None:
    changed(copy, sql)
    with pytest.raises(MismatchError, match="did not come out again"):
        model_from(copy, ids(copy)[0], unverified=unverified)


def test_another_torch_is_named_and_its_weights_need_asking_for(copy: Path) -> None:
    (first, *_) = ids(copy)
    with pytest.raises(UnverifiedError, match=r"cannot be verified: torch: .* then, of tomorrow now; --unverified"):
        model_from(copy, first, torch="of tomorrow")
    same = model_from(copy, first, torch="of tomorrow", unverified=True)
    assert same.metadata["verified"] == "yes"  # the hash is the stored one, whoever trained it
    changed(copy, f"UPDATE trials SET weight_hash = {FLIPPED}")
    other = model_from(copy, first, torch="of tomorrow", unverified=True)
    assert other.metadata["verified"].startswith("no: torch: ")
    assert other.weights.hash == other.metadata["weight_hash"] != other.record.weight_hash


def test_a_device_that_is_not_here_is_named_and_another_needs_asking_for(copy: Path) -> None:
    changed(copy, "UPDATE cohorts SET device = 'Some GPU'")
    (first, *_) = ids(copy)

    def backend_on(device: str) -> InProcess:
        if device == "cuda":
            raise SetupError("this machine shows no NVIDIA device")
        return InProcess(bench(), hello=hello())

    with Store.open(copy) as store:
        record, source = store.trial(first), again.Source(store.series, store.trial)

        def trained_again(wish: again.Wish) -> again.Again:
            return again.replay([record], source, backend_on, driver.Silent(), wish=wish)

        with pytest.raises(UnverifiedError, match="device: Some GPU then; this machine shows no NVIDIA device"):
            model.model_of(record, trained_again)
        assert model.model_of(record, trained_again, unverified=True).weights.trial_id == first


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("outcome = NULL, ended = NULL", "is not trained yet, so it has no weights"),
        ("outcome = 'failed'", "ended as failed, so it has no weights"),
        ("outcome = 'pruned'", "ended as pruned, so it has no weights"),
    ],
)
def test_what_has_no_weights_is_refused_and_nothing_is_trained(copy: Path, sql: str, said: str) -> None:
    (first, *_) = ids(copy)
    changed(copy, f"UPDATE trials SET {sql} WHERE outcome = 'finished'")

    def never(work: Work) -> Iterator[Event]:
        raise AssertionError(work)

    with pytest.raises(UsageError, match=said):
        model_from(copy, first, does=never)


def test_what_is_another_trials_or_damaged_is_not_read(tmp_path: Path) -> None:
    held = Weights("ab" * 32, {"w": np.arange(3.0)}, {"w": "w"})
    file = weights.write(tmp_path, held)
    assert weights.read(file, "ab" * 32, held.hash).state_dict["w"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="it holds the weights of abababab"):
        weights.read(file, "cd" * 32)
    with pytest.raises(ValueError, match="have the hash"):
        weights.read(file, "ab" * 32, "0" * 64)
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:4], b"", whole[:-1] + bytes([whole[-1] ^ 1]), b"\xff" * 8 + whole[8:]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError):
            weights.read(file, "ab" * 32, held.hash)


def test_weights_changed_on_their_way_are_not_written(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong in between, such as another lane's: the file's own bytes are hashed."""

    def tampering(handing: Handing | None) -> Handing:
        assert handing is not None
        other = {"first.weight": np.zeros((1, 1), np.float32)}
        return Handing(handing.wanted, lambda held: handing.take(Weights(held.trial_id, other, {})))

    kept = worker.Bench._handing
    monkeypatch.setattr(worker.Bench, "_handing", lambda self, keep: tampering(kept(self, keep)))
    with pytest.raises(MismatchError, match="changed on their way"):
        model_from(trained, ids(trained)[0])


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"more": True}, UnverifiedError, "its model kept more than parameters and buffers.*; --unverified"),
        ({"unlike": "the model's state_dict lacks w"}, UsageError, "cannot be written: the model's state_dict lacks w"),
    ],
)
def test_a_model_that_its_state_dict_does_not_hold_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], error: type[ThalwegError], said: str
) -> None:
    kept = weights.write
    monkeypatch.setattr(worker, "write", lambda folder, held: kept(folder, replace(held, **how)))
    with pytest.raises(error, match=said):
        model_from(trained, ids(trained)[0])
    if "more" in how:
        made = model_from(trained, ids(trained)[0], unverified=True)
        assert made.metadata["verified"].startswith("no: in training its model kept more")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model", "has the ending ''; expected .safetensors or .pt"),
        ("model.bin", "'.bin'"),
        ("nowhere/model.pt", "is in a folder that is not there"),
        ("folder.pt", "is a folder"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_training(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UsageError, match=said):
        model.refuse_path(tmp_path / name)


def test_weights_that_are_not_verified_go_where_that_can_be_said(tmp_path: Path) -> None:
    model.refuse_path(tmp_path / "model.safetensors", unverified=True)
    with pytest.raises(UsageError, match="could not say that its weights are not verified"):
        model.refuse_path(tmp_path / "model.pt", unverified=True)


def test_a_disk_that_takes_nothing_leaves_what_was_there(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, file = model_from(trained, ids(trained)[0]), tmp_path / "model.safetensors"
    file.write_text("mine")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thalweg.runner.base.whole.os.fsync", full)
    with pytest.raises(ThalwegError, match="cannot be written: No space left"):
        model.write(made, file)
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]
    assert file.read_text() == "mine"
