"""Which parameters a pattern holds, and the sentences where patterns do not fit a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.optim.groups import assigned, matches
from thalweg.optim.schema import Groups, ParameterGroup
from thalweg.runner.base.errors import ConfigError

NAMES = ["stem.weight", "stem.bias", "block.0.norm1.weight", "block.0.norm1.bias", "head.weight", "head.bias"]


def groups(**patterns: str) -> Groups:
    return Groups(named=tuple((name, ParameterGroup(match=each)) for name, each in sorted(patterns.items())))


@pytest.mark.parametrize(
    ("pattern", "held"),
    [
        ("head.*", NAMES[4:]),
        ("head.weight", NAMES[4:5]),
        ("*norm*|*.bias", [NAMES[1], NAMES[2], NAMES[3], NAMES[5]]),
        ("*norm* | head.bias", [NAMES[2], NAMES[3], NAMES[5]]),
        ("block.?.*", NAMES[2:4]),
        ("block.[0-3].*.weight", NAMES[2:3]),
        ("*", NAMES),
        ("HEAD.*", []),
        ("head", []),
    ],
)
def test_a_pattern_means_names_as_a_shells_does_with_bars_between_several(pattern, held) -> None:
    assert [name for name in NAMES if matches(pattern, name)] == held


def test_each_parameter_is_given_its_group_and_the_rest_have_none() -> None:
    found = assigned(groups(head="head.*", norms="*norm*"), NAMES)
    assert found == {NAMES[2]: "norms", NAMES[3]: "norms", NAMES[4]: "head", NAMES[5]: "head"}
    assert assigned(Groups(), NAMES) == {}


REFUSED = {
    "nothing": (groups(head="heat.*"), "groups.head.match is 'heat.*', which matches no parameter", "stem.weight, "),
    "twice": (
        groups(head="head.*", biases="*.bias"),
        "groups.biases and groups.head both match head.bias",
        "one group",
    ),
    "all frozen": (
        Groups(named=(("all", ParameterGroup(match="*", freeze=True)),)),
        "groups.all freeze every parameter",
        "leave one",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_patterns_that_do_not_fit_are_refused_in_a_sentence_that_names_parameters(case) -> None:
    wrong, said, hint = REFUSED[case]
    with pytest.raises(ConfigError) as refused:
        assigned(wrong, NAMES)
    assert said in refused.value.message
    assert hint in (refused.value.hint or "")


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
def test_exact_names_hold_themselves_and_nothing_else(names) -> None:
    assert assigned(groups(own="|".join(names)), NAMES) == dict.fromkeys(names, "own")
