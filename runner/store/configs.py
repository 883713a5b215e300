"""Configurations as they are stored, read so that those of one study share what they have in common.

The trials of a study differ in a few numbers, and their texts in a few letters. A section whose text is that of the
trial read before is not decoded again: it is the same object, so that readers can tell at once that nothing differs.
What an earlier version did not store is there with the value that its absence means, as in a trial stored today.
"""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecoder
from typing import Any

from thalweg.runner.study.unsaid import completed, sections_unsaid

_DECODE = JSONDecoder().raw_decode


class Configs:
    """Reads canonical JSON of configurations one after another. What it returns is not to be changed."""

    def __init__(self) -> None:
        self._last: list[tuple[str, str, Any]] = []  # text of a key and its value with what ends it, key, value
        self._known: dict[tuple[str, str], Any] = {}  # key and text of a section or list -> its value, completed

    def read(self, text: str) -> Mapping[str, Any]:
        """Return what a text says, section by section."""
        made: dict[str, Any] = {}
        at, end, place = 1, len(text) - 1, 0
        while at < end:
            if place == len(self._last):
                self._last.append(self._part(text, at))
            elif not text.startswith(self._last[place][0], at):
                self._last[place] = self._part(text, at)
            whole, key, value = self._last[place]
            made[key] = value
            at, place = at + len(whole), place + 1
        unsaid = sections_unsaid()
        return made if unsaid.keys() <= made.keys() else dict(sorted({**unsaid, **made}.items()))

    def _part(self, text: str, at: int) -> tuple[str, str, Any]:
        start = text.index('":', at) + 2
        key = text[at + 1 : start - 2]
        value, stop = _DECODE(text, start)
        if isinstance(value, dict | list):
            value = self._section(key, text[start:stop], value)
        return text[at : stop + 1], key, value

    def _section(self, key: str, text: str, value: Any) -> Any:
        known = self._known.get((key, text))
        if known is None:
            known = self._known[key, text] = completed(key, value)
        return known
