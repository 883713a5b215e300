"""What the run of a whole study holds: its trials as a table, what was found, the report. Pure: no wandb, no files."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from thalweg.runner.base.canonical import tagged_hash
from thalweg.runner.base.version import __version__
from thalweg.runner.tracker.history import LABEL_LIMIT, LONG_AGO, Media, RunContent, label, run_id

ANALYSIS = "analysis"
ENDED = ("finished", "diverged", "failed")
FILED = {"table": ("table", "table.json"), "html": ("html", "html"), "image": ("images", "png")}
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
class Answered:
    """What a study's trials say: its findings, its page as HTML, and its pictures as PNG, by their names."""

    found: tuple[Found, ...]
    report: bytes
    pictures: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class ExportAnalysis:
    """A study by now. trials: a column a name, a line a trial. answered: what they say; called only when it is written.

    asked: what stands for its questions, and for what was expected.
    """

    study: str
    question: str
    metric: str
    asked: str
    command: str
    trials: Mapping[str, Sequence[Any]]
    answered: Callable[[], Answered]
    ended: str | None


def analysis_id(study: str) -> str:
    """64 hex digits that stand for a study, as a trial's id does for a trial."""
    return tagged_hash("thalweg.analysis.v1", study)


def analysis_content(analysis: ExportAnalysis) -> RunContent:
    """Lay out the run of a study, without its tables, pictures and report."""
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
    """Return what is found, for the summary; and the tables, the pictures and the report."""
    answered = analysis.answered()
    found = answered.found
    columns = ("kind", "panel", "number", "estimate", "low", "high", "unit", "n", "verdict", "expected", "as_expected")
    lines = [[*(getattr(each, name) for name in columns), each.method, "; ".join(each.caveats)] for each in found]
    trials = [list(line) for line in zip(*analysis.trials.values(), strict=True)]
    return _numbers(found), [
        _table("trials", list(analysis.trials), trials),
        _table("findings", [*columns, "method", "caveats"], lines),
        *(_picture(name, content) for name, content in answered.pictures.items()),
        _media("report", "html", answered.report, {}),
    ]


def analysis_results(analysis: ExportAnalysis) -> str:
    """A hash of the table of trials, of what they are asked and of the version that reads it: all else follows."""
    held = {name: list(column) for name, column in analysis.trials.items()}
    return tagged_hash("thalweg.analysis.trials.v2", {"version": __version__, "asked": analysis.asked, "trials": held})


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


def _picture(name: str, content: bytes) -> Media:
    """A PNG file. Its size stands in its head; a dot in its name would be a step into a section."""
    width, height = struct.unpack(">II", content[16:24])
    return _media(name.replace(".", ""), "image", content, {"format": "png", "width": width, "height": height})


def _media(key: str, kind: str, content: bytes, about: Mapping[str, Any]) -> Media:
    """A file as W&B refers to it. Its name is made plain: panels have names that a user gave."""
    digest = hashlib.sha256(content).hexdigest()
    folder, ending = FILED[kind]
    path = f"media/{folder}/{re.sub(r'[^A-Za-z0-9_-]+', '_', key)[:60]}_0_{digest[:20]}.{ending}"
    shown = {"_type": f"{kind}-file", "path": path, "sha256": digest, "size": len(content), **about}
    return Media(key, path, content, shown)
