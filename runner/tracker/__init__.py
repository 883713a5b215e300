"""The export of stored results as Weights & Biases runs: derived from the store, rebuilt at will.

One W&B run a trial, written after the answer and never in the training loop's way. It is given plain trials
and knows neither the store nor the engine; `runs.py` alone imports wandb, and only with something to write.
"""

from runner.tracker.exporter import ExportResult, export
from runner.tracker.history import ExportTrial

__all__ = ["ExportResult", "ExportTrial", "export"]
