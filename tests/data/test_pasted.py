"""A hint that is pasted into a shell says the very words."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from thalweg.data.pasted import pasted

WORDS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=6)
AWKWARD = [
    *("nan", "NaN", "inf", "-inf", "null", "None", "true", "False", "1", "1.5", "1e5", "0x1", "", " ", " a ", "a b"),
    *("it's", 'say "hi"', "\\", "\\\\", '\\"', "a\\", "$HOME", "${oc.env:HOME}", "\\${x}", "`ls`", "*", "~", "!x"),
    *("a,b", "a]", "[a", "{a: b}", "a=b", "é", "ß", "日本", "-", "--yes", "#", ";", "a:b", "x/y", "a..b", "@", "%"),
]


def meant(hint: str) -> list[str]:
    (word,) = shlex.split(hint)
    override = OverridesParser.create().parse_override(word)
    return list(OmegaConf.create({"it": override.value()})["it"])


@pytest.mark.parametrize("word", AWKWARD)
def test_an_awkward_word_is_that_word(word: str) -> None:
    assert meant(pasted("dataset.labels", [word, "plain"])) == [word, "plain"]


@given(st.lists(WORDS | st.sampled_from(AWKWARD) | st.text("\\\"${}'", max_size=5), min_size=1, max_size=4))
def test_any_words_are_those_words(words: list[str]) -> None:
    assert meant(pasted("dataset.labels", words)) == words
