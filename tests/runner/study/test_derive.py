"""Derived keys: exact arithmetic over what people typed, rounded once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.derive import parse_expression

NAMES = {"a": 0.3, "b": 0.1, "optimizer.lr": 0.25, "zero": 0, "n": 3}


def value(text, names=NAMES):
    return parse_expression(text).value(names.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / b", 3.0),
        ("a - 0.1 - 0.1 - 0.1", 0.0),
        ("0.1 + 0.2", 0.3),
        ("a / optimizer.lr**2", 4.8),
        ("-(a + b) * n", -1.2),
        ("optimizer.lr ** 0.5", 0.5),
        ("2 ** -8", 1 / 256),
        ("+1e-4", 1e-4),
    ],
)
def test_numbers_count_as_they_are_written(text, expected):
    assert value(text) == expected


@given(st.decimals("0.001", "1000", places=3), st.decimals("0.001", "1000", places=3))
def test_a_product_divided_by_a_factor_gives_the_other_factor_back(lr, wd):
    names = {"lr": float(lr), "product": float(lr * wd)}
    assert value("product / lr", names) == float(wd)


@pytest.mark.parametrize(
    "text", ["a / zero", "a / (b - 0.1)", "(0 - a) ** 0.5", "10 ** 100000", "9**9**9**9", "a ** 1e9", "1e300 * 1e300"]
)
def test_what_has_no_value_is_one_sentence(text):
    with pytest.raises(ConfigError, match="derived value") as refusal:
        value(text)
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize(
    "text",
    ["", "a +", "a, b", "f(a)", "a if b else n", "__import__('os')", "a[0]", "'x'", "True", "a // b", "a % b", "1e999",
     "lambda: 0", "(" * 5000, "a\x00", "a" * 1000, "a = 1", "1j", "(a).b()"],
)  # fmt: skip
def test_anything_but_arithmetic_is_refused(text):
    with pytest.raises(ConfigError, match="not an expression"):
        parse_expression(text)


def test_names_are_the_keys_that_are_read():
    assert parse_expression("x * optimizer.lr / (x + budget.steps)").names == ("x", "optimizer.lr", "budget.steps")
