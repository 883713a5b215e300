"""The crew: how many workers on which devices, and what becomes of one that cannot be used or dies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from thalweg.runner import page
from thalweg.runner.base.errors import SetupError
from thalweg.runner.study.settings import EngineSettings, Evaluation, LocalLauncher, Settings, TrackerSettings
from thalweg.runner.train import crew, silence
from thalweg.runner.train.crew import Crew
from thalweg.runner.train.messages import Hello, Note, Train
from thalweg.runner.train.pool import Worker

CPU = Hello("cpu", "x86_64", {"torch": "2.0"})
GPU = Hello("cuda:0", "NVIDIA X", {"torch": "2.0"}, devices=2)


class Process:
    exitcode = -11


class Pool:
    """Workers that say hello, one hello after another; None: that one dies first. Those that are given work die."""

    def __init__(self, hellos: Sequence[Hello | None]) -> None:
        self.hellos = hellos
        self.workers: list[Worker] = []
        self.started: list[str] = []

    def start(self, device: str) -> Worker:
        self.started.append(device)
        worker = Worker(Process(), None, device)  # type: ignore[arg-type]
        worker.give = lambda work: self.workers.remove(worker)  # type: ignore[method-assign]
        self.workers.append(worker)
        return worker

    def dismiss(self, leaving: Worker) -> None:
        self.workers.remove(leaving)

    def hear(self, waker: object = None) -> Iterator[tuple[Worker, object]]:
        for worker in list(self.workers):
            if worker.hello is None:
                hello = self.hellos[min(len(self.started), len(self.hellos)) - 1]
                if hello is None:
                    self.workers.remove(worker)
                yield worker, hello


def of(*hellos: Hello | None, device: Sequence[str] = ("auto",), workers: int | None = None) -> Crew:
    """A crew whose workers say these hellos."""
    settings = Settings(
        engine=replace(ENGINE, device=tuple(device)),
        launcher=LocalLauncher(name="local", workers=workers, checkpoint_seconds=None),
        tracker=TrackerSettings(name="none", project="p", entity=None, history_points=None, tags=()),
        evaluation=Evaluation(points=1, metrics=()),
    )
    return Crew(settings, Pool(hellos))  # type: ignore[arg-type]


ENGINE = EngineSettings(name="auto", device=("auto",), width=None)


def filled(made: Crew, busy: int = 2) -> tuple[Hello, list[str]]:
    """What the first worker runs on, and what was said aloud until all are there."""
    said: list[str] = []
    hello = made.require().fill(busy, said.append)
    for _ in range(3):
        said += [event.text for _, event in made.hear() if isinstance(event, Note)]
    return hello, said


def started(made: Crew) -> list[str]:
    pool: object = made.pool
    assert isinstance(pool, Pool)
    return pool.started


@pytest.fixture
def nvidia(monkeypatch) -> None:
    monkeypatch.setattr(crew, "nvidia_present", lambda: True)


@pytest.fixture(autouse=True)
def machine(monkeypatch) -> None:
    monkeypatch.setattr(crew, "nvidia_present", lambda: False)
    monkeypatch.setattr(crew, "usable_cores", lambda: 8)


@pytest.mark.parametrize(("busy", "workers"), [(0, 1), (1, 1), (2, 2), (9, 8)])
def test_one_worker_a_core_only_where_there_is_work_for_it(busy, workers) -> None:
    made = of(CPU)
    filled(made, busy)
    assert started(made) == ["cpu"] * workers
    assert made.size == made.sharing == workers  # all share the machine's memory


@pytest.mark.parametrize(
    ("gpus", "workers", "sharing"), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, None, 1), (2, 2, 1), (2, 3, 2), (2, 4, 2)]
)
def test_workers_know_how_many_share_a_gpu(nvidia, gpus, workers, sharing) -> None:
    made = of(replace(GPU, devices=gpus), workers=workers)
    filled(made, 9)
    assert (made.size, made.sharing) == (workers or gpus, sharing)


def test_one_worker_asked_for_is_one_worker_whatever_devices_are_named(nvidia) -> None:
    made = of(replace(GPU, device="cuda:1"), device=("cuda:1", "cuda:0"), workers=1)
    filled(made)
    assert (started(made), made.size) == (["cuda:1"], 1)


def test_workers_that_never_get_ready_end_it_with_one_sentence() -> None:
    with pytest.raises(SetupError, match="before it was ready"):
        filled(of(None))


def test_a_gpu_that_cannot_be_used_is_said_loudly_and_the_cpu_takes_over(nvidia) -> None:
    made = of(replace(CPU, complaint="the driver is too old"), CPU)
    hello, said = filled(made)
    assert hello.device == "cpu"
    assert started(made) == ["auto", "cpu"]
    assert said == ["NOT USING THE GPU: the driver is too old"]


def test_a_gpu_asked_for_by_name_is_not_replaced(nvidia) -> None:
    with pytest.raises(SetupError, match=r"engine\.device=cuda: there is none"):
        of(replace(CPU, complaint="there is none"), device=("cuda",)).require()


def test_without_an_nvidia_device_cuda_is_refused_before_a_worker_starts() -> None:
    made = of(CPU, device=("cuda:1",))
    with pytest.raises(SetupError, match=r"engine\.device=cuda:1: this machine shows no NVIDIA device"):
        made.require()
    assert started(made) == []


def test_each_gpu_gets_a_worker_of_its_own(nvidia) -> None:
    made = of(GPU, replace(GPU, device="cuda:1"))
    assert filled(made)[0].device_name == "NVIDIA X"
    assert started(made) == ["auto", "cuda:1"]
    assert (made.size, made.sharing) == (2, 1)


def test_workers_that_share_a_gpu_are_counted(nvidia) -> None:
    made = of(GPU, *[replace(GPU, device=f"cuda:{n}") for n in (1, 0, 1, 0)], workers=5)
    filled(made)
    assert (made.size, made.sharing) == (5, 3)


def test_a_second_gpu_that_fails_is_said_aloud_and_no_cpu_takes_its_place(nvidia) -> None:
    made = of(GPU, Hello("cpu", "x86_64", {}, complaint="it fell off the bus"))
    assert filled(made)[1] == ["NOT USING cuda:1: it fell off the bus"]
    assert started(made) == ["auto", "cuda:1"]
    assert len(made.pool.workers) == 1


def test_a_list_of_devices_gets_a_worker_each(nvidia) -> None:
    made = of(replace(GPU, device="cuda:2"), GPU, device=("cuda:2", "cuda:0"))
    filled(made)
    assert started(made) == ["cuda:2", "cuda:0"]


def test_a_listed_device_that_fails_is_refused(nvidia) -> None:
    with pytest.raises(SetupError, match="there is no cuda:7"):
        of(GPU, Hello("cpu", "x86_64", {}, complaint="there is no cuda:7"), device=("cuda:0", "cuda:7")).require()


def test_a_dead_worker_is_replaced_on_its_own_device(nvidia) -> None:
    made = of(replace(GPU, device="cuda:1"), device=("cuda:1",))
    filled(made)
    (worker,) = made.pool.workers
    made.replace(worker)
    assert started(made) == ["cuda:1", "cuda:1"]


def test_the_cpu_listed_twice_is_two_workers() -> None:
    made = of(CPU, device=("cpu", "cpu"))
    filled(made)
    assert started(made) == ["cpu", "cpu"]


@pytest.mark.parametrize("typed", ["engine.device=cuda:2,cuda:0", "engine.device=[cuda:2,cuda:0]"])
def test_a_list_of_devices_is_typed_either_way(typed: str) -> None:
    assert page.declare(typed).settings.engine.device == ("cuda:2", "cuda:0")


def test_silence_is_said_and_a_worker_that_never_gets_ready_refused(monkeypatch) -> None:
    monkeypatch.setattr(silence, "SILENT_SECONDS", 0.0)
    with pytest.raises(SetupError, match="not ready after 0 s"):
        filled(of(CPU))
    monkeypatch.setattr(silence, "SILENT_SECONDS", 600.0)
    made = of(CPU)
    filled(made)
    assert list(made.hear()) == []
    monkeypatch.setattr(silence, "SILENT_SECONDS", 0.0)
    assert list(made.hear()) == []  # nobody has anything to do
    made.give(made.pool.workers[0], Train("a", (), "vmap", "shared", 1))
    ((_, note),) = made.hear()
    assert re.search(r"no worker has said anything .* kill -USR1 \d+", note.text)
