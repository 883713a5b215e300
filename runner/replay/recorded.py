"""How a stored trial was trained, and what of that differs here. Pure: no store, no torch.

A trial's bits are a function of these, of which each is held or, where it is not what it was, named:

| it is a function of      | where that is recorded             | otherwise now                        |
|--------------------------|------------------------------------|--------------------------------------|
| its configuration        | the trial                          | its id is of another: a mismatch     |
| data files               | a fingerprint in the configuration | cannot verify: training refuses them |
| arithmetic of ours       | a number in the configuration      | cannot verify                        |
| code of the user's       | its cohort's versions              | cannot verify                        |
| executor, batch layout   | its cohort                         | held                                 |
| when it is measured      | the steps of its series            | held                                 |
| torch, device            | its cohort                         | cannot verify                        |
| instruction set          | its cohort, if it is not an old one | cannot verify; a doubt where unknown |
| thalweg, numpy, Python, the processor's make | its cohort     | a doubt                              |

With a doubt it is trained all the same: equal bits are equal, and other bits prove nothing. On a CPU a lane's bits
do not depend on its company. On a GPU they may: there whole cohorts are trained again, in their order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thalweg.runner.base.canonical import as_dict
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.record import CohortRecord, TrialRecord
from thalweg.runner.facts.replayed import Replayed, Verdict
from thalweg.runner.project.code import code_of, recorded
from thalweg.runner.study.arithmetic import REPAIRS
from thalweg.runner.study.keys import trial_config
from thalweg.runner.study.settings import evaluation_steps
from thalweg.runner.study.trial import Trial

DECISIVE = ("torch", "instructions")
"""Versions whose change changes bits."""
DOUBTFUL = ("thalweg", "numpy", "python", "processor")
"""Versions whose change may, and seldom does."""
WORDS = {"instructions": "instruction set", "python": "Python"}
MEASURED = "val/loss"
"""A series that has a value for each time that a trial was measured, the start included."""


@dataclass(frozen=True)
class Recorded:
    """A trial as it was trained, and what came of it. evaluations: how often it was measured after the start.

    changed: what of the code that trained it is another now, for who trains it all the same.
    """

    record: TrialRecord
    series: Mapping[str, Series]
    trial: Trial
    cohort: CohortRecord
    evaluations: int
    changed: str = ""

    @property
    def device(self) -> str:
        """The kind of its device, as workers are told it."""
        return self.cohort.device if self.cohort.device in ("cpu", "mps") else "cuda"

    @property
    def group(self) -> str:
        """What trials share that train again as one program."""
        return f"{self.trial.group_id}/{self.cohort.executor}/{self.cohort.layout}"


def cannot(record: TrialRecord, why: str, *, trainable: bool = False) -> Replayed:
    """The verdict on a trial that cannot be verified. trainable: though it could be trained here."""
    return Replayed(trial_id=record.trial_id, verdict=Verdict.CANNOT_VERIFY, why=why, trainable=trainable)


def read(record: TrialRecord, series: Mapping[str, Series], anyway: bool = False) -> Recorded | Replayed:
    """Return how a trial was trained; or the verdict on it, where that is known without training it.

    anyway: changed code of the user's is no verdict, but said.
    """
    if record.outcome is None or not record.outcome.is_done:
        return cannot(record, f"it {'is not trained yet' if record.outcome is None else record.outcome}")
    if record.cohort is None or record.weight_hash is None or MEASURED not in series:
        return cannot(record, "the store does not hold how it was trained, or what came of it")
    try:
        trial = trial_of(record)
    except ConfigError as error:
        return cannot(record, f"its configuration cannot be read by this thalweg: {error.message}")
    if trial.id != record.trial_id and (unknown := _unknown(record.config, as_dict(trial.config))):
        return cannot(record, f"its configuration has {unknown}, which this thalweg does not know")
    if trial.id != record.trial_id:
        why = "its configuration does not belong to its id"
        return Replayed(trial_id=record.trial_id, verdict=Verdict.MISMATCH, why=why, quantity="configuration")
    if why := _mended(trial):
        return cannot(record, why)
    changed = _changed(trial, record.cohort)
    if changed and not anyway:
        return cannot(record, changed, trainable=True)
    measured = series[MEASURED].steps.tolist()
    evaluations = measurements(measured, trial.config.budget.steps, record.diverged_step)
    if evaluations is None:
        return cannot(record, f"no number of measurements gives the steps of its {MEASURED}: {measured[:4]} …")
    return Recorded(record, series, trial, record.cohort, evaluations, changed)


def trial_of(record: TrialRecord) -> Trial:
    """The trial whose configuration is stored. Raises ConfigError where it is none of today."""
    return Trial(trial_config(json.loads(json.dumps(record.config))))


def _unknown(config: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The first key of a configuration that is not known; empty if all are."""
    for key, value in config.items():
        if key not in known:
            return key
        inner = known[key]
        if isinstance(value, Mapping) and isinstance(inner, Mapping) and (below := _unknown(value, inner)):
            return f"{key}.{below}"
    return ""


def _mended(trial: Trial) -> str:
    """What of our arithmetic is another than it was."""
    mended = [each.what for each in REPAIRS if each.number > trial.config.arithmetic and each.touches(trial.config)]
    return f"it was trained before this mistake was corrected: {mended[-1]}" if mended else ""


def _changed(trial: Trial, cohort: CohortRecord) -> str:
    """What of the user's code is another than it was."""
    then, now = recorded(cohort.versions), code_of(trial.config)
    files = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if not files:
        return ""
    missing = [name for name in files if name not in now]
    return f"{', '.join(missing)} is not there now" if missing else f"{', '.join(files)} changed since"


def measurements(measured: list[int], steps: int, diverged: int | None) -> int | None:
    """How many measurements, evenly spaced, give these steps: the smallest such number; None if none does.

    measured: 0 and the steps after it; of a trial that diverged, those up to then.
    """
    first, *_ = [*measured[1:], steps]
    fewest, most = int(steps / (first + 0.5)), int(steps / (first - 0.5)) + 1
    among = range(max(1, fewest), most + 1)
    return next((points for points in among if _gives(points, measured, steps, diverged)), None)


def _gives(points: int, measured: Sequence[int], steps: int, diverged: int | None) -> bool:
    last = steps if diverged is None else diverged
    return [0, *(step for step in evaluation_steps(steps, points) if step <= last)] == list(measured)


def measured_alike(trials: Sequence[Recorded]) -> list[Recorded]:
    """The same, those that diverged measured as often as one that finished, where that gives their steps too.

    Of a trial that diverged it is not known how often it would have been measured; so all may train as one.
    """
    known = [each for each, _ in Counter(t.evaluations for t in trials if t.record.diverged_step is None).most_common()]
    return [replace(each, evaluations=_alike(each, known)) for each in trials]


def _alike(trial: Recorded, known: Sequence[int]) -> int:
    measured, steps = trial.series[MEASURED].steps.tolist(), trial.trial.config.budget.steps
    died = trial.record.diverged_step
    fitting = (points for points in known if _gives(points, measured, steps, died))
    return trial.evaluations if died is None else next(fitting, trial.evaluations)


def obstacle(cohort: CohortRecord, versions: Mapping[str, str], device: str) -> str:
    """Why equal bits cannot be expected here; empty where they can.

    versions: of what would train it again. device: its device's name, as a cohort has it.
    """
    if cohort.device != device:
        return f"device: {cohort.device} then, {device} now"
    return ", ".join(_differing(DECISIVE, cohort.versions, versions))


def doubts(cohort: CohortRecord, versions: Mapping[str, str]) -> str:
    """What may explain other bits; empty where nothing does."""
    unknown = [
        f"its {WORDS.get(each, each)} was not recorded"
        for each in (*DECISIVE, *DOUBTFUL)
        if each not in cohort.versions
    ]
    return ", ".join([*_differing(DOUBTFUL, cohort.versions, versions), *unknown])


def _differing(names: Iterable[str], then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{WORDS.get(each, each)}: {then[each]} then, {now[each]} now"
        for each in names
        if each in then and each in now and then[each] != now[each]
    ]
