"""What every model promises to the engine: shapes, gradients, and that stacked trials compute what each does alone."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.func import functional_call, grad, vmap

from thalweg.models.build import BUILDERS, build_model
from thalweg.models.extent import Extent
from thalweg.models.schema import MODELS
from thalweg.runner.base.errors import ConfigError

BATCH, CONTEXT, TOKENS = 5, 9, 11
IMAGE, VECTOR, TEXT, TWO = Extent((3, 8, 8), 10), Extent((12,), 10), Extent((CONTEXT,), TOKENS), Extent((2,), 2)


def config(name, **options):
    return MODELS[name](name=name, **options)


CNN = {"widths": (6, 8), "dropout": 0.0, "init_gain": 1.0}
BLOCKS = {"width": 8, "depth": 2, "heads": 2, "dropout": 0.0, "init_gain": 1.0}
CASES = {
    "linear": (config("linear", init_gain=1.0), VECTOR),
    "mlp": (config("mlp", hidden=(16, 8), init_gain=1.0), VECTOR),
    "mlp, BatchNorm": (config("mlp", hidden=(16, 8), init_gain=1.0, norm="batch"), VECTOR),
    "mlp, LayerNorm": (config("mlp", hidden=(16, 8), init_gain=1.0, norm="layer"), IMAGE),
    "mlp_scale_invariant": (config("mlp_scale_invariant", hidden=(16,), init_gain=1.0, logit_scale=2.0), VECTOR),
    "cnn": (config("cnn", norm="none", **CNN), IMAGE),
    "cnn, BatchNorm": (config("cnn", norm="batch", **CNN), IMAGE),
    "cnn, GroupNorm": (config("cnn", norm="group", **CNN), Extent((1, 28, 28), 10)),
    "resnet18": (config("resnet18", width=4, init_gain=1.0), Extent((3, 32, 32), 10)),
    "vit": (config("vit", patch=4, **BLOCKS), IMAGE),
    "gpt": (config("gpt", **BLOCKS), TEXT),
    "planted": (config("planted"), TWO),
}
every_model = pytest.mark.parametrize("case", CASES)


def built(case, seed=0, dtype=torch.float64, **changes):
    model, extent = CASES[case]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(replace(model, **changes), extent).to(dtype)


def batch(case, dtype=torch.float64, examples=BATCH):
    extent = CASES[case][1]
    generator = torch.Generator().manual_seed(1)
    if case == "gpt":
        return torch.randint(0, TOKENS, (examples, CONTEXT), generator=generator)
    return torch.randn(examples, *extent.inputs, generator=generator, dtype=torch.float64).to(dtype)


def objective(outputs):
    """A loss that asks every output for something else."""
    wanted = torch.linspace(-1, 1, outputs[0].numel(), dtype=outputs.dtype)
    return (outputs.flatten(1) - wanted).square().mean()


def test_every_model_is_here_and_has_a_builder():
    assert {model.name for model, _ in CASES.values()} == set(MODELS)
    assert set(BUILDERS) == set(MODELS.values())


@pytest.mark.long
def test_building_models_imports_no_compiler():
    code = """
from test_every_model import CASES, built, sys
for case in CASES:
    built(case)
assert not {"sympy", "torch._dynamo"} & sys.modules.keys()
"""
    path = f"{Path(__file__).parents[2]}/src:{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@every_model
def test_outputs_have_the_shape_that_the_extent_asks_for(case):
    module, extent = built(case, dtype=torch.float32), CASES[case][1]
    outputs = module(batch(case, torch.float32))
    assert outputs.shape == ((BATCH, CONTEXT, TOKENS) if case == "gpt" else (BATCH, extent.outputs))
    assert outputs.dtype == torch.float32
    assert outputs.isfinite().all()


@every_model
def test_every_parameter_gets_a_finite_gradient(case):
    module = built(case)
    objective(module(batch(case))).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@every_model
def test_stacked_trials_compute_what_each_computes_alone(case):
    """Losses, gradients, and running statistics, each trial with its own."""
    modules, x = [built(case, seed) for seed in range(3)], batch(case)

    def loss(parameters, buffers):
        tensors = parameters | {name: buffer.clone() for name, buffer in buffers.items()}
        outputs = functional_call(modules[0], tensors, (x,))
        return objective(outputs), {name: tensors[name] for name in buffers}

    def stacked(of):
        held = [dict(of(module)) for module in modules]
        return {name: torch.stack([each[name].detach() for each in held]) for name in held[0]}

    parameters, buffers = (stacked(of) for of in (torch.nn.Module.named_parameters, torch.nn.Module.named_buffers))
    losses, after = vmap(loss)(parameters, buffers)
    gradients, _ = vmap(grad(loss, has_aux=True))(parameters, buffers)
    for k, module in enumerate(modules):
        alone = objective(module(x))
        alone.backward()
        torch.testing.assert_close(losses[k], alone.detach(), rtol=1e-10, atol=0)
        own = torch.cat([p.grad.flatten() for p in module.parameters()])
        fused = torch.cat([gradients[name][k].flatten() for name, _ in module.named_parameters()])
        assert (own - fused).norm() <= 1e-10 * own.norm()
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(after[name][k], buffer, rtol=1e-10, atol=1e-12)


@every_model
def test_one_seed_is_one_set_of_weights_and_a_gain_scales_what_it_draws(case):
    same, other = (dict(built(case, seed).named_parameters()) for seed in (0, 1))
    gained = dict(built(case, **({"init_gain": 1.5} if case != "planted" else {})).named_parameters())
    for name, parameter in built(case).named_parameters():
        assert torch.equal(parameter, same[name])
        if parameter.unique().numel() > 1:  # drawn, not set
            assert not torch.equal(parameter, other[name])
            torch.testing.assert_close(gained[name], 1.5 * parameter, rtol=1e-6, atol=0)
        else:
            assert torch.equal(gained[name], parameter)


@pytest.mark.parametrize("case", [case for case, (model, _) in CASES.items() if hasattr(model, "dropout")])
def test_dropout_is_for_training_only_and_moves_no_weight(case):
    plain, dropping = built(case), built(case, dropout=0.5)
    for p, q in zip(plain.parameters(), dropping.parameters(), strict=True):
        assert torch.equal(p, q)
    x = batch(case)
    assert torch.equal(plain.eval()(x), dropping.eval()(x))
    assert not torch.equal(plain.train()(x), dropping.train()(x))


@pytest.mark.parametrize("case", ["cnn, BatchNorm", "resnet18", "mlp, BatchNorm"])
def test_running_statistics_are_for_evaluation(case):
    module, x = built(case), batch(case)
    before = module.eval()(x)
    module.train()(x)
    assert not torch.allclose(module.eval()(x), before)


def test_a_gpt_sees_nothing_that_is_still_to_come():
    module, x = built("gpt"), batch("gpt")
    changed = x.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % TOKENS
    assert torch.equal(module(changed)[:, :5], module(x)[:, :5])
    assert not torch.allclose(module(changed)[:, 5:], module(x)[:, 5:])


def test_a_gpt_has_one_matrix_for_reading_and_scoring_tokens():
    module = built("gpt")
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    assert shapes.count((TOKENS, 8)) == 1
    with torch.no_grad():
        module.tokens.weight[3] *= 2
    x = torch.zeros(1, CONTEXT, dtype=torch.int64)
    changed, before = module(x), built("gpt")(x)
    torch.testing.assert_close(changed[..., 3], 2 * before[..., 3])


def test_at_first_a_gpt_finds_every_token_about_as_likely():
    model = replace(CASES["gpt"][0], width=96, depth=3)
    torch.manual_seed(0)
    logits = build_model(model, Extent((64,), 128))(torch.randint(0, 128, (4, 64)))
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(0, 128, (256,)))
    assert abs(loss.item() - math.log(128)) < 0.1


def test_a_vision_transformer_sees_whole_patches_in_their_places():
    module, x = built("vit"), batch("vit")
    assert not torch.allclose(module(x.flip(3)), module(x))
    swapped = torch.cat([x[..., 4:], x[..., :4]], dim=3)
    assert not torch.allclose(module(swapped), module(x))
    with torch.no_grad():
        module.places.zero_()
    torch.testing.assert_close(module(swapped), module(x))


def test_resnet18_has_the_parameters_of_its_paper():
    """11,173,962 for CIFAR-10: torchvision's, less what its stem for large images and its last layer have more."""
    model = replace(CASES["resnet18"][0], width=64)
    count = sum(p.numel() for p in build_model(model, Extent((3, 32, 32), 10)).parameters())
    assert count == 11_173_962


MISFITS = [
    ("vit", {"patch": 3}, IMAGE, "model.patch is 3, which does not divide images of 8×8"),
    ("vit", {"heads": 3}, IMAGE, "model.width is 8; expected a multiple of model.heads, 3"),
    ("gpt", {"heads": 5}, TEXT, "model.width is 8; expected a multiple of model.heads, 5"),
    ("cnn", {}, VECTOR, "model=cnn reads images, but an example of the dataset has the shape [12]"),
    ("resnet18", {}, VECTOR, "model=resnet18 reads images"),
]


@pytest.mark.parametrize(("case", "changes", "extent", "words"), MISFITS)
def test_what_cannot_be_built_is_refused_in_one_sentence(case, changes, extent, words):
    with pytest.raises(ConfigError) as refused:
        build_model(replace(CASES[case][0], **changes), extent)
    assert words in refused.value.message
