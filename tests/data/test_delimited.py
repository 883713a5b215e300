"""Delimited text: where a row begins, and what is between its cells."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data.delimited import GUESSED, MalformedError, guessed, rows_of

CELL = st.text("ab1.,;\t\"'\n \r", max_size=5)
TABLES = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1))


def written(rows: list[list[str]], delimiter: str, **how) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, **how).writerows(rows)
    return text.getvalue()


@given(TABLES, st.sampled_from(",;\t| "))
def test_what_is_written_is_read_from_the_lines_where_it_begins(rows: list[list[str]], delimiter: str) -> None:
    text = written(rows, delimiter, quoting=csv.QUOTE_ALL)
    found = rows_of(text, delimiter)
    assert [list(row.cells) for row in found] == rows
    lines = io.StringIO(text, newline="").readlines()
    for row, cells in zip(found, rows, strict=True):
        rest = "".join(lines[row.line - 1 :])
        assert rest.startswith(written([cells], delimiter, quoting=csv.QUOTE_ALL))


@given(TABLES, st.sampled_from(GUESSED))
def test_quoted_delimiters_do_not_mislead(rows: list[list[str]], delimiter: str) -> None:
    assert guessed(written(rows, delimiter, quoting=csv.QUOTE_ALL)) == delimiter


GUESSES = {
    "quoted commas in the header": ('"len, cm";"wid, cm";y\n1;2;0\n', ";"),
    "commas in the header, not quoted": ("len, cm;wid, cm;y\n1;2;0\n", ";"),
    "decimal commas": ("a;b;y\n1,5;2,5;0\n", ";"),
    "tabs": ("a, b\tc, d\te\n1\t2\t3\n", "\t"),
    "blank lines first": ("\n\na;b\n1;2\n", ";"),
    "a row that lacks a cell": ("a;b\n1;2\n3\n", ";"),
    "one column": ("a\n1\n", ","),
    "nothing": ("", ","),
}


@pytest.mark.parametrize("case", GUESSES)
def test_the_delimiter_is_the_one_that_parts_all_rows_alike(case: str) -> None:
    text, delimiter = GUESSES[case]
    assert guessed(text) == delimiter


def test_a_tsv_has_tabs_whatever_else_there_is() -> None:
    assert guessed("a,b,c\td\n1,2,3\t4\n", "\t") == "\t"
    assert guessed("a,b\n1,2\n", "\t") == ","


@pytest.mark.parametrize("text", ['a,b\n\n1,"2\n3,4\n', 'a,b\n\n1,"2"2\n', f"a,b\n\n1,{'x' * 200_000}\n"])
def test_what_cannot_be_told_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(MalformedError, match="in line 3: "):
        rows_of(text, ",")
