"""Tables come in as they are written, and what is wrong with one is named by file, row and column."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.data.load import load_splits
from thalweg.data.schema import TableConfig
from thalweg.runner.base.errors import ConfigError, SetupError

ROWS = [(n, 1000 * n % 7, "abc"[n % 3], n % 3, n / 2) for n in range(40)]
HEADER = "id,size,kind,number,weight"


def written(folder, lines, name="data.csv", header=HEADER):
    file = folder / name
    file.write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n", encoding="utf-8")
    return file


def config(path, **options):
    fixed = {
        "target": "number", "kind": "classes", "labels": (), "ignore": ("kind",), "train_size": None,
        "validation": 0.2, "test": 0.1, "label_noise": 0.0, "split_seed": 0, "augment": (), "fingerprint": None,
    }  # fmt: skip
    return TableConfig(name="table", path=str(path), **{**fixed, **options})


def everything(splits):
    parts = (splits.train, splits.validation, splits.test)
    return np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])


def test_rows_are_dealt_out_scaled_with_their_own_targets(tmp_path):
    splits = load_splits(config(written(tmp_path, ROWS)))
    assert (splits.kind, splits.outputs, splits.features) == ("classes", 3, (3,))
    assert [len(part.y) for part in (splits.train, splits.validation, splits.test)] == [28, 8, 4]
    np.testing.assert_allclose(splits.train.x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(splits.train.x.std(0), 1, atol=1e-6)
    x, y = everything(splits)
    order = np.argsort(x[:, 0])  # the column id counts the rows
    assert np.array_equal(y[order], np.arange(40) % 3)


def test_words_are_classes_in_the_order_of_their_labels(tmp_path):
    options = {"target": "kind", "labels": ("c", "a", "b"), "ignore": ()}
    x, y = everything(load_splits(config(written(tmp_path, ROWS), **options)))
    assert np.array_equal(y[np.argsort(x[:, 0])], (np.arange(40) % 3 + 1) % 3)


def test_values_are_scaled_as_the_features_are(tmp_path):
    splits = load_splits(config(written(tmp_path, ROWS), target="weight", kind="values"))
    assert (splits.kind, splits.outputs, splits.train.y.shape) == ("values", 1, (28, 1))
    assert splits.train.y.dtype == np.float32
    np.testing.assert_allclose([splits.train.y.mean(), splits.train.y.std()], [0, 1], atol=1e-6)


def test_a_column_that_never_changes_is_left_at_nought(tmp_path):
    splits = load_splits(config(written(tmp_path, [(n, 5, "a", n % 2, 1) for n in range(20)])))
    assert np.array_equal(splits.train.x[:, 1], np.zeros(len(splits.train.y)))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_a_byte_order_mark_are_understood(tmp_path, separator):
    plain, other = written(tmp_path, ROWS), tmp_path / "other.csv"
    other.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b",", separator.encode()))
    assert np.array_equal(load_splits(config(other)).train.x, load_splits(config(plain)).train.x)


def test_a_smaller_training_set_is_the_beginning_and_noise_is_for_training(tmp_path):
    file = written(tmp_path, ROWS)
    full, few, noisy = (load_splits(config(file, **o)) for o in ({}, {"train_size": 9}, {"label_noise": 0.5}))
    assert np.array_equal(few.train.x, full.train.x[:9])
    assert (noisy.train.y != full.train.y).sum() == 14
    assert np.array_equal(noisy.validation.y, full.validation.y)


BAD = {
    "ragged": (([*ROWS[:3], (1, 2)],), {}, "has 2 cells in row 5; expected 5"),
    "empty": (([],), {}, "has a header and no rows"),
    "no header": ((ROWS[:3], "data.csv", "1,2,3,4,5"), {}, "begins with numbers; expected the names of its columns"),
    "twice": ((ROWS, "data.csv", "a,a,kind,number,b"), {}, "has two columns called 'a'"),
    "NaN": (([*ROWS, (1, "nan", "a", 1, 1)],), {}, "has 'nan' in row 42, column 'size'; expected a finite number"),
    "blank": (([*ROWS, (1, "", "a", 1, 1)],), {}, "has nothing in row 42, column 'size'"),
    "word": ((ROWS,), {"ignore": ()}, "has 'a' in row 2, column 'kind'; expected a finite number"),
    "unmapped": ((ROWS,), {"target": "kind", "ignore": ()}, "has 'a' in row 2, column 'kind'; expected a class"),
    "unknown label": (
        (ROWS,),
        {"target": "kind", "labels": ("a", "b"), "ignore": ()},
        "has 'c' in row 4, column 'kind', which dataset.labels lacks",
    ),
    "negative": (([(*r[:3], -1, 1) for r in ROWS],), {}, "has -1 in row 2, column 'number'; expected a class, from 0"),
    "fraction": ((ROWS,), {"target": "weight"}, "has 0.5 in row 3, column 'weight'; expected a class"),
    "from one": (([(*r[:3], 1 + r[3], 1) for r in ROWS],), {}, "holds the classes 1 to 3"),
    "target": ((ROWS,), {"target": "nothing"}, "dataset.target names 'nothing', which is no column of"),
    "ignored": ((ROWS,), {"ignore": ("nothing",)}, "dataset.ignore names 'nothing', which is no column of"),
    "too few": ((ROWS,), {"train_size": 39}, "of 40 examples 28 are for training"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_with_file_row_and_column(tmp_path, case):
    arguments, options, words = BAD[case]
    file = written(tmp_path, *arguments)
    with pytest.raises(ConfigError) as refused:
        load_splits(config(file, **options))
    assert words in refused.value.message
    assert case == "too few" or str(file) in refused.value.message


def test_the_refusal_of_words_shows_the_mapping_to_write(tmp_path):
    with pytest.raises(ConfigError) as refused:
        load_splits(config(written(tmp_path, ROWS), target="kind", ignore=()))
    assert refused.value.hint == "say what the words mean: dataset.labels=[a, b, c]"


def test_arrays_of_any_shape_come_from_npz(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3, 8, 8)), np.arange(30) % 4
    np.savez(tmp_path / "a.npz", x=x, y=y)
    splits = load_splits(config(tmp_path / "a.npz", target="y", ignore=()))
    assert (splits.outputs, splits.features) == (4, (3, 8, 8))
    np.savez(tmp_path / "v.npz", x=x[:, 0, 0], y=rng.normal(size=(30, 2)))
    splits = load_splits(config(tmp_path / "v.npz", target="y", ignore=(), kind="values"))
    assert (splits.outputs, splits.train.y.shape[1]) == (2, 2)


BAD_ARRAYS = {
    "no target": ({"x": np.ones((9, 2)), "z": np.ones(9)}, "holds x, z; expected the target 'y' and an array x"),
    "unlike": ({"x": np.ones((9, 2)), "y": np.ones(8)}, "as many rows in both"),
    "words": ({"x": np.ones((9, 2)), "y": np.array(["a"] * 9)}, "expected numbers"),
    "NaN": ({"x": np.array([[1.0], [np.nan], [1.0]]), "y": np.arange(3)}, "has NaN or infinity in row 1 of x"),
    "range": ({"x": np.ones((9, 2)), "y": np.arange(9) - 1}, "has -1 in row 0 of y; expected a class, from 0"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path, case):
    arrays, words = BAD_ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ConfigError) as refused:
        load_splits(config(tmp_path / "a.npz", target="y", ignore=()))
    assert words in refused.value.message


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    (tmp_path / "a.xls").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot be read as \.npz"):
        load_splits(config(tmp_path / "a.npz"))
    with pytest.raises(ConfigError, match=r"expected \.csv, \.tsv, \.parquet or \.npz"):
        load_splits(config(tmp_path / "a.xls"))


def test_parquet_is_the_same_table_or_one_line_about_pyarrow(tmp_path):
    file = tmp_path / "data.parquet"
    plain = load_splits(config(written(tmp_path, ROWS)))
    try:
        from pyarrow import parquet, table
    except ImportError:
        file.write_bytes(b"PAR1")
        with pytest.raises(SetupError, match="needs pyarrow, which is not installed"):
            load_splits(config(file))
        return
    columns = {name: [row[place] for row in ROWS] for place, name in enumerate(HEADER.split(","))}
    parquet.write_table(table(columns), file)
    assert np.array_equal(load_splits(config(file)).train.x, plain.train.x)
