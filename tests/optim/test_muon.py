"""Muon: orthogonal steps for matrices, AdamW's for the rest, K trials at once as one alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from thalweg.optim import AdamW, Muon, MuonRule
from thalweg.optim.muon import orthogonal

K, T = 4, 6
SHAPES = [(7, 5), (3, 4, 2, 2), (6,), ()]
HYPER = {
    "lr": np.array([0.02, 0.1, 0.0, 0.3]),
    "weight_decay": np.array([0.1, 0.0, 0.2, 0.5]),
    "momentum": np.array([0.95, 0.0, 0.5, 0.9]),
    "beta1": np.array([0.9, 0.0, 0.5, 0.8]),
    "beta2": np.array([0.999, 0.9, 0.99, 0.95]),
    "eps": np.array([1e-8, 1e-6, 1e-4, 1e-8]),
}
STRUCTURES = [
    {"nesterov": True, "adjust": "match_rms_adamw", "decay": "coupled", "decay_order": "before"},
    {"nesterov": False, "adjust": "original", "decay": "independent", "decay_order": "after"},
]
each_structure = pytest.mark.parametrize("structure", STRUCTURES)


def draw(shape, seed, dtype=torch.float64):
    return torch.randn(K, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def coefficients(rule, lanes, t, dims, dtype):
    table = rule.coefficients({n: v[lanes] for n, v in HYPER.items()}, 1.0, t)
    shape = (len(lanes), *[1] * dims)
    return {n: torch.tensor(np.broadcast_to(v, len(lanes)).copy(), dtype=dtype).view(shape) for n, v in table.items()}


def run(rule, shape, lanes, dtype=torch.float64):
    theta = draw(shape, 1, dtype)[lanes]
    slots = {name: torch.zeros_like(theta) for name in rule.slots}
    for t in range(T):
        rule.update(theta, draw(shape, 10 + t, dtype)[lanes], slots, coefficients(rule, lanes, t, len(shape), dtype))
    return theta, slots


@each_structure
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_k_trials_equal_k_optimizers(shape, structure):
    together, _ = run(MuonRule(**structure), shape, list(range(K)))
    for lane in range(K):
        hyper: dict[str, Any] = {name: float(value[lane]) for name, value in HYPER.items()}
        betas = (hyper.pop("beta1"), hyper.pop("beta2"))
        theta = torch.nn.Parameter(draw(shape, 1)[lane])
        optimizer = Muon([theta], betas=betas, **hyper, **structure)
        for t in range(T):
            theta.grad = draw(shape, 10 + t)[lane]
            optimizer.step()
        torch.testing.assert_close(theta.detach(), together[lane], rtol=1e-11, atol=1e-12)


@each_structure
@pytest.mark.parametrize("shape", [*SHAPES, (40, 33)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_trial_has_the_same_bits_in_any_company(shape, structure, dtype):
    rule = MuonRule(**structure)
    together, slots = run(rule, shape, [0, 1, 2, 3], dtype)
    assert together.isfinite().all()
    for lanes in ([2], [3, 1], [1, 3, 0]):
        some, some_slots = run(rule, shape, lanes, dtype)
        assert torch.equal(some, together[lanes])
        assert all(torch.equal(some_slots[name], slots[name][lanes]) for name in rule.slots)


@each_structure
@pytest.mark.parametrize("shape", [(7, 5), (6,)], ids=str)
def test_a_trace_of_one_step_runs_every_other(shape, structure):
    rule, lanes = MuonRule(**structure), list(range(K))

    def step(theta, grad, slots, c):
        rule.update(theta, grad, slots, c)
        return theta

    theta = draw(shape, 1)
    slots = {name: torch.zeros_like(theta) for name in rule.slots}
    first = coefficients(rule, lanes, 0, len(shape), torch.float64)
    traced = make_fx(step)(theta.clone(), draw(shape, 10), {n: s.clone() for n, s in slots.items()}, first)
    for t in range(T):
        traced(theta, draw(shape, 10 + t), slots, coefficients(rule, lanes, t, len(shape), torch.float64))
    assert torch.equal(theta, run(rule, shape, lanes)[0])


@pytest.mark.parametrize("shape", [(8, 8), (30, 5), (5, 30)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = draw(shape, 3)
    made = orthogonal(matrices)
    assert made.shape == matrices.shape
    U, S, Vh = torch.linalg.svd(matrices, full_matrices=False)
    found = torch.einsum("kab,kas,ksb->ks", made, U, Vh)
    lasting = 0.05 * S.amax(dim=1, keepdim=True) < S  # five steps do not lift the smallest
    assert ((found > 0.6) & (found < 1.25))[lasting].all()
    rest = made - U @ torch.diag_embed(found) @ Vh
    assert rest.norm() < 1e-10 * made.norm()
    assert torch.equal(orthogonal(torch.zeros(K, *shape)), torch.zeros(K, *shape))


def newton_schulz(matrix):
    """Jordan et al.'s own loop, for one matrix in numpy."""
    X = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    X = X / np.linalg.norm(X)
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X if matrix.shape[0] <= matrix.shape[1] else X.T


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("power", [0, 1, 3])
@pytest.mark.parametrize("shape", [(12, 12), (9, 80), (80, 9)])
def test_orthogonal_is_the_papers_loop_whatever_the_spectrum(shape, power, dtype):
    U, S, Vh = torch.linalg.svd(draw(shape, 4), full_matrices=False)
    matrices = U @ torch.diag_embed((torch.arange(S.shape[1]) + 1.0).double() ** -power) @ Vh
    wanted = torch.tensor(np.stack([newton_schulz(matrix.to(dtype).double().numpy()) for matrix in matrices]))
    made = orthogonal(matrices.to(dtype))
    assert made.dtype == dtype
    off = (made.double() - wanted).norm() / wanted.norm()
    assert off < {torch.float64: 1e-10, torch.float32: 2e-3, torch.bfloat16: 5e-3}[dtype]


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
def test_matrices_follow_torchs_muon(adjust, nesterov):
    """torch runs Newton–Schulz in bfloat16: its steps agree to about a percent of a step's length."""
    ours, theirs = (torch.nn.Parameter(draw((20, 12), 1)[0].float()) for _ in range(2))
    fixed = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.2, "nesterov": nesterov}
    pairs = [
        (ours, Muon([ours], adjust=adjust, **fixed)),
        (theirs, torch.optim.Muon([theirs], adjust_lr_fn=adjust, **fixed)),
    ]
    start = ours.detach().clone()
    for t in range(50):
        for theta, optimizer in pairs:
            theta.grad = draw((20, 12), 20 + t)[1].float() + 0.3 * theta.detach()
            optimizer.step()
    moved = (theirs.detach() - start).norm()
    assert moved > 1
    assert (ours.detach() - theirs.detach()).norm() < 0.02 * moved


def test_what_is_no_matrix_moves_as_under_adamw():
    ours, theirs = torch.nn.Parameter(torch.ones(5)), torch.nn.Parameter(torch.ones(5))
    pairs = [(ours, Muon([ours], lr=0.1, weight_decay=0.2)), (theirs, AdamW([theirs], lr=0.1, weight_decay=0.2))]
    for t in range(5):
        for theta, optimizer in pairs:
            theta.grad = torch.arange(5.0) - t
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_the_default_is_torchs_with_match_rms_adamw_and_original_is_torchs_default():
    moves = {}
    cases: list[tuple[str, type, dict[str, Any]]] = [
        ("ours", Muon, {}),
        ("ours, original", Muon, {"adjust": "original"}),
        ("torch", torch.optim.Muon, {}),
        ("torch, match", torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"}),
    ]
    for name, kind, options in cases:
        theta = torch.nn.Parameter(draw((32, 512), 1)[0].float())
        theta.grad = draw((32, 512), 2)[0].float()
        before = theta.detach().clone()
        kind([theta], weight_decay=0, **options).step()
        moves[name] = theta.detach() - before
    for ours, theirs in (("ours", "torch, match"), ("ours, original", "torch")):
        assert (moves[ours] - moves[theirs]).norm() < 0.04 * moves[theirs].norm()  # bfloat16
    assert moves["ours"].norm() / moves["torch"].norm() == pytest.approx(0.2 * 512**0.5, rel=0.02)
