"""What the run of a whole study holds: its trials as a table, what was found, the report. Pure: no wandb, no files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from thalweg.runner.base.canonical import tagged_hash
from thalweg.runner.base.version import __version__
from thalweg.runner.tracker.history import LABEL_LIMIT, LONG_AGO, Media, RunContent, label, run_id

ANALYSIS = "analysis"
ENDED = ("finished", "diverged", "failed")
"""The job type and the tag by which the run of a study is told from those of its trials."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One number of an answer, and what it was found in."""

    kind: str
    panel: str
    number: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    method: str
    caveats: tuple[str, ...]
    verdict: str
    expected: float | None
    as_expected: bool | None


@dataclass(frozen=True, kw_only=True)
class ExportAnalysis:
    """A study by now. trials: a column a name, a line a trial. found: what they say. report: makes its page, as HTML.

    All that is asked for only when the run is written follows from the trials.
    """

    study: str
    question: str
    metric: str
    command: str
    trials: Mapping[str, Sequence[Any]]
    found: Callable[[], tuple[Found, ...]]
    report: Callable[[], bytes]
    ended: str | None


def analysis_id(study: str) -> str:
    """64 hex digits that stand for a study, as a trial's id does for a trial."""
    return tagged_hash("thalweg.analysis.v1", study)


def analysis_content(analysis: ExportAnalysis) -> RunContent:
    """Lay out the run of a study, without its tables and report."""
    ended = datetime.fromisoformat(analysis.ended).astimezone(UTC) if analysis.ended else LONG_AGO
    return RunContent(
        run_id=run_id(analysis_id(analysis.study)),
        name=label(f"{analysis.study}: answer", LABEL_LIMIT),
        group=label(analysis.study, LABEL_LIMIT),
        job_type=ANALYSIS,
        tags=(ANALYSIS,),
        notes=analysis.command,
        config={"study": {"name": analysis.study, "question": analysis.question, "metric": analysis.metric}},
        summary={"trials/done": sum(each in ENDED for each in analysis.trials["outcome"])},
        started=ended,
        seconds=0.0,
        exit_code=0,
    )


def analysis_answer(analysis: ExportAnalysis) -> tuple[dict[str, Any], list[Media]]:
    """Return what is found, for the summary; and the tables and the report."""
    found = analysis.found()
    columns = ("kind", "panel", "number", "estimate", "low", "high", "unit", "n", "verdict", "expected", "as_expected")
    lines = [[*(getattr(each, name) for name in columns), each.method, "; ".join(each.caveats)] for each in found]
    trials = [list(line) for line in zip(*analysis.trials.values(), strict=True)]
    return _numbers(found), [
        _table("trials", list(analysis.trials), trials),
        _table("findings", [*columns, "method", "caveats"], lines),
        _media("report", "html", analysis.report(), {}),
    ]


def analysis_results(analysis: ExportAnalysis) -> str:
    """A hash of the table of trials and of the version that reads it, which all else follows from."""
    held = {name: list(column) for name, column in analysis.trials.items()}
    return tagged_hash("thalweg.analysis.trials.v1", {"version": __version__, "trials": held})


def _numbers(found: Sequence[Found]) -> dict[str, Any]:
    """Each number under kind/panel/name, with its interval, the verdict and what was expected beside it."""
    said: dict[str, Any] = {}
    for each in found:
        above = f"{each.kind}/{each.panel}".replace(".", "")
        name = f"{above}/{each.number}".replace(".", "")
        said |= {name: each.estimate, f"{name}/low": each.low, f"{name}/high": each.high}
        said |= {f"{above}/verdict": each.verdict, f"{above}/expected": each.expected}
        said |= {f"{above}/as_expected": each.as_expected}
    return {key: value for key, value in said.items() if value is not None}


def _table(key: str, columns: list[str], lines: list[list[Any]]) -> Media:
    content = json.dumps({"columns": columns, "data": lines}).encode()
    about = {"ncols": len(columns), "nrows": len(lines), "log_mode": "IMMUTABLE"}
    return _media(key, "table", content, about)


def _media(key: str, kind: str, content: bytes, about: Mapping[str, Any]) -> Media:
    digest = hashlib.sha256(content).hexdigest()
    ending = "table.json" if kind == "table" else kind
    path = f"media/{kind}/{key}_0_{digest[:20]}.{ending}"
    shown = {"_type": f"{kind}-file", "path": path, "sha256": digest, "size": len(content), **about}
    return Media(key, path, content, shown)
