"""How large kept weights get, told from a model before anything has trained: what the files then are."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_kept import WORDS, as_in_a_worker, swept

from thalweg.runner import page
from thalweg.runner.engine.rehearsal import size
from thalweg.runner.facts.weights import Size
from thalweg.runner.study.study import expand
from thalweg.runner.train import kept
from thalweg.runner.train.keeper import foretold

__all__ = ["as_in_a_worker"]  # a fixture
FREEZE = ("groups.body.match=layers.0.*", "groups.body.freeze=true")
CASES: dict[str, tuple[str, ...]] = {
    "whole": (),
    "frozen": FREEZE,
    "float64": ("precision=float64",),
    "batch norm": ("model.norm=batch", "optimizer=adamw"),
    "with its state": (*FREEZE, "schedule=constant", "schedule.warmup=3", "optimizer=adamw", "average=ema"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_the_files_are(tmp_path: Path, case: str) -> None:
    words = ("model.hidden=[300,20]", "optimizer.lr=0.01,0.001", "budget.steps=6", "evaluation.points=1", *CASES[case])
    path = tmp_path / "s.sqlite"
    declared = page.declare(*WORDS, *words)
    trials = [member.trial for member in expand(declared.study)]
    counted = size(trials[0].config)
    swept(path, *words, "keep=all")
    found = kept.size_of(kept.folder_of(path), {trial.id: "" for trial in trials})
    assert counted
    assert found
    assert counted.each == pytest.approx(found.each, rel=0.03, abs=6000)  # headers
    assert counted.once == pytest.approx(found.once, rel=0.03)
    assert ("frozen" in case or "state" in case) == bool(counted.once)


def test_a_plan_says_it_and_what_cannot_be_counted_as_before() -> None:
    made = page.plan(page.declare(*WORDS, "optimizer.lr=0.1,0.01", "model.hidden=[4],[8]").study, None)
    (said,) = foretold(made, None, "all", lambda trials: [Size(10_000, 500_000)] * len(trials))
    assert said == "keep=all: about 1 MB of weights"
    said, unknown = foretold(made, None, "best", lambda trials: [Size(10_000, 0), None])
    assert said == "keep=best: about 20 kB of weights until the sweep ends, then those of the best cell"
    assert unknown.startswith("keep=best: of 2 trials none like them was kept")
