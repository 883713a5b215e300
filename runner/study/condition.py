"""Conditions in a person's words: `val/loss < 0.45 and optimizer.lr > 1e-3`, true or false of one trial or cell.

Names are read as they are shown, with their dots and slashes; which ones there are is up to whoever asks. Numbers count
as they are written: 0.1 is 1/10, so `lr * wd == 0.01` holds at lr = wd = 0.1.

A name that has no value here is null. What null is compared with by size is neither true nor false, nor is what is
computed from it: `not (val/loss < 0.45)` does not hold of a trial without a val/loss, `val/loss == null` does.

| a       | b       | a and b | a or b  | not a   |
|---------|---------|---------|---------|---------|
| true    | unknown | unknown | true    | false   |
| false   | unknown | false   | unknown | true    |
| unknown | unknown | unknown | unknown | unknown |
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.derive import bounded, operate
from thalweg.runner.study.keys import nearest, shown
from thalweg.runner.study.ranges import exact

Lookup = Callable[[str], Scalar]
"""A name -> its value; None where it has none."""

HINT = "write names, numbers and 'texts' with < <= == != >= >, and, or, not, + - * / and parentheses"

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'[^'\\]*'|"[^"\\]*")
    |(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d]\w*(?:[./]\w+)*)
    |(?P<sign><=|>=|==|!=|\*\*|[-<>+*/()])
    )""",
    re.VERBOSE,
)
_WORDS = {"and": "and", "or": "or", "not": "not", "true": "True", "false": "False", "null": "None"}
_LONGEST, _DEEPEST = 2_000, 60
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_Value = Scalar | Fraction
_Term = Callable[[Lookup], Any]


@dataclass(frozen=True)
class Condition:
    """A parsed condition, and the names that it reads, in order."""

    text: str
    names: tuple[str, ...]
    claim: _Term

    def holds(self, lookup: Lookup) -> bool:
        """Whether it is true. Raises ConfigError where texts and numbers are mixed, or something divides by zero."""
        try:
            return self.claim(lookup) is True
        except _MeaninglessError as problem:
            at = ", ".join(f"{name} = {shown(lookup(name))}" for name in self.names)
            raise ConfigError(f"the condition {self.text} {problem}{f' at {at}' if at else ''}", problem.hint) from None


class _MeaninglessError(Exception):
    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


def parse_condition(text: str, names: Collection[str]) -> Condition:
    """Read a condition over `names`. Raises ConfigError for a name that is none of them, and for any other language."""
    text = text.strip()
    known = names if isinstance(names, set | frozenset | dict) else frozenset(names)
    read: dict[str, str] = {}  # name -> the identifier that stands for it
    refusal = ConfigError(f"{shown(text)} is not a condition", _hint(text))
    if not text or len(text) > _LONGEST:
        raise refusal
    spelled = " ".join(_identifiers(text, known, read, refusal))
    try:
        tree = ast.parse(spelled, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refusal from None
    meant = {identifier: name for name, identifier in read.items()}
    try:
        return Condition(text, tuple(read), _claim(tree, meant, _DEEPEST))
    except _MeaninglessError as problem:
        raise ConfigError(f"{shown(text)} is not a condition: {problem}", HINT) from None


def _identifiers(text: str, known: Collection[str], read: dict[str, str], refusal: ConfigError) -> Iterator[str]:
    """The same condition in Python's words, an identifier in each name's place; fills `read`."""
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise refusal
        place = token.end()
        word = token["word"]
        if word is None:
            yield token[0].strip().replace("_", "") if token["number"] else token[0].strip()
        elif word in _WORDS and word not in known:
            yield _WORDS[word]
        else:
            name = _longest(word, known)
            place -= len(word) - len(name)  # the rest is a division, as in optimizer.lr/2
            yield read.setdefault(name, f"n{len(read)}")


def _longest(word: str, known: Collection[str]) -> str:
    """The longest of the known names that a word begins with, where slashes may divide."""
    name = word
    while name not in known:
        if "/" not in name:
            raise _unknown(word, known)
        name = name.rpartition("/")[0]
    return name


def _unknown(word: str, known: Collection[str]) -> ConfigError:
    one = nearest(word, known)
    near = list(dict.fromkeys([*([one] if one else []), *difflib.get_close_matches(word, known, n=3)]))
    if near:
        return ConfigError(f"there is no {word!r} here", f"did you mean {' or '.join(near[:3])}?")
    if not known:
        return ConfigError(f"there is no {word!r} here: nothing varies", "give an axis several values")
    listed = ", ".join(sorted(known)[:12])
    return ConfigError(f"there is no {word!r} here", f"known: {listed}; a text stands in quotes: '{word}'")


def _hint(text: str) -> str:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    for sign, meant in (("&&", "and"), ("||", "or"), ("&", "and"), ("|", "or")):
        if sign in bare:
            return f"write {meant} for {sign}"
    if re.search(r"(?<![<>=!])=(?!=)", bare):
        return "write == to compare"
    if re.search(r"!(?!=)", bare):
        return "write not for !"
    return HINT


def _claim(node: ast.expr, meant: dict[str, str], depth: int) -> _Term:
    """What is true, false or unknown (None)."""
    if depth == 0:
        raise _MeaninglessError("it is nested too deeply")
    match node:
        case ast.BoolOp(op=op, values=parts):
            return _joined([_claim(part, meant, depth - 1) for part in parts], isinstance(op, ast.Or))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _claim(operand, meant, depth - 1)
            return lambda lookup: None if (held := inner(lookup)) is None else not held
        case ast.Compare(left=left, ops=ops, comparators=others):
            terms = [_term(each, meant, depth - 1) for each in (left, *others)]
            pairs = [_compared(op, a, b) for op, a, b in zip(ops, terms[:-1], terms[1:], strict=True)]
            return _joined(pairs, False) if len(pairs) > 1 else pairs[0]
        case ast.Constant(value=bool()) | ast.Name():
            return _true_or_false(_term(node, meant, depth))
    raise _MeaninglessError("nothing is compared where something must be true or false")


def _term(node: ast.expr, meant: dict[str, str], depth: int) -> _Term:
    """A value: that of a name, a constant, or what is computed from them."""
    if depth == 0:
        raise _MeaninglessError("it is nested too deeply")
    match node:
        case ast.Name(id=identifier):
            name = meant[identifier]
            return lambda lookup: lookup(name)
        case ast.Constant(value=value) if isinstance(value, str | bool | None) or _is_finite(value):
            return lambda lookup: value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if _is_finite(number):
            return lambda lookup: -number
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
            inner = _term(operand, meant, depth - 1)
            minus = isinstance(op, ast.USub)
            return lambda lookup: _computed(ast.Sub() if minus else ast.Add(), 0, inner(lookup))
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC):
            a, b = _term(left, meant, depth - 1), _term(right, meant, depth - 1)
            return lambda lookup: _computed(op, a(lookup), b(lookup))
    raise _MeaninglessError("only names, numbers, texts and arithmetic can be compared")


def _joined(parts: list[_Term], any_: bool) -> _Term:
    """`or` where any_ is set, else `and`: the first part that settles it does."""

    def claim(lookup: Lookup) -> bool | None:
        unknown = False
        for part in parts:
            held: bool | None = part(lookup)
            if held is any_:
                return any_
            unknown |= held is None
        return None if unknown else not any_

    return claim


def _true_or_false(term: _Term) -> _Term:
    def claim(lookup: Lookup) -> bool | None:
        value: Scalar = term(lookup)
        if value is None or isinstance(value, bool):
            return value
        raise _MeaninglessError(f"takes {shown(value)} for true or false", "compare it with something")

    return claim


def _compared(op: ast.cmpop, left: _Term, right: _Term) -> _Term:
    if isinstance(op, ast.Eq | ast.NotEq):
        equal = isinstance(op, ast.Eq)
        return lambda lookup: _same(left(lookup), right(lookup)) is equal
    if type(op) not in _COMPARE:
        raise _MeaninglessError("it compares by something else than < <= == != >= >")
    by_size = _COMPARE[type(op)]

    def claim(lookup: Lookup) -> bool | None:
        a, b = left(lookup), right(lookup)
        if a is None or b is None or a != a or b != b:
            return None
        if isinstance(a, str) is not isinstance(b, str) or isinstance(a, bool) or isinstance(b, bool):
            raise _MeaninglessError(f"compares {_said(a)} with {_said(b)} by size", "compare numbers with numbers")
        return bool(by_size(*_alike(a, b)))

    return claim


def _same(a: _Value, b: _Value) -> bool:
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    a, b = _alike(a, b)
    return a == b


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Both as they are written, where one of them was computed; else a float would meet the fraction beside it."""
    if isinstance(a, Fraction) and _is_finite(b):
        return a, exact(b)
    return (exact(a), b) if isinstance(b, Fraction) and _is_finite(a) else (a, b)


def _computed(op: ast.operator, a: _Value, b: _Value) -> Fraction | None:
    numbers = []
    for value in (a, b):
        if value is None or value != value or value in (math.inf, -math.inf):
            return None
        if isinstance(value, bool | str):
            raise _MeaninglessError(f"computes with {_said(value)}", "compute with numbers")
        numbers.append(value if isinstance(value, Fraction) else exact(value))
    try:
        return bounded(operate(op, *numbers))
    except ZeroDivisionError:
        raise _MeaninglessError("divides by zero", "say before it what must not be 0: NAME != 0 and …") from None
    except ArithmeticError:
        raise _MeaninglessError("computes what is too large, or no real number") from None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _said(value: _Value) -> str:
    return str(float(value)) if isinstance(value, Fraction) else shown(value)
