"""Which tests run: `slow` ones with --slow only, `gpu` ones where torch finds a CUDA device; few with --fast."""

import os
from pathlib import Path

import pytest
import shapes
from hypothesis import settings

shapes.hold()  # before anything imports ours

# A busy machine is not a failure: no property here is about time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Read once, at the first product of whichever test comes first; see thalweg.runner.engine.determinism.
os.environ["MKL_CBWR"] = "AUTO,STRICT"


LONG = (
    "acceptance",
    "data/test_load.py",
    "docs/test_docs.py",
    "models/test_every_model.py",
    "optim/test_trajectories.py",
    "runner/cli",
    "runner/config/test_config.py",
    "runner/decide/test_moves.py",
    "runner/engine",
    "runner/project",
    "runner/report/test_browser.py",
    "runner/store/test_store_damage.py",
    "runner/store/test_store_kills.py",
    "runner/study/test_target.py",
    "runner/terminal",
    "runner/tracker",
    "runner/train",
    "scripts/test_benchmark.py",
    "scripts/test_early_signals.py",
    "scripts/test_gpu.py",
    "scripts/test_setup.py",
)
"""Files, and folders with some, that take seconds; what is left is two thirds of the tests, in a minute."""


NUMBERS = (
    "acceptance/test_decide.py",
    "acceptance/test_own_project.py",
    "acceptance/test_planted_slopes.py",
    "acceptance/test_replay.py",
    "acceptance/test_sweep.py",
    "acceptance/test_train_longer.py",
    "data/test_stored.py",
    "optim",
    "runner/cli/test_mirror.py",
    "runner/engine",
    "runner/store",
    "runner/train",
)
"""Where tests marked long hold what trains and what is stored: those that CI runs, in 14 minutes on two cores."""


def pytest_ignore_collect(collection_path, config):
    if config.getoption("--fast"):
        here = Path(__file__).parent
        return True if any(collection_path == here / name for name in LONG) else None
    return None


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="leave out the files that take longest: under a minute")
    parser.addoption("--ci", action="store_true", help="of the tests marked long those of training and the store")
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--ci"):
        left = {item for item in items if item.get_closest_marker("long") and not _of_numbers(item.path)}
        config.hook.pytest_deselected(items=[*left])
        items[:] = [item for item in items if item not in left]
    skip_slow = pytest.mark.skip(reason="takes minutes: run with --slow")
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(skip_slow)
        if item.get_closest_marker("gpu") and not cuda():
            item.add_marker(pytest.mark.skip(reason="NOT RUN: needs a CUDA device"))


def _of_numbers(path):
    here = Path(__file__).parent
    return any(path.is_relative_to(here / name) for name in NUMBERS)


def cuda():
    import torch

    return torch.cuda.is_available()
