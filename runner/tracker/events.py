"""Runs as TensorBoard's event files, for who has no server at all. Writing them needs no package, reading tensorboard.

An event is a record of its length, its data, and a masked CRC-32C of each (TFRecord); the data is `Event` of
tensorflow/core/util/event.proto: wall_time = 1, step = 2, file_version = 3, summary = 5. Values are float32 there.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from thalweg.runner.tracker.environment import Surroundings
from thalweg.runner.tracker.history import Media, Row, RunContent
from thalweg.runner.tracker.runs import PARTIAL

FOLDER = "tensorboard"
POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
MASK = 0xA282EAD8
NAME_LIMIT = 200  # bytes of a folder's name may be 255


class Events:
    """Writes a folder a run, named so that TensorBoard's list reads well and the run's id is its end."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def write(self, run: RunContent, history: Sequence[Row], media: Sequence[Media] = ()) -> Path:
        """Write beside the final place, and rename: a kill leaves no half of a run. Media are no part of it."""
        when = run.started.timestamp()
        events = [_field(1, 1, struct.pack("<d", when)) + _text(3, "brain.Event:2"), *_scalars(history, when)]
        events += [_note(name, held, when) for name, held in (("config", run.config), ("summary", run.summary))]
        partial = self._around.folder / f"{PARTIAL}{run.run_id}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            (partial / f"events.out.tfevents.{int(when)}.thalweg").write_bytes(recorded(events))
            return partial.rename(self._around.folder / _folder_name(run))
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def event_writer(around: Surroundings) -> Iterator[Events]:
    """Return the writer; nothing has to be started."""
    yield Events(around)


def recorded(events: Sequence[bytes]) -> bytes:
    """Return events as a file's content. Checksums are made for all events of a length at once."""
    by_length: dict[int, list[int]] = {}
    for place, data in enumerate(events):
        by_length.setdefault(len(data), []).append(place)
    made: list[bytes] = [b""] * len(events)
    for length, places in by_length.items():
        head = struct.pack("<Q", length)
        head += struct.pack("<I", _masked(checksums([head]))[0])
        for place, mask in zip(places, _masked(checksums([events[each] for each in places])), strict=True):
            made[place] = head + events[place] + struct.pack("<I", mask)
    return b"".join(made)


def checksums(texts: Sequence[bytes]) -> np.ndarray:
    """CRC-32C of texts of one length, `[N]`: byte by byte, over all texts at once."""
    bytes_NL = np.frombuffer(b"".join(texts), np.uint8).reshape(len(texts), -1)
    crc_N = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    for byte_N in bytes_NL.T:
        crc_N = _table()[(crc_N ^ byte_N) & 0xFF] ^ (crc_N >> np.uint32(8))
    return crc_N ^ np.uint32(0xFFFFFFFF)


@cache
def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(POLYNOMIAL), table >> np.uint32(1))
    return table


def _masked(crc_N: np.ndarray) -> list[int]:
    return [(((crc >> 15 | crc << 17) & 0xFFFFFFFF) + MASK) & 0xFFFFFFFF for crc in crc_N.tolist()]


def _scalars(history: Sequence[Row], when: float) -> Iterator[bytes]:
    """An event a row, with a value a metric: Value is tag = 1, simple_value = 2."""
    at = _field(1, 1, struct.pack("<d", when))
    for step, row in history:
        values = [_text(1, name) + _field(2, 5, struct.pack("<f", value)) for name, value in row.items()]
        yield at + _field(2, 0, _varint(step)) + _sized(5, b"".join(_sized(1, value) for value in values))


def _note(name: str, held: object, when: float) -> bytes:
    """A text of TensorBoard's: Value is tag = 1, tensor = 8 of strings, metadata = 9 that names its plugin."""
    text = f"    {json.dumps(held, indent=1)}".replace("\n", "\n    ")  # as a block of code in its Markdown
    tensor = _field(1, 0, _varint(7)) + _sized(2, b"") + _text(8, text)
    value = _text(1, name) + _sized(9, _sized(1, _text(1, "text"))) + _sized(8, tensor)
    return _field(1, 1, struct.pack("<d", when)) + _sized(5, _sized(1, value))


def _folder_name(run: RunContent) -> str:
    shown = "".join("_" if c in '/\\:*?"<>|' else c for c in f"{run.group} {run.name}").lstrip(".")
    return f"{shown.encode()[:NAME_LIMIT].decode(errors='ignore')} {run.run_id}"


def _text(number: int, text: str) -> bytes:
    return _sized(number, text.encode())


def _sized(number: int, data: bytes) -> bytes:
    return _field(number, 2, _varint(len(data)) + data)


def _field(number: int, kind: int, data: bytes) -> bytes:
    return bytes([number << 3 | kind]) + data


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])
