"""A grid as it is written today: Hydra, a DataLoader, torch's AdamW, W&B with a `log` call each step.

    python train.py -m lr=0.0005,0.001,0.002     one after another, in one process
    python train.py lr=0.001                     one trial

The training function stands apart, in loop.py. Knows nothing of thalweg.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import hydra
import wandb
from loop import train  # beside this file


@hydra.main(version_base=None, config_path=".", config_name="config")
def main(config: Any) -> None:
    """One trial, logged to W&B offline."""
    began = time.time()
    folder = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    run = wandb.init(project="plain", mode="offline", dir=folder, config={"lr": config.lr}, reinit="finish_previous")
    losses = train(config.lr, config, run.log)
    run.finish()
    (folder / "losses.json").write_text(json.dumps({"lr": config.lr, "losses": losses, "began": began}))


if __name__ == "__main__":
    main()
