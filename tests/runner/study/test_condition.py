"""Conditions over names with dots and slashes: what holds, what is unknown, and what is refused in a sentence."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.condition import parse_condition

HERE = {
    "optimizer.lr": 0.1,
    "optimizer.weight_decay": 0.3,
    "val/loss": 0.4,
    "val/accuracy": None,
    "train/loss": math.nan,
    "n": 3,
    "zero": 0,
    "model": "mlp",
    "optimizer.nesterov": True,
    "big": math.inf,
    "and_more": 1,
}

SIGNS = ("<", "<=", "==", ">", ">=", "!=")


def holds(text, here=HERE):
    return parse_condition(text, here).holds(here.__getitem__)


@pytest.mark.parametrize(
    "text",
    [
        "val/loss < 0.45 and optimizer.lr > 1e-3",
        "val/loss<0.45and optimizer.lr>1e-3",
        "optimizer.lr*optimizer.weight_decay == 0.03",  # 0.1 * 0.3 is 0.03 as written, not as floats
        "optimizer.lr + 0.2 == optimizer.weight_decay",
        "optimizer.weight_decay/optimizer.lr == n",
        "val/loss/2 == 0.2",
        "val/loss / 2 < val/loss",
        "0.05 < optimizer.lr <= 0.1 < n",
        "optimizer.lr > 1/256",
        "n > -1 and -n < 0 and +n == 3",
        "(n - 1) ** 2 == 4",
        "model == 'mlp'",
        'model != "cnn" and model < \'z\'',
        "not n == 4",
        "n == 4 or model == 'mlp' and not false",
        "optimizer.nesterov",
        "optimizer.nesterov == true and true",
        "val/accuracy == null",
        "val/loss != null",
        "n == 3.0",
        "n != true and n != 'mlp'",
        "big > 1e300",
        "and_more == 1",
        "1_000 > n",
    ],
)  # fmt: skip
def test_what_is_true_holds(text):
    assert holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize(
    "text",
    ["val/accuracy > 0.9", "val/accuracy <= 0.9", "train/loss < 1", "train/loss >= 1", "val/accuracy + 1 > 0",
     "big - 1 > 0", "n == 3 and val/accuracy > 0", "n == 4 or val/accuracy > 0", "0 < val/accuracy < 1"],
)  # fmt: skip
def test_what_is_unknown_does_not_hold_and_neither_does_its_contrary(text):
    assert not holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize("text", ["n == 3 or val/accuracy > 0", "not (n == 4 and val/accuracy > 0)"])
def test_what_is_unknown_is_left_out_where_the_rest_settles_it(text):
    assert holds(text)


@given(
    st.decimals("0.001", "1000", places=3),
    st.decimals("0.001", "1000", places=3),
    st.sampled_from(SIGNS),
)
def test_numbers_are_compared_as_they_are_written(a, b, sign):
    sides = {"a": float(a), "b": float(b)}
    expected = {"<": a < b, "<=": a <= b, "==": a == b, ">": a > b, ">=": a >= b, "!=": a != b}[sign]
    assert (
        holds(f"a {sign} b", sides) == holds(f"{a} {sign} b", sides) == holds(f"a + b {sign} 2 * b", sides) == expected
    )


def test_names_are_those_that_are_read_in_order():
    found = parse_condition("val/loss < n and n > val/loss/optimizer.lr", HERE)
    assert found.names == (
        "val/loss",
        "n",
        "optimizer.lr",
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("val/los < 1", "did you mean val/loss"),
        ("lr > 1", "did you mean optimizer.lr?"),
        ("optimizer.lrr > 1", "did you mean optimizer.lr"),
        ("model == cnn", "'cnn'"),
        ("loss < 1", "did you mean"),
        ("True", "did you mean|known: "),
    ],
)
def test_an_unknown_name_is_one_sentence_with_the_near_ones(text, hint):
    with pytest.raises(ConfigError, match="there is no") as refusal:
        parse_condition(text, HERE)
    assert "\n" not in str(refusal.value)
    assert re.search(hint, refusal.value.hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("n = 3", "write =="), ("n == 3 && n == 3", "write and"), ("n == 3 || n == 3", "write or"), ("!n", "write not")],
)
def test_other_languages_signs_are_named(text, hint):
    with pytest.raises(ConfigError, match="is not a condition") as refusal:
        parse_condition(text, HERE)
    assert hint in refusal.value.hint


@pytest.mark.parametrize(
    "text",
    ["", " ", "n", "n +", "n, n", "n < 3,", "n(3)", "n < 3 if n else n", "n[0] < 1", "n < 'x", "n // 2 > 1",
     "n % 2 == 1", "3", "n + 1", "'mlp'", "null", "-n", "not 3", "n and n + 1", "(n < 3) + 1 > 1",
     "n < (n < 3)", "not", "n < 1e999", "lambda: n", "(" * 1000 + "n < 3",
     "not " * 200 + "n < 3", "n\x00< 3", "n < 3" * 1000, "n := 3", "n < 3j", "n is 3", "n in (1, 2)",
     "{n} < 3", "n < '\\n'", "n < 3; n", "n.real < 3", "n < f'x'", "*n < 3", "n < 3 # n", "@n", "1 < 2ep",
     "n < 0x10", "n ~ 3", "await n", "n <> 3", "n < 3 n", "yield", "None == n"],
)  # fmt: skip
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(ConfigError) as refusal:
        holds(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model > 3", "compares 'mlp' with 3 by size at model = 'mlp'"),
        ("optimizer.nesterov > 0", "compares true with 0"),
        ("model + 1 > 3", "computes with 'mlp'"),
        ("n and n > 1", "takes 3 for true or false at n = 3"),
        ("n / zero > 1", "divides by zero"),
        ("10 ** n ** 99 > 1", "too large"),
        ("(0 - n) ** 0.5 > 1", "no real number"),
    ],
)
def test_what_means_nothing_at_some_values_names_them(text, said):
    with pytest.raises(ConfigError) as refusal:
        holds(text)
    assert said in refusal.value.message


def test_what_settles_a_condition_guards_the_rest():
    assert not holds("zero != 0 and n / zero > 1")


def test_nothing_but_the_given_names_is_reached():
    for text in ("__import__ == 1", "print == 1", "n0 == 1", "holds == 1"):
        with pytest.raises(ConfigError, match="there is no"):
            parse_condition(text, {"val/loss": 1})
