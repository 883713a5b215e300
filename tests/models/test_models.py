"""What every model promises to the engine, and the two perceptrons to their studies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thalweg import data, models
from thalweg.models.build import build_model
from thalweg.models.extent import Extent
from thalweg.models.schema import MODELS

ROOT = Path(__file__).resolve().parents[2]
INPUTS, OUTPUTS, BATCH = 12, 10, 7
every_perceptron = pytest.mark.parametrize("name", ["mlp", "mlp_scale_invariant"])


def config(name, *, hidden=(16, 8), init_gain=1.0):
    own = {"logit_scale": 2.0} if name == "mlp_scale_invariant" else {}
    return MODELS[name](name=name, hidden=hidden, init_gain=init_gain, **own)


def built(name, *, seed=0, inputs=INPUTS, dtype=torch.float32, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(config(name, **options), Extent((inputs,), OUTPUTS)).to(dtype)


def examples(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, INPUTS, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randint(0, OUTPUTS, (BATCH,), generator=generator)


@every_perceptron
@pytest.mark.parametrize("hidden", [(), (5,), (16, 8, 4)])
def test_logits_have_one_column_a_class(name, hidden):
    module = built(name, hidden=hidden)
    logits = module(examples()[0])
    assert logits.shape == (BATCH, OUTPUTS)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert len([p for p in module.parameters() if p.ndim == 2]) == len(hidden) + 1


@every_perceptron
def test_images_are_flattened(name):
    module, (x, _) = built(name), examples()
    assert torch.equal(module(x.view(BATCH, 1, 3, 4)), module(x))


@every_perceptron
def test_one_seed_is_one_set_of_weights(name):
    same, other = built(name, seed=0), built(name, seed=1)
    for p, q, r in zip(built(name, seed=0).parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.ndim == 1 or not torch.equal(p, r)


@every_perceptron
def test_only_the_weights_are_drawn(name):
    torch.manual_seed(3)
    build_model(config(name), Extent((INPUTS,), OUTPUTS))
    after = torch.get_rng_state()
    torch.manual_seed(3)
    for inputs, outputs in ((INPUTS, 16), (16, 8), (8, OUTPUTS)):
        torch.randn(outputs, inputs)
    assert torch.equal(after, torch.get_rng_state())


@every_perceptron
def test_init_gain_scales_the_weights_it_would_draw_anyway(name):
    for p, q in zip(built(name).parameters(), built(name, init_gain=1.5).parameters(), strict=True):
        torch.testing.assert_close(q, 1.5 * p, rtol=1e-6, atol=0)


@every_perceptron
def test_initial_weights_have_the_he_variance_and_biases_are_zero(name):
    module = built(name, inputs=400, hidden=(300, 200))
    matrices = [p for p in module.parameters() if p.ndim == 2]
    if name == "mlp_scale_invariant":
        assert all((p[:, -1] == 0).all() for p in matrices)
        matrices = [p[:, :-1] for p in matrices]
    else:
        assert all((p == 0).all() for p in module.parameters() if p.ndim == 1)
    for p, inputs in zip(matrices, (400, 300, 200), strict=True):
        # A variance from n normals is off by sqrt(2/n): 4.5% at worst here (n = 2,000... 120,000); five deviations.
        deviations = 5 * (2 / p.numel()) ** 0.5
        assert p.var().item() == pytest.approx(2 / inputs, rel=deviations)
        assert abs(p.mean().item()) < 5 * (2 / inputs / p.numel()) ** 0.5


def test_the_plain_perceptron_is_what_its_formula_says():
    module = built("mlp", hidden=(16,), dtype=torch.float64)
    x, _ = examples(torch.float64)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1)
        w1, b1, w2, b2 = module.parameters()
        expected = (x @ w1.T + b1).clamp(min=0) @ w2.T + b2
        torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=0)


def trained_a_little(dtype):
    """A scale-invariant net whose bias columns have left zero."""
    module = built("mlp_scale_invariant", dtype=dtype)
    with torch.no_grad():
        for p in module.parameters():
            p[:, -1] += torch.linspace(-1, 1, len(p), dtype=dtype)
    return module


@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize("factor", [1e-3, 0.5, 3.0, 1e3])
def test_scaling_any_weight_matrix_leaves_the_outputs_unchanged(layer, factor):
    module = trained_a_little(torch.float64)
    x, _ = examples(torch.float64)
    with torch.no_grad():
        before = module(x)
        list(module.parameters())[layer].mul_(factor)
        # What is left is EPS against the smallest variance met, 1e-6 times that of the initial layer.
        torch.testing.assert_close(module(x), before, rtol=0, atol=1e-5 if factor < 0.1 else 1e-10)


def test_every_parameter_of_the_scale_invariant_net_belongs_to_such_a_matrix():
    module = trained_a_little(torch.float64)
    assert [tuple(p.shape) for p in module.parameters()] == [(16, INPUTS + 1), (8, 17), (OUTPUTS, 9)]


def test_the_gradient_of_a_scale_invariant_matrix_is_orthogonal_to_it():
    module = trained_a_little(torch.float64)
    x, y = examples(torch.float64)
    torch.nn.functional.cross_entropy(module(x), y).backward()
    for p in module.parameters():
        cosine = (p * p.grad).sum() / (p.norm() * p.grad.norm())
        assert p.grad.norm() > 1e-3
        assert abs(cosine.item()) < 1e-9


def test_the_plain_perceptron_is_not_scale_invariant():
    module, (x, _) = built("mlp"), examples()
    with torch.no_grad():
        before = module(x)
        next(module.parameters()).mul_(3)
        assert not torch.allclose(module(x), before, rtol=0.1)


def test_scale_invariant_logits_have_mean_zero_and_the_asked_spread():
    x, _ = examples()
    logits = built("mlp_scale_invariant")(x)
    torch.testing.assert_close(logits.mean(1), torch.zeros(BATCH), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits.std(1, correction=0), torch.full((BATCH,), 2.0))


def test_the_packages_import_nothing_heavy_until_asked():
    code = (
        "import sys\nfrom thalweg import data, models\nimport thalweg.data.schema, thalweg.models.schema\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", [data, models])
def test_the_packages_hand_out_what_they_list_and_nothing_else(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
