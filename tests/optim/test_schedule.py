"""The closed form of the schedule, and the torch scheduler that steps along it."""

import copy
import dataclasses
import functools
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from thalweg.optim import (
    SAM,
    AdamW,
    ScheduledLR,
    SGDMomentum,
    WarmupCosine,
    multipliers,
    one_cycle,
    schedule,
    warmup_cosine,
    wsd,
)
from thalweg.optim.schema import SCHEDULES, WarmupCosineConfig

TABLE = [(200, 10, 0.0), (200, 0, 0.1), (7, 7, 0.5), (1, 0, 0.0), (1, 1, 0.0), (50, 49, 1.0)]


@st.composite
def schedules(draw):
    total = draw(st.integers(1, 300))
    return total, draw(st.integers(0, total)), draw(st.floats(0, 1))


@settings(deadline=None)
@given(schedules())
def test_the_multiplier_rises_to_one_and_falls_to_the_floor(schedule):
    total, warmup, floor = schedule
    m = warmup_cosine(np.arange(total + 3), total, warmup, floor)
    assert m.dtype == np.float64
    assert ((m > 0) | (np.arange(total + 3) >= warmup)).all()
    assert (np.diff(m[:warmup]) > 0).all()
    assert (np.diff(m[max(warmup, 1) : total]) <= 1e-15).all()
    assert m.max() <= 1 + 1e-15
    assert (m[warmup:] >= floor - 1e-15).all()
    assert (m[total:] == floor).all()
    if warmup:
        assert m[0] == 1 / warmup
        assert m[warmup - 1] == 1
    if warmup < total:
        assert m[warmup] == pytest.approx(1, abs=1e-15)


@settings(deadline=None)
@given(schedules())
def test_the_multiplier_equals_the_formula_as_written(schedule):
    total, warmup, floor = schedule
    wanted = [reference.warmup_cosine(t, total, warmup, floor) for t in range(total + 2)]
    np.testing.assert_allclose(warmup_cosine(np.arange(total + 2), total, warmup, floor), wanted, rtol=0, atol=1e-15)


@st.composite
def configurations(draw, kinds=tuple(SCHEDULES)):
    """A run's length and a configuration of any schedule that fits into it."""
    total, kind = draw(st.integers(1, 200)), draw(st.sampled_from(kinds))
    warmup = draw(st.integers(0, total))
    values = {
        "warmup": warmup,
        "cooldown": draw(st.integers(0, total - warmup)),
        "start": draw(st.floats(0, 0.99)),
        "offset": draw(st.integers(0, 1)),
        "floor": draw(st.floats(0, 1)),
        "root": draw(st.booleans()),
        "name": kind,
    }
    return total, SCHEDULES[kind](**{item.name: values[item.name] for item in dataclasses.fields(SCHEDULES[kind])})


@settings(deadline=None)
@given(configurations())
def test_every_schedule_equals_its_formula_as_written(drawn):
    total, config = drawn
    shape = dataclasses.asdict(config)
    wanted = getattr(reference, shape.pop("name"))
    if config.name == "warmup_cosine":  # the reference above knows the plain warmup only
        shape.pop("start"), shape.pop("offset")
        config = dataclasses.replace(config, start=0.0, offset=1)
    got = multipliers(config, total, np.arange(total + 3))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, [wanted(t, total, **shape) for t in range(total + 3)], rtol=0, atol=1e-15)
    assert got.max() <= 1 + 1e-15
    assert got.min() >= 0


@settings(deadline=None)
@given(configurations())
def test_a_step_can_be_had_without_the_ones_before_it(drawn):
    total, config = drawn
    whole = multipliers(config, total, np.arange(total + 3))
    for t in {0, total // 2, total - 1, total, total + 2}:
        np.testing.assert_array_equal(multipliers(config, total, np.array([t])), whole[t : t + 1])


@pytest.mark.parametrize(("total", "warmup"), [(100, 30), (40, 10), (10, 2)])
def test_one_cycle_equals_torchs(total, warmup):
    theta = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([theta], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=warmup / total, div_factor=25, final_div_factor=1e4
    )
    wanted = []
    for t in range(total):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if t < total - 1:
            theirs.step()
    got = one_cycle(np.arange(total), total, warmup, 1 / 25, 1 / 25 / 1e4)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def test_an_offset_of_zero_takes_the_first_step_at_the_start():
    for start in (0.0, 0.25):
        m = warmup_cosine(np.arange(12), 40, 10, 0.0, start, 0)
        assert (m[0], m[10]) == (start, 1.0)
        assert warmup_cosine(0, 40, 10, 0.0, start, 1) == start + (1 - start) / 10


@settings(deadline=None)
@given(st.lists(schedules(), min_size=1, max_size=6))
def test_a_table_of_trials_holds_the_bits_of_each_trial(rows):
    steps = np.arange(40)
    totals, warmups, floors = (np.array(column) for column in zip(*rows, strict=True))
    table = warmup_cosine(steps[:, None], totals, warmups, floors)
    assert table.shape == (40, len(rows))
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(table[:, k], warmup_cosine(steps, *row))
        np.testing.assert_array_equal(table[17, k], warmup_cosine(17, *row))


@pytest.mark.parametrize(("total", "warmup", "floor"), TABLE)
def test_stepping_the_scheduler_walks_the_table(total, warmup, floor):
    a, b = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    groups: list[dict[str, Any]] = [{"params": [a], "lr": 0.3}, {"params": [b]}]
    optimizer = AdamW(groups, lr=0.01)
    scheduler = WarmupCosine(optimizer, total, warmup, floor=floor)
    config = WarmupCosineConfig(name="warmup_cosine", warmup=warmup, floor=floor)
    for m in multipliers(config, total, np.arange(total + 2)):
        assert [group["multiplier"] for group in optimizer.param_groups] == [m, m]
        assert [group["lr"] for group in optimizer.param_groups] == [0.3 * m, 0.01 * m]
        assert scheduler.get_last_lr() == [0.3 * m, 0.01 * m]
        optimizer.step()
        scheduler.step()


@settings(deadline=None, max_examples=30)
@given(configurations())
def test_stepping_any_scheduler_walks_its_table(drawn):
    total, config = drawn
    optimizer = AdamW([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.3, 0.01)])
    shape = dataclasses.asdict(config)
    scheduler = ScheduledLR(optimizer, total, shape.pop("name"), **shape)
    for m in multipliers(config, total, np.arange(total + 2)):
        assert [group["multiplier"] for group in optimizer.param_groups] == [m, m]
        assert [group["lr"] for group in optimizer.param_groups] == [0.3 * m, 0.01 * m]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("warmup", "per_epoch", "steps"),
    [(30, None, 30), ("5%", None, 10), ("5.1%", None, 11), ("2ep", 31.25, 63), ("0.5ep", 32, 16), ("100%", None, 200)],
)
def test_a_warmup_is_counted_in_steps_epochs_or_as_a_share(warmup, per_epoch, steps):
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(1))])
    scheduler = WarmupCosine(optimizer, 200, warmup, steps_per_epoch=per_epoch)
    assert scheduler.shape["warmup"] == steps
    assert scheduler.multiplier == 1 / steps


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ("2ep", "steps_per_epoch is not given"),
        ("5 percent", r"it should be steps \(30\)"),
        (0.05, "it should be steps"),
        (True, "it should be steps"),
        ("101%", "warmup is 202 of 200 steps"),
    ],
)
def test_a_warmup_that_cannot_be_counted_is_refused(warmup, message):
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match=message):
        WarmupCosine(optimizer, 200, warmup)
    assert optimizer.param_groups[0]["lr"] == 0.1
    for form in ("cosine", None, ["linear"]):
        with pytest.raises(ValueError, match=r"there is no schedule .*; known: warmup_cosine, linear"):
            ScheduledLR(optimizer, 200, form, warmup=0)  # type: ignore[arg-type]


def test_a_tensor_rate_stays_the_tensor_it_was():
    lr = torch.tensor(0.5)
    optimizer = SGDMomentum([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = WarmupCosine(optimizer, 8, 4)
    seen = []
    for _ in range(5):
        assert optimizer.param_groups[0]["lr"] is lr
        seen.append(lr.item())
        optimizer.step()
        scheduler.step()
    assert seen == [0.125, 0.25, 0.375, 0.5, 0.5]


def test_the_peak_survives_a_new_scheduler_over_a_loaded_optimizer():
    """Whoever loads the optimizer first hands the scheduler a rate from the middle of the schedule."""
    first = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = WarmupCosine(first, 20, 5)
    for _ in range(12):
        first.step()
        scheduler.step()
    again = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.7)
    again.load_state_dict(first.state_dict())
    other = WarmupCosine(again, 20, 5)
    buffer = io.BytesIO()
    torch.save(scheduler.state_dict(), buffer)
    buffer.seek(0)
    assert again.param_groups[0]["lr"] == 0.1 * (1 / 5)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert other.base_lrs == [0.1]
    assert again.param_groups[0]["lr"] == first.param_groups[0]["lr"] == other.get_last_lr()[0]
    assert again.param_groups[0]["multiplier"] == first.param_groups[0]["multiplier"]
    assert WarmupCosine(again, 20, 5, last_epoch=12).get_last_lr() == [
        pytest.approx(0.1 * warmup_cosine(13, 20, 5).item())
    ]
    again.load_state_dict(first.state_dict())
    for optimizer, its in ((first, scheduler), (again, other)):
        optimizer.step()
        its.step()
    assert first.param_groups[0]["lr"] == again.param_groups[0]["lr"]


def test_the_first_step_is_taken_at_the_first_value_of_the_warmup():
    theta = torch.nn.Parameter(torch.zeros(1))
    optimizer = SGDMomentum([theta], lr=1.0)
    WarmupCosine(optimizer, 100, 10)
    theta.grad = torch.ones(1)
    optimizer.step()
    assert theta.item() == pytest.approx(-0.1)


def test_a_rate_of_zero_still_decays_independently():
    theta = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = AdamW([theta], lr=0.0, weight_decay=0.5, decay="independent")
    scheduler = WarmupCosine(optimizer, 4, 2)
    for _ in range(4):
        theta.grad = torch.ones_like(theta)
        optimizer.step()
        scheduler.step()
    wanted = np.prod(1 - 0.5 * warmup_cosine(np.arange(4), 4, 2, 0.0))
    assert theta.item() == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("decay", ["coupled", "independent"])
@pytest.mark.parametrize("stop", [3, 10, 25])
def test_resuming_inside_the_schedule_ends_with_the_same_bits(stop, decay):
    total = 30
    grads = torch.randn(total, 5, generator=torch.Generator().manual_seed(1))

    def start():
        theta = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = AdamW([theta], lr=0.1, weight_decay=0.1, decay=decay)
        return theta, optimizer, WarmupCosine(optimizer, total, 10, floor=0.05)

    def train(run, steps):
        theta, optimizer, scheduler = run
        for t in steps:
            theta.grad = grads[t].clone()
            optimizer.step()
            scheduler.step()

    whole = start()
    train(whole, range(total))
    first = start()
    train(first, range(stop))
    saved = copy.deepcopy((first[0].detach(), first[1].state_dict(), first[2].state_dict()))
    again = start()
    with torch.no_grad():
        again[0].copy_(saved[0])
    again[1].load_state_dict(saved[1])
    again[2].load_state_dict(saved[2])
    train(again, range(stop, total))
    assert torch.equal(whole[0], again[0])
    assert whole[1].param_groups[0]["lr"] == again[1].param_groups[0]["lr"]
    assert whole[1].param_groups[0]["multiplier"] == again[1].param_groups[0]["multiplier"]


def silent(lr, **options):
    """A weight without a gradient of its own, so that decay alone moves it, and its optimizer."""
    theta = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    return theta, AdamW([theta], lr=lr, weight_decay=0.5, decay="independent", **options)


def decays_of(theta, optimizer, advance, steps=12):
    """What each step decays by, as a share of λ, and the rate it is taken at."""

    def closure():
        theta.grad = torch.zeros_like(theta)
        return 0.0

    seen = []
    for _ in range(steps):
        before, rate = theta.item(), float(optimizer.param_groups[0]["lr"])
        optimizer.step(closure)
        seen.append(((1 - theta.item() / before) / 0.5, rate))
        advance()
    return np.array(seen).T


def plateau(optimizer):
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    scheduler.step = functools.partial(scheduler.step, 1.0)  # type: ignore[method-assign]
    return scheduler


def one_after_another(optimizer):
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4), lr_scheduler.ExponentialLR(optimizer, 0.8)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[4])


# name -> scheduler, and the peak of its rates around an optimizer that was made with .1
TORCHS: dict[str, tuple[Callable[..., Any], float]] = {
    "LambdaLR": (lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)), 0.1),
    "MultiplicativeLR": (lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.9), 0.1),
    "StepLR": (lambda o: lr_scheduler.StepLR(o, 3), 0.1),
    "MultiStepLR": (lambda o: lr_scheduler.MultiStepLR(o, [2, 5]), 0.1),
    "ConstantLR": (lambda o: lr_scheduler.ConstantLR(o, 0.5, total_iters=4), 0.1),
    "LinearLR": (lambda o: lr_scheduler.LinearLR(o, 0.25, total_iters=6), 0.1),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, 0.8), 0.1),
    "SequentialLR": (one_after_another, 0.1),
    "PolynomialLR": (lambda o: lr_scheduler.PolynomialLR(o, total_iters=8, power=2.0), 0.1),
    "CosineAnnealingLR": (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=10), 0.1),
    "ChainedScheduler": (lambda o: lr_scheduler.ChainedScheduler([TORCHS["StepLR"][0](o)]), 0.1),
    "ReduceLROnPlateau": (plateau, 0.1),
    "CyclicLR": (lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4), 0.1),
    "CosineAnnealingWarmRestarts": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=5), 0.1),
    "OneCycleLR": (lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.05, total_steps=20), 0.05),
}


@pytest.mark.parametrize("name", [name for name in lr_scheduler.__all__ if name != "LRScheduler"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_independent_decay_follows_any_scheduler_of_torchs(name, wrapped):
    make, peak = TORCHS[name]
    theta, optimizer = silent(0.1, betas=(0.9, 0.999))
    outer = SAM(optimizer) if wrapped else optimizer
    scheduler = make(outer)
    seen, rates = decays_of(theta, outer, scheduler.step)
    assert len(set(rates)) > 1
    np.testing.assert_allclose(seen, rates / peak, rtol=1e-9)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_rate_written_by_hand_takes_the_decay_with_it(resumed):
    theta, optimizer = silent(0.1)
    for rate, wanted in ((0.1, 1.0), (0.05, 0.5), (0.2, 1.0), (0.05, 0.25), (0.0, 0.0)):
        if resumed:
            theta, other = silent(0.7)
            other.load_state_dict(optimizer.state_dict())
            optimizer = other
        optimizer.param_groups[0]["lr"] = rate
        seen, _ = decays_of(theta, optimizer, lambda: None, 1)
        assert seen[0] == pytest.approx(wanted)


def test_a_multiplier_written_by_hand_holds():
    theta, optimizer = silent(0.1)
    optimizer.param_groups[0] |= {"lr": 0.02, "multiplier": 0.3}
    assert decays_of(theta, optimizer, lambda: None, 3)[0] == pytest.approx(0.3)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
@pytest.mark.parametrize("form", ["warmup_cosine", "one_cycle", "constant"])
def test_after_a_finished_schedule_the_decay_follows_whoever_writes_the_rate(lr, form):
    theta, optimizer = silent(copy.deepcopy(lr))
    shape: dict[str, Any] = {"warmup": 2} | ({"start": 0.1, "floor": 0.0} if form == "one_cycle" else {})
    scheduler = ScheduledLR(optimizer, 6, form, **shape)
    seen, rates = decays_of(theta, optimizer, scheduler.step, 9)
    np.testing.assert_allclose(seen, rates / 0.1, rtol=1e-6, atol=1e-12)
    optimizer.param_groups[0]["lr"] = 0.02
    assert decays_of(theta, optimizer, lambda: None, 2)[0] == pytest.approx(0.2)
    following = lr_scheduler.LinearLR(optimizer, 0.5, total_iters=4)
    seen, rates = decays_of(theta, optimizer, following.step, 6)
    np.testing.assert_allclose(seen, rates / 0.1, rtol=1e-6)
    again = ScheduledLR(optimizer, 6, form, **shape)
    seen, rates = decays_of(theta, optimizer, again.step, 9)
    np.testing.assert_allclose(seen, rates / 0.1, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_a_scheduler_goes_on_at_the_saved_rate_in_whatever_order_states_are_loaded(lr, optimizer_first):
    _, first = silent(copy.deepcopy(lr))
    scheduler = WarmupCosine(first, 20, 5)
    for _ in range(12):
        first.step()
        scheduler.step()
    saved = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    _, again = silent(copy.deepcopy(lr) * 7)
    if optimizer_first:
        again.load_state_dict(saved[0])
        other = WarmupCosine(again, 20, 5)
        other.load_state_dict(saved[1])
    else:
        other = WarmupCosine(again, 20, 5)
        other.load_state_dict(saved[1])
        assert again.param_groups[0]["lr"] == first.param_groups[0]["lr"]
        again.load_state_dict(saved[0])
    for _ in range(3):
        assert again.param_groups[0] | {"params": 0, "peak": 0} == first.param_groups[0] | {"params": 0, "peak": 0}
        assert other.get_last_lr() == scheduler.get_last_lr()
        assert isinstance(again.param_groups[0]["lr"], type(lr))
        for part in (first, again, scheduler, other):
            part.step()


def test_a_resumed_schedule_stays_the_one_it_was_made_with_and_says_so():
    first = SGDMomentum([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = WarmupCosine(first, 20, "10%")
    for _ in range(12):
        first.step()
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WarmupCosine(first, 20, "10%").load_state_dict(scheduler.state_dict())
    longer = WarmupCosine(first, 40, "10%")
    with pytest.warns(UserWarning, match=r"total 20 there and 40 here, shape .*'warmup': 2.*'warmup': 4"):
        longer.load_state_dict(scheduler.state_dict())
    assert first.param_groups[0]["lr"] == 0.1 * warmup_cosine(12, 40, 4)
    one_group_more = SGDMomentum([{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)], lr=0.2)
    other = WarmupCosine(one_group_more, 20, "10%")
    other.load_state_dict(scheduler.state_dict())
    m = scheduler.multiplier
    assert [group["lr"] for group in one_group_more.param_groups] == [0.1 * m, 0.2 * m]
    assert scheduler.base_lrs == [0.1]
    with pytest.raises(ValueError, match="the loaded state is not a schedule's; it should have base_lrs"):
        scheduler.load_state_dict(lr_scheduler.ReduceLROnPlateau(first).state_dict())
    with pytest.raises(ValueError, match="the loaded schedule is of 2 groups, and the optimizer has 1"):
        scheduler.load_state_dict(other.state_dict())


@pytest.mark.parametrize("form", ["warmup_cosine", "linear", "wsd", "one_cycle"])
def test_a_least_rate_is_the_same_for_groups_of_unlike_rate(form):
    rates = [0.3, 0.01, torch.tensor(0.1, dtype=torch.float64)]
    optimizer = SGDMomentum([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates])
    more: dict[str, dict[str, Any]] = {"wsd": {"cooldown": 3}, "one_cycle": {"start": 0.5}}
    shape = {"warmup": 2} | more.get(form, {})
    scheduler = ScheduledLR(optimizer, 10, form, min_lr=0.005, **shape)
    for t in range(12):
        for group, base in zip(optimizer.param_groups, (0.3, 0.01, 0.1), strict=True):
            floors = {"floor": 0.005 / base}
            m = schedule.__dict__[form](t, 10, **shape, **floors)
            assert float(group["lr"]) == pytest.approx(base * m)
            assert group["multiplier"] == pytest.approx(m)
        optimizer.step()
        scheduler.step()
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.005] * 3)


NAN, INF = float("nan"), float("inf")
IMPOSSIBLE = [
    *(({"total": bad}, "total is ") for bad in (0, -5, "100", INF, NAN, None, True, 99.5, np.int64(0), [100])),
    *(({"offset": bad}, "offset is ") for bad in (-7, 2, "1", INF, NAN, True, 0.5, np.int64(3), [0, 1])),
    *(({"floor": bad}, "floor is ") for bad in (-0.1, 1.5, "0.1", INF, NAN, True, None, np.float64(2), [0.1, 0.2])),
    *(({"start": bad}, "start is ") for bad in (-0.1, 1.5, "0.1", INF, NAN, False)),
    *(({"warmup": bad}, "warmup is ") for bad in (-1, 101, "100", INF, NAN, True, None, 3.0, "-5%", np.int64(-1))),
    *(({"last_epoch": bad}, "last_epoch is ") for bad in (-2, "3", NAN, INF, True, None)),
    *(({"warmup": "2ep", "steps_per_epoch": bad}, "steps_per_epoch is ") for bad in (0, -1, "10", INF, NAN, True)),
    *(({"min_lr": bad}, "min_lr is ") for bad in (-1, "0.1", INF, NAN, True, 0.2)),
    ({"min_lr": 0.01, "floor": 0.1}, "floor is 0.1 and min_lr 0.01; give one of them"),
]


@pytest.mark.parametrize(("bad", "message"), IMPOSSIBLE, ids=str)
def test_a_value_that_makes_no_schedule_is_one_sentence(bad, message):
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    groups = copy.deepcopy(optimizer.param_groups)
    with pytest.raises(ValueError, match=message) as error:
        WarmupCosine(optimizer, **{"total": 100, "warmup": 10} | bad)
    assert "\n" not in str(error.value)
    assert optimizer.param_groups == groups


@pytest.mark.parametrize("form", ["warmup_cosine", "linear", "constant", "inverse_sqrt", "wsd", "one_cycle"])
def test_every_closed_form_refuses_what_is_no_number_of_steps(form):
    shapes: dict[str, dict[str, Any]] = {"wsd": {"cooldown": 0}, "one_cycle": {"start": 0.5, "floor": 0.0}}
    more = shapes.get(form, {})
    for bad in (0, -3, "100", INF, NAN, True, [10, 0]):
        with pytest.raises(ValueError, match="total is "):
            getattr(schedule, form)(0, bad, 0, **more)
    for bad in (-1, "3", INF, NAN, [0, -1]):
        with pytest.raises(ValueError, match="step is "):
            getattr(schedule, form)(bad, 10, 0, **more)


@pytest.mark.parametrize(
    ("form", "shape", "message"),
    [
        ("constant", {"warmup": 1, "floor": 0.1}, "constant has no floor; it takes warmup, start, offset"),
        ("constant", {"warmup": 1, "min_lr": 0.1}, "constant has no floor"),
        ("wsd", {"warmup": 1}, "wsd needs cooldown"),
        ("one_cycle", {"warmup": 1, "min_lr": 0.01}, "one_cycle needs start"),
        ("linear", {}, "linear needs warmup"),
    ],
)
def test_an_argument_too_many_or_too_few_is_one_sentence(form, shape, message):
    with pytest.raises(TypeError, match=message):
        ScheduledLR(AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1), 100, form, **shape)


@pytest.mark.parametrize("root", [1, "no", None])
def test_a_root_is_true_or_false(root):
    with pytest.raises(ValueError, match=r"root is .*; it should be True or False"):
        ScheduledLR(AdamW([torch.nn.Parameter(torch.zeros(1))]), 100, "wsd", warmup=0, cooldown=10, root=root)


def test_numbers_of_numpy_and_whole_floats_are_numbers_and_can_be_saved():
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    shape: dict[str, Any] = {"warmup": np.int32(10), "cooldown": torch.tensor(10), "floor": np.float32(0.5)}
    shape["offset"] = np.array(0)
    scheduler = ScheduledLR(optimizer, np.int64(100), "wsd", root=np.bool_(True), **shape)  # type: ignore[arg-type]
    buffer = io.BytesIO()
    torch.save(scheduler.state_dict(), buffer)
    buffer.seek(0)
    plain: dict[str, Any] = {"warmup": 10, "cooldown": 10, "floor": 0.5, "offset": 0, "root": True}
    assert torch.load(buffer, weights_only=True)["shape"] == plain
    totals: list[Any] = [1e2, torch.tensor(100), np.array(100)]
    for total in totals:
        assert ScheduledLR(optimizer, total, "wsd", **plain).state_dict() == scheduler.state_dict()


@pytest.mark.parametrize(
    ("total", "warmup", "floor", "message"),
    [
        (20, 21, 0.0, "warmup is 21 of 20 steps"),
        (20, -1, 0.0, "warmup is -1 of 20 steps"),
        (20, 2, -0.1, "floor is -0.1"),
        (20, 2, 1.5, "floor is 1.5"),
        (20, 2, float("nan"), "floor is nan"),
    ],
)
def test_an_impossible_schedule_is_refused_and_the_optimizer_kept(total, warmup, floor, message):
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    groups = copy.deepcopy(optimizer.param_groups)
    with pytest.raises(ValueError, match=message):
        warmup_cosine(np.arange(3), total, np.array([1, warmup]), floor)
    with pytest.raises(ValueError, match=message):
        WarmupCosine(optimizer, total, warmup, floor=floor)
    assert optimizer.param_groups == groups


def test_a_cooldown_must_fit_beside_the_warmup():
    with pytest.raises(ValueError, match=r"warmup \+ cooldown is 21 of 20 steps"):
        wsd(np.arange(3), 20, np.array([1, 11]), 10, 0.0)
    with pytest.raises(ValueError, match=r"warmup \+ cooldown is 4 of 20 steps"):
        wsd(0, 20, 5, -1, 0.0)
