"""Values of axes and of words, in the type of their key. Knows keys and words, and nothing of blocks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config.words import Word, override_text
from thalweg.runner.study.keys import beside_numbers, coerced, flatten, leaf_of, shown, wrong_value
from thalweg.runner.study.ranges import Points, as_number, check_count, looks_like_range, numeric_values
from thalweg.runner.study.target import fitted, may_be_argument, no_argument


def axis_values(key: str, items: Sequence[Any]) -> list[Scalar]:
    """Return the values of an axis in the type of its key, equal ones once; a var holds finite numbers."""
    leaf = leaf_of(key)
    if leaf is None:
        numbers = [float(value) for value in numeric_values(key, items)]
        if any(value - value != 0 for value in numbers):
            raise ConfigError(f"{key} holds a value that is not finite", "leave it out")
        return list(dict.fromkeys(numbers))
    values: Sequence[Any] = items
    if leaf.is_number:
        values = numeric_values(key, items, also=partial(beside_numbers, key))
    check_count(key, len(values))
    return list(dict.fromkeys(coerced(key, value) for value in values))


def argument_values(word: Word, config: Mapping[str, Any]) -> list[Scalar]:
    """Return the values of an axis over a target's argument, in the type that its YAML has in `config`.

    A text is a number or a range where it looks so, is not in quotes, and the YAML has no text.
    """
    key, values, all_written = word.key, [], dict(flatten(config))
    if key not in all_written:
        raise no_argument(key, config)
    written = all_written[key]
    for place, item in enumerate(word.items or ()):
        may_be_number = place not in word.quoted and not isinstance(written, str)
        if isinstance(item, Points) or (may_be_number and isinstance(item, str) and looks_like_range(item)):
            values += numeric_values(key, [item])
        elif isinstance(item, Mapping):
            raise ConfigError(f"axis {key} holds {shown(item)}; expected numbers, texts, true, false or lists")
        else:
            values.append(as_number(item) if may_be_number else item)
    check_count(key, len(values))
    if {type(value) for value in values} - {type(None)} == {int, float}:
        values = [value if value is None else float(value) for value in values]
    return list(dict.fromkeys(coerced(key, fitted(key, value, written)) for value in values))


def read_number(word: Word) -> Word:
    """Return a word for a number with that number as its text; a range makes it a sweep. Others stay as they are."""
    leaf, value = leaf_of(word.key), word.value
    if may_be_argument(word.key) and isinstance(value, bool | list | None):
        return word  # for a target; if it is not for one, the check of types says so
    if may_be_argument(word.key) and isinstance(value, str) and not word.is_sweep and "${" not in value:
        if looks_like_range(value) and 0 not in word.quoted:
            return replace(word, items=(value,), value=None)
        return word  # what the YAML has says whether a text is a number
    if leaf is None or not leaf.is_number or word.is_sweep or word.prefix == "~":
        return word
    if value == "" or value == []:
        check_count(word.key, 0)
    if value is None or isinstance(value, bool | list):
        if value is None and beside_numbers(word.key, None):
            return word
        raise wrong_value(leaf, value)
    if isinstance(value, str) and "${" in value:
        return word
    if isinstance(value, str) and ".." in value:
        return replace(word, items=(value,), value=None)
    number = coerced(word.key, numeric_values(word.key, [value], also=partial(beside_numbers, word.key))[0])
    return replace(word, value=number, text=override_text(word.prefix, word.key, number))


def check_option(group: str, option: Any, groups: Mapping[str, Any]) -> None:
    """Refuse an option that a group does not have, naming the nearest."""
    nested = {
        f"{name}/{o}".removeprefix(f"{group}/")
        for name in groups
        for o in groups[name]
        if f"{name}/".startswith(f"{group}/")
    }
    if not isinstance(option, str) or option not in nested:
        close = difflib.get_close_matches(str(option), nested, n=1)
        listed = f"it has {', '.join(sorted(nested))}"
        raise ConfigError(
            f"{group} has no option {shown(option)}; {listed}",
            f"did you mean {group}={close[0]}?" if close else None,
        )
