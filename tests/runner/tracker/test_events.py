"""TensorBoard's event files, read back by a reader of their own, written from the format's description."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tracker import EVERY_STEP, make_analysis, make_trial, make_trials

from thalweg.runner.tracker import export
from thalweg.runner.tracker.events import checksums, recorded
from thalweg.runner.tracker.history import history, loaded

SETTINGS = replace(EVERY_STEP, name="tensorboard")


def crc32c(data: bytes) -> int:
    """Bit by bit, as RFC 3720 has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        data = content[at + 12 : at + 12 + length]
        sums = struct.unpack_from("<I", content, at + 8), struct.unpack_from("<I", content, at + 12 + length)
        assert sums == ((masked(content[at : at + 8]),), (masked(data),))
        yield data
        at += 16 + length


def fields(data: bytes) -> list[tuple[int, Any]]:
    """A protobuf message: (number, value), values as numbers or bytes."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, varint()))
            continue
        size = {1: 8, 5: 4, 2: None}[tag & 7]
        size = varint() if size is None else size
        found.append((tag >> 3, data[at : at + size]))
        at += size
    return found


def read_run(folder: Path) -> tuple[list[tuple[int, dict]], dict[str, str]]:
    (file,) = folder.iterdir()
    rows, texts = [], {}
    for place, data in enumerate(records(file.read_bytes())):
        event = dict(fields(data))
        if place == 0:
            assert event[3] == b"brain.Event:2"
            continue
        row = {}
        for _, value in fields(event[5]):
            one = dict(fields(value))
            if 2 in one:
                row[one[1].decode()] = struct.unpack("<f", one[2])[0]
            else:
                texts[one[1].decode()] = dict(fields(one[8]))[8].decode()
        if row:
            rows.append((event[2], row))
    return rows, texts


def folders(place: Path) -> list[Path]:
    return sorted((place / "tensorboard").iterdir())


def test_a_run_holds_every_point_of_its_trial_as_float32(tmp_path):
    trials = make_trials(3)
    result = export(trials, tmp_path / "a.sqlite", SETTINGS, analyses=[make_analysis()])
    assert (result.written, result.total, result.problem) == (3, 3, None)
    assert "tensorboard --logdir" in result.line
    for trial in trials:
        (folder,) = (each for each in folders(tmp_path) if each.name.endswith(trial.trial_id[:16]))
        rows, texts = read_run(folder)
        narrow = [
            (step, {key: float(np.float32(value)) for key, value in row.items()})
            for step, row in history(loaded(trial), None)
        ]
        assert rows == narrow
        assert trial.trial_id in texts["config"]
        assert "best/val/loss" in texts["summary"]
        assert "test/accuracy" not in texts["summary"]
    assert folders(tmp_path)[0].name.startswith("coupling adamw lr ")


def test_exporting_twice_equals_once_and_what_is_lost_is_made_good(tmp_path):
    store = tmp_path / "a.sqlite"
    export(make_trials(3), store, SETTINGS)
    assert export(make_trials(3), store, SETTINGS).new == 0
    shutil.rmtree(folders(tmp_path)[0])
    (file,) = folders(tmp_path)[0].iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert export(make_trials(3), store, SETTINGS).new == 2
    (tmp_path / "a.tensorboard.jsonl").unlink()
    assert export(make_trials(3), store, SETTINGS).new == 3
    assert len(folders(tmp_path)) == 3


def test_nothing_is_uploaded_and_variables_of_wandb_mean_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    result = export(make_trials(1), tmp_path / "a.sqlite", SETTINGS, asked_to_upload=True)
    assert (result.written, result.uploaded, result.account, result.warnings) == (1, 0, False, ())
    assert not (tmp_path / "elsewhere").exists()


def test_hostile_names_stay_inside_the_folder(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    hostile = "../../\x1b[31m\0\n-" + "é" * 300
    export([make_trial(1, study=hostile, block="/etc")], place / "a.sqlite", SETTINGS)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["in"]
    assert len(folders(place)) == 1
    assert export([make_trial(1, study=hostile, block="/etc")], place / "a.sqlite", SETTINGS).new == 0


@pytest.mark.parametrize(("text", "crc"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"", 0)])
def test_checksums_are_those_that_are_published(text, crc):
    assert checksums([text, text]).tolist() == [crc, crc]
    assert crc32c(text) == crc


def test_events_of_any_length_keep_their_order():
    events = [bytes([n % 251]) * (n % 7) for n in range(50)]
    assert list(records(recorded(events))) == events
