"""Weights as torch's own kind of file. It is only ever written: reading one may run what it holds."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch


def pt_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A state_dict of these arrays, as `torch.save` writes it."""
    content = io.BytesIO()
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, content)
    return content.getvalue()
