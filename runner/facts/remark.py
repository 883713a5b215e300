"""What is said of a model before it trains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """wrong: its trials would fail; otherwise it is only said. model: as it is called where models are listed."""

    model: str
    text: str
    wrong: bool
