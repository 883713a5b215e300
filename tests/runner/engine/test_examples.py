"""Rows of a split come back as they were put in, whatever they are held as."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from thalweg.data.splits import Pixels, Split, Splits
from thalweg.runner.engine.examples import Examples, on_device

Kind = Literal["classes", "values", "tokens"]
CPU = torch.device("cpu")
N = 20


def splits_of(x: np.ndarray, y: np.ndarray, kind: Kind, pixels: Pixels | None = None) -> Splits:
    train, val, test = (Split(x.copy(), y.copy()) for _ in range(3))
    return Splits(train, val, test, kind=kind, outputs=5, pixels=pixels)


rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (N, 3, 4, 4), dtype=np.uint8)
PIXELS = Pixels(np.full((3, 1, 1), 100, np.float32), np.array([[[50]], [[60]], [[70]]], np.float32))
CASES = {
    "floats": (splits_of(rng.normal(size=(N, 2, 3)).astype(np.float32), rng.integers(0, 5, N), "classes"), None),
    "pixels": (splits_of(IMAGES, rng.integers(0, 5, N), "classes", PIXELS), (IMAGES - PIXELS.mean) / PIXELS.deviation),
    "values": (splits_of(rng.normal(size=(N, 4)).astype(np.float32), np.ones((N, 2), np.float32), "values"), None),
}
tokens_x, tokens_y = rng.integers(0, 5, (2, N, 7)).astype(np.uint8)
CASES["tokens"] = (splits_of(tokens_x, tokens_y, "tokens"), None)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_rows_of_any_shape_are_taken_in_order(case, dtype, shape) -> None:
    splits, features = CASES[case]
    examples = on_device(splits, CPU, dtype)["train"]
    rows = torch.tensor([3, 19, 0, 7, 7, 1]).view(shape)
    x, y = examples.take(rows)
    expected = splits.train.x if features is None else features
    assert x.shape == (*shape, *splits.features)
    assert x.dtype == (torch.int64 if case == "tokens" else dtype)
    assert y.dtype == (dtype if case == "values" else torch.int64)
    np.testing.assert_allclose(x.flatten(0, len(shape) - 1), expected[rows.flatten()], rtol=1e-6, atol=1e-6)
    assert np.array_equal(y.flatten(0, len(shape) - 1), splits.train.y[rows.flatten()])


@pytest.mark.parametrize("case", CASES)
def test_chunks_are_all_rows_in_order(case) -> None:
    examples = on_device(CASES[case][0], CPU, torch.float32)["val"]
    x, y = examples.take(torch.arange(examples.rows))
    chunks = list(examples.chunks(6))
    assert [len(each) for each, _ in chunks] == [6, 6, 6, 2]
    assert torch.equal(torch.cat([each for each, _ in chunks]), x)
    assert torch.equal(torch.cat([each for _, each in chunks]), y)


def test_the_splits_are_named_as_their_metrics_are() -> None:
    assert list(on_device(CASES["floats"][0], CPU, torch.float32)) == ["train", "val", "test"]


@pytest.mark.parametrize("case", CASES)
def test_a_device_is_what_its_tensors_call_it(case) -> None:
    """As `cuda` is to cuda:0, cpu:0 is to cpu: data that lies there already must not be sent there."""
    examples = on_device(CASES[case][0], torch.device("cpu:0"), torch.float32)["train"]
    assert examples.device == examples.home == examples.take(torch.tensor([3, 1]))[0].device


@pytest.mark.gpu
def test_data_that_a_gpu_cannot_hold_is_streamed_with_the_same_batches(monkeypatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("NOT RUN: needs a CUDA device")
    gpu, splits = torch.device("cuda"), CASES["pixels"][0]
    held = on_device(splits, gpu, torch.float32)["train"]
    monkeypatch.setattr("thalweg.runner.engine.examples.RESIDENT_SHARE", 0.0)
    streamed: Examples = on_device(splits, gpu, torch.float32)["train"]
    assert (held.home.type, streamed.home.type) == ("cuda", "cpu")
    rows = torch.tensor([3, 1, 4])
    for one, other in zip(held.take(rows.to(gpu)), streamed.take(rows), strict=True):
        assert one.device == other.device
        assert torch.equal(one, other)
