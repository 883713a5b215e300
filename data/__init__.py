"""Datasets: what may be asked for (`schema`) and the arrays themselves, loaded only when first named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.data.load import load_splits
    from thalweg.data.splits import Split, Splits

__all__ = ["Split", "Splits", "load_splits"]

_HOME = {"Split": "splits", "Splits": "splits", "load_splits": "load"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
