"""The rule that stops trials early, on small tables: who goes on, who waits, and that no order is seen."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.study.stop import Contest, Pruned, Standing, Stop, standing, together

HALVING, MEDIAN = Stop("halving", (0.25, 0.5)), Stop("median", (0.5,))


def contest(*cells: str) -> Contest:
    return Contest(100, tuple(tuple(cell) for cell in cells))


def test_nobody_goes_on_or_stops_before_the_last_trial_of_the_contest_is_there() -> None:
    found = standing(HALVING, contest("ab", "cd"), {"a": {25: 1.0}, "b": {25: 9.0}, "c": {25: 2.0}})
    assert found == Standing({"d": 25}, frozenset("abc"), {})
    whole = standing(HALVING, contest("ab", "cd"), {t: {25: v} for t, v in zip("abcd", (1, 9, 2, 3), strict=True)})
    assert whole.until == {"c": 50, "d": 50}
    assert whole.pruned == {"a": Pruned(1, 25), "b": Pruned(1, 25)}


def test_what_diverged_or_failed_goes_on_nowhere_even_where_little_else_is_left() -> None:
    reached = {"a": {25: 1.0}, **{t: {25: math.inf} for t in "bcd"}}
    assert standing(HALVING, contest("a", "b", "c", "d"), reached).until == {"a": 50}
    assert not standing(HALVING, contest("b", "c", "d"), reached).until
    assert not standing(MEDIAN, contest("b", "c", "d"), {t: {50: math.inf} for t in "bcd"}).until


def test_one_that_is_not_known_goes_on_and_is_no_measure_for_others() -> None:
    reached = {"a": {25: math.nan}, "b": {25: 1.0}, "c": {25: 2.0}}
    assert standing(HALVING, contest("a", "b", "c"), reached).until == {"a": 50, "b": 50}
    there = {trial: {**at, 50: 1.0} for trial, at in reached.items()}
    assert standing(HALVING, contest("a", "b", "c"), there).pruned == {"c": Pruned(1, 25)}


def test_who_is_as_good_as_the_last_to_go_on_goes_on_too() -> None:
    reached = {trial: {50: value} for trial, value in zip("abcd", (1.0, 1.0, 1.0, 2.0), strict=True)}
    assert standing(MEDIAN, contest(*"abcd"), reached).until == dict.fromkeys("abc")
    assert standing(Stop("halving", (0.5,), 4.0), contest(*"abcd"), reached).until == dict.fromkeys("abc")


def test_a_median_is_also_of_those_that_stopped_at_a_rung_before() -> None:
    first, second = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, {"a": 1.9, "b": 2.0}
    reached = {trial: {25: value} | ({50: second[trial]} if trial in second else {}) for trial, value in first.items()}
    found = standing(Stop("median", (0.25, 0.5)), contest(*"abcd"), reached)
    assert found.until == {"a": None, "b": None}
    assert found.pruned == dict.fromkeys("cd", Pruned(1, 25))


def test_a_trial_of_several_contests_stops_where_all_stop_it() -> None:
    stops, waits = Standing(pruned={"a": Pruned(1, 25)}), Standing(waiting=frozenset("a"))
    assert together([stops, Standing(until={"a": None})]) == Standing({"a": None})
    assert together([stops, waits]) == Standing(waiting=frozenset("a"))
    later = Standing(pruned={"a": Pruned(2, 50)})
    assert together([stops, later]).pruned == together([later, stops]).pruned == {"a": Pruned(2, 50)}
    assert together([Standing(until={"a": 50}), Standing(until={"a": 25})]).until == {"a": 50}


@given(st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, math.inf]), min_size=1, max_size=9), st.integers(0, 2**32))
def test_the_order_of_cells_is_not_seen(values: list[float], seed: int) -> None:
    cells = [f"{n}" for n in range(len(values))]
    reached = {cell: {25: value, 50: value} for cell, value in zip(cells, values, strict=True)}
    shuffled = cells.copy()
    random.Random(seed).shuffle(shuffled)
    for rule in (HALVING, MEDIAN):
        found = standing(rule, contest(*cells), reached)
        assert found == standing(rule, contest(*shuffled), reached)
        assert any(map(math.isfinite, values)) is bool(found.until)
