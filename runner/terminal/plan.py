"""Plans in a terminal: what is wanted, done and missing, and what training that takes. Draws, decides nothing.

Apart from the listings, so that to plan, and to begin a sweep, needs no analysis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.facts.epochs import known_by
from thalweg.runner.planning.plan import Cost, Plan
from thalweg.runner.show.numbers import count, duration
from thalweg.runner.terminal.text import clean, row, table

LENGTH = "budget.steps"
SHOWN_OF_GROUPS = ("model.name", "optimizer.name", "optimizer.decay", "dataset.name", LENGTH)


def plan_line(plan: Plan) -> str:
    """A plan in one line: wanted, done, to train."""
    line = f"{count(plan.wanted, 'trial')} wanted, {plan.done:,} done, {plan.to_train:,} to train"
    line = f"{line} in {count(len(plan.groups), 'group')}" if plan.groups else line
    line = f"{line}, {len(plan.pruned):,} stopped early" if plan.pruned else line
    return f"{line}, {plan.others:,} left to other shards" if plan.others else line


def plan_details(plan: Plan) -> list[str]:
    """What else is worth knowing of a plan, a line each."""
    lines = []
    if plan.unknown:
        lines.append(f"{count(plan.unknown, 'point')} not yet known: tpe asks for them once those before have ended")
    lines += _stages(plan)
    if plan.excluded:
        conditions = dict.fromkeys(block.exclude for block in plan.study.blocks if block.exclude)
        lines.append(f"{count(plan.excluded, 'cell')} not wanted, by exclude: {'; '.join(conditions)}")
    if plan.diverged:
        lines.append(f"{plan.diverged:,} of the done ones diverged")
    if plan.retry:
        lines.append(f"{count(plan.retry, 'trial')} failed before and will be tried again")
    if plan.failed:
        lines.append(f"{count(plan.failed, 'trial')} failed before, left alone")
    if plan.unmeasured:
        lines.append(f"{count(plan.unmeasured, 'trial')} to measure again: finished without {plan.study.metric}")
    for what, number in plan.repaired.items():
        lines.append(f"{count(number, 'trial')} to train again, trained before this mistake was corrected: {what}")
    if plan.lacking:
        lacking = (
            f"{count(plan.lacking, 'trial')} of the done ones without {plan.study.metric}: trained again, they ended"
        )
        lines.append(f"{lacking} with other bits (another torch or machine); to train all again, use another --store")
    for key, (kept, declared) in plan.kept_points.items():
        if kept < declared:
            lines.append(f"axis {key}: {kept} of its {declared} values have trained trials")
    lines += changed_lines(plan)
    if plan.outside:
        lines.append(f"{count(plan.outside, 'trained trial')} no longer in the study's YAML; they stay stored")
    return [*lines, *_cost_lines(plan), *plan.advice]


def _stages(plan: Plan) -> list[str]:
    """How far trials train before it is known who goes on, and what the rule would have done before."""
    if plan.study.stop is None:
        return []
    said = plan.study.stop.said
    rungs = Counter(plan.until.values())
    lines = [
        f"{count(number, 'trial')} to step {step:,} first, where {said} says who goes on"
        for step, number in sorted(rungs.items())
    ]
    if plan.waiting:
        lines.append(f"{count(plan.waiting, 'trial')} there already, until all they are compared with are")
    where = Counter((each.rung, each.step) for each in plan.pruned.values())
    lines += [f"{number:,} stopped at rung {rung}, step {step:,}" for (rung, step), number in sorted(where.items())]
    return [*lines, *([plan.hindsight] if plan.hindsight else [])]


def _cost_lines(plan: Plan) -> list[str]:
    """What training is expected to take, where trials like these were trained before."""
    return _cost(plan, plan.cost, "by {like} like these", "was trained") if plan.cost else []


def probed_lines(plan: Plan, cost: Cost | None, said: Sequence[str]) -> list[str]:
    """What training is expected to take by steps that were timed now, and what could not be timed."""
    return [*(_cost(plan, cost, "by steps timed just now", "could be timed") if cost else []), *said]


def _cost(plan: Plan, cost: Cost, how: str, known: str) -> list[str]:
    ends = f"{duration(cost.fastest)} to {duration(cost.slowest)}"
    memory = f", {cost.peak_bytes / 2**20:,.0f} MiB a worker at most" if cost.peak_bytes else ""
    took = f"{ends}, {how.format(like=count(cost.like, 'trial'))}"
    about = f"about {duration(cost.seconds)} of one core ({took}){memory}"
    about = f"{about}, if none were stopped early" if plan.until else about
    return [f"{about}; of {count(cost.unknown, 'trial')} none like them {known}" if cost.unknown else about]


def changed_lines(plan: Plan) -> list[str]:
    """Which trials other code of the user's trained, a line for each set of files, or measured, one for each metric."""
    lines = []
    for files, number in plan.changed.items():
        trained = f"{count(number, 'trial')} {'were' if number > 1 else 'was'} trained by an earlier {', '.join(files)}"
        lines.append(f"{trained}; to train them again, and keep the old ones: thalweg sweep … --rerun-changed")
    for metric, number in plan.stale.items():
        measured = f"{count(number, 'trial')} {'were' if number > 1 else 'was'} measured by an earlier {metric}"
        lines.append(f"{measured}, and these values stay; to measure again, give the function another name")
    return lines


def show_groups(out: Console, plan: Plan) -> None:
    """Print what the groups to train share, a line each."""
    apart = {key: values for key, values in plan.apart_by.items() if key not in SHOWN_OF_GROUPS}
    made = table("to train", "model", "optimizer", "dataset", "steps", *apart, right={"to train", "steps"})
    lengths = _lengths(plan)
    for number, group in enumerate(plan.groups):
        shared = group.trials[0].config
        decay = getattr(shared.optimizer, "decay", None)
        optimizer = f"{shared.optimizer.name} ({decay})" if decay else shared.optimizer.name
        names = [
            shared.model.name,
            optimizer,
            shared.dataset.name,
            lengths.get(group.trials[0].id, shared.budget.steps),
        ]
        names += [_told(values[number]) for values in apart.values()]
        row(made, f"{len(group.trials):,} of {group.wanted:,}", *names)
    out.print(made)
    if plan.apart_by:
        out.print(Text(clean(f"Trials of different {', '.join(plan.apart_by)} cannot train as one program.")))


def _lengths(plan: Plan) -> dict[str, Scalar]:
    """How long the first trial of each group trains, where that is an axis."""
    firsts = {group.trials[0].id for group in plan.groups}
    some = [member for member in plan.members if LENGTH in member.axes and member.trial.id in firsts]
    return {member.trial.id: known_by(member, plan.study.blocks)[LENGTH] for member in some}


def _told(value: Any) -> str:
    return "" if value is None else str(value)
