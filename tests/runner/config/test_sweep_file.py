"""A sweep file of Weights & Biases as a study: what it means, what is refused, and what is named."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import pytest
import yaml

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare, sweep_file
from thalweg.runner.config.sweep_file import study_of
from thalweg.runner.study.study import expand

GRID = """
program: train.py
method: grid
description: "Which rate? (a: b) # c"
metric: {name: val_accuracy, goal: maximize}
early_terminate: {type: hyperband}
parameters:
  learning_rate: {values: [0.1, 1e-3]}
  optimizer: {value: sgd}
  epochs: {value: 2}
  schedule: {parameters: {warmup: {values: [0, 10]}}}
  mystery: {value: 7}
  seed: {values: [0, 1]}
"""


def made(folder: Path, text: str) -> tuple[dict, list[str], str]:
    file = folder / "sweep.yaml"
    file.write_text(text)
    study, said = study_of(file)
    return yaml.safe_load(study), said, study


def test_a_grid_declares_the_trials_that_the_sweep_would_train(tmp_path):
    _, said, text = made(tmp_path, GRID)
    (tmp_path / "my" / "study").mkdir(parents=True)
    (tmp_path / "my" / "study" / "mine.yaml").write_text(text)
    study = declare(Request(("mine",), str(tmp_path / "my"))).study
    assert (study.question, study.metric, study.direction) == ("Which rate? (a: b) # c", "val/accuracy", "max")
    assert study.replicate == "seed"
    configs = [member.trial.config for member in expand(study)]
    assert {(c.optimizer.name, c.optimizer.lr, c.schedule.warmup, c.seed) for c in configs} == {
        ("sgd", lr, warmup, seed) for lr in (0.1, 0.001) for warmup in (0, 10) for seed in (0, 1)
    }
    assert configs[0].budget.steps > 2  # epochs, not steps
    assert any(line.startswith("mystery: no key of ours") for line in said)
    assert any(line.startswith("early_terminate: ") for line in said)
    assert all(f"# {line}" in text for line in said)


DISTRIBUTIONS = {
    "{min: 0, max: 9}": lambda x: x in range(10),
    "{min: 0.0, max: 1.0}": lambda x: 0 <= x <= 1,
    "{values: [1, 4]}": lambda x: x in (1, 4),
    "{values: [1, 4], probabilities: [1, 0]}": lambda x: x == 1,
    "{distribution: uniform, min: 2, max: 3}": lambda x: 2 <= x <= 3,
    "{distribution: q_uniform, min: 0, max: 10, q: 2}": lambda x: x % 2 == 0 and 0 <= x <= 10,
    "{distribution: log_uniform, min: -5, max: 0}": lambda x: math.exp(-5) * 0.999 <= x <= 1,
    "{distribution: log_uniform_values, min: 1e-4, max: 1e-2}": lambda x: 1e-4 <= x <= 1e-2,
    "{distribution: q_log_uniform_values, min: 1, max: 100, q: 5}": lambda x: x % 5 == 0,
    "{distribution: inv_log_uniform_values, min: 1e-4, max: 1e-2}": lambda x: 1e-4 <= x <= 1e-2,
    "{distribution: normal, mu: 100, sigma: 1}": lambda x: 90 < x < 110,
    "{distribution: log_normal, mu: 0, sigma: 0.1}": lambda x: 0.5 < x < 2,
    "{distribution: int_uniform, min: 3, max: 5}": lambda x: x in (3, 4, 5),
}


@pytest.mark.long
@pytest.mark.parametrize("parameter", DISTRIBUTIONS)
def test_each_distribution_is_drawn_within_its_ends_and_the_same_every_time(tmp_path, parameter):
    text = f"method: random\nrun_cap: 40\nparameters:\n  lr: {parameter}\n  beta1: {{min: 0.0, max: 0.9}}\n"
    study, said, whole = made(tmp_path, text)
    drawn = study["study"]["zip"]["draw"]
    assert all(DISTRIBUTIONS[parameter](value) for value in drawn["optimizer.lr"])
    assert len(drawn["optimizer.lr"]) == len(drawn["optimizer.beta1"]) == 40
    assert len(set(drawn["optimizer.beta1"])) > 30
    assert made(tmp_path, text)[2] == whole
    assert "40 points, drawn once with seed 0; W&B draws others" in said


def test_a_log_uniform_draw_is_even_in_the_logarithm(tmp_path):
    text = "method: random\nrun_cap: 4000\nparameters: {lr: {distribution: log_uniform_values, min: 1e-4, max: 1}}"
    values = made(tmp_path, text)[0]["study"]["zip"]["draw"]["optimizer.lr"]
    assert sum(value < 1e-2 for value in values) / 4000 == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("method: bayes\nparameters: {lr: {min: 0.0, max: 1.0}}", "method bayes.*"),
        ("method: annealing\nparameters: {lr: {value: 1}}", "method 'annealing'; expected grid or random"),
        ("parameters: [1]", "has no parameters"),
        ("method: grid", "has no parameters"),
        ("method: grid\nparameters: {lr: {min: 0.0, max: 1.0}}", "lr has no values"),
        ("method: grid\nparameters: {lr: 0.1}", "lr is 0.1; expected value"),
        ("method: random\nparameters: {lr: {min: 0.0, max: 1.0}}", "run_cap None"),
        ("method: random\nrun_cap: true\nparameters: {lr: {min: 0.0, max: 1.0}}", "run_cap True"),
        (
            "method: random\nrun_cap: 3\nparameters: {lr: {distribution: beta, a: 1}}",
            "lr cannot be drawn from .*beta",
        ),
        ("method: random\nrun_cap: 3\nparameters: {lr: {distribution: cauchy, min: 1, max: 2}}", "lr cannot be drawn"),
        (
            "method: random\nrun_cap: 3\nparameters: {lr: {distribution: log_uniform_values, min: 0, max: 2}}",
            "lr cannot",
        ),
        ("method: random\nrun_cap: 3\nparameters: {lr: {min: 2.0, max: 1.0}}", "lr cannot"),
        ("method: random\nrun_cap: 3\nparameters: {lr: {values: []}}", "lr has values .*expected a list"),
        ("method: grid\nparameters: {optimizer: {values: [sgd, rmsprop]}}", "optimizer 'rmsprop' is none of ours"),
    ],
)
def test_what_cannot_be_a_study_is_refused_in_a_sentence(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        made(tmp_path, text)


def even(low: float, high: float):
    return lambda x: min(max((x - low) / (high - low), 0.0), 1.0)


SHARES = {  # of draws at or below a value, by W&B's own description of each distribution
    "{distribution: uniform, min: 2, max: 3}": even(2, 3),
    "{min: 0.0, max: 10}": even(0, 10),
    "{distribution: log_uniform, min: -5, max: 0}": lambda x: even(-5, 0)(math.log(x)),
    "{distribution: log_uniform_values, min: 1e-4, max: 1}": lambda x: even(math.log(1e-4), 0)(math.log(x)),
    "{distribution: inv_log_uniform, min: 0, max: 5}": lambda x: 1 - even(0, 5)(math.log(1 / x)),
    "{distribution: inv_log_uniform_values, min: 1e-4, max: 1}": lambda x: 1 - even(0, -math.log(1e-4))(-math.log(x)),
    "{distribution: normal, mu: 100, sigma: 2}": NormalDist(100, 2).cdf,
    "{mu: 100, sigma: 2}": NormalDist(100, 2).cdf,
    "{distribution: log_normal, mu: -3, sigma: 0.5}": lambda x: NormalDist(-3, 0.5).cdf(math.log(x)),
    "{distribution: q_uniform, min: 0.2, max: 8.1, q: 0.5}": lambda x: even(0.2, 8.1)(x + 0.25),
    "{distribution: q_log_uniform_values, min: 1, max: 100, q: 5}": lambda x: even(0, math.log(100))(
        math.log(max(x + 2.5, 1))
    ),
    "{distribution: int_uniform, min: 1, max: 4}": lambda x: x / 4,
    "{values: [1, 2, 3, 4], probabilities: [0.1, 0.2, 0.3, 0.4]}": lambda x: {1: 0.1, 2: 0.3, 3: 0.6, 4: 1}[x],
}


@pytest.mark.parametrize("parameter", SHARES)
def test_each_distribution_is_the_one_that_it_is_called(tmp_path, monkeypatch, parameter):
    monkeypatch.setattr(sweep_file, "_try_out", lambda text, file: None)
    text = f"method: random\nrun_cap: 4000\nparameters: {{lr: {parameter}}}"
    values = sorted(made(tmp_path, text)[0]["study"]["zip"]["draw"]["optimizer.lr"])
    for x in values[::97]:
        below = sum(value <= x for value in values) / len(values)
        assert below == pytest.approx(SHARES[parameter](x), abs=0.03), x


@pytest.mark.parametrize(
    ("metric", "ours"),
    [
        ("{name: val_loss, goal: minimize}", "val/loss"),
        ("{name: validation/acc, goal: maximize}", "val/accuracy"),
        ("{name: train.loss, goal: minimize}", "train/loss"),
        ("{name: loss}", "val/loss"),
        ("{name: f1, goal: maximize}", None),
        ("{name: test_loss, goal: minimize}", None),  # test metrics never choose
    ],
)
def test_metrics_by_our_names(tmp_path, metric, ours):
    study, said, _ = made(tmp_path, f"method: grid\nmetric: {metric}\nparameters: {{lr: {{values: [1]}}}}")
    assert study["study"].get("metric") == ours
    assert bool([line for line in said if line.startswith("metric")]) == (ours is None)
