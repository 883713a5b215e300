"""What the driver and its worker processes say to each other. Plain data that pickles; no torch.

driver to worker    its device, as text (once), Ask (choose for a group), Train (a cohort), None (leave)
worker to driver    Hello (once), Chosen, Progress, Note, Held, then Trained, Slower or OutOfMemory
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from thalweg.runner.facts.choice import Bar, Choice, Layout
from thalweg.runner.facts.observation import Observations, Reached
from thalweg.runner.study.trial import Trial


@dataclass(frozen=True)
class Ask:
    """Choose executor and width for a group, from a sample of its trials. `attempt`, `moves` as in Train.

    trials: how many there are in all, for `workers` processes to share; `sharing` of these share a device. evaluations:
    how often a trial is measured. starts: the folder of kept weights, from which trials may start. seeds: how many the
    group has; idle: how many workers have nothing to do but this group.
    """

    group_id: str
    sample: tuple[Trial, ...]
    layout: Layout
    requested: str
    attempt: int = 1
    moves: int = 0
    trials: int = 0
    workers: int = 1
    sharing: int = 1
    metrics: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    evaluations: int = 1
    starts: str | None = None
    seeds: int = 1
    idle: int = 1


@dataclass(frozen=True)
class Keep:
    """The folder for final weights, and the ids of the trials whose are written there; None for all that finish."""

    folder: str
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Stage:
    """How far a cohort is trained of a study that stops trials early: `until` so many steps, or to the end for None.

    folder: where what its trials go on from is kept at a rung; files: those there that hold some of them.
    """

    folder: str
    until: int | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Train:
    """Train a cohort. `attempt` counts from 1; a piece of work whose worker died is tried once more.

    moves: how often its machine went away, which was not its doing. checkpoints: the folder for its checkpoints and the
    seconds of training between them; None for none. bar: what its first steps must take no longer than; where they do,
    it is given up. weights: where final weights go; None for nowhere. starts: as in Ask. stage: None where trials train
    to their end at one go. onward: trial -> the shorter one from whose kept state it goes on; of all its trials, or of
    none.
    measured: trial -> the hash of its kept weights and the validation loss that they give, of all or of none: these are
    measured, and only where that fails trained.
    """

    group_id: str
    trials: tuple[Trial, ...]
    executor: str
    layout: Layout
    evaluations: int
    checkpoints: tuple[str, float] | None = None
    weights: Keep | None = None
    attempt: int = 1
    moves: int = 0
    metrics: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    bar: Bar | None = None
    starts: str | None = None
    stage: Stage | None = None
    onward: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, tuple[str, float]] = field(default_factory=dict)


Work = Ask | Train


@dataclass(frozen=True)
class Hello:
    """A worker is ready: the device it trains on, what it runs, and why a wanted device is not used.

    With a complaint the device is "cpu" if any device was good enough ("auto"); else the worker has ended.
    """

    device: str
    device_name: str
    versions: dict[str, str]
    complaint: str | None = None
    devices: int = 1  # how many devices of this kind the machine has


@dataclass(frozen=True)
class Chosen:
    """How a group would best be trained, as an Ask wanted to know.

    bar: what the loop was seen to take, which fused steps must not; None where nothing is to be shown.
    """

    group_id: str
    choice: Choice
    bar: Bar | None = None


@dataclass(frozen=True)
class Progress:
    """Trial-steps done and trials diverged since the last report."""

    steps: int
    diverged: int


@dataclass(frozen=True)
class Note:
    """Something about the present work that its user should know."""

    text: str


@dataclass(frozen=True)
class OutOfMemory:
    """The cohort does not fit the device's memory; nothing of it was kept."""

    reason: str


@dataclass(frozen=True)
class Held:
    """A cohort's first steps were no slower than its bar; it goes on."""


@dataclass(frozen=True)
class Slower:
    """A cohort's first steps were slower than its bar; nothing of it was kept. speed: the loop's is 1."""

    speed: float


@dataclass(frozen=True)
class Trained:
    """A cohort's observations, one per trial that ended, in order; failed ones carry the traceback.

    reached: those of the others, which came to a rung. undetermined: an operation that rounds otherwise each time.
    """

    observations: tuple[Observations, ...]
    peak_bytes: int
    reached: tuple[Reached, ...] = ()
    undetermined: str | None = None


Said = Hello | Chosen | Progress | Note | Held | Slower | Trained | OutOfMemory
"""What a worker process says."""


Slot = Hashable
"""Where one piece of work at a time is done: whatever names such a place."""


@dataclass(frozen=True)
class Ready:
    """A slot can take its first work."""


@dataclass(frozen=True)
class Lost:
    """A slot is no more: its process ended, with this exit code. None: its machine is gone, whatever it did."""

    code: int | None


Event = Ready | Chosen | Progress | Note | Held | Slower | Trained | OutOfMemory | Lost
"""What is heard of a slot."""
