"""The export of stored results as Weights & Biases runs: derived from the store, rebuilt at will.

One W&B run a trial, written after the answer and never in the training loop's way. It is given plain trials
and knows neither the store nor the engine.

    exporter        brings run folders into agreement with the store
    history         what a run says of a trial
    runs            the one door to wandb
    ledger          which trials have been written
    upload          W&B's own parallel upload
    environment     WANDB_* variables, settings, account
"""

from thalweg.runner.tracker.environment import surroundings
from thalweg.runner.tracker.exporter import ExportResult, export
from thalweg.runner.tracker.history import ExportTrial

__all__ = ["ExportResult", "ExportTrial", "export", "surroundings"]
