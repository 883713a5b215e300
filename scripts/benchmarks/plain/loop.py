"""The training function of a plain script, as a careful person writes it. Knows neither Hydra nor W&B nor thalweg.

Data, batch order and first weights are files, so that its losses can be compared.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def model_from(path: Path) -> nn.Module:
    """An MLP whose layer sizes and first weights are those in a file."""
    weights = [torch.tensor(array) for array in np.load(path).values()]
    layers: list[nn.Module] = []
    for weight in weights[::2]:
        layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return model


def train(lr: float, config: Any, log: Any) -> list[float]:
    """Train one trial; `log` is called with a dict each step. Returns the batch losses."""
    files = Path(config.files)
    data = {name: torch.tensor(array) for name, array in np.load(files / "data.npz").items()}
    batches = DataLoader(
        TensorDataset(data["train_x"], data["train_y"]),
        batch_sampler=np.load(files / "rows.npy")[: config.steps].tolist(),
    )
    model = model_from(files / "init.npz")
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / config.steps))
    )
    losses = []
    every = max(1, config.steps // config.evaluations)
    for step, (x, y) in enumerate(batches):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log({"train/loss": loss.item(), "lr": scheduler.get_last_lr()[0]})
        scheduler.step()
        losses.append(loss.item())
        if (step + 1) % every == 0:
            with torch.no_grad():
                outputs = model(data["val_x"])
            accuracy = (outputs.argmax(1) == data["val_y"]).float().mean().item()
            log({"val/loss": F.cross_entropy(outputs, data["val_y"]).item(), "val/accuracy": accuracy})
    return losses
