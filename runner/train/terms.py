"""What a sweep's pieces of work have in common, and how far it is: given to its schedule, and counted by it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from thalweg.runner.facts.choice import Choice, layout_for
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.cutting import cut
from thalweg.runner.train.messages import Ask, Keep, Train
from thalweg.runner.train.rungs import Rungs

PROBED_TRIALS = 32


@dataclass(frozen=True)
class Terms:
    """What the pieces of work of a sweep have in common.

    executor, width: as asked for, `auto` and None where the group's choice decides. workers: how many share the
    work; sharing: how many of them a device. checkpoints: folder and seconds between them; None for none. weights:
    where final weights go; starts: the folder of those that trials may start from. onward: trial -> the shorter one
    that it goes on from; measured: trial -> hash and loss of kept weights, by which it is only to be measured.
    max_failures: failed trials after which nothing more is trained; None for no limit. settling: how each group
    trains is found out and kept, and no more is trained than that takes. groups: how many share the workers. rungs:
    how far each trial trains that is not to train to its end at one go.
    """

    executor: str
    workers: int
    evaluations: int
    metrics: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    width: int | None = None
    checkpoints: tuple[str, float] | None = None
    weights: Keep | None = None
    starts: str | None = None
    onward: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    sharing: int = 1
    max_failures: int | None = None
    settling: bool = False
    rungs: Rungs | None = None
    groups: int = 1

    def probe(self, group_id: str, trials: Sequence[Trial]) -> Ask:
        """The question how to train a group, with a sample of its trials: of one seed, if they share batches."""
        layout = layout_for(trials)
        seeds = Counter(trial.config.seed for trial in trials)
        seed = seeds.most_common(1)[0][0]
        sample = [trial for trial in trials if layout == "per_lane" or trial.config.seed == seed]
        return Ask(
            group_id=group_id,
            sample=tuple(sample[:PROBED_TRIALS]),
            layout=layout,
            requested=self.executor,
            metrics=self.metrics,
            scalars=self.scalars,
            trials=len(trials),
            workers=self.workers,
            sharing=self.sharing,
            evaluations=self.evaluations,
            starts=self.starts,
            seeds=len(seeds),
            idle=max(1, self.workers // self.groups),
        )

    def train(self, group_id: str, trials: tuple[Trial, ...], choice: Choice) -> Train:
        """The work to train a cohort."""
        measured = {trial.id: self.measured[trial.id] for trial in trials if trial.id in self.measured}
        onward = {trial.id: self.onward[trial.id] for trial in trials if trial.id in self.onward}
        return Train(
            group_id=group_id,
            trials=trials,
            executor=choice.executor,
            layout=choice.layout,
            evaluations=self.evaluations,
            metrics=self.metrics,
            scalars=self.scalars,
            checkpoints=self.checkpoints,
            weights=self.weights,
            starts=self.starts,
            stage=self.rungs.stage(trials) if self.rungs else None,
            onward=onward if len(onward) == len(trials) else {},
            measured=measured if len(measured) == len(trials) else {},
        )

    def cut(self, trials: Sequence[Trial], choice: Choice) -> list[tuple[Trial, ...]]:
        """Cohorts of trials that go on from the same step, to the same step."""
        pools = [trials] if self.rungs is None else self.rungs.pools(trials)
        return [cohort for pool in pools for cohort in cut(pool, choice, self.workers)]

    def steps(self, trials: Iterable[Trial]) -> int:
        """The trial-steps that are to train of these."""
        if self.rungs is None:
            return sum(trial.config.budget.steps for trial in trials)
        return sum(map(self.rungs.steps, trials))


@dataclass
class Tally:
    """How far a sweep is, in trials and trial-steps.

    reached: trials that came to a rung. left: trials that were trained to other bits than are stored, which stay.
    untried: left alone since those before them all failed. elsewhere: how those ended that another driver trained.
    best: the best value so far of the study's metric. first_failed: the trial of first_error.
    """

    ended: Counter[Outcome] = field(default_factory=Counter)
    elsewhere: Counter[Outcome] = field(default_factory=Counter)
    reached: int = 0
    left: int = 0
    untried: int = 0
    steps: int = 0
    wanted_steps: int = 0
    best: float | None = None
    first_error: str | None = None
    first_failed: str | None = None

    @property
    def fraction(self) -> float:
        """Share of the work that is done."""
        return min(1.0, self.steps / max(self.wanted_steps, 1))
