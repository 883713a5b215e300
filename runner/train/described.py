"""Events and orders as short facts for the log: trials by their ids, observations by how they ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Any

from thalweg.runner.facts.choice import Choice
from thalweg.runner.train.messages import Ask, Event, Train
from thalweg.runner.train.orders import Order, Settled


def described(said: Event | Order) -> dict[str, Any]:
    """Return an event or an order as JSON values, under its name."""
    return {"kind": type(said).__name__, **{name: _short(name, value) for name, value in _fields(said)}}


def _fields(record: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(record, field.name)) for field in fields(record)]


def _short(name: str, value: Any) -> Any:
    if name in ("trials", "sample") and isinstance(value, tuple):
        return [trial.id[:8] for trial in value]
    if name == "observations":
        return Counter(each.outcome for each in value)
    if name == "group_id":
        return str(value)[:8]
    if isinstance(value, Ask | Train | Choice | Settled):
        return {"kind": type(value).__name__, **{name: _short(name, inner) for name, inner in _fields(value)}}
    return value if isinstance(value, int | float | str | None) else str(value)
