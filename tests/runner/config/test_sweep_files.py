"""Sweep files as W&B's documentation and public projects have them: each is a study that `plan` takes, or refused.

They were written for this test after such files; of a study the trials that it declares are compared with what the file
says, and of a refusal the sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from thalweg.runner.base.canonical import as_dict
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.config.sweep_file import study_of
from thalweg.runner.facts.row import lookup
from thalweg.runner.study.study import expand

Trials = list[dict]


def epochs(count: int) -> int:
    """Steps: 1,000 examples of the default dataset, 32 in a batch."""
    return math.ceil(count * 1000 / 32)


def found(trials: Trials, *keys: str) -> set:
    return {tuple(lookup(trial, key) for key in keys) for trial in trials}


STUDIES: dict[str, tuple[str, Callable[[Trials], bool], str]] = {
    "a grid of the quickstart": (
        """
        program: train.py
        method: grid
        metric: {name: val_loss, goal: minimize}
        parameters:
          lr: {values: [0.01, 0.1]}
          batch_size: {values: [16, 32]}
          epochs: {value: 5}
        """,
        lambda trials: (
            found(trials, "optimizer.lr", "budget.batch_size")
            == {(lr, size) for lr in (0.01, 0.1) for size in (16, 32)}
        ),
        "program: ",
    ),
    "the documentation's own random sweep": (
        """
        program: train.py
        method: random
        run_cap: 12
        metric: {goal: minimize, name: loss}
        parameters:
          batch_size: {distribution: q_log_uniform_values, max: 256, min: 32, q: 8}
          dropout: {values: [0.3, 0.4, 0.5]}
          epochs: {value: 1}
          fc_layer_size: {values: [128, 256, 512]}
          learning_rate: {distribution: uniform, max: 0.1, min: 0}
          optimizer: {values: ["adam", "sgd"]}
        """,
        lambda trials: (
            len(trials) == 12
            and all(size % 8 == 0 and 32 <= size <= 256 for (size,) in found(trials, "budget.batch_size"))
            and found(trials, "optimizer.name") == {("adam_l2",), ("sgd",)}
            and len(found(trials, "optimizer.lr")) == 12
        ),
        "optimizer adam is adam_l2",
    ),
    "epochs by another name": (
        """
        method: grid
        parameters:
          num_epochs: {values: [2, 4]}
          learning_rate: {value: 0.1}
        """,
        lambda trials: found(trials, "budget.steps") == {(epochs(2),), (epochs(4),)},
        "num_epochs is budget.steps",
    ),
    "epochs that are drawn": (
        """
        method: random
        run_cap: 6
        parameters:
          n_epochs: {distribution: int_uniform, min: 1, max: 3}
          lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
        """,
        lambda trials: found(trials, "budget.steps") <= {(epochs(n),) for n in (1, 2, 3)} and len(trials) == 6,
        "n_epochs is budget.steps",
    ),
    "nested parameters": (
        """
        method: random
        run_cap: 8
        parameters:
          optimizer:
            parameters:
              learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.1}
              weight_decay: {distribution: log_uniform, min: -9.2, max: -2.3}
          model:
            parameters:
              hidden: {values: [[32], [64, 64]]}
              dropout: {value: 0.1}
        """,
        lambda trials: (
            all(1e-4 <= lr <= 0.1 for (lr,) in found(trials, "optimizer.lr"))
            and all(math.exp(-9.2) <= wd <= math.exp(-2.3) for (wd,) in found(trials, "optimizer.weight_decay"))
            and {tuple(trial["model"]["hidden"]) for trial in trials} == {(32,), (64, 64)}
            and found(trials, "model.dropout") == {(0.1,)}
        ),
        "optimizer.learning_rate is optimizer.lr",
    ),
    "dotted names, with a command for Hydra": (
        """
        program: scripts/train.py
        method: grid
        parameters:
          optimizer.lr: {values: [3.0e-4, 1.0e-3]}
          optimizer.weight_decay: {values: [0.0, 0.01]}
        command: ["${env}", python, -m, scripts.train, "${args_no_hyphens}"]
        """,
        lambda trials: len(trials) == 4,
        "command: ",
    ),
    "hyperband": (
        """
        method: random
        run_cap: 5
        early_terminate: {type: hyperband, min_iter: 3, eta: 3, s: 2}
        metric: {name: val/accuracy, goal: maximize, target: 0.99}
        parameters:
          lr: {min: 0.001, max: 0.1}
        """,
        lambda trials: len(trials) == 5,
        "early_terminate: ",
    ),
    "probabilities": (
        """
        method: random
        run_cap: 30
        parameters:
          optimizer: {distribution: categorical, values: [sgd, adamw], probabilities: [0, 1]}
          lr: {value: 0.1}
        """,
        lambda trials: found(trials, "optimizer.name") == {("adamw",)},
        "30 points",
    ),
    "constants by distribution, and seeds": (
        """
        method: grid
        parameters:
          lr: {distribution: constant, value: 0.1}
          weight_decay: {distribution: categorical, values: [0, 0.1]}
          seed: {values: [1, 2, 3]}
        """,
        lambda trials: (
            found(trials, "optimizer.lr", "optimizer.weight_decay", "seed")
            == {(0.1, wd, seed) for wd in (0, 0.1) for seed in (1, 2, 3)}
        ),
        "weight_decay is optimizer.weight_decay",
    ),
    "a cap below the grid": (
        """
        method: grid
        run_cap: 2
        parameters: {lr: {values: [0.1, 0.2, 0.3]}}
        """,
        lambda trials: len(trials) == 3,
        "run_cap 2: a study is the whole grid",
    ),
    "numbers with a tag, and an entity": (
        """
        name: planet-large
        entity: someone
        project: thing
        method: random
        run_cap: 3
        parameters:
          learning_rate: {max: !!float 1e-3, min: !!float 1e-5, distribution: log_uniform_values}
          gamma: {value: 0.997}
        """,
        lambda trials: all(1e-5 <= lr <= 1e-3 for (lr,) in found(trials, "optimizer.lr")),
        "gamma: no key of ours",
    ),
    "momentum, of the optimizer that has it": (
        """
        method: random
        run_cap: 4
        parameters:
          optimizer: {value: SGD}
          momentum: {distribution: q_uniform, min: 0.5, max: 0.95, q: 0.05}
          nesterov: {values: [true, false]}
        """,
        lambda trials: all(math.isclose(m / 0.05, round(m / 0.05)) for (m,) in found(trials, "optimizer.momentum")),
        "optimizer SGD is sgd",
    ),
    "label smoothing, clipping's norm has no such name": (
        """
        method: grid
        parameters:
          label_smoothing: {values: [0.0, 0.1]}
          max_grad_norm: {values: [1.0, 5.0]}
        """,
        lambda trials: found(trials, "task.label_smoothing") == {(0.0,), (0.1,)},
        "max_grad_norm: no key of ours",
    ),
}

REFUSED = {
    "bayes": ("method: bayes\nparameters: {lr: {min: 0.001, max: 0.1}}", "has method bayes"),
    "two learning rates": (
        """
        method: random
        run_cap: 3
        parameters:
          generator: {parameters: {lr: {min: 0.001, max: 0.1}}}
          critic: {parameters: {lr: {min: 0.001, max: 0.1}}}
        """,
        "generator.lr and critic.lr are both optimizer.lr",
    ),
    "models of their own": (
        "method: grid\nparameters: {model: {values: [ViViT, VideoMAE]}, lr: {value: 0.1}}",
        "model 'ViViT' is none of ours; expected one of",
    ),
    "an optimizer that is not here": (
        "method: random\nrun_cap: 9\nparameters: {optimizer: {values: [rmsprop]}}",
        "optimizer 'rmsprop' is none of ours",
    ),
    "nothing that varies is known": (
        "method: grid\nparameters: {lora_r: {values: [8, 16]}, lora_alpha: {values: [16, 32]}, lr: {value: 0.1}}",
        "nothing that varies .* lora_r, lora_alpha",
    ),
    "lists for a number": (
        "method: random\nrun_cap: 2\nparameters: {batch_size: {values: [[32, 128], [64, 256]]}}",
        "makes no study: budget.batch_size is ",
    ),
    "a size that is drawn from what is continuous": (
        "method: random\nrun_cap: 3\nparameters: {batch_size: {distribution: uniform, min: 8.0, max: 64.0}}",
        "makes no study: budget.batch_size is ",
    ),
    "a rate that may be negative": (
        "method: random\nrun_cap: 50\nparameters: {lr: {distribution: normal, mu: 0.0, sigma: 0.1}}",
        "makes no study: optimizer.lr is -",
    ),
    "momentum of an optimizer that has none": (
        "method: grid\nparameters: {optimizer: {value: adamw}, momentum: {values: [0.0, 0.9]}}",
        "makes no study: optimizer.momentum belongs to ",
    ),
    "a distribution that is not drawn here": (
        "method: random\nrun_cap: 3\nparameters: {lr: {distribution: beta, a: 1, b: 2}}",
        "lr cannot be drawn from .*beta",
    ),
    "probabilities of other values": (
        "method: random\nrun_cap: 3\nparameters: {lr: {values: [1, 2], probabilities: [0.5, 0.6]}}",
        "lr has probabilities .*; expected one a value, their sum 1",
    ),
    "too few probabilities": (
        "method: random\nrun_cap: 3\nparameters: {lr: {values: [1, 2], probabilities: [1.0]}}",
        "lr has probabilities ",
    ),
    "random without an end": ("method: random\nparameters: {lr: {min: 0.001, max: 0.1}}", "run_cap None"),
    "a grid of ranges": (
        "method: grid\nparameters: {batch_size: {distribution: int_uniform, min: 8, max: 12}}",
        "batch_size has no values, and a grid needs them",
    ),
    "a template": ("method: <insert>\nparameters: {lr: {values: [1]}}", "method '<insert>'"),
    "parameters misspelt": ("method: grid\nparameter: {lr: {values: [1]}}", "has no parameters"),
    "seeds that are drawn": (
        "method: random\nrun_cap: 4\nparameters: {seed: {min: 1, max: 99999}, lr: {min: 0.001, max: 0.1}}",
        "seed is drawn; here every point is trained by each seed",
    ),
    "a warmup in shares": (
        "method: grid\nparameters: {warmup: {values: [0.05, 0.1]}}",
        "makes no study: schedule.warmup is 0.05",
    ),
}


def dedented(text: str) -> str:
    return re.sub(r"(?m)^ {8}", "", text)


@pytest.mark.long
@pytest.mark.parametrize(("text", "holds", "named"), STUDIES.values(), ids=STUDIES)
def test_a_sweep_becomes_the_study_that_it_says(tmp_path, text, holds, named):
    file = tmp_path / "sweep.yaml"
    file.write_text(dedented(text))
    made, said = study_of(file)
    (tmp_path / "my" / "study").mkdir(parents=True)
    (tmp_path / "my" / "study" / "mine.yaml").write_text(made)
    members = expand(declare(Request(("mine",), str(tmp_path / "my"))).study)
    assert holds([as_dict(member.trial.config) for member in members])
    assert any(line.startswith(named) for line in said), said


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_counterpart_is_refused_by_name(tmp_path: Path, text, says):
    file = tmp_path / "sweep.yaml"
    file.write_text(dedented(text))
    with pytest.raises(ConfigError, match=says) as refused:
        study_of(file)
    assert "\n" not in refused.value.message
