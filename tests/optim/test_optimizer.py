"""The contract of the optimizer classes as torch.optim.Optimizer: groups, state, closures, refusals."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.optim import SAM, AdamL2, AdamW, Lion, Muon, SGDMomentum, decay_lists
from thalweg.optim.optimizer import BLOCK

CLASSES = [SGDMomentum, AdamW, AdamL2, Lion, Muon]
OPTIONS: dict[type, dict[str, Any]] = {
    SGDMomentum: {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True, "decay": "independent"},
    AdamW: {"lr": 0.1, "weight_decay": 0.1, "decay": "independent", "decay_order": "after"},
    AdamL2: {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True},
    Lion: {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.95)},
    Muon: {"lr": 0.1, "weight_decay": 0.1, "decay_order": "after"},
}
FLAGS = [("amsgrad", AdamW), ("amsgrad", AdamL2), ("nesterov", SGDMomentum), ("nesterov", Muon)]
FLAGS += [("maximize", kind) for kind in CLASSES]
NO_FLAGS = ["no", "", 0, 1, 1.0, torch.tensor(True), []]
each_class = pytest.mark.parametrize("kind", CLASSES)


def parameter(*shape, dtype=torch.float32):
    return torch.nn.Parameter(torch.linspace(-1, 2, int(np.prod(shape)), dtype=dtype).reshape(shape))


def train(optimizer, steps, first=0):  # the gradient depends on the weights, so a difference would grow
    for t in range(first, first + steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.cos(p.detach() * (t + 1)) + 0.1
        optimizer.step()


@each_class
def test_large_parameters_are_updated_in_blocks_as_if_whole(kind):
    """Blocks are a matter of speed: the numbers move as they would in many parameters that need none."""
    size = 2 * BLOCK + 4096
    whole = parameter(size)
    parts = [torch.nn.Parameter(part.clone()) for part in parameter(size).detach().split(4096)]
    train(kind([whole], **OPTIONS[kind]), 3)
    train(kind(parts, **OPTIONS[kind]), 3)
    assert torch.equal(whole, torch.cat([*parts]))


@each_class
def test_maximize_climbs_where_the_others_descend(kind):
    up, down = parameter(3, 2), parameter(3, 2)
    for theta, sign in ((up, -1), (down, 1)):
        optimizer = kind([theta], **OPTIONS[kind], maximize=sign < 0)
        for t in range(4):
            theta.grad = sign * (torch.cos(parameter(3, 2).detach() * (t + 1)) + 0.1)
            optimizer.step()
    assert torch.equal(up, down)


@each_class
@pytest.mark.parametrize("decay", ["coupled", "independent"])
def test_biases_and_gains_are_left_out_of_decay_by_one_option(kind, decay):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    named = {name: p.detach().clone() for name, p in model.named_parameters()}
    options = OPTIONS[kind] | ({"decay": decay} if "decay" in kind([parameter(1)]).defaults else {})
    spared = kind(model.named_parameters(), **options, decay_on="weights")
    wanted = (["0.weight", "2.weight"], ["0.bias", "1.weight", "1.bias", "2.bias"])
    assert spared.decay_lists() == decay_lists(model) == decay_lists(model.named_parameters(), "weights") == wanted
    assert kind(model.parameters(), decay_on="all").decay_lists() == ([f"0.{i}" for i in range(6)], [])
    train(spared, 2)
    for names, weight_decay in zip(wanted, (options["weight_decay"], 0.0), strict=True):
        alone = [torch.nn.Parameter(named[name].clone()) for name in names]
        train(kind(alone, **options | {"weight_decay": weight_decay}), 2)
        assert all(torch.equal(p, model.get_parameter(name)) for p, name in zip(alone, names, strict=True))


@each_class
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_rate_may_be_a_tensor_that_changes(kind, dtype):
    ends = []
    for lr in (torch.tensor(0.1, dtype=torch.float64), 0.1):
        theta = parameter(3, 2, dtype=dtype)
        optimizer = kind([theta], **OPTIONS[kind] | {"lr": lr})
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for t in range(4):
            train(optimizer, 1, t)
            scheduler.step()
        ends.append(theta)
        assert isinstance(optimizer.param_groups[0]["lr"], type(lr))
    assert torch.equal(*ends)


@each_class
def test_hooks_run_around_a_step_and_zero_grad_clears(kind):
    theta, calls = parameter(3), []
    optimizer = kind([theta], **OPTIONS[kind])
    optimizer.register_step_pre_hook(lambda *args: calls.append("before"))
    optimizer.register_step_post_hook(lambda *args: calls.append("after"))
    optimizer.register_state_dict_post_hook(lambda *args: calls.append("saved"))
    optimizer.register_load_state_dict_pre_hook(lambda *args: calls.append("loaded"))
    train(optimizer, 1)
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before", "after", "saved", "loaded"]
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(theta.grad, torch.zeros(3))
    optimizer.zero_grad()
    assert theta.grad is None


@each_class
def test_bfloat16_weights_move_like_float32(kind):
    ends = []
    for dtype in (torch.bfloat16, torch.float32):
        theta = torch.nn.Parameter(parameter(8, 4).detach().bfloat16().to(dtype))
        optimizer = kind([theta], **OPTIONS[kind] | {"lr": 0.01})
        for t in range(5):
            theta.grad = torch.cos(parameter(8, 4).detach() * (t + 1)).bfloat16().to(dtype)
            optimizer.step()
        assert all(state["exp_avg"].dtype == dtype for state in optimizer.state.values() if "exp_avg" in state)
        ends.append(theta.detach().float())
    torch.testing.assert_close(*ends, rtol=2e-2, atol=1e-2)


@each_class
def test_a_state_saved_before_an_option_existed_can_be_loaded(kind):
    optimizer = kind([parameter(3)], **OPTIONS[kind])
    train(optimizer, 2)
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        del group["decay_on"], group["maximize"]
    again = kind([parameter(3)], **OPTIONS[kind])
    again.load_state_dict(saved)
    train(again, 1)


@each_class
def test_groups_train_as_they_would_alone(kind):
    a, b = parameter(3, 2), parameter(4)
    train(kind([{"params": [a], "lr": 0.01, "weight_decay": 0.0}, {"params": [b]}], **OPTIONS[kind]), 5)
    left, right = parameter(3, 2), parameter(4)
    train(kind([left], **OPTIONS[kind] | {"lr": 0.01, "weight_decay": 0.0}), 5)
    train(kind([right], **OPTIONS[kind]), 5)
    assert torch.equal(a, left)
    assert torch.equal(b, right)


def test_structure_may_differ_between_groups():
    a, b = parameter(3), parameter(3)
    groups: list[dict[str, Any]] = [{"params": [a], "decay": "independent"}, {"params": [b]}]
    optimizer = AdamW(groups, lr=0.1, weight_decay=0.2)
    train(optimizer, 3)
    alone = parameter(3)
    train(AdamW([alone], lr=0.1, weight_decay=0.2, decay="independent"), 3)
    assert torch.equal(a, alone)
    assert not torch.equal(a, b)


@each_class
def test_a_closure_is_run_with_gradients_and_its_loss_returned(kind):
    theta = parameter(3)
    optimizer = kind([theta], **OPTIONS[kind])

    def closure():
        optimizer.zero_grad()
        loss = (theta**2).sum()
        loss.backward()
        return loss

    before = (theta.detach() ** 2).sum()
    assert optimizer.step(closure) == before
    assert (theta.detach() ** 2).sum() < before
    assert optimizer.step() is None


@each_class
def test_a_parameter_without_gradient_waits_and_starts_at_its_own_first_step(kind):
    early, late, alone = parameter(3), parameter(3), parameter(3)
    optimizer = kind([early, late], **OPTIONS[kind])
    early.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(late, parameter(3))
    assert late not in optimizer.state
    train(optimizer, 4)
    train(kind([alone], **OPTIONS[kind]), 4)
    assert torch.equal(late, alone)


@each_class
def test_gradients_survive_a_step(kind):
    theta = parameter(5)
    theta.grad = torch.arange(5.0)
    kind([theta], **OPTIONS[kind]).step()
    assert torch.equal(theta.grad, torch.arange(5.0))


@each_class
def test_memory_layout_changes_nothing(kind):
    plain, strided = parameter(4, 6), parameter(4, 6)
    grad = torch.linspace(-1, 1, 24).reshape(4, 6)
    one, two = kind([plain], **OPTIONS[kind]), kind([strided], **OPTIONS[kind])
    for _ in range(3):
        plain.grad = grad.clone()
        strided.grad = grad.t().contiguous().t()
        assert not strided.grad.is_contiguous()
        one.step()
        two.step()
    torch.testing.assert_close(plain, strided, rtol=1e-6, atol=1e-7)
    if kind is Muon:  # the turned matrix has rows for columns, which its steps' size depends on
        return
    turned = torch.nn.Parameter(parameter(4, 6).detach().t())
    assert not turned.is_contiguous()
    three = kind([turned], **OPTIONS[kind])
    for _ in range(3):
        turned.grad = grad.t().contiguous()
        three.step()
    torch.testing.assert_close(turned.t(), plain, rtol=1e-6, atol=1e-7)


def saved_and_loaded(optimizer):
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@each_class
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_resuming_from_a_saved_state_ends_with_the_same_bits(kind, dtype):
    whole, part = [parameter(3, dtype=dtype)], [parameter(3, dtype=dtype)]
    train(kind(whole, **OPTIONS[kind]), 9)
    optimizer = kind(part, **OPTIONS[kind])
    train(optimizer, 4)
    again = kind(part, lr=0.5)
    again.load_state_dict(saved_and_loaded(optimizer))
    train(again, 5, first=4)
    assert torch.equal(whole[0], part[0])


@each_class
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_trains_on_by_itself(kind, duplicate):
    optimizer = kind([parameter(3)], **OPTIONS[kind])
    train(optimizer, 3)
    twin = duplicate(optimizer)
    theta, other = optimizer.param_groups[0]["params"][0], twin.param_groups[0]["params"][0]
    train(twin, 3, first=3)
    assert not torch.equal(theta, other)
    train(optimizer, 3, first=3)
    assert torch.equal(theta, other)


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        *((kind, {"lr": float("nan")}, "lr is nan; it should be a finite number") for kind in CLASSES),
        *((kind, {"lr": -1}, "lr is -1; it should be greater than or equal to 0") for kind in CLASSES),
        *((kind, {"lr": "0.1"}, "lr is a str; it should be a number") for kind in CLASSES),
        *((kind, {"lr": torch.ones(2)}, "lr is a Tensor of 2 elements; it should be a number") for kind in CLASSES),
        *((kind, {"lr": torch.tensor(-1.0)}, "lr is -1.0; it should be greater") for kind in CLASSES),
        *((kind, {"weight_decay": float("inf")}, "weight_decay is inf") for kind in CLASSES),
        *((kind, {"weight_decay": -0.1}, "weight_decay is -0.1") for kind in CLASSES),
        (SGDMomentum, {"momentum": 1.0}, "momentum is 1.0; it should be less than 1"),
        (
            SGDMomentum,
            {"decay": "decoupled"},
            "decay is 'decoupled'; it should be 'l2', 'coupled' or 'independent'",
        ),
        (AdamW, {"betas": (0.9, 1.0)}, "beta2 is 1.0; it should be less than 1"),
        (AdamW, {"betas": (float("nan"), 0.9)}, "beta1 is nan"),
        (AdamW, {"betas": 0.9}, "betas is 0.9; it should be a pair of numbers"),
        (AdamW, {"eps": -1e-8}, "eps is -1e-08; it should be greater than 0"),
        *((kind, {"lr": True}, "lr is a bool; it should be a number") for kind in CLASSES),
        *((kind, {flag: bad}, f"{flag} is .*; it should be True or False") for flag, kind in FLAGS for bad in NO_FLAGS),
        (
            SGDMomentum,
            {"nesterov": True},
            "nesterov is True with momentum 0.0 and dampening 0.0; Nesterov momentum",
        ),
        (SGDMomentum, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "with momentum 0.9 and dampening 0.1"),
        (AdamW, {"decay": "l2"}, "decay is 'l2'; it should be 'coupled' or 'independent'"),
        (AdamW, {"decay_order": "during"}, "decay_order is 'during'"),
        (AdamL2, {"betas": (-0.1, 0.9)}, "beta1 is -0.1"),
        (AdamL2, {"amsgrad": "yes please"}, "amsgrad is 'yes please'; it should be True or False"),
        (Lion, {"betas": (0.9, float("nan"))}, "beta2 is nan"),
        (Muon, {"momentum": -0.5}, "momentum is -0.5"),
        (Muon, {"adjust": "none"}, "adjust is 'none'"),
        (SGDMomentum, {"dampening": 1.5}, "dampening is 1.5; it should be less than or equal to 1"),
        (SGDMomentum, {"dampening": float("nan")}, "dampening is nan"),
        *((kind, {"maximize": 1}, "maximize is 1; it should be True or False") for kind in CLASSES),
        *((kind, {"decay_on": "biases"}, "decay_on is 'biases'; it should be 'all' or 'weights'") for kind in CLASSES),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_sentence(kind, bad, message):
    with pytest.raises(ValueError, match=message) as error:
        kind([parameter(1)], **bad)
    assert str(error.value).startswith(f"{kind.__name__}: ")
    assert "\n" not in str(error.value)
    optimizer = kind([parameter(1)])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [parameter(1)], **bad})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(("flag", "kind"), FLAGS)
@pytest.mark.parametrize(("given", "plain"), [(None, False), (np.False_, False), (np.True_, True)])
def test_a_flag_may_be_none_as_in_torch_or_numpys_bool(flag, kind, given, plain):
    optimizer = kind([parameter(3)], **OPTIONS[kind] | {flag: given})
    assert optimizer.param_groups[0][flag] is plain
    saved = optimizer.state_dict()
    saved["param_groups"][0][flag] = given
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0][flag] is plain


@pytest.mark.parametrize(("ours", "theirs"), [(AdamW, torch.optim.AdamW), (AdamL2, torch.optim.Adam)])
def test_an_epsilon_of_zero_is_torchs(ours, theirs):
    ends = []
    for kind in (ours, theirs):
        theta = parameter(3, dtype=torch.float64)
        train(kind([theta], lr=0.1, eps=0.0), 4)
        ends.append(theta)
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)
    train(Muon([parameter(3), parameter(2, 2)], eps=0), 1)


@each_class
@pytest.mark.parametrize("shape", [(4, 0), (0, 4), (0,), (3, 0, 2), (0, 0)], ids=str)
@pytest.mark.parametrize(("sam", "adjust"), [(None, "original"), (False, "match_rms_adamw"), (True, "original")])
def test_a_parameter_without_elements_is_no_obstacle(kind, shape, sam, adjust):
    ends = []
    for more in ([], [torch.nn.Parameter(torch.zeros(shape))]):
        theta, options = parameter(3, 2), OPTIONS[kind] | ({"adjust": adjust} if kind is Muon else {})
        optimizer = kind([*more, theta], **options)
        optimizer = optimizer if sam is None else SAM(optimizer, adaptive=sam)

        def closure(params=(*more, theta)):
            for p in params:
                p.grad = torch.cos(p.detach())

        for _ in range(3):
            closure()
            optimizer.step(closure)
        copy.deepcopy(optimizer).load_state_dict(optimizer.state_dict())
        ends.append(theta)
    assert torch.equal(*ends)


@each_class
def test_complex_parameters_are_refused(kind):
    with pytest.raises(ValueError, match="complex"):
        kind([torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))])


@each_class
def test_a_sparse_gradient_is_refused_before_anything_moves(kind):
    theta, table = parameter(3), parameter(4, 2)
    optimizer = kind([theta, table], **OPTIONS[kind])
    theta.grad = torch.ones(3)
    table.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([[1.0, 2.0]]), (4, 2), check_invariants=True)
    with pytest.raises(RuntimeError, match=r"gradient of shape \(4, 2\) is sparse; it should be dense"):
        optimizer.step()
    assert torch.equal(theta, parameter(3))
    assert not optimizer.state
