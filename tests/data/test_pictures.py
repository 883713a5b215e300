"""Pictures are read as a viewer shows them; what cannot be told is refused with its path."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thalweg.data.image_folder import image_folder, looked_at
from thalweg.data.pictures import look, picture
from thalweg.data.rows import Rows
from thalweg.data.schema import ImageFolderConfig
from thalweg.runner.base.errors import ConfigError, SetupError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def saved(image: Image.Image, file: Path, **how) -> Path:
    image.save(file, **how)
    return file


def grey(file: Path) -> np.ndarray:
    read = picture(file, 8)
    assert (read[0] == read[1]).all()
    assert (read[0] == read[2]).all()
    return read[0]


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
@pytest.mark.parametrize("factor", [256, 257])
def test_sixteen_bits_are_their_twin_of_eight(tmp_path: Path, suffix: str, factor: int) -> None:
    file = saved(Image.fromarray(GREY.astype(np.uint16) * factor), tmp_path / f"a.{suffix}")
    assert np.array_equal(grey(file), GREY)
    assert look(file).mended


def test_a_grey_map_with_another_white_is_scaled_by_it(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5\n8 8\n4095\n" + (GREY.astype(np.uint16) * 16).astype(">u2").tobytes())
    assert np.abs(grey(tmp_path / "a.pgm").astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_thirty_two_bits_are_refused_by_name(tmp_path: Path, dtype: type) -> None:
    file = saved(Image.fromarray(GREY.astype(dtype)), tmp_path / "a.tiff")
    for read in (look, lambda file: picture(file, 8)):
        with pytest.raises(ConfigError, match=r"a\.tiff has pixels of 32 bits"):
            read(file)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_the_cameras_rotation_is_followed(tmp_path: Path, orientation: int, deep: bool) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(GREY.astype(np.uint16) * 257 if deep else GREY)
    file = saved(image, tmp_path / "a.png", exif=exif)
    with Image.open(saved(Image.fromarray(GREY), tmp_path / "b.png", exif=exif)) as twin:
        assert np.array_equal(grey(file), np.asarray(ImageOps.exif_transpose(twin)))
    assert look(file).mended == (orientation > 1 or deep)


def transparent(mode: str) -> Image.Image:
    """Black everywhere; what it shows is in its transparency."""
    clear = Image.fromarray(255 - GREY)
    return Image.merge(mode, [*[Image.new("L", (8, 8))] * (len(mode) - 1), clear])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str) -> None:
    file = saved(transparent(mode), tmp_path / "a.png")
    assert np.array_equal(grey(file), GREY)
    assert look(file).mended


def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.tile(np.array([0, 1], np.uint8), (8, 4))).convert("P")
    image.putpalette([10, 10, 10, 200, 200, 200])
    file = saved(image, tmp_path / "a.png", transparency=0)
    assert set(np.unique(grey(file))) == {200, 255}
    assert look(file).mended


PLAIN = {
    "opaque with alpha": lambda: Image.fromarray(GREY).convert("RGBA"),
    "grey with alpha": lambda: Image.fromarray(GREY).convert("LA"),
    "palette": lambda: Image.fromarray(GREY).convert("P"),
    "one bit": lambda: Image.fromarray(GREY).convert("1"),
    "colour": lambda: Image.fromarray(GREY).convert("RGB"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_what_was_read_right_is_read_as_before(tmp_path: Path, case: str) -> None:
    image = PLAIN[case]()
    file = saved(image, tmp_path / "a.png")
    assert np.array_equal(picture(file, 8), np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    assert not look(file).mended


def test_printers_colours_become_red_green_and_blue(tmp_path: Path) -> None:
    image = Image.fromarray(GREY).convert("RGB").convert("CMYK")
    file = saved(image, tmp_path / "a.tiff")
    assert np.array_equal(grey(file), GREY)
    assert not look(file).mended


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))


def whole(tmp_path: Path) -> bytes:
    return saved(noise(), tmp_path / "whole.png").read_bytes()


BROKEN = {
    "empty": lambda whole: b"",
    "no picture": lambda whole: b"no picture",
    "cut in its head": lambda whole: whole[:20],
    "cut in its body": lambda whole: whole[: len(whole) // 2],
    "noise in its body": lambda whole: whole[:60] + b"\0" * 200 + whole[260:],
    "a size beyond all memory": lambda whole: whole[:16] + b"\x7f\xff\xff\xff" * 2 + whole[24:],
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path, case: str) -> None:
    (tmp_path / "a.png").write_bytes(BROKEN[case](whole(tmp_path)))
    with pytest.raises(ConfigError, match=r"a\.png cannot be read as an image: .") as refused:
        picture(tmp_path / "a.png", 8)
    assert "\n" not in refused.value.message


def folder(tmp_path: Path, array: np.ndarray, suffix: str = "png") -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for n in range(6):
            Image.fromarray(array).save(tmp_path / "animals" / name / f"{n}.{suffix}")
    return tmp_path / "animals"


@pytest.mark.parametrize("factor", [1, 16])
def test_sixteen_bits_that_hold_eight_or_twelve_are_refused_before_anything_trains(tmp_path: Path, factor: int) -> None:
    path = folder(tmp_path, GREY.astype(np.uint16) * factor)
    with pytest.raises(ConfigError, match=f"with 16 bits hold nothing above {252 * factor} of 65,535"):
        looked_at(str(path))
    assert looked_at(str(folder(tmp_path / "more", GREY.astype(np.uint16) * 17))) == ("pictures",)


def test_pictures_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"side": 8, "train_size": None, "validation": 0.2, "test": 0.2, "label_noise": 0.0}
    path = str(folder(tmp_path, GREY))
    with pytest.raises(ConfigError, match="are the same"):
        image_folder(
            ImageFolderConfig(name="image_folder", path=path, augment=(), fingerprint=None, split_seed=0, **options)
        )


def test_of_a_plain_picture_only_the_head_is_read_before_anything_trains(tmp_path: Path) -> None:
    for suffix in ("png", "jpg"):
        file = saved(noise(), tmp_path / f"cut.{suffix}")
        file.write_bytes(file.read_bytes()[:-300])
        assert not look(file).mended
        with pytest.raises(ConfigError, match="cannot be read as an image"):
            picture(file, 8)


@pytest.fixture
def in_a_file(tmp_path, monkeypatch):
    """To be called: from then on pictures are decoded into a file, whatever they take."""
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path / "cache"))
    module = sys.modules["thalweg.data.image_folder"]

    def change() -> None:
        for name, value in (("IN_MEMORY", 0), ("MANY", 0), ("AT_ONCE", 3)):
            monkeypatch.setattr(module, name, value)
        module.marks_at.cache_clear()

    return change


@pytest.fixture
def asked(tmp_path) -> ImageFolderConfig:
    path = folder(tmp_path, GREY)
    for n, file in enumerate(sorted(path.rglob("*.png"))):
        Image.fromarray(GREY // (n + 1)).save(file)
    options: dict[str, Any] = {"side": 8, "train_size": None, "validation": 0.2, "test": 0.2, "label_noise": 0.0}
    said: dict[str, Any] = {
        "name": "image_folder",
        "path": str(path),
        "augment": (),
        "fingerprint": None,
        "split_seed": 0,
    }
    return ImageFolderConfig(**said, **options)


def read_as(asked: ImageFolderConfig) -> list[np.ndarray]:
    splits = image_folder(asked)
    parts = [splits.train, splits.validation, splits.test]
    x = [part.x.read(np.arange(len(part.x))) if isinstance(part.x, Rows) else part.x for part in parts]
    return [*x, *(part.y for part in parts), splits.pixels.mean, splits.pixels.deviation]


def test_pictures_decoded_into_a_file_are_those_in_memory_and_are_decoded_once(asked, in_a_file, monkeypatch) -> None:
    memory = read_as(asked)
    in_a_file()
    assert isinstance(image_folder(asked).train.x, Rows)
    assert all(np.array_equal(one, other) for one, other in zip(memory, read_as(asked), strict=True))
    monkeypatch.setattr("thalweg.data.decoded.picture", None)
    monkeypatch.setattr("thalweg.data.image_folder.look", None)
    in_a_file()
    assert all(np.array_equal(one, other) for one, other in zip(memory, read_as(asked), strict=True))


def test_a_picture_that_cannot_be_decoded_leaves_nothing_half_made(tmp_path, asked, in_a_file) -> None:
    spoilt = sorted(Path(asked.path).rglob("*.png"))[4]
    spoilt.write_bytes(spoilt.read_bytes()[:-30])
    in_a_file()
    with pytest.raises(ConfigError, match=f"{spoilt.name} cannot be read as an image"):
        image_folder(asked)
    assert [each.name for each in (tmp_path / "cache" / "pictures").iterdir()] == [".lock"]


def test_a_cache_that_takes_nothing_is_one_sentence(asked, in_a_file, monkeypatch) -> None:
    in_a_file()
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10))
    with pytest.raises(SetupError, match=r"12 decoded pictures take 0.0 GB; .*pictures has 0.0"):
        image_folder(asked)
    monkeypatch.setattr("shutil.disk_usage", lambda place: os.stat(place) and SimpleNamespace(free=10**9))
    monkeypatch.setenv("THALWEG_DATA", "/dev/null")
    with pytest.raises(SetupError, match=r"decoded pictures cannot be put into /dev/null/pictures: Not a directory"):
        image_folder(asked)
