"""One thread for all of tests/optim."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: on a busy machine of two cores a second thread, waiting, took the suite from 6 to 22 s."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
