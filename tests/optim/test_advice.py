"""Rules of thumb: the warmup they suggest, and the decay they warn of."""

import re
from typing import Any

import pytest

from thalweg.optim import decay_warning, suggest_warmup
from thalweg.optim.schema import AdamL2Config, AdamWConfig, LionConfig, SGDConfig

RATES: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999}


@pytest.mark.parametrize(
    ("total", "options", "steps", "source"),
    [
        (90, {"optimizer": "sgd"}, 5, "Goyal"),
        (600, {"optimizer": "sgd"}, 34, "Goyal"),
        (100_000, {}, 2_000, r"2/\(1−β2\), Ma & Yarats"),
        (100_000, {"beta2": 0.99}, 200, "Ma & Yarats"),
        (100_000, {"beta2": 0.0, "optimizer": "adam_l2"}, 2, "Ma & Yarats"),
        (600, {}, 36, "6% of all steps, Liu.*would be 2,000"),
        (600, {"optimizer": "muon", "beta2": 0.95}, 36, "would be 40"),
        (600, {"optimizer": "lion", "beta2": 0.5}, 36, "Liu"),
        (1, {}, 1, "Liu"),
    ],
)
def test_a_warmup_is_suggested_with_its_source(total, options, steps, source):
    found = suggest_warmup(total, **options)
    assert found.steps == steps
    assert re.search(source, found.because)


@pytest.mark.parametrize(
    "bad",
    [{"total_steps": bad} for bad in (0, "100", float("inf"), float("nan"), True)]
    + [{"beta2": bad} for bad in (1.0, float("nan"), "0.9", None)]
    + [{"optimizer": "adagrad"}],
)
def test_what_has_no_rule_is_refused(bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        suggest_warmup(**({"total_steps": 100} | bad))


def adamw(lr, weight_decay, decay="coupled"):
    return AdamWConfig(
        name="adamw", lr=lr, weight_decay=weight_decay, eps=1e-8, decay=decay, decay_order="before", **RATES
    )


def test_decay_of_a_whole_weight_a_step_is_warned_of():
    sane = [
        adamw(0.1, 9.9),
        adamw(10, 0.99, "independent"),
        AdamL2Config(name="adam_l2", lr=10, weight_decay=10, eps=1e-8, **RATES),
        SGDConfig(name="sgd", lr=10, weight_decay=10, momentum=0.9, nesterov=False, decay="l2", decay_order="before"),
    ]
    assert decay_warning(sane) is None
    assert decay_warning([*sane, adamw(0.1, 10)]).startswith("1 trial has lr·wd ≥ 1: ")
    lion = LionConfig(
        name="lion", lr=1, weight_decay=2.5, decay="coupled", decay_order="before", decay_on="all", **RATES
    )
    strong = [adamw(0.5, 4), adamw(1e-3, 1.5, "independent"), lion]
    assert decay_warning(strong + sane) == (
        "3 trials have lr·wd ≥ 1 (wd ≥ 1 where decay is independent): weight decay alone brings weights to 0 or changes"
        " their signs; in 1, where it is above 2, it makes them grow"
    )
    assert decay_warning([adamw(1e-3, 1.5, "independent")]).startswith("1 trial has wd ≥ 1: ")


def test_the_warning_tells_what_an_optimizer_does():
    import torch

    from thalweg.optim import AdamW

    for strength, grows in ((0.5, False), (1.5, False), (2.5, True)):
        theta = torch.nn.Parameter(torch.ones(1))
        optimizer = AdamW([theta], lr=0.5, weight_decay=strength / 0.5)
        path = []
        for _ in range(6):
            theta.grad = torch.zeros(1)
            optimizer.step()
            path.append(theta.item())
        assert (abs(path[-1]) > 1) == grows
        assert (path[0] < 0) == (decay_warning([adamw(0.5, strength / 0.5)]) is not None)
