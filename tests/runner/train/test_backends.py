"""What every backend promises, whatever it is made of: one body of tests, run over each that there is.

A new backend is a row of BACKENDS: a context that opens it with two slots, and how one of its slots is killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from backends import Died, InProcess

from thalweg.runner import page
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.planning.plan import Group
from thalweg.runner.store import Store
from thalweg.runner.train.cluster import Cluster, Place
from thalweg.runner.train.crew import Crew
from thalweg.runner.train.driver import Backend
from thalweg.runner.train.messages import Ask, Chosen, Event, Hello, Lost, Note, Progress, Ready, Slot, Train, Trained
from thalweg.runner.train.pool import Pool, Worker
from thalweg.runner.train.worker import Bench

WORDS = ("optimizer.lr=0.1,0.2,0.3", "budget.steps=5", "engine=vmap", "launcher.workers=2", "study.name=mine")
Kill = Callable[[Slot], None]


def worker_of(slot: Slot) -> Worker:
    assert isinstance(slot, Worker)
    return slot


@contextmanager
def processes() -> Iterator[tuple[Backend, Kill]]:
    """The crew's worker processes."""
    with Pool() as pool:
        yield (
            Crew(page.declare(*WORDS).settings, pool).require(),
            lambda slot: os.kill(worker_of(slot).process.pid, signal.SIGKILL),
        )


@contextmanager
def ray_actors() -> Iterator[tuple[Backend, Kill]]:
    """Actors on a Ray of this machine."""
    import ray

    if not ray.is_initialized():  # one for all tests here: starting it takes seconds
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    backend = Cluster(page.declare(*WORDS, "launcher=ray").settings).require()

    def kill(slot: Slot) -> None:
        assert isinstance(slot, Place)
        pid = slot.relay.__ray_call__.remote(lambda relay: relay.worker.process.pid)
        os.kill(ray.get(pid), signal.SIGKILL)

    try:
        yield backend, kill
    finally:
        backend.close()


class Pipe:
    """Keeps what a bench sends while it works."""

    def __init__(self) -> None:
        self.said: list[Event] = []

    def send(self, said: Event) -> None:
        self.said.append(said)


@contextmanager
def in_process() -> Iterator[tuple[Backend, Kill]]:
    """Slots that train in this process, one after another. A killed one is found dead when it is given work."""
    prepare()
    pipe = Pipe()
    doomed: list[Slot] = []
    bench = Bench(pipe, torch.device("cpu"), "here")  # type: ignore[arg-type]

    def do(work: Ask | Train) -> Iterator[Event]:
        if doomed:
            doomed.clear()
            raise Died(-signal.SIGKILL)
        pipe.said.clear()
        end = bench.do(work)
        yield from [*pipe.said, end]

    yield InProcess(do, size=2, hello=Hello("cpu", "here", {"torch": torch.__version__})), doomed.append


BACKENDS = {"processes": processes, "in process": in_process, "ray": ray_actors}
WITHOUT_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'thalweg[ray]'")
NAMES = ["processes", "in process", pytest.param("ray", marks=WITHOUT_RAY)]


@pytest.fixture(params=NAMES)
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[Backend, Kill]]:
    with BACKENDS[request.param]() as made:
        yield made


@pytest.fixture
def group(tmp_path: Path) -> Group:
    (group,) = page.plan(page.declare(*WORDS).study).groups
    return group


def heard(backend: Backend, enough: Callable[[list[tuple[Slot, Event]]], bool]) -> list[tuple[Slot, Event]]:
    """What is heard until it is enough, within a minute."""
    so_far: list[tuple[Slot, Event]] = []
    end = time.monotonic() + 60
    while not enough(so_far):
        assert time.monotonic() < end, f"heard only {so_far}"
        so_far += backend.hear()
    return so_far


def ready(backend: Backend, count: int = 2) -> list[Slot]:
    """The slots, once that many have said that they can take work."""
    said = heard(backend, lambda so_far: len(so_far) >= count)
    assert [event for _, event in said] == [Ready()] * count
    slots = [slot for slot, _ in said]
    assert len({*slots}) == count
    return slots


def until(kind: type) -> Callable[[list[tuple[Slot, Event]]], bool]:
    return lambda so_far: any(isinstance(event, kind) for _, event in so_far)


def train(group: Group, *numbers: int) -> Train:
    trials = tuple(group.trials[number] for number in numbers)
    return Train(group.group_id, trials, "vmap", "shared", 1)


@pytest.mark.long
def test_it_says_what_it_runs_on_and_each_slot_says_first_that_it_is_ready(opened) -> None:
    backend, _ = opened
    hello = backend.fill(2, lambda text: None)
    assert (hello.device, hello.complaint) == ("cpu", None)
    assert hello.versions["torch"] == torch.__version__
    ready(backend)
    assert (backend.open, backend.size) == (True, 2)


@pytest.mark.long
def test_a_slot_ends_its_work_with_what_was_asked_for_and_can_then_take_more(opened, group) -> None:
    backend, _ = opened
    backend.fill(2, lambda text: None)
    slot, _ = ready(backend)
    backend.give(slot, Ask(group.group_id, group.trials, "shared", "vmap", trials=3, workers=2))
    said = heard(backend, until(Chosen))
    assert {each for each, _ in said} == {slot}
    assert said[-1][1].choice.executor == "vmap"
    for numbers in ((0, 1), (2,)):
        backend.give(slot, train(group, *numbers))
        said = heard(backend, until(Trained))
        assert {type(event) for _, event in said[:-1]} <= {Progress, Note}
        observations = said[-1][1].observations
        assert [each.trial_id for each in observations] == [group.trials[number].id for number in numbers]
        assert {each.outcome for each in observations} == {Outcome.FINISHED}


@pytest.mark.long
def test_slots_work_beside_each_other_and_each_speaks_for_itself(opened, group) -> None:
    backend, _ = opened
    backend.fill(2, lambda text: None)
    slots = ready(backend)
    for slot, number in zip(slots, (0, 2), strict=True):
        backend.give(slot, train(group, number))
    ends = [(slot, event) for slot, event in heard(backend, lambda so_far: len(trained(so_far)) == 2)]
    ids = {slot: event.observations[0].trial_id for slot, event in trained(ends)}
    assert ids == {slots[0]: group.trials[0].id, slots[1]: group.trials[2].id}


def trained(said: list[tuple[Slot, Event]]) -> list[tuple[Slot, Trained]]:
    return [(slot, event) for slot, event in said if isinstance(event, Trained)]


@pytest.mark.long
def test_a_lost_slot_says_so_last_and_another_takes_its_place(opened, group) -> None:
    backend, kill = opened
    backend.fill(2, lambda text: None)
    slot, other = ready(backend)
    kill(slot)
    backend.give(slot, train(group, 0))
    said = heard(backend, until(Lost))
    assert said == [(slot, Lost(-signal.SIGKILL))]
    backend.replace(slot)
    (new,) = ready(backend, 1)
    assert new not in (slot, other)
    backend.give(new, train(group, 0))
    assert {each for each, _ in heard(backend, until(Trained))} == {new}


@pytest.mark.long
def test_closed_it_has_no_slot(opened) -> None:
    backend, _ = opened
    backend.fill(2, lambda text: None)
    ready(backend)
    backend.close()
    assert not backend.open
    backend.close()


@pytest.mark.long
@pytest.mark.parametrize("other", NAMES[1:])
def test_a_sweep_has_the_same_bits_on_every_backend(tmp_path, other) -> None:
    hashes = {}
    for name in ("processes", other):
        declared = page.declare(*WORDS)
        with Store.open(tmp_path / name, "write") as store, BACKENDS[name]() as (made, _):
            result = page.sweep(page.plan(declared.study, store), store, declared.settings, backend=made)
            assert (result.finished, result.failed) == (3, 0)
            hashes[name] = {record.trial_id: record.weight_hash for record in store.export_rows()}
    assert len({str(sorted(each.items())) for each in hashes.values()}) == 1
