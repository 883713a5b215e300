"""thalweg, a declarative experiment runner: whole hyperparameter grids train as one program, and a sweep is a set.

    runner      from a study's words to its answer
    optim       optimizers, schedules, sharpness-aware minimisation
    models      networks
    data        datasets
    conf        the configuration tree: YAML

Here these are links to the folders at the root of the repository; where thalweg is installed, they are folders.
Importing this costs nothing: what it exports is loaded when it is first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.runner.base.version import __version__

__all__ = ["__version__"]


_HOME = {"__version__": "runner.base.version"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
