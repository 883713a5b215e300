"""A user's own table: what is read of it, and one sentence for whatever is wrong."""

import math

import pytest

from thalweg.runner.analysis import coupling
from thalweg.runner.analysis.csv_table import read
from thalweg.runner.base.errors import UsageError

COLUMNS = {"lr": "lr", "wd": "decay", "loss": "val", "seed": "seed"}
TABLE = "decay,lr,note,seed,val\n0.1,1e-3,a,0,.5\n0,1e-3,b,one,nan\n0.2,0.01,,0,INF\n0.2,0.01,,one,\n0.2,0.1,x,0,1e31\n"


def parsed(text, columns=COLUMNS, **how):
    return read(text, columns, **{"classes": None, "maximize": False, **how})


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored():
    (part,) = parsed(TABLE)
    assert part.results.lr.tolist() == [1e-3, 1e-3, 0.01, 0.01, 0.1]
    assert part.results.wd.tolist() == [0.1, 0.0, 0.2, 0.2, 0.2]
    assert part.results.seed.tolist() == [0, 1, 0, 1, 0]
    assert part.results.healthy.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "\ufeff" + t,
        lambda t: t.replace(",", ";"),
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace(",", ";").replace("note", '"a, note, of mine, or another"'),
    ],
)
def test_dialects_are_read_alike(change):
    assert parsed(change(TABLE))[0].results.loss[0] == 0.5


def test_panels_are_told_apart_by_a_column():
    parts = parsed(TABLE, {**COLUMNS, "panel": "note"})
    assert [part.name for part in parts] == ["a", "b", "", "x"]


def test_without_a_seed_column_repeated_settings_are_replicates():
    (part,) = parsed("lr,decay,val\n1,1,.5\n1,1,.6\n2,1,.7\n", {"lr": "lr", "wd": "decay", "loss": "val"})
    assert part.results.seed.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "the table is empty", "names the columns"),
        ("lr,decay,seed,val\n", "no rows below its header", "one line a trial"),
        (TABLE.replace("decay", "deca"), "no column 'decay'", "did you mean deca?"),
        (TABLE.replace("1e-3,a", "fast,a"), "line 2, column 'lr' holds 'fast'; expected a learning rate above 0", None),
        (TABLE.replace("1e-3,a", "0,a"), "line 2, column 'lr' holds '0'; expected a learning rate above 0", None),
        (
            TABLE.replace("0.1,1e-3", "-1,1e-3"),
            "line 2, column 'decay' holds '-1'; expected a weight decay of 0 or more",
            None,
        ),
        (TABLE.replace("1e31", "bad"), "line 6, column 'val' holds 'bad'; expected a number, or nan", None),
        (TABLE.replace("1e31", "3_1"), "line 6, column 'val' holds '3_1'; expected a number, or nan", None),
        (TABLE.replace("1e31", "３１"), "line 6, column 'val' holds '３１'; expected a number, or nan", None),
        (TABLE.replace("1e-3,a", "1e-0_3,a"), "column 'lr' holds '1e-0_3'; expected a learning rate above 0", None),
        (TABLE.replace("1e31", "bad").replace("b,one", '"b\n\nb",one'), "line 8, column 'val' holds 'bad'", None),
        (TABLE.replace("1e31", "bad").replace("0,1e-3,b", "\n\n0,1e-3,b"), "line 8, column 'val' holds 'bad'", None),
        (TABLE.replace("0,1e31", "0,0,5"), "line 6 has 6 cells; expected 5", None),
        (TABLE.replace("x,0,1e31", "x,0"), "line 6 has 4 cells; expected 5", None),
        (TABLE.replace("x,0", '"x,0'), "the table cannot be read as CSV, in line 6: unexpected end of data", "quotes"),
        (TABLE.replace("x,0", f"{'x' * 200_000},0"), "the table cannot be read as CSV, in line 6: field larger", None),
        (TABLE + "0.1,1e-3,a,0,.6\n", "lines 2 and 7 are the same trial: lr 0.001, wd 0.1, seed 0", "--panel"),
        (TABLE.replace("note", "val"), "2 columns named 'val'", "own name"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text, said, hint):
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    if hint:
        assert hint in caught.value.hint


def test_the_number_of_classes_gives_the_loss_of_a_guess():
    (part,) = parsed(TABLE, classes=10)
    assert part.results.chance == pytest.approx(math.log(10))
    assert part.results.ceiling == pytest.approx(4 * math.log(10))


def test_a_few_rows_are_not_enough_and_that_is_an_answer():
    (part,) = parsed(TABLE)
    found = coupling(part.results)
    assert found.undetermined
    assert "0 of 3 learning rates used" in found.verdict
