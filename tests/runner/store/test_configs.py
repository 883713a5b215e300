"""Configurations are read as JSON says, and those of a study share what they have in common."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.canonical import canonical_json
from thalweg.runner.store.configs import Configs

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3))
CONFIGS = st.dictionaries(st.sampled_from(["budget", "model", "optimizer", "seed", "task"]), VALUES)


def stripped(found, said):
    """What was read, without the keys that the text left unsaid."""
    if not isinstance(found, dict) or not isinstance(said, dict):
        return found
    return {name: stripped(value, said[name]) for name, value in found.items() if name in said}


@given(st.lists(CONFIGS, max_size=6))
def test_texts_are_read_as_json_says(configs) -> None:
    read, texts = Configs().read, [canonical_json(config) for config in configs] * 2
    for text in texts:
        found, said = read(text), json.loads(text)
        assert json.dumps(stripped(found, said)) == json.dumps(said)  # the order of keys, and 1 beside 1.0, too
        assert list(found) == sorted(found)


def test_a_number_that_begins_like_the_one_before_is_another() -> None:
    read = Configs().read
    assert [read(f'{{"seed":{seed}}}')["seed"] for seed in ("1", "12", "1.5", "1", '"1"')] == [1, 12, 1.5, 1, "1"]


def test_sections_of_equal_text_are_one_object() -> None:
    read = Configs().read
    one, other, third = (read(canonical_json({"model": {"hidden": h}, "seed": s})) for h, s in ((8, 0), (9, 1), (8, 2)))
    assert one["model"] is third["model"] is not other["model"]
