"""thalweg, a declarative experiment runner: whole hyperparameter grids train as one program, and a sweep is a set.

    runner      from a study's words to its answer
    optim       optimizers, schedules, sharpness-aware minimisation
    models      networks
    data        datasets
    conf        the configuration tree: YAML

Here these are links to the folders at the root of the repository; where thalweg is installed, they are folders.
What a notebook calls is exported here, and explained in docs/python.md; `runner.page` is where it lives. Importing
this costs nothing: what it exports is loaded when it is first named.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, whose import the command would wait for
if TYPE_CHECKING:
    from typing import Any

    from thalweg.runner.base.errors import ThalwegError as ThalwegError
    from thalweg.runner.base.version import __version__ as __version__
    from thalweg.runner.engine.told import log as log
    from thalweg.runner.page import audit as audit
    from thalweg.runner.page import curves as curves
    from thalweg.runner.page import declare as declare
    from thalweg.runner.page import diff as diff
    from thalweg.runner.page import findings as findings
    from thalweg.runner.page import plan as plan
    from thalweg.runner.page import predict as predict
    from thalweg.runner.page import replay as replay
    from thalweg.runner.page import report as report
    from thalweg.runner.page import sweep as sweep
    from thalweg.runner.page import trial as trial
    from thalweg.runner.page import trials as trials
    from thalweg.runner.page import weights as weights
    from thalweg.runner.store import Store as Store
    from thalweg.runner.train.driver import Listener as Listener

_HOME = {
    "__version__": "runner.base.version",
    "Listener": "runner.train.driver",
    "Store": "runner.store",
    "ThalwegError": "runner.base.errors",
    "log": "runner.engine.told",
    **dict.fromkeys(("declare", "plan", "sweep", "trials", "curves", "findings", "report"), "runner.page"),
    **dict.fromkeys(("diff", "replay", "audit", "weights", "predict", "trial"), "runner.page"),
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
