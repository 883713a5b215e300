"""What may be loaded: a like optimizer's state goes on as it would have there, any other is refused while loading."""

import copy
import itertools
from typing import Any

import pytest
import torch

from thalweg.optim import SAM, AdamL2, AdamW, Lion, Muon, SGDMomentum

OURS = [SGDMomentum, AdamW, AdamL2, Lion, Muon]


class PlainLion(torch.optim.Optimizer):
    """Lion as lion-pytorch keeps it: a mean and no step."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state, (beta1, beta2) = self.state[p], group["betas"]
                mean = state.setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * torch.sign(beta1 * mean + (1 - beta1) * p.grad))
                mean.mul_(beta2).add_(p.grad, alpha=1 - beta2)


def parameters(dtype=torch.float64, matrices=True):
    shapes = [(4, 3), (2, 5)] if matrices else [(4, 3), (5,), ()]
    draw = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)) for shape in shapes]


def train(optimizer, steps, first=0):
    """Steps whose gradient depends on the weights and on t alone."""
    for t in range(first, first + steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.cos(p.detach() * (t + 1)) + 0.1
        optimizer.step(lambda: torch.zeros(())) if isinstance(optimizer, torch.optim.LBFGS) else optimizer.step()


MUON = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.2}
PAIRS = [
    (torch.optim.SGD, SGDMomentum, {"lr": 0.1}),
    (torch.optim.SGD, SGDMomentum, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    (torch.optim.SGD, SGDMomentum, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True}),
    (torch.optim.AdamW, AdamW, {"lr": 0.1, "weight_decay": 0.3}),
    (torch.optim.AdamW, AdamW, {"lr": torch.tensor(0.1), "amsgrad": True, "fused": True}),
    (torch.optim.Adam, AdamL2, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "foreach": True}),
    (torch.optim.Muon, Muon, MUON),
    (torch.optim.Muon, Muon, MUON | {"adjust_lr_fn": "match_rms_adamw", "nesterov": False}),
    (PlainLion, Lion, {"lr": 0.02, "weight_decay": 0.1}),
]
each_pair = pytest.mark.parametrize(("theirs", "ours", "options"), PAIRS)


@each_pair
@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_run_of_theirs_goes_on_in_ours(theirs, ours, options, steps, scheduled):
    before = theirs(parameters(), **options)
    if scheduled:
        torch.optim.lr_scheduler.LambdaLR(before, lambda t: 0.5)
    train(before, steps)
    mine = copy.deepcopy(before.param_groups[0]["params"])
    after = ours(mine)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    train(before, 5, first=steps)
    train(after, 5, first=steps)
    muon = {"rtol": 0, "atol": 0.02}  # torch's Newton–Schulz runs in bfloat16
    close: dict[str, Any] = muon if ours is Muon else {"rtol": 1e-6 if "fused" in options else 1e-12, "atol": 1e-12}
    for a, b in zip(mine, before.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(a, b, **close)
    assert {key for state in after.state.values() for key in state} <= {"step", *ours.keeps}
    assert all(type(state["step"]) is int for state in after.state.values())
    for _ in range(2):
        after.load_state_dict(after.state_dict())
    fresh = ours([torch.nn.Parameter(torch.zeros(2, 2))]).state_dict()["param_groups"][0]
    assert after.state_dict()["param_groups"][0].keys() - {"initial_lr"} == fresh.keys()


@pytest.mark.parametrize(
    ("theirs", "ours", "options"), [row for row in PAIRS if row[1] in (SGDMomentum, AdamW, AdamL2)]
)
def test_a_run_of_ours_goes_on_in_theirs(theirs, ours, options):
    before = ours(parameters(), **{key: value for key, value in options.items() if key not in ("fused", "foreach")})
    train(before, 4)
    after = theirs(copy.deepcopy(before.param_groups[0]["params"]))
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    train(before, 5, first=4)
    train(after, 5, first=4)
    for a, b in zip(before.param_groups[0]["params"], after.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


NOT_HERE = (torch.optim.Optimizer, torch.optim.SparseAdam)  # which takes sparse gradients only
EVERY = [kind for kind in vars(torch.optim).values() if isinstance(kind, type) and kind not in NOT_HERE]
EVERY += [PlainLion, *OURS]


@pytest.mark.parametrize(("theirs", "ours"), list(itertools.product(EVERY, OURS)))
def test_any_other_state_is_refused_while_loading_or_trains(theirs, ours):
    for steps, wrapped in itertools.product((0, 3), (False, True)):
        load_or_refuse(theirs, ours, steps, wrapped)


def load_or_refuse(theirs, ours, steps, wrapped):
    before = theirs(parameters(), lr=0.01)
    train(before, steps)
    after = ours(parameters(), lr=0.5)
    train(after, 1)
    untouched = copy.deepcopy(after.state_dict())
    taker = SAM(after) if wrapped else after
    try:
        taker.load_state_dict(before.state_dict())
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert refusal.startswith(f"{ours.__name__}: the loaded ")
        assert "\n" not in refusal
        assert after.param_groups[0]["lr"] == 0.5
        torch.testing.assert_close(after.state_dict()["state"], untouched["state"], rtol=0, atol=0)
        assert theirs is not ours
    else:
        train(after, 3, first=steps)
        assert all(p.isfinite().all() and p.abs().max() < 5 for p in after.param_groups[0]["params"])


@pytest.mark.parametrize(
    ("theirs", "ours", "options", "message"),
    [
        (torch.optim.AdamW, AdamL2, {"weight_decay": 0.1}, "weight decay is decoupled.* load it into AdamW"),
        (torch.optim.SGD, AdamW, {}, "groups have dampening, momentum, nesterov, so they are another optimizer's"),
        (torch.optim.Adagrad, SGDMomentum, {}, "groups have eps"),
        (torch.optim.NAdam, AdamW, {}, "state has mu_product; it should have exp_avg, exp_avg_sq, max_exp_avg_sq"),
        (torch.optim.Muon, Muon, {"ns_steps": 3}, "groups have ns_coefficients, ns_steps"),
        (torch.optim.Muon, Muon, {"adjust_lr_fn": "spectral_unclamped"}, "adjust is 'spectral_unclamped'"),
        (AdamW, Lion, {}, "groups have amsgrad, eps"),
    ],
)
def test_the_refusal_says_what_was_loaded(theirs, ours, options, message):
    before = theirs(parameters())
    train(before, 2)
    saved = before.state_dict()
    saved["param_groups"][0].update(options)  # not all are known to every torch
    with pytest.raises(ValueError, match=message):
        ours(parameters()).load_state_dict(saved)


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    ("slot", "spoil", "message"),
    [
        ("exp_avg", lambda value: value[:1], r"has shape \(1, 3\) and its parameter \(4, 3\)"),
        ("exp_avg", lambda value: 0.5, "is a float; it should be a tensor"),
        ("step", lambda value: float("nan"), "step is nan; it should be a whole number"),
        ("step", lambda value: -1, "step is -1"),
        ("step", lambda value: torch.ones(2), "step is tensor"),
        ("betas", lambda value: (0.9, 2.0), "beta2 is 2.0; it should be less than 1"),
        ("lr", lambda value: float("nan"), "lr is nan; it should be a finite number"),
    ],
)
def test_a_spoilt_state_is_refused_while_loading(ours, slot, spoil, message):
    optimizer = ours(parameters(), **({"momentum": 0.5} if ours is SGDMomentum else {}))
    train(optimizer, 2)
    saved = copy.deepcopy(optimizer.state_dict())
    slot = "momentum_buffer" if (ours, slot) == (SGDMomentum, "exp_avg") else slot
    holder = saved["param_groups"][0] if slot in ("betas", "lr") else saved["state"][0]
    if slot not in holder:
        pytest.skip(f"{ours.__name__} has no {slot}")
    holder[slot] = spoil(holder[slot])
    with pytest.raises(ValueError, match=message) as error:
        optimizer.load_state_dict(saved)
    assert str(error.value).startswith(f"{ours.__name__}: ")


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("bad", [None, [1, 2]])
def test_a_state_that_is_no_dict_is_refused(ours, bad):
    optimizer = ours(parameters())
    with pytest.raises(ValueError, match=r"the loaded state of a parameter is .*; it should be a dict"):
        optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: bad}})


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "change"),
    [
        (SGDMomentum, torch.optim.SGD, {"dampening": 0.5}, {"momentum": 0.9}),
        (SGDMomentum, torch.optim.SGD, {"momentum": 0.9}, {"momentum": 0.0}),
        (SGDMomentum, torch.optim.SGD, {"momentum": 0.9}, {"nesterov": True}),
        (AdamW, torch.optim.AdamW, {"amsgrad": True}, {"amsgrad": False}),
        (AdamL2, torch.optim.Adam, {}, {"betas": (0.5, 0.9)}),
    ],
)
def test_an_option_changed_between_steps_acts_as_in_torch_and_back_again(ours, theirs, options, change):
    ends = []
    for kind in (ours, theirs):
        params = parameters(matrices=False)
        optimizer = kind(params, lr=0.1, **options)
        start = {name: optimizer.param_groups[0][name] for name in change}
        for part, values in enumerate((start, change, start, change)):
            optimizer.param_groups[0].update(values)
            train(optimizer, 3, first=3 * part)
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ours", [AdamW, AdamL2])
@pytest.mark.parametrize("loaded", [False, True])
def test_amsgrad_switched_on_later_keeps_the_largest_from_then_on(ours, loaded):
    """torch raises KeyError here. While the gradient grows, the largest is the last, and AMSGrad changes nothing."""
    plain, switched = (ours(parameters(matrices=False), lr=0.01) for _ in range(2))
    for optimizer in (plain, switched):
        for t in range(6):
            if t == 3 and optimizer is switched:
                if loaded:
                    optimizer.load_state_dict(optimizer.state_dict())
                optimizer.param_groups[0]["amsgrad"] = True
            for p in optimizer.param_groups[0]["params"]:
                p.grad = torch.full_like(p, 1.0 + t)
            optimizer.step()
    for a, b in zip(plain.param_groups[0]["params"], switched.param_groups[0]["params"], strict=True):
        assert torch.equal(a, b)
