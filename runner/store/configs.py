"""Configurations as they are stored, read so that those of one study share what they have in common.

The trials of a study differ in a few numbers, and their texts in a few letters. A section whose text is that of the
trial read before is not decoded again: it is the same object, so that readers can tell at once that nothing differs.
What an earlier version did not store is there with the value that its absence means, as in a trial stored today.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any

from thalweg.runner.study.unsaid import completed, sections_unsaid

_DECODE = JSONDecoder().raw_decode


class Configs:
    """Reads canonical JSON of configurations one after another. What it returns is not to be changed."""

    def __init__(self) -> None:
        self._heads: list[str] = []  # of the text read before: all of it up to where each of its parts ends
        self._parts: list[tuple[str, Any]] = []  # key and value of each part
        self._order: dict[str, Any] = {}  # the keys of the configuration read before, in the order of their names
        self._known: dict[tuple[str, str], Any] = {}  # key and text of a section or list -> its value, completed

    def read(self, text: str) -> Mapping[str, Any]:
        """Return what a text says, section by section."""
        same = bisect_left(self._heads, True, key=lambda head: not text.startswith(head))
        del self._heads[same:], self._parts[same:]
        at = len(self._heads[-1]) if same else 1
        while at < len(text) - 1:
            at = self._part(text, at)
        made = {**sections_unsaid(), **dict(self._parts)}
        if made.keys() != self._order.keys():
            self._order = dict.fromkeys(sorted(made))
        return self._order | made

    def _part(self, text: str, at: int) -> int:
        """Read the key and value that begin at a place, and return where the next ones do."""
        start = text.index('":', at) + 2
        key = text[at + 1 : start - 2]
        value, stop = _DECODE(text, start)
        if isinstance(value, dict | list):
            value = self._section(key, text[start:stop], value)
        self._heads.append(text[: stop + 1])
        self._parts.append((key, value))
        return stop + 1

    def _section(self, key: str, text: str, value: Any) -> Any:
        known = self._known.get((key, text))
        if known is None:
            known = self._known[key, text] = completed(key, value)
        return known
