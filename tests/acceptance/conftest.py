"""Fixtures of the acceptance tests: an empty desk, and one where the small study was swept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from desk import SMALL, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Desk]:
    return lambda name: Desk(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def swept(desks: Callable[[str], Desk]) -> Desk:
    """The small study, trained undisturbed by one worker. Read it; do not change it."""
    desk = desks("swept")
    desk.thalweg("sweep", *SMALL, "launcher.workers=1")
    return desk
