"""Tables come in as they are written, and what is wrong with one is named by file, row and column."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from thalweg.data.arrange import ORDER, order
from thalweg.data.delimited import DELIMITERS
from thalweg.data.load import load_splits
from thalweg.data.schema import TableConfig
from thalweg.data.table import read_table
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


BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "ragged": (([*ROWS[:3], (1, 2)],), {}, "has 2 cells in line 5; expected 5"),
    "empty": (([],), {}, "has a header and no rows"),
    "no header": ((ROWS[:3], "data.csv", "1,2,3,4,5"), {}, "begins with numbers; expected the names of its columns"),
    "twice": ((ROWS, "data.csv", "a,a,kind,number,b"), {}, "has two columns called 'a'"),
    "NaN": (([*ROWS, (1, "nan", "a", 1, 1)],), {}, "has 'nan' in line 42, column 'size'; expected a finite number"),
    "blank": (([*ROWS, (1, "", "a", 1, 1)],), {}, "has nothing in line 42, column 'size'"),
    "word": ((ROWS,), {"ignore": ()}, "has no numbers in the column 'kind'"),
    "unmapped": ((ROWS,), {"target": "kind", "ignore": ()}, "has 'a' in line 2, column 'kind'; expected a class"),
    "unknown label": (
        (ROWS,),
        {"target": "kind", "labels": ("a", "b"), "ignore": ()},
        "has 'c' in line 4, column 'kind', which dataset.labels lacks",
    ),
    "negative": (([(*r[:3], -1, 1) for r in ROWS],), {}, "has -1 in line 2, column 'number'; expected a class, from 0"),
    "fraction": ((ROWS,), {"target": "weight"}, "has 0.5 in line 3, column 'weight'; expected a class"),
    "from one": (([(*r[:3], 1 + r[3], 1) for r in ROWS],), {}, "holds the classes 1 to 3"),
    "target": ((ROWS,), {"target": "nothing"}, "dataset.target names 'nothing', which is not a column of"),
    "ignored": ((ROWS,), {"ignore": ("nothing",)}, "dataset.ignore names 'nothing', which is not a column of"),
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
    assert refused.value.hint == "say what the words mean: 'dataset.labels=[a,b,c]'"


def test_arrays_of_any_shape_come_from_npz(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3, 8, 8)), np.arange(30) % 4
    np.savez(tmp_path / "a.npz", x=x, y=y)
    splits = load_splits(config(tmp_path / "a.npz", target="y", ignore=()))
    assert (splits.outputs, splits.features) == (4, (3, 8, 8))
    np.savez(tmp_path / "v.npz", x=x[:, 0, 0], y=rng.normal(size=(30, 2)))
    splits = load_splits(config(tmp_path / "v.npz", target="y", ignore=(), kind="values"))
    assert (splits.outputs, splits.train.y.shape[1]) == (2, 2)


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({"x": np.ones((9, 2)), "z": np.ones(9)}, "holds x, z; expected the target 'y' and an array x"),
    "unlike": ({"x": np.ones((9, 2)), "y": np.ones(8)}, "as many rows in both"),
    "words": ({"x": np.ones((9, 2)), "y": np.array(["a"] * 9)}, "expected numbers"),
    "NaN": (
        {"x": np.array([[1.0], [np.nan], [1.0]]), "y": np.arange(3)},
        "has NaN or infinity in row 1, counted from 0, of x",
    ),
    "range": (
        {"x": np.ones((9, 2)), "y": np.arange(9) - 1},
        "has -1 in row 0, counted from 0, of y; expected a class, from 0",
    ),
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


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbfnumber,a\n" + b"".join(b"%d,%d\n" % (n % 3, n) for n in range(40)))
    assert load_splits(config(file, ignore=())).outputs == 3


def test_half_of_utf_16_is_no_text_in_utf_8(tmp_path):
    file = written(tmp_path, ROWS)
    file.write_bytes(file.read_text().encode("utf-16-le"))
    with pytest.raises(ConfigError, match="is not text in utf-8: a NUL in line 1"):
        load_splits(config(file))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_another_encoding_is_asked_for_and_then_read(tmp_path, encoding):
    plain, other = written(tmp_path, ROWS), tmp_path / "other.csv"
    text = plain.read_text().replace("size", "größe")
    other.write_bytes(text.encode(encoding))
    with pytest.raises(ConfigError, match="is not text in utf-8: ") as refused:
        load_splits(config(other))
    assert "dataset.encoding=" in refused.value.hint
    x = load_splits(config(other, encoding=encoding)).train.x
    assert np.array_equal(x, load_splits(config(plain)).train.x)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13", "a\0b"])
def test_an_encoding_that_is_none_is_refused(tmp_path, encoding):
    with pytest.raises(ConfigError, match=r"dataset\.encoding is|is not text in"):
        load_splits(config(written(tmp_path, ROWS), encoding=encoding))


@pytest.mark.parametrize("word", ["comma", "semicolon", "tab", "pipe", "space"])
def test_a_delimiter_can_be_said(tmp_path, word):
    plain, other = written(tmp_path, ROWS), tmp_path / "other.csv"
    other.write_text(plain.read_text().replace(",", DELIMITERS[word]))
    assert np.array_equal(load_splits(config(other, delimiter=word)).train.x, load_splits(config(plain)).train.x)


def test_decimal_commas_are_asked_for_and_then_read(tmp_path):
    plain, other = written(tmp_path, ROWS), tmp_path / "other.csv"
    other.write_text(plain.read_text().replace(",", ";").replace(".", ","))
    with pytest.raises(ConfigError, match="has '0,0' in line 2, column 'weight'") as refused:
        load_splits(config(other))
    assert refused.value.hint == "if the sign before a fraction is another: dataset.decimal=comma"
    assert np.array_equal(load_splits(config(other, decimal="comma")).train.x, load_splits(config(plain)).train.x)
    with pytest.raises(ConfigError, match=r"has '0\.0' in line 2") as refused:
        load_splits(config(plain, decimal="comma"))
    assert refused.value.hint.endswith("dataset.decimal=point")


def test_lines_are_the_files_own_in_spite_of_blank_and_long_ones(tmp_path):
    lines = [(0, 1, '"a\n\nb"', 0, 1), ("",), ("  ",), (1, "x", "b", 1, 1), *ROWS]
    with pytest.raises(ConfigError, match="has 'x' in line 7, column 'size'"):
        load_splits(config(written(tmp_path, lines)))


def test_a_quote_that_never_closes_swallows_no_rows(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as CSV, in line 5: unexpected end of data"):
        load_splits(config(written(tmp_path, [*ROWS[:3], (3, 1, '"b', 0, 1), *ROWS[4:]])))


@pytest.mark.parametrize(
    ("ignored", "words", "hint"),
    [
        ((), "has no numbers in the columns 'id', 'kind'", "leave them out: 'dataset.ignore=[id,kind]'"),
        (("id",), "has no numbers in the column 'kind'", "leave it out: 'dataset.ignore=[id,kind]'"),
        (("id", "kind"), "has 'x' in line 3, column 'a'", "leave the column out: 'dataset.ignore=[id,kind,a]'"),
    ],
)
def test_a_hint_leaves_out_all_that_must_be_and_what_is_left_out_already(tmp_path, ignored, words, hint):
    lines = [(f"p{n}", "red" if n % 2 else "", "x" if n == 1 else n, n, n % 2) for n in range(40)]
    file = written(tmp_path, lines, header="id,kind,a,b,y")
    with pytest.raises(ConfigError) as refused:
        load_splits(config(file, target="y", ignore=ignored))
    assert words in refused.value.message
    assert hint in refused.value.hint


def test_no_hint_leaves_the_target_out(tmp_path):
    file = written(tmp_path, [(n, "x" if n == 1 else n) for n in range(40)], header="a,y")
    with pytest.raises(ConfigError, match="has 'x' in line 3, column 'y'") as refused:
        load_splits(config(file, target="y", kind="values", ignore=()))
    assert refused.value.hint == "correct the row"


# --- a saved row index


def with_index(folder, *names, rows=40):
    lines = [(*[n] * len(names), n % 7, n % 5, n // (rows // 2)) for n in range(rows)]
    return written(folder, lines, header=",".join([*names, "a", "b", "y"]))


@pytest.mark.parametrize(
    "names", [("",), ("Unnamed: 0",), ("Unnamed: 0.1", "Unnamed: 0"), ("", "Unnamed: 0"), ("", "Unnamed: 1"), (" ",)]
)
def test_a_saved_row_index_is_no_feature_and_that_is_said(tmp_path, names):
    asked = config(with_index(tmp_path, *names), target="y", ignore=())
    assert load_splits(asked).features == (2,)
    read = read_table(asked)
    assert read.marks == ("index",)
    assert len(read.notes) == len(names)
    assert "is taken for a saved row index and is not a feature" in read.notes[0]


@pytest.mark.parametrize(("names", "ignore"), [(("id",), ()), (("Unnamed: 0",), ("Unnamed: 0",)), (("",), ("",))])
def test_what_is_named_is_a_feature_and_what_is_ignored_is_not_doubted(tmp_path, names, ignore):
    read = read_table(config(with_index(tmp_path, *names), target="y", ignore=ignore))
    assert (read.marks, read.notes, read.splits.features) == ((), (), (2 if ignore else 3,))


def test_what_pandas_calls_an_index_is_one_wherever_it_was_put(tmp_path):
    file = written(tmp_path, [(n % 5, n, n % 2) for n in range(40)], header="a,Unnamed: 0,y")
    assert read_table(config(file, target="y", ignore=())).marks == ("index",)


def test_a_column_without_a_name_further_on_is_no_index(tmp_path):
    file = written(tmp_path, [(n, n % 3, n % 2) for n in range(40)], header="a,Unnamed: 1,y")
    assert read_table(config(file, target="y", ignore=())).marks == ()


# --- classes, or numbers?

QUESTIONS = {
    "prices": [1000 * n for n in range(40)],
    "marks out of a hundred": [10 * (n % 11) for n in range(60)],
    "years": [2000 * (n > 0) + n % 20 for n in range(60)],
    "one number a row": list(range(40)),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_whole_numbers_that_are_hardly_classes_are_a_question(tmp_path, case):
    file = written(tmp_path, [(n, n % 7, y) for n, y in enumerate(QUESTIONS[case])], header="a,b,y")
    asked = config(file, target="y", ignore=())
    with pytest.raises(ConfigError, match=r"different numbers up to .*; are these .* classes\?") as refused:
        load_splits(asked)
    most = max(QUESTIONS[case]) + 1
    assert refused.value.hint.split("; ")[0].endswith("dataset.kind=values")
    assert refused.value.hint.endswith(f"dataset.classes={most}")
    assert load_splits(config(file, target="y", ignore=(), kind="values")).outputs == 1
    assert load_splits(config(file, target="y", ignore=(), classes=most)).outputs == most


def test_numbers_beyond_all_classes_are_no_classes(tmp_path):
    file = written(tmp_path, [(n, n % 7, [0, 1, 10**19][n % 3]) for n in range(60)], header="a,b,y")
    with pytest.raises(ConfigError, match=r"has 1e\+19 in line 4, column 'y'; expected a class, from 0") as refused:
        load_splits(config(file, target="y", ignore=()))
    assert "dataset.kind=values" in refused.value.hint


def test_classes_that_do_not_begin_at_nought_may_be_named(tmp_path):
    file = written(tmp_path, [(n, n % 7, [-1, 10, 2][n % 3]) for n in range(60)], header="a,b,y")
    with pytest.raises(ConfigError) as refused:
        load_splits(config(file, target="y", ignore=()))
    assert refused.value.hint.endswith("""'dataset.labels=["-1","2","10"]'""")


@pytest.mark.parametrize("y", [[0, 4] * 20, [n % 100 for n in range(400)], [n % 20 for n in range(20)], [0, 19] * 20])
def test_numbers_that_may_well_be_classes_are_not_questioned(tmp_path, y):
    file = written(tmp_path, [(n, n % 7, label) for n, label in enumerate(y)], header="a,b,y")
    assert load_splits(config(file, target="y", ignore=())).outputs == max(y) + 1


def test_more_classes_than_there_are_may_be_said_and_no_fewer(tmp_path):
    assert load_splits(config(written(tmp_path, ROWS), classes=9)).outputs == 9
    with pytest.raises(ConfigError, match=r"holds the class 2, column 'number', but dataset\.classes is 2"):
        load_splits(config(written(tmp_path, ROWS), classes=2))


# --- labels


@pytest.mark.parametrize("word", ["nan", "NaN", "inf", "1_0", "３", "null", "a b", "it's"])
def test_a_word_that_python_takes_for_a_number_is_a_word(tmp_path, word):
    file = written(tmp_path, [(n, n % 7, word if n % 2 else "ok") for n in range(40)], header="a,b,y")
    with pytest.raises(ConfigError, match="expected a class, from 0") as refused:
        load_splits(config(file, target="y", ignore=()))
    (given,) = shlex.split(refused.value.hint.partition(": ")[2])
    labels = OverridesParser.create().parse_override(given).value()
    assert {str(label) for label in labels} == {word, "ok"}
    assert load_splits(config(file, target="y", ignore=(), labels=tuple(str(each) for each in labels))).outputs == 2


def test_numbers_beside_words_are_in_the_hint_and_too_many_words_are_not(tmp_path):
    file = written(tmp_path, [(n, n % 7, ["1", "2", "ok"][n % 3]) for n in range(40)], header="a,b,y")
    with pytest.raises(ConfigError) as refused:
        load_splits(config(file, target="y", ignore=()))
    assert refused.value.hint.endswith("""'dataset.labels=["1","2",ok]'""")
    file = written(tmp_path, [(n, n % 7, f"w{n}") for n in range(41)], header="a,b,y")
    with pytest.raises(ConfigError) as refused:
        load_splits(config(file, target="y", ignore=()))
    assert "41 different words" in refused.value.hint


def test_a_label_twice_and_a_row_without_one_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.labels has 'a' twice"):
        load_splits(config(written(tmp_path, ROWS), target="kind", labels=("a", "b", "c", "a"), ignore=()))
    file = written(tmp_path, [*ROWS, (40, 1, "", 0, 1)])
    with pytest.raises(ConfigError, match="has nothing in line 42, column 'kind'"):
        load_splits(config(file, target="kind", labels=("a", "b", "c"), ignore=()))


# --- arrays


def saved(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return config(folder / "a.npz", target="y", ignore=())


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, bool])
@pytest.mark.parametrize("classes", [2, 4])
def test_one_hot_targets_are_their_classes(tmp_path, dtype, classes):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % classes
    plain = load_splits(saved(tmp_path, x=x, y=y))
    load_splits.cache_clear()
    asked = saved(tmp_path, x=x, y=np.eye(classes)[y].astype(dtype))
    made = load_splits(asked)
    assert made.outputs == classes
    assert np.array_equal(made.train.y, plain.train.y)
    assert read_table(asked).marks == ("onehot",)


@pytest.mark.parametrize("y", [np.ones((40, 2)), np.eye(4)[np.arange(40) % 4] * 2, np.zeros((40, 3, 2))])
def test_several_numbers_a_row_that_are_not_one_hot_are_no_class(tmp_path, y):
    with pytest.raises(ConfigError, match="numbers a row in y; expected one class, or a 1 at the class among 0s"):
        load_splits(saved(tmp_path, x=np.random.default_rng(0).normal(size=(40, 3)), y=y))


@pytest.mark.parametrize("y", [np.eye(3)[np.zeros(40, int)], np.eye(3)[np.full(40, 2)], np.zeros(40)])
def test_one_class_alone_is_refused(tmp_path, y):
    with pytest.raises(ConfigError, match=r"holds the classes (0 to 0|2 to 2) of y; expected 0, 1, …"):
        load_splits(saved(tmp_path, x=np.random.default_rng(0).normal(size=(40, 3)), y=y))


def test_a_column_of_classes_is_as_good_as_a_row(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    plain = load_splits(saved(tmp_path, x=x, y=y))
    load_splits.cache_clear()
    column = saved(tmp_path, x=x, y=y[:, None])
    assert np.array_equal(load_splits(column).train.y, plain.train.y)
    assert read_table(column).marks == ()


def bytes_of(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.random.default_rng(0).normal(size=(40, 30)), y=np.arange(40) % 3)
    return (tmp_path / "whole.npz").read_bytes()


def array_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    return (tmp_path / "a.npy").read_bytes()


def objects(tmp_path):
    np.savez(tmp_path / "o.npz", x=np.ones((9, 2)), y=np.array([None, 1, "a"] * 3, object))
    return (tmp_path / "o.npz").read_bytes()


DAMAGED = {
    "empty": lambda _: b"",
    "one byte": lambda _: b"P",
    "no archive": lambda _: b"no archive",
    "cut": lambda folder: bytes_of(folder)[:5000],
    "cut at its end": lambda folder: bytes_of(folder)[:-30],
    "noise within": lambda folder: bytes_of(folder)[:300] + b"\xff" * 99 + bytes_of(folder)[399:],
    "one array alone": array_alone,
    "objects": objects,
    "another zip": lambda _: b"PK\x05\x06" + b"\0" * 18,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_archive_is_one_sentence(tmp_path, case):
    (tmp_path / "a.npz").write_bytes(DAMAGED[case](tmp_path))
    with pytest.raises(ConfigError, match=r"a\.npz (cannot be read as \.npz: .|holds )") as refused:
        load_splits(config(tmp_path / "a.npz", target="y", ignore=()))
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("x", "y"),
    [((0, 3), (0,)), ((9, 0), (9,)), ((9,), (9,)), ((9, 3), ()), ((), (9,)), ((9, 3), (9, 0)), ((9, 3), (8,))],
)
def test_arrays_without_rows_or_features_are_refused(tmp_path, x, y):
    with pytest.raises(ConfigError, match="expected numbers, as many rows in both"):
        load_splits(saved(tmp_path, x=np.ones(x), y=np.ones(y)))


def test_data_in_which_nothing_changes_is_refused(tmp_path):
    y = np.arange(40) % 3
    for x in (np.full((40, 1, 4, 4), 0.1), np.tile(np.arange(3.0), (40, 1))):
        with pytest.raises(ConfigError, match=r"no feature of .* changes over the 28 rows that are for training"):
            load_splits(saved(tmp_path, x=x, y=y))


@pytest.mark.parametrize("factor", [1e200, 1e-200, 1.7e308])
def test_huge_and_tiny_columns_are_features(tmp_path, factor):
    file = written(tmp_path, [(n % 3 - 1, (n % 3 - 1) * factor, n % 3) for n in range(40)], header="a,b,y")
    read = read_table(config(file, target="y", ignore=()))
    np.testing.assert_allclose(read.splits.train.x[:, 0], read.splits.train.x[:, 1], rtol=1e-5)
    assert read.marks == ("scale",)


def test_a_number_too_far_off_is_named(tmp_path):
    rows: list[tuple[float, int, int]] = [(n % 3, n % 5, n % 3) for n in range(40)]
    last = order(0, ORDER, 40)[-1]  # it tests, so that no scale is fitted to it
    rows[last] = (1e300, 0, 0)
    with pytest.raises(ConfigError, match=f"has a number in line {last + 2} that lies 1e38 deviations"):
        read_table(config(written(tmp_path, rows, header="a,b,y"), target="y", ignore=()))


def test_pipes_devices_and_folders_are_no_tables(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.npz").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    for name, said in (("pipe.csv", "named pipe"), ("link.npz", "device"), ("folder.csv", "folder")):
        with pytest.raises(ConfigError, match=f"is a {said}; expected a file"):
            load_splits(config(tmp_path / name, target="y", ignore=()))


# --- Parquet


def parquet_file(folder, columns, metadata=None):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    made = pyarrow.table(columns)
    parquet.write_table(made.replace_schema_metadata(metadata) if metadata else made, folder / "a.parquet")
    return config(folder / "a.parquet", target="y", ignore=())


COLUMNS = {"a": [n % 7 for n in range(40)], "b": [n % 5 for n in range(40)], "y": [n % 2 for n in range(40)]}
INDEXES = {
    "pandas' own name": ("__index_level_0__", {"pandas": '{"index_columns": ["__index_level_0__"]}'}),
    "without metadata": ("__index_level_0__", None),
    "a name of the user's": ("id", {"pandas": '{"index_columns": ["id"]}'}),
    "saved as CSV before": ("Unnamed: 0", None),
}


@pytest.mark.parametrize("damaged", ["{broken", "[1]", "null", '{"index_columns": 3}', '{"columns": []}'])
def test_what_pandas_wrote_may_be_anything(tmp_path, damaged):
    assert read_table(parquet_file(tmp_path, COLUMNS, {"pandas": damaged})).splits.features == (2,)


@pytest.mark.parametrize("case", INDEXES)
def test_an_index_in_parquet_is_no_feature(tmp_path, case):
    index, metadata = INDEXES[case]
    read = read_table(parquet_file(tmp_path, {index: list(range(40)), **COLUMNS}, metadata))
    assert (read.splits.features, read.marks, len(read.notes)) == ((2,), ("index",), 1)


def test_an_index_that_is_a_range_in_metadata_is_nothing(tmp_path):
    read = read_table(parquet_file(tmp_path, COLUMNS, {"pandas": '{"index_columns": [{"kind": "range"}]}'}))
    assert (read.splits.features, read.marks) == ((2,), ())


@pytest.mark.parametrize("cell", [None, float("nan"), float("inf")])
def test_a_bad_cell_of_parquet_is_named_by_its_row_from_nought(tmp_path, cell):
    columns = {**COLUMNS, "a": [1.0] * 7 + [cell] + [2.0] * 32}
    with pytest.raises(ConfigError, match="in row 7, counted from 0, column 'a'; expected a finite number"):
        load_splits(parquet_file(tmp_path, columns))


@pytest.mark.parametrize("cells", [[None, *["a", "b"] * 20], [float("nan"), *[1.0, 2.0] * 20]])
def test_a_row_of_parquet_without_a_label_is_no_label(tmp_path, cells):
    asked = parquet_file(tmp_path, {**COLUMNS, "y": cells[:40]})
    with pytest.raises(ConfigError, match="has nothing in row 0, counted from 0, column 'y', which"):
        load_splits(replace(asked, labels=("None", "nan", "a", "b", "1.0", "2.0")))


def test_numbers_as_text_in_parquet_follow_the_same_rule(tmp_path):
    with pytest.raises(ConfigError, match="has '3_4' in row 0, counted from 0"):
        load_splits(parquet_file(tmp_path, {**COLUMNS, "a": ["3_4", *["1"] * 39]}))


def test_damaged_and_empty_parquet_is_one_sentence(tmp_path):
    whole = parquet_file(tmp_path, COLUMNS)
    content = (tmp_path / "a.parquet").read_bytes()
    for damaged in (b"", b"PAR1", b"PAR1PAR1", content[:-20], content[:100], content[:4] + b"\xff" * 60 + content[64:]):
        (tmp_path / "a.parquet").write_bytes(damaged)
        with pytest.raises(ConfigError, match="cannot be read as Parquet"):
            load_splits(whole)
    with pytest.raises(ConfigError, match="has no rows"):
        load_splits(parquet_file(tmp_path, {name: [0][:0] for name in COLUMNS}))


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
