"""Trials that start from another's weights: named whole in planning, trained with them at hand, and replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from backends import InProcess

from thalweg.runner import page
from thalweg.runner.base.errors import UsageError
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.planning.plan import Plan
from thalweg.runner.planning.shard import Shard
from thalweg.runner.replay import again
from thalweg.runner.store import Store
from thalweg.runner.train import driver, kept, worker
from thalweg.runner.train.messages import Event, Hello, Work

WORDS = ("budget.steps=40", "tracker=none", "evaluation.points=2", "model.hidden=[4]", "optimizer=sgd")


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    prepare()


def backend(said: list[Any]) -> InProcess:
    bench = worker.Bench(SimpleNamespace(send=said.append), torch.device("cpu"))  # type: ignore[arg-type]

    def does(work: Work) -> Iterator[Event]:
        yield bench.do(work)

    hello = worker._device("cpu")[1]
    return InProcess(does, hello=Hello(hello.device, hello.device_name, hello.versions))


def planned(store: Store | None, *words: str) -> Plan:
    return page.plan(page.declare(*WORDS, *words).study, store)


def swept(store: Store, *words: str) -> list[str]:
    """Sweep, and return the ids of the trials."""
    declared = page.declare(*WORDS, *words)
    made = page.plan(declared.study, store)
    page.sweep(made, store, declared.settings, None, backend([]))
    return [member.trial.id for member in made.members]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.sqlite", "write") as opened:
        yield opened


@pytest.fixture
def base(store: Store) -> str:
    return swept(store, "study.name=base", "keep=all")[0]


def verdict(store: Store, trial_id: str) -> Any:
    source = again.Source(store.series, store.trial, str(kept.folder_of(store.path)))
    made = again.replay([store.trial(trial_id)], source, lambda device: backend([]), driver.Silent())
    return made.replayed[0]


def test_the_beginning_of_an_id_becomes_the_whole_and_the_hash_of_its_weights(store: Store, base: str) -> None:
    (member,) = planned(store, f"init.weights='{base[:7]}'").members
    init = member.trial.config.init
    assert (init.weights, init.fingerprint) == (base, store.trial(base).weight_hash)
    (whole,) = planned(store, f"init.weights='{base}'").members
    assert whole.trial.id == member.trial.id != base


@pytest.mark.parametrize("engine", ["loop", "vmap", "traced"])
def test_it_trains_from_there_is_done_then_and_comes_out_again(store: Store, base: str, engine: str) -> None:
    words = (f"init.weights='{base[:9]}'", "seed=0..1", "study.name=tuned", f"engine={engine}")
    ids = swept(store, *words)
    assert planned(store, *words).to_train == 0
    first = [store.series(trial_id)["val/loss"].values[0] for trial_id in ids]
    assert first == [store.trial(base).metrics["val/loss"]] * 2
    assert len({store.trial(trial_id).weight_hash for trial_id in ids}) == 2
    assert [verdict(store, trial_id).verdict for trial_id in ids] == ["MATCH"] * 2
    kept.files(kept.folder_of(store.path))[0].path.unlink()
    without = verdict(store, ids[0])
    assert (without.verdict, "from the weights of" in without.why) == ("CANNOT VERIFY", True)


def test_an_axis_of_fresh_and_begun_is_two_programs(store: Store, base: str) -> None:
    made = planned(store, f"init.weights=null,'{base[:9]}'", "study.name=both", "seed=9")
    assert len(made.groups) == len(made.members) == 2


def test_a_trial_that_cannot_be_started_from_is_one_sentence(store: Store, base: str) -> None:
    page.record(planned(store, "seed=5", "study.name=later"), store)
    (member,) = planned(store, "seed=5", "study.name=later").members
    with pytest.raises(UsageError, match="is not trained yet, so it has no weights"):
        planned(store, f"init.weights='{member.trial.id[:9]}'")
    with pytest.raises(UsageError, match="no trial id in the store begins with"):
        planned(store, "init.weights='0123456789abcdef'")
    with pytest.raises(UsageError, match="there is no store here"):
        planned(None, f"init.weights='{base}'")
    with pytest.raises(UsageError, match="which the store of a share does not hold"):
        page.share(page.declare(*WORDS, f"init.weights='{base}'").study, Shard(1, 2), store)


def test_weights_that_were_not_kept_are_trained_again_before(store: Store, monkeypatch) -> None:
    base = swept(store, "study.name=base")[0]
    assert not kept.folder_of(store.path).exists()
    crew = SimpleNamespace(require=lambda: backend([]))
    monkeypatch.setattr("thalweg.runner.train.crew.Crew", lambda how, pool: crew)
    ids = swept(store, f"init.weights='{base}'", "study.name=tuned")
    assert store.trial(ids[0]).metrics
    (file,) = kept.files(kept.folder_of(store.path))
    assert (file.trial_id, file.hash) == (base, store.trial(base).weight_hash)
