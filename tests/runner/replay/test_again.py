"""Stored trials, trained again in this process: what comes out, what does not, and that nothing is written."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backends import Died, InProcess

from thalweg.runner import page
from thalweg.runner.base.errors import SetupError
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.facts.replayed import Replayed, Verdict
from thalweg.runner.replay import again
from thalweg.runner.store import Store
from thalweg.runner.train import driver, worker
from thalweg.runner.train.messages import Event, Hello, OutOfMemory, Train, Work

WORDS = (
    "budget.steps=60",
    "optimizer=sgd",
    "model.hidden=[4]",
    "tracker=none",
    "study.name=mine",
    "evaluation.points=3",
)


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    """One thread and its allocator, on which bits depend."""
    prepare()


def bench() -> Callable[[Work], Iterator[Event]]:
    made = worker.Bench(SimpleNamespace(send=lambda message: None), torch.device("cpu"))  # type: ignore[arg-type]
    return lambda work: iter([made.do(work)])


def hello(**versions: str) -> Hello:
    said = worker._device("cpu")[1]
    return Hello(said.device, said.device_name, said.versions | versions)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials in cohorts of many and of one, of three executors and both layouts; one of each diverged."""
    path = tmp_path_factory.mktemp("trained") / "s.sqlite"
    with Store.open(path, "write") as store:
        for engine, seeds in (("vmap", "0"), ("traced", "0..2"), ("loop", "0,1")):
            words = (f"optimizer.lr=0.01,0.1,{1e6 if engine == 'loop' else 1e7}", f"seed={seeds}", f"engine={engine}")
            momentum = {"vmap": 0.1, "traced": 0.2, "loop": 0.3}[engine]
            declared = page.declare(*WORDS, *words, f"optimizer.momentum={momentum}")
            made = page.plan(declared.study, store)
            page.sweep(made, store, declared.settings, backend=InProcess(bench(), hello=hello()))
    return path


def replayed(path: Path, *prefixes: str, does: Callable[[Work], Iterator[Event]] | None = None, **versions: str):
    with Store.open(path) as store:
        records = [r for r in store.export_rows() if not prefixes or r.trial_id.startswith(prefixes)]
        source = again.Source(store.series, store.trial)
        backend = InProcess(does or bench(), size=2, hello=hello(**versions))
        return again.replay(records, source, lambda device: backend, driver.Silent()).replayed


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Callable[..., tuple[Path, str]]:
    """A copy of the store in which SQL has changed the n-th trial: its path, and that trial's id."""

    def changed(sql: str, n: int = 0) -> tuple[Path, str]:
        path = tmp_path / "s.sqlite"
        path.write_bytes(trained.read_bytes())
        db = sqlite3.connect(path)
        (seq, trial_id) = db.execute("SELECT seq, id FROM trials WHERE outcome = 'finished'").fetchall()[n]
        db.create_function("flipped", 2, flipped, deterministic=True)
        db.execute(sql, {"seq": seq})
        db.commit()
        db.close()
        return path, trial_id

    return changed


def flipped(blob: bytes, at: int) -> bytes:
    raw = bytearray(zlib.decompress(blob))
    raw[at] ^= 1
    return zlib.compress(bytes(raw))


def test_every_trial_comes_out_again_diverged_ones_too_and_nothing_is_written(trained: Path) -> None:
    before = {file.name: file.read_bytes() for file in trained.parent.iterdir()}
    found = replayed(trained)
    assert len(found) == 3 + 9 + 6
    assert {each.verdict for each in found} == {Verdict.MATCH}
    with Store.open(trained) as store:
        assert sum(r.diverged_step is not None for r in store.export_rows()) == 1 + 3 + 2
    assert {file.name: file.read_bytes() for file in trained.parent.iterdir()} == before


def test_one_trial_alone_comes_out_as_it_did_in_company(trained: Path) -> None:
    with Store.open(trained) as store:
        ids = [r.trial_id for r in store.export_rows() if r.cohort and r.cohort.width > 1]
    for trial_id in ids[::3]:
        (alone,) = replayed(trained, trial_id)
        assert alone.verdict is Verdict.MATCH


FLIPPED_HASH = "iif(weight_hash LIKE '0%', '1', '0') || substr(weight_hash, 2)"
LONGER = "replace(config, '\"steps\":60', '\"steps\":61')"
OF_IT = "trial = :seq AND name ="


@pytest.mark.long
@pytest.mark.parametrize(
    ("sql", "quantity", "step"),
    [
        (f"UPDATE trials SET weight_hash = {FLIPPED_HASH} WHERE seq = :seq", "weight hash", 60),
        (f"UPDATE series SET points = flipped(points, 68) WHERE {OF_IT} 'train/batch_loss'", "train/batch_loss", 17),
        (f"UPDATE series SET points = flipped(points, 1) WHERE {OF_IT} 'val/loss'", "val/loss", 0),
        (f"UPDATE metrics SET value = value * 1.0000001 WHERE {OF_IT} 'test/loss'", "final test/loss", 60),
        (f"UPDATE trials SET config = {LONGER} WHERE seq = :seq", "configuration", None),
    ],
)
def test_a_flipped_byte_is_found_and_only_there(copy, sql, quantity, step) -> None:
    path, changed = copy(sql)
    found = {each.trial_id: each for each in replayed(path)}
    assert {i for i, each in found.items() if each.verdict is not Verdict.MATCH} == {changed}
    assert found[changed].verdict is Verdict.MISMATCH
    assert found[changed].step == step
    assert found[changed].quantity == quantity


def only(found: list[Replayed]) -> Replayed:
    (one,) = {(each.verdict, each.why) for each in found}
    return Replayed(trial_id="", verdict=one[0], why=one[1])


@pytest.mark.parametrize("name", ["torch", "instructions"])
def test_other_versions_are_named_and_nothing_is_trained(trained: Path, name) -> None:
    def never(work: Work) -> Iterator[Event]:
        raise AssertionError(work)

    said = only(replayed(trained, does=never, **{name: "of tomorrow"}))
    assert said.verdict is Verdict.CANNOT_VERIFY
    assert "of tomorrow now" in said.why


def test_equal_bits_under_another_python_are_a_match(trained: Path) -> None:
    assert only(replayed(trained, python="9.9")).verdict is Verdict.MATCH


def test_a_device_that_is_not_here_is_named(trained: Path) -> None:
    def missing(device: str) -> InProcess:
        raise SetupError("this machine shows no NVIDIA device")

    with Store.open(trained) as store:
        source = again.Source(store.series, store.trial)
        said = only(again.replay(store.export_rows(), source, missing, driver.Silent()).replayed)
    assert (said.verdict, said.why) == (Verdict.CANNOT_VERIFY, "device: cpu then; this machine shows no NVIDIA device")


def test_a_worker_that_dies_and_memory_that_runs_out_change_no_verdict(trained: Path) -> None:
    does = bench()
    troubles: list[Died | OutOfMemory] = [Died(), OutOfMemory("no memory")]

    def troubled(work: Work) -> Iterator[Event]:
        if troubles and isinstance(work, Train) and len(work.trials) > 1:
            trouble = troubles.pop()
            if isinstance(trouble, Died):
                raise trouble
            return iter([trouble])
        return does(work)

    assert only(replayed(trained, does=troubled)).verdict is Verdict.MATCH
    assert not troubles


@pytest.mark.parametrize("operation", [None, "cumsum_cuda_kernel"])
def test_what_rounds_otherwise_each_time_proves_nothing(copy, operation) -> None:
    path, trial_id = copy(f"UPDATE trials SET weight_hash = {FLIPPED_HASH} WHERE seq = :seq")
    copied = sqlite3.connect(path)
    copied.create_function("flipped", 2, flipped, deterministic=True)
    where = "trial = (SELECT seq FROM trials WHERE id = ?) AND name = 'train/batch_loss'"
    copied.execute(f"UPDATE series SET points = flipped(points, 68) WHERE {where}", (trial_id,))
    copied.commit()
    copied.close()
    does = bench()

    def rounding(work: Work) -> Iterator[Event]:
        return iter([replace(each, undetermined=operation) for each in does(work)])

    (found,) = replayed(path, trial_id, does=rounding)
    assert found.verdict is (Verdict.CANNOT_VERIFY if operation else Verdict.MISMATCH)
    assert ("torch's cumsum_cuda_kernel rounds otherwise each time on this device" in found.why) is bool(operation)


def test_cohorts_of_a_gpu_are_trained_whole_and_in_their_order(trained: Path, copy) -> None:
    path, _ = copy("UPDATE cohorts SET device = 'Some GPU'")
    given: list[tuple[str, ...]] = []
    does = bench()

    def noted(work: Work) -> Iterator[Event]:
        assert isinstance(work, Train)
        given.append(tuple(trial.id for trial in work.trials))
        return does(work)

    with Store.open(path) as store:
        records = store.export_rows()
        cohorts = {r.cohort.trial_ids for r in records if r.cohort}
        backend = InProcess(noted, hello=Hello("cuda:0", "Some GPU", hello().versions))
        source = again.Source(store.series, store.trial)
        found = again.replay(records[::4], source, lambda device: backend, driver.Silent()).replayed
    assert [each.trial_id for each in found] == [r.trial_id for r in records[::4]]
    assert set(given) <= cohorts
    assert len(given) == len(set(given))
