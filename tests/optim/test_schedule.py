"""The closed form of the schedule, and the torch scheduler that steps along it."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.optim import AdamW, ScheduledLR, SGDMomentum, WarmupCosine, multipliers, one_cycle, warmup_cosine, wsd
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
    optimizer = AdamW([{"params": [a], "lr": 0.3}, {"params": [b]}], lr=0.01)
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
    with pytest.raises(ValueError, match="there is no schedule 'cosine'; known: warmup_cosine, linear"):
        ScheduledLR(optimizer, 200, "cosine", warmup=0)


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
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert other.base_lrs == [0.1]
    assert WarmupCosine(again, 20, 5, last_epoch=12).get_last_lr() == [pytest.approx(0.1 * other._multiplier_at(13))]
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

    def train(theta, optimizer, scheduler, steps):
        for t in steps:
            theta.grad = grads[t].clone()
            optimizer.step()
            scheduler.step()

    whole = start()
    train(*whole, range(total))
    first = start()
    train(*first, range(stop))
    saved = copy.deepcopy((first[0].detach(), first[1].state_dict(), first[2].state_dict()))
    again = start()
    with torch.no_grad():
        again[0].copy_(saved[0])
    again[1].load_state_dict(saved[1])
    again[2].load_state_dict(saved[2])
    train(*again, range(stop, total))
    assert torch.equal(whole[0], again[0])
    assert whole[1].param_groups[0]["lr"] == again[1].param_groups[0]["lr"]
    assert whole[1].param_groups[0]["multiplier"] == again[1].param_groups[0]["multiplier"]


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
