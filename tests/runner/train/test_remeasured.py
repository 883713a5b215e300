"""A metric after the fact: measured by kept weights, to what training would have measured, or trained again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from backends import InProcess

from thalweg.runner import page
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.store import Store
from thalweg.runner.train import driver, kept, worker
from thalweg.runner.train.messages import Event, Hello, Work

WORDS = ("budget.steps=40", "tracker=none", "study.name=mine", "evaluation.points=2", "optimizer.lr=0.003,0.01")
TOP = ("evaluation.metrics=[after_the_fact.top2]", "study.metric=val/top2")
CODE = """
def top2(outputs, y):
    return (outputs.topk(2, -1).indices == y[..., None]).any(-1).double().mean()
"""


@pytest.fixture(autouse=True, scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests: where declared names are found is settled once a process."""
    prepare()
    folder = tmp_path_factory.mktemp("project")
    (folder / "thalweg.yaml").write_text("code: [after_the_fact]")
    (folder / "after_the_fact.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture(autouse=True)
def no_store() -> None:
    Path("s.sqlite").unlink(missing_ok=True)
    shutil.rmtree("s.weights", ignore_errors=True)


class Swept(driver.Silent):
    def __init__(self, *words: str) -> None:
        self.notes: list[str] = []
        bench = worker.Bench(SimpleNamespace(send=self._heard), torch.device("cpu"))  # type: ignore[arg-type]

        def does(work: Work) -> Iterator[Event]:
            yield bench.do(work)

        hello = worker._device("cpu")[1]
        declared = page.declare(*WORDS, *words)
        with Store.open("s.sqlite", "write") as store:
            backend = InProcess(does, hello=Hello(hello.device, hello.device_name, hello.versions))
            page.sweep(page.plan(declared.study, store), store, declared.settings, self, backend)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _heard(self, said: Any) -> None:
        self.notes += [said.text] if getattr(said, "text", "") else []

    def told(self, words: str) -> bool:
        return any(words in note for note in self.notes)


def metrics() -> list[tuple[str, str | None, dict[str, float]]]:
    with Store.open("s.sqlite") as store:
        return sorted((each.trial_id, each.weight_hash, dict(each.metrics)) for each in store.export_rows())


@pytest.mark.long
@pytest.mark.parametrize("words", [("model.norm=batch",), ("average=ema",), ()], ids=str)
@pytest.mark.parametrize("executor", ["loop", "vmap", "traced"])
def test_it_is_what_training_would_have_measured(executor: str, words: tuple[str, ...]) -> None:
    how = (f"engine={executor}", *words)
    Swept(*how, *TOP)
    at_once = metrics()
    Path("s.sqlite").unlink()
    Swept(*how, "keep=all")
    assert metrics() != at_once
    after = Swept(*how, *TOP)
    assert after.told("measured by their kept weights, without training")
    assert metrics() == at_once


@pytest.mark.long
@pytest.mark.parametrize("how", ["damaged", "gone", "other loss"])
def test_where_that_cannot_be_it_is_trained_again(how: str) -> None:
    Swept("engine=vmap", "keep=all")
    for file in kept.files(kept.folder_of(Path("s.sqlite").absolute())):
        file.path.unlink() if how == "gone" else None
        file.path.write_bytes(file.path.read_bytes()[:-1]) if how == "damaged" else None
    if how == "other loss":
        with Store.open("s.sqlite", "write") as store, store._transaction() as db:
            db.execute("UPDATE metrics SET value = value * 1.0000001 WHERE name = 'val/loss'")
    after = Swept("engine=vmap", *TOP)
    assert not after.told("without training")
    assert after.told("are trained again to be measured") == (how != "gone")
    assert all("val/top2" in found for _, _, found in metrics())
