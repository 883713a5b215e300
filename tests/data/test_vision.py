"""Images in torchvision's own formats, written small: read, dealt out, refused in one line where they are missing."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

import thalweg.data.vision as module
from thalweg.data.files import IMAGES
from thalweg.data.load import load_splits
from thalweg.data.remembered import alone
from thalweg.data.schema import DATASETS, ImageFolderConfig
from thalweg.runner.base.errors import ConfigError, SetupError

TRAIN, TEST = 120, 30
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path))
    load_splits.cache_clear()


def config(name, **options):
    fixed = {"train_size": 50, "label_noise": 0.0, "split_seed": 0, "augment": ()}
    return DATASETS[name](name=name, **{**fixed, **options})


def idx(array):
    """The format of the MNIST files."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def write_mnist(root):
    written = {}
    (root / "MNIST" / "raw").mkdir(parents=True)
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        x, y = rng.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        (root / "MNIST" / "raw" / f"{part}-images-idx3-ubyte").write_bytes(idx(x))
        (root / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte").write_bytes(idx(y))
        written[part] = x
    return written


def write_cifar10(root, monkeypatch):
    """The pickled batches of CIFAR-10, with checksums of their own."""
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir()
    sums = {}
    for name, count in [(f"data_batch_{n}", TRAIN // 5) for n in range(1, 6)] + [("test_batch", TEST)]:
        batch = {"data": rng.integers(0, 256, (count, 3072), dtype=np.uint8), "labels": [n % 10 for n in range(count)]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    for file in folder.iterdir():
        sums[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{n}", sums[f"data_batch_{n}"]] for n in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    return folder


def test_mnist_is_read_as_it_was_written(tmp_path):
    written = write_mnist(tmp_path)
    splits = load_splits(config("mnist"))
    assert [len(part.y) for part in (splits.train, splits.validation, splits.test)] == [50, TRAIN // 12, TEST]
    assert (splits.kind, splits.outputs, splits.features) == ("classes", 10, (1, 28, 28))
    assert splits.train.x.dtype == np.uint8
    assert np.array_equal(splits.test.x[:, 0], written["t10k"])
    assert np.array_equal(splits.test.y, np.arange(TEST) % 10)
    known = {image.tobytes(): place % 10 for place, image in enumerate(written["train"].astype(np.uint8))}
    assert [known[image.tobytes()] for image in splits.train.x] == splits.train.y.tolist()


def test_grey_pictures_in_three_channels_are_scaled_as_one(tmp_path):
    write_mnist(tmp_path)
    grey, three = (load_splits(config("mnist", channels=channels)) for channels in (1, 3))
    assert np.array_equal(three.train.x, np.concatenate([grey.train.x] * 3, axis=1))
    assert three.pixels.mean == grey.pixels.mean


def test_pixels_are_centred_and_scaled_by_what_could_train(tmp_path):
    write_mnist(tmp_path)
    all_of_it = load_splits(config("mnist", train_size=TRAIN - TRAIN // 12))
    x = all_of_it.train.x.astype(np.float64)
    assert all_of_it.pixels.mean.item() == pytest.approx(x.mean(), rel=1e-6)
    assert all_of_it.pixels.deviation.item() == pytest.approx(x.std(), rel=1e-6)
    assert load_splits(config("mnist")).pixels.mean == all_of_it.pixels.mean


def test_cifar10_has_colour_and_its_checksum_is_compared(tmp_path, monkeypatch):
    folder = write_cifar10(tmp_path, monkeypatch)
    splits = load_splits(config("cifar10", label_noise=0.5))
    assert (splits.outputs, splits.features, splits.pixels.mean.shape) == (10, (3, 32, 32), (3, 1, 1))
    with (folder / "test_batch").open("rb") as opened:
        first = pickle.load(opened)["data"][0]
    assert np.array_equal(splits.test.x[0], first.reshape(3, 32, 32))
    (folder / "test_batch").write_bytes(b"damaged")
    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", refuse)
    load_splits.cache_clear()
    with pytest.raises(SetupError, match="dataset=cifar10 is not in"):
        load_splits(config("cifar10"))


def refuse(self):
    raise OSError("the network cannot be reached")


@pytest.mark.parametrize(("name", "file"), [("cifar10", "cifar-10-python.tar.gz"), ("mnist", "MNIST/raw/")])
def test_without_a_network_one_line_says_which_file_to_put_where(tmp_path, monkeypatch, name, file):
    monkeypatch.setattr(f"torchvision.datasets.{module.SETS[name][0]}.download", refuse)
    with pytest.raises(SetupError) as refused:
        load_splits(config(name))
    assert f"dataset={name} is not in {tmp_path} and cannot be downloaded: the network" in refused.value.message
    assert file in refused.value.hint
    assert str(tmp_path) in refused.value.hint


def test_a_torchvision_that_does_not_fit_torch_is_one_line(monkeypatch):
    import builtins

    real = builtins.__import__

    def importing(name, *rest):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist\nand more")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(SetupError) as refused:
        module.datasets()
    assert refused.value.message.endswith("beside the installed torch: operator torchvision::nms does not exist")


def folder_config(path, **options):
    fixed = {
        "side": 8, "train_size": None, "validation": 0.25, "test": 0.25, "label_noise": 0.0, "split_seed": 0,
        "augment": (), "fingerprint": None,
    }  # fmt: skip
    return ImageFolderConfig(name="image_folder", path=str(path), **{**fixed, **options})


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    for place, name in enumerate(("ants", "bees")):
        (tmp_path / "insects" / name).mkdir(parents=True)
        for n in range(8):
            Image.new("RGB", (8 + n, 8), (100 * place, 10 * n, 7)).save(tmp_path / "insects" / name / f"{n}.png")
    return tmp_path / "insects"


def test_a_folder_of_images_is_scaled_to_squares_with_its_name_as_class(pictures):
    splits = load_splits(folder_config(pictures))
    assert (splits.outputs, splits.features) == (2, (3, 8, 8))
    assert [len(part.y) for part in (splits.train, splits.validation, splits.test)] == [8, 4, 4]
    for part in (splits.train, splits.validation, splits.test):
        assert np.array_equal(part.x[:, 0, 0, 0] // 100, part.y)
        assert (part.x[:, 2] == 7).all()


def test_the_endings_of_images_are_torchvisions():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert set(IMAGES) == set(IMG_EXTENSIONS)


def test_a_class_without_images_is_refused_by_its_name(pictures):
    (pictures / "wasps").mkdir()
    (pictures / "wasps" / "notes.txt").write_text("none yet")
    with pytest.raises(ConfigError, match=r"wasps has no images; expected some of \.jpg"):
        load_splits(folder_config(pictures))


def test_a_folder_without_classes_and_a_damaged_image_are_refused(pictures):
    with pytest.raises(ConfigError, match="has 0 folders; expected one folder of images for each class"):
        load_splits(folder_config(pictures / "ants"))
    (pictures / "bees" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ConfigError, match=r"bees/0\.png cannot be read as an image"):
        load_splits(folder_config(pictures))


def test_who_waits_for_data_that_another_fetches_stops_waiting_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("thalweg.data.remembered.LOCKED_SECONDS", 0.3)
    with alone(tmp_path), pytest.raises(SetupError, match="another process has been putting data"):  # noqa: SIM117
        with alone(tmp_path):
            pytest.fail("two at once")
