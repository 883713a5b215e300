"""Trials for engine tests, built straight from the schemas."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from sections import OPTIMIZERS

from thalweg.runner.engine import choose, probing
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.facts.observation import Observations
from thalweg.runner.study.trial import Trial, TrialConfig

ADAPTER = TypeAdapter(TrialConfig)
ROOT = Path(__file__).resolve().parents[3]
HOLLOW = ROOT / "scripts" / "gpu" / "hollow"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    prepare()


def make_trial(
    lr: float = 0.1,
    weight_decay: float = 1e-3,
    *,
    seed: int = 0,
    optimizer: str = "sgd",
    model: str = "mlp",
    steps: int = 30,
    warmup: int = 5,
    precision: str = "float32",
    init_gain: float = 1.0,
    hidden: tuple[int, ...] = (16, 16),
    batch_size: int = 16,
    floor: float = 0.0,
    rule: dict[str, object] | None = None,
    **parts: dict[str, object],
) -> Trial:
    """A small trial on digits. rule: more of its optimizer; parts: sam, clip, task."""
    network = {"name": model, "hidden": hidden, "init_gain": init_gain}
    if model == "mlp_scale_invariant":
        network["logit_scale"] = 2.0
    return Trial(
        ADAPTER.validate_python(
            {
                "model": network,
                "dataset": {"name": "digits", "train_size": 200, "label_noise": 0.2, "split_seed": 0},
                "optimizer": {**OPTIMIZERS[optimizer], "lr": lr, "weight_decay": weight_decay, **(rule or {})},
                "schedule": {"name": "warmup_cosine", "warmup": warmup, "floor": floor},
                "budget": {"steps": steps, "batch_size": batch_size},
                "precision": precision,
                "divergence": {"loss_factor": 1e4},
                "seed": seed,
                **parts,
            }
        )
    )


def grid(lanes: int, **fixed: object) -> list[Trial]:
    """`lanes` trials that differ in learning rate and weight decay."""
    return [make_trial(0.01 * 1.1**i, 1e-4 * 1.2**i, **fixed) for i in range(lanes)]  # type: ignore[arg-type]


def run(
    trials: list[Trial], executor: str = "vmap", layout: str = "shared", evaluations: int = 2
) -> list[Observations]:
    """Train trials as one cohort on the CPU."""
    workload = prepared(trials[0].config, torch.device("cpu"))
    return train(Cohort(tuple(trials), executor, layout, evaluations), workload)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def trial_of() -> Callable[..., Trial]:
    return make_trial


@pytest.fixture(scope="session")
def grid_of() -> Callable[..., list[Trial]]:
    return grid


@pytest.fixture(scope="session")
def train_all() -> Callable[..., list[Observations]]:
    return run


@pytest.fixture(scope="session")
def constructs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose code is constructs.py: one for all, since Python imports a name once."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(Path(__file__).with_name("constructs.py"), folder)
    (folder / "thalweg.yaml").write_text("code: [constructs]")
    return folder


@pytest.fixture(scope="session")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process whose CUDA runtime is the hollow one, with 20 GB."""
    if sys.platform != "linux" or torch.version.cuda is None or not shutil.which("g++") or not shutil.which("nm"):
        pytest.skip("NOT RUN: the hollow CUDA runtime needs Linux, g++, nm and a torch made for CUDA")
    folder = tmp_path_factory.mktemp("hollow")
    environ = os.environ | {"PYTHON": sys.executable}
    built = subprocess.run(
        ["sh", HOLLOW / "build.sh", folder], env=environ, capture_output=True, text=True, timeout=300
    )
    if built.returncode:
        pytest.skip(f"NOT RUN: the hollow CUDA runtime could not be built: {built.stderr[-300:]}")
    return environ | {
        "LD_LIBRARY_PATH": str(folder),
        "LD_PRELOAD": str(folder / "libfake.so"),
        "TORCH_CUDNN_V8_API_DISABLED": "1",
        "FAKE_GB": "20",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "scripts", HOLLOW))),
    }


@pytest.fixture
def clock(monkeypatch):
    """Executors that take the seconds they are said to, of which a share lies outside matrix products.

    seconds: of a step of one trial by (executor, lanes), or by executor. Nothing else takes any time.
    """
    timed: list[tuple[str, int]] = []

    def use(seconds: dict, outside: float = 0.6) -> list[tuple[str, int]]:
        now = [0.0]

        def step(self):
            timed.append((self.executor, self.lanes))
            self.taken += 1
            self.best = self.lanes * seconds.get((self.executor, self.lanes), seconds.get(self.executor))
            now[0] += self.best

        monkeypatch.setattr(choose.Runner, "step", step)
        monkeypatch.setattr(choose.Runner, "measure", lambda self, most: None)
        monkeypatch.setattr(choose.Runner, "evaluation", 0.0)
        monkeypatch.setattr(choose, "now", lambda device: now[0])
        monkeypatch.setattr(choose, "pair_seconds", lambda workload, trial: 1e-9)
        monkeypatch.setattr(probing, "seconds_of", lambda device, run: (run() and 0.0) or 0.0)
        monkeypatch.setattr(choose, "_outside_products", lambda workload, lanes: outside)
        monkeypatch.setattr(choose._Contest, "_agrees", lambda self, name, lanes=None: True)
        return timed

    return use
