"""A sweep file of Weights & Biases as a study file: its grid as axes, its random draws as points that move together.

Knows neither wandb nor its server. What has no counterpart is named, in the study's comments too.
"""

from __future__ import annotations

import json
import math
import random
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.declare import Request, declare
from thalweg.runner.project.yaml import parse, text_of
from thalweg.runner.show.numbers import is_number
from thalweg.runner.study.keys import ALIASES, EPOCHS, is_setting, leaves, sections
from thalweg.runner.study.study import expand

SEED = 0
"""Of the draws. W&B's agent draws anew each time; here the same file always means the same trials."""
REPLICATE = "seed"
MOST_DRAWN = 10_000
DRAWN = (
    *("uniform", "log_uniform", "log_uniform_values", "inv_log_uniform", "inv_log_uniform_values"),
    *("normal", "log_normal"),
)
"""Distributions, each with q_ before it, too; beside them int_uniform and categorical."""
GROUPS = ("model", "optimizer", "dataset", "schedule")
OPTIONS = {"adam": "adam_l2", "Adam": "adam_l2", "AdamW": "adamw", "SGD": "sgd", "cosine": "warmup_cosine"}
"""What others call options -> ours. Adam's decay in torch is added to the gradient."""
METRICS = {"loss": "loss", "acc": "accuracy", "accuracy": "accuracy", "r2": "r2"}
FIELDS = ("value", "values", "probabilities", "distribution", "min", "max", "q", "mu", "sigma", "a", "b")
"""What says of a parameter what it may be; any other key in its place is part of a name with dots."""
CARRIED = ("method", "metric", "parameters", "run_cap", "name", "description")
NOT_HERE = {
    "early_terminate": "all trials train to their end; study.stop={rule: halving, rungs: [25%]} ends some early",
    "program": "choose model and dataset by options, or yours by _target_",
    "command": "thalweg sweep trains",
    "project": "say tracker.project=NAME",
    "entity": "say tracker.entity=NAME",
}

Scalar = bool | int | float | str | None
Draw = Callable[[random.Random], Scalar]


@dataclass
class Imported:
    """A study as it grows: constants, axes and draws by our keys; and what was not, or not literally, carried over."""

    constants: dict[str, Scalar] = field(default_factory=dict)
    axes: dict[str, list[Scalar]] = field(default_factory=dict)
    drawn: dict[str, Draw] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # our key -> theirs
    lacking: list[str] = field(default_factory=list)  # what varies there and has no key here


def study_of(file: Path) -> tuple[str, list[str]]:
    """Return the text of a study file, and what has no counterpart, a sentence each.

    Raises ConfigError for what is no sweep, for `method: bayes`, for a distribution that cannot be drawn here, and for
    what makes a study that `plan` would refuse.
    """
    sweep = _read(file)
    if not isinstance(sweep, Mapping) or not isinstance(sweep.get("parameters"), Mapping):
        raise ConfigError(f"{file} is not a sweep file of W&B: it has no parameters", "give the YAML of `wandb sweep`")
    method = sweep.get("method")
    if method == "bayes":
        raise ConfigError(
            f"{file} has method bayes, which a declared set cannot be",
            "write method: random with run_cap: 60; after that sweep, thalweg refine adds points where they tell most."
            " Or write a study with sample: {method: tpe, n: 60}, whose points follow results too",
        )
    if method not in ("grid", "random"):
        raise ConfigError(f"{file} has method {method!r}; expected grid or random")
    made = Imported()
    for name, parameter in _flat("", sweep["parameters"]):
        _take(made, name, parameter, method)
    made.said += [f"{key}: {NOT_HERE.get(key, 'not carried over')}" for key in sweep if key not in CARRIED]
    if made.lacking and not (made.axes or made.drawn):
        raise ConfigError(
            f"nothing that varies in {file} is a key of ours: {', '.join(made.lacking)}",
            "rename what has a counterpart, such as optimizer.lr; thalweg config lists the keys",
        )
    text = _text(made, sweep, file)
    _try_out(text, file)
    return text, made.said


def _try_out(text: str, file: Path) -> None:
    """Raise ConfigError where the study would be refused, as it will be by `plan`."""
    with tempfile.TemporaryDirectory(prefix="thalweg-import-") as folder:
        study = Path(folder) / "study" / "imported.yaml"
        study.parent.mkdir()
        study.write_text(text)
        try:
            expand(declare(Request(("imported",), folder)).study)
        except ConfigError as error:
            raise ConfigError(f"{file} makes no study: {error.message}", error.hint) from None


def _read(file: Path) -> Any:
    """The file's values. `!!float 1e-3`, which W&B's documentation advises, is what 1e-3 is here anyway."""
    return parse(re.sub(r"!!float\s+", "", text_of(file)), file)


def _flat(prefix: str, parameters: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Nested parameters, and those with dots in their names, by their dotted names."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, parameter in parameters.items():
        if not isinstance(parameter, Mapping):
            raise ConfigError(f"parameter {prefix}{name} is {parameter!r}; expected value, values or a distribution")
        own = {key: value for key, value in parameter.items() if key in FIELDS}
        within = {key: value for key, value in parameter.items() if key not in (*FIELDS, "parameters")}
        if isinstance(parameter.get("parameters"), Mapping):
            within |= parameter["parameters"]
        if own or not within:
            found.append((f"{prefix}{name}", own))
        found += _flat(f"{prefix}{name}.", within)
    return found


def _take(made: Imported, name: str, parameter: Mapping[str, Any], method: str) -> None:
    key = _key(name)
    if key is None:
        made.said.append(f"{name}: no key of ours; an argument of your own model is model.{name.rpartition('.')[2]}")
        made.lacking += [] if "value" in parameter or len(parameter.get("values") or "ab") == 1 else [name]
        return
    if key in made.names:
        raise ConfigError(f"parameters {made.names[key]} and {name} are both {key} here", "keep one of them")
    made.names[key] = name
    if key != name:
        made.said.append(f"{name} is {key}")
    values = parameter.get("values", [None])
    if not isinstance(values, list) or not values:
        raise ConfigError(f"parameter {name} has values {values!r}; expected a list of one or more")
    for value in (parameter["value"], *values) if "value" in parameter else values:
        if key in GROUPS and isinstance(value, str) and value in OPTIONS:
            made.said.append(f"{name} {value} is {OPTIONS[value]}")
    if key == REPLICATE and "value" not in parameter and "values" not in parameter:
        raise ConfigError(
            f"{name} is drawn; here every point is trained by each seed", f"write {name}: {{values: [0, 1]}}"
        )
    if "value" in parameter:
        made.constants[key] = _ours(name, key, parameter["value"])
    elif "values" in parameter and (method == "grid" or key == REPLICATE):
        _weigh(name, parameter)
        made.axes[key] = [_ours(name, key, value) for value in values]
    elif method == "grid":
        raise ConfigError(f"parameter {name} has no values, and a grid needs them", f"write {name}: {{values: [...]}}")
    else:
        draw = _drawing(name, parameter)
        made.drawn[key] = lambda source: _ours(name, key, draw(source))


def _key(name: str) -> str | None:
    """Our key for a parameter: the same, what people mean by it, or the one key that ends so."""
    if name in GROUPS or (name in leaves() and not is_setting(name)):
        return name
    last = name.rpartition(".")[2]
    if last in ALIASES:
        return ALIASES[last]
    ending = [key for key in leaves() if key.rpartition(".")[2] == last and not is_setting(key)]
    return ending[0] if len(ending) == 1 else None


def _ours(name: str, key: str, value: Any) -> Scalar:
    """A value as our key takes it. Epochs are no steps, and options have other names."""
    if name.rpartition(".")[2] in EPOCHS:
        return f"{value:g}ep" if isinstance(value, float) else f"{value}ep"
    if isinstance(value, list | dict):
        return json.dumps(value)
    if key not in GROUPS or not isinstance(value, str):
        return value if isinstance(value, bool | int | float | str | None) else str(value)
    known = sorted(filter(None, sections().get(key, {})))
    if OPTIONS.get(value, value) not in known:
        raise ConfigError(f"{key} {value!r} is none of ours", f"expected one of {', '.join(known)}")
    return OPTIONS.get(value, value)


def _drawing(name: str, parameter: Mapping[str, Any]) -> Draw:
    """How a parameter is drawn. Raises ConfigError for what cannot be drawn."""
    kind = parameter.get("distribution") or _implied(parameter)
    try:
        if kind in ("categorical", "categorical_w_probabilities"):
            values, weights = parameter["values"], _weigh(name, parameter)
            return lambda source: source.choices(values, weights)[0]
        if kind == "int_uniform":
            low, high = int(parameter["min"]), int(parameter["max"])
            return lambda source: source.randint(low, high)
        base, quantum = kind.removeprefix("q_"), float(parameter.get("q", 1)) if kind.startswith("q_") else None
        if base not in DRAWN or quantum == 0:
            raise ValueError
        draw = _continuous(base, parameter)
    except KeyError as missing:
        raise ConfigError(f"parameter {name} of distribution {kind} has no {missing.args[0]}") from None
    except (TypeError, ValueError):
        raise ConfigError(
            f"parameter {name} cannot be drawn from {dict(parameter)}",
            "expected a distribution of W&B's, and min below max, both above 0 where logarithms are drawn",
        ) from None
    if quantum is None:
        return lambda source: _rounded(draw(source))
    return lambda source: _rounded(round(draw(source) / quantum) * quantum)


def _weigh(name: str, parameter: Mapping[str, Any]) -> list[float] | None:
    """The probabilities of a parameter's values, if it has some. A grid takes all values, whatever they are."""
    weights = parameter.get("probabilities")
    if weights is None:
        return None
    numbers = [float(each) for each in weights if is_number(each) and each >= 0] if isinstance(weights, list) else []
    if len(numbers) != len(parameter["values"]) or not math.isclose(sum(numbers), 1, abs_tol=1e-6):
        raise ConfigError(f"parameter {name} has probabilities {weights!r}; expected one a value, their sum 1")
    return numbers


def _implied(parameter: Mapping[str, Any]) -> str:
    if "values" in parameter:
        return "categorical"
    if "mu" in parameter or "sigma" in parameter:
        return "normal"
    ends = (parameter.get("min"), parameter.get("max"))
    return "int_uniform" if all(isinstance(end, int) for end in ends) else "uniform"


def _continuous(kind: str, parameter: Mapping[str, Any]) -> Callable[[random.Random], float]:
    if kind in ("normal", "log_normal"):
        mean, spread = float(parameter.get("mu", 0)), float(parameter.get("sigma", 1))
        if kind == "normal":
            return lambda source: source.gauss(mean, spread)
        return lambda source: math.exp(source.gauss(mean, spread))
    low, high = float(parameter["min"]), float(parameter["max"])
    if not low <= high or (kind.endswith("log_uniform_values") and low <= 0):
        raise ValueError
    if kind == "uniform":
        return lambda source: source.uniform(low, high)
    if kind == "log_uniform":  # its ends are exponents
        return lambda source: math.exp(source.uniform(low, high))
    if kind == "log_uniform_values":
        return lambda source: math.exp(source.uniform(math.log(low), math.log(high)))
    if kind == "inv_log_uniform":
        return lambda source: 1 / math.exp(source.uniform(low, high))
    return lambda source: 1 / math.exp(source.uniform(-math.log(high), -math.log(low)))


def _rounded(value: float) -> float:
    """Six digits, so that a file can be read and a value typed again."""
    return float(f"{value:.6g}")


def _text(made: Imported, sweep: Mapping[str, Any], file: Path) -> str:
    metric = _metric(made, sweep.get("metric"))
    question = str(sweep.get("description") or sweep.get("name") or f"What of {file.name} is best?")
    points = _points(made, sweep.get("run_cap"), file)
    said = [f"# {' '.join(line.split())}" for line in made.said]
    lines = ["# @package _global_", f"# From {file.name}, a sweep of Weights & Biases.", *said]
    groups = {key: value for key, value in made.constants.items() if key in GROUPS}
    if groups:
        lines += ["defaults:", *(f"  - override /{key}: {json.dumps(value)}" for key, value in groups.items())]
    lines += [f"{key}: {json.dumps(value)}" for key, value in made.constants.items() if key not in groups]
    lines += ["study:", f"  question: {json.dumps(question)}", *([f"  metric: {metric}"] if metric else [])]
    if REPLICATE in made.axes:
        lines += ["  replicate:", f"    {REPLICATE}: {json.dumps(made.axes[REPLICATE])}"]
    axes = {key: values for key, values in made.axes.items() if key != REPLICATE}
    if axes:
        lines += ["  axes:", *(f"    {key}: {json.dumps(values)}" for key, values in axes.items())]
    if points:
        lines += ["  zip:", "    draw:", *(f"      {key}: {json.dumps(values)}" for key, values in points.items())]
    return "\n".join([*lines, ""])


def _points(made: Imported, cap: Any, file: Path) -> dict[str, list[Scalar]]:
    if not made.drawn:
        size = math.prod(map(len, made.axes.values()))
        if isinstance(cap, int) and cap < size:
            made.said.append(f"run_cap {cap}: a study is the whole grid, {size:,} trials")
        return {}
    if isinstance(cap, bool) or not isinstance(cap, int) or not 1 <= cap <= MOST_DRAWN:
        raise ConfigError(
            f"{file} draws at random and has run_cap {cap!r}", f"write run_cap: 60, or up to {MOST_DRAWN:,}"
        )
    made.said.append(f"{cap:,} points, drawn once with seed {SEED}; W&B draws others")
    sources = {key: random.Random(f"{SEED} {key}") for key in made.drawn}
    return {key: [draw(sources[key]) for _ in range(cap)] for key, draw in made.drawn.items()}


def _metric(made: Imported, metric: Any) -> str | None:
    """Our name of a metric: val/loss of val_loss, validation_loss and loss."""
    if not isinstance(metric, Mapping) or not metric.get("name"):
        return None
    name, goal = str(metric["name"]), metric.get("goal", "minimize")
    made.said += [f"metric.{key}: not carried over" for key in metric if key not in ("name", "goal")]
    parts = [part for part in name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_") if part]
    leaf = METRICS.get(parts[-1]) if parts else None
    split = "train" if "train" in parts else "val"
    if leaf is None or "test" in parts:
        made.said.append(f"metric {name}: not measured here; val/loss is")
        return None
    if goal != ("minimize" if leaf == "loss" else "maximize"):
        made.said.append(f"metric {name}: its goal {goal} is not ours; {split}/{leaf} is judged as it is best")
    return f"{split}/{leaf}"
