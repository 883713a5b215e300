"""How long slots that have work have said nothing. Knows no process and no cluster."""

from __future__ import annotations

import time
from collections.abc import Hashable

from thalweg.runner.train.messages import Chosen, Lost, Note, OutOfMemory, Slower, Trained

SILENT_SECONDS = 600.0
"""A worker speaks several times a second while it trains; compiling and loading data take minutes at worst."""
ENDS = Chosen | Trained | Slower | OutOfMemory | Lost
"""What ends a piece of work."""


class Silence:
    """Which slots are at work, and since when none of all has said anything. hint: what to type to see why."""

    def __init__(self, hint: str = "") -> None:
        self.hint = hint
        self._busy: set[Hashable] = set()
        self._since = time.monotonic()

    def given(self, slot: Hashable) -> None:
        """A slot was given work."""
        self._busy.add(slot)
        self._since = time.monotonic()

    def heard(self, slot: Hashable, said: object) -> None:
        """A slot said something."""
        self._since = time.monotonic()
        if isinstance(said, ENDS):
            self._busy.discard(slot)

    def note(self) -> Note | None:
        """What is to be said, once each time, if it lasts too long while somebody is at work."""
        if not self._busy or time.monotonic() - self._since < SILENT_SECONDS:
            return None
        self._since = time.monotonic()
        return Note(f"no worker has said anything for {SILENT_SECONDS / 60:.0f} minutes{self.hint}")
