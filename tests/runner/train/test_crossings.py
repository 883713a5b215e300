"""Whatever a trial asks for, it may be stopped at rungs on its way, kept, and gone on from: to the bits of one go."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from backends import InProcess

from thalweg.runner import page
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.store import Store
from thalweg.runner.train import driver, kept, worker
from thalweg.runner.train.messages import Train, Work

WORDS = (
    "tracker=none", "dataset=digits", "dataset.train_size=64", "evaluation.points=4",
    "optimizer.lr=0.003,0.03", "optimizer.weight_decay=0.1", "seed=0..1", "schedule=constant", "schedule.warmup=4",
)  # fmt: skip
STOP = "study.stop={rule: halving, rungs: [25%, 50%]}"
LOW = "groups.low.match=layers.0.*"
ASKED: dict[str, tuple[str, ...]] = {
    "average": ("average=ema", "average.decay=0.8"),
    "rates": (LOW, "groups.low.lr=3", "groups.low.weight_decay=0", "average=ema"),
    "frozen": (LOW, "groups.low.freeze=true", "average=ema", "optimizer=muon"),
    "parts, BatchNorm, SAM": ("budget.accumulate=4", "model.norm=batch", "sam=adaptive", "average=ema"),
    "parts, dropout": ("budget.accumulate=2", "model.dropout=0.2", "optimizer=lion"),
    "start, frozen": ("init.weights=start.safetensors", LOW, "groups.low.freeze=true", "clip=norm"),
    "float64, smoothing": ("precision=float64", "task.label_smoothing=0.1", "average=ema", "optimizer=adam_l2"),
    "fp16": (
        *("precision=fp16", "scaling=dynamic", "scaling.start=4194304", "scaling.interval=3"),
        *("average=ema", "budget.accumulate=2", "optimizer=sgd"),
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _as_in_a_worker() -> None:
    prepare()


class Swept(driver.Silent):
    """A sweep in this process; what it said, and how many trials went on from a shorter one."""

    def __init__(self, path: Path, *words: str) -> None:
        self.notes: list[str] = []
        self.onward, hello = 0, worker._device("cpu")[1]
        self.bench = worker.Bench(SimpleNamespace(send=self._heard), torch.device("cpu"), hello.device_name)  # type: ignore[arg-type]
        declared = page.declare(*WORDS, *words)
        with Store.open(path, "write") as store:
            goes_on = True
            while goes_on:
                made = page.plan(declared.study, store)
                page.record(made, store)
                result = page.train(made, store, declared.settings, self, InProcess(self._does, hello=hello))
                goes_on = result.goes_on(made)

    def _does(self, work: Work) -> Any:
        self.onward += len(work.onward) if isinstance(work, Train) else 0
        yield self.bench.do(work)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _heard(self, said: Any) -> None:
        self.notes += [said.text] if hasattr(said, "text") else []


def stored(path: Path, steps: int) -> dict[str, Any]:
    """All that is stored of the trials that ended, of so many steps."""
    with Store.open(path) as store:
        return {
            record.trial_id: (
                record.weight_hash,
                dict(record.metrics),
                {name: (s.steps.tolist(), s.values.tolist()) for name, s in store.series(record.trial_id).items()},
            )
            for record in store.export_rows()
            if record.outcome is Outcome.FINISHED and record.config["budget"]["steps"] == steps
        }


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of no seed, in a file."""
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    sizes = {"layers.0.weight": (4, 64), "layers.0.bias": (4,), "layers.1.weight": (10, 4), "layers.1.bias": (10,)}
    torch.manual_seed(5)
    save_file({name: torch.randn(size) / 8 for name, size in sizes.items()}, "start.safetensors")


@pytest.mark.long
@pytest.mark.usefixtures("start")
@pytest.mark.parametrize("executor", [pytest.param("loop", marks=pytest.mark.slow), "traced"])
@pytest.mark.parametrize("name", ASKED)
def test_stopped_on_its_way_and_gone_on_from_it_ends_as_at_one_go(tmp_path: Path, name: str, executor: str) -> None:
    holds(tmp_path, (*ASKED[name], "model.hidden=[4]", f"engine={executor}"))


def holds(folder: Path, asked: tuple[str, ...], *, onward: bool = True) -> None:
    """Stop trials at rungs and train longer from what is kept; or from the start where that holds not all."""
    path, once = folder / "s.sqlite", folder / "once.sqlite"
    first = Swept(path, *asked, STOP, "budget.steps=20", "keep=all", "study.name=short")
    assert not any("not used" in note for note in first.notes)
    Swept(once, *asked, "budget.steps=20", "study.name=short")
    survived, whole = stored(path, 20), stored(once, 20)
    assert len(survived) == 2
    assert len(whole) == 4
    assert survived == {trial: whole[trial] for trial in survived}
    with Store.open(path) as store:
        at = kept.folder_of(path)
        found = {trial: kept.kept(at, trial, digest) for trial, (digest, *_) in survived.items()}
        assert all(weights and weights.hash == survived[trial][0] for trial, weights in found.items())
        assert not kept.faults(at, store.weight_hashes)
    then = Swept(path, *asked, "budget.steps=40", "study.name=long")
    assert then.onward == (2 if onward else 0)
    assert any("go on from step 20" in note for note in then.notes) is onward
    Swept(once, *asked, "budget.steps=40", "study.name=long")
    assert stored(path, 40) == stored(once, 40)


OWN = """
import torch
from torch import nn


class Normed(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.Dropout(0.1), nn.Linear(4, outputs))

    def forward(self, x):
        return self.layers(x.flatten(1))


class Hooked(Normed):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.layers[0].register_forward_hook(lambda module, given, out: 1.1 * out)


class Counts(Normed):
    passes = 0

    def forward(self, x):
        self.passes += self.training
        return super().forward(x) / (1 + self.passes / 100)
"""
OWNS = {"Normed loop": True, "Normed traced": True, "Hooked loop": True, "Counts loop": False}


@pytest.mark.long
@pytest.mark.parametrize("name", OWNS)
def test_so_does_a_model_of_ones_own_which_starts_again_where_it_keeps_more_than_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model, executor = name.split()
    package = f"crossed_{model}_{executor}".lower()  # Python imports a name once
    (tmp_path / f"{package}.py").write_text(OWN)
    (tmp_path / "thalweg.yaml").write_text(f"code: [{package}]")
    monkeypatch.chdir(tmp_path)
    all_of_it = ("average=ema", "budget.accumulate=2", "sam=standard", LOW, "groups.low.freeze=true", "clip=norm")
    own = ("model=target", f"model._target_={package}.{model}", f"engine={executor}")
    holds(tmp_path, (*own, *all_of_it), onward=OWNS[name])
