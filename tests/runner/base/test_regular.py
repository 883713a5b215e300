"""Only regular files are opened; anything else is said to be what it is, at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from thalweg.runner.base.regular import open_regular


def pipe(place: Path) -> Path:
    os.mkfifo(place / "it")
    return place / "it"


def link_to(target: Path, place: Path) -> Path:
    (place / "link").symlink_to(target)
    return place / "link"


def listening(place: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(place / "it"))
    return place / "it"


OTHERS = {
    "a named pipe": pipe,
    "a link to a named pipe": lambda place: link_to(pipe(place), place),
    "a device": lambda _: Path("/dev/zero"),
    "a link to a device": lambda place: link_to(Path("/dev/zero"), place),
    "a folder": lambda place: place,
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_regular_file_is_said_and_never_waited_for(tmp_path: Path, case: str) -> None:
    with pytest.raises(OSError) as refused:
        open_regular(OTHERS[case](tmp_path))
    assert refused.value.strerror == f"it is {case.removeprefix('a link to ')}; expected a file"


def test_a_socket_and_a_dangling_link_are_no_files(tmp_path: Path) -> None:
    for path in (listening(tmp_path), link_to(tmp_path / "nowhere", tmp_path)):
        with pytest.raises(OSError):
            open_regular(path)


def test_a_file_is_read_through_links_and_nothing_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for path in (tmp_path / "file", str(link_to(tmp_path / "file", tmp_path))):
        with open_regular(path) as opened:
            assert opened.read() == b"bytes"
    with pytest.raises(OSError):
        open_regular(tmp_path)
    assert before == (len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0)
