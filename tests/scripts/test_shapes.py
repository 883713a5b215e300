"""Names that say a shape are held to it while tests run."""

import importlib.util
import sys

import numpy as np
import pytest
import shapes
import torch

from thalweg.runner.engine import step

TEXT = '''
"""A module."""
def first(theta_KP, loss_K, c=None):
    """Sums."""
    sum_K = theta_KP.sum(1)
    other_K1: object = loss_K[:, None] if loss_K is not None else loss_K
    check_K2 = other_K1 if c else None
    return sum_K
def second(x_RC):
    (mean_R, none_C), both_RC = (x_RC.mean(1), None), x_RC
    wrong_R = both_RC
    return wrong_R
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "named.py"
    path.write_text(TEXT)
    spec = importlib.util.spec_from_file_location("named", path, loader=shapes.Loader("named", str(path)))
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made
    assert not list(tmp_path.rglob("*.pyc"))


def test_shapes_that_fit_their_names_pass(module):
    assert module.first(torch.ones(2, 3), torch.ones(2)).tolist() == [3, 3]
    assert module.first(torch.ones(2, 3), None).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.ones(2), np.ones(2)), r"theta_KP has the shape \(2,\)"),
        ((np.ones((2, 3)), np.ones(3)), "K is 2 in theta_KP and 3 in loss_K"),
        ((np.ones((2, 3)), np.ones((2, 1))), r"loss_K has the shape \(2, 1\)"),
        ((np.ones((2, 3)), np.ones(2), True), r"check_K2 has the shape \(2, 1\)"),
    ],
)
def test_an_argument_of_another_shape_is_found(module, arguments, said):
    with pytest.raises(shapes.WrongShape, match=said):
        module.first(*arguments)


def test_an_assignment_of_another_shape_is_found_where_it_stands(module):
    with pytest.raises(shapes.WrongShape, match=r"wrong_R has the shape \(2, 3\)") as found:
        module.second(np.ones((2, 3)))
    assert found.traceback[-2].lineno + 1 == 11


def test_the_engine_is_held_to_its_names():
    assert isinstance(sys.modules[step.__name__].__spec__.loader, shapes.Loader)
    with pytest.raises(shapes.WrongShape):
        step._nobody_dies(None, torch.ones(2, 2), torch.ones(2))
