"""Cells of one panel differ in nothing but their axes, however often and with whatever words a study was declared."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import planted_rows as planted
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.canonical import canonical_json
from thalweg.runner.cells.cells import Panel, panels
from thalweg.runner.facts.coordinates import placed
from thalweg.runner.facts.row import Row
from thalweg.runner.study.keys import flatten
from thalweg.runner.study.study import Block

VALUES: dict[str, list[Any]] = {
    "optimizer.lr": [0.1, 0.2, 0.4],
    "optimizer.weight_decay": [0.0, 0.1],
    "model.hidden": [[8], [64], [16, 16]],
    "budget.steps": [20, 40],
    "schedule.warmup": [0, 2, 5],
    "dataset.label_noise": [0.0, 0.4],
    "task.label_smoothing": [0.0, 0.1],
    "precision": ["float32", "float64"],
}
STUDY = planted.study(Block("grid", ()), analyses=(), vars=())


def config(values: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"model": {"name": "mlp"}, "dataset": {"name": "digits"}, "optimizer": {"name": "sgd"}}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (made.setdefault(section, {}) if section else made)[name] = value
    return made


def declared(fixed: dict[str, Any], axes: dict[str, list[Any]]) -> list[Row]:
    """The rows of one declaration: `fixed` was typed once, and is no axis."""
    rows = []
    for point in product(*axes.values()):
        at = dict(zip(axes, point, strict=True))
        values = {key: of[0] for key, of in VALUES.items()} | fixed | at
        for seed in (0, 1):
            text = {key: canonical_json(value) if isinstance(value, list) else value for key, value in at.items()}
            rows.append(planted.row("grid", {**text, "seed": seed}, 0.5, config=config({**values, "seed": seed})))
    return rows


@st.composite
def declarations(draw: st.DrawFn) -> list[Row]:
    rows: dict[str, Row] = {}
    for _ in range(draw(st.integers(1, 4))):
        keys = draw(st.permutations(list(VALUES)))
        many, few = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        axes = {key: draw(st.lists(st.sampled_from(VALUES[key]), min_size=2, unique_by=repr)) for key in keys[:many]}
        fixed = {key: draw(st.sampled_from(VALUES[key])) for key in keys[many : many + few]}
        rows |= {repr(row.config): row for row in declared(fixed, axes)}
    return placed(list(rows.values()))


def differing(one: Row, other: Row) -> set[str]:
    a, b = dict(flatten(one.config)), dict(flatten(other.config))
    return {key for key in {*a, *b} if a.get(key) != b.get(key)} - {"seed"}


def is_share(cut: list[Panel]) -> bool:
    """Whether warmup is the same share of all runs, which needs no axis of its own."""
    rows = [row for panel in cut for cell in panel.cells for row in cell.rows]
    found = {(row.config["schedule"]["warmup"], row.config["budget"]["steps"]) for row in rows}
    return max((w - 1) / n for w, n in found) < min(w / n for w, n in found)


@given(declarations())
def test_what_cells_differ_in_is_an_axis(rows: list[Row]) -> None:
    cut = panels(rows, STUDY)
    follows = {"schedule.warmup"} if is_share(cut) else set()
    for panel in cut:
        for one, other in combinations(panel.cells, 2):
            apart = {key for key in panel.axes if one.axes.get(key) != other.axes.get(key)}
            assert differing(one.rows[0], other.rows[0]) - follows == apart - follows
            assert not apart & {*panel.entangled}
            assert "dataset.label_noise" not in apart
    assert sum(len(cell.rows) for panel in cut for cell in panel.cells) == len(rows)


def shape(*of: tuple[dict[str, Any], dict[str, list[Any]]]) -> list[tuple[tuple[str, ...], int]]:
    rows = placed([row for fixed, axes in of for row in declared(fixed, axes)])
    return [(panel.entangled, len(panel.cells)) for panel in panels(rows, STUDY)]


LR = "optimizer.lr"
SMALL, LARGE = {"model.hidden": [8]}, {"model.hidden": [64]}


@pytest.mark.parametrize(
    ("declarations", "expected"),
    [
        ([({}, {LR: [0.1]}), ({}, {LR: [0.2]})], [((), 2)]),
        ([({LR: 0.1}, {}), ({LR: 0.2}, {}), ({LR: 0.4}, {})], [((), 3)]),
        ([(SMALL, {LR: [0.1, 0.2]}), (LARGE, {LR: [0.4, 0.8]})], [(("model.hidden",), 2), (("model.hidden",), 2)]),
        ([(SMALL, {LR: [0.1, 0.2]}), (LARGE, {LR: [0.2, 0.4]})], [((), 4)]),  # both were tried at 0.2
        ([({**SMALL, LR: 0.1}, {}), ({**LARGE, LR: 0.2}, {})], [(("model.hidden", LR), 1)] * 2),
        ([({}, {"dataset.label_noise": [0.0, 0.4]})], [((), 1), ((), 1)]),  # other data
    ],
)
def test_keys_that_never_differ_alone_cut_a_block_into_panels(declarations, expected) -> None:
    found = [(tuple(sorted(keys)), cells) for keys, cells in shape(*declarations)]
    assert found == expected


def test_a_warmup_that_is_a_share_of_the_run_is_no_key_of_its_own() -> None:
    runs = [({"budget.steps": n, "schedule.warmup": w}, {LR: [0.1, 0.2]}) for n, w in ((20, 1), (40, 2), (90, 5))]
    assert shape(*runs) == [((), 6)]
    other = [*runs[:2], ({"budget.steps": 90, "schedule.warmup": 9}, {LR: [0.1, 0.2]})]
    assert [entangled for entangled, _ in shape(*other)] == [("budget.steps", "schedule.warmup")] * 3


def test_one_step_more_than_its_share_is_a_key_of_its_own() -> None:
    runs = [({"budget.steps": n, "schedule.warmup": w}, {LR: [0.1, 0.2]}) for n, w in ((20, 1), (40, 3))]
    assert [entangled for entangled, _ in shape(*runs)] == [("budget.steps", "schedule.warmup")] * 2


def test_no_map_runs_along_an_axis_of_the_dataset() -> None:
    rows = placed(declared({}, {LR: [0.1, 0.2], "dataset.label_noise": [0.0, 0.4]}))
    assert [(panel.x, panel.y, len(panel.cells)) for panel in panels(rows, STUDY)] == [(None, None, 2)] * 2


def test_a_key_that_only_some_trials_have_tells_them_apart() -> None:
    lacking = [{**row.config, "optimizer": {"name": "sgd", "lr": 0.4}} for row in declared({}, {})]
    rows = declared({LR: 0.1}, {}) + [planted.row("grid", row.axes, 0.5, config=config) for row, config in zip(declared({}, {}), lacking, strict=True)]  # fmt: skip # noqa: E501
    assert {key for panel in panels(placed(rows), STUDY) for key in panel.axes} == {LR, "optimizer.weight_decay"}


def test_options_of_a_group_differ_in_what_they_have_and_in_what_was_set_besides() -> None:
    def of(name: str, **more: Any) -> list[Row]:
        rows = declared(more.pop("fixed", {}), {LR: [0.1, 0.2]})
        return [Row(**{**row.__dict__, "config": {**row.config, "optimizer": {**row.config["optimizer"], "name": name, **more}}}) for row in rows]  # fmt: skip # noqa: E501

    plain = panels(placed([*of("sgd", momentum=0.9), *of("adamw", beta1=0.9)]), STUDY)
    assert {key for panel in plain for cell in panel.cells for key in cell.axes} == {"optimizer", LR}
    besides = panels(placed([*of("sgd", momentum=0.9), *of("adamw", fixed=LARGE)]), STUDY)
    assert {frozenset(panel.entangled) for panel in besides} == {frozenset({"optimizer", "model.hidden"})}
