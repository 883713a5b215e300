"""The benchmark: what counts as a round, how a document keeps what was measured before, and that its parts run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import measure, parts, sides, table  # noqa: E402
from benchmarks.measure import Run, Timing  # noqa: E402
from benchmarks.table import Figure, Section  # noqa: E402

AGREED = {"a": [2.0, 1.5], "b": [2.0, 1.0]}


@pytest.mark.parametrize(
    ("others", "same"),
    [
        ({"a": [2.0, 1.5], "b": [2.0, 1.0]}, True),
        ({"a": [2.0009, 1.5]}, True),
        ({"a": [2.01, 1.5]}, False),
        ({"a": [2.0, 1.5], "b": [2.0, 1.1]}, False),
        ({"c": [2.0, 1.5]}, False),
        ({"a": []}, False),
        ({}, False),
    ],
)
def test_a_round_counts_only_if_all_sides_saw_the_same_losses(others, same) -> None:
    assert measure.same_losses([AGREED, others]) is same


def test_sides_are_run_in_turn_and_a_round_that_disagrees_is_left_out() -> None:
    order, disagree = [], iter([False, True, False, False])

    def side(name: str):
        def run() -> Run:
            order.append(name)
            wrong = name == "b" and next(disagree)
            return Run(Timing(1.0, 2.0), {"t": [9.0 if wrong else 1.0]})

        return run

    taken = measure.rounds(3, {"a": side("a"), "b": side("b")})
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(timings) for name, timings in taken.items()} == {"a": 2, "b": 2}


def test_a_benchmark_of_which_no_round_counts_ends_with_a_message() -> None:
    sides = {"a": lambda: Run(Timing(1, 1), {"t": [1.0]}), "b": lambda: Run(Timing(1, 1), {"t": [2.0]})}
    with pytest.raises(SystemExit, match="no round counted"):
        measure.rounds(1, sides)


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (Figure("speed", "≥ 3", [2.0, 4.0, 5.0], least=3), "4.00 (2.00–5.00) | yes"),
        (Figure("speed", "≥ 3", [2.0, 2.5, 5.0], least=3), "| **no** |"),
        (Figure("time", "≤ 45", [44.0], most=45), "| yes |"),
        (Figure("time", "≤ 45", [46.0], most=45), "| **no** |"),
        (Figure("time", "≤ 45", []), "not measured"),
    ],
)
def test_a_figure_stands_beside_its_goal(figure: Figure, words: str) -> None:
    assert words in figure.row
    assert figure.goal in figure.row


def test_a_part_measured_alone_replaces_only_its_own_section(tmp_path: Path) -> None:
    path, order = tmp_path / "b.md", ["one", "two"]
    old = {name: Section(name, name.title(), [], ["| old |"]).text("then") for name in order}
    table.write(path, old, order)
    table.write(path, {"two": Section("two", "Two", [], ["| new |"]).text("now")}, order)
    text = path.read_text()
    assert text.count("| old |") == text.count("| new |") == 1
    assert text.index("<!-- one -->") < text.index("<!-- two -->")
    table.write(path, {}, order)
    assert path.read_text() == text


def test_a_workload_whose_model_is_not_here_is_said_not_skipped() -> None:
    unknown = parts.Workload("x", "an x", ("model=nosuch",), (2,))
    assert "nosuch" in parts.absent(unknown)
    assert parts.absent(parts.MLP) is None


def test_what_is_on_the_users_own_pythonpath_is_measured_and_why_it_is_not_is_said(tmp_path, monkeypatch) -> None:
    tune = tmp_path / "ray" / "tune.py"
    tune.parent.mkdir()
    for path in (tune, tune.with_name("__init__.py")):
        path.touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert sides.ray_lacks() is None
    tune.write_text("raise ImportError('some dependencies are missing')")
    assert sides.ray_lacks() == "ImportError: some dependencies are missing"


@pytest.mark.parametrize("workload", parts.WORKLOADS, ids=lambda workload: workload.name)
def test_every_workload_has_its_figures_measured_or_not(workload: parts.Workload) -> None:
    seconds = {"solo": [4.0, 4.0], "traced": [1.0, 2.0], "compiled": [0.5, 0.5], "graphed": [0.25, 0.25]}
    found = {str(width): {"seconds": seconds, "absent": {}} for width in workload.widths}
    assert all("not measured" in figure.row for figure in parts.step_figures(workload, {}))
    assert all(len(figure.values) == 2 for figure in parts.step_figures(workload, found))
    assert len(parts.step_rows(workload, str(workload.widths[-1]), found[str(workload.widths[-1])])) == 4


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(ROOT / "scripts" / "benchmark.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_steps_are_timed_and_every_executor_agrees_with_the_solo_loop() -> None:
    done = bench("steps", "--smoke")
    assert done.returncode == 0, done.stderr
    for executor in ("solo", "loop", "vmap"):
        assert f"| {executor} |" in done.stdout
    assert "differ" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("part", ["coupling", "end-to-end", "workers", "optimizer"])
def test_every_part_runs_from_start_to_table(part: str) -> None:
    done = bench(part, "--smoke")
    assert done.returncode == 0, done.stderr
    assert f"<!-- end of {part} -->" in done.stdout


@pytest.mark.parametrize("words", [("nosuch",), ("--rounds", "0"), ("--smoke", "--write")])
def test_what_makes_no_sense_is_refused(words: tuple[str, ...]) -> None:
    assert bench(*words).returncode == 2
