"""One walk: what a reader reads is what its fingerprint is of, whatever lies in the folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thalweg.data.check import declared
from thalweg.data.files import class_folders, forget, found, marks_of
from thalweg.data.load import load_splits
from thalweg.data.schema import ImageFolderConfig, TextConfig
from thalweg.data.walk import files_under
from thalweg.runner.base.errors import ConfigError


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for n in range(6):
            Image.new("RGB", (4, 4), (90 * place, 9 * n, 7)).save(tmp_path / "animals" / name / f"{n}.png")
    return tmp_path / "animals"


def config(path: Path) -> ImageFolderConfig:
    return ImageFolderConfig(
        name="image_folder", path=str(path), side=4, train_size=None, validation=0.2, test=0.2, label_noise=0.0,
        split_seed=0, augment=(), fingerprint=None,
    )  # fmt: skip


def fingerprint(path: Path) -> str:
    forget()
    return str(declared(config(path)).fingerprint)


def pixels(path: Path) -> np.ndarray:
    load_splits.cache_clear()
    splits = load_splits(config(path))
    return np.concatenate([splits.train.x, splits.validation.x, splits.test.x])


NO_DATA = {
    "a hidden picture": "cat/.trap.png",
    "a resource fork": "cat/._0.png",
    "a hidden folder in a class": "cat/.cache/0.png",
    "a hidden class": ".ipynb_checkpoints/0-checkpoint.png",
    "a class of an archive": "__MACOSX/0.png",
    "such a folder in a class": "dog/__MACOSX/0.png",
    "another system's thumbnails": "dog/@eaDir/0.png",
    "a bin": "$RECYCLE.BIN/0.png",
}


@pytest.mark.parametrize("case", NO_DATA)
def test_what_systems_and_editors_leave_is_no_picture_and_no_class(animals: Path, case: str) -> None:
    before = pixels(animals)
    left = animals / NO_DATA[case]
    left.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(left)
    assert [folder.name for folder in class_folders(str(animals))] == ["cat", "dog"]
    assert np.array_equal(pixels(animals), before)
    left.write_bytes(b"no picture at all")  # and kills no trial
    assert np.array_equal(pixels(animals), before)


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "ehthumbs.db", "Icon\r"])
def test_files_that_systems_leave_change_no_fingerprint(animals: Path, name: str) -> None:
    before = fingerprint(animals)
    (animals / "cat" / name).write_bytes(b"anything")
    assert fingerprint(animals) == before


def test_hidden_pictures_mark_the_fingerprint_and_no_other_does(animals: Path) -> None:
    before = fingerprint(animals)
    (animals / ".png").write_bytes(b"beside the classes nothing was read")
    shutil.copy(animals / "cat/0.png", animals / ".0.png")
    (animals / "cat/.DS_Store").write_bytes(b"no picture")
    assert (fingerprint(animals), marks_of(before)) == (before, ())
    shutil.copy(animals / "cat/0.png", animals / "cat/.0.png")
    assert fingerprint(animals) == f"{before}+hidden"


LINKS = {
    "class folders": ("cat", "dog"),
    "one class folder": ("dog",),
    "a folder in a class": ("cat/deep",),
    "a file": ("cat/0.png",),
}


@pytest.mark.parametrize("case", LINKS)
def test_what_is_read_through_a_link_is_fingerprinted(animals: Path, tmp_path: Path, case: str) -> None:
    (animals / "cat/deep").mkdir()
    Image.new("RGB", (4, 4), "blue").save(animals / "cat/deep/x.png")
    was = pixels(animals)
    for n, name in enumerate(LINKS[case]):
        shutil.move(animals / name, tmp_path / f"elsewhere{n}")
        (animals / name).symlink_to(tmp_path / f"elsewhere{n}")
    before = fingerprint(animals)
    assert np.array_equal(pixels(animals), was)
    target = next(file for file in files_under(tmp_path / "elsewhere0"))
    Image.new("RGB", (4, 4), "green").save(target, "PNG")
    assert fingerprint(animals) != before
    assert not np.array_equal(pixels(animals), was)


def test_a_link_to_the_folder_itself_is_the_folder(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(animals)
    assert fingerprint(tmp_path / "other") == fingerprint(animals)


def dangling(folder: Path) -> None:
    (folder / "cat/gone.png").symlink_to(folder / "nowhere.png")


def itself(folder: Path) -> None:
    (folder / "cat/self.png").symlink_to(folder / "cat/self.png")


def upwards(folder: Path) -> None:
    (folder / "cat/up").symlink_to(folder)


def around(folder: Path) -> None:
    (folder / "cat/to_dog").symlink_to(folder / "dog")
    (folder / "dog/to_cat").symlink_to(folder / "cat")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "cat/pipe.png")


def device(folder: Path) -> None:
    (folder / "cat/zero.png").symlink_to("/dev/zero")


WRONG = {
    dangling: "gone.png is a link to .*nowhere.png, where nothing is",
    itself: "self.png is a link to .*self.png, where nothing is",
    upwards: "cat/up is a link that leads back to a folder it is in",
    around: "is a link that leads back to a folder it is in",
    pipe: "pipe.png is a named pipe; expected a file or folder",
    device: "zero.png is a device; expected a file or folder",
}


@pytest.mark.parametrize("make", WRONG)
def test_what_cannot_be_walked_is_refused_in_one_sentence(animals: Path, make) -> None:
    make(animals)
    with pytest.raises(ConfigError, match=WRONG[make]):
        fingerprint(animals)


@pytest.mark.parametrize("make", WRONG)
def test_hidden_ones_of_these_are_passed_over(animals: Path, make) -> None:
    before = fingerprint(animals)
    (animals / "cat/.hidden/cat").mkdir(parents=True)
    (animals / "cat/.hidden/dog").mkdir()
    make(animals / "cat/.hidden")
    assert fingerprint(animals) == before


def test_a_path_that_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, said in (("/dev/zero", "a device"), (str(tmp_path / "pipe.csv"), "a named pipe")):
        with pytest.raises(ConfigError, match=f"is {said}; expected a file or folder"):
            found(path)
    for path in ("a\0b", "x" * 5000, "~nobody_of_that_name/x"):
        with pytest.raises(ConfigError, match=r"dataset\.path is"):
            found(path)


def test_names_that_are_no_text_are_names(animals: Path) -> None:
    before = fingerprint(animals)
    os.rename(os.fsencode(animals / "cat/0.png"), os.fsencode(animals) + b"/cat/\xff.png")
    assert fingerprint(animals) != before


def test_a_text_is_read_of_what_is_fingerprinted(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("abcdefgh" * 50)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/b.txt").write_text("12345678" * 50)
    sizes = {"train_size": 5, "validation_size": 5, "test_size": 5, "context": 8, "characters": 64}
    asked = TextConfig(name="text", path=str(folder), label_noise=0.0, split_seed=0, fingerprint=None, **sizes)
    one = declared(asked)
    (folder / "Thumbs.db").write_bytes(b"\x00\x01" * 500)
    forget()
    assert declared(asked) == one
    (folder / "linked").symlink_to(tmp_path / "more")
    forget()
    two = declared(asked)
    assert two.fingerprint != one.fingerprint
    (tmp_path / "more/b.txt").write_text("87654321" * 50)
    forget()
    assert declared(asked).fingerprint not in (one.fingerprint, two.fingerprint)


def test_images_come_in_torchvisions_order(animals: Path) -> None:
    from torchvision.datasets import ImageFolder

    Image.new("RGB", (4, 4), "blue").save(animals / "cat/z.png")
    for name in ("cat/b", "cat/a/z", "cat/a.b"):
        (animals / name).mkdir(parents=True)
        for file in ("2.png", "10.PNG"):
            Image.new("RGB", (4, 4), "blue").save(animals / name / file, "PNG")
    (animals / "cat/notes.txt").write_text("no picture")
    (animals / "beside.png").write_bytes(b"in no class")
    listed = [str(file) for files in class_folders(str(animals)).values() for file in files]
    assert listed == [path for path, _ in ImageFolder(str(animals)).samples]
