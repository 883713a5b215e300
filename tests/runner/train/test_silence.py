"""Slots that have work and say nothing are told from slots that have none."""

from __future__ import annotations

from typing import get_args

import pytest

from thalweg.runner.facts.choice import Choice
from thalweg.runner.train import silence
from thalweg.runner.train.messages import Chosen, Lost, Note, OutOfMemory, Progress, Slower, Trained
from thalweg.runner.train.silence import ENDS, Silence

SAID = [Chosen("a", Choice("loop", "shared", 1, "")), Trained((), 0), Slower(0.5), OutOfMemory("full"), Lost(1)]


@pytest.mark.parametrize("end", SAID)
def test_a_slot_whose_work_has_ended_may_be_silent(end: object, monkeypatch) -> None:
    monkeypatch.setattr(silence, "SILENT_SECONDS", 0.0)
    watched = Silence("; look")
    assert watched.note() is None
    watched.given("slot")
    watched.heard("slot", Progress(1, 0))
    assert watched.note() == Note("no worker has said anything for 0 minutes; look")
    watched.heard("slot", end)
    assert watched.note() is None


def test_each_end_of_a_piece_of_work_is_tried_above() -> None:
    assert {type(each) for each in SAID} == {*get_args(ENDS)}
