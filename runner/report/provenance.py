"""The foot of the page: the table of trials, and the facts to check it all by. The script fills the table."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.runner.facts.record import CohortRecord
from thalweg.runner.facts.replayed import Audit
from thalweg.runner.report.markup import Markup, join, tag, text
from thalweg.runner.report.source import Source
from thalweg.runner.show.inert import clean_lines
from thalweg.runner.show.numbers import count, duration

BATCHES = {"shared": "shared by all trials of a seed", "per_lane": "drawn for each trial by itself"}


def draw_trials(source: Source) -> Markup:
    """Return the frame of the table of trials, which the script fills."""
    rows = [row for row in source.view.rows if not row.outside]
    tests = {metric for row in rows for metric in row.metrics if metric.startswith("test/")}
    note = " Test metrics are left out: they never choose." if tests else ""
    search = tag(
        "input",
        type="search",
        id="search",
        placeholder="e.g. diverged, val/loss<0.5, or part of an id",
        autocomplete="off",
    )
    controls = tag(
        "div",
        tag("label", "Filter ", search),
        tag("span", id="shown", role="status", aria_live="polite"),
        class_="controls",
    )
    return tag(
        "section",
        tag("h2", "Trials", id="trials"),
        tag(
            "p",
            f"{count(len(rows), 'trial')}. The best come first; click a heading to sort by it.{note}",
            class_="note",
        ),
        controls,
        tag(
            "div",
            tag("table", id="table", class_="trials"),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_labelledby="trials",
        ),
        tag("button", "Show more", id="more", type="button", hidden=True),
        tag("noscript", tag("p", "The table needs JavaScript; thalweg ls prints it.")),
        class_="long" if len(rows) > 60 else "short",
        aria_labelledby="trials",
    )


def draw_facts(source: Source) -> Markup:
    """Return the environment, the commands to reproduce, and the declaration."""
    commands, document = commands_of(source), source.view.study.document
    return tag(
        "section",
        tag("h2", "Reproduce", id="reproduce"),
        tag("pre", tag("code", Markup("\n".join(map(text, commands)))), tabindex="0"),
        tag("h2", "Environment", id="environment"),
        tag("dl", *(join(tag("dt", what), tag("dd", value)) for what, value in environment(source))),
        tag("h2", "Declaration", id="declaration"),
        tag("details", tag("summary", "The study as declared, every value resolved"), _yaml(document)),
        tag("details", tag("summary", "The configuration that all trials share"), _yaml(shared(source))),
        class_="facts",
    )


def commands_of(source: Source) -> list[str]:
    """Return every command that added trials to the study, in order, and those that show it again."""
    name = source.view.study.name
    named = shlex.quote(name)
    version = next((one.versions["thalweg"] for one in _cohorts(source) if "thalweg" in one.versions), None)
    typed = [(shlex.join(["thalweg", one.verb, *(one.words or [name])]), one.trials) for one in source.commands]
    lines = [f"{line}   # {count(trials, 'trial')}" for line, trials in typed]
    lines[:1] = [f"{line}, thalweg {version}" for line in lines[:1] if version] or lines[:1]
    lines.append(f"thalweg report {named}")
    first = next((row.trial_id[:8] for row in source.view.rows if row.has_ended), None)
    return [*lines, f"thalweg best {named}", *([f"thalweg show {first}   # one trial, by its id"] if first else [])]


def environment(source: Source) -> list[tuple[str, str]]:
    """Return what trained the trials, as names and values; counts where they differ."""
    trained, cohorts = source.trained, _cohorts(source)
    if not trained:
        return [("trained", "nothing yet")]
    versions = Counter((package, version) for one in cohorts for package, version in one.versions.items())
    packages = dict.fromkeys(package for package, _ in sorted(versions))
    facts = [
        (package, _tally(Counter({v: n for (p, v), n in versions.items() if p == package}), len(trained)))
        for package in packages
    ]
    ended = sorted(one.ended for one in trained if one.ended)
    when = f"{_minute(ended[0])} to {_minute(ended[-1])} UTC" if ended else "not known"
    return [
        *facts,
        ("device", _tally(Counter(one.device for one in cohorts), len(trained))),
        ("executor", _tally(Counter(one.executor for one in cohorts), len(trained))),
        ("batches", _tally(Counter(BATCHES[one.layout] for one in cohorts), len(trained))),
        ("trained", f"{count(len(trained), 'trial')}, {when}"),
        ("time in training", f"{duration(sum(one.seconds or 0.0 for one in trained))}, over all trials"),
        ("declared", f"{_minute(source.view.study.declared)} UTC"),
        *[("audited", _audited(audit)) for audit in source.audits[:1]],
    ]


def _audited(audit: Audit) -> str:
    by = f"torch {audit.versions['torch']}, " if "torch" in audit.versions else ""
    return f"{audit.sentence} ({by}seed {audit.seed}, {_minute(audit.when)} UTC)"


def _cohorts(source: Source) -> list[CohortRecord]:
    """What each trial was trained in, trial by trial."""
    return [one.cohort for one in source.trained if one.cohort]


def _tally(counts: Counter[str], total: int) -> str:
    if len(counts) == 1 and counts.total() == total:
        return next(iter(counts))
    return ", ".join(f"{value} ({number:,} trials)" for value, number in counts.most_common())


def _minute(when: str) -> str:
    return when.replace("T", " ")[:16]


def shared(source: Source) -> dict[str, Any]:
    """Return the part of the configuration that is equal in every trial."""
    configs = [row.config for row in source.view.rows if not row.outside]
    return _common(configs) if configs else {}


def _common(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, rest = configs[0], configs[1:]
    kept: dict[str, Any] = {}
    for key, value in first.items():
        beside = {id(other[key]): other[key] for other in rest if key in other}.values()  # read, most are one object
        if isinstance(value, Mapping) and all(isinstance(other.get(key), Mapping) for other in rest):
            inner = _common([value, *beside])
            kept |= {key: inner} if inner else {}
        elif all(key in other for other in rest) and all(other == value for other in beside):
            kept[key] = value
    return kept


def _yaml(content: Mapping[str, Any]) -> Markup:
    import yaml  # type: ignore[import-untyped]

    written = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    return tag(
        "pre", tag("code", Markup("\n".join(text(line) for line in clean_lines(written).splitlines()))), tabindex="0"
    )
