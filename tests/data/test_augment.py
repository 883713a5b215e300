"""Augmentations move pixels and mix targets as they say, the same with a trial axis in front."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from thalweg.data.augment import DRAWS, Augment, crop, cutout, flip, mixup
from thalweg.data.schema import Augmentation

B, C, SIDE, CLASSES = 6, 3, 16, 4
ALL = tuple(DRAWS)


def images() -> torch.Tensor:
    return 1 + torch.arange(B * C * SIDE * SIDE, dtype=torch.float32).view(B, C, SIDE, SIDE)


def uniform(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(4))


def test_every_augmentation_has_its_draws():
    assert set(DRAWS) == set(get_args(Augmentation))


@pytest.mark.parametrize(("draw", "rows", "columns"), [(0.0, 2, 2), (0.5, 0, 0), (0.999, -2, -2)])
def test_a_crop_shifts_by_up_to_an_eighth_and_fills_with_the_mean(draw, rows, columns):
    x = images()
    shifted = torch.zeros_like(x)
    into, source = ([slice(max(0, s), SIDE + min(0, s)) for s in sign] for sign in ((rows, columns), (-rows, -columns)))
    shifted[:, :, into[0], into[1]] = x[:, :, source[0], source[1]]
    assert torch.equal(crop(x, torch.full((B, 2), draw)), shifted)


def test_each_image_is_cropped_by_its_own_draw():
    x, u = images(), uniform(B, 2)
    assert torch.equal(crop(x, u)[2:3], crop(x[2:3], u[2:3]))


def test_a_flip_mirrors_the_images_that_drew_low():
    x, u = images(), torch.tensor([[0.1], [0.9], [0.49], [0.5], [0.0], [0.99]])
    flipped = flip(x, u)
    for b, low in enumerate([True, False, True, False, True, False]):
        assert torch.equal(flipped[b], x[b].flip(2) if low else x[b])


def test_a_cutout_blanks_one_square_of_half_the_height_in_every_channel():
    blank = cutout(images(), torch.full((B, 2), 0.5)) == 0
    assert blank.sum().item() == B * C * (SIDE // 2) ** 2
    assert blank[:, :, SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4].all()
    corner = cutout(images(), torch.zeros(B, 2)) == 0
    assert corner.sum().item() == B * C * (SIDE // 4) ** 2  # three quarters of it lie outside


def test_mixing_blends_features_and_targets_in_the_same_shares():
    x, y, u = images(), torch.tensor([0, 1, 2, 3, 0, 1]), uniform(B)
    mixed, p = mixup(x, y, u, CLASSES)
    for b in range(B):
        torch.testing.assert_close(mixed[b], u[b] * x[b] + (1 - u[b]) * x[b - 1])
        assert p[b, y[b]].item() == pytest.approx(u[b].item())
        assert p[b, y[b - 1]].item() == pytest.approx(1 - u[b].item(), abs=1e-6)
    values, targets = mixup(x, x[:, 0, 0, :2], u, 2)
    torch.testing.assert_close(targets, values[:, 0, 0, :2])


@pytest.mark.parametrize("names", [*((name,) for name in ALL), ALL, ("mixup", "crop", "crop")])
def test_a_trial_axis_in_front_changes_nothing(names):
    augment = Augment(names, CLASSES)
    x, y, u = images(), torch.tensor([0, 1, 2, 3, 0, 1]), uniform(2, B, augment.draws)
    stacked = augment(torch.stack([x, 2 * x]), torch.stack([y, y.flip(0)]), u)
    for k, (own_x, own_y) in enumerate([(x, y), (2 * x, y.flip(0))]):
        alone = augment(own_x, own_y, u[k])
        assert torch.equal(stacked[0][k], alone[0])
        assert torch.equal(stacked[1][k], alone[1])
