"""The one way in which verbs print tables: CSV, JSON, Parquet or text, sorted, cut and chosen alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli.options import Output, shown
from thalweg.runner.cli.output import emit_json, out, say, write_csv, write_parquet
from thalweg.runner.facts.tidy import Columns, arranged, picked
from thalweg.runner.show.numbers import count, figure, is_number
from thalweg.runner.study.trial import SHOWN
from thalweg.runner.terminal.text import longest_word, row, table


def write(
    columns: Columns,
    output: Output,
    content: Mapping[str, Any],
    *,
    default: Sequence[str] = (),
    noun: str = "trial",
    choosing: bool = True,
) -> None:
    """Print a table as asked.

    content: what JSON is; a list in it that is as long as the table holds its lines, which are sorted and cut as the
    table is, and with --columns are lines of the table. default: the columns of the text, if none are asked for.
    choosing: whether lines are chosen by it, which test metrics never do.
    """
    if choosing:
        _refuse_test(output.sort)
    lines = arranged(columns, output.sort, output.n)
    chosen = picked(columns, lines, output.columns)
    if output.json:
        emit_json({key: _lines(value, chosen, lines, columns, output) for key, value in content.items()})
    elif output.csv:
        write_csv(chosen)
    elif output.parquet:
        write_parquet(chosen, output.parquet)
        say(f"{count(len(lines), noun)} in {shown(output.parquet)}")
    elif output.columns:
        show(chosen)
    else:
        show(_fitting(picked(columns, lines, default), out().width))
        if len(lines) < _length(columns):
            say(f"{len(lines):,} of {_length(columns):,} shown")


def _lines(value: Any, chosen: Columns, lines: Sequence[int], columns: Columns, output: Output) -> Any:
    if not isinstance(value, list) or len(value) != _length(columns):
        return value
    return records(chosen) if output.columns else [value[line] for line in lines]


def _refuse_test(sort: str | None) -> None:
    if sort and sort.removeprefix("-").startswith("test/"):
        raise UsageError(f"--sort {sort} orders by a test metric; test metrics never choose", "sort by val/…")


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()), []))


def columns_of(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Columns:
    """Some keys of records, as a table."""
    listed = list(records)
    return {name: [each[name] for each in listed] for name in names}


def records(columns: Columns) -> list[dict[str, Any]]:
    """A table as a dict a line."""
    return [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]


def show(columns: Columns) -> None:
    """Print a table as text: numbers short, ids as they are shown."""
    heads = _heads(columns, out().width)
    right = {heads[name] for name, values in columns.items() if any(is_number(value) for value in values)}
    made = table(*heads.values(), right=right)
    for column in made.columns[:1]:
        column.no_wrap = True
    for line in zip(*columns.values(), strict=True):
        row(made, *(_cell(value) for value in line))
    out().print(made if _length(columns) else Text("none"))


def _fitting(columns: Columns, width: int) -> Columns:
    """The columns that have room without a broken word; the emptiest go, but never the first, the last or outcome."""
    kept = dict(columns)
    while True:
        heads = _heads(kept, width)
        least = {name: longest_word([heads[name], *map(_text, values)]) for name, values in kept.items()}
        spare = [name for name in list(kept)[1:-1] if name != "outcome"]
        if not spare or sum(least.values()) + len(least) <= width:
            break
        del kept[max(spare, key=lambda name: (kept[name].count(None), least[name]))]
    if gone := [name for name in columns if name not in kept]:
        say(f"no room for {', '.join(gone)}; choose with --columns A,B, or see all with --csv")
    return kept


def _text(value: Any) -> str:
    return "—" if value is None else str(_cell(value))


def _heads(columns: Columns, width: int) -> dict[str, str]:
    """Each column's heading: its name, or where that takes too much room the last part, if no other has the same."""
    lengths = (max(map(len, (name, *map(_text, values)))) for name, values in columns.items())
    leaves = Counter(name.rpartition(".")[2] for name in columns)
    if sum(lengths) + 2 * len(columns) <= width:
        return {name: name for name in columns}
    return {name: leaf if leaves[leaf := name.rpartition(".")[2]] == 1 else name for name in columns}


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return figure(value, 4)
    is_id = isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")
    return value[:SHOWN] if is_id else value
