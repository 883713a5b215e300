"""A trial's final weights, kept or trained again, held against what is stored. None unlike it leaves here unsaid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from thalweg.runner.base.canonical import canonical_json
from thalweg.runner.base.errors import MismatchError, UnverifiedError, UsageError
from thalweg.runner.base.whole import write_whole
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.facts.replayed import Replayed, Verdict
from thalweg.runner.facts.weights import Weights
from thalweg.runner.replay.again import Again, Wish
from thalweg.runner.train import weights as files
from thalweg.runner.train.kept import kept

SUFFIXES = (".safetensors", ".pt")
MORE = "in training its model kept more than parameters and buffers, and no state_dict has that"


@dataclass(frozen=True)
class Model:
    """A trial's final weights. unverified: why they may be others than those that the stored results are of.

    kept: whether they were read, and not trained again. note: why kept ones were not.
    """

    record: TrialRecord
    weights: Weights
    unverified: str = ""
    kept: bool = False
    note: str = ""

    @property
    def said(self) -> tuple[str, ...]:
        """Whence the weights are, where that is not training, and why it is, in sentences."""
        used = f"the kept weights of {self.record.trial_id[:8]} are used: their hash is the stored one"
        return (used,) if self.kept else (self.note,) if self.note else ()

    @property
    def metadata(self) -> dict[str, str]:
        """What a file of it says of itself."""
        return {
            "format": "pt",
            "trial": self.record.trial_id,
            "config": canonical_json(dict(self.record.config)),
            "weight_hash": self.weights.hash,
            "verified": f"no: {self.unverified}" if self.unverified else "yes",
        }


def model_of(
    record: TrialRecord, again: Callable[[Wish], Again], *, unverified: bool = False, folder: Path | None = None
) -> Model:
    """Return a trial's weights: kept ones of a folder, else those that `again` trains and writes where it is told.

    unverified: even those that may differ from the stored trial's. Raises MismatchError where it did not come out
    again, UnverifiedError where that cannot be known, UsageError where there are none to be had.
    """
    short = record.trial_id[:8]
    if record.outcome is None or not record.outcome.is_done:
        said = "is not trained yet" if record.outcome is None else f"ended as {record.outcome}"
        raise UsageError(f"{short} {said}, so it has no weights", f"see: thalweg show {short}")
    held, note = _kept(folder, record) if folder else (None, "")
    weights: Weights | None = held
    replayed = Replayed(trial_id=record.trial_id, verdict=Verdict.MATCH)
    if held is None:
        replayed, weights = _again(record, again, unverified)
    if replayed.verdict is Verdict.MISMATCH:
        raise MismatchError(f"{short} did not come out again: {replayed.why}", f"see: thalweg replay {short}")
    if weights and weights.unlike:
        raise UsageError(f"the weights of {short} cannot be written: {weights.unlike}")
    doubt = _doubt(replayed, weights, record)
    if doubt and not (unverified and weights):
        offered = weights or (replayed.trainable and not unverified)
        hint = "--unverified takes them as they come out here; the file then says so"
        raise UnverifiedError(f"the weights of {short} cannot be verified: {doubt}", hint if offered else None)
    if weights is None:
        why = f"the weights of {short} could not be kept while it trained"
        raise UsageError(why, f"is there room in {gettempdir()}?")
    return Model(record, weights, doubt, kept=held is not None, note=note)


def _kept(folder: Path, record: TrialRecord) -> tuple[Weights | None, str]:
    """A trial's kept weights; or why those that are there are not used."""
    try:
        return kept(folder, record.trial_id, record.weight_hash), ""
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return None, f"the kept weights of {record.trial_id[:8]} are not used: {why}; it was trained again"


def _again(record: TrialRecord, again: Callable[[Wish], Again], unverified: bool) -> tuple[Replayed, Weights | None]:
    with TemporaryDirectory(prefix="thalweg-") as folder:
        (replayed,) = again(Wish(folder, unverified)).replayed
        return replayed, _trained(Path(folder), record)


def _trained(folder: Path, record: TrialRecord) -> Weights | None:
    found = sorted(folder.glob("*.safetensors"))
    return files.read(found[-1], record.trial_id) if found else None


def _doubt(replayed: Replayed, weights: Weights | None, record: TrialRecord) -> str:
    """Why weights may not be all that the stored results are of; empty where they are. Raises MismatchError."""
    same = weights is not None and weights.hash == record.weight_hash
    if replayed.verdict is Verdict.CANNOT_VERIFY and not same:
        return replayed.why
    if weights and not same:
        raise MismatchError(f"the weights of {record.trial_id[:8]} changed on their way into a file")
    return MORE if weights and weights.more else ""


def refuse_path(path: Path, unverified: bool = False) -> None:
    """Raise UsageError where no model can be written to, before it is trained."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} has the ending {path.suffix!r}; expected {' or '.join(SUFFIXES)}")
    if unverified and path.suffix == ".pt":
        raise UsageError(f"{path} could not say that its weights are not verified", "name a .safetensors file")
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in a folder that is not there"
        raise UsageError(f"{path} {what}", "name a file in a folder that is there")


def write(model: Model, path: Path) -> None:
    """Write a model's state_dict, whole or not at all. Raises UsageError where the disk does not take it."""
    try:
        write_whole(path, _pt(model) if path.suffix == ".pt" else _safetensors(model))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}", "name another file") from None


def _safetensors(model: Model) -> bytes:
    from safetensors.numpy import save

    return save(model.weights.state_dict, metadata=model.metadata)


def _pt(model: Model) -> bytes:
    from thalweg.runner.engine.export import pt_bytes

    return pt_bytes(model.weights.state_dict)
