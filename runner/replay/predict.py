"""What a trial's model says of examples that nobody has seen, in the words and units of its data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thalweg.runner.base.errors import UsageError
from thalweg.runner.replay.model import Model
from thalweg.runner.replay.recorded import trial_of

if TYPE_CHECKING:
    from thalweg.runner.engine.loaded import Loaded


@dataclass(frozen=True, eq=False)
class Predicted:
    """N examples. outputs `[N, …]`: what the model gives, logits or values as they were scaled, float64.

    predicted `[N, …]`: the likeliest class or token, or the values in the file's units. labels: the classes' words.
    probabilities `[N, C]`: of the classes; None for other targets, and for a loss of the user's. followed, losses
    `[N]`: of a text, whose examples are its characters but the first: the token that stands there, its loss in nats.
    note: what its user should know of how the file was read, and of whence the weights are.
    """

    outputs: NDArray[np.float64]
    predicted: NDArray[Any]
    labels: tuple[str, ...] = ()
    probabilities: NDArray[np.float64] | None = None
    note: str = ""
    followed: NDArray[np.int64] | None = None
    losses: NDArray[np.float64] | None = None

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """By the names that a .npz file has them."""
        held = {"outputs": self.outputs, "predicted": self.predicted, "probabilities": self.probabilities}
        if self.followed is not None:
            held |= {"followed": self.followed, "losses": self.losses, "characters": np.array(self.labels)}
        return {name: array for name, array in held.items() if array is not None}

    @property
    def columns(self) -> dict[str, list[Any]]:
        """As a table, a line an example. Raises UsageError where an example has more than a line holds."""
        if self.outputs.ndim != 2:
            raise UsageError("an example has a prediction at each place, which no line holds", "write it: -o FILE.npz")
        made: dict[str, list[Any]] = {"row": list(range(len(self.outputs)))}
        if self.predicted.ndim == 2:
            places = self.predicted.shape[1]
            names = ["predicted"] if places == 1 else [f"predicted_{place}" for place in range(places)]
            return made | {name: self.predicted[:, place].tolist() for place, name in enumerate(names)}
        words = self.labels or [*range(self.outputs.shape[1])]
        made["predicted"] = [words[each] for each in self.predicted]
        if self.followed is not None and self.losses is not None:
            stands = [words[each] for each in self.followed]
            return {"character": stands, "predicted": made["predicted"], "loss": self.losses.tolist()}
        name, shown = ("output", self.outputs) if self.probabilities is None else ("p", self.probabilities)
        return made | {f"{name}({word})": shown[:, place].tolist() for place, word in enumerate(words)}


def load(model: Model) -> Loaded:
    """Build a trial's module with its weights. Raises MismatchError where it does not give the stored loss."""
    from thalweg.runner.engine.loaded import loaded

    loss = None if model.unverified else model.record.metrics.get("val/loss")
    return loaded(trial_of(model.record).config, model.weights.state_dict, loss)


def predict(model: Model, file: Path) -> Predicted:
    """Predict what a file's examples are, made ready as the trial's own were. Raises ConfigError for what are none."""
    made = _predicted(model, file)
    return replace(made, note="\n".join(filter(None, (*model.said, made.note))))


def _predicted(model: Model, file: Path) -> Predicted:
    ready = load(model)
    unseen, config = ready.unseen(file), ready.workload.config
    outputs, kind = ready.outputs(unseen.x), ready.splits.kind
    if kind == "values":
        return Predicted(outputs, outputs * unseen.deviation + unseen.mean, note=unseen.note)
    if unseen.y is not None:
        outputs = outputs[unseen.y >= 0]
        if config.task.loss == "auto":
            return _text(outputs, unseen.y[unseen.y >= 0], unseen.labels)
    likely = outputs.argmax(-1)
    if kind == "tokens" or config.task.loss != "auto":
        return Predicted(outputs, likely, unseen.labels, note=unseen.note)
    return Predicted(outputs, likely, unseen.labels, _softmax(outputs), unseen.note)


def _text(outputs: NDArray[np.float64], followed: NDArray[np.int64], labels: tuple[str, ...]) -> Predicted:
    """What is predicted of each character of a text but the first, and how surely what stands there was."""
    shifted = outputs - outputs.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(followed)), followed]
    mean = losses.mean()
    note = f"mean loss of {len(losses):,} characters: {mean:.6g} nats, {mean / np.log(2):.6g} bits"
    return Predicted(outputs, outputs.argmax(1), labels, note=note, followed=followed, losses=losses)


def _softmax(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(outputs - outputs.max(1, keepdims=True))
    shares: NDArray[np.float64] = raised / raised.sum(1, keepdims=True)
    return shares
