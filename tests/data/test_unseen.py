"""Rows that nobody has seen are made ready as those that trained: the table's own rows come out as they went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from thalweg.data.arrange import ORDER, order
from thalweg.data.arrays import split_arrays
from thalweg.data.load import READ, load_splits, trained_on
from thalweg.data.schema import DatasetConfig, TableConfig, TextConfig
from thalweg.data.splits import Pixels, Split, Splits
from thalweg.data.unseen import unseen_arrays, unseen_rows, unseen_scaled, unseen_text
from thalweg.runner.base.errors import ConfigError

N = 60
RNG = np.random.RandomState(0)
USUAL = {
    "target": "y", "kind": "classes", "labels": (), "ignore": (), "train_size": None, "validation": 0.2,
    "test": 0.1, "label_noise": 0.0, "split_seed": 0, "augment": (), "fingerprint": None,
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    "a": RNG.normal(50, 10, N),
    "b": RNG.normal(-3e-9, 1e-11, N),
    "still": np.full(N, 0.1),
    "large": RNG.normal(0, 1e150, N),
    "tiny": RNG.normal(0, 1e-200, N),
    "c": RNG.randint(0, 5, N),
}
FEATURES = {name: COLUMNS[name] for name in ("a", "b", "still", "c")}


def config(path: Path, **options: Any) -> TableConfig:
    return TableConfig(name="table", path=str(path), **{**USUAL, **options})


def written(file: Path, columns: dict[str, Any], delimiter: str = ",", decimal: str = ".") -> Path:
    lines = [delimiter.join(columns)]
    lines += [
        delimiter.join(str(cell).replace(".", decimal) for cell in row) for row in zip(*columns.values(), strict=True)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def as_dealt(x: np.ndarray) -> np.ndarray:
    """Rows of a file in the order of its splits."""
    return x[order(0, ORDER, len(x))]


def dealt(splits: Splits, of: str = "x") -> np.ndarray:
    return np.concatenate([getattr(part, of) for part in (splits.train, splits.validation, splits.test)])


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "classes": ({**FEATURES, "y": RNG.randint(0, 3, N)}, {}),
    "words": ({**FEATURES, "y": np.array(["no", "yes"])[RNG.randint(0, 2, N)]}, {"labels": ("no", "yes")}),
    "values": ({**FEATURES, "y": RNG.normal(1000, 3, N)}, {"kind": "values"}),
    "noise": ({**FEATURES, "y": RNG.normal(1000, 3, N)}, {"kind": "values", "label_noise": 0.5}),
    "large values": ({**FEATURES, "y": RNG.normal(0, 1e30, N)}, {"kind": "values"}),
    "large and tiny": ({**COLUMNS, "y": RNG.randint(0, 3, N)}, {}),
    "ignored": ({**FEATURES, "y": RNG.randint(0, 3, N), "id": np.arange(N)}, {"ignore": ("id",)}),
    "an index": ({"": np.arange(N), **FEATURES, "y": RNG.randint(0, 3, N)}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_tables_own_rows_come_out_to_the_bit_whatever_else_the_file_has(tmp_path: Path, name: str) -> None:
    columns, options = CASES[name]
    data = config(written(tmp_path / "t.csv", columns), **options)
    splits = load_splits(data)
    shuffled = {"more": ["x"] * N, **{key: columns[key] for key in reversed(columns) if key not in ("y", "id", "")}}
    found = unseen_rows(data, written(tmp_path / "new.csv", shuffled))
    assert np.array_equal(as_dealt(found.x), dealt(splits))
    assert found.labels == options.get("labels", ())
    if data.kind == "values":
        held = np.concatenate([splits.validation.y, splits.test.y])
        told = held * found.deviation + found.mean
        np.testing.assert_allclose(
            told[:, 0], as_dealt(columns["y"])[-len(told) :], rtol=1e-4, atol=1e-5 * columns["y"].std()
        )


@pytest.mark.parametrize("rows", [1, 7])
def test_a_rows_numbers_do_not_depend_on_its_company(tmp_path: Path, rows: int) -> None:
    columns, _ = CASES["classes"]
    data = config(written(tmp_path / "t.csv", columns))
    whole = unseen_rows(data, Path(data.path)).x
    few = {name: column[:rows] for name, column in columns.items()}
    assert np.array_equal(unseen_rows(data, written(tmp_path / "few.csv", few)).x, whole[:rows])
    beside = {**few, "a": [*few["a"][:-1], 1e300]}
    if rows > 1:
        with pytest.raises(ConfigError, match=f"lies 1e38 deviations from what trained in row {rows - 1}"):
            unseen_rows(data, written(tmp_path / "far.csv", beside))


def test_fewer_rows_that_train_are_scaled_as_they_were(tmp_path: Path) -> None:
    columns, _ = CASES["values"]
    data = config(written(tmp_path / "t.csv", columns), kind="values", train_size=10)
    found = unseen_rows(data, Path(data.path))
    splits = load_splits(data)
    assert np.array_equal(as_dealt(found.x)[:10], splits.train.x)
    assert np.array_equal(as_dealt(found.x)[-len(splits.test.x) :], splits.test.x)


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)])
@pytest.mark.parametrize("named", [{"x": 0}, {"x": 0, "other": 1}, {"only": 0}])
def test_arrays_of_a_table_are_found_and_scaled(tmp_path: Path, shape: tuple[int, ...], named: dict[str, int]) -> None:
    x = RNG.normal(3, 2, (N, *shape))
    np.savez(tmp_path / "t.npz", x=x, y=RNG.randint(0, 3, N))
    data = config(tmp_path / "t.npz")
    np.savez(tmp_path / "new.npz", **{name: (x, np.zeros(3))[which] for name, which in named.items()})  # type: ignore[arg-type]
    assert np.array_equal(as_dealt(unseen_rows(data, tmp_path / "new.npz").x), dealt(load_splits(data)))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1], "b": [2]}, "names 'still', which is not a column of"),
        ({**{name: [1] for name in FEATURES}, "a": ["?"]}, r"has '\?' in line 2, column 'a'; .*; correct the row"),
        ({**{name: [1] for name in FEATURES}, "a": [""]}, "has nothing in line 2, column 'a'"),
        ({name: [] for name in FEATURES}, "a header and no rows"),
    ],
)
def test_rows_that_are_none_are_refused(tmp_path: Path, columns: dict[str, list[Any]], said: str) -> None:
    data = config(written(tmp_path / "t.csv", CASES["classes"][0]))
    with pytest.raises(ConfigError, match=said):
        unseen_rows(data, written(tmp_path / "new.csv", columns))


def test_a_table_that_changed_since_is_refused(tmp_path: Path) -> None:
    data = config(written(tmp_path / "t.csv", CASES["classes"][0]), fingerprint="of before")
    with pytest.raises(ConfigError, match="the files of dataset=table have changed"):
        unseen_rows(data, Path(data.path))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((2, 4))}, r"has examples of shape \[4\]; the model reads \[3\]"),
        ({"p": np.zeros((2, 3)), "q": np.zeros(2)}, "holds p, q; expected an array x"),
        ({"x": np.full((2, 3), np.nan)}, "has NaN or infinity in row 0"),
        ({"x": np.array(["a"])}, "expected numbers, one row an example"),
        ({"x": np.zeros((0, 3))}, "expected numbers, one row an example"),
    ],
)
def test_arrays_that_are_none_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "t.npz", x=RNG.normal(0, 1, (N, 3)), y=RNG.randint(0, 3, N))
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(ConfigError, match=said):
        unseen_rows(config(tmp_path / "t.npz"), tmp_path / "new.npz")
    with pytest.raises(ConfigError, match="names no columns"):
        unseen_rows(config(written(tmp_path / "t.csv", CASES["classes"][0])), tmp_path / "new.npz")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_arrays_of_ones_own_are_as_they_were(tmp_path: Path, dtype: str) -> None:
    x = RNG.randint(0, 200, (N, 3)).astype(dtype)
    how: dict[str, Any] = {"shares": (0.2, 0.1), "train_size": None, "label_noise": 0.0, "split_seed": 0}
    splits = split_arrays(x, RNG.randint(0, 3, N), kind="classes", **how)
    np.savez(tmp_path / "new.npz", x=x)
    found = unseen_arrays(tmp_path / "new.npz", splits)
    assert np.array_equal(as_dealt(found.x), dealt(splits))
    assert "taken as your dataset returns it" in found.note


def test_pictures_stay_pixels_and_tokens_are_known_ones(tmp_path: Path) -> None:
    split = Split(np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, np.int64))
    pixels = Pixels(np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32))
    pictures = Splits(split, split, split, "classes", 2, pixels)
    np.savez(tmp_path / "p.npz", x=np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2))
    assert unseen_arrays(tmp_path / "p.npz", pictures).x.dtype == np.uint8
    np.savez(tmp_path / "f.npz", x=np.zeros((2, 1, 2, 2)))
    with pytest.raises(ConfigError, match="has pictures of float64; expected uint8"):
        unseen_arrays(tmp_path / "f.npz", pictures)
    part = Split(np.zeros((4, 2), np.int64), np.zeros((4, 2), np.int64))
    np.savez(tmp_path / "t.npz", x=np.array([[0, 1], [1, 7]]))
    with pytest.raises(ConfigError, match="has a token that is not below 7 in row 1"):
        unseen_arrays(tmp_path / "t.npz", Splits(part, part, part, "tokens", 7))


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_examples_that_are_scaled_by_those_that_trained_are_as_they_were(tmp_path: Path, name: str) -> None:
    data: Any = TypeAdapter(DatasetConfig).validate_python(
        {"name": name, "train_size": 50, "label_noise": 0.1, "split_seed": 3}
    )
    read, sizes = READ[name]
    x, y = read()
    rows = order(3, ORDER, len(y))[sizes.train : sizes.train + sizes.validation]
    np.savez(tmp_path / "new.npz", x=x[rows])
    assert np.array_equal(unseen_scaled(tmp_path / "new.npz", trained_on(data)).x, load_splits(data).validation.x)
    np.savez(tmp_path / "new.npz", x=x[rows][:, ..., :-1])
    with pytest.raises(ConfigError, match="has examples of shape"):
        unseen_scaled(tmp_path / "new.npz", trained_on(data))
    x[rows[5]] = np.nan
    np.savez(tmp_path / "new.npz", x=x[rows])
    with pytest.raises(ConfigError, match="has NaN or infinity in row 5"):
        unseen_scaled(tmp_path / "new.npz", trained_on(data))


def text_config(path: Path, **options: Any) -> TextConfig:
    sizes = {"train_size": 20, "validation_size": 3, "test_size": 2, "label_noise": 0.0, "split_seed": 0}
    return TextConfig(
        **{"name": "text", "path": str(path), "context": 8, "characters": 9, "fingerprint": None, **sizes, **options}
    )


@pytest.mark.parametrize("length", [9, 10, 16, 17, 18, 30])
def test_each_character_of_a_text_but_the_first_is_predicted_once(tmp_path: Path, length: int) -> None:
    (tmp_path / "t.txt").write_text("abcdefghijkl\n" * 40, encoding="utf-8")
    text = "ab\nξhl𝄞" * 9
    (tmp_path / "new.txt").write_text(text[:length], encoding="utf-8")
    found = unseen_text(text_config(tmp_path / "t.txt"), tmp_path / "new.txt")
    assert found.y is not None
    assert found.x.shape == found.y.shape == (-(-(length - 1) // 8), 8)
    known = found.labels
    assert [known[each] for each in found.y[found.y >= 0]] == [
        each if each in known else "\ufffd" for each in text[1:length]
    ]
    shown = found.y[:, :-1] >= 0
    assert np.array_equal(found.x[:, 1:][shown], found.y[:, :-1][shown])
    assert (known[0], len(known), len(set(known))) == ("\ufffd", 9, 9)


def test_a_text_is_read_in_the_tokens_of_the_one_that_trained(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the quick brown fox jumps over it. " * 30, encoding="utf-8")
    data = text_config(tmp_path / "t.txt", characters=300)
    splits, found = load_splits(data), unseen_text(data, tmp_path / "t.txt")
    for part, rows in (("validation", slice(0, 3)), ("test", slice(3, 5)), ("train", slice(5, 25))):
        assert np.array_equal(getattr(splits, part).x, found.x[rows])
    assert set(found.labels[28:]) == {"\ufffd"}
    (tmp_path / "short.txt").write_text("the fox ", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has 8 characters; expected 9 or more, a window of dataset.context=8 and"):
        unseen_text(data, tmp_path / "short.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        unseen_text(data, tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="the files of dataset=text have changed"):
        unseen_text(text_config(tmp_path / "t.txt", fingerprint="of before"), tmp_path / "t.txt")
