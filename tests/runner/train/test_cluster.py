"""A sweep on a real Ray cluster of several nodes, each a raylet of its own on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thalweg.runner import page
from thalweg.runner.base.errors import SetupError
from thalweg.runner.store import Store
from thalweg.runner.train.cluster import Cluster, Relay
from thalweg.runner.train.driver import Silent, SweepResult
from thalweg.runner.train.messages import Event, Lost, Slot, Train, Trained

WORDS = ("optimizer=sgd", "optimizer.lr=0.001..0.05:4log", "seed=0,1", "budget.steps=3000", "study.name=mine")
MODEL = ("engine=loop", "model=mlp", "model.hidden=[16]", "dataset=digits", "schedule.warmup=0", "tracker=none")


class Noted(Silent):
    """Keeps what was said, and does something at the first progress."""

    def __init__(self, at_progress: Any = None) -> None:
        self.notes: list[str] = []
        self.at_progress = at_progress

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        if self.at_progress:
            act, self.at_progress = self.at_progress, None
            act()


def swept(store: Path, listener: Silent, *words: str) -> tuple[SweepResult, dict[str, str]]:
    """Sweep, and return the weight hashes too, one a trial."""
    declared = page.declare(*WORDS, *MODEL, *words)
    with Store.open(store, "write") as opened:
        result = page.sweep(page.plan(declared.study, opened), opened, declared.settings, listener)
        records = opened.export_rows()
        assert len({record.trial_id for record in records}) == len(records) == 8
        return result, {record.trial_id: record.weight_hash for record in records}


class TestRelay:
    """The actor's own work, without Ray."""

    def test_it_passes_on_what_is_said_in_both_directions(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("PYTHONSAFEPATH", "0")
        (tmp_path / "queue.py").write_text("raise RuntimeError('a file of the user')")
        (group,) = page.plan(page.declare(*WORDS, *MODEL).study).groups
        relay, here = Relay(), os.getcwd()
        try:
            assert relay.begin(str(tmp_path), "cpu").device == "cpu"
            assert Path.cwd() == tmp_path
            relay.give(Train(group.group_id, group.trials[:1], "loop", "per_lane", 1, (f"{tmp_path}/no/folder", 1e-9)))
            while not isinstance(said := relay.next(), Trained):
                pass
            assert said.observations[0].trial_id == group.trials[0].id
            assert not (tmp_path / "no").exists()
            os.kill(relay.worker.process.pid, signal.SIGKILL)
            assert relay.next() == Lost(-signal.SIGKILL)
        finally:
            os.chdir(here)
            relay.pool.close()

    def test_a_node_without_the_folder_says_so(self, tmp_path) -> None:
        assert Relay().begin(str(tmp_path / "gone"), "cpu").complaint == f"No such file or directory: {tmp_path}/gone"


def test_devices_of_one_machine_are_refused() -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'thalweg[ray]'")
    for device in ("cuda:0", "cpu,cpu", "mps"):
        with pytest.raises(SetupError, match="launcher=ray gives devices itself"):
            Cluster(page.declare(*WORDS, *MODEL, "launcher=ray", f"engine.device={device}").settings).require()


def test_without_ray_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="ray, which is not installed") as caught:
        Cluster(page.declare(*WORDS, *MODEL, "launcher=ray").settings).require()
    assert "thalweg[ray]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("head", "is not an address; expected HOST:PORT, or auto"),
        ("ray://head:10001", "is not an address; expected HOST:PORT, or auto"),
        ("local", "is not an address; expected HOST:PORT, or auto"),
        (":6379", "is not an address; expected HOST:PORT, or auto"),
        ("a..b:6379", "does not answer"),
        ("127.0.0.1:1", "does not answer: Connection refused"),
        ("[::1]:1", "does not answer"),
    ],
)
def test_an_address_where_nobody_answers_is_refused_before_anything_is_begun(monkeypatch, address, said) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    cluster = Cluster(page.declare(*WORDS, *MODEL, "launcher=ray", f"launcher.address='{address}'").settings)
    with pytest.raises(SetupError, match=said) as caught:
        cluster.require()
    assert f"launcher.address={address} " in str(caught.value)


class Pretended:
    """A Ray that is told to begin, and has no cluster."""

    def __init__(self) -> None:
        self.reports: str | None = None
        self.begun_in = ""

    def is_initialized(self) -> bool:
        return False

    def init(self, **given: Any) -> None:
        self.reports, self.begun_in = os.environ.get("RAY_USAGE_STATS_ENABLED"), os.getcwd()
        if given["address"] == "auto":
            raise ConnectionError("Could not find any running Ray instance. Please set the `--address` flag.")


def test_a_ray_of_ours_reports_nothing_and_a_missing_cluster_is_one_sentence(monkeypatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    pretended, here = Pretended(), Path.cwd()
    monkeypatch.setattr("thalweg.runner.train.cluster._ray", lambda: pretended)
    Cluster(page.declare(*WORDS, *MODEL, "launcher=ray").settings)._join()
    assert pretended.reports == "0"
    assert (pretended.begun_in, Path.cwd()) == ("/", here)  # where it begins is on its workers' path
    with pytest.raises(SetupError, match=r"launcher\.address=auto: this machine is not a node of a Ray cluster"):
        Cluster(page.declare(*WORDS, *MODEL, "launcher=ray", "launcher.address=auto").settings)._join()


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster of Ray's own for tests: a head without room for workers, and two nodes with room for one each."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'thalweg[ray]'")
    import ray
    from ray.cluster_utils import Cluster as Nodes

    ray.shutdown()
    made = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def killed(node: Any) -> None:
    """End a node as a power cut would: its raylet, and with it all that ran there."""
    for processes in node.all_processes.values():
        for each in processes:
            os.kill(each.process.pid, signal.SIGKILL)


def test_a_lost_node_costs_no_trial_and_no_bit(nodes, tmp_path) -> None:
    _, alone = swept(tmp_path / "here.sqlite", Silent(), "launcher.workers=1")
    heard = Noted(lambda: killed(next(iter(nodes.worker_nodes))))
    ray = ("launcher=ray", f"launcher.address={nodes.address}", "launcher.checkpoint_seconds=1")
    result, hashes = swept(tmp_path / "there.sqlite", heard, *ray)
    assert (result.finished, result.failed, result.interrupted) == (8, 0, False)
    assert any("machine is gone" in note for note in heard.notes), heard.notes
    assert hashes == alone


def heard(cluster: Cluster) -> Iterator[tuple[Slot, Event]]:
    """What is said, however long it takes: one round of hearing lasts a moment."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        yield from cluster.hear()


def test_a_node_that_joins_is_used(nodes, tmp_path) -> None:
    nodes.remove_node(next(iter(nodes.worker_nodes)))
    declared = page.declare(*WORDS, *MODEL, "launcher=ray", f"launcher.address={nodes.address}")
    cluster = Cluster(declared.settings).require()
    hello = cluster.fill(8, lambda text: None)
    assert (hello.device, cluster.size) == ("cpu", 1)
    nodes.add_node(num_cpus=1)
    first, second = (next(slot for slot, _ in heard(cluster)) for _ in range(2))
    assert first is not second
    cluster.close()


def test_what_no_node_has_is_refused_with_what_they_have(nodes) -> None:
    words = ("launcher=ray", f"launcher.address={nodes.address}", "launcher.gpus=1")
    cluster = Cluster(page.declare(*WORDS, *MODEL, *words).settings).require()
    with pytest.raises(SetupError, match=r"what a worker needs: 1 CPU, 1 GPU; nodes have: .* with 1 CPU"):
        cluster.fill(8, lambda text: None)
    cluster.close()
