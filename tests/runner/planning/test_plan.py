from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from store_cases import make_members, make_study

from thalweg.runner.config import Request, declare
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.record import History
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.planning.compare import compare
from thalweg.runner.planning.plan import Cost, make_plan
from thalweg.runner.study.study import Member, expand

LRS, SEEDS = (0.1, 0.2, 0.4), (0, 1)
FINISHED = TrialStatus(Outcome.FINISHED, frozenset({"val/loss"}))


def row_of(member, outcome=Outcome.FINISHED, **flags):
    return Row(
        trial_id=member.trial.id,
        block=member.block,
        axes=member.axes,
        outcome=outcome,
        diverged_step=None,
        metrics={},
        config={},
        **flags,
    )


def test_nothing_stored_means_everything_is_trained_in_declared_order():
    members = make_members(LRS, SEEDS)
    plan = make_plan(make_study(), members, {})
    assert (plan.wanted, plan.done, plan.to_train, plan.kept_points) == (6, 0, 6, {})
    assert [t.id for t in plan.groups[0].trials] == [m.trial.id for m in members]


def test_a_finished_study_has_nothing_left():
    members = make_members(LRS, SEEDS)
    plan = make_plan(make_study(), members, {m.trial.id: FINISHED for m in members})
    assert (plan.done, plan.to_train, plan.groups, plan.unmeasured) == (6, 0, (), 0)


def test_a_diverged_trial_is_done_without_any_metric():
    members = make_members()
    plan = make_plan(make_study(), members, {members[0].trial.id: TrialStatus(Outcome.DIVERGED)})
    assert (plan.done, plan.diverged, plan.to_train) == (1, 1, 0)


def test_failed_trials_are_retried_and_pruned_ones_trained():
    failed, pruned = make_members(LRS[:2])
    has_all = frozenset({"val/loss"})
    plan = make_plan(
        make_study(),
        [failed, pruned],
        {
            failed.trial.id: TrialStatus(Outcome.FAILED, has_all),
            pruned.trial.id: TrialStatus(Outcome.PRUNED, has_all),
        },
    )
    assert (plan.done, plan.retry, plan.to_train, plan.unmeasured) == (0, 1, 2, 0)


def test_a_finished_trial_that_lacks_the_metric_is_measured_again_and_the_plan_says_why():
    members = make_members(LRS)
    stored = {m.trial.id: FINISHED for m in members}
    plan = make_plan(make_study(metric="test/loss"), members, stored)
    assert (plan.done, plan.to_train, plan.unmeasured) == (0, 3, 3)


def test_a_trial_in_two_blocks_is_counted_and_trained_once():
    member = make_members()[0]
    plan = make_plan(make_study(), [member, Member(member.trial, "other", member.axes)], {})
    assert (plan.wanted, plan.to_train, plan.groups[0].wanted) == (1, 1, 1)
    assert len(plan.members) == 2


def test_groups_are_structures_in_declared_order_and_count_their_done_trials():
    wide, narrow = make_members(LRS, hidden=(16,)), make_members(LRS, hidden=(4,))
    members = [wide[0], narrow[0], wide[1], narrow[1], wide[2]]
    plan = make_plan(make_study(), members, {wide[0].trial.id: FINISHED})
    assert [g.group_id for g in plan.groups] == [narrow[0].trial.group_id, wide[0].trial.group_id]
    assert [(len(g.trials), g.wanted) for g in plan.groups] == [(2, 2), (2, 3)]


def test_trials_that_an_edited_file_drops_are_counted_as_outside():
    old = make_members((0.1, 0.2, 0.4))
    previous = [row_of(old[0]), row_of(old[1], Outcome.FAILED), row_of(old[2], overridden=True)]
    assert make_plan(make_study(), [], {}, previous).outside == 1
    assert make_plan(make_study(), [old[0]], {}, previous).outside == 0


def test_an_override_puts_nothing_outside():
    old = make_members((0.1, 0.2, 0.4))
    previous = [row_of(old[0]), row_of(old[1]), row_of(old[2], outside=True)]
    assert make_plan(make_study(overridden=True), [old[0]], {}, previous).outside == 1


def test_kept_points_count_the_declared_values_that_have_done_trials():
    old = make_members((0.1, 0.2, 0.3))
    previous = [row_of(old[0]), row_of(old[1], Outcome.DIVERGED), row_of(old[2], Outcome.FAILED)]
    lrs, seeds = (0.1, 0.2, 0.3, 0.4), (0, 1)
    plan = make_plan(make_study(lrs=lrs, seeds=seeds), make_members(lrs, seeds), {}, previous)
    assert plan.kept_points == {"model": (1, 1), "optimizer.lr": (2, 4), "seed": (1, 2)}


STATUSES = st.none() | st.builds(
    TrialStatus,
    st.none() | st.sampled_from(Outcome),
    st.frozensets(st.sampled_from(["val/loss", "val/accuracy"])),
)
POOL = make_members(LRS, SEEDS) + make_members(LRS[:2], hidden=(4,))


@given(st.lists(st.sampled_from(POOL), max_size=16), st.lists(STATUSES, min_size=8, max_size=8))
def test_every_declared_trial_is_either_done_or_trained_exactly_once(members, found):
    stored = {m.trial.id: s for m, s in zip(POOL, found, strict=True) if s is not None}
    plan = make_plan(make_study(), members, stored)
    trained = [trial for group in plan.groups for trial in group.trials]
    assert plan.done + plan.to_train == plan.wanted == len({m.trial.id for m in members})
    assert len({trial.id for trial in trained}) == len(trained)
    for trial in trained:
        assert trial.id not in stored or not stored[trial.id].is_done("val/loss")
    for group in plan.groups:
        assert {trial.group_id for trial in group.trials} == {group.group_id}
        assert group.wanted == len({m.trial.id for m in members if m.trial.group_id == group.group_id})
    assert plan.retry + plan.unmeasured <= plan.to_train


@given(st.lists(st.sampled_from(POOL), max_size=12), st.sets(st.sampled_from(POOL[:6]).map(lambda m: m.trial.id)))
def test_training_what_a_plan_lists_leaves_nothing_to_train(members, done):
    stored = dict.fromkeys(done, FINISHED)
    plan = make_plan(make_study(), members, stored)
    stored |= {trial.id: FINISHED for group in plan.groups for trial in group.trials}
    assert make_plan(make_study(), members, stored).to_train == 0


def test_what_training_takes_is_told_by_trials_of_the_same_groups():
    members = make_members(LRS, SEEDS)
    plan = make_plan(make_study(), members, {members[0].trial.id: FINISHED})
    assert plan.cost is None
    group = plan.groups[0].group_id
    known = replace(plan, history={group: History(7, 2.0, 1.0, 4.0, 2**20), "another": History(1, 9.0, 9.0, 9.0, None)})
    assert known.cost == Cost(seconds=10.0, fastest=5.0, slowest=20.0, like=7, unknown=0, peak_bytes=2**20)
    other = replace(known, groups=(*known.groups, replace(known.groups[0], group_id="new")))
    assert other.cost is not None
    assert (other.cost.seconds, other.cost.unknown) == (10.0, 5)


def test_a_plan_says_what_keeps_trials_from_sharing_a_program():
    words = ("model=linear,mlp", "budget.batch_size=16,32", "sam=none,standard", "optimizer.lr=0.1,0.2")
    plan = compare(declare(Request(words)).study, None)
    assert len(plan.groups) == 8
    assert set(plan.apart_by) == {"model.name", "budget.batch_size", "sam.name"}
    assert compare(declare(Request(words[3:])).study, None).apart_by == {}


def test_a_value_that_a_structure_leaves_out_is_said_too():
    plan = compare(declare(Request(("model=mlp", "model.dropout=0,0.5"))).study, None)
    assert plan.apart_by == {"model.dropout": [0.0, 0.5]}


def test_values_in_epochs_are_kept_ones_where_their_steps_were_trained():
    """With batch sizes beside them, one duration is several numbers of steps, and counts once."""
    words = ("budget.steps=1ep,2ep", "budget.batch_size=25,50")
    declared = declare(Request(words)).study
    rows = [row_of(member) for member in expand(declared)]
    assert make_plan(declared, expand(declared), {}, rows).kept_points["budget.steps"] == (2, 2)
    wider = declare(Request(("budget.steps=1ep,2ep,3ep", *words[1:]))).study
    assert make_plan(wider, expand(wider), {}, rows).kept_points["budget.steps"] == (2, 3)
