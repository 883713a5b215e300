"""Models: what may be asked for (`models.schema`) and the modules themselves, loaded only when first named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.build import build_model
    from models.extent import Extent
    from models.mlp import MLP
    from models.mlp_scale_invariant import ScaleInvariantMLP

__all__ = ["MLP", "Extent", "ScaleInvariantMLP", "build_model"]

_HOME = {
    "Extent": "models.extent",
    "MLP": "models.mlp",
    "ScaleInvariantMLP": "models.mlp_scale_invariant",
    "build_model": "models.build",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
