"""A driver's watch among others on one store: it shows that it lives, and finds out who does not.

Every driver counts up its beats in the store. One whose beats stand still for LEASE looks of another has lost its
lease: its trials may be claimed. The looks are counted, not timed, and one that came late is one: so no clock that is
set back matters, nor that whoever looks was itself stopped for an hour.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from thalweg.runner.base import log
from thalweg.runner.store import Store

BEAT_SECONDS = 2.0
LEASE = 15
"""Looks, BEAT_SECONDS apart, in which a driver's beats stand still before its trials are taken over: half a minute."""


class Watch:
    """Counts how often each driver was seen to stand still. Pure."""

    def __init__(self, lease: int) -> None:
        self._lease = lease
        self._seen: dict[int, tuple[int, int]] = {}  # driver -> its beats, and for how many looks they have been these

    def look(self, beats: Mapping[int, int]) -> dict[int, int]:
        """Take in the beats of all others; return those of drivers that have lost their lease."""
        before, self._seen = self._seen, {}
        for driver, number in beats.items():
            last, still = before.get(driver, (number, -1))
            self._seen[driver] = number, still + 1 if last == number else 0
        return {driver: number for driver, (number, still) in self._seen.items() if still >= self._lease}


class Vigil:
    """One driver's beats, and its watch over those of others. `alone`: there were none when it last looked."""

    def __init__(self, store: Store, study: str, since: int | None, ids: Collection[str]) -> None:
        self.store = store
        self.owner = store.enter(study, since, ids)
        self.alone = True
        self._watch = Watch(LEASE)
        self._last = -BEAT_SECONDS
        self.kept()

    def kept(self) -> bool:
        """Count up and look, if it is time to; return whether it was."""
        now = time.monotonic()
        if now - self._last < BEAT_SECONDS:
            return False
        self._last = now
        beats = self.store.beat(self.owner)
        self.alone = not beats
        if silent := self._watch.look(beats):
            log.write("taken over", drivers=list(silent))
            self.store.take_over(silent)
        return True

    def end(self) -> None:
        """Give up what was claimed."""
        self.store.leave(self.owner)
