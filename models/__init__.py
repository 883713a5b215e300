"""Models: what may be asked for (`schema`) and the modules themselves, loaded only when first named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.models.build import build_model
    from thalweg.models.extent import Extent
    from thalweg.models.mlp import MLP
    from thalweg.models.mlp_scale_invariant import ScaleInvariantMLP

__all__ = ["MLP", "Extent", "ScaleInvariantMLP", "build_model"]

_HOME = {
    "Extent": "extent",
    "MLP": "mlp",
    "ScaleInvariantMLP": "mlp_scale_invariant",
    "build_model": "build",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
