"""Writes docs/config.md from the schemas and conf/: every group, option, key, type, range and default.

    scripts/reference            # rewrites docs/config.md

A test makes it again and compares, so the page cannot go stale.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from thalweg.data.schema import DATASETS
from thalweg.models.schema import MODELS
from thalweg.optim.schema import (
    OPTIMIZERS,
    SCHEDULES,
    DynamicScalingConfig,
    EMAConfig,
    NoAverageConfig,
    NoScalingConfig,
    ParameterGroup,
)
from thalweg.runner.study.settings import LAUNCHERS, EngineSettings, Evaluation, Settings, TrackerSettings
from thalweg.runner.study.start import InitConfig
from thalweg.runner.study.target import DatasetTarget, ModelTarget
from thalweg.runner.study.trial import Budget, Divergence, TrialConfig

ROOT = Path(__file__).resolve().parents[1]
GROUPS: dict[str, dict[str, type]] = {
    "model": {**MODELS, "target": ModelTarget},
    "dataset": {**DATASETS, "target": DatasetTarget},
    "optimizer": dict(OPTIMIZERS),
    "schedule": dict(SCHEDULES),
    "average": {"none": NoAverageConfig, "ema": EMAConfig},
    "scaling": {"none": NoScalingConfig, "dynamic": DynamicScalingConfig},
    "engine": dict.fromkeys(
        ("auto", "loop", "vmap", "traced", "compiled", "graphed", "graphed_compiled"), EngineSettings
    ),
    "launcher": dict(LAUNCHERS),
    "tracker": dict.fromkeys(("auto", "wandb", "tensorboard", "none"), TrackerSettings),
}
SETTINGS = ("engine", "launcher", "tracker")
INTRODUCTION = """# Configuration

Made by `scripts/reference` from the schemas and `conf/`; a test keeps it fresh.

A configuration is one option of each group (`optimizer=adamw`) and values (`optimizer.lr=0.1`). Everything in the
first part determines a trial's weights or their evaluation and is part of its id; everything in the second part
says how trials are run and is not. *Per trial* keys may differ between trials that train as one program; trials
that differ in any other key train in programs of their own. The short names `lr`, `wd`, `bs` and `epochs` are
understood in suggestions, not as keys.

Values that are swept may be comma lists and [ranges](study.md#ranges). Durations (`budget.steps`,
`schedule.warmup`, `schedule.cooldown`) may be steps (`600`), epochs (`20ep`) or, in a schedule, a share of the run
(`5%`). With `dataset.train_size=null` an epoch is all that trains of the files that are there; of data from code of
yours nobody knows that before it runs, so there the number is to be written.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION, "## What a trial is\n"]
    parts += [group_section(group) for group in GROUPS if group not in SETTINGS]
    parts += [parameter_groups_section(), top_level_section(), "## How trials are run\n"]
    parts += [group_section(group) for group in GROUPS if group in SETTINGS]
    notes = comments(ROOT / "conf/config.yaml")
    keep = row("keep", property_of(Settings, "keep"), notes, False)
    parts.append("### evaluation, keep\n\n" + key_table("evaluation", Evaluation, notes) + keep)
    return "\n".join(parts)


def group_section(group: str) -> str:
    """A group's heading and its options; options with one schema and the same keys share a table."""
    lines = [f"### {group}\n"]
    described = set()
    for option, schema in GROUPS[group].items():
        path = ROOT / "conf" / group / f"{option}.yaml"
        lines.append(f"**`{group}={option}`** {first_comment(path)}\n")
        if schema not in described:
            lines.append(key_table(group, schema, comments(path)))
        described.add(schema)
    return "\n".join(lines)


def top_level_section() -> str:
    """The keys outside all groups."""
    path = ROOT / "conf/config.yaml"
    notes = comments(path)
    rows = [row("precision", property_of(TrialConfig, "precision"), notes, False)]
    rows.append(row("seed", property_of(TrialConfig, "seed"), notes, True))
    tables = [key_rows("budget", Budget, notes), key_rows("divergence", Divergence, notes)]
    tables += [key_rows("init", InitConfig, notes), rows]
    return (
        "### budget, divergence, init, precision, seed\n\n" + HEADER + "".join(line for rows in tables for line in rows)
    )


def parameter_groups_section() -> str:
    """The keys that each parameter group has, whatever its name."""
    defaults = {field.name: field.default for field in fields(ParameterGroup)}
    notes = {
        name: ("null" if default is None else str(default).lower() if default is not MISSING else "???", note)
        for (name, default), note in zip(defaults.items(), GROUP_NOTES, strict=True)
    }
    return f"### groups\n\n{GROUPS_SAID}\n\n{key_table('groups.NAME', ParameterGroup, notes)}"


GROUPS_SAID = """Parameter groups, under names of your own: `groups: {head: {match: 'head.*', lr: 10}}`, or
`groups.head.match='head.*' groups.head.lr=1,3,10`. [What they mean](study.md#learning-rates-of-their-own-groups)."""
GROUP_NOTES = (
    "names of parameters: `*` and `?` as in a shell, several with a bar between",
    "times the scheduled learning rate",
    "times the weight decay; 0 is none",
    "they stay as they are: no step, no decay, no gradient",
    "with `optimizer=muon`: their matrices take AdamW's step, as vectors do",
    "one of their own, by name or as a section: all keys of `optimizer` follow, as `groups.NAME.optimizer.lr`",
)
HEADER = "| key | value | default | per trial | |\n|---|---|---|---|---|\n"


def key_table(group: str, schema: type, notes: dict[str, tuple[str, str]]) -> str:
    """One row a key of a schema."""
    return HEADER + "".join(key_rows(group, schema, notes))


def key_rows(group: str, schema: type, notes: dict[str, tuple[str, str]]) -> list[str]:
    whole_group = next((f.metadata.get("per_trial") for f in fields(TrialConfig) if f.name == group), False)
    return [
        row(
            f"{group}.{field.name}",
            property_of(schema, field.name),
            notes,
            bool(whole_group or field.metadata.get("per_trial")),
        )
        for field in fields(schema)
        if field.name != "name" and not field.metadata.get("spread")
    ]


def row(key: str, kind: dict[str, Any], notes: dict[str, tuple[str, str]], per_trial: bool) -> str:
    default, note = notes.get(key.rpartition(".")[2], ("", ""))
    return f"| `{key}` | {in_words(kind)} | `{default}` | {'yes' if per_trial else ''} | {note} |\n"


def property_of(schema: type, name: str) -> dict[str, Any]:
    """The JSON schema of one field."""
    whole = TypeAdapter(schema).json_schema()
    found: dict[str, Any] = whole["properties"][name]
    return found


def in_words(kind: dict[str, Any]) -> str:
    """A JSON schema's type and range in words."""
    if "anyOf" in kind:
        return " or ".join(in_words(each) for each in kind["anyOf"])
    if "discriminator" in kind:
        return ", ".join(f"`{name}`" for name in kind["discriminator"]["mapping"])
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if "const" in kind:
        return f"`{kind['const']}`"
    if kind.get("type") == "array":
        return f"list of: {in_words(kind['items'])}"
    bounds = [
        (">", "exclusiveMinimum"), ("≥", "minimum"), ("<", "exclusiveMaximum"), ("≤", "maximum"),
    ]  # fmt: skip
    limits = [f"{sign} {bounded(kind[name])}" for sign, name in bounds if name in kind]
    return " ".join([str(kind["type"]), ", ".join(limits)]).strip()


def bounded(value: float) -> str:
    return "2^63" if value == 2**63 else f"{value:g}"


def first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def comments(path: Path) -> dict[str, tuple[str, str]]:
    """Key -> (default as written, the comment beside it) of a YAML file, by the key's last name."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\s*(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?$", line)
        if match and match[2]:
            found[match[1]] = (match[2], (match[3] or "").replace("|", "\\|"))
    return found


if __name__ == "__main__":
    (ROOT / "docs" / "config.md").write_text(page(), encoding="utf-8")
