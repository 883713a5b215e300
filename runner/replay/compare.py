"""What was observed of a trial then and now: the first step and quantity that differ. Pure.

Metrics by functions of the user's are no part of a trial, and neither is how often it is measured: what only one side
has is not compared, but for losses of batches, which each step has.
"""

from __future__ import annotations

from thalweg.runner.base.errors import last_line
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.facts.parting import Difference, first_difference
from thalweg.runner.facts.replayed import Replayed, Verdict
from thalweg.runner.replay.recorded import Recorded, cannot


def verdict(stored: Recorded, observed: Observations, doubts: str) -> Replayed:
    """Compare what is stored of a trial with what was observed now. doubts: what may explain other bits.

    Doubts explain nothing where the losses are equal and the weights are not, or the other way round: one of the two
    is not what was written.
    """
    trial_id = stored.record.trial_id
    if observed.outcome is Outcome.FAILED:
        return cannot(stored.record, f"it cannot be trained here: {last_line(observed.error or 'no message')}")
    lost = first_difference(stored.series, observed.series)
    other_weights = stored.record.weight_hash != observed.weight_hash
    first = lost or _ending(stored, observed) or (_weights(stored, observed) if other_weights else None)
    if first is None:
        return Replayed(trial_id=trial_id, verdict=Verdict.MATCH)
    if doubts and lost and other_weights:
        return cannot(stored.record, f"{first}, and {doubts}", trainable=True)
    what = f"{first}{'' if other_weights else ', though the weights are the same'}"
    return Replayed(trial_id=trial_id, verdict=Verdict.MISMATCH, why=what, quantity=first.quantity, step=first.step)


def _ending(stored: Recorded, observed: Observations) -> Difference | None:
    """What differs in how a trial ended."""
    record, steps = stored.record, stored.trial.config.budget.steps
    ends = [(record.outcome, record.diverged_step), (observed.outcome, observed.diverged_step)]
    if ends[0] != ends[1]:
        words = [f"{outcome}" if step is None else f"{outcome} at step {step:,}" for outcome, step in ends]
        return Difference("outcome", min([steps, *(step for _, step in ends if step is not None)]), *words)
    for name in sorted(record.metrics.keys() & observed.metrics.keys()):
        if record.metrics[name] != observed.metrics[name]:
            return Difference(f"final {name}", steps, repr(record.metrics[name]), repr(observed.metrics[name]))
    return None


def _weights(stored: Recorded, observed: Observations) -> Difference:
    ended = stored.trial.config.budget.steps if observed.diverged_step is None else observed.diverged_step
    return Difference("weight hash", ended, f"{stored.record.weight_hash}"[:16], f"{observed.weight_hash}"[:16])
