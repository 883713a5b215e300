"""The trials that `ls` lists: chosen by conditions and by when they ended, a line each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from thalweg.runner.base.errors import UsageError
from thalweg.runner.cli import as_json
from thalweg.runner.cli.options import Output, plain_name
from thalweg.runner.cli.tables import write

if TYPE_CHECKING:
    from thalweg.runner.facts.chosen import Placed
    from thalweg.runner.facts.tidy import Columns
    from thalweg.runner.store import Store

NAME = re.compile(r"(study=)?[\w.-]+")
"""What is a study's name; anything else is a condition."""
OVERRIDE = re.compile(r"[\w./]+=[^=]")


@dataclass(frozen=True)
class Asked:
    """Of which study, or of all; which conditions all hold; ended since when, judged by what, as typed."""

    study: str | None
    conditions: tuple[str, ...]
    since: str | None
    metric: str | None

    @classmethod
    def of(cls, words: Sequence[str], study: str | None, since: str | None, metric: str | None) -> Self:
        """Tell a study's name from conditions. Raises UsageError for two names."""
        names = [plain_name(word) for word in words if NAME.fullmatch(word)]
        names = list(dict.fromkeys([*names, *([study] if study else [])]))
        if len(names) > 1:
            raise UsageError(f"two studies are named, {names[0]!r} and {names[1]!r}", "list one, or all without a name")
        conditions = tuple(word for word in words if not NAME.fullmatch(word))
        for override in filter(OVERRIDE.match, conditions):
            key, _, value = override.partition("=")
            raise UsageError(
                f"{override} is an override; thalweg ls takes a study's name or conditions", f"ls '{key} == {value}'"
            )
        return cls(names[0] if names else None, conditions, since, metric)


def list_trials(opened: Store | None, asked: Asked, output: Output) -> None:
    """Print the trials that are asked for, those outside their study left out. Nothing of a store that is not there."""
    from thalweg.runner import page

    found = page.select(opened, asked.study, *asked.conditions, since=_since(asked.since)) if opened else []
    columns = table_of(found)
    trials = [{"study": study, **as_json.row(row)} for study, row in found]
    judged = _judged(opened, asked) if opened else set()
    write(columns, output, {"study": asked.study, "trials": trials}, default=_telling(columns, judged))


def table_of(found: Sequence[Placed], test: bool = False) -> Columns:
    """Trials as a table; with the name of their study, where they are of several."""
    from thalweg.runner.facts import tidy

    columns = tidy.trials([row for _, row in found], test)
    ended = {"ended": [row.ended for _, row in found]}
    return {"trial": columns.pop("trial"), "study": [study for study, _ in found], **columns, **ended}


def _since(text: str | None) -> datetime | None:
    from thalweg.runner.facts.chosen import since

    return since(text, datetime.now(UTC)) if text else None


def _judged(opened: Store, asked: Asked) -> set[str]:
    """The metrics that trials are judged by: those of their studies, or the one that is asked for in their place."""
    studies = [each for each in opened.studies() if asked.study in (None, each.name)]
    if asked.metric is None:
        return {each.metric for each in studies}
    from thalweg.runner.view import judged

    held = [(each.name, opened.study_rows(each.name)) for each in studies]
    name = asked.metric.partition(":")[0]
    having = [(of, rows) for of, rows in held if any(name in row.metrics for row in rows)] or held
    return {judged(opened.study(of), rows, asked.metric).metric for of, rows in having}


def _telling(columns: Columns, judged: set[str]) -> list[str]:
    """The columns of the text: what varies, the outcome, and what trials are judged by."""
    first = ["trial", *(name for name in ("study", "block") if len(set(columns[name])) > 1)]
    kept = {"outcome"} | judged
    own = {"trial", "study", "block", "diverged_step", "ended"}
    measured = {name for name in columns if "/" in name}
    axes = [name for name in columns if name not in own | measured | kept and len(set(columns[name])) > 1]
    return [*first, *axes, "outcome", *(name for name in columns if name in judged)]
