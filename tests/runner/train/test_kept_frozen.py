"""What is frozen is kept once: who names it, that only sound parameters are used, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_kept import as_in_a_worker, from_store, hashes, here, swept

from thalweg.runner import page
from thalweg.runner.store import Store
from thalweg.runner.train import kept, weights
from thalweg.runner.train.keeper import foretold, taken_in

__all__ = ["as_in_a_worker"]  # a fixture
FREEZE = ("groups.body.match=layers.0.*", "groups.body.freeze=true")
BODY = {"layers.0.weight", "layers.0.bias"}
WORDS = (*FREEZE, "optimizer.lr=0.1,0.01,0.001")


def frozen_of(path: Path) -> list[kept.Frozen]:
    return kept.frozen(kept.folder_of(path))


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_trials_that_have_it_alike_keep_it_once(tmp_path: Path, executor: str) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, *WORDS, "seed=0..1", f"engine={executor}", "keep=all")
    assert here(path) == hashes(path)
    assert len(frozen_of(path)) == 2  # a seed each
    assert len({file.frozen for file in kept.files(kept.folder_of(path))}) == 2
    for trial_id, known in hashes(path).items():
        made = from_store(path, trial_id)
        assert (made.weights.hash, made.kept) == (known, True)
        assert made.weights.frozen == BODY
        assert {*made.weights.state_dict} == {
            f"layers.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")
        }


def test_files_of_before_which_are_whole_open_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, *WORDS, "keep=all")
    folder, (trial_id, *_) = kept.folder_of(path), hashes(path)
    whole = from_store(path, trial_id).weights
    weights.write(folder, weights.Weights(trial_id, whole.arrays, whole.names))
    assert weights.names_frozen(weights.file_of(folder, trial_id, whole.hash)) is None
    for each in hashes(path):
        assert from_store(path, each).kept
    with Store.open(path, "write") as store:
        assert kept.faults(folder, store.weight_hashes) == []
        kept.tidy(folder, store.weight_hashes)
    assert len(frozen_of(path)) == 1


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "one bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_parameters_are_never_used_and_come_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, *WORDS, "keep=all")
    folder, (part,) = kept.folder_of(path), frozen_of(path)
    trial_id, known = next(iter(hashes(path).items()))
    sound = from_store(path, trial_id).weights
    DAMAGE[kind](part.path)
    with pytest.raises(ValueError, match=r"its frozen parameters, .*, are (damaged|not there)"):
        kept.kept(folder, trial_id, known)
    with Store.open(path) as store:
        assert len(kept.faults(folder, store.weight_hashes)) == 3
    weights.write(folder, sound)
    for each in hashes(path):
        assert from_store(path, each).kept


def test_it_goes_with_the_last_trial_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, *WORDS, "keep=all")
    folder, ids = kept.folder_of(path), [*hashes(path)]
    with Store.open(path, "write") as store:
        for trial_id in ids[:2]:
            store.remove(store.removal([], [trial_id]))
            kept.tidy(folder, store.weight_hashes)
            assert len(frozen_of(path)) == 1
        store.remove(store.removal([], ids[2:]))
        kept.tidy(folder, store.weight_hashes, alone=False)
        assert len(frozen_of(path)) == 1  # the file that names it may be coming
        assert len(kept.faults(folder, store.weight_hashes)) == 1
        assert kept.tidy(folder, store.weight_hashes) > 0
    assert not folder.exists()


def test_the_best_cell_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    swept(path, *WORDS, "keep=best")
    (trial_id,) = here(path)
    assert from_store(path, trial_id).kept
    assert len(frozen_of(path)) == 1


def test_a_merge_takes_it_too_and_mends_what_is_damaged_here(tmp_path: Path) -> None:
    whole, share = tmp_path / "s.sqlite", tmp_path / "s.1-of-2.sqlite"
    swept(share, *WORDS, "keep=all")
    (part,) = frozen_of(share)
    for damaged in (False, True):
        if damaged:
            kept.tidy(kept.folder_of(whole), lambda ids: {})
            weights.frozen_file(kept.folder_of(whole), part.hash).parent.mkdir(parents=True)
            weights.frozen_file(kept.folder_of(whole), part.hash).write_bytes(b"damaged")
        with Store.open(whole, "write") as store, Store.open(share) as other:
            store.merge(other)
            assert taken_in(store, other) == ["kept weights of 3 trials copied"]
        for trial_id in hashes(share):
            assert from_store(whole, trial_id).kept


def test_sizes_count_it_once(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    heard = swept(path, *FREEZE, "model.hidden=[400]", "optimizer.lr=0.1", "keep=all")
    (file,), (part,) = kept.files(kept.folder_of(path)), frozen_of(path)
    assert part.bytes > 100_000
    (said,) = [each for each in heard.notes if each.startswith("keep=all: weights of")]
    assert f"{part.bytes / 1000:.0f} kB of frozen parameters once" in said
    with Store.open(path, "write") as store:
        wanted = page.declare(*WORDS, "model.hidden=[400]", "budget.steps=40", "tracker=none", "study.name=mine",
                              "evaluation.points=2", "optimizer=sgd").study  # fmt: skip
        (later,) = foretold(page.plan(wanted, store), store, "best")
    assert later.startswith(f"keep=best: {(2 * file.bytes + part.bytes) / 1000:.0f} kB of weights in")
