"""How the trials of one group are trained: chosen once, stored, and reused, so that resuming keeps the bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["shared", "per_lane"]
"""shared: a cohort has one seed and draws each batch once. per_lane: each lane draws its own."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Executor, batch layout and largest cohort of a group, with the reason in words."""

    executor: str
    layout: Layout
    width: int
    reason: str
