"""One trial in a tuned loop: data resident, batches drawn beforehand, torch's fused optimizer, no logging.

The best that a script does. In a process of its own (`python -m benchmarks.solo WORDS …`) it prints, as JSON, the
seconds of training, without start-up or loading, and the first losses of each trial.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.measure import COMPARED_STEPS
from benchmarks.workloads import trials_of
from thalweg.optim.build import multipliers
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.workload import Workload, initialised

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thalweg.runner.study.trial import Trial


@dataclass
class Solo:
    """A trial's model, data, batches and learning rates, made beforehand as a script would."""

    config: Any
    model: nn.Module
    workload: Workload
    rows: Tensor
    multiplier: np.ndarray

    @classmethod
    def of(cls, trial: Trial, device: torch.device) -> Solo:
        """Prepare one trial; the model is as thalweg initialises it."""
        config = trial.config
        workload = prepared(config, device)
        steps, train = config.budget.steps, workload.splits["train"]
        rows = torch.as_tensor(batch_indices(config.seed, 0, steps, config.budget.batch_size, train.rows))
        model = initialised(config, workload.extent).to(device=device, dtype=workload.dtype)
        multiplier = multipliers(config.schedule, steps, np.arange(steps))
        return cls(config, model, workload, rows.to(train.home), multiplier)

    def train(self, steps: int | None = None) -> list[float]:
        """Train from the model's present weights; losses stay tensors until the end. Returns each batch's loss."""
        optimizer = torch_optimizer(self.config.optimizer, self.model)
        group, train, losses = optimizer.param_groups[0], self.workload.splits["train"], []
        for t in range(steps or len(self.rows)):
            group["lr"] = self.config.optimizer.lr * float(self.multiplier[t])
            x, y = train.take(self.rows[t])
            outputs = self.model(x)
            loss = F.cross_entropy(outputs.flatten(0, -2), y.flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()


def torch_optimizer(config: Any, model: nn.Module) -> torch.optim.Optimizer:
    """torch's own optimizer for one of ours; independent decay is torch's with wd divided by the peak rate."""
    if config.name == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    independent = getattr(config, "decay", "") == "independent"
    decay = config.weight_decay / config.lr if independent else config.weight_decay
    betas = (config.beta1, config.beta2)
    return kind(model.parameters(), lr=config.lr, betas=betas, eps=config.eps, weight_decay=decay, fused=True)


def main(words: list[str], share: int, of: int, sample: int) -> None:
    """Train every `of`-th of a sample of the trials, from the `share`-th on, one after another with one thread."""
    torch.set_num_threads(1)
    trials = trials_of(words)
    trials = trials[:: max(1, len(trials) // sample)][:sample][share::of]
    cpu = torch.device("cpu")
    losses = {trial.id: Solo.of(trial, cpu).train(COMPARED_STEPS) for trial in trials}
    prepared = [Solo.of(trial, cpu) for trial in trials]
    wall, cpu_seconds = time.perf_counter(), time.process_time()
    for solo in prepared:
        solo.train()
    timing = [time.perf_counter() - wall, time.process_time() - cpu_seconds]
    print(json.dumps({"timing": timing, "losses": losses}))


if __name__ == "__main__":
    main(sys.argv[4:], *(int(word) for word in sys.argv[1:4]))
