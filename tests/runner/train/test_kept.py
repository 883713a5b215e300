"""Kept weights: whose files stay, that only sound ones are used, and what becomes of them when the store changes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from backends import InProcess

from thalweg.runner import page
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.base.whole import write_whole
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.replay import model as replayed
from thalweg.runner.store import Store
from thalweg.runner.study.settings import Keeps
from thalweg.runner.train import driver, kept, weights, worker
from thalweg.runner.train.keeper import foretold, taken_in
from thalweg.runner.train.messages import Event, Hello, Work

WORDS = (
    "budget.steps=40",
    "tracker=none",
    "study.name=mine",
    "evaluation.points=2",
    "optimizer=sgd",
    "model.hidden=[4]",
)
EXECUTORS = ("loop", "vmap", "traced")


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    prepare()


class Heard(driver.Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def backend(said: list[Any] | None = None, before: Callable[[int], None] = lambda number: None) -> InProcess:
    pipe = SimpleNamespace(send=(said if said is not None else []).append)
    bench = worker.Bench(pipe, torch.device("cpu"))  # type: ignore[arg-type]

    def does(work: Work) -> Iterator[Event]:
        yield bench.do(work)

    hello = worker._device("cpu")[1]
    return InProcess(does, hello=Hello(hello.device, hello.device_name, hello.versions), before_round=before)


def swept(path: Path, *words: str, said: list[Any] | None = None) -> Heard:
    declared, heard = page.declare(*WORDS, *words), Heard()
    with Store.open(path, "write") as store:
        made = page.plan(declared.study, store)
        page.sweep(made, store, declared.settings, heard, backend(said))
    return heard


def hashes(path: Path, where: str = "1") -> dict[str, str]:
    db = sqlite3.connect(path)
    found = dict(db.execute(f"SELECT id, weight_hash FROM trials WHERE {where}").fetchall())
    db.close()
    return found


def here(path: Path) -> dict[str, str]:
    return {file.trial_id: file.hash for file in kept.files(kept.folder_of(path))}


def from_store(path: Path, trial_id: str) -> replayed.Model:
    def again(wish: object) -> Any:
        raise AssertionError("it was trained again")

    with Store.open(path) as store:
        return replayed.model_of(store.trial(trial_id), again, folder=kept.folder_of(path))


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("keep", ["none", "best", "all"])
def test_whose_weights_stay(tmp_path: Path, executor: str, keep: Keeps) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, "optimizer.lr=0.1,0.01,1e7", "seed=0..1", f"engine={executor}", f"keep={keep}")
    stored = hashes(path)
    if keep == "best":
        with Store.open(path) as store:
            (best,) = page.view(store, "mine", ask=False).of_data
        assert best.near
        assert len(best.near.best.rows) == 2
        stored = {row.trial_id: stored[row.trial_id] for row in best.near.best.rows}
    assert here(path) == ({} if keep == "none" else stored)
    for trial_id, known in here(path).items():
        made = from_store(path, trial_id)
        assert (made.weights.hash, made.kept, made.unverified) == (known, True, "")


def test_keeping_changes_no_id_and_no_bits(tmp_path: Path) -> None:
    for keep in ("none", "all"):
        swept(tmp_path / f"{keep}.sqlite", "optimizer.lr=0.1,0.01", f"keep={keep}")
    assert hashes(tmp_path / "none.sqlite") == hashes(tmp_path / "all.sqlite")


def test_a_sweep_that_is_stopped_has_all_and_best_removes_the_others_when_it_ends(tmp_path: Path) -> None:
    path, words = (
        tmp_path / "s.sqlite",
        ("optimizer.lr=0.1,0.03,0.01,0.003", "engine=loop", "engine.width=1", "keep=best"),
    )
    declared = page.declare(*WORDS, *words)

    def stop(number: int) -> None:
        if number == 6:
            raise KeyboardInterrupt

    with Store.open(path, "write") as store:
        result = page.sweep(page.plan(declared.study, store), store, declared.settings, None, backend(before=stop))
    assert result.interrupted
    assert here(path).keys() == hashes(path, "outcome IS NOT NULL").keys()
    assert len(here(path)) > 1
    swept(path, *words)
    assert len(here(path)) == 1


def test_trials_that_another_study_declares_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, "optimizer.lr=0.1,0.01", "study.name=other", "keep=all")
    swept(path, "optimizer.lr=0.1,0.01,0.001", "keep=best")
    assert {*hashes(path)} - {*here(path)} == {*hashes(path, "config LIKE '%\"lr\":0.001,%'")}


def damage(path: Path) -> Iterator[tuple[str, bytes]]:
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    yield "empty", b""
    yield "half", whole[: len(whole) // 2]
    yield "longer", whole + b"\0"
    for name, place in {"length": 0, "data": len(whole) - 3, "first number": 8 + header}.items():
        yield name, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    yield "names swapped", whole.replace(rb"\"layers.0.weight\": \"", rb"\"layers.9.weight\": \"")
    for place in range(8, 8 + header, 7):
        yield f"header {place}", whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :]


def test_a_damaged_file_is_never_used_and_the_weights_are_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, "optimizer.lr=0.1", "keep=all")
    ((trial_id, known),) = hashes(path).items()
    file = weights.file_of(kept.folder_of(path), trial_id, known)
    sound = weights.read(file, trial_id, known)
    for name, content in list(damage(file)):
        file.write_bytes(content)
        try:
            found = kept.kept(kept.folder_of(path), trial_id, known)
        except ValueError:
            continue
        assert found is not None
        assert (found.hash, found.names, found.more) == (sound.hash, sound.names, sound.more), name
    file.write_bytes(b"no")
    asked = []

    def again(wish: object) -> Any:
        asked.append(wish)
        raise StopIteration

    with Store.open(path) as store:
        record = store.trial(trial_id)
    with pytest.raises(StopIteration):
        replayed.model_of(record, again, folder=kept.folder_of(path))
    assert len(asked) == 1
    with Store.open(path) as store:
        (fault,) = kept.faults(kept.folder_of(path), store.weight_hashes)
    assert "not a file of weights, or damaged" in fault


def test_another_trials_file_by_this_ones_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, "optimizer.lr=0.1,0.01", "keep=all")
    (a, one), (b, other) = hashes(path).items()
    folder = kept.folder_of(path)
    weights.file_of(folder, a, one).write_bytes(weights.file_of(folder, b, other).read_bytes())
    with pytest.raises(ValueError, match="it holds the weights of"):
        kept.kept(folder, a, one)


def test_weights_that_did_not_arrive_are_said(tmp_path: Path) -> None:
    """As where a worker's machine does not see the store's folder, or its disk is full."""
    path = tmp_path / "s.sqlite"
    said: list[Any] = []
    kept.folder_of(path).write_text("in the way")
    heard = swept(path, "optimizer.lr=0.1,0.01", "keep=all", said=said)
    assert [each for each in heard.notes if "the weights of 2 trials are not in" in each]
    assert len([each for each in said if "could not be written" in getattr(each, "text", "")]) == 1
    assert len(hashes(path, "outcome = 'finished'")) == 2


def test_what_becomes_of_files_follows_the_store(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, "optimizer.lr=0.1,0.01,0.001", "keep=all")
    folder, (a, b, c) = kept.folder_of(path), hashes(path)
    (folder / "x.partial").write_bytes(b"half")
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE trials SET weight_hash = ? WHERE id = ?", ("0" * 64, a))
        columns = "outcome, weight_hash, seconds, cohort, version, ended"
        db.execute(f"UPDATE trials SET ({columns}) = (NULL, NULL, NULL, NULL, NULL, NULL) WHERE id = ?", (b,))
    db.close()
    with Store.open(path, "write") as store:
        assert len(kept.faults(folder, store.weight_hashes)) == 1
        kept.tidy(folder, store.weight_hashes, alone=False)
        assert (folder / "x.partial").exists()
        kept.tidy(folder, store.weight_hashes)
        assert not (folder / "x.partial").exists()
        assert {*here(path)} == {b, c}
        store.remove(store.removal([], [c]))
        assert kept.tidy(folder, store.weight_hashes) > 0
        assert {*here(path)} == {b}
        store.remove(store.removal(["mine"], []))
        kept.tidy(folder, store.weight_hashes)
        assert not folder.exists()


def test_a_merge_takes_the_files_of_what_is_stored_with_that_hash(tmp_path: Path) -> None:
    whole, share = tmp_path / "s.sqlite", tmp_path / "s.1-of-2.sqlite"
    swept(share, "optimizer.lr=0.1,0.01,0.001", "keep=all")
    a, b, c = hashes(share)
    files = {i: weights.file_of(kept.folder_of(share), i, known) for i, known in hashes(share).items()}
    files[a].write_bytes(b"damaged")
    with Store.open(whole, "write") as store, Store.open(share) as other:
        store.merge(other)
        said = taken_in(store, other)
        assert taken_in(store, other) == said[1:]
    assert said[0] == "kept weights of 2 trials copied"
    assert "are not taken: it is not a file of weights" in said[1]
    assert here(whole) == {i: hashes(share)[i] for i in (b, c)}


def test_sizes_are_said_before_from_what_was_kept_and_while_it_trains(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    declared = page.declare(*WORDS, "optimizer.lr=0.1,0.01", "keep=all")
    with Store.open(path, "write") as store:
        made = page.plan(declared.study, store)
        assert foretold(made, store, "none") == []
        (said,) = foretold(made, store, "all")
        assert "is said once one has ended" in said
    heard = swept(path, "optimizer.lr=0.1", "keep=all")
    size = next(iter(kept.files(kept.folder_of(path)))).bytes
    assert [each for each in heard.notes if each.startswith(f"keep=all: weights of {size / 1000:.0f} kB a trial")]
    swept(path, "optimizer.lr=0.5")
    with Store.open(path, "write") as store:
        wanted = page.declare(*WORDS, "optimizer.lr=0.5,0.1,0.2,0.3,0.4").study
        later = foretold(page.plan(wanted, store), store, "all")
    assert later[0].startswith(f"keep=all: {round(size * 3 / 1000)} kB of weights in")
    assert "1 done trial without kept weights" in later[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from thalweg.runner.base.whole import write_whole
replaced = os.{name}
def die(*words):
    if {name!r} == "fsync":
        replaced(*words)
    os.kill(os.getpid(), signal.SIGKILL)
os.{name} = die
write_whole(Path(sys.argv[1]), b"x" * 1000)
"""


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_kill_while_a_file_is_written_leaves_none_by_that_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, "optimizer.lr=0.1", "keep=all")
    (file,) = kept.files(kept.folder_of(path))
    file.path.unlink()
    command = [
        sys.executable,
        "-P",
        "-c",
        KILLED.replace("{name!r}", repr(name)).replace("{name}", name),
        str(file.path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == -signal.SIGKILL
    assert not file.path.exists()
    with Store.open(path) as store:
        assert kept.kept(kept.folder_of(path), file.trial_id, file.hash) is None
        kept.tidy(kept.folder_of(path), store.weight_hashes)
    assert not kept.folder_of(path).exists()
    write_whole(tmp_path / "whole", b"1")
    assert (tmp_path / "whole").read_bytes() == b"1"


@pytest.mark.parametrize("word", ["keep=some", "keep=best,all", "keep=null", "keep=true"])
def test_what_is_no_choice_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="keep"):
        page.declare(*WORDS, word)
