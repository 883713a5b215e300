"""Who stops early is a function of the declaration and of what trials measure: never of who trained them, and when."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stopping_cases import GRID, RULES, STEPS, Bench, Shuffled, Workers, dies_at, loss_at

from thalweg.runner import page
from thalweg.runner.base.errors import ConfigError, UsageError
from thalweg.runner.cells.cells import panels
from thalweg.runner.decide import Move
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row
from thalweg.runner.planning.shard import Shard
from thalweg.runner.planning.stopping import contests
from thalweg.runner.study.study import Analysis
from thalweg.runner.view.hindsight import hindsight


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def expected(rows: dict[str, Row], rule: str, failed: frozenset[str] = frozenset()) -> dict[str, int]:
    """Trial id -> the step at which it stops, worked out from the whole table of losses."""
    rungs = [int(part) for part in STEPS if f"{part}%" in rule]
    share, cells = 3 if "eta: 3" in rule else 2, dict[float, list[str]]()
    for row in rows.values():
        cells.setdefault(float(row.axes["optimizer.lr"]), []).append(row.trial_id)

    def value(cell: list[str], step: int) -> float:
        gone = any((died := dies_at(trial)) is not None and died < step for trial in cell)
        return math.inf if gone or failed & set(cell) else mean(loss_at(trial, step) for trial in cell)

    going, last, stopped = list(cells), dict[float, float](), dict[str, int]()
    for step in rungs:
        now = {rate: value(cells[rate], step) for rate in going}
        if "median" in rule:
            bar = median([*now.values(), *last.values()])
        else:
            bar = sorted(now.values())[max(1, -(-len(now) // share)) - 1]
        for rate in [rate for rate in going if now[rate] > bar or now[rate] == math.inf]:
            going.remove(rate)
            last[rate] = now[rate]
            stopped |= dict.fromkeys(cells[rate], step)
    return {
        trial: step
        for trial, step in stopped.items()
        if trial not in failed and ((died := dies_at(trial)) is None or died >= step)
    }


def stopped(rows: dict[str, Row]) -> dict[str, int]:
    return {trial: row.pruned.step for trial, row in rows.items() if row.pruned}


@pytest.mark.long
@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(RULES),
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(0, 6),
    st.lists(st.integers(1, 9), max_size=3),
    st.booleans(),
)
def test_the_same_trials_stop_whatever_the_order_the_workers_and_the_kills(
    rule: str, seed: int, size: int, deaths: int, interruptions: list[int], narrow: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.workers = Workers(random.Random(seed), deaths)
        words = (f"study.stop={rule}", *(["engine.width=2"] if narrow else []))
        for after in interruptions:
            bench.sweep(*words, size=size, interrupt_after=after)
        bench.sweep(*words, size=size)
        rows = bench.rows()
        want = expected(rows, rule)
        assert want
        assert stopped(rows) == want
        assert all((row.outcome is Outcome.PRUNED) is (trial in want) for trial, row in rows.items())
        assert all(row.has_ended is (trial not in want) for trial, row in rows.items())
        assert all(row.metrics == {} for row in rows.values() if row.pruned)
        again = bench.plan(*words)
        assert (again.to_train, again.waiting, len(again.pruned)) == (0, 0, len(want))
        assert again.wanted == again.done + len(again.pruned)
        bench.store.close()


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_stops_whom_the_whole_table_says(bench: Bench, rule: str) -> None:
    bench.sweep(f"study.stop={rule}")
    assert stopped(bench.rows()) == expected(bench.rows(), rule)


def test_what_is_best_large_stops_where_it_is_small(bench: Bench) -> None:
    words = (f"study.stop={RULES[0]}", "study.direction=max")
    bench.sweep(*words)
    kept = {row.axes["optimizer.lr"] for row in bench.rows().values() if row.outcome is Outcome.FINISHED}
    whole: dict[object, list[float]] = {row.axes["optimizer.lr"]: [] for row in bench.rows().values()}
    for trial, row in bench.rows().items():
        whole[row.axes["optimizer.lr"]].append(-math.inf if dies_at(trial) is not None else loss_at(trial, 25))
    first = sorted(whole, key=lambda rate: -mean(whole[rate]))[:6]
    assert kept
    assert kept <= set(first) | {rate for rate in whole if mean(whole[rate]) == mean(whole[first[-1]])}


def test_nobody_goes_on_before_all_are_at_the_rung(bench: Bench) -> None:
    bench.sweep(f"study.stop={RULES[0]}")
    steps = [until for _, until in bench.workers.trained]
    assert steps == sorted(steps)
    assert len(set(bench.workers.trained)) == len(steps)


@pytest.mark.long
def test_an_end_without_the_rule_trains_who_stopped_and_another_study_never_took_them_for_trained(bench: Bench) -> None:
    bench.sweep(f"study.stop={RULES[0]}")
    gone = stopped(bench.rows())
    assert bench.plan().to_train == len(gone)
    assert set(bench.plan().ids_to_train) == set(gone)
    other = ("study.name=other",)
    assert set(bench.plan(*other).ids_to_train) == set(gone)
    assert not any(row.pruned for row in bench.rows("other").values())
    page.record(bench.plan(*other), bench.store)
    assert {row.outcome for trial, row in bench.rows("other").items() if trial in gone} == {None}
    summary = {each.name: each for each in bench.store.studies()}
    assert (summary["mine"].pruned, summary["other"].pruned) == (len(gone), 0)
    assert summary["mine"].done + summary["mine"].pruned == summary["mine"].wanted
    bench.sweep()
    assert not stopped(bench.rows())
    assert all(row.has_ended for row in bench.rows().values())
    assert not any(row.pruned for row in bench.rows("other").values())


@pytest.mark.long
def test_another_rule_stops_whom_it_would_have_stopped_but_for_those_that_are_done(bench: Bench) -> None:
    bench.sweep(f"study.stop={RULES[0]}")
    done = {trial for trial, row in bench.rows().items() if row.outcome is Outcome.FINISHED}
    bench.sweep(f"study.stop={RULES[2]}")
    rows = bench.rows()
    assert stopped(rows) == {t: step for t, step in expected(rows, RULES[2]).items() if t not in done}


def test_a_wider_grid_is_judged_as_if_it_had_been_declared_at_once(bench: Bench) -> None:
    some = ("optimizer.lr=0.1..0.6:6lin", f"study.stop={RULES[0]}")
    bench.sweep(*some)
    done = {trial for trial, row in bench.rows().items() if row.outcome is Outcome.FINISHED}
    bench.sweep(f"study.stop={RULES[0]}")
    rows = bench.rows()
    assert stopped(rows) == {t: step for t, step in expected(rows, RULES[0]).items() if t not in done}


def test_a_cell_with_a_failed_seed_stops_and_comes_back_once_that_trains(bench: Bench) -> None:
    words = (f"study.stop={RULES[0]}",)
    bench.plan(*words)
    best = min(
        (row.trial.id for row in bench.plan(*words).members if dies_at(row.trial.id) is None),
        key=lambda trial: loss_at(trial, 25),
    )
    bench.workers.fails = {best}
    result = bench.sweep(*words)
    rows = bench.rows()
    assert result.failed == 1
    assert rows[best].outcome is Outcome.FAILED
    assert stopped(rows) == expected(rows, RULES[0], frozenset({best}))
    plan = bench.plan(*words)
    assert plan.ids_to_train == [best]
    assert plan.waiting
    bench.workers.fails = set()
    done = {trial for trial, row in rows.items() if row.outcome is Outcome.FINISHED}
    bench.sweep(*words)
    rows = bench.rows()
    assert stopped(rows) == {t: step for t, step in expected(rows, RULES[0]).items() if t not in done}


def test_trials_that_were_measured_elsewhere_are_left_out_and_go_on(bench: Bench) -> None:
    bench.sweep("optimizer.lr=0.1,0.2", "study.name=early")
    bench.store._db.execute("DELETE FROM series")
    bench.sweep(f"study.stop={RULES[0]}")
    rows = bench.rows()
    rest = {trial: row for trial, row in rows.items() if row.axes["optimizer.lr"] not in (0.1, 0.2)}
    assert {t: s for t, s in stopped(rows).items() if t in rest} == expected(rest, RULES[0])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["study.stop={rule: halving, rungs: [25%, 25.4%]}"], "two rungs, 25% and 25.4%, at step 25 of 100"),
        (["study.stop={rule: halving, rungs: [30%]}"], "compares trials at 30% of 100 steps, where none is measured"),
        (["study.stop={rule: halving, rungs: [50%, 25%]}"], "expected ascending shares"),
        (["study.stop={rule: halving, rungs: []}"], "rungs is empty"),
        (["study.stop={rule: halving, rungs: [100%]}"], "above 0% and below 100%"),
        (["study.stop={rule: halving, rungs: [0%]}"], "above 0% and below 100%"),
        (["study.stop={rule: halving, rungs: [2ep]}"], "above 0% and below 100%"),
        (["study.stop={rule: halving, rungs: ['25']}"], "above 0% and below 100%"),
        (["study.stop={rule: halving, rungs: [25%], eta: 1}"], "greater than 1"),
        (["study.stop={rule: median, rungs: [25%], eta: 3}"], "median has none"),
        (["study.stop={rule: best, rungs: [25%]}"], "'median' or 'halving'"),
        (["study.stop={rule: median, rungs: [25%], at: 3}"], "study.stop.at"),
        (["study.stop={rule: median, rungs: [25%]}", "study.metric=train/loss"], "train/loss is not measured while"),
        (["study.stop=median"], "is not a rule"),
    ],
)
def test_what_no_rule_can_keep_is_refused_in_one_sentence(bench: Bench, words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        bench.sweep(*words)
    assert sentence in refused.value.message
    assert refused.value.message.count("\n") == 0


def test_where_trials_train_that_are_not_seen_together_a_rule_is_refused(bench: Bench) -> None:
    plan = bench.plan(f"study.stop={RULES[0]}")
    with pytest.raises(UsageError, match="a share sees only its own"):
        page.share(plan.study, Shard(1, 2), bench.store)
    declared = page.declare(*GRID, f"study.stop={RULES[0]}", "launcher=ray")
    with pytest.raises(UsageError, match="launcher=ray trains elsewhere"):
        page.train(plan, bench.store, declared.settings, backend=Shuffled(bench.workers, 1))


def test_a_study_read_back_has_its_rule_and_one_without_says_nothing_of_it(bench: Bench) -> None:
    page.record(bench.plan(), bench.store)
    assert "stop" not in bench.declared.study.document
    assert bench.store.study("mine").stop is None
    page.record(bench.plan(f"study.stop={RULES[1]}"), bench.store)
    assert bench.store.study("mine").stop == bench.declared.study.stop


def test_hindsight_counts_the_best_cells_that_the_rule_would_have_stopped(bench: Bench) -> None:
    rule = f"study.stop={RULES[0]}"
    assert "no panel is trained whole" in bench.plan(rule).hindsight
    assert bench.plan().hindsight == ""
    bench.sweep("seed=0..1")
    said = bench.plan(rule, "seed=0..1").hindsight
    assert bench.plan(rule).hindsight == said  # a seed more is no other history
    rows = {trial: row for trial, row in bench.rows().items() if row.axes["seed"] in (0, 1)}
    gone, (panel,) = expected(rows, RULES[0]), panels(rows.values(), bench.declared.study)
    assert panel.near is not None
    lost = [all(row.trial_id in gone for row in cell.rows) for cell in panel.near.cells]
    assert said.startswith(f"of 1 panel trained whole, this rule would have stopped the best cell of {int(lost[0])}")
    assert len(lost) == 1 or said.endswith(f"{sum(lost[1:])} of {len(lost) - 1} as good")
    alone = next(trial for trial, row in rows.items() if row.axes["seed"] == 1)
    uneven = [row for row in rows.values() if row.trial_id != alone]
    assert "is not known" in hindsight(bench.plan(rule), uneven, bench.store)  # a cell of one seed among those of two
    bench.store._db.execute("DELETE FROM series")
    assert "is not known" in bench.plan(rule).hindsight


@pytest.mark.long
@pytest.mark.parametrize(
    ("study", "words", "said"),
    [
        ("smoke", ["study.stop={rule: median, rungs: [33.3%]}"], True),
        ("smoke", ["study.stop={rule: median, rungs: [33.3%]}", "schedule=constant"], False),
        ("smoke", [], False),
        ("planted", ["study.stop={rule: median, rungs: [50%]}", "~study.analysis"], None),
    ],
)
def test_a_coupling_under_a_decaying_schedule_is_warned_of_early_losses(study, words, said) -> None:
    if said is None:
        words = ["optimizer.lr=0.1,0.2", "study.name=x", words[0]]
    declared = page.declare(*([study] if said is not None else []), *words).study
    assert any("early losses" in line for line in page.plan(declared).advice) is bool(said)


@pytest.mark.parametrize("study", ["warmup", "sensitivity"])
def test_a_question_about_what_trains_badly_has_no_rule(study: str) -> None:
    with pytest.raises(ConfigError, match=f"question of {study}"):
        page.declare(study, "study.stop={rule: median, rungs: [50%]}")


def test_points_asked_for_by_results_have_no_rule() -> None:
    words = ("optimizer.lr=1e-3..1:log", "study.sample.n=8", "study.sample.method=tpe")
    with pytest.raises(ConfigError, match="tpe asks for its next points"):
        page.declare(*words, "study.stop={rule: median, rungs: [50%]}")


def test_cells_compared_are_those_that_a_question_reads_as_one_grid() -> None:
    plan = page.plan(page.declare("smoke", "study.stop={rule: halving, rungs: [33.3%]}", "seed=0..1").study)
    found = contests(plan.study, plan.members)
    assert [len(each.cells) for each in found] == [42] * 4
    assert all(len(cell) == 2 for each in found for cell in each.cells)
    grid = ("optimizer=sgd", "optimizer.lr=0.1,0.2,0.3", "optimizer.momentum=0.8,0.9", "study.name=x")
    plain = page.plan(page.declare(*grid, "study.stop={rule: median, rungs: [50%]}").study)
    assert [len(each.cells) for each in contests(plain.study, plain.members)] == [6]
    asks = replace(plain.study, analyses=(Analysis("coupling", "optimizer.lr", "optimizer.weight_decay"),))
    assert [len(each.cells) for each in contests(asks, plain.members)] == [3, 3]
    models = page.plan(page.declare(*grid, "model.hidden=[8],[16]", "study.stop={rule: median, rungs: [50%]}").study)
    assert [len(each.cells) for each in contests(models.study, models.members)] == [6, 6]


def test_what_another_sweep_has_done_meanwhile_is_not_done_again(bench: Bench) -> None:
    rule = f"study.stop={RULES[0]}"
    stale = bench.plan(rule)
    bench.sweep(rule)
    before = stopped(bench.rows())
    result = page.train(stale, bench.store, bench.declared.settings, backend=Shuffled(bench.workers, 2))
    assert result.elsewhere == stale.to_train
    assert result.goes_on(stale)
    bench.sweep(rule)
    assert len(set(bench.workers.trained)) == len(bench.workers.trained)
    assert stopped(bench.rows()) == before


def test_a_study_and_trials_that_were_stopped_can_be_removed_and_renamed(bench: Bench) -> None:
    bench.sweep(f"study.stop={RULES[0]}")
    before = stopped(bench.rows())
    some = next(iter(before))
    bench.store.remove(bench.store.removal([], [some]))
    bench.store.rename("mine", "yours")
    assert stopped(bench.rows("yours")) == {trial: step for trial, step in before.items() if trial != some}
    bench.store.remove(bench.store.removal(["yours"], []))
    assert bench.store.faults() == ([], 0)


def test_a_merged_store_knows_who_stopped_and_who_came_how_far(bench: Bench, tmp_path: Path) -> None:
    rule = f"study.stop={RULES[0]}"
    bench.sweep(rule)
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    other.store.merge(bench.store)
    assert stopped(other.rows()) == stopped(bench.rows())
    assert other.plan(rule).to_train == 0
    assert other.plan().to_train == len(stopped(bench.rows()))
    assert other.store.merge(bench.store).trials == 0
    assert other.store.faults()[0] == []
    other.store.close()


def test_what_is_added_trains_to_its_end_however_often_it_is_measured(bench: Bench) -> None:
    rule = f"study.stop={RULES[0]}"
    bench.sweep(rule)
    before = stopped(bench.rows())
    more = page.plan(page.declare(*GRID, "optimizer.lr=1.3").study)
    added = Move("widen", "", "optimizer.lr", "1.3", "to see", "more", more.members)
    made = page.refine(bench.store.study("mine"), [added], bench.store)
    seldom = page.declare(*GRID, rule, "evaluation.points=3").settings
    result = page.train(made, bench.store, seldom, backend=Shuffled(bench.workers, 2))
    assert (result.finished + result.diverged, result.reached) == (3, 0)
    assert stopped(bench.rows()) == before


def test_who_is_at_the_rung_waits_where_a_kill_left_others_behind(bench: Bench) -> None:
    rule = f"study.stop={RULES[0]}"
    bench.sweep(rule, size=1, interrupt_after=4)
    there = bench.store.reached_steps(bench.rows())
    plan = bench.plan(rule)
    assert plan.waiting == len(there) > 0
    assert not there.keys() & set(plan.ids_to_train)
    assert set(plan.until.values()) == {25}
    assert plan.wanted == plan.done + plan.to_train + plan.waiting
