"""Which tests run: `slow` ones with --slow only, `gpu` ones where torch finds a CUDA device."""

import os

import pytest
import shapes
from hypothesis import settings

shapes.hold()  # before anything imports ours

# A busy machine is not a failure: no property here is about time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Read once, at the first product of whichever test comes first; see thalweg.runner.engine.determinism.
os.environ["MKL_CBWR"] = "AUTO,STRICT"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config, items):
    skip_slow = pytest.mark.skip(reason="takes minutes: run with --slow")
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(skip_slow)
        if item.get_closest_marker("gpu") and not cuda():
            item.add_marker(pytest.mark.skip(reason="NOT RUN: needs a CUDA device"))


def cuda():
    import torch

    return torch.cuda.is_available()
