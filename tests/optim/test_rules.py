"""What each rule promises the engine: trials do not see each other, decay does not see the moments."""

import dataclasses
import subprocess
import sys
from typing import Any, Literal

import numpy as np
import pytest
import reference
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from thalweg.optim import (
    AdamL2,
    AdamL2Rule,
    AdamW,
    AdamWRule,
    Lion,
    LionRule,
    SGDMomentum,
    SGDRule,
    multipliers,
    rule_for,
)
from thalweg.optim.schema import OPTIMIZERS, WarmupCosineConfig

K, P, T = 5, 37, 12
DECOUPLED: list[tuple[Literal["coupled", "independent"], Literal["before", "after"]]] = [
    ("coupled", "before"),
    ("coupled", "after"),
    ("independent", "before"),
    ("independent", "after"),
]
RULES = [
    *(AdamWRule(decay=decay, decay_order=order) for decay, order in DECOUPLED),
    *(SGDRule(nesterov=n, decay=decay, decay_order=order) for n in (False, True) for decay, order in DECOUPLED),
    SGDRule(nesterov=False, decay="l2", decay_order="before"),
    SGDRule(nesterov=True, decay="l2", decay_order="before"),
    AdamL2Rule(),
    AdamL2Rule(amsgrad=True),
    AdamWRule(decay="coupled", decay_order="before", amsgrad=True),
    LionRule(decay="coupled", decay_order="before"),
    LionRule(decay="independent", decay_order="after"),
]
DRAW = np.random.default_rng(5)
HYPER = {
    "lr": np.array([0.0, 1e-4, 1e-2, 0.1, 1.0]),
    "weight_decay": np.array([0.1, 0.0, 0.3, 1e-3, 0.5]),
    "momentum": np.array([0.9, 0.0, 0.5, 0.99, 0.8]),
    "dampening": np.array([0.0, 0.5, 0.3, 0.0, 0.9]),
    "beta1": np.array([0.9, 0.0, 0.5, 0.95, 0.8]),
    "beta2": np.array([0.999, 0.0, 0.9, 0.95, 0.99]),
    "eps": np.array([1e-8, 1e-4, 1e-6, 1e-12, 1e-8]),
}
START_KP = DRAW.normal(size=(K, P))
GRADS_TKP = DRAW.normal(size=(T, K, P))
MULTIPLIER_TK = DRAW.uniform(0.1, 1, size=(T, K))


def tables(rule, hyper, multiplier, steps=T):
    """Return name -> float64 [T, K], as an engine would keep them."""
    k = np.shape(multiplier)[1]
    table = rule.coefficients(hyper, multiplier, np.arange(steps)[:, None])
    return {name: np.broadcast_to(value, (steps, k)) for name, value in table.items()}


def run(rule, lanes, *, hyper=HYPER, dtype=torch.float32, grads=GRADS_TKP):
    """Train the given lanes together and return theta and the slots."""
    part = {name: value[lanes] for name, value in hyper.items()}
    table = tables(rule, part, MULTIPLIER_TK[:, lanes])
    theta_KP = torch.tensor(START_KP[lanes], dtype=dtype)
    slots = {name: torch.zeros_like(theta_KP) for name in rule.slots}
    for t in range(T):
        c = {name: torch.tensor(value[t], dtype=dtype)[:, None] for name, value in table.items()}
        rule.update(theta_KP, torch.tensor(grads[t, lanes], dtype=dtype), slots, c)
    return theta_KP, slots


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_trial_has_the_same_bits_alone_and_in_any_company(rule, dtype):
    together, slots = run(rule, [0, 1, 2, 3, 4], dtype=dtype)
    reversed_, _ = run(rule, [4, 3, 2, 1, 0], dtype=dtype)
    assert together.isfinite().all()
    assert torch.equal(together, reversed_.flip(0))
    for lane in range(K):
        alone, alone_slots = run(rule, [lane], dtype=dtype)
        assert torch.equal(alone[0], together[lane])
        assert all(torch.equal(alone_slots[name][0], slots[name][lane]) for name in rule.slots)


BEFORE = {"decay": "coupled", "decay_order": "before"}
AFTER = {"decay": "independent", "decay_order": "after"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SGDMomentum, {"nesterov": True, "decay": "l2", "decay_order": "before"}),
        (SGDMomentum, {"nesterov": False} | AFTER),
        (AdamW, BEFORE),
        (AdamW, {"amsgrad": True} | AFTER),
        (AdamL2, {}),
        (AdamL2, {"amsgrad": True}),
        (Lion, {"decay_on": "all"} | BEFORE),
        (Lion, {"decay_on": "all"} | AFTER),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_k_trials_of_the_rule_equal_k_optimizers(kind, options, dtype):
    config = OPTIMIZERS[kind.config_name]
    names = {item.name for item in dataclasses.fields(config)} & HYPER.keys()
    # The class refuses Nesterov without momentum or with dampening, as torch; the rule computes it.
    table = HYPER | (
        {"momentum": HYPER["momentum"] + 0.005, "dampening": np.zeros(K)} if options.get("nesterov") else {}
    )
    hypers: list[dict[str, Any]] = [{n: float(table[n][lane]) for n in names} for lane in range(K)]
    rule = rule_for(config(name=kind.config_name, **options, **hypers[0]))
    together, _ = run(rule, list(range(K)), hyper=table, dtype=dtype)
    for lane, hyper in enumerate(hypers):
        if "beta1" in hyper:
            hyper["betas"] = (hyper.pop("beta1"), hyper.pop("beta2"))
        theta = torch.nn.Parameter(torch.tensor(START_KP[lane], dtype=dtype))
        optimizer = kind([theta], **hyper, **options)
        for t in range(T):
            optimizer.param_groups[0]["lr"] = hyper["lr"] * MULTIPLIER_TK[t, lane]
            optimizer.param_groups[0]["multiplier"] = MULTIPLIER_TK[t, lane]
            theta.grad = torch.tensor(GRADS_TKP[t, lane], dtype=dtype)
            optimizer.step()
        # One kernel reads a coefficient per row, the other a scalar; they may round in another order.
        rtol = 1e-13 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(theta.detach(), together[lane], rtol=rtol, atol=rtol)


def test_nesterov_with_dampening_equals_the_formula_as_written():
    rule = SGDRule(nesterov=True, decay="l2", decay_order="before")
    together, _ = run(rule, list(range(K)), dtype=torch.float64)
    for lane in range(K):
        hyper = {n: float(HYPER[n][lane]) for n in ("lr", "momentum", "weight_decay", "dampening")}
        if hyper["momentum"] == 0:  # where torch, and so the rule, has no dampening
            hyper["dampening"] = 0.0
        etas = MULTIPLIER_TK[:, lane].tolist()
        wanted = [
            reference.sgd(w, grads, etas, **hyper, nesterov=True, decay="l2")[-1]
            for w, grads in zip(START_KP[lane].tolist(), GRADS_TKP[:, lane].T.tolist(), strict=True)
        ]
        np.testing.assert_allclose(together[lane], wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rule", [r for r in RULES if getattr(r, "decay", "l2") != "l2"], ids=str)
def test_decoupled_decay_leaves_the_moments_untouched(rule):
    weights, slots = run(rule, list(range(K)))
    without, plain = run(rule, list(range(K)), hyper=HYPER | {"weight_decay": np.zeros(K)})
    assert not torch.equal(weights, without)
    assert all(torch.equal(slots[name], plain[name]) for name in rule.slots)


@pytest.mark.parametrize("rule", [AdamL2Rule(), SGDRule(nesterov=False, decay="l2", decay_order="before")], ids=str)
def test_l2_reaches_every_moment(rule):
    _, slots = run(rule, [0, 2, 3, 4])
    _, plain = run(rule, [0, 2, 3, 4], hyper=HYPER | {"weight_decay": np.zeros(K)})
    assert all((slots[name] != plain[name]).any(dim=1).all() for name in rule.slots)


def test_twice_the_rate_and_half_the_decay_move_only_the_independent_decay_path():
    other = HYPER | {"lr": 2 * HYPER["lr"], "weight_decay": HYPER["weight_decay"] / 2}
    silent = np.zeros_like(GRADS_TKP)
    for order in ("before", "after"):
        coupled = AdamWRule(decay="coupled", decay_order=order)
        left, right = (run(coupled, [1, 2, 3, 4], hyper=h, grads=silent)[0] for h in (HYPER, other))
        assert torch.equal(left, right)
        independent = AdamWRule(decay="independent", decay_order=order)
        left, right = (run(independent, [0, 2, 4], hyper=h, grads=silent)[0] for h in (HYPER, other))
        assert (right.abs() > left.abs()).all()


@pytest.mark.parametrize("order", ["before", "after"])
def test_coupled_and_independent_are_one_surface_relabelled(order):
    relabelled = HYPER | {"weight_decay": HYPER["lr"] * HYPER["weight_decay"]}
    lanes = list(range(K))
    coupled, _ = run(AdamWRule(decay="coupled", decay_order=order), lanes, dtype=torch.float64)
    independent, _ = run(
        AdamWRule(decay="independent", decay_order=order), lanes, hyper=relabelled, dtype=torch.float64
    )
    torch.testing.assert_close(coupled, independent, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_decay_mask_spares_the_masked_weights(rule):
    mask_P = (torch.arange(P) % 2).double()
    results = []
    for mask in (mask_P, torch.zeros(P).double(), torch.ones(P).double()):
        theta_KP = torch.tensor(START_KP)
        slots = {name: torch.zeros_like(theta_KP) for name in rule.slots}
        table = tables(rule, HYPER, MULTIPLIER_TK)
        c = {name: torch.tensor(value[0])[:, None] for name, value in table.items()}
        c["decay"] = c["decay"] * mask
        rule.update(theta_KP, torch.tensor(GRADS_TKP[0]), slots, c)
        results.append(theta_KP)
    masked, spared, decayed = results
    assert torch.equal(masked, torch.where(mask_P == 1, decayed, spared))
    assert not torch.equal(spared, decayed)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_trace_of_one_step_runs_every_other(rule):
    """A trace that baked in a coefficient of step 0 would go wrong from step 1 on."""
    table = tables(rule, HYPER, MULTIPLIER_TK)

    def c_at(t):
        return {name: torch.tensor(value[t])[:, None] for name, value in table.items()}

    def step(theta_KP, grad_KP, slots, c):
        rule.update(theta_KP, grad_KP, slots, c)
        return theta_KP

    def fresh():
        theta_KP = torch.tensor(START_KP)
        return theta_KP, {name: torch.zeros_like(theta_KP) for name in rule.slots}

    theta_KP, slots = fresh()
    traced = make_fx(step)(theta_KP, torch.tensor(GRADS_TKP[0]), slots, c_at(0))
    (eager, eager_slots), (theta_KP, slots) = fresh(), fresh()
    for t in range(T):
        rule.update(eager, torch.tensor(GRADS_TKP[t]), eager_slots, c_at(t))
        traced(theta_KP, torch.tensor(GRADS_TKP[t]), slots, c_at(t))
    assert torch.equal(theta_KP, eager)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_update_writes_where_it_was_told(rule):
    theta_KP, grad_KP = torch.tensor(START_KP), torch.tensor(GRADS_TKP[0])
    slots = {name: torch.zeros_like(theta_KP) for name in rule.slots}
    before = [theta_KP.data_ptr(), *(slot.data_ptr() for slot in slots.values())]
    c = {name: torch.tensor(value[0])[:, None] for name, value in tables(rule, HYPER, MULTIPLIER_TK).items()}
    kept = {name: value.clone() for name, value in c.items()}
    rule.update(theta_KP, grad_KP, slots, c)
    assert before == [theta_KP.data_ptr(), *(slot.data_ptr() for slot in slots.values())]
    assert all(torch.equal(c[name], kept[name]) for name in c)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_coefficients_in_blocks_equal_coefficients_at_once(rule):
    whole = tables(rule, HYPER, MULTIPLIER_TK)
    for t in range(T):
        one = rule.coefficients(HYPER, MULTIPLIER_TK[t], t)
        for name, value in whole.items():
            assert one[name].dtype == np.float64
            np.testing.assert_array_equal(np.broadcast_to(one[name], (K,)), value[t])


# Parameters (u, v): v has no gradient and starts at 1, so decay alone takes it to r = .3 at this lr·wd.
T_EXACT, W_EXACT = 200, 10
EXACT_ROWS = [
    (AdamWRule(decay="coupled", decay_order="before"), 0.0, 0.01186746395, True),
    (AdamWRule(decay="independent", decay_order="after"), 0.0, 0.01186746395, False),
    (SGDRule(nesterov=False, decay="l2", decay_order="before"), 0.0, 0.01186746395, True),
    (SGDRule(nesterov=False, decay="coupled", decay_order="after"), 0.9, 0.01186746395, True),
    (SGDRule(nesterov=False, decay="independent", decay_order="before"), 0.9, 0.01186746395, False),
    (SGDRule(nesterov=False, decay="l2", decay_order="before"), 0.9, 0.001163762668, True),
]


@pytest.mark.parametrize(("rule", "momentum", "product", "by_rate"), EXACT_ROWS, ids=str)
def test_decay_alone_ends_at_the_known_answer(rule, momentum, product, by_rate):
    lr = np.array([1e-3, 0.03, 0.3])
    hyper = {"lr": lr, "weight_decay": product / lr if by_rate else np.full(3, product), "momentum": momentum}
    hyper |= {"dampening": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    schedule = WarmupCosineConfig(name="warmup_cosine", warmup=W_EXACT, floor=0.0)
    m = multipliers(schedule, T_EXACT, np.arange(T_EXACT))
    table = tables(rule, hyper, np.repeat(m[:, None], 3, axis=1), T_EXACT)
    v_K1 = torch.ones(3, 1, dtype=torch.float64)
    slots = {name: torch.zeros_like(v_K1) for name in rule.slots}
    for t in range(T_EXACT):
        c = {name: torch.tensor(value[t])[:, None] for name, value in table.items()}
        rule.update(v_K1, torch.zeros_like(v_K1), slots, c)
    np.testing.assert_allclose(v_K1[:, 0], 0.3, rtol=1e-6)


def test_adam_l2_moves_a_silent_weight_alike_whatever_the_decay():
    """The decay cancels in m/√v, which is why a study must call its best value flat."""
    ends = []
    for weight_decay in (1e-3, 1e-1):
        hyper = {"lr": 1e-3, "weight_decay": weight_decay, "beta1": 0.9, "beta2": 0.999, "eps": 1e-12}
        v = torch.ones(1, 1, dtype=torch.float64)
        slots = {name: torch.zeros_like(v) for name in AdamL2Rule().slots}
        for t in range(100):
            table = AdamL2Rule().coefficients(hyper, 1.0, t)
            c = {name: torch.tensor(value)[None, None] for name, value in table.items()}
            AdamL2Rule().update(v, torch.zeros_like(v), slots, c)
        ends.append(v.item())
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)
    assert ends[0] == pytest.approx(0.9, rel=0.02)


@pytest.mark.long
def test_declaring_optimizers_loads_no_torch():
    program = (
        "import sys; from thalweg.optim import schema, rule, build, schedule;"
        "assert 'torch' not in sys.modules;"
        "from thalweg.optim import AdamW, WarmupCosine; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
