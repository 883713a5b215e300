"""A module aside: what is done to it there, training does not see."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.runner.engine.copying import aside
from thalweg.runner.engine.digest import digest


class Odd(nn.Linear):
    """Holds things of many kinds, and a generator, which nobody copies."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.n, self.said, self.by_name, self.pair = 0, [1], {"n": 0}, ({"n": 0},)
        self.part = nn.BatchNorm1d(2)
        self.numbers = (each for each in range(9))


class Itself(Odd):
    def __init__(self) -> None:
        super().__init__()
        del self.numbers

    def __deepcopy__(self, memo: Any) -> Itself:
        return self


@pytest.mark.parametrize("kind", [Odd, Itself])
def test_what_cannot_be_copied_is_afterwards_as_it_was(kind: type[Odd]) -> None:
    module = kind()
    said, by_name, weight = module.said, module.by_name, module.weight.clone()
    with aside(module) as same, torch.no_grad():
        assert same is module
        module.n, module.pair = 5, ({"n": 7},)
        module.said.append(2)
        module.by_name["n"] = 3
        vars(module)["new"] = 1
        module.weight.add_(1)
        module.part.running_mean = torch.ones(2)
        handle = module.register_forward_hook(lambda *_: None)
    assert (module.n, module.said, module.by_name, module.pair) == (0, [1], {"n": 0}, ({"n": 0},))
    assert module.said is said
    assert module.by_name is by_name
    assert not hasattr(module, "new")
    assert torch.equal(module.weight, weight)
    assert torch.equal(module.part.running_mean, torch.zeros(2))
    assert not module._forward_hooks
    handle.remove()


def test_what_can_be_copied_is_copied() -> None:
    module = nn.Linear(2, 2)
    with aside(module) as copy:
        assert isinstance(copy, nn.Linear)
        assert copy is not module
        assert torch.equal(copy.weight, module.weight)


def test_what_nobody_sees_into_is_never_held_to_be_the_same() -> None:
    """So that training which it is part of starts again instead of resuming."""
    base = sqlite3.connect(":memory:")
    assert digest([base]) != digest([base])
    assert digest([threading.Lock()]) == digest([threading.Lock()])


@pytest.mark.parametrize("body", ["box", "[box for _ in 'a']", "(lambda: box)()", "sum(each for each in box)"])
def test_a_function_of_no_module_holds_the_globals_that_it_names_anywhere(body: str) -> None:
    scope: dict[str, Any] = {"box": [1]}
    exec(f"def made():\n    return {body}", scope)
    before = digest(scope["made"])
    scope["box"].append(2)
    assert digest(scope["made"]) != before
