"""What happens to a gradient before the rule sees it: SAM's step uphill and clipping, for K trials as for one."""

import pytest
import torch

from thalweg.optim.clip import clip_norm_, clip_value_
from thalweg.optim.sam import ascend_, ascent_scale, normed_vector

K, P = 4, 50
RHO_K = torch.tensor([0.0, 0.05, 0.5, 2.0], dtype=torch.float64)


def draw(seed):
    return torch.randn(K, P, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_step_uphill_is_rho_long_in_its_norm_and_points_along_the_gradient(adaptive):
    theta_KP, grad_KP = draw(1), draw(2)
    before, g = theta_KP.clone(), grad_KP.clone()
    norm_K1 = torch.linalg.vector_norm(normed_vector(theta_KP, grad_KP, adaptive), dim=1, keepdim=True)
    ascend_(theta_KP, grad_KP, ascent_scale(RHO_K[:, None], norm_K1), adaptive)
    step = theta_KP - before
    length = (step / before if adaptive else step).norm(dim=1)  # adaptive: the length of T⁻¹e
    torch.testing.assert_close(length, RHO_K, rtol=1e-12, atol=0)
    along = step * (before**2 if not adaptive else 1) * g
    assert (along[1:] > 0).all()
    assert torch.equal(theta_KP[0], before[0])
    if not adaptive:
        torch.testing.assert_close(step, RHO_K[:, None] * g / g.norm(dim=1, keepdim=True), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_gradient_of_zero_moves_nothing(adaptive):
    theta_KP, grad_KP = draw(1), torch.zeros(K, P, dtype=torch.float64)
    before = theta_KP.clone()
    norm_K1 = torch.linalg.vector_norm(normed_vector(theta_KP, grad_KP, adaptive), dim=1, keepdim=True)
    ascend_(theta_KP, grad_KP, ascent_scale(RHO_K[:, None], norm_K1), adaptive)
    assert torch.equal(theta_KP, before)


def test_clipping_k_trials_equals_torchs_clipping_of_each():
    limits_K = torch.tensor([0.1, 3.0, 7.0, 100.0], dtype=torch.float64)
    grad_KP = draw(3)
    by_norm, by_value = grad_KP.clone(), grad_KP.clone()
    assert clip_norm_(by_norm, grad_KP.norm(dim=1, keepdim=True), limits_K[:, None]) is by_norm
    assert clip_value_(by_value, limits_K[:, None] / 5) is by_value
    for k in range(K):
        for ours, clip, limit in (
            (by_norm, torch.nn.utils.clip_grad_norm_, limits_K[k].item()),
            (by_value, torch.nn.utils.clip_grad_value_, limits_K[k].item() / 5),
        ):
            theta = torch.nn.Parameter(torch.zeros(P, dtype=torch.float64))
            theta.grad = grad_KP[k].clone()
            clip(theta, limit)
            torch.testing.assert_close(ours[k], theta.grad, rtol=1e-14, atol=0)
    assert torch.equal(by_norm[3], grad_KP[3])
    assert by_norm[0].norm() == pytest.approx(0.1, rel=1e-5)


def test_one_gradient_takes_a_limit_without_dimensions():
    grad = torch.tensor([3.0, -4.0])
    assert clip_norm_(grad, grad.norm(), torch.tensor(1.0)).tolist() == pytest.approx([0.6, -0.8], rel=1e-5)
    assert clip_value_(grad, torch.tensor(0.7)).tolist() == pytest.approx([0.6, -0.7], rel=1e-5)
