"""What a removal would do, in lines."""

from __future__ import annotations

from thalweg.runner.facts.record import Removal
from thalweg.runner.show.numbers import count, size


def sentences(wanted: Removal) -> list[str]:
    """What a removal does, a line each."""
    what = [f"study {name}" for name in wanted.studies]
    trained = f"{count(len(wanted.trials), 'trial')}, {wanted.done:,} of them trained, {size(wanted.bytes)}"
    lines = [f"to remove: {', '.join([*what, trained])}"]
    for name, number in wanted.kept.items():
        lines.append(f"{count(number, 'trial')} of these studies stay: {name} needs them")
    for name, number in wanted.wanted.items():
        lines.append(f"{name} declares {number:,} of the trials: its next sweep trains them again")
    return lines
