"""What differs between two trials, or two studies, as lines of a table: kind, name, a, b. Pure.

Metrics of the test split are left out: to compare by them would be to choose by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.facts.coordinates import coordinate
from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.facts.row import Row
from thalweg.runner.facts.tidy import Columns
from thalweg.runner.show.numbers import count

Line = tuple[str, str, Any, Any]
MISSING = object()
VARIES = "varies"
LISTED = 12
"""Values of an axis that are listed; more are counted."""


def table(lines: Sequence[Line]) -> Columns:
    """The lines as a table."""
    return {name: [line[place] for line in lines] for place, name in enumerate(("kind", "name", "a", "b"))}


def of_trials(a: TrialRecord, b: TrialRecord, series: tuple[Mapping[str, Series], Mapping[str, Series]]) -> list[Line]:
    """What differs of two trials: configuration, how they were trained, outcome, and where their losses part."""
    from thalweg.runner.facts.parting import first_difference

    ways = [{} if each.cohort is None else _way(each) for each in (a, b)]
    lines = [
        *_differing("configuration", flat(a.config), flat(b.config)),
        *_differing("training", ways[0], ways[1]),
        *_differing("outcome", _ending(a), _ending(b)),
        *_differing("metric", _shown(a.metrics), _shown(b.metrics)),
    ]
    parted = first_difference(*series)
    return (
        [*lines, ("losses part", f"{parted.quantity} at step {parted.step}", parted.then, parted.now)]
        if parted
        else lines
    )


def _way(record: TrialRecord) -> dict[str, Any]:
    assert record.cohort
    return {key: getattr(record.cohort, key) for key in ("executor", "layout", "device")} | dict(record.cohort.versions)


def _ending(record: TrialRecord) -> dict[str, Any]:
    return {"outcome": record.outcome and record.outcome.value, "diverged_step": record.diverged_step}


def _shown(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in sorted(metrics.items()) if not name.startswith("test/")}


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A configuration as dotted keys; lists as text."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = str(value) if isinstance(value, list | tuple) else value
    return found


def _differing(kind: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Line]:
    """The keys whose values differ; one that a side lacks is None there."""
    keys = dict.fromkeys([*a, *b])
    return [(kind, key, a.get(key), b.get(key)) for key in keys if a.get(key, MISSING) != b.get(key, MISSING)]


def of_studies(a: Sequence[Row], b: Sequence[Row], metric: str) -> list[Line]:
    """What differs of two studies: trials, what all share, values of axes, outcomes, the metric at equal places."""
    ids = [{row.trial_id for row in rows} for rows in (a, b)]
    common = len(ids[0] & ids[1])
    return [
        ("trials", "in both", common, common),
        ("trials", "in one alone", len(ids[0]) - common, len(ids[1]) - common),
        *_differing("configuration", _shared(a), _shared(b)),
        *_axes(a, b),
        *_differing("outcome", _outcomes(a), _outcomes(b)),
        *_metrics(a, b, metric),
    ]


def _shared(rows: Sequence[Row]) -> dict[str, Any]:
    """Each key's value, where it is the same in every row; else that it varies."""
    shared: dict[str, Any] = {}
    for place, row in enumerate(rows):
        found = flat(row.config)
        if place and found != shared:
            keys = dict.fromkeys([*shared, *found])
            shared = {k: shared[k] if shared.get(k, MISSING) == found.get(k, MISSING) else VARIES for k in keys}
        shared = shared or found
    return shared


def _axes(a: Sequence[Row], b: Sequence[Row]) -> list[Line]:
    """For each axis of either the values that one side alone has."""
    lines: list[Line] = []
    for key in dict.fromkeys(key for row in (*a, *b) for key in row.axes):
        first, second = _values(a, key), _values(b, key)
        if first.keys() != second.keys():
            lines.append(("axis", key, _text(first, second), _text(second, first)))
    return lines


def _values(rows: Iterable[Row], key: str) -> dict[Scalar, None]:
    """The values of a key, which may be an axis there or not."""
    return dict.fromkeys(row.axes[key] if key in row.axes else coordinate(row.config, key) for row in rows)


def _text(here: Mapping[Scalar, None], there: Mapping[Scalar, None]) -> str | None:
    """The values that are here alone."""
    alone = [str(value) for value in here if value not in there and value is not None]
    return f"{len(alone)} values" if len(alone) > LISTED else ", ".join(alone) or None


def _outcomes(rows: Sequence[Row]) -> dict[str, int]:
    return dict(Counter("untrained" if row.outcome is None else row.outcome.value for row in rows))


def _metrics(a: Sequence[Row], b: Sequence[Row], metric: str) -> list[Line]:
    """The mean of a metric over places where each study has one trial, with a value; equal values are left out."""
    first, second = _placed(a, metric), _placed(b, metric)
    pairs = [(first[place], second[place]) for place in first if place in second]
    different = [(x, y) for x, y in pairs if x != y]
    if not different:
        return []
    mean_a, mean_b = (sum(pair[side] for pair in different) / len(different) for side in (0, 1))
    lower_a, lower_b = sum(x < y for x, y in different), sum(y < x for x, y in different)
    where = f"at {count(len(different), 'equal place')}"
    return [
        ("metric", f"mean {metric} {where}", mean_a, mean_b),
        ("metric", f"lower {metric} {where}", lower_a, lower_b),
    ]


def _placed(rows: Sequence[Row], metric: str) -> dict[frozenset[tuple[str, Scalar]], float]:
    """Place on the axes -> value, of places that one trial alone has."""
    places = Counter(frozenset(row.axes.items()) for row in rows)
    return {
        place: row.metrics[metric]
        for row in rows
        if metric in row.metrics and places[place := frozenset(row.axes.items())] == 1
    }
