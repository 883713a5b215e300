"""A trial's model in this process: it gives the stored loss or is refused, and reads a file as its own."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from backends import InProcess
from torch.nn import functional

from thalweg.data.arrange import ORDER, order
from thalweg.data.digits import digits
from thalweg.data.load import load_splits
from thalweg.data.schema import DigitsConfig, PlantedConfig
from thalweg.runner import page
from thalweg.runner.base.errors import MismatchError, UsageError
from thalweg.runner.engine import loaded as engine
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.loaded import Loaded
from thalweg.runner.facts.weights import Weights
from thalweg.runner.replay import again, model, predict
from thalweg.runner.replay.recorded import trial_of
from thalweg.runner.store import Store
from thalweg.runner.train import driver, worker

N = 80
TEXT = "how much wood would a woodchuck chuck = if a woodchuck could chuck wood?\n" * 8


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    """One thread and its allocator, on which bits depend."""
    prepare()


def backend() -> InProcess:
    made = worker.Bench(SimpleNamespace(send=lambda message: None), torch.device("cpu"))  # type: ignore[arg-type]
    said = worker._device("cpu")[1]
    return InProcess(lambda work: iter([made.do(work)]), hello=said)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trial on words, one on values, one on digits and one on a text; and the files."""
    folder = tmp_path_factory.mktemp("desk")
    drawn = np.random.RandomState(0)
    a, b = drawn.normal(50, 10, N), drawn.normal(-3, 0.1, N)
    targets = {"words": np.where((a - 50) / 10 + (b + 3) / 0.1 > 0, "yes", "no"), "values": 1000 + 3 * a - 50 * b}
    for name, target in targets.items():
        with (folder / f"{name}.csv").open("w") as file:
            csv.writer(file).writerows([("a", "b", "y"), *zip(a, b, target, strict=True)])
    table = (
        "dataset=table",
        "dataset.target=y",
        "optimizer=sgd",
        "budget.steps=60",
        "model.hidden=[8]",
        "tracker=none",
    )
    (folder / "text.txt").write_text(TEXT)
    studies = {
        "text": (
            *("dataset=text", f"dataset.path={folder}/text.txt", "dataset.context=8", "dataset.characters=12"),
            *("dataset.train_size=40", "dataset.validation_size=9", "dataset.test_size=5", "tracker=none"),
            *(
                "model=gpt",
                "model.width=16",
                "model.depth=1",
                "model.heads=2",
                "budget.steps=20",
                "budget.batch_size=8",
            ),
        ),
        "words": (*table, f"dataset.path={folder}/words.csv", "dataset.labels=[no,yes]", "optimizer.lr=0.1"),
        "values": (*table, f"dataset.path={folder}/values.csv", "dataset.kind=values", "optimizer.lr=0.05"),
        "digits": ("dataset=digits", "budget.steps=20", "tracker=none", "optimizer.lr=0.01", "seed=0..1"),
    }
    with Store.open(folder / "s.sqlite", "write") as store:
        for name, words in studies.items():
            declared = page.declare(*words, f"study.name={name}")
            page.sweep(page.plan(declared.study, store), store, declared.settings, backend=backend())
    return folder


def model_from(desk: Path, study: str) -> model.Model:
    with Store.open(desk / "s.sqlite") as store:
        record = store.trial(store.study_rows(study)[0].trial_id)
        source = again.Source(store.series, store.trial)
        return model.model_of(
            record, lambda wish: again.replay([record], source, lambda device: backend(), driver.Silent(), wish=wish)
        )


def test_classes_come_in_their_words_with_probabilities_that_give_the_stored_loss(desk: Path) -> None:
    made = model_from(desk, "words")
    found = predict.predict(made, desk / "words.csv")
    with (desk / "words.csv").open() as file:
        truth = np.array([row["y"] for row in csv.DictReader(file)])
    val = order(0, ORDER, N)[-32:-16]
    assert len(load_splits(trial_of(made.record).config.dataset).validation.y) == 16
    columns = found.columns
    assert list(columns) == ["row", "predicted", "p(no)", "p(yes)"]
    of_truth = [columns[f"p({truth[row]})"][row] for row in val]
    assert -np.log(of_truth).mean() == pytest.approx(made.record.metrics["val/loss"], rel=1e-6)
    right = np.mean(np.array(columns["predicted"])[val] == truth[val])
    assert right == made.record.metrics["val/accuracy"]


def test_values_come_in_the_files_own_units(desk: Path) -> None:
    made = model_from(desk, "values")
    found = predict.predict(made, desk / "values.csv")
    with (desk / "values.csv").open() as file:
        truth = np.array([float(row["y"]) for row in csv.DictReader(file)])
    placed = order(0, ORDER, N)
    train, val = placed[:48], placed[48:64]
    error = np.mean((found.predicted[val, 0] - truth[val]) ** 2) / truth[train].var()
    assert error == pytest.approx(made.record.metrics["val/loss"], rel=1e-5)
    assert list(found.columns) == ["row", "predicted"]


def test_each_character_of_a_text_is_predicted_with_its_loss(desk: Path) -> None:
    """Those that validated, which come first, have the stored loss; the last window ends where the text does."""
    made = model_from(desk, "text")
    (desk / "validated.txt").write_text(TEXT[: 9 * 8 + 1])
    found = predict.predict(made, desk / "validated.txt")
    assert found.losses is not None
    assert found.losses.mean() == pytest.approx(made.record.metrics["val/loss"], rel=1e-6)
    assert f"mean loss of 72 characters: {found.losses.mean():.6g} nats" in found.note
    columns = found.columns
    assert list(columns) == ["character", "predicted", "loss"]
    assert "".join(columns["character"]).count("\ufffd") < 20
    assert all(one in ("\ufffd", other) for one, other in zip(columns["character"], TEXT[1:], strict=False))
    (desk / "more.txt").write_text(TEXT[: 9 * 8 + 4])
    more = predict.predict(made, desk / "more.txt")
    assert np.array_equal(more.outputs[:72], found.outputs)
    assert set(more.arrays) == {"outputs", "predicted", "followed", "losses", "characters"}
    assert len(more.outputs) == 75


def test_a_module_has_its_weights_and_they_are_its_own(desk: Path) -> None:
    made = model_from(desk, "digits")
    module = predict.load(made).module
    assert not module.training
    data = load_splits(trial_of(made.record).config.dataset)
    with torch.no_grad():
        loss = functional.cross_entropy(module(torch.tensor(data.validation.x)), torch.tensor(data.validation.y))
    assert float(loss) == pytest.approx(made.record.metrics["val/loss"], rel=1e-6)
    parameters = [*module.parameters()]
    assert len({each.untyped_storage().data_ptr() for each in parameters}) == len(parameters)


def test_a_module_that_does_not_give_the_stored_loss_is_refused(desk: Path) -> None:
    """As where a model keeps more than its state_dict, or a dataset is read otherwise."""
    made = model_from(desk, "digits")
    arrays = {name: array * 1.1 for name, array in made.weights.arrays.items()}
    other = model.Model(made.record, Weights(made.record.trial_id, arrays, made.weights.names))
    with pytest.raises(MismatchError, match=r"its model has a validation loss of \S+, not \S+: its state_dict"):
        predict.load(other)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_module_that_cannot_hold_the_weights_is_refused(
    desk: Path, monkeypatch: pytest.MonkeyPatch, in_order: bool
) -> None:
    """As one whose layers are built in the order of a set of words, which is another in each process."""
    monkeypatch.setattr(engine, "walks_in_order", lambda: in_order)
    made = model_from(desk, "digits")
    arrays = {name: array.T.copy() for name, array in made.weights.arrays.items()}
    other = model.Model(made.record, Weights(made.record.trial_id, arrays, made.weights.names))
    with pytest.raises(MismatchError, match="cannot hold its weights: size mismatch for") as refused:
        predict.load(other)
    assert ("start with PYTHONHASHSEED=0" in (refused.value.hint or "")) is not in_order


def test_what_no_file_is_read_as_is_said(desk: Path) -> None:
    data = PlantedConfig(name="planted", train_size=9, curvature=1.0, noise=1.0, target=0.3, split_seed=0)
    workload: Any = SimpleNamespace(config=SimpleNamespace(dataset=data))
    with pytest.raises(UsageError, match=r"no file is read as dataset=planted is; .*data of yours") as refused:
        Loaded(workload, torch.nn.Identity()).unseen(desk / "words.csv")
    assert "thalweg.trial" in refused.value.hint


def test_digits_are_predicted_as_they_were_validated(desk: Path) -> None:
    made = model_from(desk, "digits")
    data = trial_of(made.record).config.dataset
    x, _ = digits()
    held_out = x[order(data.split_seed, ORDER, len(x))][1000:1400]
    np.savez(desk / "pictures.npz", x=held_out[:, 0])
    found = predict.predict(made, desk / "pictures.npz")
    accuracy = (found.predicted == load_splits(data).validation.y).mean()
    assert accuracy == pytest.approx(made.record.metrics["val/accuracy"], abs=1e-9)
    assert found.note == ""


def test_grey_pictures_are_made_ready_for_a_model_that_reads_three_channels(tmp_path: Path) -> None:
    data = DigitsConfig(name="digits", train_size=9, label_noise=0.0, split_seed=0, channels=3)
    x, _ = digits()
    np.savez(tmp_path / "grey.npz", x=x[order(0, ORDER, len(x))][1000:1400, 0])
    workload: Any = SimpleNamespace(config=SimpleNamespace(dataset=data))
    found = Loaded(workload, torch.nn.Identity()).unseen(tmp_path / "grey.npz")
    assert np.array_equal(found.x, load_splits(data).validation.x)
    assert found.x.shape == (400, 3, 8, 8)


def test_a_prediction_at_each_place_is_no_line_of_a_table() -> None:
    found = predict.Predicted(np.zeros((2, 3, 4)), np.zeros((2, 3)))
    assert list(found.arrays) == ["outputs", "predicted"]
    with pytest.raises(UsageError, match=r"-o FILE\.npz"):
        _ = found.columns


def test_a_trial_is_found_by_its_id_in_the_store_of_the_commands(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import thalweg

    monkeypatch.chdir(desk)
    monkeypatch.setitem(os.environ, "THALWEG_STORE", "s.sqlite")
    with Store.open("s.sqlite") as store:
        full = store.study_rows("digits")[0].trial_id
        for given in (None, "s.sqlite", desk / "s.sqlite", store):
            assert thalweg.trial(full[:8], given).id == full
