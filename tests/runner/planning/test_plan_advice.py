"""What a plan says before anything trains: a warmup left open, and decay that is too strong."""

import pytest

from thalweg.runner.config import Request, declare
from thalweg.runner.planning.plan import make_plan
from thalweg.runner.study.study import expand


def advice(*words):
    study = declare(Request(words)).study
    return make_plan(study, expand(study), {}).advice


FAST = ("schedule.warmup=0", "optimizer.lr=0.1", "optimizer.weight_decay=1", "groups.low.match=layers.0.*")


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), []),
        (
            ("optimizer=sgd,lion", "budget.steps=90", "schedule.warmup=20%"),
            ["left at 18 of 90 steps; a rule of thumb for sgd: 5 (5 of 90", "rule of thumb for lion: 6 ("],
        ),
        (("schedule=one_cycle",), ["left at 180 of 600 steps"]),
        (("schedule.warmup=30",), []),
        (("schedule.warmup=2ep",), []),
        (("schedule.warmup=0,30",), []),
        (("schedule.warmup=0", "optimizer.lr=0.1,1", "optimizer.weight_decay=1"), ["1 trial has lr·wd ≥ 1"]),
        ((*FAST, "groups.low.lr=10"), ["1 trial has lr·wd ≥ 1"]),
        ((*FAST, "groups.low.lr=5", "groups.low.weight_decay=0,2"), ["1 trial has lr·wd ≥ 1"]),
        ((*FAST, "groups.low.lr=10", "groups.low.freeze=true"), []),
        ((*FAST, "groups.low.lr=10", "optimizer=adam_l2"), []),
        (("smoke",), []),
    ],
)
def test_a_plan_says_what_is_worth_knowing(words, said):
    found = advice(*words)
    assert len(found) == len(said), found
    assert all(part in line for part, line in zip(said, found, strict=True)), found


def test_what_is_done_needs_no_advice():
    from thalweg.runner.facts.observation import Outcome
    from thalweg.runner.facts.row import TrialStatus

    study = declare(Request(())).study
    members = expand(study)
    done = {member.trial.id: TrialStatus(Outcome.FINISHED, frozenset({"val/loss"})) for member in members}
    assert make_plan(study, members, done).advice == []
