"""What leaves the machine: nothing offline, and what W&B's API is asked online; and no server holds a command up."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest

from thalweg.runner.cli.mirror import PROMISED_SECONDS
from thalweg.runner.tracker import upload
from thalweg.runner.tracker.environment import upload_environment

pytestmark = pytest.mark.skipif(find_spec("wandb") is None, reason="NOT RUN: wandb is not installed")
ROOT = Path(__file__).parents[3]
KEY = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
from test_tracker import SETTINGS, export, make_trials
from thalweg.runner.cli.mirror import UPLOAD_SECONDS
written = []
result = export(make_trials(2), Path(sys.argv[1]), SETTINGS, upload_seconds=UPLOAD_SECONDS,
                report=lambda *said: written.append(time.time()))
print(result.written, result.uploaded, time.time() - written[-1], flush=True)
"""

PROXIES = ("http_proxy", "https_proxy", "all_proxy")

Answer = Callable[[socket.socket], None]


def hole(connection: socket.socket) -> None:
    time.sleep(60)


def slow(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" * 9:
        connection.sendall(bytes([byte]))
        time.sleep(0.3)


def broken(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def refusing(status: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    return answer


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def listener(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """A port, and the first line of every request that came; b"" for a connection that asked nothing."""
    asked: list[bytes] = []

    def attend(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(5)
            asked.append(connection.recv(65536, socket.MSG_PEEK).partition(b"\r\n")[0])
            answer(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                Thread(target=attend, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)


def exported(folder: Path, port: int, **variables: str) -> tuple[int, int, float]:
    """Export in a process of its own that can reach nothing but the port.

    Returns runs written, uploaded, and the seconds from the last one written to what is said of them; who waits for
    that then ends the process.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    url = f"http://127.0.0.1:{port}"
    environment |= {
        **dict.fromkeys(PROXIES, url),
        "no_proxy": "",
        "HOME": str(folder),
        "WANDB_BASE_URL": url,
        **variables,
    }
    script = SCRIPT.format(paths=[str(ROOT / "src"), str(Path(__file__).parent)])
    command = [sys.executable, "-P", "-c", script, str(folder / "a.sqlite")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    written, uploaded, seconds = done.stdout.split()
    return int(written), int(uploaded), float(seconds)


@pytest.mark.long
@pytest.mark.parametrize(
    "variables", [{}, {"WANDB_API_KEY": KEY}, {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, {"WANDB_MODE": "online"}]
)
def test_offline_nothing_connects_to_anything(tmp_path, variables):
    with listener(hole) as (port, asked):
        written, _, seconds = exported(tmp_path, port, **variables)
    assert (written, asked) == (2, [])
    assert seconds < PROMISED_SECONDS


def left_of(folder: Path) -> list[str]:
    """The processes whose home is the folder: W&B's service outlives who started it, if it is let."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"HOME={folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "comm").read_text())
    return found


ANSWERS = {
    "hole": hole,
    "slow": slow,
    "500": broken,
    "reset": reset,
    **{code[:3].decode(): refusing(code) for code in (b"401 no", b"403 no", b"404 no", b"429 wait", b"503 later")},
}


IN_TURN = [
    pytest.param(answer, id=name, marks=() if name in ("hole", "500", "401", "429") else pytest.mark.slow)
    for name, answer in ANSWERS.items()
]


@pytest.mark.long
@pytest.mark.parametrize("answer", IN_TURN)
def test_online_only_the_api_is_asked_and_no_server_holds_the_command(tmp_path, answer):
    with listener(answer) as (port, asked):
        written, uploaded, seconds = exported(tmp_path, port, WANDB_API_KEY=KEY, WANDB_MODE="online")
    assert (written, uploaded) == (2, 0)
    assert {line for line in asked if line} <= {b"POST /graphql HTTP/1.1"}
    assert seconds < PROMISED_SECONDS
    assert left_of(tmp_path) == []


@pytest.mark.long
def test_an_address_where_nobody_listens_does_not_hold_the_command(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    written, uploaded, seconds = exported(tmp_path, port, WANDB_API_KEY=KEY, WANDB_MODE="online")
    assert (written, uploaded) == (2, 0)
    assert seconds < PROMISED_SECONDS


@pytest.mark.parametrize("name", ["hole", "slow", "500", "reset", "429", "503"])
def test_who_asks_for_an_upload_hears_soon_that_nobody_answers(tmp_path, monkeypatch, name):
    monkeypatch.setattr(upload, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(upload, "_sync", None)
    for proxy in PROXIES:
        monkeypatch.delenv(proxy, raising=False)
    with listener(ANSWERS[name]) as (port, _):
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        begun = time.monotonic()
        said = upload.upload([tmp_path], None, lambda count: None)
    assert said
    assert f"127.0.0.1:{port}" in said
    assert "\n" not in said
    assert time.monotonic() - begun < 4
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")  # where nobody listens by now
    assert "refused" in str(upload.upload([tmp_path], None, lambda count: None))


@pytest.mark.parametrize("name", ["401", "403", "404"])
def test_a_server_that_refuses_is_asked_by_wandb_itself(tmp_path, monkeypatch, name):
    for proxy in PROXIES:
        monkeypatch.delenv(proxy, raising=False)
    with listener(ANSWERS[name]) as (port, _):
        assert upload._silence(f"http://127.0.0.1:{port}") is None


def test_what_the_user_said_about_reports_counts():
    assert upload_environment({"WANDB_ERROR_REPORTING": "true"})["WANDB_ERROR_REPORTING"] == "true"
    assert upload_environment({})["WANDB_ERROR_REPORTING"] == "false"
