"""Processes that run a user's code are all started in one way, and walk sets of words in one order."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from thalweg.runner.base.child import HASH_SEED, spawned

RUNNER = Path(__file__).parents[3] / "runner"


def said_order(pipe: Connection, words: tuple[str, ...]) -> None:
    pipe.send((list(set(words)), bool(sys.flags.hash_randomization)))


@pytest.mark.parametrize("before", [None, "7"])
def test_a_process_walks_sets_of_words_in_one_order(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv(HASH_SEED, raising=False)
    if before:
        monkeypatch.setenv(HASH_SEED, before)
    process, pipe = spawned(said_order, ("query", "key", "value", "out", "gate"))
    order, randomised = pipe.recv()
    process.join(10)
    assert (sorted(order), randomised) == (["gate", "key", "out", "query", "value"], False)
    assert os.environ.get(HASH_SEED) == before


def test_nobody_else_starts_processes_that_could_run_a_model() -> None:
    starting = (
        "get_context(",
        "Process(",
        "set_start_method",
        "os.fork(",
        "ProcessPoolExecutor",
        "torch.multiprocessing.sp",
    )
    sources = {path: path.read_text() for path in RUNNER.rglob("*.py")}
    found = {
        path.relative_to(RUNNER).as_posix() for path, text in sources.items() if any(each in text for each in starting)
    }
    assert found == {"base/child.py"}
