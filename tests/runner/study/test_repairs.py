"""Which configurations a repair touches: as few as can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_cases import make_trial

from thalweg.runner.study.arithmetic import earlier, stamped
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial

RECOMPUTES = (("memory_efficient", True),)
TARGETS = [
    ("nets.Small", (), 6),
    ("nets.Small", (("width", 8),), 6),
    ("torchvision.models.resnet18", (), 0),
    ("torchvision.models.densenet121", RECOMPUTES, 6),
]


@pytest.mark.parametrize(("target", "arguments", "number"), TARGETS)
def test_models_of_the_users_own_are_trained_anew(target, arguments, number) -> None:
    config = replace(make_trial().config, model=ModelTarget(_target_=target, arguments=arguments))
    assert stamped(config).arithmetic == number
    assert [repair.number for _, repair in earlier(Trial(stamped(config)))] == [number] * bool(number)


def test_models_of_ours_keep_their_ids() -> None:
    trial = make_trial()
    assert Trial(stamped(trial.config)).id == trial.id
