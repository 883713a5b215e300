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
        self._of: dict[str, Mapping[str, Any]] = {}  # by the ids of their trials
        self._before: dict[str, Any] = {}  # the configuration read before, in the order of its names
        self._entries: list[tuple[str, str]] = []  # its text in parts, up to the comma or brace; key of each
        self._known: dict[tuple[str, str], Any] = {}  # key and text of a section or list -> its value, completed

    def of(self, trial_id: str, text: str) -> Mapping[str, Any]:
        """Return what the text of a trial says, which its id stands for; a plan and its answer both read it."""
        found = self._of.get(trial_id)
        if found is None:
            found = self._of[trial_id] = self.read(text)
        return found

    def read(self, text: str) -> Mapping[str, Any]:
        """Return what a text says, section by section."""
        made, at = self._before.copy(), 1
        for place, (entry, key) in enumerate(self._entries):
            if not text.startswith(entry, at):
                told, value, entry = self._entry(text, at)
                if told != key:
                    return self._read_anew(text)
                made[key] = value
                self._entries[place] = entry, key
            at += len(entry)
        if at != len(text):
            return self._read_anew(text)
        self._before = made
        return made

    def _read_anew(self, text: str) -> Mapping[str, Any]:
        """Read a text whose keys are not those of the one before."""
        made, at = dict(sections_unsaid()), 1
        self._entries = []
        while at < len(text) - 1:
            key, value, entry = self._entry(text, at)
            made[key] = value
            self._entries.append((entry, key))
            at += len(entry)
        self._before = dict(sorted(made.items()))
        return self._before

    def _entry(self, text: str, at: int) -> tuple[str, Any, str]:
        """Return the key and the value that begin at a place, and their text; no key where the text has ended."""
        if at >= len(text) - 1:
            return "", None, ""
        start = text.index('":', at) + 2
        key = text[at + 1 : start - 2]
        value, stop = _DECODE(text, start)
        if isinstance(value, dict | list):
            value = self._section(key, text[start:stop], value)
        return key, value, text[at : stop + 1]

    def _section(self, key: str, text: str, value: Any) -> Any:
        known = self._known.get((key, text))
        if known is None:
            known = self._known[key, text] = completed(key, value)
        return known
