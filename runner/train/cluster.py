"""Slots on the nodes of a Ray cluster: actors, each with a worker process beside it. The one door to Ray.

An actor relays: it starts the same process as `Pool` does here, and passes on what is said in both directions. So a
trial meets the same program on every backend, and a model that takes its process down takes no actor with it.

Every node needs the same Python environment and the current folder under its own path (a shared file system), since
code and data of the project are found there; a node that lacks the folder is not used, which is said. Checkpoints are
read on another node where the store's folder is shared; where it is not, a lost cohort starts again.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from thalweg.runner.base.errors import SetupError, last_line
from thalweg.runner.base.signals import ASKING, Signals
from thalweg.runner.base.version import __version__
from thalweg.runner.machine.device import usable_cores
from thalweg.runner.study.settings import RayLauncher, Settings
from thalweg.runner.train.messages import (
    Event,
    Hello,
    Lost,
    Note,
    Ready,
    Said,
    Slot,
    Train,
    Work,
)
from thalweg.runner.train.pool import Pool
from thalweg.runner.train.silence import SILENT_SECONDS, Silence

WAKE_SECONDS = 0.25
"""A Ctrl-C is noticed that fast."""
NO_CLUSTER = "ray start --address=HOST:PORT joins one; without launcher.address a Ray of this machine is made"
KNOCK_SECONDS = 10.0
"""How long a cluster's head may take to answer."""
LOOK_SECONDS = 5.0
"""How often nodes that joined are looked for."""
INSTALL = "pip install 'thalweg[ray]'; in a clone: .venv/bin/python -m pip install ray"


class Relay:
    """The actor: a worker process on its node, and what passes between it and the driver."""

    def __init__(self) -> None:
        self.pool = Pool()

    def begin(self, folder: str, device: str) -> Hello:
        """Start the worker in the driver's folder; return what it says first, or why there is none."""
        try:
            os.chdir(folder)
        except OSError as error:
            return Hello(device, os.uname().nodename, {}, f"{error.strerror}: {folder}")
        os.environ["PYTHONSAFEPATH"] = "1"  # as with `python -P`: a user's queue.py is not Python's
        self.worker = self.pool.start(device)
        while not isinstance(said := self.next(), Hello):
            if isinstance(said, Lost):
                return Hello(device, os.uname().nodename, {}, f"its worker process ended with code {said.code}")
        return said

    def give(self, work: Work) -> None:
        """Pass on a piece of work. A store's folder that is not here holds no checkpoints either."""
        if isinstance(work, Train) and work.checkpoints and not Path(work.checkpoints[0]).parent.is_dir():
            work = replace(work, checkpoints=None)
        self.worker.give(work)

    def next(self) -> Said | Lost:
        """Wait for what the worker says next."""
        while True:
            for _, said in self.pool.hear():
                return Lost(self.worker.process.exitcode or 0) if said is None else said


@dataclass(eq=False)
class Place:
    """A slot: an actor, and the answer that is awaited from it."""

    relay: Any
    awaited: Any
    hello: Hello | None = None

    def __str__(self) -> str:
        return f"ray actor {self.relay._actor_id.hex()[:8]}"


class Cluster:
    """Actors of one driver on a cluster that runs already, or on this machine."""

    def __init__(self, settings: Settings) -> None:
        assert isinstance(settings.launcher, RayLauncher)
        self.launcher, self.devices = settings.launcher, settings.engine.device
        self.signals: Signals | None = None
        self.size = self.sharing = 1
        self.places: list[Place] = []
        self.hello: Hello | None = None
        self._ours = False  # whether closing it ends our connection
        self._most = 0  # slots that may find work
        self._refused = 0
        self._looked = 0.0
        self._welcome: list[Place] = []
        self._silence = Silence()

    def require(self) -> Self:
        """Raise SetupError without Ray, for devices that only a machine has, and where nobody answers at the address.

        Ray itself would try for five minutes, and say so in lines of its own.
        """
        if importlib.util.find_spec("ray") is None:
            raise SetupError("launcher=ray needs ray, which is not installed", INSTALL)
        if len(self.devices) > 1 or ":" in self.devices[0] or self.devices[0] == "mps":
            text = (
                f"launcher=ray gives devices itself; engine.device={','.join(self.devices)} names some of one machine"
            )
            raise SetupError(text, "use engine.device=auto, cuda or cpu, and launcher.gpus=N for each worker")
        if self.launcher.address not in (None, "auto"):
            _knock(self.launcher.address)
        return self

    def ahead(self) -> None:
        """Nothing: actors start at once."""

    @property
    def open(self) -> bool:
        """Whether there is an actor, ready or not."""
        return bool(self.places)

    def fill(self, busy: int, say: Callable[[str], None]) -> Hello:
        """Join or start the cluster, and start an actor for every place on it that may find work.

        Raises SetupError where no node has what a worker needs, or the first one cannot begin.
        """
        self._join()
        room = self._room()
        if not room and not self.launcher.workers:
            offered = "; ".join(_offer(node) for node in _nodes()) or "none"
            raise SetupError(
                f"no node of the cluster has what a worker needs: {_words(self._needs())}; nodes have: {offered}",
                "see launcher.cpus, launcher.gpus and launcher.resources",
            )
        self._most = self.launcher.workers or max(1, busy)
        self.size = self.launcher.workers or min(self._most, sum(room))
        self.sharing = self._sharing(room)
        for _ in range(self.size):
            self._start()
        self._looked = time.monotonic()
        self.hello = self._first()
        return self.hello

    def hear(self) -> Iterator[tuple[Place, Event]]:
        """Wait for what actors say, and yield it; a Ctrl-C that was held back is raised after it."""
        if self._welcome:
            while self._welcome:
                yield self._welcome.pop(0), Ready()
            return
        for place, said in self._said():
            self._silence.heard(place, said)
            yield from self._events(place, said)
        if self.signals:
            self.signals.release()
        self._grow()
        if (note := self._silence.note()) and self.places:
            yield self.places[0], note

    def give(self, slot: Slot, work: Work) -> None:
        """Start a piece of work on an actor that has none. One that died meanwhile is found by the next `hear`."""
        assert isinstance(slot, Place)
        self._silence.given(slot)
        slot.relay.give.remote(work)

    def replace(self, slot: Slot) -> None:
        """Start another actor, on whatever node has room for it."""
        self._start()

    def close(self) -> None:
        """End every actor, and the cluster if it was started for this sweep."""
        while self.places:
            self._drop(self.places[0])
        if self._ours:
            self._ours = False
            _ray().shutdown()

    # the cluster

    def _join(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the new behaviour, without a warning
        if _ray().is_initialized():
            return
        address = self.launcher.address
        local = {} if address else {"num_cpus": usable_cores(), "include_dashboard": False}
        held = {number: signal.getsignal(number) for number in ASKING}
        try:
            with chdir("/"):  # Ray puts the driver's folder on the workers' path, where a user's queue.py may be
                _ray().init(address=address or "local", log_to_driver=False, logging_level="ERROR", **local)
        except ConnectionError as error:
            if address != "auto":
                raise SetupError(f"launcher.address={address}: {last_line(str(error))}", NO_CLUSTER) from error
            seen = "launcher.address=auto: this machine is not a node of a Ray cluster"
            raise SetupError(seen, NO_CLUSTER) from error
        except Exception as error:
            where = f"launcher.address={address}" if address else "a local Ray"
            raise SetupError(f"{where}: {last_line(str(error))}", "see: ray status --address ADDRESS") from error
        finally:
            for number, handler in held.items():  # Ray puts its own in place
                with suppress(ValueError):  # not the main thread
                    signal.signal(number, handler)
        self._ours = True

    def _needs(self) -> dict[str, float]:
        """What a worker takes of its node. A GPU where one is asked for, or there are any and none is refused."""
        gpus = self.launcher.gpus
        if gpus is None:
            wanted = self.devices[0]
            any_gpu = any(node["Resources"].get("GPU", 0) for node in _nodes())
            gpus = 1.0 if wanted == "cuda" or (wanted == "auto" and any_gpu) else 0.0
        return {"CPU": self.launcher.cpus, **({"GPU": gpus} if gpus else {}), **self.launcher.resources}

    def _room(self) -> list[int]:
        """How many workers fit each node, where any does."""
        needs = self._needs()
        fits = [
            min(math.floor(node["Resources"].get(key, 0) / n + 1e-9) for key, n in needs.items()) for node in _nodes()
        ]
        return [each for each in fits if each]

    def _sharing(self, room: list[int]) -> int:
        """How many workers at most share a device: a node's CPU, or a GPU that is given in parts."""
        gpus = self._needs().get("GPU", 0.0)
        return max(1, math.floor(1 / gpus + 1e-9)) if gpus else max(1, min(max(room, default=1), self.size))

    def _grow(self) -> None:
        """Start workers on nodes that joined."""
        if self.launcher.workers or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for _ in range(min(sum(self._room()) - self._refused, self._most) - len(self.places)):
            self._start()

    # the actors

    def _start(self) -> None:
        needs = self._needs()
        device = "cuda" if needs.pop("GPU", 0) else "cpu"
        gpus = self._needs().get("GPU", 0)
        actor = (
            _ray()
            .remote(Relay)
            .options(num_cpus=needs.pop("CPU"), num_gpus=gpus, resources=needs, max_concurrency=2, max_restarts=0)
        )
        relay = actor.remote()
        self.places.append(Place(relay, relay.begin.remote(os.getcwd(), device)))

    def _drop(self, place: Place) -> None:
        self.places.remove(place)
        _ray().kill(place.relay)

    def _said(self) -> Iterator[tuple[Place, Said | Lost]]:
        """What came within a moment."""
        by_ref = {place.awaited: place for place in self.places}
        first, rest = _ray().wait([*by_ref], num_returns=1, timeout=WAKE_SECONDS)
        more = _ray().wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        for ref in [*first, *more]:
            if (place := by_ref[ref]) in self.places:
                yield place, self._answer(place)

    def _answer(self, place: Place) -> Said | Lost:
        """What an actor answered. One that is gone with its node is no fault of the work that it had."""
        try:
            said: Said | Lost = _ray().get(place.awaited)
        except _ray().exceptions.RayActorError as error:
            return Lost(-signal.SIGKILL if "low on memory" in str(error) else None)
        except _ray().exceptions.RayError as error:
            return Hello("", "", {}, last_line(str(error))) if place.hello is None else Lost(1)
        if not isinstance(said, Lost):
            place.awaited = place.relay.next.remote()
        return said

    def _events(self, place: Place, said: Said | Lost) -> Iterator[tuple[Place, Event]]:
        if isinstance(said, Hello):
            yield from self._greeted(place, said)
            return
        if isinstance(said, Lost):
            self._drop(place)
        yield place, said

    def _first(self) -> Hello:
        """Wait for the first worker that can be used."""
        began, complaints = time.monotonic(), Counter[str]()
        while time.monotonic() - began < SILENT_SECONDS and self.places:
            for place, said in self._said():
                if isinstance(said, Hello) and not said.complaint:
                    place.hello = said
                    self._welcome.append(place)
                    return said
                why = said.complaint if isinstance(said, Hello) else "an actor ended before its worker was ready"
                complaints[why or f"{said}"] += 1
                self._drop(place)
            if self.signals:
                self.signals.release()
        why = "; ".join(complaints) or f"none was ready after {SILENT_SECONDS:.0f} s"
        hint = "each node needs this folder under the same path, and the same Python environment"
        raise SetupError(f"no worker can be used on the cluster: {why}", hint)

    def _greeted(self, place: Place, hello: Hello) -> Iterator[tuple[Place, Event]]:
        """Take a later worker in; one that cannot be used is let go, aloud."""
        assert self.hello is not None
        place.hello = hello
        version = hello.versions.get("thalweg", __version__)
        if complaint := hello.complaint or (f"it has thalweg {version}" if version != __version__ else None):
            self._refused += 1
            yield place, Note(f"NOT USING a worker on {hello.device_name or 'a node'}: {complaint}")
            self._drop(place)
            return
        for name, ours in {"": self.hello.device_name, **self.hello.versions}.items():
            theirs = hello.versions.get(name) if name else hello.device_name
            if theirs != ours:
                yield (
                    place,
                    Note(f"a worker has {name or 'the device'} {theirs}, the first one {ours}: bits may differ"),
                )
        yield place, Ready()


def _knock(address: str) -> None:
    """Raise SetupError unless something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[^/\s]+", host) or not re.fullmatch(r"\d{1,5}", port):
        raise SetupError(
            f"launcher.address={address} is not an address; expected HOST:PORT, or auto on a node of the cluster",
            "ray start --head prints it; without launcher.address a Ray of this machine is made",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or last_line(str(error))
        raise SetupError(
            f"launcher.address={address} does not answer: {why}", "on a node of the cluster: ray status"
        ) from error


def _ray() -> Any:
    """The package, which most sweeps go without."""
    import ray

    return ray


def _nodes() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _words(needs: dict[str, float]) -> str:
    return ", ".join(f"{n:g} {key}" for key, n in needs.items())


def _offer(node: dict[str, Any]) -> str:
    shown = {key: n for key, n in node["Resources"].items() if ":" not in key and "memory" not in key}
    return f"{node['NodeManagerHostname']} with {_words(shown)}"
