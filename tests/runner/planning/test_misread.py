"""Trials on files that version 0.1.0 read otherwise are wanted anew; those on files that it read right are done.

A store of then is stood in for by the ids that it would hold: configurations with the fingerprint of then.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thalweg.data.files import MENDED
from thalweg.runner.config import Request, declare
from thalweg.runner.planning.revision import renamed, repaired
from thalweg.runner.study.study import Member, expand
from thalweg.runner.study.trial import Trial

WORDS = ("model=mlp", "model.hidden=[4]", "budget.steps=3", "schedule.warmup=0", "seed=0,1", "tracker=none")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thalweg.yaml").write_text("code: [points]\n")
    (tmp_path / "points.py").write_text("def read(path, split='train'): ...\n")
    return tmp_path


def members(*words: str) -> list[Member]:
    return expand(declare(Request((*WORDS, *words))).study)


def of_then(root: Path, *, typed: bool = False, also: tuple[Path, ...] = ()) -> str:
    """The fingerprint that 0.1.0 had of a file, or of a folder's files that are not hidden."""
    made = hashlib.sha256(b"thalweg.files.v1")
    for place in (root, *also):
        inside = [file for file in sorted(place.rglob("*")) if file.is_file()] if place.is_dir() else [place]
        for file in inside:
            name = file.relative_to(place).as_posix()
            if not any(part.startswith(".") and part != "." for part in Path(name).parts):
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                made.update(f"\n{file.as_posix() if typed else name}\n{content}".encode())
    return made.hexdigest()[:16]


def then(member: Member, fingerprint: str) -> str:
    dataset = replace(member.trial.config.dataset, fingerprint=fingerprint)  # type: ignore[arg-type]
    return Trial(replace(member.trial.config, dataset=dataset, arithmetic=0)).id


def csv(folder: Path, header: str, row) -> Path:
    lines = [header, *(",".join(map(str, row(n))) for n in range(40))]
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    return folder / "a.csv"


def npz(folder: Path, x: np.ndarray, y: np.ndarray) -> Path:
    np.savez(folder / "a.npz", x=x, y=y)
    return folder / "a.npz"


def images(folder: Path, change=lambda image: image, **how) -> Path:
    for place, name in enumerate(("cat", "dog")):
        (folder / "animals" / name).mkdir(parents=True)
        for n in range(6):
            change(Image.new("L", (4, 6), 90 * place + n)).save(folder / "animals" / name / f"{n}.png", **how)
    return folder / "animals"


def turned(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return images(folder, exif=exif)


def with_file(folder: Path, name: str) -> Path:
    root = images(folder)
    (root / name).parent.mkdir(exist_ok=True)
    Image.new("L", (4, 4)).save(root / name, "PNG")
    return root


X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
MISREAD = {
    "index": lambda folder: csv(folder, ",a,y", lambda n: (n, n % 7, n % 2)),
    "index, again": lambda folder: csv(folder, "Unnamed: 0,a,y", lambda n: (n, n % 7, n % 2)),
    "onehot": lambda folder: npz(folder, X, np.eye(3)[Y]),
    "scale": lambda folder: csv(folder, "a,b,y", lambda n: (n % 7, (n % 5) * 1e200, n % 2)),
    "scale, tiny": lambda folder: csv(folder, "a,b,y", lambda n: (n % 7, (n % 5) * 1e-200, n % 2)),
    "scale, pictures": lambda folder: npz(folder, X.reshape(40, 1, 3) * 1e200, Y),
    "scale, still": lambda folder: csv(folder, "a,b,y", lambda n: (n % 7, 0.1, n % 2)),
    "pictures": lambda folder: images(folder, lambda i: Image.fromarray(np.asarray(i).astype(np.uint16) * 257)),
    "pictures, turned": turned,
    "pictures, clear": lambda folder: images(folder, lambda i: Image.merge("LA", (i, i))),
    "hidden": lambda folder: with_file(folder, "cat/.trap.png"),
    "hidden, a class": lambda folder: with_file(folder, ".ipynb_checkpoints/0.png"),
}
RIGHT = {
    "a table": lambda folder: csv(folder, "a,b,y", lambda n: (n % 7, 5, n % 2)),
    "arrays": lambda folder: npz(folder, X, Y),
    "arrays in a column": lambda folder: npz(folder, X, Y[:, None]),
    "pictures in arrays": lambda folder: npz(folder, X.reshape(40, 1, 3), Y),
    "images": images,
    "images in colour": lambda folder: images(folder, lambda i: i.convert("RGB")),
    "images with alpha": lambda folder: images(folder, lambda i: i.convert("RGBA")),
    "images beside hidden files": lambda folder: with_file(folder, "cat/.DS_Store"),
}


def words(root: Path) -> tuple[str, ...]:
    return (f"dataset={'image_folder' if root.is_dir() else 'table'}", f"dataset.path={root}")


@pytest.mark.parametrize("case", MISREAD)
def test_what_was_misread_is_not_done(tmp_path: Path, case: str) -> None:
    root = MISREAD[case](tmp_path)
    declared = members(*words(root))
    stored = {then(member, of_then(root)) for member in declared}
    now = renamed(declared, lambda ids: stored & set(ids))
    assert not stored & {member.trial.id for member in now}
    found = repaired(now, lambda ids: stored & set(ids))
    assert found.counts == {MENDED[case.partition(",")[0]]: 2}
    assert set(found.replaced) == stored


@pytest.mark.parametrize("case", RIGHT)
def test_what_was_read_right_is_done_and_keeps_its_id(tmp_path: Path, case: str) -> None:
    root = RIGHT[case](tmp_path)
    declared = members(*words(root))
    assert [member.trial.id for member in declared] == [then(member, of_then(root)) for member in declared]
    assert [member.trial.config.arithmetic for member in declared] == [0, 0]


def test_an_index_that_was_ignored_was_no_feature(tmp_path: Path) -> None:
    root = MISREAD["index"](tmp_path)
    declared = members(*words(root), 'dataset.ignore=[""]')
    assert [member.trial.id for member in declared] == [then(member, of_then(root)) for member in declared]


def test_thumbnails_change_an_id_and_the_trials_of_then_are_done(tmp_path: Path) -> None:
    root = images(tmp_path)
    (root / "cat/Thumbs.db").write_bytes(b"anything")
    declared = members(*words(root))
    stored = {then(declared[0], of_then(root))}
    assert not stored & {member.trial.id for member in declared}
    now = renamed(declared, lambda ids: stored & set(ids))
    assert [member.trial.id for member in now] == [then(member, of_then(root)) for member in declared]  # one cell


def test_links_to_folders_were_not_seen_so_nothing_of_then_is_done(tmp_path: Path) -> None:
    root = images(tmp_path)
    (root / "bird").symlink_to(root / "cat")
    (root / "cat/Thumbs.db").write_bytes(b"anything")
    declared = members(*words(root))
    seen = hashlib.sha256(b"thalweg.files.v1")
    there = [*sorted((root / "cat").iterdir()), *sorted((root / "dog").iterdir())]
    for file in there:
        seen.update(f"\n{file.relative_to(root)}\n{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    stored = {then(member, seen.hexdigest()[:16]) for member in declared}
    now = renamed(declared, lambda ids: stored & set(ids))
    assert not stored & {member.trial.id for member in now}


@pytest.mark.parametrize("name", ["cat/__MACOSX/0.png", "__MACOSX/0.png"])
def test_pictures_that_systems_left_were_trained_on_so_nothing_of_then_is_done(tmp_path: Path, name: str) -> None:
    root = with_file(tmp_path, name)
    declared = members(*words(root))
    stored = {then(member, of_then(root)) for member in declared}
    assert not stored & {member.trial.id for member in renamed(declared, lambda ids: stored & set(ids))}


TARGET = ("dataset=target", "dataset._target_=points.read", "+dataset.path=data/a.csv", "+dataset.split=train")


def test_a_target_finds_its_trials_of_then_by_the_paths_as_they_were_typed(tmp_path: Path) -> None:
    for name in ("data/a.csv", "train/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    declared = members(*TARGET)
    old = of_then(Path("data/a.csv"), typed=True, also=(Path("train"),))
    stored = {then(declared[0], old)}
    now = renamed(declared, lambda ids: stored & set(ids))
    assert [member.trial.id for member in now] == [then(member, old) for member in declared]
    assert [member.trial for member in renamed(declared, lambda ids: ())] == [m.trial for m in declared]
    both = stored | {declared[0].trial.id}
    assert renamed(declared, lambda ids: both & set(ids))[0].trial == declared[0].trial
    (tmp_path / "data/a.csv").write_text("other")
    again = members(*TARGET)
    assert not stored & {member.trial.id for member in renamed(again, lambda ids: stored & set(ids))}


def test_a_plan_says_how_files_are_read_where_that_may_surprise(tmp_path: Path, capsys) -> None:
    from thalweg.runner.cli import main

    def advice(*asked: str) -> str:
        assert main(["plan", *WORDS, *asked, "--json"]) == 0
        return "\n".join(json.loads(capsys.readouterr().out)["advice"])

    assert "is taken for a saved row index and is not a feature" in advice(*words(MISREAD["index"](tmp_path)))
    (tmp_path / "train").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("x")
    assert "dataset.split=train is taken for a word, though train is there" in advice(*TARGET)
    assert "train is there" not in advice(*TARGET, "dataset.files=[split]")


@pytest.mark.long
def test_a_store_of_before_goes_on_where_it_was(tmp_path: Path, capsys) -> None:
    from thalweg.runner.cli import main

    (tmp_path / "points.py").write_text(
        "import numpy as np\ndef read(path, split='train'):\n    return np.eye(40, dtype='f4'), np.arange(40) % 2\n"
    )
    for name in ("data/a.csv", "train/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    old = of_then(Path("data/a.csv"), typed=True, also=(Path("train"),))
    words = (*WORDS, *TARGET, "optimizer.lr=0.1", "study.name=s", "launcher.workers=1", "--store", "s.sqlite")
    assert main(["sweep", *words, f"dataset.fingerprint={old}", "--yes"]) == 0
    capsys.readouterr()
    for seeds, done in (("0,1", 2), ("0,1,2", 2)):
        assert main(["plan", *words, f"seed={seeds}", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["done"] == done
