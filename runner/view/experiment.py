"""The experiment in one line: on what data, what was trained, how long, how often. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from thalweg.optim.duration import unit_of
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.show.inert import clean
from thalweg.runner.show.numbers import count, is_number, short

MOST = 3
"""So many different values are listed; more are counted."""
TITLES = {
    "mlp": "MLP",
    "mlp_scale_invariant": "scale-invariant MLP",
    "cnn": "CNN",
    "gpt": "GPT",
    "vit": "ViT",
    "resnet18": "ResNet-18",
}
Config = Mapping[str, Any]


def experiment(all_rows: Iterable[Row], replicate: str | None) -> str:
    """Return the data, the models, the length of training and the number of trials. Wrong labels are always said."""
    rows = [row for row in all_rows if not row.outside]
    if not rows:
        return ""
    configs = [row.config for row in rows]
    seeds = len({row.axes.get(replicate) for row in rows}) if replicate else 1
    parts = [
        _together(configs, _data, "dataset"),
        _together(configs, _model, "model"),
        _epochs(rows) or _numbers(configs, "budget.steps", "steps"),
        _numbers(configs, "budget.batch_size", "in a batch"),
        count(seeds, replicate or "replicate"),
        _trials(rows),
    ]
    return clean(" · ".join(part for part in parts if part))


def _together(configs: Sequence[Config], told: Callable[[Config], str], noun: str) -> str:
    different = {id(config.get(noun)): config for config in configs}.values()  # trials share sections, as they are read
    found = list(dict.fromkeys(filter(None, map(told, different))))
    return " or ".join(found) if len(found) <= MOST else count(len(found), noun)


def _numbers(configs: Sequence[Config], key: str, unit: str) -> str:
    values = sorted({value for config in configs if is_number(value := lookup(config, key))})
    if not values:
        return ""
    listed = ", ".join(f"{value:,}" for value in values) if len(values) <= MOST else f"{values[0]:,} to {values[-1]:,}"
    return f"{listed} {unit}"


def _epochs(rows: Sequence[Row]) -> str:
    """How long training is where its axis was given in epochs."""
    lengths = {value for row in rows if unit_of(value := str(row.axes.get("budget.steps"))) == "ep"}
    if not lengths or any(unit_of(str(row.axes.get("budget.steps"))) != "ep" for row in rows):
        return ""
    numbers = sorted((length.removesuffix("ep") for length in lengths), key=float)
    listed = ", ".join(numbers) if len(numbers) <= MOST else f"{numbers[0]} to {numbers[-1]}"
    return f"{listed} {'epoch' if numbers == ['1'] else 'epochs'}"


def _data(config: Config) -> str:
    """A dataset with its size and how many of its training labels are made wrong."""
    size, noise = lookup(config, "dataset.train_size"), lookup(config, "dataset.label_noise")
    known = [f"{count(size, 'training example')}"] if isinstance(size, int) else []
    wrong = [f"{short(100 * noise)}% of training labels wrong by design"] if is_number(noise) and noise > 0 else []
    name = _file(config) or _named(config, "dataset")
    return f"{name} ({', '.join(each)})" if (each := wrong + known) and name else name


def _file(config: Config) -> str:
    """The file or folder of the user's that the data are, by its last name."""
    path = lookup(config, "dataset.path") or lookup(config, "dataset.x")
    given = isinstance(path, str) and not lookup(config, "dataset._target_")
    return PurePath(path).name if given else ""


def _model(config: Config) -> str:
    name, widths = _named(config, "model"), lookup(config, "model.hidden") or lookup(config, "model.widths")
    shape = "-".join(map(str, widths)) if isinstance(widths, Sequence) and not isinstance(widths, str) else ""
    return f"{TITLES.get(name, name)} {shape}".strip()


def _named(config: Config, group: str) -> str:
    name = lookup(config, f"{group}.name") or lookup(config, f"{group}._target_") or ""
    return str(name).rpartition(".")[2]


def _trials(rows: Sequence[Row]) -> str:
    """Trials by their ids: one that is in two blocks was trained once."""
    diverged = {row.trial_id for row in rows if row.outcome is Outcome.DIVERGED}
    trials = count(len({row.trial_id for row in rows}), "trial")
    return f"{trials}, {len(diverged):,} diverged" if diverged else trials
