"""The plain script's training function under Ray Tune, one trial a core. Run only where Ray is installed.

python ray_tune.py FILES STEPS LR LR …
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace


def main(files: str, steps: str, *rates: str) -> None:
    """Train a grid into the current folder; losses go into one file a trial, as the plain script leaves them."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a benchmark reports to nobody
    from loop import train  # type: ignore[import-not-found]  # of plain/, on the path
    from ray import tune

    out = Path.cwd()

    def trainable(chosen: dict[str, float]) -> None:
        import torch

        torch.set_num_threads(1)
        began, lr = time.time(), chosen["lr"]
        config = SimpleNamespace(files=files, steps=int(steps), weight_decay=0.01, evaluations=10)
        losses = train(lr, config, lambda values: tune.report(values))
        folder = out / "trials" / str(lr)
        folder.mkdir(parents=True)
        said = {"lr": lr, "losses": losses, "began": began, "cpu": time.process_time()}
        (folder / "losses.json").write_text(json.dumps(said))

    space = {"lr": tune.grid_search([float(rate) for rate in rates])}
    where = tune.RunConfig(storage_path=str(out))
    tune.Tuner(tune.with_resources(trainable, {"cpu": 1}), param_space=space, run_config=where).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
