"""Derived keys: arithmetic over axes, vars and configuration keys, exact until it is rounded once.

    lr_x_wd / optimizer.lr          2 * tokens / budget.batch_size          lr2_x_wd / optimizer.lr**2

Numbers count as they are written: 0.1 is 1/10. So a derived value and a typed one are the same float.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException
from fractions import Fraction
from functools import lru_cache

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.ranges import exact

_ROOTS = Context(prec=50)
_MAX_BITS = 100_000
_HINT = "use + - * / ** and parentheses over numbers, axes, vars and configuration keys"

Lookup = Callable[[str], "int | float"]
"""Name of an axis, var or configuration key -> its value. Raises ConfigError for a name without a number."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression and the names it reads."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def value(self, lookup: Lookup) -> float:
        """Evaluate exactly, round once. Raises ConfigError for a division by zero, a negative's root, an overflow."""
        try:
            return float(_evaluate(self.tree, lookup))
        except ZeroDivisionError:
            problem = "divides by zero"
        except (OverflowError, DecimalException):
            problem = "is too large, or no real number"
        at = ", ".join(f"{name} = {lookup(name)}" for name in self.names)
        raise ConfigError(f"derived value {self.text} {problem}{f' at {at}' if at else ''}", _HINT)


@lru_cache(maxsize=1024)
def parse_expression(text: str) -> Expression:
    """Read an expression. Raises ConfigError for anything but arithmetic over names and numbers."""
    try:
        if len(text) > 500:
            raise ValueError
        tree = ast.parse(text.strip(), mode="eval").body
        names = dict.fromkeys(_names(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{text[:80]!r} is not an expression for a derived key", _HINT) from None
    return Expression(text, tuple(names), tree)


def _names(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and math.isfinite(value):
            return []
        case ast.Name() | ast.Attribute():
            return [_dotted(node)]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _names(operand)
        case ast.BinOp(left=left, right=right, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow()):
            return _names(left) + _names(right)
    raise ValueError


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
    raise ValueError


def _evaluate(node: ast.expr, lookup: Lookup) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number):
            return bounded(exact(number))
        case ast.UnaryOp(op=op, operand=operand):
            value = _evaluate(operand, lookup)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return bounded(operate(op, _evaluate(left, lookup), _evaluate(right, lookup)))
    return exact(lookup(_dotted(node)))


def operate(op: ast.operator, a: Fraction, b: Fraction) -> Fraction:
    """Return a + b, a - b, a * b, a / b or a ** b. Raises ArithmeticError for what is no number, or too large."""
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.Div():
            return a / b
    return _power(a, b)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator == 1:
        n = int(exponent)
        if abs(n) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _MAX_BITS:
            raise OverflowError
        return Fraction(base**n)
    root = _ROOTS.power(_decimal(base), _decimal(exponent))
    return Fraction(root)


def _decimal(value: Fraction) -> Decimal:
    return _ROOTS.divide(Decimal(value.numerator), Decimal(value.denominator))


def bounded(value: Fraction) -> Fraction:
    """Return the value. Raises OverflowError for one of more digits than anybody means."""
    if value.numerator.bit_length() > _MAX_BITS or value.denominator.bit_length() > _MAX_BITS:
        raise OverflowError
    return value
