"""The export of stored results as runs of Weights & Biases or TensorBoard: derived from the store, rebuilt at will.

One run a trial and one a study, never in the training loop's way. It is given plain trials and answers, and knows
neither the store nor the engine.

    exporter        brings run folders into agreement with the store
    history         what a run says of a trial
    configuration   a trial's configuration as charts need it
    analysis        what the run of a whole study holds
    runs            the one door to wandb, and the protocol of whatever writes runs
    events          the same runs as TensorBoard's files
    records         W&B's own file format
    ledger          which trials have been written
    live            runs that grow on W&B's site while they train
    upload          W&B's own parallel upload
    processes       how processes yield, and how each ends with all it started
    environment     WANDB_* variables, settings, account
"""

from thalweg.runner.tracker.analysis import Answered, ExportAnalysis, Found
from thalweg.runner.tracker.environment import is_wanted, surroundings
from thalweg.runner.tracker.exporter import ExportResult, export
from thalweg.runner.tracker.history import ExportTrial

__all__ = ["Answered", "ExportAnalysis", "ExportResult", "ExportTrial", "Found", "export", "is_wanted", "surroundings"]
