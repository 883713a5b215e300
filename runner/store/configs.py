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
        self._last: dict[str, tuple[str, Any]] = {}  # key -> text of its value with what ends it, and the value
        self._known: dict[tuple[str, str], Any] = {}  # key and text of a section or list -> its value, completed

    def read(self, text: str) -> Mapping[str, Any]:
        """Return what a text says, section by section."""
        made: dict[str, Any] = {}
        at, end = 1, len(text)
        while at < end - 1:
            start = text.index('":', at) + 2
            key = text[at + 1 : start - 2]
            before, value = self._last.get(key, ("", None))
            if not before or not text.startswith(before, start):
                value, stop = _DECODE(text, start)
                before = text[start : stop + 1]
                if isinstance(value, dict | list):
                    value = self._section(key, before[:-1], value)
                self._last[key] = before, value
            made[key] = value
            at = start + len(before)
        unsaid = sections_unsaid()
        return made if unsaid.keys() <= made.keys() else dict(sorted({**unsaid, **made}.items()))

    def _section(self, key: str, text: str, value: Any) -> Any:
        known = self._known.get((key, text))
        if known is None:
            known = self._known[key, text] = completed(key, value)
        return known
