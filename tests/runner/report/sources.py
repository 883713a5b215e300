"""Studies to report on that were never trained: a planted valley with series, of any size and with any names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import planted_rows as planted

from thalweg.runner.analysis import (
    Coupling,
    Curve,
    Edge,
    Expected,
    Finding,
    RowFit,
    Sensitivity,
    Warmup,
    WarmupLevel,
    WarmupNeed,
)
from thalweg.runner.facts.observation import Outcome, Series
from thalweg.runner.facts.record import CohortRecord, TrialRecord
from thalweg.runner.facts.row import Row
from thalweg.runner.report import Source
from thalweg.runner.study.study import Axis, Block, Expectation, Study
from thalweg.runner.view import StudyView

NOW = datetime(2026, 3, 5, 14, 7, tzinfo=UTC)
EVIL = (
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "</title></style><b>bold</b>",
    '" onload="window.pwned=1" x=\'',
    "&lt;i&gt; &amp; <!-- <script> -->",
    "\u202egnp.exe\u202c \u05e9\u05dc\u05d5\u05dd \u2066x\u2069",
    "nul\x00 esc\x1b[31m bell\x07 line\u2028sep",
    "javascript:window.pwned=1",
    "${window.pwned=1}`{{7*7}}",
)


def declared(study: Study, **changed: Any) -> Study:
    """A study with what the store adds to it."""
    document = {"question": study.question, "overrides": [study.name], "blocks": [block.name for block in study.blocks]}
    return replace(study, **{"document": document, "declared": "2026-03-05T13:00:00Z", **changed})


def series_of(trial_id: str, steps: int = 600) -> dict[str, Series]:
    """Noise around a falling loss, told by the id; what training stores."""
    random = np.random.default_rng(int(hashlib.sha256(trial_id.encode()).hexdigest()[:8], 16))
    every = np.arange(steps, dtype=np.int64)
    some = np.linspace(0, steps, 11).astype(np.int64)
    return {
        "train/batch_loss": Series(every, 2.3 * np.exp(-every / 200) * random.lognormal(0, 0.1, steps)),
        "val/accuracy": Series(some, np.linspace(0.1, 0.9, 11)),
        "val/loss": Series(some, 2.3 * np.exp(-some / 250) * random.lognormal(0, 0.05, 11)),
    }


VERSIONS = {"thalweg": "0.1.0", "torch": "2.15.0", "python": "3.11.7"}


def trained(rows: Sequence[Row]) -> list[TrialRecord]:
    return [_trained(row) for row in rows if row.outcome is not None]


def _trained(row: Row) -> TrialRecord:
    cohort = CohortRecord(
        study="valley",
        group_id="g",
        executor="vmap",
        layout="shared",
        width=1,
        device="cpu",
        versions=VERSIONS,
        trial_ids=(row.trial_id,),
    )
    return TrialRecord(
        trial_id=row.trial_id,
        group_id="g",
        config=row.config,
        outcome=row.outcome,
        diverged_step=row.diverged_step,
        weight_hash="w",
        error=None,
        seconds=0.5,
        metrics=row.metrics,
        memberships=(),
        cohort=cohort,
        version="0.1.0",
        declared="2026-03-05T13:00:00Z",
        ended="2026-03-05T13:30:00Z",
    )


def answer(panel: str, lrs: Sequence[float] = planted.LRS, **changed: Any) -> Coupling:
    """What an analysis of the planted valley of slope -1 says."""
    rows = [RowFit(lr, 5e-3 / lr, 3e-3 / lr, 8e-3 / lr, 0.65, True) for lr in lrs[1:]]
    bound = RowFit(lrs[0], 20.0 / lrs[0], loss=0.7, reason="on the grid's edge", side=">")
    slope = Finding(
        name="slope", estimate=-1.0, low=-1.1, high=-0.9, n=len(rows), method="planted", caveats=("a caveat",)
    )
    fields: dict[str, Any] = {
        "panel": panel,
        "slope": slope,
        "rows": (bound, *rows),
        "label": "only lr·wd matters",
        "verdict": "The data are consistent with “only lr·wd matters” and exclude the others.",
        "undetermined": False,
        "diverged": 0,
        "edge": (Edge("wd", "above", 1, "lr·wd", 0.32),),
        "best": None,
        "expect": Expected(-1.0, 0.3),
    }
    return Coupling(**{**fields, **changed})


def source(*names: str, outcome: str = "mixed", answers: bool = True, **how: Any) -> Source:
    """A report's source: a block a name; `outcome` is mixed, diverged, failed or none."""
    study_names = {key: how.pop(key) for key in ("name", "question") if key in how}
    blocks = [planted.block(name, Expectation(-1.0, 0.3), **how) for name in names or ("plain",)]
    rows = [changed(row, outcome) for block in blocks for row in planted.rows(block, surface)]
    study = declared(planted.study(*blocks, **study_names))
    found = [answer(block.name, [float(v) for v in block.axes[0].values]) for block in blocks] if answers else []
    return Source(StudyView(study=study, rows=rows, answers=found, series=series_of), trained(rows))


def seen(made: Source, **changed: Any) -> Source:
    """The source with another view."""
    return replace(made, view=replace(made.view, **changed))


def surface(lr: float, wd: float, seed: int) -> float | None:
    """The valley of slope -1; seed 2 and then all diverge where lr·wd is large, and the largest rate guesses."""
    if lr * wd > (0.25 if seed < 2 else 0.05):
        return None
    return 2.3 if lr == 8.0 and wd == 0 else planted.valley_of(-1)(lr, wd, seed)


def changed(row: Row, outcome: str) -> Row:
    """The row with what its outcome makes of it, and an id that is the same in every process."""
    named = hashlib.sha256(repr((row.block, sorted(row.axes.items()))).encode()).hexdigest()
    row = replace(row, trial_id=named)
    if outcome == "mixed":
        return row
    if outcome == "none":
        return planted.untrained(row)
    failed = outcome == "failed"
    ended = Outcome.FAILED if failed else Outcome.DIVERGED
    return replace(
        row, outcome=ended, diverged_step=None if failed else 7, metrics={}, error="boom" if failed else None
    )


def finding(estimate: float | None, *, side: Literal["", "<", ">"] = "", spread: float = 0.1) -> Finding:
    ends: dict[str, Any] = {} if estimate is None else {"low": estimate * (1 - spread), "high": estimate * (1 + spread)}
    return Finding(name="planted", estimate=estimate, n=3, counted="seeds", method="planted", side=side, **ends)


def warmup_source() -> Source:
    """A grid of rate and warmup: longer warmup lets larger rates train."""
    rates, lengths, seeds = [2.0**k for k in range(-4, 3)], [0, 2, 8, 32], [0, 1]
    axes = (Axis(planted.LR, tuple(rates), ""), Axis("schedule.warmup", tuple(lengths), ""), Axis("seed", (0, 1), ""))
    rows = [
        changed(
            planted.row(
                "warm",
                {planted.LR: rate, "schedule.warmup": length, "seed": seed},
                None if rate > 1 + length / 4 else 1 / (1 + rate) + 0.01 * seed,
            ),
            "mixed",
        )
        for rate in rates
        for length in lengths
        for seed in seeds
    ]
    levels = [
        WarmupLevel(
            warmup=float(length),
            spike_free=finding(0.5 + length / 8, side="" if length else "<"),
            trainable=finding(1 + length / 4, side=">" if length == 32 else ""),
            best=finding(0.4),
            sensitivity=finding(0.2),
        )
        for length in lengths
    ]
    needs = [WarmupNeed(lr=rate, spike_free=finding(4 * rate), sufficient=finding(None)) for rate in rates]
    answer = Warmup(
        panel="warm",
        levels=tuple(levels),
        needs=tuple(needs),
        label="warmup buys rate",
        verdict="With 32 steps of warmup the largest spike-free rate is 9 times larger.",
        undetermined=False,
        diverged=8,
        best=None,
    )
    study = declared(planted.study(Block("warm", axes), analyses=(), vars=()))
    return Source(StudyView(study=study, rows=rows, answers=[answer], series=series_of), trained(rows))


def sensitivity_source() -> Source:
    """Two blocks of one axis, and one answer about both."""
    made = source("with warmup", "without", answers=False, products=[0.005])
    curves = [
        Curve(name=name, sensitivity=finding(value), best=None) for name, value in (("with", 0.1), ("without", 0.4))
    ]
    answer = Sensitivity(
        panel=made.view.study.name,
        curves=tuple(curves),
        reference=0.6,
        label="warmup makes the rate matter less",
        verdict="With warmup a wrong rate costs 0.1, without 0.4.",
        undetermined=False,
        diverged=0,
        best=None,
    )
    return seen(made, study=replace(made.view.study, analyses=()), answers=[answer])
